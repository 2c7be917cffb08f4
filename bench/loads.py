"""Loads and what is measured under them. Each gives {"per_s", "cpu_us", ...}; times in microseconds."""

import json
import os
import re
import statistics
import subprocess
import time

from systems import BIN

GENERATOR = os.path.join(BIN, "bench", "skerry-bench")
CONNECTIONS, IN_FLIGHT = 16, 16
DATABASE = "projects/demo-bench/databases/(default)"


def run(command, seconds, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, **options)
    return done


def with_cpu(system, measure):
    """The measure's result with the server's processor time a call."""
    before = system.cpu_seconds()
    result = measure()
    result["cpu_us"] = (system.cpu_seconds() - before) / max(result["calls"], 1) * 1e6
    return result


# ---- Our generator ----


def generator(system, mode, seconds, may_fail=False, pin=None, warm_up=0, **options):
    """On the core `pin`, if there is one. The first `warm_up` seconds come before those that are measured."""
    command = [*(["taskset", "-c", str(pin)] if pin is not None else []), GENERATOR, mode, "--target", system.target, "--label", system.name, "--seconds", str(seconds),
               "--warm-up", str(warm_up)]
    if system.authorization:
        command += ["--authorization", system.authorization]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]

    def measure():
        done = run(command, seconds + warm_up + 60)
        if not done.stdout:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        result = json.loads(done.stdout)
        if result["failed"] and not may_fail:
            raise RuntimeError(f"{result['failed']} calls failed: {done.stderr.strip()}")
        result["calls"] = result["ok"]
        return result

    return with_cpu(system, measure)


# ---- Contended transactions ----


def contention(system, seconds, may_fail=False, clients=64, documents=8):
    """Fails if an update was lost."""
    command = [os.path.join(BIN, "bench", "skerry-contention"), system.target, str(seconds), str(clients), str(documents)]
    if system.authorization:
        command.append(system.authorization)

    def measure():
        done = run(command, seconds + 60)
        if not done.stdout or "lost" in done.stderr:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        result = json.loads(done.stdout)
        if result["failed"] and not may_fail:
            raise RuntimeError(f"{result['failed']} transactions failed: {done.stderr.strip()}")
        result["calls"] = result["ok"]
        return result

    return with_cpu(system, measure)


# ---- h2load ----


def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def bytes_field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def grpc_frame(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


ECHO_PATH = "/skerry.test.v1.Echo/Unary"
ECHO_BODY = grpc_frame(bytes_field(1, b"e" * 62))
GET_PATH = "/google.firestore.v1.Firestore/GetDocument"
GET_BODY = grpc_frame(bytes_field(1, f"{DATABASE}/documents/items/0000000007".encode()))


def h2load(system, directory, path, body, seconds, connections=CONNECTIONS, in_flight=IN_FLIGHT):
    """One body again and again; throughput only: this h2load prints no percentiles."""
    file = os.path.join(directory, f"h2load-{len(body)}.body")
    with open(file, "wb") as f:
        f.write(body)
    command = ["h2load", f"-c{connections}", f"-m{in_flight}", "-t1", "-D", str(seconds), "-d", file,
               "-H", "content-type: application/grpc", "-H", "te: trailers"]
    if system.authorization:
        command += ["-H", f"authorization: {system.authorization}"]
    command.append("--npn-list=h2")  # as gRPC clients do; a list with http/1.1 in it gets HTTP/1.1
    command.append(f"{getattr(system, 'scheme', 'http')}://{system.target}{path}")

    def measure():
        done = run(command, seconds + 60)
        rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
        answered = re.search(r"(\d+) 2xx", done.stdout)
        if not rate or not answered or int(answered.group(1)) == 0:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
        return {"per_s": float(rate.group(1)), "calls": int(answered.group(1))}

    return with_cpu(system, measure)


# ---- pgbench ----


def pgbench(system, script, seconds, clients=64):
    command = [*system.prefix, "pgbench", *system.connection(), "-n", "-M", "prepared", "-f", script, "-c", str(clients),
               "-j", str(min(clients, 2)), "-T", str(seconds), "postgres"]

    def measure():
        done = run(command, seconds + 60, cwd=system.directory)
        rate = re.search(r"tps = ([\d.]+)", done.stdout)
        latency = re.search(r"latency average = ([\d.]+) ms", done.stdout)
        calls = re.search(r"actually processed: (\d+)", done.stdout)
        if not rate or not latency or not calls:
            raise RuntimeError(f"pgbench:\n{done.stdout}{done.stderr}")
        return {"per_s": float(rate.group(1)), "mean_us": float(latency.group(1)) * 1000, "calls": int(calls.group(1))}

    return with_cpu(system, measure)


# ---- The medium ----


def sync_us(directory, count):
    """The middle and the 99th percentile of appending 300 bytes and fdatasync."""
    path = os.path.join(directory, "sync")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    times = []
    try:
        for _ in range(count):
            os.write(fd, b"s" * 300)
            begin = time.perf_counter()
            os.fdatasync(fd)
            times.append((time.perf_counter() - begin) * 1e6)
    finally:
        os.close(fd)
        os.unlink(path)
    times.sort()
    return {"p50_us": statistics.median(times), "p99_us": times[int(len(times) * 0.99)]}
