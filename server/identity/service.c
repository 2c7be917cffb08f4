#include "server/identity/service.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/identity/handlers.h"

enum {
  HASHES_WAIT_MAX = 256,  /* sign-ins that wait: some ten seconds of a small box, as long as people wait */
  HASH_NICE = 10,         /* a tenth of the weight of those that serve */
  HASH_REST = 15,         /* on a busy machine a sixteenth of a core for each thread */
  CHORES_INTERVAL_S = 60, /* keys that are due, codes that are old */
};

static int64_t monotonic_us(void *port) {
  return ((struct port *)port)->monotonic_us(port);
}

static status open_pool(struct identity_service *service) {
  const struct identity_service_options *o = &service->options;
  struct slow_pool_options options = {
      .threads = o->hash_threads == 0 ? 1 : o->hash_threads,
      .queue_max = HASHES_WAIT_MAX,
      .memory_bytes = o->hash_memory_bytes,
      .nice = o->dev ? 0 : HASH_NICE,
      .rest_when_busy = o->dev ? 0 : HASH_REST,
      .now_us = monotonic_us,
      .argument = o->port,
  };
  return slow_pool_open(&options, &service->pool);
}

static void sessions_ended(void *argument, str uid) {
  const struct identity_service *service = argument;
  tokens_doubt_user(service->tokens, uid);
}

static status open_parts(struct identity_service *service) {
  const struct identity_service_options *o = &service->options;
  const struct signing_keys_options keys = {
      .store = o->store, .port = o->port, .directory = o->directory, .algorithm = o->algorithm};
  STATUS_TRY(user_store_open(o->store));
  STATUS_TRY(signing_keys_open(&keys, &service->keys));
  STATUS_TRY(attempts_kv_open(o->store, o->port, &service->attempts));
  const struct idle_options idle = {.store = o->store,
                                    .anonymous_us = o->anonymous_lifetime_us,
                                    .session_us = o->session_lifetime_us,
                                    .ended = sessions_ended,
                                    .argument = service};
  STATUS_TRY(idle_new(&idle, &service->idle));
  STATUS_TRY(open_pool(service));
  service->maker = (struct id_token_maker){.keys = service->keys,
                                           .store = o->store,
                                           .issuer = o->issuer,
                                           .lifetime_s = o->id_token_lifetime_s,
                                           .is_unsigned = o->tokens_unsigned};
  return status_ok();
}

status identity_service_new(const struct identity_service_options *options, struct identity_service **ret) {
  struct identity_service *service = calloc(1, sizeof *service);
  if (service == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for accounts.");
  service->options = *options;
  service->mail = options->mail;
  if (options->hash_memory_bytes == 0)
    service->options.hash_memory_bytes = PASSWORD_MEMORY_BYTES_MAX;
  service->cost = options->cost;
  pthread_mutex_init(&service->mutex, NULL);
  status result = open_parts(service);
  if (status_is_ok(&result))
    *ret = service;
  else
    identity_service_free(service);
  return result;
}

void identity_service_stop(struct identity_service *service) {
  slow_pool_stop(service->pool);
  idle_wait(service->idle); /* it tells of tokens, which close before accounts do */
}

void identity_service_free(struct identity_service *service) {
  if (service == NULL)
    return;
  idle_free(service->idle);
  slow_pool_close(service->pool);
  attempts_kv_close(service->attempts);
  signing_keys_close(service->keys);
  pthread_mutex_destroy(&service->mutex);
  free(service);
}

/* ---- For metrics ---- */

static uint64_t sum(const _Atomic uint64_t *counts, size_t count) {
  uint64_t all = 0;
  for (size_t i = 0; i < count; i++)
    all += atomic_load_explicit(&counts[i], memory_order_relaxed);
  return all;
}

/* Of accounts made since the start, less those deleted; but for age, which a walk leaves out itself. */
static int64_t balance(const struct identity_service *service) {
  const struct identity_counts *counts = &service->counts;
  return (int64_t)(sum(counts->made, IDENTITY_WAYS) - sum(counts->deleted, IDENTITY_BY_AGE));
}

/* After each tick. Of what came and went during a walk about a half is in what it counted. */
static void look_at_walk(struct identity_service *service) {
  struct idle_info idle;
  idle_info(service->idle, &idle);
  uint64_t by_age = atomic_load(&service->counts.deleted[IDENTITY_BY_AGE]);
  if (idle.deleted > by_age)
    identity_count(&service->counts.deleted[IDENTITY_BY_AGE], idle.deleted - by_age);
  int64_t now = balance(service);
  if (idle.begun != service->walks_begun)
    service->balance_at_walk = now;
  service->walks_begun = idle.begun;
  if (idle.walks == service->walks)
    return;
  pthread_mutex_lock(&service->mutex);
  service->walks = idle.walks;
  service->counted = (int64_t)idle.accounts - (service->balance_at_walk + now) / 2;
  pthread_mutex_unlock(&service->mutex);
}

void identity_service_info(struct identity_service *service, struct identity_info *ret) {
  struct idle_info idle;
  idle_info(service->idle, &idle);
  pthread_mutex_lock(&service->mutex);
  int64_t accounts = service->counted + balance(service);
  ret->is_counted = service->walks > 0;
  pthread_mutex_unlock(&service->mutex);
  ret->accounts = ret->is_counted && accounts > 0 ? (uint64_t)accounts : 0;
  for (size_t i = 0; i < IDENTITY_WAYS; i++) {
    ret->made[i] = sum(&service->counts.made[i], 1);
    for (size_t j = 0; j < IDENTITY_RESULTS; j++)
      ret->calls[i][j] = sum(&service->counts.calls[i][j], 1);
  }
  for (size_t i = 0; i < IDENTITY_ENDS; i++)
    ret->deleted[i] = sum(&service->counts.deleted[i], 1);
  ret->sessions_expired = idle.sessions_ended;
  attempts_info(attempts_kv_attempts(service->attempts), &ret->attempts);
  slow_pool_info(service->pool, &ret->hashes);
}

/* ---- Chores ---- */

void identity_service_tick(struct identity_service *service) {
  idle_tick(service->idle);
  look_at_walk(service);
  if (++service->seconds < CHORES_INTERVAL_S)
    return;
  service->seconds = 0;
  int64_t now_us = service->options.port->wall_us(service->options.port);
  signing_keys_tick(service->keys, now_us);
  status swept = user_store_sweep_codes(service->options.store, now_us);
  if (!status_is_ok(&swept))
    log_event(LOG_LEVEL_WARN, "old codes of mails could not be deleted", LOG_CSTR("error", swept.message));
}

/* ---- For development ---- */

enum { DELETE_AT_ONCE = 100, DELETE_ARENA_BYTES = 32 * 1024 * 1024 };

struct deletion {
  struct arena *arena;
  user_record **users;
  size_t count;
};

static status delete_some(void *argument, struct kv_reader *reader, kv_version version,
                          struct kv_batch *batch) {
  const struct deletion *deletion = argument;
  (void)reader;
  (void)version;
  for (size_t i = 0; i < deletion->count; i++)
    STATUS_TRY(user_store_delete(batch, deletion->arena, deletion->users[i]));
  return status_ok();
}

static status delete_page(struct identity_service *service, str project, struct deletion *deletion) {
  struct user_view view;
  STATUS_TRY(user_view_now(service->options.store, &view));
  deletion->users = ARENA_NEW_ARRAY(deletion->arena, user_record *, DELETE_AT_ONCE);
  if (deletion->users == NULL)
    return task_no_memory();
  STATUS_TRY(user_store_list(&view, project, STR(""), DELETE_AT_ONCE, deletion->arena, deletion->users,
                             &deletion->count));
  struct kv_txn txn = {.resolve = delete_some, .argument = deletion};
  kv_version version;
  if (deletion->count == 0)
    return status_ok();
  STATUS_TRY(kv_commit_wait(service->options.store, &txn, &version));
  identity_count(&service->counts.deleted[IDENTITY_BY_ADMINISTRATOR], deletion->count);
  return status_ok();
}

status identity_service_delete_all(struct identity_service *service, str project) {
  struct arena arena;
  struct deletion deletion = {.arena = &arena, .count = 1};
  status result = status_ok();
  arena_init(&arena, NULL, 0, DELETE_ARENA_BYTES);
  while (status_is_ok(&result) && deletion.count > 0) {
    result = delete_page(service, project, &deletion);
    arena_reset(&arena);
  }
  arena_fini(&arena);
  tokens_doubt_all(service->tokens);
  return result;
}

/* ---- For tokens ---- */

static bool is_own(void *argument, const struct jwt *jwt) {
  const struct identity_service *service = argument;
  return id_token_is_ours(&service->maker, jwt);
}

static status check(void *argument, const struct jwt *jwt, int64_t now_us, struct arena *arena, str *ret_uid,
                    str *ret_project, struct doc_map *ret_claims) {
  const struct identity_service *service = argument;
  struct id_token token;
  user_record *user;
  STATUS_TRY(id_token_check(&service->maker, jwt, now_us, arena, &token, &user));
  STATUS_TRY(id_token_claims(&service->maker, &token, user, arena, ret_claims));
  *ret_uid = token.uid;
  *ret_project = service->options.dev ? STR("") : token.project; /* in development apps have any project */
  return status_ok();
}

struct tokens_own identity_service_tokens(struct identity_service *service) {
  return (struct tokens_own){.is_own = is_own, .check = check, .argument = service};
}

/* ---- The services ---- */

static const struct skerry_identity_v1_accounts_handlers accounts = {
    .sign_up = identity_sign_up,
    .sign_in_with_password = identity_sign_in_with_password,
    .sign_in_with_custom_token = identity_sign_in_with_custom_token,
    .sign_in_with_idp = identity_sign_in_with_idp,
    .send_oob_code = identity_send_oob_code,
    .reset_password = identity_reset_password,
    .sign_in_with_email_link = identity_sign_in_with_email_link,
    .create_auth_uri = identity_create_auth_uri,
    .start_mfa_enrollment = identity_start_mfa_enrollment,
    .finalize_mfa_enrollment = identity_finalize_mfa_enrollment,
    .withdraw_mfa = identity_withdraw_mfa,
    .finalize_mfa_sign_in = identity_finalize_mfa_sign_in,
    .exchange_token = identity_exchange_token,
    .lookup = identity_lookup,
    .update = identity_update,
    .delete_ = identity_delete,
    .list_sessions = identity_list_sessions,
    .revoke_sessions = identity_revoke_sessions,
    .get_password_policy = identity_get_password_policy,
    .get_open_id_configuration = identity_get_open_id_configuration,
    .get_keys = identity_get_keys,
};

static const struct skerry_identity_v1_account_admin_handlers account_admin = {
    .create_account = identity_create_account,
    .lookup_accounts = identity_lookup_accounts,
    .update_account = identity_update_account,
    .list_accounts = identity_list_accounts,
    .create_oob_link = identity_create_oob_link,
    .import_accounts = identity_import_accounts,
    .delete_account = identity_delete_account,
    .batch_delete_accounts = identity_batch_delete_accounts,
};

status identity_service_register(struct identity_service *service, struct tokens *tokens,
                                 struct access *access, struct rpc_server *on) {
  service->tokens = tokens;
  service->access = access;
  STATUS_TRY(rpc_server_add_service(on, &skerry_identity_v1_accounts_service, &accounts, service));
  return rpc_server_add_service(on, &skerry_identity_v1_account_admin_service, &account_admin, service);
}
