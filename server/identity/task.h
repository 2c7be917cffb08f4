/* What a call of this service does in steps: slow work on the pool, a commit, an answer. Inside of the
 * directory.
 *
 *   handler --task_hash--> pool: work --wake--> next
 *           --task_commit--> store: change --wake--> next
 *
 * `next` runs on a thread of the call's queue, so signing tokens is spread over the cores and holds up no
 * commit. A step that fails ends the call with its status. A task lies in the call's arena, at the start of
 * what its handler keeps; a handler that starts no step finishes the call itself. */
#ifndef SKERRY_SERVER_IDENTITY_TASK_H
#define SKERRY_SERVER_IDENTITY_TASK_H

#include <pthread.h>

#include "base/slow_pool.h"
#include "rpc/call.h"
#include "server/identity/attempts_kv.h"
#include "server/identity/counts.h"
#include "server/identity/id_token.h"
#include "server/identity/idle.h"
#include "server/identity/password.h"
#include "server/identity/service.h"
#include "server/identity/user_store.h"
#include "server/mail/mail.h"

struct identity_service {
  struct identity_service_options options;
  struct signing_keys *keys;
  struct id_token_maker maker;
  struct slow_pool *pool;
  struct crypto_scrypt_cost cost; /* of new hashes */
  struct attempts_kv *attempts;
  struct idle *idle;
  struct identity_counts counts;
  struct mail *mail;
  struct tokens *tokens;
  struct access *access;
  unsigned seconds; /* since the keys were looked at */
  /* How many accounts there are: `counted` and the balance of `counts`. Of the thread that ticks, but for
   * what the mutex guards. */
  uint64_t walks_begun;
  int64_t balance_at_walk;
  pthread_mutex_t mutex;
  uint64_t walks;  /* with the mutex */
  int64_t counted; /* with the mutex */
};

struct task {
  struct rpc_call *call;
  struct identity_service *service;
  struct arena *arena;
  int64_t now_us;
  str project;
  /* Private. */
  status (*work)(struct task *task);
  status (*change)(struct task *task, const struct user_view *view, struct kv_batch *batch);
  void (*next)(struct task *task);
  status result;
  struct slow_job job;
  struct kv_txn txn;
  bool is_counted, has_mail;
  enum identity_way way; /* of a sign-in or a refresh that has no result yet */
  struct mail_item mail; /* to be put by the change, if has_mail */
  struct attempts_ticket ticket;
};

/* For a call of a user's: which project `target` is (empty: the first). INVALID_ARGUMENT: one that is not
 * served, or a tenant. */
STATUS_MUST_USE status task_init(struct task *task, struct rpc_call *call, const char *target,
                                 const char *tenant);
/* Allocates what begins with a task; finishes the call where there is no memory: NULL. */
void *task_new(struct rpc_call *call, size_t size);
#define TASK_NEW(call, type) ((struct type *)task_new((call), sizeof(struct type)))

/* A step on the pool that takes `memory_bytes`; `work` blocks, and touches no call. */
void task_hash(struct task *task, size_t memory_bytes, status (*work)(struct task *task),
               void (*next)(struct task *task));
/* A commit. `change` may be run again; nothing of the request is changed by it. */
void task_commit(struct task *task,
                 status (*change)(struct task *task, const struct user_view *view, struct kv_batch *batch),
                 void (*next)(struct task *task));
/* The end, if it is not a response. */
void task_fail(struct task *task, status why);

/* The result of a sign-in, for metrics; task_fail does it for those that fail. */
void task_count(struct task *task, enum identity_result result);

/* Attempts at secrets (attempts.h): whose, by a name that is the same for the same account.
 * RESOURCE_EXHAUSTED: too many. What begins is ended by task_count, or by task_fail as failed (wrong secrets)
 * or not made. */
STATUS_MUST_USE status task_begin_attempt(struct task *task, str account);
/* Likewise at something else than a sign-in: "mail to", "change of". */
STATUS_MUST_USE status task_begin_attempt_at(struct task *task, const char *what, str whom);
/* Likewise of a sign-up, which counts against the address whatever becomes of it. */
STATUS_MUST_USE status task_begin_sign_up(struct task *task);
void task_end_attempt(struct task *task, bool succeeded);

/* The account of an ID token in a request. INVALID_ARGUMENT with the code that SDKs know. */
STATUS_MUST_USE status task_read_id_token(struct task *task, const char *text, struct id_token *ret,
                                          user_record **ret_user);

/* Within a change: the account and the session of an ID token as they are now. The change may have waited,
 * for a hash or its turn, while somebody ended the session. Statuses as task_read_id_token. */
STATUS_MUST_USE status task_find_signed_in(const struct task *task, const struct user_view *view,
                                           const struct id_token *token, user_record **ret_user,
                                           session_record **ret_session);

/* For what takes an account over, or away: INVALID_ARGUMENT, CREDENTIAL_TOO_OLD_LOGIN_AGAIN, if the sign-in
 * is longer ago than TASK_RECENT_S, Firebase's documented bound. Anonymous users, who cannot sign in again,
 * are not asked. */
enum { TASK_RECENT_S = 5 * 60 };
STATUS_MUST_USE status task_check_recent(const struct task *task, const struct id_token *token,
                                         const user_record *user);

/* The account that something is to be linked to, by which it can be entered from then on: of a recent
 * sign-in. */
STATUS_MUST_USE status task_read_linked(struct task *task, const char *id_token, struct id_token *ret,
                                        user_record **ret_user);

/* After a commit: tokens of that user may not be good any more. */
void task_doubt(const struct task *task, const user_record *user);

/* ---- Signing in ---- */

/* A session that begins. */
struct sign_in_session {
  struct refresh_token token;
  session_record record;
  bool displaces; /* the user's oldest session gives way, as was committed */
};
/* Prepares it; texts are borrowed. */
void sign_in_session_init(const struct task *task, const char *provider, const char *claims,
                          struct sign_in_session *ret);
/* Within a change: adds it to the user, a copy, and notes the time. */
STATUS_MUST_USE status sign_in_session_put(const struct task *task, struct sign_in_session *session,
                                           user_record *user, struct kv_batch *batch);
/* Within a change that takes other sessions away: ends all of the user, and puts this one in the place of
 * `old`. */
STATUS_MUST_USE status sign_in_session_renew(const struct task *task, struct sign_in_session *session,
                                             const session_record *old, user_record *user,
                                             struct kv_batch *batch);
/* Both tokens, in the arena. */
STATUS_MUST_USE status sign_in_session_tokens(const struct task *task, const struct sign_in_session *session,
                                              const user_record *user, char **ret_id_token,
                                              char **ret_refresh_token);

/* What a protobuf-c message wants, which changes nothing. */
static inline char *task_text(const char *text) {
  return (char *)(uintptr_t)text;
}
static inline status task_no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The call needs more memory than it may take.");
}

#endif
