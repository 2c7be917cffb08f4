#include "server/tokens/custom_token.h"

#include <stdlib.h>

#include "server/tokens/json.h"
#include "server/tokens/jwt.h"

enum { LIFETIME_MAX_S = 3600 };

static status wrong(const char *what) {
  return status_make(STATUS_INVALID_ARGUMENT, "INVALID_CUSTOM_TOKEN : The token is refused: %s.", what);
}

/* ---- Whose signature it is ---- */

/* Whether one of the account's keys that is good now has signed it; *ret_project then lies in the arena. */
static status find_signer(struct accounts *accounts, const struct jwt *jwt, int64_t now_s,
                          struct arena *arena, str *ret_project) {
  struct account_key **keys;
  size_t count;
  bool is_known = false, is_owner = false, is_signed = false;
  STATUS_TRY(accounts_list(accounts, &keys, &count));
  for (size_t i = 0; i < count; i++) {
    const struct account_key *key = keys[i];
    bool is_good =
        str_eq(jwt->issuer, str_from_cstr(key->email)) && (key->expires_s == 0 || now_s < key->expires_s);
    is_known = is_known || is_good;
    if (is_good && !is_signed && jwt_is_signed_by(jwt, key->key)) {
      is_signed = true;
      is_owner = key->role == IDENTITY_ROLE_OWNER;
      *ret_project = arena_str_copy(arena, str_from_cstr(key->project));
    }
    account_key_unref(keys[i]);
  }
  free(keys);
  if (!is_known)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "CREDENTIAL_MISMATCH : Its issuer is no service account of this server.");
  if (!is_signed)
    return wrong("its signature is wrong");
  if (!is_owner)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "CREDENTIAL_MISMATCH : Custom tokens need an account with the role owner.");
  return ret_project->ptr == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

/* ---- What it says ---- */

static status check_claims(const struct jwt *jwt, int64_t now_s) {
  if (!jwt_has_audience(jwt, STR(CUSTOM_TOKEN_AUDIENCE)))
    return wrong("its audience (`aud`) is not the identity toolkit");
  if (!str_eq(jwt->issuer, jwt->subject))
    return wrong("its issuer and subject are not one service account");
  status times = jwt_check(jwt, now_s);
  if (!status_is_ok(&times))
    return wrong("it has expired, or is not good yet, or has no times (`iat`, `exp`)");
  if (jwt->expires_s - jwt->issued_s > LIFETIME_MAX_S)
    return wrong("it is good for an hour at most");
  return status_ok();
}

/* The JSON text of the claims, from the payload itself, which jwt_parse has read without an objection. */
static status read_claims(str token, struct arena *arena, str *ret) {
  str payload;
  STATUS_TRY(jwt_payload(token, arena, &payload));
  json_t *json = json_object_parse(payload, JWT_DEPTH_MAX);
  const json_t *claims = json_object_get(json, "claims");
  status result = status_ok();
  *ret = (str){0};
  if (claims != NULL && !json_is_object(claims) && !json_is_null(claims)) {
    result = wrong("its `claims` are not an object");
  } else if (json_object_size(claims) > 0) {
    char *text = json_dumps(claims, JSON_COMPACT);
    *ret = text == NULL ? (str){0} : arena_str_copy(arena, str_from_cstr(text));
    free(text);
    if (ret->ptr == NULL)
      result = status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  json_decref(json);
  return result;
}

status custom_token_verify(struct accounts *accounts, bool allow_unsigned, str token, int64_t now_us,
                           struct arena *arena, struct custom_token *ret) {
  struct jwt jwt;
  int64_t now_s = now_us / 1000000;
  struct custom_token read = {0};
  status parsed = jwt_parse(token, arena, &jwt);
  if (parsed.code == STATUS_UNAUTHENTICATED)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_CUSTOM_TOKEN : %s", parsed.message);
  STATUS_TRY(parsed);
  if (jwt.algorithm == JWT_NONE) {
    if (!allow_unsigned)
      return wrong("it is not signed");
  } else {
    STATUS_TRY(check_claims(&jwt, now_s));
    STATUS_TRY(find_signer(accounts, &jwt, now_s, arena, &read.project));
  }
  read.uid = arena_str_copy(arena, jwt_claim_text(&jwt, STR("uid")));
  if (read.uid.len == 0 || read.uid.len > JWT_SUBJECT_BYTES_MAX)
    return wrong("its `uid` does not have 1 to 128 bytes");
  STATUS_TRY(read_claims(token, arena, &read.claims));
  *ret = read;
  return status_ok();
}
