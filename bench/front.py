"""The section `front` of bench/run: what stands between the network and the calls. What the HTTP/2 guard and TLS cost on
a bare echo, handshakes, idle connections, and what becomes of calls when more come than the box can carry."""

import json
import os
import shutil
import subprocess
import threading
import time

import loads
import systems

HANDSHAKES = os.path.join(systems.BIN, "bench", "skerry-handshakes")
HEALTH_PATH = "/grpc.health.v1.Health/Check"
# What the calls of the overload are: a query whose work is far more than that of refusing it.
OVERLOAD_MODE = "query-equal"


def certificate(directory):
    """A self-signed one; clients of the bench check nothing."""
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                           "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=localhost"], capture_output=True)
    if done.returncode != 0:
        raise systems.Missing("openssl is not installed")
    return cert, key


class RuntimeEcho(systems.System):
    """Our runtime and front door, an echo behind them."""

    def __init__(self, directory, name, arguments, scheme="http"):
        self.name, self.scheme = name, scheme
        self.log = os.path.join(directory, f"{name.replace(' ', '-')}.log")
        port = systems.free_port()
        self.target = f"127.0.0.1:{port}"
        self.process = systems.launch([os.path.join(systems.BIN, "bench", "runtime_echo"), "--listen", self.target,
                                       *arguments], self.log)
        systems.wait_for_port(port, self.process, 10, self.log)


class BareTlsEcho(systems.System):
    """gRPC core's own TLS listener."""

    name, scheme = "grpc tls", "https"

    def __init__(self, directory, cert, key):
        self.log = os.path.join(directory, "grpc-tls.log")
        port = systems.free_port()
        self.target = f"127.0.0.1:{port}"
        self.process = systems.launch([os.path.join(systems.BIN, "bench", "bare_tls_echo"), "127.0.0.1", str(port),
                                       str(os.cpu_count())], self.log,
                                      env={**os.environ, "BARE_CERT": cert, "BARE_KEY": key})
        systems.wait_for_port(port, self.process, 10, self.log)


class OpensslServer(systems.System):
    name = "openssl s_server"

    def __init__(self, directory, cert, key):
        self.log = os.path.join(directory, "s_server.log")
        port = systems.free_port()
        self.target = f"127.0.0.1:{port}"
        self.process = systems.launch(["openssl", "s_server", "-accept", self.target, "-cert", cert, "-key", key, "-quiet",
                                       "-tls1_3", "-alpn", "h2", "-rev"], self.log)
        systems.wait_for_port(port, self.process, 10, self.log)


class GuardedSkerry(systems.Skerry):
    """In production mode on one core, so that the generator has the other."""

    def start(self):
        self.process = systems.launch(["taskset", "-c", "0", self.program, "serve", "--listen", self.target, "--data",
                                       self.data, "--clock", "trusted", "--projects", "demo-bench", "--access", "open",
                                       "--i-accept-open-access", *self.arguments], self.log)
        systems.wait_for_port(self.port, self.process, 60, self.log)


def handshakes(system, kind, seconds):
    host, port = system.target.split(":")
    command = [HANDSHAKES, kind, host, port, str(seconds), "2"]

    def measure():
        done = loads.run(command, seconds + 30)
        if not done.stdout:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    return loads.with_cpu(system, measure)


def idle_bytes(system, count):
    """Resident bytes of one more connection that has spoken and does nothing."""
    host, port = system.target.split(":")
    before = system.resident_bytes()
    process = subprocess.Popen([HANDSHAKES, "idle", host, port, str(count)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline() != "open\n":
            raise RuntimeError("idle connections could not be opened")
        time.sleep(2)
        return {"bytes": (system.resident_bytes() - before) / count}
    finally:
        process.stdin.close()
        process.wait(30)


def rates(bench, cert, key):
    tls = ["--tls-cert", cert, "--tls-key", key]
    kinds = [RuntimeEcho(bench.directory, "bare", ["--dev"]), RuntimeEcho(bench.directory, "guarded", []),
             RuntimeEcho(bench.directory, "tls", tls, "https"), BareTlsEcho(bench.directory, cert, key)]
    for number in range(bench.plan.slices):
        bench.say(f"front, slice {number + 1} of {bench.plan.slices}")
        for kind in kinds:
            result = loads.h2load(kind, bench.directory, loads.ECHO_PATH, loads.ECHO_BODY, bench.plan.seconds)
            bench.record(f"front {kind.name}", result)
    for kind in kinds:
        bench.results.add(f"resident front {kind.name}", {"bytes": kind.resident_bytes()})
        kind.stop()


def connections(bench, cert, key):
    tls = ["--tls-cert", cert, "--tls-key", key]
    ours = RuntimeEcho(bench.directory, "tls", tls, "https")
    theirs = OpensslServer(bench.directory, cert, key)
    for number in range(max(1, bench.plan.slices // 3)):
        for kind in ["full", "resumed"]:
            bench.record(f"handshakes {kind}", handshakes(ours, kind, bench.plan.seconds))
            bench.record(f"openssl handshakes {kind}", handshakes(theirs, kind, bench.plan.seconds))
    theirs.stop()
    ours.stop()
    count = 200 if bench.plan.quick else 2000
    for name, arguments, ends in [("tls", tls, True)]:
        server = RuntimeEcho(bench.directory, name, arguments)
        idle_bytes(server, 50)  # what the first ones make the process keep
        bench.results.add(f"idle connection {name}", idle_bytes(server, count))
        server.stop()


class Health(threading.Thread):
    """Asks for the server's health, one call after the other, while something else goes on."""

    def __init__(self, bench, system, seconds):
        super().__init__()
        self.arguments, self.result = (system, bench.directory, HEALTH_PATH, loads.grpc_frame(b""), seconds), None

    def run(self):
        self.result = loads.h2load(*self.arguments, connections=1, in_flight=1)


def offered(bench, skerry, rate, documents, seconds, warm_up):
    """Calls at a rate, whatever becomes of them."""
    health = Health(bench, skerry, seconds + warm_up)
    health.start()
    result = loads.generator(skerry, OVERLOAD_MODE, seconds, may_fail=True, documents=documents, connections=64,
                             in_flight=90, rate=int(rate), pin=1, warm_up=warm_up)
    health.join()
    result["health_per_s"] = health.result["per_s"]
    result["health_us"] = 1e6 / health.result["per_s"]
    return result


def overload(bench):
    if not shutil.which("taskset") or os.cpu_count() < 2:
        raise systems.Missing("taskset or a second core is missing")
    directory = os.path.join(bench.directory, "overload")
    os.mkdir(directory)
    skerry = GuardedSkerry(directory, [])
    documents = 2_000 if bench.plan.quick else 20_000
    loads.generator(skerry, "query-fill", 60, documents=documents, bytes=300, writes=100, connections=2, in_flight=2)
    for number in range(1 if bench.plan.quick else 3):
        bench.say(f"overload, round {number + 1}")
        peak = loads.generator(skerry, OVERLOAD_MODE, bench.plan.seconds * 2, documents=documents, connections=4,
                               in_flight=2, pin=1)
        bench.record("load peak", peak)
        # A burst is answered, so it takes up to 0.2 s to know that it is none: the first second is measured by itself.
        seconds = 2 if bench.plan.quick else 6
        for name, factor, seconds, warm_up in [("half", 0.5, seconds, 1), ("three times", 3, seconds, 1),
                                               ("first second", 3, 1, 0)]:
            time.sleep(1)  # what the server knows of the load before is no news then
            result = offered(bench, skerry, peak["per_s"] * factor, documents, seconds, warm_up)
            bench.record(f"load {name}", result)
            say = f"health {result['health_us']:.0f} us, unsent {result['unsent']}, errors {result['errors']}"
            bench.say(f"    {say}")
    skerry.stop()


def run(bench):
    try:
        cert, key = certificate(bench.directory)
        rates(bench, cert, key)
        connections(bench, cert, key)
        overload(bench)
    except systems.Missing as reason:
        bench.results.notes.append(f"Left out: a part of the front, because {reason}.")


MEASURES = [
    ("front bare", "echo of 64 bytes through our runtime, handed over bare (h2load)"),
    ("front guarded", "the same through the HTTP/2 guard"),
    ("front tls", "the same through TLS 1.3 and the guard"),
    ("front grpc tls", "bare echo on gRPC core's own TLS listener"),
    ("handshakes full", "TLS 1.3 handshakes, ECDSA P-256"),
    ("handshakes resumed", "TLS 1.3 handshakes, resumed, and HTTP/2's first frames"),
    ("openssl handshakes full", "openssl s_server, handshakes"),
    ("openssl handshakes resumed", "openssl s_server, resumed handshakes and an answer"),
    ("load peak", "an equality query of 20 on one core, 8 in flight"),
    ("load half", "the same, offered at half of that rate"),
    ("load three times", "the same, offered at three times that rate for a second and more: answered"),
    ("load first second", "the first second of that"),
]


def goals(results):
    """(what, value, goal, at least?, unit)"""
    kib = results.get("idle connection tls", "bytes")
    return [
        ("echo through the guard against the bare hand-over", results.ratio("front guarded", "front bare"), 0.90, True, ""),
        ("echo over TLS 1.3, guarded, against the bare hand-over", results.ratio("front tls", "front bare"), 0.80, True, ""),
        ("echo over TLS 1.3, guarded, against gRPC core's own TLS listener", results.ratio("front tls", "front grpc tls"), 1,
         True, ""),
        ("memory after it, against gRPC core's own TLS listener",
         results.ratio("resident front tls", "resident front grpc tls", "bytes"), 1, False, "times"),
        ("resident for an idle TLS connection", None if kib is None else kib / 1024, 35, False, "KiB"),
        ("answered at three times the capacity, against the peak", results.ratio("load three times", "load peak"), 0.8, True,
         ""),
        ("p99 of what is answered then, against half load", results.ratio("load three times", "load half", "p99_us"), 10,
         False, "times"),
    ]


def figures(results):
    lines = []
    for kind in ["full", "resumed"]:
        ratio = results.ratio(f"handshakes {kind}", f"openssl handshakes {kind}")
        if ratio is not None:
            lines.append(f"- TLS handshakes, {kind}: {ratio:.2f} times openssl s_server's, with the client on the same cores.")
    for name in ["half", "three times"]:
        health = results.get(f"load {name}", "health_us")
        if health is not None:
            lines.append(f"- Health, asked one call after the other at {name} the capacity: {health:,.0f} us a call.")
    return lines
