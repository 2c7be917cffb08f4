/* The method of the admin service that makes backups, for the table in admin.c, and what the status says of
 * them. */
#ifndef SKERRY_SERVER_ADMIN_BACKUPS_H
#define SKERRY_SERVER_ADMIN_BACKUPS_H

#include "server/admin/admin.h"
#include "skerry/admin/v1/admin.skerry.h"

void admin_backup(struct rpc_call *call, const Skerry__Admin__V1__BackupRequest *request);

/* Lives in the arena. NULL: no room there. */
Skerry__Admin__V1__BackupStatus *admin_backup_status(const struct admin *admin, struct arena *arena);

#endif
