#include "server/identity/id_token.h"

#include <inttypes.h>

#include "base/base64url.h"
#include "server/identity/fields.h"
#include "server/json/json_write.h"
#include "server/tokens/claims.h"

#define PROJECT_MARK "{project}"

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the token. Try again.");
}

static status bad(const char *code) {
  return status_make(STATUS_UNAUTHENTICATED, "%s", code);
}

void id_token_put_issuer(const struct id_token_maker *maker, str project, struct buf *out) {
  const char *mark = strstr(maker->issuer, PROJECT_MARK);
  if (mark == NULL) {
    buf_append_str(out, str_from_cstr(maker->issuer));
    return;
  }
  buf_append(out, maker->issuer, (size_t)(mark - maker->issuer));
  buf_append_str(out, project);
  buf_append_str(out, str_from_cstr(mark + strlen(PROJECT_MARK)));
}

/* ---- Making ---- */

static void put_text(struct buf *out, const char *name, str value) {
  buf_printf(out, ",\"%s\":", name);
  json_write_string(value, out); /* it is UTF-8, or would not have come in */
}

/* A list of what is known of one provider. */
static void put_list(struct buf *out, bool *first, str name, str value) {
  buf_append_str(out, *first ? STR("") : STR(","));
  *first = false;
  json_write_string(name, out);
  buf_append_str(out, STR(":["));
  json_write_string(value, out);
  buf_append_byte(out, ']');
}

static void put_firebase(const user_record *user, const session_record *session, struct buf *out) {
  bool first = true;
  buf_append_str(out, STR(",\"firebase\":{\"identities\":{"));
  for (size_t i = 0; i < user->n_providers; i++)
    put_list(out, &first, str_from_cstr(user->providers[i]->provider_id),
             str_from_cstr(user->providers[i]->raw_id));
  if (*user->email != '\0')
    put_list(out, &first, STR("email"), str_from_cstr(user->email));
  buf_append_byte(out, '}');
  put_text(out, "sign_in_provider", str_from_cstr(session->sign_in_provider));
  if (*session->second_factor_id != '\0') {
    put_text(out, "sign_in_second_factor", STR("totp"));
    put_text(out, "second_factor_identifier", str_from_cstr(session->second_factor_id));
  }
  buf_append_byte(out, '}');
}

static status put_claims(const struct id_token_maker *maker, const user_record *user,
                         const uint8_t id[REFRESH_TOKEN_SESSION_BYTES], const session_record *session,
                         int64_t now_s, struct buf *out) {
  str project = str_from_cstr(user->project), uid = str_from_cstr(user->uid);
  struct buf issuer = {0};
  id_token_put_issuer(maker, project, &issuer);
  buf_append_str(out, STR("{\"iss\":"));
  json_write_string(issuer.len == 0 ? STR("") : buf_str(&issuer), out);
  out->failed = out->failed || issuer.failed;
  buf_fini(&issuer);
  put_text(out, "aud", project);
  put_text(out, "sub", uid);
  put_text(out, "user_id", uid);
  buf_printf(out, ",\"iat\":%" PRId64 ",\"exp\":%" PRId64 ",\"auth_time\":%" PRId64, now_s,
             now_s + maker->lifetime_s, session->auth_time_s);
  buf_append_str(out, STR(",\"sid\":\""));
  base64url_append(out, str_make(id, REFRESH_TOKEN_SESSION_BYTES));
  buf_append_byte(out, '"');
  if (*user->email != '\0') {
    put_text(out, "email", str_from_cstr(user->email));
    buf_printf(out, ",\"email_verified\":%s", user->email_verified ? "true" : "false");
  }
  struct buf more = {0};
  status result =
      fields_append_claims(str_from_cstr(session->claims), str_from_cstr(user->custom_claims), &more);
  /* An app may have claims of these names, and then means its own. */
  if (*user->display_name != '\0' && (more.len == 0 || memmem(more.data, more.len, "\"name\":", 7) == NULL))
    put_text(out, "name", str_from_cstr(user->display_name));
  if (*user->photo_url != '\0' && (more.len == 0 || memmem(more.data, more.len, "\"picture\":", 10) == NULL))
    put_text(out, "picture", str_from_cstr(user->photo_url));
  if (user->anonymous)
    put_text(out, "provider_id", STR("anonymous"));
  if (more.len > 0) {
    buf_append_byte(out, ',');
    buf_append_str(out, buf_str(&more));
  }
  out->failed = out->failed || more.failed;
  buf_fini(&more);
  put_firebase(user, session, out);
  buf_append_byte(out, '}');
  return result;
}

status id_token_make(const struct id_token_maker *maker, const user_record *user,
                     const uint8_t id[REFRESH_TOKEN_SESSION_BYTES], const session_record *session,
                     int64_t now_s, struct buf *out) {
  struct buf claims = {0};
  status result = put_claims(maker, user, id, session, now_s, &claims);
  if (status_is_ok(&result) && claims.failed)
    result = no_memory();
  if (status_is_ok(&result) && maker->is_unsigned) {
    base64url_append(out, STR("{\"alg\":\"none\",\"typ\":\"JWT\"}"));
    buf_append_byte(out, '.');
    base64url_append(out, buf_str(&claims));
    buf_append_byte(out, '.');
    if (out->failed)
      result = no_memory();
  } else if (status_is_ok(&result)) {
    result = signing_keys_sign(maker->keys, buf_str(&claims), out);
  }
  buf_fini(&claims);
  return result;
}

/* ---- Checking ---- */

static bool has_our_issuer(const struct id_token_maker *maker, const struct jwt *jwt) {
  struct buf issuer = {0};
  if (jwt->audience_count != 1)
    return false;
  id_token_put_issuer(maker, jwt->audiences[0], &issuer);
  bool same = !issuer.failed && issuer.len > 0 && str_eq(buf_str(&issuer), jwt->issuer);
  buf_fini(&issuer);
  return same;
}

bool id_token_is_ours(const struct id_token_maker *maker, const struct jwt *jwt) {
  bool good;
  if (jwt->algorithm == JWT_NONE)
    return maker->is_unsigned && has_our_issuer(maker, jwt) && jwt_claim_text(jwt, STR("sid")).len > 0;
  return signing_keys_verify(maker->keys, jwt, &good);
}

static bool read_session(const struct jwt *jwt, uint8_t out[REFRESH_TOKEN_SESSION_BYTES]) {
  uint8_t bytes[24];
  size_t len;
  str text = jwt_claim_text(jwt, STR("sid"));
  if (base64url_decoded_max(text.len) > sizeof bytes || !base64url_decode(text, bytes, &len) ||
      len != REFRESH_TOKEN_SESSION_BYTES)
    return false;
  memcpy(out, bytes, len);
  return true;
}

static status check_state(const struct id_token_maker *maker, struct id_token *token, struct arena *arena,
                          user_record **ret_user) {
  struct user_view view;
  user_record *user;
  session_record *session;
  STATUS_TRY(user_view_now(maker->store, &view));
  STATUS_TRY(user_store_find(&view, token->project, token->uid, arena, &user));
  if (user == NULL)
    return bad("USER_NOT_FOUND");
  if (user->disabled)
    return bad("USER_DISABLED");
  STATUS_TRY(user_store_find_session(&view, token->session, arena, &session));
  if (session == NULL || token->auth_time_s < user->valid_since_s ||
      !str_eq(str_from_cstr(session->uid), token->uid) ||
      !str_eq(str_from_cstr(session->project), token->project))
    return bad("TOKEN_EXPIRED");
  token->record = session;
  *ret_user = user;
  return status_ok();
}

status id_token_check(const struct id_token_maker *maker, const struct jwt *jwt, int64_t now_us,
                      struct arena *arena, struct id_token *ret, user_record **ret_user) {
  bool good = false;
  bool is_signed = jwt->algorithm != JWT_NONE;
  if (is_signed ? !signing_keys_verify(maker->keys, jwt, &good) || !good : !maker->is_unsigned)
    return bad("INVALID_ID_TOKEN");
  struct id_token token = {.uid = jwt->subject,
                           .auth_time_s = jwt->auth_time_s,
                           .expires_s = jwt->expires_s,
                           .issued_s = jwt->issued_s};
  if (!has_our_issuer(maker, jwt) || !read_session(jwt, token.session) || jwt->auth_time_s == JWT_NO_TIME)
    return bad("INVALID_ID_TOKEN");
  token.project = jwt->audiences[0];
  int64_t now_s = now_us / 1000000;
  if (jwt->expires_s != JWT_NO_TIME && now_s > jwt->expires_s + JWT_CLOCK_TOLERANCE_S)
    return bad("TOKEN_EXPIRED");
  status times = jwt_check(jwt, now_s);
  if (!status_is_ok(&times))
    return bad("INVALID_ID_TOKEN");
  STATUS_TRY(check_state(maker, &token, arena, ret_user));
  *ret = token;
  return status_ok();
}

status id_token_claims(const struct id_token_maker *maker, const struct id_token *token,
                       const user_record *user, struct arena *arena, struct doc_map *ret) {
  struct buf text = {0};
  status result = put_claims(maker, user, token->session, token->record, token->issued_s, &text);
  json_t *json =
      status_is_ok(&result) && !text.failed ? json_object_parse(buf_str(&text), JWT_DEPTH_MAX) : NULL;
  buf_fini(&text);
  if (json != NULL)
    result = json_to_claims(json, arena, ret);
  else if (status_is_ok(&result))
    result = no_memory();
  json_decref(json);
  return result;
}
