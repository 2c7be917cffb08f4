/* The parts that a run is put together from: each gives documents one after the other.
 *
 *   index scan or join ─┐                      ┌─ fetch and filter ─┐
 *   documents scan ─────┴──────────────────────┴────────────────────┴─ (each branch of the plan)
 *     branches -> union | sort | the only one -> offset and limit -> [fetch -> nearest] -> fetch
 *
 * A stream works until it has an item, or its context's work for this turn is used up, or it is at its end.
 * `pause` lets go of everything that is pinned in the store; the next `next` opens it again and goes on. */
#ifndef SKERRY_STORAGE_QUERY_STREAM_H
#define SKERRY_STORAGE_QUERY_STREAM_H

#include "storage/query/plan.h"
#include "storage/query/run_internal.h"

enum stream_step { STREAM_ITEM, STREAM_TURN, STREAM_END };

/* Valid until the next call of any function on the stream. */
struct stream_item {
  str key;
  str sort_key; /* only where the context wants it, or the stream sorts */
  str record;   /* the stored bytes, where the stream has read them; or empty */
};

/* What all streams of a run share. */
struct stream_context {
  kv_snapshot snapshot;
  const struct query_plan *plan;
  bool sort_keys; /* branches give sort keys */
  unsigned work_left;
  uint64_t rows_wanted; /* at most so many more items are asked for: no larger batch is read */
  struct query_stats stats;
  struct query_reads reads; /* zeroed: none */

  struct memory_budget *budget; /* or NULL */
  size_t memory_used, memory_max;
  unsigned sorters; /* 1, or 2 if nearest comes after a sort */
  const char *spill_directory;
  uint64_t spill_max;

  /* Of an aggregation, for the item that came last. */
  struct query_value *values;
  size_t value_count;
};

struct stream;
struct stream_type {
  status (*next)(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret);
  void (*pause)(struct stream *stream);
  void (*close)(struct stream *stream);
};
struct stream {
  const struct stream_type *type;
};

static inline status stream_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  return stream->type->next(stream, ret_step, ret);
}
static inline void stream_pause(struct stream *stream) {
  stream->type->pause(stream);
}
static inline void stream_close(struct stream *stream) {
  if (stream != NULL)
    stream->type->close(stream);
}

/* Counts work for this turn: one entry or document of so many bytes. What is large is looked through for
 * long. */
static inline void stream_work(struct stream_context *context, size_t bytes) {
  size_t work = 1 + bytes / 4096;
  context->work_left -= (unsigned)(work < context->work_left ? work : context->work_left);
}

/* Memory of the run: false past its maximum or the budget. */
bool stream_memory_take(struct stream_context *context, size_t bytes);
void stream_memory_give(struct stream_context *context, size_t bytes);

/* Constructors. All that take streams take them over, also when they fail. RESOURCE_EXHAUSTED alone. */

/* Which column of which of a branch's scans a value of an aggregation is. */
struct stream_value_source {
  size_t scan, column;
};

/* A branch's scans: stream_index.c. `sources` (may be NULL): for each of context->values; those of equalities
 * are filled in already, but for the flags. */
STATUS_MUST_USE status stream_index_open(struct stream_context *context, const struct plan_branch *branch,
                                         const struct stream_value_source *sources, struct stream **ret);
/* A branch's documents: stream_documents.c. Its items have records. */
STATUS_MUST_USE status stream_documents_open(struct stream_context *context, const struct plan_branch *branch,
                                             struct stream **ret);
enum stream_records {
  STREAM_NO_RECORDS,   /* the items have none */
  STREAM_SOME_RECORDS, /* some have */
  STREAM_ALL_RECORDS,
};
/* Reads documents, up to 20 at a time, and gives those that pass what the branch leaves to check. `records`:
 * what the input has already; with some, branch is NULL. branch: NULL to check nothing. sorts: makes sort
 * keys of the documents and leaves out what is not between the plan's cursors. stream_fetch.c */
STATUS_MUST_USE status stream_fetch_open(struct stream_context *context, struct stream *input,
                                         const struct plan_branch *branch, enum stream_records records,
                                         bool sorts, struct stream **ret);
/* Several streams with sort keys as one in that order, without duplicates; items have no records.
 * stream_union.c */
STATUS_MUST_USE status stream_union_open(struct stream_context *context, struct stream **inputs, size_t count,
                                         struct stream **ret);
/* Several streams with sort keys in any order, sorted, without duplicates; with `best` only the first so many
 * are sure to come. keeps_records: small records go along. stream_sort.c */
STATUS_MUST_USE status stream_sort_open(struct stream_context *context, struct stream **inputs, size_t count,
                                        uint64_t best, bool keeps_records, struct stream **ret);
/* The query's offset and limit. stream_limit.c */
STATUS_MUST_USE status stream_limit_open(struct stream_context *context, struct stream *input,
                                         struct stream **ret);
/* The nearest of a stream with records, in the order of distance. stream_nearest.c */
STATUS_MUST_USE status stream_nearest_open(struct stream_context *context, struct stream *input,
                                           struct stream **ret);

#endif
