/* The endpoints of the official emulator that tests of apps use. In development only: they ask nobody. */
#ifndef SKERRY_SERVER_EMULATOR_H
#define SKERRY_SERVER_EMULATOR_H

#include "base/status.h"
#include "server/firestore/service.h"
#include "server/gateway/gateway.h"

/* DELETE /emulator/v1/projects/{project}/databases/{database}/documents empties a database. */
STATUS_MUST_USE status emulator_register(struct gateway *gateway, struct firestore_service *firestore);

#endif
