"""The sections `query` and `count` of bench/run: queries that each find 20 documents, by indexes, against reading the
same documents by name, against a bare stream of such messages, and how they grow with the collection."""

import json
import os

import loads
import systems

FOUND = 20
# (mode of the generator, name in the report)
QUERIES = [
    ("query-batchget", "BatchGetDocuments of the same 20"),
    ("query-equal", "one equality"),
    ("query-join", "two equalities, joined"),
    ("query-range", "a range with order and limit"),
    ("query-contains", "array-contains"),
    ("query-or", "OR of five"),
    ("query-group", "one equality in a collection group"),
]
# A collection group's field is indexed when the operator says so, as in production.
INDEXES = {"indexes": [], "fieldOverrides": [{
    "collectionGroup": "leaves", "fieldPath": "group",
    "indexes": [{"queryScope": "COLLECTION", "order": "ASCENDING"},
                {"queryScope": "COLLECTION_GROUP", "order": "ASCENDING"}]}]}


def start(bench, name):
    directory = os.path.join(bench.directory, name)
    os.mkdir(directory)
    file = os.path.join(directory, "firestore.indexes.json")
    with open(file, "w") as f:
        json.dump(INDEXES, f)
    return systems.Skerry(directory, ["--indexes", file])


def fill(skerry, mode, documents):
    return loads.generator(skerry, mode, 300, documents=documents, bytes=300, writes=500, connections=2, in_flight=2)


def check(result, mode):
    """A query that finds nothing is fast."""
    if mode != "query-count" and result["calls"] and result["bytes_in"] / result["calls"] < FOUND * 300:
        raise RuntimeError(f"{mode} does not give {FOUND} documents of 300 bytes: "
                           f"{result['bytes_in'] / result['calls']:.0f} bytes a call")
    return result


def rates(bench):
    """Each query by turns, 256 in flight; and the count of everything."""
    documents, seconds = bench.plan.queried, bench.plan.seconds
    skerry = start(bench, "queries")
    bench.start(systems.Echo)
    bench.results.add("query fill", {"documents_per_s": documents / fill(skerry, "query-fill", documents)["seconds"]})
    fill(skerry, "query-fill-leaves", documents)
    for round_number in range(bench.plan.query_slices):
        bench.say(f"query, slice {round_number + 1} of {bench.plan.query_slices}")
        if "echo" in bench.running:
            bench.record("stream", loads.generator(bench.running["echo"], "stream", seconds, bytes=350, writes=FOUND))
        for mode, _ in QUERIES:
            options = {"writes": FOUND} if mode == "query-batchget" else {}
            bench.record(mode, check(loads.generator(skerry, mode, seconds, documents=documents, **options), mode))
        counted = loads.generator(skerry, "query-count", seconds, documents=documents, connections=1, in_flight=1)
        counted["entries_per_s"] = counted["per_s"] * documents
        bench.record("query-count", counted)
    bench.results.add("resident queries", {"bytes": skerry.resident_bytes()})
    skerry.stop()
    for system in bench.running.values():
        system.stop()
    bench.running.clear()


def growth(bench):
    """The same equality, one at a time, in a small and a large collection, by turns."""
    small, large = start(bench, "small"), start(bench, "large-queried")
    fill(small, "query-fill", bench.plan.grown_from)
    fill(large, "query-fill", bench.plan.grown_to)
    for _ in range(bench.plan.query_slices):
        for skerry, name, documents in [(small, "grown from", bench.plan.grown_from),
                                        (large, "grown to", bench.plan.grown_to)]:
            bench.record(name, check(loads.generator(skerry, "query-equal", bench.plan.seconds, documents=documents,
                                                     connections=1, in_flight=1), "query-equal"))
    bench.results.add("resident grown", {"bytes": large.resident_bytes()})
    small.stop()
    large.stop()


MEASURES = ([("stream", "bare stream of 20 messages of 350 bytes on gRPC core")] +
            [(mode, f"Skerry, {text}") for mode, text in QUERIES] +
            [("query-count", "Skerry, count of a whole collection, one at a time"),
             ("grown from", "Skerry, one equality, one at a time, small collection"),
             ("grown to", "Skerry, one equality, one at a time, large collection")])


def goals(results):
    """(what, value, goal, at least?, unit)"""
    found = [("an equality query's documents against BatchGetDocuments of the same",
              results.ratio("query-equal", "query-batchget"), 0.5, True, ""),
             ("an equality query against a bare stream of the same messages", results.ratio("query-equal", "stream"),
              0.6, True, "")]
    for mode, text in QUERIES[2:]:
        found.append((f"{text}, against the equality query", results.ratio(mode, "query-equal"), 0.5, True, ""))
    growth_ratio = results.ratio("grown to", "grown from", "p50_us")
    found.append(("p50 of the equality query from the small to the large collection", growth_ratio, 1.5, False, ""))
    found.append(("count, entries a second", results.get("query-count", "entries_per_s"), 1_000_000, True, ""))
    return found
