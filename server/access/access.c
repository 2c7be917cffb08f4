#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "server/access/judge.h"

struct access {
  struct access_options options;
  pthread_mutex_t mutex;
  struct rules *rules;         /* with the mutex */
  _Atomic uint64_t generation; /* of the rules */
};

status access_new(const struct access_options *options, struct access **ret) {
  struct access *access = calloc(1, sizeof *access);
  if (access == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  access->options = *options;
  if (access->options.port == NULL)
    access->options.port = port_linux();
  pthread_mutex_init(&access->mutex, NULL);
  *ret = access;
  return status_ok();
}

void access_free(struct access *access) {
  if (access == NULL)
    return;
  rules_unref(access->rules);
  pthread_mutex_destroy(&access->mutex);
  free(access);
}

void access_set_rules(struct access *access, struct rules *rules) {
  pthread_mutex_lock(&access->mutex);
  struct rules *old = access->rules;
  access->rules = rules;
  atomic_fetch_add_explicit(&access->generation, 1, memory_order_release);
  pthread_mutex_unlock(&access->mutex);
  rules_unref(old);
}

struct rules *access_rules(struct access *access) {
  pthread_mutex_lock(&access->mutex);
  struct rules *rules = access->rules == NULL ? NULL : rules_ref(access->rules);
  pthread_mutex_unlock(&access->mutex);
  return rules;
}

/* ---- Callers ---- */

static uint64_t rules_generation(const struct access *access) {
  return atomic_load_explicit(&access->generation, memory_order_acquire);
}

/* A wall clock that is behind the data is wrong. */
static int64_t now_us(const struct access *access) {
  struct port *port = access->options.port;
  int64_t wall_us = port->wall_us(port);
  int64_t newest_us = kv_newest_version(access->options.store);
  return wall_us > newest_us ? wall_us : newest_us;
}

/* Whom the settings name for the connection's certificate; NULL: nobody. */
static struct identity *find_by_certificate(struct access *access, const struct rpc_peer *peer) {
  struct tokens *tokens = access->options.tokens;
  if (tokens == NULL || !peer->has_certificate)
    return NULL;
  return tokens_of_certificate(tokens, str_from_cstr(peer->certificate_name), peer->certificate_sha256);
}

/* Of two headers each reader might take another one, so there must be one. */
static status find_authorization(const struct rpc_call *call, str *ret) {
  str name, value;
  *ret = (str){NULL, 0};
  bool found = false;
  for (size_t i = 0; rpc_call_metadata_at(call, i, &name, &value); i++) {
    if (!str_eq(name, STR("authorization")))
      continue;
    if (found)
      return status_make(STATUS_UNAUTHENTICATED, "The call has two authorization headers.");
    found = true;
    *ret = value;
  }
  return status_ok();
}

static status find_by_token(struct access *access, const struct rpc_call *call, struct identity **ret) {
  struct tokens *tokens = access->options.tokens;
  if (tokens == NULL)
    return status_ok();
  str authorization;
  STATUS_TRY(find_authorization(call, &authorization));
  return tokens_verify(tokens, authorization, now_us(access), ret);
}

/* What the identity may do by its role. */
static void apply_role(struct access_caller *caller) {
  const struct identity *identity = caller->identity;
  if (identity == NULL)
    return;
  bool is_owner = identity->kind == IDENTITY_OWNER;
  caller->may_read = is_owner || identity->role >= IDENTITY_ROLE_VIEWER;
  caller->may_write = is_owner || identity->role >= IDENTITY_ROLE_EDITOR;
}

static bool is_nobody(const struct identity *identity) {
  return identity == NULL || identity->kind == IDENTITY_SIGNED_OUT;
}

static status find_out(struct access *access, const struct rpc_call *call, struct access_caller *caller) {
  const struct access_options *options = &access->options;
  uint64_t of_rules = rules_generation(access); /* before they are taken: a change meanwhile is seen later */
  caller->rules = access_rules(access);
  const struct rpc_peer *peer = rpc_call_peer(call);
  bool may_all =
      options->mode == ACCESS_OPEN || (options->dev && caller->rules == NULL) || rpc_call_administers(call);
  if (!may_all) {
    caller->identity = find_by_certificate(access, peer);
    may_all = caller->identity == NULL && options->mode == ACCESS_MTLS && peer->has_certificate;
  }
  caller->may_read = caller->may_write = may_all;
  if (!may_all && caller->identity == NULL)
    STATUS_TRY(find_by_token(access, call, &caller->identity));
  caller->generation = of_rules + (caller->identity == NULL ? 0 : caller->identity->generation);
  apply_role(caller);
  return status_ok();
}

status access_caller_new(struct access *access, const struct rpc_call *call, struct access_caller **ret) {
  struct access_caller *caller = calloc(1, sizeof *caller);
  if (caller == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  caller->access = access;
  atomic_init(&caller->references, 1);
  status result = find_out(access, call, caller);
  if (status_is_ok(&result))
    *ret = caller;
  else
    access_caller_unref(caller);
  return result;
}

struct access_caller *access_caller_ref(struct access_caller *caller) {
  atomic_fetch_add_explicit(&caller->references, 1, memory_order_relaxed);
  return caller;
}

void access_caller_unref(struct access_caller *caller) {
  if (caller == NULL || atomic_fetch_sub_explicit(&caller->references, 1, memory_order_acq_rel) != 1)
    return;
  identity_unref(caller->identity);
  rules_unref(caller->rules);
  free(caller);
}

bool access_caller_is_stale(const struct access_caller *caller) {
  const struct access *access = caller->access;
  const struct identity *identity = caller->identity;
  uint64_t of_identity = identity == NULL || access->options.tokens == NULL
                             ? 0
                             : tokens_generation_of(access->options.tokens, identity);
  if (caller->generation != rules_generation(access) + of_identity)
    return true;
  return identity != NULL && identity->expires_us <= now_us(access);
}

/* ---- Coming in ---- */

static status refuse(const struct access_caller *caller, enum access_need need) {
  bool is_write = need == ACCESS_WRITE;
  if (caller->access->options.mode == ACCESS_MTLS && caller->rules == NULL && is_nobody(caller->identity))
    return status_make(STATUS_UNAUTHENTICATED, "This server wants to see a client certificate.");
  if (is_write && caller->may_read)
    return status_make(STATUS_PERMISSION_DENIED, "This account may only read.");
  if (is_write)
    return status_make(
        STATUS_UNAVAILABLE,
        "This server has no access rules yet, so it takes no writes. Its operator can set them.");
  return status_default(STATUS_PERMISSION_DENIED);
}

/* Of another project than the token is for. */
static bool is_foreign(const struct access_caller *caller, const struct doc_path *where) {
  const struct identity *identity = caller->identity;
  return identity != NULL && identity->project.len > 0 && !str_eq(identity->project, where->project);
}

static bool has_role(const struct access_caller *caller) {
  return caller->may_read || caller->may_write;
}

status access_may_enter(const struct access_caller *caller, enum access_need need,
                        const struct doc_path *where) {
  if (is_foreign(caller, where))
    return status_make(STATUS_PERMISSION_DENIED, "The token is for another project.");
  if (need == ACCESS_WRITE ? caller->may_write : caller->may_read)
    return status_ok();
  if (need != ACCESS_READ_ALL && caller->rules != NULL && !has_role(caller))
    return status_ok();
  return refuse(caller, need);
}

static void release_caller(void *caller) {
  access_caller_unref(caller);
}

status access_enter(struct access *access, struct rpc_call *call, enum access_need need,
                    const struct doc_path *where, const struct access_caller **ret) {
  struct access_caller *caller = rpc_call_attached(call);
  if (caller == NULL) {
    STATUS_TRY(access_caller_new(access, call, &caller));
    rpc_call_attach(call, caller, release_caller);
  }
  *ret = caller;
  return access_may_enter(caller, need, where);
}

static status may_own(const struct identity *identity, str project) {
  if (is_nobody(identity))
    return status_make(STATUS_UNAUTHENTICATED,
                       "This needs a token of a service account with the role owner.");
  if (identity->project.len > 0 && !str_eq(identity->project, project))
    return status_make(STATUS_PERMISSION_DENIED, "The token is for another project.");
  if (identity->kind != IDENTITY_OWNER && identity->role != IDENTITY_ROLE_OWNER)
    return status_make(STATUS_PERMISSION_DENIED, "This needs a service account with the role owner.");
  return status_ok();
}

status access_enter_owner(struct access *access, const struct rpc_call *call, str project) {
  struct identity *identity = find_by_certificate(access, rpc_call_peer(call));
  if (identity == NULL)
    STATUS_TRY(find_by_token(access, call, &identity));
  status result = may_own(identity, project);
  identity_unref(identity);
  return result;
}

/* ---- For judge.c ---- */

int64_t access_now_us(const struct access_caller *caller) {
  return now_us(caller->access);
}

struct kv_store *access_store(const struct access_caller *caller) {
  return caller->access->options.store;
}

bool access_explains(const struct access_caller *caller) {
  return caller->access->options.dev;
}
