/* What a query of the store (storage/query/query.h) says to rules. */
#ifndef SKERRY_SERVER_RULES_QUERY_H
#define SKERRY_SERVER_RULES_QUERY_H

#include "server/rules/rules.h"
#include "storage/query/query.h"

/* `query` is prepared. ret->query is its path, filters, orders, limit and offset; *ret_path is for
 * rules_request.path. All in the arena or borrowed from `query`. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status rules_query_make(const struct query *query, struct arena *arena,
                                        struct rules_query *ret, str *ret_path);

#endif
