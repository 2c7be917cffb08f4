/* Accounts of an app's users: skerry.identity.v1.Accounts and AccountAdmin. */
#ifndef SKERRY_SERVER_IDENTITY_SERVICE_H
#define SKERRY_SERVER_IDENTITY_SERVICE_H

#include "base/crypto_kdf.h"
#include "base/crypto_key.h"
#include "base/slow_pool.h"
#include "ports/port.h"
#include "rpc/server.h"
#include "server/access/access.h"
#include "server/identity/attempts.h"
#include "server/identity/counts.h"
#include "server/tokens/tokens.h"
#include "storage/kv.h"

struct mail;

struct identity_service_options {
  struct kv_store *store;
  struct port *port;
  const char *directory;       /* of the data: `identity.key` */
  const char *const *projects; /* served ones; users of calls that name none are the first's. At least one */
  size_t project_count;
  bool dev;            /* any project; unsigned custom tokens, as the emulator takes them */
  bool sign_up_closed; /* accounts are made by administrators alone */
  const char *issuer;  /* "{project}" in it stands for the project */
  enum crypto_algorithm algorithm;
  bool tokens_unsigned; /* in development: ID tokens as the emulator makes them */
  int64_t id_token_lifetime_s;
  int64_t refresh_grace_us; /* how long the refresh token before the last still gets the last answer */
  int64_t anonymous_lifetime_us, session_lifetime_us; /* idle.h; 0: for ever */
  struct mail *mail;                                  /* NULL: there are no mails */
  const char *action_url;                             /* of the page that links in mails lead to */
  const char *const
      *link_origins; /* "https://app.example": besides, which pages may follow. In development all may */
  size_t link_origin_count;
  /* That checks of passwords may take at once, 17 MiB at least; imports that need more are refused. 0: 64 MiB
   */
  size_t hash_memory_bytes;
  struct crypto_scrypt_cost cost; /* of new hashes: PASSWORD_COST_SMALL or _LARGE */
  unsigned hash_threads;          /* 0: 1 */
};

struct identity_service;

/* Opens the store of accounts and the keys. The pointers outlive it. Waits. Statuses of kv.h;
 * FAILED_PRECONDITION. */
STATUS_MUST_USE status identity_service_new(const struct identity_service_options *options,
                                            struct identity_service **ret);
/* How tokens of this service's are told from others' and checked: for tokens_options. */
struct tokens_own identity_service_tokens(struct identity_service *service);
/* Both outlive it. Before rpc_server_start. */
STATUS_MUST_USE status identity_service_register(struct identity_service *service, struct tokens *tokens,
                                                 struct access *access, struct rpc_server *on);
/* About once a second. */
void identity_service_tick(struct identity_service *service);
/* Deletes all accounts of a project, as the emulator does. Waits; for development. */
STATUS_MUST_USE status identity_service_delete_all(struct identity_service *service, str project);
/* For metrics. */
struct identity_info {
  bool is_counted;   /* `accounts` is known: some seconds after the start for each thousand */
  uint64_t accounts; /* about: as they were counted last (idle.h), with those that came and went since */
  uint64_t calls[IDENTITY_WAYS][IDENTITY_RESULTS], made[IDENTITY_WAYS], deleted[IDENTITY_ENDS]; /* counts.h */
  uint64_t sessions_expired;
  struct attempts_info attempts;
  struct slow_pool_info hashes;
};
void identity_service_info(struct identity_service *service, struct identity_info *ret);
/* Passwords that wait to be checked are given up, so that their calls end: before rpc_server_drain, and when
 * there are no ticks any more. */
void identity_service_stop(struct identity_service *service);
void identity_service_free(struct identity_service *service); /* no call is left; NULL is fine */

#endif
