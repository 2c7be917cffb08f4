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
READERS = 250  # of four users each
CHURNERS = 4
RULES = """rules_version = '2';
service cloud.firestore { match /databases/{database}/documents { match /{rest=**} { allow read, write: if request.auth != null; } } }
"""


class Accounts(systems.Skerry):
    """Not in development, where checks of passwords do not step back behind reads."""
    scheme = "http"
    name = "skerry with accounts"
    access = ["--access", "open", "--i-accept-open-access"]

    def start(self):
        begin = time.monotonic()
        self.process = systems.launch([self.program, "serve", "--listen", self.target, "--plaintext", *self.access, "--clock", "trusted", "--projects", "demo-bench", "--accounts", "on",
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


class Beside:
    """While it is there, another load runs."""

    def __init__(self, system, mode, connections, seconds):
        self.thread = threading.Thread(target=lambda: load(system, mode, connections, seconds))

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.thread.join()


class UnderRules(Accounts):
    """Where tokens are looked at."""
    name = "skerry with accounts and rules"

    def start(self):
        rules = os.path.join(os.path.dirname(self.data), "bench.rules")
        with open(rules, "w") as f:
            f.write(RULES)
        self.access = ["--rules", rules]
        return super().start()


def run_readers(bench, seconds):
    directory = os.path.join(bench.directory, "accounts-rules")
    os.mkdir(directory)
    system = UnderRules(directory)
    for _ in range(bench.plan.slices):
        bench.record("accounts token reads", load(system, "read", READERS, seconds))
        with Beside(system, "churn", CHURNERS, seconds + 3):
            bench.record("accounts token reads, churn", load(system, "read", READERS, seconds))
    system.stop()


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
        with Beside(system, "sign-in", SIGNERS, seconds + 2):
            bench.record("accounts reads, sign-ins", loads.h2load(system, bench.directory, loads.GET_PATH, loads.GET_BODY, seconds))
    storm = load(system, "storm", STORM, 1)
    bench.results.notes.append(
        f"A storm of {STORM} sign-ins at once: {storm['ok']} succeeded, {storm['refused']} were refused, {storm['failed']} failed, in "
        f"{storm['seconds']:.1f} s; the server's memory was {system.peak_mib():.0f} MiB at its peak.")
    system.stop()
    run_readers(bench, seconds)


MEASURES = [
    ("accounts refresh", f"refreshes of ID tokens over HTTP/1.1, {REFRESHERS} connections, each with the token before; every one is signed and committed"),
    ("accounts sign-in", f"sign-ins with a password, {SIGNERS} connections"),
    ("accounts reads", "GetDocument over gRPC (h2load) on the same server"),
    ("accounts reads, sign-ins", f"the same while {SIGNERS} connections sign in again and again"),
    ("accounts token reads", f"reads under rules over HTTP/1.1, {READERS} connections, each with the tokens of four users in turn"),
    ("accounts token reads, churn", f"the same while {CHURNERS} connections sign up and delete the account again and again"),
]


def goals(results):
    return [
        ("refreshes of tokens a second", results.get("accounts refresh", "per_s"), 5000, True, ""),
        ("reads beside sign-ups and deletions, against none", results.ratio("accounts token reads, churn", "accounts token reads"), 0.70, True, ""),
        ("GetDocument beside sign-ins, against none", results.ratio("accounts reads, sign-ins", "accounts reads"), 0.90, True, ""),
    ]
