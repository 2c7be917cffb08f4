"""Results into tables: what was measured, and the goals of docs/performance.md with met or missed."""

import os
import platform
import statistics
import time

import accounts
import backups
import flash
import front
import gateway
import instructions
import listening
import queries
import rules
import starts


class Results:
    """Each measure's slices (rounds). A figure of a measure is the median of its slices."""

    def __init__(self):
        self.rounds = {}
        self.notes = []

    def add(self, name, result):
        self.rounds.setdefault(name, []).append(result)

    def get(self, name, figure):
        values = [r[figure] for r in self.rounds.get(name, []) if figure in r]
        return statistics.median(values) if values else None

    def spread(self, name, figure):
        values = [r[figure] for r in self.rounds.get(name, []) if figure in r]
        return f"{min(values):,.0f}-{max(values):,.0f}" if len(values) > 1 else ""

    def ratio(self, one, other, figure="per_s"):
        """The middle of the ratios round by round: what the machine did meanwhile touches both."""
        pairs = zip(self.rounds.get(one, []), self.rounds.get(other, []))
        ratios = [a[figure] / b[figure] for a, b in pairs if a.get(figure) and b.get(figure)]
        return statistics.median(ratios) if ratios else None

    def difference(self, one, other, figure):
        """Round by round likewise."""
        pairs = zip(self.rounds.get(one, []), self.rounds.get(other, []))
        differences = [a[figure] - b[figure] for a, b in pairs if figure in a and figure in b]
        return statistics.median(differences) if differences else None


MEASURES = [
    ("echo h2load", "bare echo of 64 bytes on gRPC core (h2load)"),
    ("skerry get h2load", "Skerry, GetDocument, one document (h2load)"),
    ("skerry get", "Skerry, GetDocument, random documents"),
    ("emulator get h2load", "emulator, GetDocument, one document (h2load)"),
    ("emulator get", "emulator, GetDocument, random documents"),
    ("postgres get", "PostgreSQL, point read, 64 clients"),
    ("skerry list", "Skerry, ListDocuments, pages of 20"),
    ("skerry batchget", "Skerry, BatchGetDocuments, 10 each"),
    ("echo stream", "bare stream of 20 messages of 285 bytes on gRPC core"),
    ("skerry batchget 20", "Skerry, BatchGetDocuments, 20 each"),
    ("skerry get, after", "Skerry, GetDocument, random documents, after the commits"),
    ("skerry list, after", "Skerry, ListDocuments, pages of 20, after the commits"),
    ("skerry batchget, after", "Skerry, BatchGetDocuments, 10 each, after the commits"),
    ("skerry commit", "Skerry, Commit of one document, 256 in flight"),
    ("skerry commit new", "Skerry, Commit of one new document, 256 in flight"),
    ("emulator commit", "emulator, Commit of one document, 256 in flight"),
    ("postgres commit", "PostgreSQL, one-row upsert, 64 clients"),
    ("skerry change, none indexed", "Skerry, Commit that changes ten fields, none indexed"),
    ("skerry change, ten indexed", "Skerry, Commit that changes ten indexed fields"),
    ("skerry new, none indexed", "Skerry, Commit of a new document of ten fields, none indexed"),
    ("skerry new, ten indexed", "Skerry, Commit of a new document of ten indexed fields"),
    ("echo alone", "bare echo, one at a time"),
    ("skerry get alone", "Skerry, GetDocument, one at a time"),
    ("skerry alone", "Skerry, Commit of one document, one at a time"),
    ("postgres alone", "PostgreSQL, one-row upsert, one client"),
    ("skerry transactions", "Skerry, transactions of 64 clients on 8 documents"),
    ("emulator transactions", "emulator, transactions of 64 clients on 8 documents"),
    *queries.MEASURES,
    *listening.MEASURES,
    *front.MEASURES,
    *rules.MEASURES,
    *gateway.MEASURES,
    *flash.MEASURES,
    *backups.MEASURES,
    *accounts.MEASURES,
]


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def measures_table(results):
    lines = ["| measure | calls/s | slices | p50 us | p99 us | server CPU us/call |", "|---|---:|---:|---:|---:|---:|"]
    for name, text in MEASURES:
        if name not in results.rounds:
            continue
        p50 = results.get(name, "p50_us")
        mean = results.get(name, "mean_us")
        lines.append(f"| {text} | {number(results.get(name, 'per_s'))} | {results.spread(name, 'per_s')} | "
                     f"{number(p50) if p50 is not None else (number(mean) + ' mean' if mean else '-')} | "
                     f"{number(results.get(name, 'p99_us'))} | {number(results.get(name, 'cpu_us'), 1)} |")
    return lines


def goals(results):
    """(what, value or None, text of the value, text of the goal, met)."""
    mb = lambda name: None if results.get(name, "bytes") is None else results.get(name, "bytes") / 1e6
    ms = lambda name: None if results.get(name, "seconds") is None else results.get(name, "seconds") * 1e3
    least = lambda what, value, goal: (what, value, number(value, 2), f"at least {goal}", value is not None and value >= goal)
    most = lambda what, value, goal, unit: (what, value, f"{number(value, 1)} {unit}", f"at most {goal:g} {unit}",
                                            value is not None and value <= goal)
    over_sync = results.difference("skerry alone", "sync", "p50_us")
    return [
        least("GetDocument against the bare echo (both h2load)", results.ratio("skerry get h2load", "echo h2load"), 0.70),
        least("GetDocument against the emulator (both h2load)", results.ratio("skerry get h2load", "emulator get h2load"), 6),
        least("GetDocument of random documents against PostgreSQL's point read",
              results.ratio("skerry get", "postgres get"), 1.3),
        least("Commit against the emulator, 256 in flight", results.ratio("skerry commit", "emulator commit"), 8),
        least("Commit, 256 in flight, against PostgreSQL's upsert, 64 clients",
              results.ratio("skerry commit", "postgres commit"), 1.2),
        *[most(f"a Commit that {what} against one without indexes, {figure_text}",
               results.ratio(*[f"skerry {kind}, {name} indexed" for name in order], figure), 3, "times")
          for kind, what in [("change", "changes ten indexed fields"), ("new", "makes a document of ten indexed fields")]
          for figure, figure_text, order in [("per_s", "256 in flight", ("none", "ten")),
                                             ("cpu_us", "CPU of the server", ("ten", "none"))]],
        least("contended transactions against the emulator", results.ratio("skerry transactions", "emulator transactions"), 5),
        most("a Commit alone (p50) over one fdatasync (p50)", over_sync, 150, "us"),
        most("resident, idle", mb("resident idle"), 24, "MB"),
        most(f"resident, {number(results.get('fill', 'documents'))} documents of 300 bytes read at random", mb("resident loaded"), 96, "MB"),
        most("start to serving after a clean stop", ms("start clean"), 200, "ms"),
        most("start to serving after a kill", ms("start killed"), 1000, "ms"),
        most(f"start to serving after a kill, {number((results.get('start killed, long log', 'log_bytes') or 0) / 1e6)} MB of "
             "log (memory_limit 1G)", ms("start killed, long log"), 1000, "ms"),
        *[least(what, value, goal) if at_least else most(what, value, goal, unit)
          for what, value, goal, at_least, unit in [*queries.goals(results), *listening.goals(results), *front.goals(results), *rules.goals(results),
                                                    *gateway.goals(results), *flash.goals(results), *accounts.goals(results), *instructions.goals(results)]],
    ]


def goals_table(results):
    lines = ["| goal | measured | wanted | |", "|---|---:|---:|---|"]
    for what, value, text, goal, met in goals(results):
        if value is not None:
            lines.append(f"| {what} | {text} | {goal} | {'met' if met else '**missed**'} |")
    return lines


def other_figures(results):
    lines = []
    figure = results.get
    if figure("sync", "p50_us") is not None:
        lines.append(f"- One append of 300 bytes and fdatasync on this medium: p50 {number(figure('sync', 'p50_us'))} us, "
                     f"p99 {number(figure('sync', 'p99_us'))} us.")
    ceiling = results.ratio("echo h2load", "emulator get h2load")
    if ceiling is not None:
        lines.append(f"- The ceiling itself, the bare echo, does {number(ceiling, 1)} times the emulator's GetDocument: "
                     "what answers real calls on gRPC core cannot reach more of that than its ratio to the echo.")
    stream = results.ratio("skerry batchget 20", "echo stream")
    if stream is not None:
        lines.append(f"- BatchGetDocuments of 20 against the bare stream of 20 messages: {number(stream, 2)}.")
    echo_alone = results.difference("skerry alone", "echo alone", "p50_us")
    if echo_alone is not None and figure("sync", "p50_us") is not None:
        lines.append(f"- A Commit alone takes {number(echo_alone)} us more than a bare echo alone "
                     f"({number(figure('echo alone', 'p50_us'))} us), {number(echo_alone - figure('sync', 'p50_us'))} us more "
                     "than that and one fdatasync.")
    for name, text in [("written commit", "Commit of one 200-byte document, 256 in flight"),
                       ("written alone", "the same, one at a time"), ("written fill", "Commit of 500 300-byte documents")]:
        if figure(name, "per_commit") is not None:
            lines.append(f"- Written to the medium, {text}: {number(figure(name, 'per_commit'))} bytes a commit, "
                         f"{number(figure(name, 'per_document_byte'), 1)} for each byte of document.")
    if figure("fill", "documents_per_s") is not None:
        lines.append(f"- Loading: {number(figure('fill', 'documents_per_s'))} documents/s; "
                     f"{number(figure('fill', 'disk_bytes') / 1e6)} MB on the disk for "
                     f"{number(figure('fill', 'documents'))} documents.")
    if figure("read loaded", "per_s") is not None:
        lines.append(f"- Random reads with them: {number(figure('read loaded', 'per_s'))}/s, "
                     f"p99 {number(figure('read loaded', 'p99_us'))} us.")
    if figure("start killed", "log_bytes") is not None:
        lines.append(f"- The log to replay after the kill: {number(figure('start killed', 'log_bytes') / 1e6, 1)} MB; "
                     f"after the clean stop {number(figure('start clean', 'log_bytes') / 1e6, 1)} MB.")
    for name in ["echo", "skerry", "emulator", "postgres"]:
        if figure(f"resident {name}", "bytes") is not None:
            lines.append(f"- Resident after the loads, {name}: {number(figure(f'resident {name}', 'bytes') / 1e6)} MB.")
    lines += listening.figures(results) + front.figures(results) + backups.figures(results)
    return lines + [f"- {note}" for note in results.notes]


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith(("model name", "Model")):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) // 1024
    return (f"{model}, {os.cpu_count()} cores, {memory:,} MB, Linux {platform.release()}, "
            f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, load average before {os.getloadavg()[0]:.2f}")


def write(results, where, how):
    lines = [f"Measured on {where}, by `{how}`.", "", *measures_table(results), "", *goals_table(results), *starts.table(results), "",
             *other_figures(results)]
    return "\n".join(lines) + "\n"
