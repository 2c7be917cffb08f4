/* ListDocuments in an order of fields: a list that is a query. */
#ifndef SKERRY_SERVER_FIRESTORE_LIST_ORDER_H
#define SKERRY_SERVER_FIRESTORE_LIST_ORDER_H

#include "server/firestore/list_page.h"

/* The rest of a ListDocuments that is ordered by fields: finishes the call, now or later. The page has its
 * size, its mask and what its tokens are bound to. Everything in the arena. */
void list_ordered(struct rpc_call *call, const struct doc_path *parent, str collection_id,
                  const struct query_order *orders, size_t order_count, const struct list_page *page,
                  const struct query_selector *selector);

#endif
