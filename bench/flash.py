"""The section `flash` of bench/run: what the medium has to write for a byte of documents, which is what wears it out.
Documents are overwritten at random, one a commit (or as many as --flash-writes says, which goes faster and leaves out a
part of the log only), each commit synced and its fields indexed, with the history of an hour.

The kernel counts what the process sent to the medium (write_bytes of /proc/PID/io: the log with the half-filled pages that
each sync writes again, tables, the store's own files); the metrics say which part wrote it."""

import os
import re
import shutil
import time
import urllib.request

import loads
import systems

DOCUMENTS, BYTES, FIELDS = 200_000, 300, 4
SLICE_S = 10
GOAL = 12
MEASURES = [("flash commit", "Skerry, profile small, Commit that overwrites documents of four indexed fields, 256 in flight")]


def counters(skerry):
    """What commits put (documents, other) and what the store wrote for it (log, flush, compaction), by the metrics."""
    with urllib.request.urlopen(f"http://{skerry.target}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r'^skerry_(?:applied|medium_written)_bytes_total\{(?:of|by)="(\w+)"\} (\d+)$', text, re.M)
    return {part: int(number) for part, number in found}


def overwrite(bench, skerry, wanted):
    """So many documents, by what the store was given; how many it were. The generator counts calls, without those
    before and after its time."""
    document = counters(skerry)["documents"] / DOCUMENTS  # bytes, names and fields: so far each was written once
    before, done = counters(skerry)["documents"], 0
    while done < wanted:
        result = loads.generator(skerry, "commit", 1 if wanted < 100_000 else SLICE_S, documents=DOCUMENTS, bytes=BYTES,
                                 fields=FIELDS, writes=bench.plan.flash_writes)
        bench.record("flash commit", result)
        done = (counters(skerry)["documents"] - before) / document
    return int(done)


def rest(skerry, seconds=120):
    """Until nothing was written for two seconds: what compactions are behind belongs to the commits too."""
    end, last, quiet = time.monotonic() + seconds, -1, 0
    while quiet < 2 and time.monotonic() < end:
        now = skerry.written_bytes()
        quiet, last = (quiet + 1, last) if now == last else (0, now)
        time.sleep(1)


def run(bench):
    directory = os.path.join(bench.directory, "flash")
    os.mkdir(directory)
    skerry = systems.Skerry(directory, ["--profile", "small", "--metrics", "local"])
    loads.generator(skerry, "fill", 90, documents=DOCUMENTS, bytes=BYTES, fields=FIELDS, writes=100, connections=2, in_flight=2)
    rest(skerry)
    before, parts_before = skerry.written_bytes(), counters(skerry)
    count = overwrite(bench, skerry, bench.plan.overwrites)
    rest(skerry)
    written = skerry.written_bytes() - before
    parts = {part: now - parts_before[part] for part, now in counters(skerry).items()}
    documents = parts.pop("documents")  # names and fields, as they are stored
    bench.results.add("flash", {"overwrites": count, "per_document_byte": written / documents,
                                **{part: size / documents for part, size in parts.items()}})
    told = ", ".join(f"{part} {size / documents:.2f}" for part, size in parts.items())
    bench.say(f"  {count:,} overwrites of {documents / count:.0f} bytes: {written / documents:.2f} bytes to the medium for a byte of "
              f"document; by the metrics {told}; {skerry.disk_bytes() / 1e6:,.0f} MB on disk")
    skerry.stop()
    shutil.rmtree(directory)


def goals(results):
    count = results.get("flash", "overwrites")
    if count is None:
        return []
    return [(f"bytes to the medium for a byte of document, {count:,.0f} overwrites, profile small",
             results.get("flash", "per_document_byte"), GOAL, False, "bytes")]
