#include "server/identity/service.h"

#include <stdlib.h>

#include "server/identity/handlers.h"

enum {
  HASHES_WAIT_MAX =
      256,       /* sign-ins that wait: some ten seconds of a small box, which is as long as people wait */
  HASH_NICE = 5, /* checks of passwords step back behind reads and writes */
  KEYS_INTERVAL_S = 60,
};

static int64_t monotonic_us(void *port) {
  return ((struct port *)port)->monotonic_us(port);
}

static status open_pool(struct identity_service *service) {
  const struct identity_service_options *o = &service->options;
  size_t least = PASSWORD_MEMORY_BYTES_MAX; /* the largest that an import may bring */
  struct slow_pool_options options = {
      .threads = o->hash_threads == 0 ? 1 : o->hash_threads,
      .queue_max = HASHES_WAIT_MAX,
      .memory_bytes = o->hash_memory_bytes < least ? least : o->hash_memory_bytes,
      .nice = HASH_NICE,
      .now_us = monotonic_us,
      .argument = o->port,
  };
  return slow_pool_open(&options, &service->pool);
}

static status open_parts(struct identity_service *service) {
  const struct identity_service_options *o = &service->options;
  const struct signing_keys_options keys = {
      .store = o->store, .port = o->port, .directory = o->directory, .algorithm = o->algorithm};
  STATUS_TRY(user_store_open(o->store));
  STATUS_TRY(signing_keys_open(&keys, &service->keys));
  STATUS_TRY(attempts_kv_open(o->store, o->port, &service->attempts));
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
  service->cost = PASSWORD_COST_SMALL;
  status result = open_parts(service);
  if (status_is_ok(&result))
    *ret = service;
  else
    identity_service_free(service);
  return result;
}

void identity_service_stop(struct identity_service *service) {
  slow_pool_stop(service->pool);
}

void identity_service_free(struct identity_service *service) {
  if (service == NULL)
    return;
  slow_pool_close(service->pool);
  attempts_kv_close(service->attempts);
  signing_keys_close(service->keys);
  free(service);
}

void identity_service_tick(struct identity_service *service) {
  if (++service->seconds < KEYS_INTERVAL_S)
    return;
  service->seconds = 0;
  signing_keys_tick(service->keys, service->options.port->wall_us(service->options.port));
}

/* ---- For tokens ---- */

static bool is_own(void *argument, const struct jwt *jwt) {
  const struct identity_service *service = argument;
  return id_token_is_ours(&service->maker, jwt);
}

static status check(void *argument, const struct jwt *jwt, int64_t now_us, struct arena *arena, str *ret_uid,
                    str *ret_project) {
  const struct identity_service *service = argument;
  struct id_token token;
  user_record *user;
  STATUS_TRY(id_token_check(&service->maker, jwt, now_us, arena, &token, &user));
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
    .get_keys = identity_get_keys,
};

static const struct skerry_identity_v1_account_admin_handlers account_admin = {
    .create_account = identity_create_account,
    .lookup_accounts = identity_lookup_accounts,
    .update_account = identity_update_account,
    .list_accounts = identity_list_accounts,
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
