"""The section `backup` of bench/run: full and incremental backups of a large store, what they take from commits, a restore,
and exports and imports."""

import os
import shutil
import subprocess
import time

import loads
import systems

PROJECT = "demo-bench"  # the generator's
LIMIT = "10M", 10 << 20  # the default of backup_rate


def command(skerry, *words):
    """Runs one to its end: (seconds, what it printed)."""
    begin = time.monotonic()
    done = subprocess.run([skerry.program, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"skerry {' '.join(words)}: {done.stdout}{done.stderr}")
    return time.monotonic() - begin, done.stdout + done.stderr


def bytes_below(directory):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(directory) for f in files)


def back_up(bench, skerry, name, directory, rate=0):
    before = bytes_below(directory)
    seconds, _ = command(skerry, "backup", directory, "--data", skerry.data, "--rate", str(rate))
    bench.results.add(name, {"seconds": seconds, "bytes": bytes_below(directory) - before})
    bench.say(f"  {name}: {seconds:.1f} s, {(bytes_below(directory) - before) / 1e6:.1f} MB")


def wait_until_idle(skerry):
    while " now: " in command(skerry, "status", "--data", skerry.data)[1]:
        time.sleep(0.1)


def commits_beside(bench, skerry, name, directory, rate, first):
    """A slice of commits of new documents, in the middle of a full backup if there is a rate; the next number."""
    backup = None
    if rate is not None:
        backup = systems.launch([skerry.program, "backup", directory, "--data", skerry.data, "--rate", str(rate), "--quiet"],
                                os.path.join(bench.directory, "backup.log"))
        while not os.path.exists(os.path.join(directory, "engine", "shared_checksum")) or not os.listdir(
                os.path.join(directory, "engine", "shared_checksum")):
            time.sleep(0.01)
    result = loads.generator(skerry, "commit", bench.plan.seconds, unique=first, bytes=300)
    bench.record(name, result)
    if backup is not None:
        backup.terminate()  # which stops the backup, and takes away what it copied
        backup.wait()
        wait_until_idle(skerry)
        shutil.rmtree(directory, ignore_errors=True)
    return result["next"]


def run(bench):
    directory = os.path.join(bench.directory, "backups")
    os.mkdir(directory)
    skerry = systems.Skerry(directory)
    place = os.path.join(directory, "b")
    bench.fill(skerry)
    for number in range(2 if bench.plan.quick else 3):
        shutil.rmtree(place, ignore_errors=True)
        back_up(bench, skerry, "backup full", place)
        back_up(bench, skerry, "backup nothing new", place)
        loads.generator(skerry, "commit", bench.plan.seconds, unique=10_000_000 * (number + 1), bytes=300)
        back_up(bench, skerry, "backup incremental", place)
    back_up(bench, skerry, "backup full, 10 MB/s", os.path.join(directory, "limited"), LIMIT[1])
    seconds, _ = command(skerry, "restore", place, "--data", os.path.join(directory, "restored"))
    bench.results.add("restore", {"seconds": seconds})
    first = 100_000_000
    for _ in range(bench.plan.slices):
        for name, rate in [("commit, no backup", None), ("commit, backup at 10 MB/s", LIMIT[1]), ("commit, backup without limit", 0)]:
            first = commits_beside(bench, skerry, name, os.path.join(directory, "beside"), rate, first)
    lines = os.path.join(directory, "all.jsonl")
    seconds, _ = command(skerry, "export", lines, "--project", PROJECT, "--data", skerry.data)
    with open(lines, "rb") as file:
        documents = sum(1 for _ in file)
    bench.results.add("export", {"per_s": documents / seconds, "bytes": os.path.getsize(lines), "documents": documents})
    skerry.stop()
    other = os.path.join(directory, "other")
    os.mkdir(other)
    empty = systems.Skerry(other)
    some = os.path.join(directory, "some.jsonl")
    with open(lines, "rb") as file, open(some, "wb") as out:
        taken = 0
        for line in file:
            out.write(line)
            taken += 1
            if taken == bench.plan.queried:
                break
    seconds, _ = command(empty, "import", some, "--data", empty.data)
    bench.results.add("import", {"per_s": taken / seconds})
    empty.stop()


MEASURES = [
    ("commit, no backup", "Commit of one new 300-byte document, 256 in flight, no backup"),
    ("commit, backup at 10 MB/s", "the same beside full backups at `backup_rate = 10M`"),
    ("commit, backup without limit", "the same beside full backups without a limit"),
]


def figures(results):
    figure, lines = results.get, []
    for name, text in [("commit, backup at 10 MB/s", "at 10 MB/s"), ("commit, backup without limit", "without a limit")]:
        ratio = results.ratio(name, "commit, no backup")
        if ratio is not None:
            lines.append(f"- Commits a second beside a full backup {text}, against none: {ratio:.2f}.")
    for name in ["backup full", "backup full, 10 MB/s", "backup nothing new", "backup incremental"]:
        if figure(name, "seconds") is not None:
            lines.append(f"- {name[0].upper() + name[1:]}: {figure(name, 'seconds'):.1f} s with its verification, "
                         f"{figure(name, 'bytes') / 1e6:,.1f} MB.")
    if figure("restore", "seconds") is not None:
        lines.append(f"- Restore, verified: {figure('restore', 'seconds'):.1f} s.")
    if figure("export", "per_s") is not None:
        lines.append(f"- Export: {figure('export', 'per_s'):,.0f} documents/s; {figure('export', 'documents'):,.0f} documents, "
                     f"{figure('export', 'bytes') / 1e6:,.0f} MB of JSON.")
        lines.append(f"- Import: {figure('import', 'per_s'):,.0f} documents/s.")
    return lines
