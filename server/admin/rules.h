/* The methods of the admin service that are about security rules, for the table in admin.c. */
#ifndef SKERRY_SERVER_ADMIN_RULES_H
#define SKERRY_SERVER_ADMIN_RULES_H

#include "server/admin/admin.h"
#include "skerry/admin/v1/admin.skerry.h"

void admin_deploy_rules(struct rpc_call *call, const Skerry__Admin__V1__DeployRulesRequest *request);
void admin_get_rules(struct rpc_call *call, const Skerry__Admin__V1__GetRulesRequest *request);

#endif
