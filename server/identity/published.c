/* What anybody may know: the keys of ID tokens and where they are, and what passwords have to be. */
#include "base/base64url.h"
#include "server/identity/handlers.h"

struct listing {
  struct arena *arena;
  Skerry__Identity__V1__JsonWebKey *items[SIGNING_KEYS_MAX];
  size_t count;
  bool failed;
};

static char *write_member(struct arena *arena, const struct buf *bytes) {
  struct buf text = {0};
  if (bytes->len > 0)
    base64url_append(&text, buf_str(bytes));
  str copy = text.failed ? (str){0} : arena_str_copy(arena, text.len == 0 ? STR("") : buf_str(&text));
  buf_fini(&text);
  return task_text(copy.ptr);
}

static status describe(struct arena *arena, const char *id, const struct crypto_key *key,
                       Skerry__Identity__V1__JsonWebKey *ret) {
  struct buf first = {0}, second = {0};
  bool is_rsa = crypto_key_algorithm(key) == CRYPTO_RS256;
  skerry__identity__v1__json_web_key__init(ret);
  status result = crypto_key_append_members(key, &first, &second);
  if (status_is_ok(&result)) {
    ret->kid = task_text(arena_str_copy(arena, str_from_cstr(id)).ptr);
    ret->use = task_text("sig");
    ret->kty = task_text(is_rsa ? "RSA" : "EC");
    ret->alg = task_text(is_rsa ? "RS256" : "ES256");
    *(is_rsa ? &ret->n : &ret->x) = write_member(arena, &first);
    *(is_rsa ? &ret->e : &ret->y) = write_member(arena, &second);
    if (!is_rsa)
      ret->crv = task_text("P-256");
    if (arena->exhausted)
      result = task_no_memory();
  }
  buf_fini(&first);
  buf_fini(&second);
  return result;
}

static void add(void *argument, const char *id, const struct crypto_key *key) {
  struct listing *listing = argument;
  Skerry__Identity__V1__JsonWebKey *made = ARENA_NEW(listing->arena, Skerry__Identity__V1__JsonWebKey);
  status result = made == NULL ? task_no_memory() : describe(listing->arena, id, key, made);
  listing->failed = listing->failed || !status_is_ok(&result);
  if (!listing->failed)
    listing->items[listing->count++] = made;
}

void identity_get_keys(struct rpc_call *call, const Skerry__Identity__V1__GetKeysRequest *request) {
  struct identity_service *service = rpc_call_service(call);
  struct listing listing = {.arena = rpc_call_arena(call)};
  Skerry__Identity__V1__GetKeysResponse response = SKERRY__IDENTITY__V1__GET_KEYS_RESPONSE__INIT;
  (void)request;
  signing_keys_visit(service->keys, add, &listing);
  if (listing.failed) {
    rpc_call_finish(call, task_no_memory());
    return;
  }
  response.keys = listing.items;
  response.n_keys = listing.count;
  rpc_call_add_header(call, "cache-control", STR("public, max-age=3600"));
  skerry_identity_v1_accounts_get_keys_reply(call, &response);
}

void identity_get_open_id_configuration(struct rpc_call *call,
                                        const Skerry__Identity__V1__GetOpenIdConfigurationRequest *request) {
  const struct identity_service *service = rpc_call_service(call);
  Skerry__Identity__V1__GetOpenIdConfigurationResponse response =
      SKERRY__IDENTITY__V1__GET_OPEN_ID_CONFIGURATION_RESPONSE__INIT;
  char *code[] = {task_text("id_token")}, *subject[] = {task_text("public")};
  char *algorithm[] = {task_text(service->options.algorithm == CRYPTO_RS256 ? "RS256" : "ES256")};
  struct buf issuer = {0};
  (void)request;
  id_token_put_issuer(&service->maker, str_from_cstr(service->options.projects[0]), &issuer);
  str own = issuer.len == 0 ? STR("") : arena_str_copy(rpc_call_arena(call), buf_str(&issuer));
  buf_fini(&issuer);
  str keys = arena_printf(rpc_call_arena(call), STR_FMT "/.well-known/jwks.json", STR_ARG(own));
  if (own.ptr == NULL || keys.ptr == NULL) {
    rpc_call_finish(call, task_no_memory());
    return;
  }
  if (str_has_prefix(own, STR("https://securetoken.google.com/"))) {
    rpc_call_finish(
        call,
        status_make(STATUS_NOT_FOUND,
                    "The setting identity_issuer is not this server's URL, so this is not here. The keys "
                    "are at /.well-known/jwks.json."));
    return;
  }
  response.issuer = task_text(own.ptr);
  response.jwks_uri = task_text(keys.ptr);
  response.response_types_supported = code;
  response.subject_types_supported = subject;
  response.id_token_signing_alg_values_supported = algorithm;
  response.n_response_types_supported = response.n_subject_types_supported = 1;
  response.n_id_token_signing_alg_values_supported = 1;
  skerry_identity_v1_accounts_get_open_id_configuration_reply(call, &response);
}

void identity_get_password_policy(struct rpc_call *call,
                                  const Skerry__Identity__V1__GetPasswordPolicyRequest *request) {
  Skerry__Identity__V1__GetPasswordPolicyResponse response =
      SKERRY__IDENTITY__V1__GET_PASSWORD_POLICY_RESPONSE__INIT;
  Skerry__Identity__V1__GetPasswordPolicyResponse__Strength strength =
      SKERRY__IDENTITY__V1__GET_PASSWORD_POLICY_RESPONSE__STRENGTH__INIT;
  (void)request;
  strength.min_password_length = PASSWORD_BYTES_MIN;
  strength.max_password_length = PASSWORD_BYTES_MAX;
  response.custom_strength_options = &strength;
  response.schema_version = 1;
  response.enforcement_state = task_text("ENFORCE");
  skerry_identity_v1_accounts_get_password_policy_reply(call, &response);
}
