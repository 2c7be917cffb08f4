#include "server/admin/keys.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "server/timestamp.h"

static const uint64_t LIFETIME_S_MAX =
    50ULL * 366 * 24 * 3600; /* no typing mistake becomes a time that wraps */

static_assert((int)IDENTITY_ROLE_VIEWER == (int)SKERRY__ADMIN__V1__SERVICE_ACCOUNT_KEY__ROLE__VIEWER &&
                  (int)IDENTITY_ROLE_EDITOR == (int)SKERRY__ADMIN__V1__SERVICE_ACCOUNT_KEY__ROLE__EDITOR &&
                  (int)IDENTITY_ROLE_OWNER == (int)SKERRY__ADMIN__V1__SERVICE_ACCOUNT_KEY__ROLE__OWNER,
              "roles have the same numbers here and on the wire");

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The answer needs more memory than a call may take.");
}

static char *text(struct arena *arena, const char *value) {
  return (char *)(uintptr_t)arena_str_copy(arena, str_from_cstr(value)).ptr;
}

/* NULL: no memory. */
static Skerry__Admin__V1__ServiceAccountKey *describe(struct arena *arena, const struct account_key *key) {
  Skerry__Admin__V1__ServiceAccountKey *made = ARENA_NEW(arena, Skerry__Admin__V1__ServiceAccountKey);
  if (made == NULL)
    return NULL;
  skerry__admin__v1__service_account_key__init(made);
  made->key_id = text(arena, key->id);
  made->client_email = text(arena, key->email);
  made->project_id = text(arena, key->project);
  made->role = (Skerry__Admin__V1__ServiceAccountKey__Role)key->role;
  made->create_time = timestamp_new(arena, key->created_s * 1000000);
  if (key->expires_s != 0)
    made->expire_time = timestamp_new(arena, key->expires_s * 1000000);
  return arena->exhausted ? NULL : made;
}

/* ---- Create ---- */

static bool is_served(const struct settings *settings, str project) {
  for (unsigned i = 0; i < settings->projects.count; i++)
    if (str_eq(project, str_from_cstr(settings->projects.items[i])))
      return true;
  return settings->dev;
}

static status create(const struct admin *admin,
                     const Skerry__Admin__V1__CreateServiceAccountKeyRequest *request,
                     struct account_key **ret) {
  const struct settings *settings = admin->settings;
  int64_t now_s = admin->port->wall_us(admin->port) / 1000000;
  struct account_request wanted = {.name = str_from_cstr(request->account_name),
                                   .project = str_from_cstr(request->project_id),
                                   .role = IDENTITY_ROLE_EDITOR,
                                   .created_s = now_s,
                                   .public_pem = str_from_cstr(request->public_key_pem)};
  if (wanted.project.len == 0 && settings->projects.count > 0)
    wanted.project = str_from_cstr(settings->projects.items[0]);
  if (!is_served(settings, wanted.project))
    return status_make(STATUS_INVALID_ARGUMENT, "This server does not serve the project \"" STR_FMT "\".",
                       STR_ARG(wanted.project));
  if ((int)request->role < 0 || (int)request->role >= IDENTITY_ROLES)
    return status_make(STATUS_INVALID_ARGUMENT, "There is no such role.");
  if (request->role != SKERRY__ADMIN__V1__SERVICE_ACCOUNT_KEY__ROLE__ROLE_UNSPECIFIED)
    wanted.role = (enum identity_role)request->role;
  if (request->lifetime_seconds < 0 || (uint64_t)request->lifetime_seconds > LIFETIME_S_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "The lifetime is negative, or longer than 50 years.");
  if (request->lifetime_seconds > 0)
    wanted.expires_s = now_s + request->lifetime_seconds;
  return tokens_create_key(admin->tokens, &wanted, ret);
}

void admin_create_key(struct rpc_call *call,
                      const Skerry__Admin__V1__CreateServiceAccountKeyRequest *request) {
  const struct admin *admin = rpc_call_service(call);
  struct account_key *key;
  status result = create(admin, request, &key);
  if (!status_is_ok(&result)) {
    rpc_call_finish(call, result);
    return;
  }
  log_event(LOG_LEVEL_INFO, "a service account has a new key", LOG_CSTR("account", key->email),
            LOG_CSTR("key", key->id), LOG_CSTR("role", identity_role_name(key->role)));
  Skerry__Admin__V1__CreateServiceAccountKeyResponse response =
      SKERRY__ADMIN__V1__CREATE_SERVICE_ACCOUNT_KEY_RESPONSE__INIT;
  response.key = describe(rpc_call_arena(call), key);
  account_key_unref(key);
  if (response.key == NULL)
    rpc_call_finish(call, no_memory());
  else
    skerry_admin_v1_admin_create_service_account_key_reply(call, &response);
}

/* ---- List and revoke ---- */

void admin_list_keys(struct rpc_call *call, const Skerry__Admin__V1__ListServiceAccountKeysRequest *request) {
  (void)request;
  const struct admin *admin = rpc_call_service(call);
  struct arena *arena = rpc_call_arena(call);
  struct account_key **keys;
  size_t count;
  Skerry__Admin__V1__ListServiceAccountKeysResponse response =
      SKERRY__ADMIN__V1__LIST_SERVICE_ACCOUNT_KEYS_RESPONSE__INIT;
  status result = tokens_list_keys(admin->tokens, &keys, &count);
  if (!status_is_ok(&result)) {
    rpc_call_finish(call, result);
    return;
  }
  response.keys = ARENA_NEW_ARRAY(arena, Skerry__Admin__V1__ServiceAccountKey *, count);
  for (size_t i = 0; i < count; i++) {
    if (response.keys != NULL)
      response.keys[i] = describe(arena, keys[i]);
    account_key_unref(keys[i]);
  }
  free(keys);
  response.n_keys = count;
  if (arena->exhausted)
    rpc_call_finish(call, no_memory());
  else
    skerry_admin_v1_admin_list_service_account_keys_reply(call, &response);
}

void admin_revoke_key(struct rpc_call *call,
                      const Skerry__Admin__V1__RevokeServiceAccountKeyRequest *request) {
  const struct admin *admin = rpc_call_service(call);
  status result = tokens_revoke_key(admin->tokens, str_from_cstr(request->key_id));
  if (!status_is_ok(&result)) {
    rpc_call_finish(call, result);
    return;
  }
  log_event(LOG_LEVEL_INFO, "a service account's key was revoked", LOG_CSTR("key", request->key_id));
  Skerry__Admin__V1__RevokeServiceAccountKeyResponse response =
      SKERRY__ADMIN__V1__REVOKE_SERVICE_ACCOUNT_KEY_RESPONSE__INIT;
  skerry_admin_v1_admin_revoke_service_account_key_reply(call, &response);
}

/* ---- Issuers ---- */

static Skerry__Admin__V1__IssuerStatus *describe_issuer(struct arena *arena,
                                                        const struct issuers_info *info) {
  Skerry__Admin__V1__IssuerStatus *made = ARENA_NEW(arena, Skerry__Admin__V1__IssuerStatus);
  if (made == NULL)
    return NULL;
  skerry__admin__v1__issuer_status__init(made);
  made->url = text(arena, info->url);
  made->keys = (int64_t)info->keys;
  if (info->fetched_us != 0)
    made->fetch_time = timestamp_new(arena, info->fetched_us);
  made->requests = (int64_t)info->requests;
  made->failures = (int64_t)info->failures;
  made->problem = text(arena, info->problem);
  return arena->exhausted ? NULL : made;
}

Skerry__Admin__V1__IssuerStatus **admin_issuers(const struct admin *admin, struct arena *arena,
                                                size_t *ret_count) {
  size_t count = tokens_issuer_count(admin->tokens);
  Skerry__Admin__V1__IssuerStatus **made = ARENA_NEW_ARRAY(arena, Skerry__Admin__V1__IssuerStatus *, count);
  *ret_count = 0;
  for (size_t i = 0; made != NULL && i < count; i++) {
    struct issuers_info info;
    tokens_issuer_info(admin->tokens, i, &info);
    made[i] = describe_issuer(arena, &info);
    if (made[i] == NULL)
      return made; /* those before it */
    (*ret_count)++;
  }
  return made;
}
