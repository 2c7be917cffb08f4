/* skerry.admin.v1.Admin: what `skerry status`, `skerry index` and `skerry key` ask. Served on a Unix socket
 * of its own runtime, so that no call from the network can reach it. */
#ifndef SKERRY_SERVER_ADMIN_H
#define SKERRY_SERVER_ADMIN_H

#include <stdatomic.h>

#include "base/status.h"
#include "ports/port.h"
#include "rpc/server.h"
#include "server/backup/backups.h"
#include "server/firestore/index_advisor.h"
#include "server/firestore/service.h"
#include "server/front.h"
#include "server/mail/mail.h"
#include "server/relief.h"
#include "server/rules_source.h"
#include "server/settings.h"
#include "server/tokens/tokens.h"
#include "storage/index/build.h"
#include "storage/kv.h"

struct identity_service;

enum admin_state { ADMIN_STARTING, ADMIN_SERVING, ADMIN_DRAINING };

/* What it tells about; all pointers outlive it. */
struct admin {
  const struct settings *settings;
  struct kv_store *store;
  struct index_set *indexes;
  struct index_worker *index_worker;
  struct index_advisor *advisor;
  struct rpc_server *server; /* the public one */
  struct front *front;       /* and what is in front of it */
  struct firestore_service *firestore;
  struct tokens *tokens;
  struct access *access;
  struct rules_source *rules;
  struct backups *backups;
  struct mail *mail;
  struct identity_service *identity; /* NULL: there are no accounts */
  struct port *port;
  const char *const *addresses; /* where it listens */
  size_t address_count;
  uint64_t memory_limit_bytes;
  const struct profile *profile;
  struct relief *relief;
  int64_t started_wall_us, started_monotonic_us;
  _Atomic enum admin_state state;
};

STATUS_MUST_USE status admin_register(struct admin *admin, struct rpc_server *on);

#endif
