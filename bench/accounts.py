"""The section `accounts` of bench/run: refreshes of tokens, what sign-ins cost reads, and a storm of sign-ins."""

import json
import os
import threading
import time

import loads
import systems

PROGRAM = os.path.join(systems.BIN, "bench", "skerry-accounts")
REFRESHERS = 64
SIGNERS = 32
STORM = 1000


class Accounts(systems.Skerry):
    """Not in development, where checks of passwords do not step back behind reads."""
    scheme = "http"
    name = "skerry with accounts"

    def start(self):
        begin = time.monotonic()
        self.process = systems.launch([self.program, "serve", "--listen", self.target, "--plaintext", "--access", "open",
                                       "--i-accept-open-access", "--clock", "trusted", "--projects", "demo-bench", "--accounts", "on",
                                       "--data", self.data, *self.arguments], self.log)
        systems.wait_for_port(self.port, self.process, 60, self.log)
        return time.monotonic() - begin

    def peak_mib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def load(system, mode, connections, seconds):
    done = loads.run([PROGRAM, system.target, mode, str(connections), str(seconds)], seconds + 180)
    if not done.stdout:
        raise RuntimeError(f"{PROGRAM} {mode}: {done.stderr}")
    result = json.loads(done.stdout)
    result["calls"] = result["ok"]
    return result


class SignIns:
    """While it is there, people sign in, one after the other."""

    def __init__(self, system, seconds):
        self.thread = threading.Thread(target=lambda: load(system, "sign-in", SIGNERS, seconds))

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.thread.join()


def run(bench):
    directory = os.path.join(bench.directory, "accounts")
    os.mkdir(directory)
    system = Accounts(directory)
    loads.generator(system, "fill", 90, documents=100, writes=100, connections=1, in_flight=1)
    load(system, "sign-in", SIGNERS, 1)  # makes the accounts
    seconds = max(bench.plan.seconds, 2)
    for number in range(bench.plan.slices):
        bench.say(f"accounts, slice {number + 1} of {bench.plan.slices}")
        bench.record("accounts refresh", loads.with_cpu(system, lambda: load(system, "refresh", REFRESHERS, seconds)))
        bench.record("accounts sign-in", loads.with_cpu(system, lambda: load(system, "sign-in", SIGNERS, seconds)))
        bench.record("accounts reads", loads.h2load(system, bench.directory, loads.GET_PATH, loads.GET_BODY, seconds))
        with SignIns(system, seconds + 2):
            bench.record("accounts reads, sign-ins", loads.h2load(system, bench.directory, loads.GET_PATH, loads.GET_BODY, seconds))
    storm = load(system, "storm", STORM, 1)
    bench.results.notes.append(
        f"A storm of {STORM} sign-ins at once: {storm['ok']} succeeded, {storm['refused']} were refused, {storm['failed']} failed, in "
        f"{storm['seconds']:.1f} s; the server's memory was {system.peak_mib():.0f} MiB at its peak.")
    system.stop()


MEASURES = [
    ("accounts refresh", f"refreshes of ID tokens over HTTP/1.1, {REFRESHERS} connections, each with the token before; every one is signed and committed"),
    ("accounts sign-in", f"sign-ins with a password, {SIGNERS} connections"),
    ("accounts reads", "GetDocument over gRPC (h2load) on the same server"),
    ("accounts reads, sign-ins", f"the same while {SIGNERS} connections sign in again and again"),
]


def goals(results):
    return [
        ("refreshes of tokens a second", results.get("accounts refresh", "per_s"), 5000, True, ""),
        ("GetDocument beside sign-ins, against none", results.ratio("accounts reads, sign-ins", "accounts reads"), 0.90, True, ""),
    ]
