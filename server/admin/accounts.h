/* What metrics and `skerry status` tell of accounts. */
#ifndef SKERRY_SERVER_ADMIN_ACCOUNTS_H
#define SKERRY_SERVER_ADMIN_ACCOUNTS_H

#include "base/arena.h"
#include "server/admin/admin.h"
#include "skerry/admin/v1/admin.pb-c.h"

/* Lines of metrics; none if the server has no accounts. */
void admin_accounts_metrics(const struct admin *admin, struct buf *out);
/* In the arena. NULL: it has no accounts, or there is no memory. */
Skerry__Admin__V1__AccountsStatus *admin_accounts_status(const struct admin *admin, struct arena *arena);

#endif
