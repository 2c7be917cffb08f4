"""The section `http` of bench/run: GetDocument over HTTP/1.1, as JSON and as gRPC-Web, beside gRPC; and what it costs gRPC
to be watched: metrics that are read once a second, the access log, the log of slow calls."""

import http.client
import json
import os
import re
import statistics
import threading
import urllib.request

import loads
import systems

CONNECTIONS = 64  # of HTTP/1.1: one request at a time on each, as browsers and curl do
JSON_PATH = f"/v1/{loads.DATABASE}/documents/items/0000000007"
WEB_BODY = loads.GET_BODY  # a frame of gRPC is one of gRPC-Web too
SCRAPE_EVERY_S = 1
LARGE_WRITES = 40_000  # 11 MB of JSON in one commit, which is refused when it has been read and decoded
LARGE_CLIENTS = 2


def h1load(system, directory, path, body, content_type, seconds):
    command = ["h2load", "--h1", f"-c{CONNECTIONS}", "-m1", "-t1", "-D", str(seconds)]
    if body:
        file = os.path.join(directory, "h1load.body")
        with open(file, "wb") as f:
            f.write(body)
        command += ["-d", file, "-H", f"content-type: {content_type}"]
    command.append(f"{system.scheme}://{system.target}{path}")

    def measure():
        done = loads.run(command, seconds + 60)
        rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
        codes = re.search(r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done.stdout)
        if not rate or not codes or int(codes.group(1)) == 0 or any(int(codes.group(i)) for i in (2, 3, 4)):
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
        return {"per_s": float(rate.group(1)), "calls": int(codes.group(1))}

    return loads.with_cpu(system, measure)


class Watched(systems.Skerry):
    scheme = "http"

    def __init__(self, directory, name, arguments):
        self.name = f"skerry {name}"
        directory = os.path.join(directory, name.replace(" ", "-"))
        os.mkdir(directory)
        super().__init__(directory, arguments)
        loads.generator(self, "fill", 90, documents=100, writes=100, connections=1, in_flight=1)
        self.check()

    def check(self):
        """That the paths are right: h2load takes any answer of gRPC-Web for a good one."""
        request = urllib.request.Request(f"http://{self.target}{loads.GET_PATH}", WEB_BODY,
                                         {"Content-Type": "application/grpc-web+proto"})
        answer = urllib.request.urlopen(request, timeout=10).read()
        if b"grpc-status:0" not in answer.replace(b" ", b"") or len(answer) < 200:
            raise RuntimeError(f"gRPC-Web answers {answer}")


class Scraped:
    """While it is there, reads /metrics again and again."""

    def __init__(self, system):
        self.system, self.over, self.failure = system, threading.Event(), None
        self.thread = threading.Thread(target=self.read)

    def read(self):
        while not self.over.wait(SCRAPE_EVERY_S):
            try:
                urllib.request.urlopen(f"http://{self.system.target}/metrics", timeout=10).read()
            except OSError as failure:
                self.failure = failure

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        if self.failure:
            raise self.failure


class Crowded:
    """While it is there, clients send large bodies, one after the other."""

    def __init__(self, system):
        documents = f"{loads.DATABASE}/documents"
        writes = [{"update": {"name": f"{documents}/none/d{i}", "fields": {"n": {"integerValue": str(i)}, "t": {"stringValue": "x" * 100}}},
                   "currentDocument": {"exists": True}} for i in range(LARGE_WRITES)]
        self.system, self.over, self.done = system, threading.Event(), 0
        self.path, self.body = f"/v1/{documents}:commit", json.dumps({"writes": writes}).encode()
        self.threads = [threading.Thread(target=self.send) for _ in range(LARGE_CLIENTS)]

    def send(self):
        connection = http.client.HTTPConnection(self.system.target, timeout=60)
        while not self.over.is_set():
            connection.request("POST", self.path, self.body)
            answer = connection.getresponse()
            answer.read()
            self.done += answer.status == 404
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.done == 0:
            raise RuntimeError("no large body was taken")


def one_by_one(system, path, seconds):
    """How long requests take that one client makes, one at a time."""
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{time_total} %{http_code}\n",
               f"http://{system.target}{path}?n=[1-{int(seconds * 200)}]", "--rate", "12000/m"]
    lines = loads.run(command, seconds + 120).stdout.split()
    if not lines or set(lines[1::2]) != {"200"}:
        raise RuntimeError(f"{' '.join(command)}: {set(lines[1::2])}")
    times = sorted(float(time) * 1e6 for time in lines[::2])
    return {"p50_us": statistics.median(times), "p99_us": times[int(len(times) * 0.99)]}


def run(bench):
    directory = os.path.join(bench.directory, "http")
    os.mkdir(directory)
    room = ["--memory-limit", "512M"]  # for commits of 11 MB, two at once
    plain = Watched(directory, "plain", room)
    watched = Watched(directory, "metrics", [*room, "--metrics", "local"])
    logged = Watched(directory, "logs", [*room, "--access-log", "--slow-call-log", "1s"])
    seconds = max(bench.plan.seconds, 2)  # at least one scrape
    for number in range(bench.plan.slices):
        bench.say(f"http, slice {number + 1} of {bench.plan.slices}")
        bench.record("http json", h1load(plain, bench.directory, JSON_PATH, None, "", bench.plan.seconds))
        bench.record("http grpc-web", h1load(plain, bench.directory, loads.GET_PATH, WEB_BODY, "application/grpc-web+proto",
                                             bench.plan.seconds))
        bench.record("http grpc", loads.h2load(plain, bench.directory, loads.GET_PATH, loads.GET_BODY, seconds))
        with Scraped(watched):
            bench.record("http grpc, metrics", loads.h2load(watched, bench.directory, loads.GET_PATH, loads.GET_BODY, seconds))
        bench.record("http small", one_by_one(plain, "/healthz", bench.plan.seconds))
        with Crowded(plain):
            bench.record("http small, crowded", one_by_one(plain, "/healthz", bench.plan.seconds))
        bench.record("http grpc, access log", loads.h2load(logged, bench.directory, loads.GET_PATH, loads.GET_BODY, seconds))
    for system in (plain, watched, logged):
        system.stop()


MEASURES = [
    ("http grpc", "Skerry, GetDocument over gRPC (h2load)"),
    ("http json", "the same as JSON over HTTP/1.1, 64 connections (h2load --h1)"),
    ("http grpc-web", "the same as gRPC-Web over HTTP/1.1"),
    ("http small", "GET /healthz, one at a time (curl)"),
    ("http small, crowded", "the same while two clients send bodies of 11 MB"),
    ("http grpc, metrics", "over gRPC while /metrics is read once a second"),
    ("http grpc, access log", "over gRPC with the access log (5,000 lines a second are written)"),
]


def goals(results):
    return [
        ("JSON GetDocument a second", results.get("http json", "per_s"), 25000, True, ""),
        ("gRPC-Web GetDocument a second", results.get("http grpc-web", "per_s"), 25000, True, ""),
        ("GetDocument over gRPC with metrics read, against none", results.ratio("http grpc, metrics", "http grpc"), 0.98, True, ""),
    ]
