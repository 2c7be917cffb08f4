/* find_nearest's rows: distances in sort keys, and the field that tells them. */
#ifndef SKERRY_STORAGE_QUERY_NEAREST_H
#define SKERRY_STORAGE_QUERY_NEAREST_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "storage/query/query.h"

enum { NEAREST_DISTANCE_BYTES = 8 };

/* What the sort key of a result begins with; its key follows. */
void nearest_put_distance(const struct query_nearest *nearest, double distance, struct buf *out);
double nearest_take_distance(const struct query_nearest *nearest, str sort_key);

/* The canonical fields of a document with the distance in nearest->result_field. DATA_LOSS,
 * RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status nearest_add_result(const struct query_nearest *nearest, double distance, str fields,
                                          struct arena *arena, str *ret);

#endif
