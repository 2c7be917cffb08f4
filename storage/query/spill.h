/* Sorted pieces of a sort that outgrew its memory, in one temporary file.
 *
 *   item = the lengths of sort key, key and record (4 bytes each, this machine's order), and those */
#ifndef SKERRY_STORAGE_QUERY_SPILL_H
#define SKERRY_STORAGE_QUERY_SPILL_H

#include "storage/query/sorter.h"

struct spill;

/* A new file without a name in the context's directory. */
STATUS_MUST_USE status spill_new(struct stream_context *context, struct spill **ret);
void spill_free(struct spill *spill); /* NULL is allowed */

/* Between begin and end items of one piece are put in order. */
STATUS_MUST_USE status spill_begin(struct spill *spill);
STATUS_MUST_USE status spill_put(struct spill *spill, struct sorter_item item);
STATUS_MUST_USE status spill_end(struct spill *spill);

/* Then all pieces are read as one, in order, with duplicates. `memory` is about what the reading may take. */
STATUS_MUST_USE status spill_merge(struct spill *spill, size_t memory);
STATUS_MUST_USE status spill_next(struct spill *spill, bool *ret_any, struct sorter_item *ret);

#endif
