/* ListDocumentsRequest.order_by: the orders of a query as text. Any thread. */
#ifndef SKERRY_SERVER_FIRESTORE_ORDER_BY_H
#define SKERRY_SERVER_FIRESTORE_ORDER_BY_H

#include "base/arena.h"
#include "base/status.h"
#include "storage/query/query.h"

/* "priority desc, __name__ desc": field paths, each with a direction (in any case) or without (asc). Commas
 * and spaces within back quotes belong to the path. Empty gives no order. At most LIMIT_QUERY_PARTS.
 * INVALID_ARGUMENT, RESOURCE_EXHAUSTED. The orders are in the arena and borrow from `text`. */
STATUS_MUST_USE status order_by_parse(str text, struct arena *arena, struct query_order **ret,
                                      size_t *ret_count);

#endif
