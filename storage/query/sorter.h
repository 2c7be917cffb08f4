/* Sorts documents by their sort keys (plan.h) within the memory of a run.
 *
 * Asked for the best few (at most SORTER_BEST_MAX), it keeps those and nothing else. Otherwise, or where they
 * do not fit, it gathers in memory, writes a sorted piece to a temporary file each time that the memory is
 * full, and merges the pieces at the end. The file has no name, so it goes away with the process. What comes
 * twice is given once. */
#ifndef SKERRY_STORAGE_QUERY_SORTER_H
#define SKERRY_STORAGE_QUERY_SORTER_H

#include "storage/query/stream.h"

struct sorter;

enum {
  SORTER_BEST_MAX = 4096,
  /* Copying so much costs less than reading the document again. */
  SORTER_RECORD_MAX = 4096,
};

/* best: 0 for all. */
STATUS_MUST_USE status sorter_new(struct stream_context *context, uint64_t best, struct sorter **ret);
/* What is sorted: the record is what goes with it, or empty. */
struct sorter_item {
  str sort_key, key, record;
};

/* The item is copied, but for a record of more than SORTER_RECORD_MAX bytes: it is left out.
 * RESOURCE_EXHAUSTED: no memory, no directory to spill to, past the spill's maximum; UNAVAILABLE: the file
 * could not be written. */
STATUS_MUST_USE status sorter_add(struct sorter *sorter, struct sorter_item item);
/* No more will be added. */
STATUS_MUST_USE status sorter_finish(struct sorter *sorter);
/* The next in order, after finish. The strings are valid until the next call. */
STATUS_MUST_USE status sorter_next(struct sorter *sorter, bool *ret_any, struct sorter_item *ret);
void sorter_free(struct sorter *sorter); /* NULL is allowed */

#endif
