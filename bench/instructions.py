"""The section `instructions` of bench/run: instructions of the server's process for each call, counted by valgrind
(--tool=callgrind). They hardly depend on what else the machine does, so a change of some percent is a change of the
program, which no rate on a busy machine shows."""

import os
import re
import shutil
import subprocess
import time

import loads
import systems

SECONDS = 6
ONE_AT_A_TIME = {"connections": 1, "in_flight": 1}
# What each took when it was last looked at; a tenth more is a regression.
USUAL = {"GetDocument": 61_000, "Commit": 202_000}


class Counted(systems.Skerry):
    """The server inside of callgrind, with one queue: nothing waits for a lock."""

    def __init__(self, directory):
        if not shutil.which("valgrind"):
            raise systems.Missing("valgrind is not installed")
        self.counts = os.path.join(directory, "callgrind.out")
        super().__init__(directory, ["--threads", "1"])

    def start(self):
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.counts}", "--fair-sched=yes", self.program,
                   "serve", "--dev", "--listen", self.target, "--data", self.data, *self.arguments]
        self.process = systems.launch(command, self.log)
        systems.wait_for_port(self.port, self.process, 120, self.log)
        return 0

    def control(self, option):
        done = subprocess.run(["callgrind_control", option, str(self.process.pid)], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"callgrind_control {option}: {done.stdout}{done.stderr}")

    def instructions(self, work):
        """(how many while `work` ran, what it returned)."""
        for old in self.dumps():
            os.remove(old)
        self.control("--zero")
        result = work()
        self.control("--dump")
        with open(max(self.dumps(), key=os.path.getmtime), errors="replace") as f:
            return int(re.search(r"^totals: (\d+)", f.read(), re.M).group(1)), result

    def dumps(self):
        directory, name = os.path.split(self.counts)
        return [os.path.join(directory, one) for one in os.listdir(directory) if one.startswith(name + ".")]


def measure(bench, skerry, name, mode, idle, **options):
    count, result = skerry.instructions(lambda: loads.generator(skerry, mode, SECONDS, **ONE_AT_A_TIME, **options))
    each = (count - idle) / result["ok"]
    bench.results.add(f"instructions {name}", {"each": each})
    bench.say(f"  {name}: {each:,.0f} instructions ({result['ok']} calls)")


def run(bench):
    directory = os.path.join(bench.directory, "instructions")
    os.mkdir(directory)
    try:
        skerry = Counted(directory)
    except systems.Missing as missing:
        bench.results.notes.append(f"Instructions are not counted: {missing}.")
        return
    loads.generator(skerry, "fill", 120, documents=2000, bytes=300, writes=500, connections=1, in_flight=1)
    for mode in ["get", "commit"]:  # what a server needs once
        loads.generator(skerry, mode, 3, documents=2000, **ONE_AT_A_TIME)
    idle, _ = skerry.instructions(lambda: time.sleep(SECONDS))
    measure(bench, skerry, "GetDocument", "get", idle, documents=2000)
    measure(bench, skerry, "Commit", "commit", idle, documents=2000, bytes=300)
    skerry.kill()


def goals(results):
    return [(f"instructions for a {name}, one at a time", results.get(f"instructions {name}", "each"), usual * 1.1, False, "instructions")
            for name, usual in USUAL.items() if results.get(f"instructions {name}", "each") is not None]
