/* What the handlers of AccountAdmin share. Inside of the directory. */
#ifndef SKERRY_SERVER_IDENTITY_ADMIN_H
#define SKERRY_SERVER_IDENTITY_ADMIN_H

#include "server/identity/handlers.h"

/* task_init, for owners of the project only: PERMISSION_DENIED, UNAUTHENTICATED. */
STATUS_MUST_USE status admin_enter(struct task *task, struct rpc_call *call, const char *project);

#endif
