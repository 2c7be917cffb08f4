/* What the status says of the front door. */
#ifndef SKERRY_SERVER_ADMIN_FRONT_STATUS_H
#define SKERRY_SERVER_ADMIN_FRONT_STATUS_H

#include "server/admin/admin.h"
#include "skerry/admin/v1/admin.skerry.h"

/* Lives in the arena. NULL: no room there. */
Skerry__Admin__V1__FrontStatus *admin_front_status(const struct admin *admin, struct arena *arena);

#endif
