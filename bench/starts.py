"""The section `start` of bench/run: the packaged program (the `static` presets) of each architecture that is built, with
each profile, on an empty directory and on one with documents: seconds from its start to the first answered call, and what
is resident when it has rested.

What was built for ARM runs under qemu-user, whose translation takes most of both: only how the profiles of one
architecture compare says something, so those columns are relative to `tiny`."""

import http.client
import os
import shutil
import tempfile
import time

import loads
import systems

TOP = os.path.normpath(os.path.join(systems.BIN, "..", ".."))
PROFILES = ["tiny", "small", "medium", "large"]
PROGRAMS = {"native": "static", "arm64": "arm64-static", "armhf": "armhf-static"}
STORES = ["empty", "documents"]
DOCUMENT = f"/v1/{loads.DATABASE}/documents/items/0000000000"
LIMIT_S = 120


class Started(systems.Skerry):
    """The program of an architecture and profile. `wanted` is the HTTP status that its answers must have."""

    def __init__(self, architecture, profile, directory):
        self.command = [os.path.join(TOP, "build", PROGRAMS[architecture], "skerry")]
        if architecture != "native":
            self.command.insert(0, os.path.join(TOP, "toolchains", "emulate"))
        self.profile, self.log = profile, os.path.join(directory, "skerry.log")

    def first_answer(self, data, wanted):
        """Starts it; seconds until it has answered a GetDocument as JSON, with that HTTP status."""
        port = systems.free_port()
        begin = time.monotonic()
        self.process = systems.launch([*self.command, "serve", "--dev", "--listen", f"127.0.0.1:{port}", "--data", data,
                                       "--profile", self.profile], self.log)
        while time.monotonic() < begin + LIMIT_S and self.process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
            try:
                connection.request("GET", DOCUMENT)
                answer = connection.getresponse().status
            except OSError:  # it does not listen yet
                time.sleep(0.001)
                continue
            finally:
                connection.close()
            if answer == wanted:
                return time.monotonic() - begin
            if answer != http.client.SERVICE_UNAVAILABLE:
                raise RuntimeError(f"GET {DOCUMENT} was answered with {answer}, not {wanted}")
        with open(self.log, errors="replace") as f:
            raise RuntimeError(f"{' '.join(self.command)} answered no call; the end of its log:\n{f.read()[-2000:]}")


def fill(bench, profile, directory):
    """A store with documents, made by the program of this machine; where its files are."""
    os.mkdir(directory)
    skerry = systems.Skerry(directory, ["--profile", profile])
    loads.generator(skerry, "fill", 180, documents=bench.plan.started, bytes=300, writes=100, connections=2, in_flight=2)
    skerry.stop()
    return skerry.data


def measure(bench, architecture, profile, store, filled, directory):
    """All rounds. A store with documents is opened again and again, each time after a clean stop."""
    data = os.path.join(directory, "data")
    if store == "documents":
        shutil.copytree(filled, data)
    skerry = Started(architecture, profile, directory)
    name = f"start {architecture} {profile} {store}"
    for _ in range(bench.plan.starts):
        seconds = skerry.first_answer(data, http.client.OK if store == "documents" else http.client.NOT_FOUND)
        time.sleep(bench.plan.rest_s)
        bench.results.add(name, {"seconds": seconds, "bytes": skerry.resident_bytes()})
        if skerry.stop() != 0:
            raise RuntimeError(f"{name}: it did not stop cleanly")
        if store == "empty":
            shutil.rmtree(data)
    bench.say(f"  {name}: {bench.results.get(name, 'seconds') * 1000:,.0f} ms, {bench.results.get(name, 'bytes') / 1e6:.1f} MB resident")


def run(bench):
    built = [one for one in PROGRAMS if os.path.exists(os.path.join(TOP, "build", PROGRAMS[one], "skerry"))]
    for one in PROGRAMS:
        if one not in built:
            bench.results.notes.append(f"Left out: starts of build/{PROGRAMS[one]}/skerry, which is not built (scripts/build {PROGRAMS[one]} skerry).")
    bench.results.add("start documents", {"count": bench.plan.started})
    for profile in PROFILES if built else []:
        filled = fill(bench, profile, os.path.join(bench.directory, f"start-{profile}"))
        for architecture in built:
            # librocksdb for armhf has no large files: under emulation it cannot list the folders of large disks.
            where = "/dev/shm" if architecture == "armhf" else bench.directory
            for store in STORES:
                directory = tempfile.mkdtemp(prefix="skerry-bench-", dir=where)
                try:
                    measure(bench, architecture, profile, store, filled, directory)
                finally:
                    systems.end_all()
                    shutil.rmtree(directory)
        shutil.rmtree(os.path.dirname(filled))


def cell(results, architecture, profile, store, figure):
    value = results.get(f"start {architecture} {profile} {store}", figure)
    if architecture == "native":
        return f"{value * 1000:,.0f} ms" if figure == "seconds" else f"{value / 1e6:.1f} MB"
    return f"{value / results.get(f'start {architecture} {PROFILES[0]} {store}', figure):.2f}"


def table(results):
    """A column a profile; nothing if the section was not run."""
    lines = []
    for architecture in PROGRAMS:
        for store, store_text in zip(STORES, ["an empty directory", f"{results.get('start documents', 'count') or 0:,.0f} documents"]):
            if results.get(f"start {architecture} {PROFILES[0]} {store}", "seconds") is None:
                continue
            emulated = "" if architecture == "native" else f", {architecture}, emulated, relative to tiny"
            for figure, text in [("seconds", "start to the first answered call"), ("bytes", "resident, idle")]:
                cells = " | ".join(cell(results, architecture, profile, store, figure) for profile in PROFILES)
                lines.append(f"| {text}, {store_text}{emulated} | {cells} |")
    return ["", f"| by profile | {' | '.join(PROFILES)} |", "|---|---:|---:|---:|---:|", *lines] if lines else []
