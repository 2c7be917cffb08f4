/* The endpoints of the official emulator that tests of apps use. In development only: they ask nobody. */
#ifndef SKERRY_SERVER_EMULATOR_H
#define SKERRY_SERVER_EMULATOR_H

#include "base/status.h"
#include "server/firestore/service.h"
#include "server/gateway/gateway.h"
#include "server/identity/service.h"
#include "server/mail/mail.h"
#include "server/rules_source.h"

struct emulator {
  struct firestore_service *firestore;
  struct rules_source *rules;
  struct identity_service *identity; /* NULL: there are no accounts, nor their endpoints */
  struct mail *mail;
};

/* DELETE /emulator/v1/projects/{project}/databases/{database}/documents empties a database.
 * PUT /emulator/v1/projects/{project}:securityRules takes {"rules": {"files": [{"content": "..."}]}} and
 * makes them the rules until the server ends: of all projects, there is one set.
 * DELETE /emulator/v1/projects/{project}/accounts deletes all accounts of a project.
 * GET /emulator/v1/projects/{project}/oobCodes lists the codes of mails that would have been sent.
 * `emulator` outlives the gateway. */
STATUS_MUST_USE status emulator_register(struct gateway *gateway, struct emulator *emulator);

#endif
