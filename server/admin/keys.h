/* The methods of the admin service that are about keys of service accounts, for the table in admin.c. */
#ifndef SKERRY_SERVER_ADMIN_KEYS_H
#define SKERRY_SERVER_ADMIN_KEYS_H

#include "server/admin/admin.h"
#include "skerry/admin/v1/admin.skerry.h"

void admin_create_key(struct rpc_call *call,
                      const Skerry__Admin__V1__CreateServiceAccountKeyRequest *request);
void admin_list_keys(struct rpc_call *call, const Skerry__Admin__V1__ListServiceAccountKeysRequest *request);
void admin_revoke_key(struct rpc_call *call,
                      const Skerry__Admin__V1__RevokeServiceAccountKeyRequest *request);

/* For the status; NULL without issuers, or without memory. */
Skerry__Admin__V1__IssuerStatus **admin_issuers(const struct admin *admin, struct arena *arena,
                                                size_t *ret_count);

#endif
