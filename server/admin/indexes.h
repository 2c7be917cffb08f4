/* The methods of the admin service that are about indexes, for the table in admin.c. */
#ifndef SKERRY_SERVER_ADMIN_INDEXES_H
#define SKERRY_SERVER_ADMIN_INDEXES_H

#include "server/admin/admin.h"
#include "skerry/admin/v1/admin.skerry.h"

void admin_apply_indexes(struct rpc_call *call, const Skerry__Admin__V1__ApplyIndexesRequest *request);
void admin_list_indexes(struct rpc_call *call, const Skerry__Admin__V1__ListIndexesRequest *request);
void admin_suggest_indexes(struct rpc_call *call, const Skerry__Admin__V1__SuggestIndexesRequest *request);

/* For the status. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status admin_index_work(const struct admin *admin, Skerry__Admin__V1__IndexWork *ret);

#endif
