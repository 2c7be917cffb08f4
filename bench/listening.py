"""The section `listen` of bench/run: live data. Crowds of listeners (bench/listen_command.c) that one process of the
generator holds, told by lines what to do, while this one measures the server."""

import json
import os
import shutil
import subprocess
import time

import loads
import systems

BYTES = 200  # of a document's fields
TRIMMED_S = 2.5  # the server gives back what is free once a second


class Crowd:
    """`connections` x `streams` x `targets` listeners."""

    def __init__(self, system, kind, connections, streams=1, targets=1):
        self.system, self.count = system, connections * streams * targets
        command = [loads.GENERATOR, "listen", system.target, kind, str(connections), str(streams), str(targets)]
        self.process = subprocess.Popen(command + ([system.authorization] if system.authorization else []),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)
        systems.started.append(self.process)

    def ask(self, *words):
        """The answer; with the server's processor time a call, if it counts calls."""
        before = self.system.cpu_seconds()
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        result = json.loads(line) if line else {"error": "the generator has ended"}
        if "error" in result:
            raise RuntimeError(f"{' '.join(map(str, words))} with {self.count} listeners on {self.system.name}: {result['error']}")
        result["cpu_s"] = self.system.cpu_seconds() - before
        if "calls" in result:
            result["cpu_us"] = result["cpu_s"] / max(result["calls"], 1) * 1e6
        return result

    def open(self, seconds, word="open"):
        result = self.ask(word, seconds)
        if result["current"] != self.count:
            raise RuntimeError(f"{self.count} listeners on {self.system.name}: {result}")
        return result

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def directory_of(bench, name):
    directory = os.path.join(bench.directory, name)
    os.mkdir(directory)
    return directory


def with_skerry(bench, name, measure, *arguments):
    directory = directory_of(bench, name)
    skerry = systems.Skerry(directory, ["--memory-limit", "1G", *arguments])
    try:
        measure(bench, skerry)
    finally:
        skerry.stop()
        shutil.rmtree(directory)


# ---- One document, 1,000 listeners ----


def one_document(bench):
    plan, crowds = bench.plan, {}
    for kind, listens in [(systems.Broadcast, "broadcast"), (systems.Skerry, "one"), (systems.Emulator, "one")]:
        try:
            system = kind(directory_of(bench, f"listen-{kind.name}"))
        except systems.Missing as reason:
            bench.results.notes.append(f"Left out: listeners on {kind.name}, because {reason}.")
            continue
        crowds[kind.name] = Crowd(system, listens, 100, 10)
        crowds[kind.name].open(60)
        crowds[kind.name].ask("rounds", 2 if plan.quick or kind is not systems.Emulator else 6, BYTES)  # warms up
    for number in range(plan.listen_slices):
        bench.say(f"listen, slice {number + 1} of {plan.listen_slices}")
        for name, crowd in crowds.items():
            bench.record(f"{name} listen one", crowd.ask("rounds", plan.listen_seconds, BYTES))
        for name, crowd in crowds.items():
            bench.record(f"{name} listen rate", crowd.ask("rate", plan.listen_seconds, BYTES))
    for name, crowd in crowds.items():
        crowd.end()
        bench.results.add(f"resident listen {name}", {"bytes": crowd.system.resident_bytes()})
        crowd.system.stop()


# ---- 10,000 documents, each with its listener ----


def own_documents(bench, skerry):
    """Commits to other documents, with the crowds there and without, by turns in changing order."""
    plan = bench.plan
    for connections, targets in [(100, 100), (1000, 10)]:
        shape = f"{connections} x {targets}"
        crowd = Crowd(skerry, "each", connections, 1, targets)
        for number in range(plan.listen_slices):
            for idle in [(False, True), (True, False)][number % 2]:
                if idle:
                    crowd.open(60)
                result = loads.generator(skerry, "commit", plan.listen_seconds, documents=10_000)
                bench.record(f"commit, {shape} idle" if idle else f"commit, {shape} gone", result)
                if idle:
                    touched = crowd.ask("touch", 20 if plan.quick else 200, BYTES)
                    bench.results.add(f"touch {shape}", touched)
                    if touched["came"] != touched["written"] or touched["astray"]:
                        raise RuntimeError(f"not every change came to its own listener alone: {touched}")
                    crowd.ask("close")
        crowd.end()


# ---- Memory ----


def memory(bench, skerry):
    def resident():
        time.sleep(TRIMMED_S)
        return skerry.resident_bytes()

    def crowd_bytes(*shape):
        """Of one listener, of `each` its own document; the crowd is gone afterwards."""
        crowd = Crowd(skerry, "each", *shape)
        before = resident()
        crowd.open(60)
        each = (resident() - before) / crowd.count
        crowd.end()
        return each

    # What the first storm makes for good (pages of libraries and heap that the next uses again) is not a listener's.
    come_and_go = Crowd(skerry, "each", 2000, 5)
    come_and_go.open(60)
    come_and_go.ask("close")
    start = resident()
    for _ in range(1 if bench.plan.quick else 3):
        come_and_go.open(60)
        peak = skerry.resident_bytes()
        come_and_go.ask("close")
    come_and_go.end()
    bench.results.add("come and go", {"start": start, "peak": peak, "end": resident()})
    bench.results.add("bytes of a listener", {"bytes": crowd_bytes(2000)})
    bench.results.add("bytes of a target", {"bytes": crowd_bytes(8, 1, 1000)})


# ---- Storms ----


def storm(bench, skerry):
    """Queries on 100 collections of 100 documents; one document in each changes while all are away."""
    crowd = Crowd(skerry, "query", 1000, 10)
    crowd.ask("fill", 100, BYTES)
    skerry.reset_peak()
    opened = crowd.open(120)
    opened["peak"] = skerry.peak_bytes()
    bench.results.add("storm", opened)
    crowd.ask("close")
    for _ in range(1 if bench.plan.quick else 3):
        time.sleep(1)
        crowd.ask("fill", 1, BYTES)
        skerry.reset_peak()
        resumed = crowd.open(120, "resume")
        resumed["peak"] = skerry.peak_bytes()
        bench.results.add("resume", resumed)
        bench.say(f"  10,000 resumed in {resumed['seconds']:.2f} s, {resumed['bytes_in'] / 1e6:.1f} MB, "
                  f"{resumed['changes']} changes, {resumed['refused']} refused")
        crowd.ask("close")
    crowd.end()


def run(bench):
    one_document(bench)
    with_skerry(bench, "listen-own", own_documents)
    with_skerry(bench, "listen-memory", memory)
    with_skerry(bench, "listen-storm", storm)


SHAPES = [("100 x 100", "100 streams of 100 targets"), ("1000 x 10", "1,000 streams of 10 targets")]

MEASURES = [
    ("broadcast listen one", "bare broadcast on gRPC core, 1,000 streams, one message at a time"),
    ("skerry listen one", "Skerry, 1,000 listeners on one document, one change at a time"),
    ("emulator listen one", "emulator, 1,000 listeners on one document, one change at a time"),
    ("broadcast listen rate", "bare broadcast on gRPC core, as fast as it takes"),
    ("skerry listen rate", "Skerry, one writer that does not wait for the listeners"),
    ("emulator listen rate", "emulator, one writer that does not wait for the listeners"),
    *[(f"commit, {shape} {state}", f"Skerry, Commit, 256 in flight, {text}")
      for shape, name in SHAPES
      for state, text in [("gone", f"before and after {name}"), ("idle", f"with {name} that watch other documents")]],
]


def goals(results):
    """(what, value, goal, at least?, unit)"""
    back = None
    if results.get("come and go", "end"):
        back = (results.get("come and go", "end") - results.get("come and go", "start")) / 1e6
    kib = lambda name: None if results.get(name, "bytes") is None else results.get(name, "bytes") / 1024
    return [
        ("document changes a second to 1,000 listeners against the bare broadcast",
         results.ratio("skerry listen rate", "broadcast listen rate"), 0.6, True, ""),
        ("the same against the emulator", results.ratio("skerry listen rate", "emulator listen rate"), 8, True, ""),
        *[(f"commits with 10,000 idle listeners ({name}) against without",
           results.ratio(f"commit, {shape} idle", f"commit, {shape} gone"), 0.9, True, "") for shape, name in SHAPES],
        *[(f"the same in processor time of the server ({name})",
           results.ratio(f"commit, {shape} idle", f"commit, {shape} gone", "cpu_us"), 1.1, False, "times") for shape, name in SHAPES],
        ("resident, an idle listener on its own connection", kib("bytes of a listener"), 40, False, "KB"),
        ("resident, a target of 1,000 on one stream", kib("bytes of a target"), 2, False, "KB"),
        ("resident after 10,000 listeners came and went, over before", back, 2, False, "MB"),
    ]


def figures(results):
    figure, lines = results.get, []
    for shape, name in SHAPES:
        if figure(f"touch {shape}", "p50_us") is not None:
            lines.append(f"- A change reaches its one listener among 10,000 ({name}): p50 {figure(f'touch {shape}', 'p50_us'):,.0f} us, "
                         f"p99 {figure(f'touch {shape}', 'p99_us'):,.0f} us after it was sent, the sync included.")
    if figure("come and go", "peak") is not None:
        lines.append(f"- 10,000 listeners come and go (2,000 connections x 5 streams): {figure('come and go', 'start') / 1e6:,.0f} MB "
                     f"before, {figure('come and go', 'peak') / 1e6:,.0f} MB with them, {figure('come and go', 'end') / 1e6:,.0f} MB after.")
    for name, text in [("storm", "10,000 new clients (1,000 connections x 10 streams), each with a query of 100 documents"),
                       ("resume", "10,000 clients resume after 1% of their documents changed")]:
        if figure(name, "seconds") is not None:
            lines.append(f"- {text}: all current after {figure(name, 'seconds'):,.2f} s, {figure(name, 'bytes_in') / 1e6:,.1f} MB sent "
                         f"with {figure(name, 'changes'):,.0f} documents, {figure(name, 'cpu_s') / 10_000 * 1e6:,.0f} us of processor a client, "
                         f"{figure(name, 'refused'):,.0f} told to come back later, {figure(name, 'peak') / 1e6:,.0f} MB resident at the most.")
    return lines
