/* Runs a query at a snapshot: a plan over the indexes, then rows, one after the other.
 *
 * The plan (plan.h) picks for each conjunction of the query the scan that reads least: a composite index that
 * gives filters and order; several equality indexes joined by the order of names; the best single index with
 * the rest filtered and, if the order is another, sorted; the collection itself where no index helps. A
 * disjunction is the union of its conjunctions' streams, without duplicates, merged in the query's order.
 *
 * Work is done in turns: query_run_next returns QUERY_TURN after QUERY_TURN_ENTRIES entries or documents
 * without a row, so that whoever runs it on a thread with other work can let that go on. Between two calls of
 * next, query_run_pause lets go of everything that is pinned in the store (iterators, values); the run goes
 * on from its position.
 *
 * Memory: plan, positions and rows under way are in memory of the run's own, charged to `budget`, at most
 * `memory_bytes_max`; sorting past it goes to temporary files (at most spill_bytes_max, RESOURCE_EXHAUSTED
 * past it), unless a limit lets it keep the best few. The arena of open holds the plan only.
 *
 * One thread at a time. Errors: those of kv.h; RESOURCE_EXHAUSTED; FAILED_PRECONDITION in QUERY_STRICT where
 * production wants an index, with a message that says which. */
#ifndef SKERRY_STORAGE_QUERY_RUN_H
#define SKERRY_STORAGE_QUERY_RUN_H

#include "base/memory_budget.h"
#include "storage/document/record.h"
#include "storage/index/catalog.h"
#include "storage/kv.h"
#include "storage/query/query.h"

struct query_run;

enum query_index_mode {
  QUERY_AUTO,   /* any query is served; missing indexes are reported */
  QUERY_STRICT, /* as production: a query that needs a composite index and has none is refused */
};

/* What was read, for transactions: calls come during next and close; the strings live until they return. */
struct query_reads {
  /* Nothing in lower <= key < upper may have changed. Told at close, or when a scan ends, as far as it went.
   */
  void (*range)(void *argument, enum kv_space space, str lower, str upper);
  /* A document that was looked at. */
  void (*document)(void *argument, str key);
  void *argument;
};

struct query_run_options {
  kv_snapshot snapshot;
  struct index_catalog *catalog; /* the run takes a reference of its own */
  enum query_index_mode mode;
  struct memory_budget *budget;    /* or NULL */
  size_t memory_bytes_max;         /* 0: 8 MiB */
  const char *spill_directory;     /* NULL: no spilling, RESOURCE_EXHAUSTED instead */
  uint64_t spill_bytes_max;        /* 0: 1 GiB */
  const struct query_reads *reads; /* or NULL; copied */
};

enum { QUERY_TURN_ENTRIES = 1024 };

enum query_step { QUERY_ROW, QUERY_TURN, QUERY_END };

struct query_row {
  str key;                  /* in KV_DOCUMENTS */
  str name;                 /* the full resource name */
  struct doc_record record; /* fields empty and times 0 if the query is names_only and no document was read */
  double distance;          /* nearest */
};

/* `query` is prepared and lives as long as the run, like the arena. */
STATUS_MUST_USE status query_run_open(const struct query *query, const struct query_run_options *options,
                                      struct arena *arena, struct query_run **ret);
/* On QUERY_ROW, *ret is valid until the next call of any function on the run. After an error or QUERY_END
 * only close may be called. Offset and limit are applied here; with nearest the record holds the result
 * field. */
STATUS_MUST_USE status query_run_next(struct query_run *run, enum query_step *ret_step,
                                      struct query_row *ret);
void query_run_pause(struct query_run *run);
void query_run_close(struct query_run *run); /* NULL is allowed */

struct query_stats {
  uint64_t index_entries, documents; /* looked at */
  uint64_t rows, skipped;            /* given; passed over for the offset */
  uint64_t spilled_bytes;
};
void query_run_stats(const struct query_run *run, struct query_stats *ret);

/* The indexes that the plan uses, for explain_options and the log of slow queries. */
struct query_used_index {
  str scope;      /* "Collection", "Collection Group" or "Database" */
  str properties; /* "(customer ASC, time DESC, __name__ DESC)" */
};
size_t query_run_used_indexes(const struct query_run *run, const struct query_used_index **ret);
/* The plan and what it has read so far, in one line without values, for the log of slow queries; in the
 * arena. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status query_run_describe(const struct query_run *run, struct arena *arena, str *ret);
/* The composite index that would serve the query directly, as an entry of "indexes" in
 * firestore.indexes.json; empty if none is missing. */
str query_run_missing_index(const struct query_run *run);

#endif
