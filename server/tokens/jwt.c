#include "server/tokens/jwt.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "base/base64url.h"
#include "server/tokens/claims.h"
#include "storage/document/codec.h"

static const int64_t TIME_MAX_S = 253402300799; /* the end of the year 9999 */

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to look at the token. Try again.");
}

static status wrong(const char *what) {
  return status_make(STATUS_UNAUTHENTICATED, "The token is refused: %s.", what);
}

/* ---- Header ---- */

static const struct {
  const char *name;
  enum jwt_algorithm algorithm;
} algorithms[] = {{"none", JWT_NONE}, {"RS256", JWT_RS256}, {"ES256", JWT_ES256}, {"EdDSA", JWT_EDDSA}};

static status read_type(const json_t *header) {
  str type;
  if (json_object_get(header, "typ") == NULL)
    return status_ok();
  if (!json_object_get_str(header, "typ", &type))
    return wrong("its header's `typ` is not a string");
  if (type.len > 12 && strncasecmp(type.ptr, "application/", 12) == 0)
    type = str_from(type, 12);
  bool known = (type.len == 3 && strncasecmp(type.ptr, "jwt", 3) == 0) ||
               (type.len == 6 && strncasecmp(type.ptr, "at+jwt", 6) == 0);
  return known ? status_ok() : wrong("its header says that it is for something else (`typ`)");
}

static status read_header(const json_t *header, struct arena *arena, struct jwt *jwt) {
  str name, key_id;
  if (json_object_get(header, "crit") != NULL)
    return wrong("its header asks for extensions (`crit`), and none is known here");
  STATUS_TRY(read_type(header));
  if (!json_object_get_str(header, "alg", &name))
    return wrong("its header names no algorithm (`alg`)");
  size_t i = 0, count = sizeof algorithms / sizeof algorithms[0];
  while (i < count && !str_eq(name, str_from_cstr(algorithms[i].name)))
    i++;
  if (i == count)
    return wrong("its algorithm is none of RS256, ES256 and EdDSA");
  jwt->algorithm = algorithms[i].algorithm;
  if (json_object_get(header, "kid") == NULL)
    return status_ok();
  if (!json_object_get_str(header, "kid", &key_id) || key_id.len == 0 || key_id.len > JWT_KEY_ID_BYTES_MAX)
    return wrong("its header's `kid` is not a string of 1 to 256 bytes");
  jwt->key_id = arena_str_copy(arena, key_id);
  return jwt->key_id.ptr == NULL ? no_memory() : status_ok();
}

/* ---- Registered claims ---- */

static status read_text(struct doc_map claims, str name, str *ret) {
  const struct doc_value *value = doc_map_get(claims, name);
  if (value != NULL && value->type != DOC_STRING)
    return status_make(STATUS_UNAUTHENTICATED,
                       "The token is refused: its claim `" STR_FMT "` is not a string.", STR_ARG(name));
  if (value != NULL)
    *ret = value->as.text;
  return status_ok();
}

static status read_time(struct doc_map claims, str name, int64_t *ret) {
  const struct doc_value *value = doc_map_get(claims, name);
  *ret = JWT_NO_TIME;
  if (value == NULL)
    return status_ok();
  if (value->type == DOC_INTEGER && value->as.integer >= 0 && value->as.integer <= TIME_MAX_S)
    *ret = value->as.integer;
  else if (value->type == DOC_DOUBLE && value->as.number >= 0 && value->as.number <= (double)TIME_MAX_S)
    *ret = (int64_t)value->as.number;
  else
    return status_make(STATUS_UNAUTHENTICATED,
                       "The token is refused: its claim `" STR_FMT "` is not a time (a number of seconds).",
                       STR_ARG(name));
  return status_ok();
}

static status read_audiences(struct doc_map claims, struct arena *arena, struct jwt *jwt) {
  const struct doc_value *value = doc_map_get(claims, STR("aud"));
  if (value == NULL)
    return status_ok();
  bool one = value->type == DOC_STRING;
  size_t count = one ? 1 : value->type == DOC_ARRAY ? value->as.array.count : 0;
  if (count == 0 || count > JWT_AUDIENCES_MAX)
    return wrong("its claim `aud` is neither a string nor a list of some");
  str *audiences = ARENA_NEW_ARRAY(arena, str, count);
  if (audiences == NULL)
    return no_memory();
  for (size_t i = 0; i < count; i++) {
    const struct doc_value *item = one ? value : &value->as.array.items[i];
    if (item->type != DOC_STRING)
      return wrong("its claim `aud` holds something else than strings");
    audiences[i] = item->as.text;
  }
  jwt->audiences = audiences;
  jwt->audience_count = count;
  return status_ok();
}

static status read_claims(const json_t *claims, struct arena *arena, struct jwt *jwt) {
  status result = json_to_claims(claims, arena, &jwt->claims);
  if (!status_is_ok(&result))
    return result.code == STATUS_RESOURCE_EXHAUSTED ? no_memory() : wrong(result.message);
  STATUS_TRY(read_text(jwt->claims, STR("iss"), &jwt->issuer));
  STATUS_TRY(read_text(jwt->claims, STR("sub"), &jwt->subject));
  STATUS_TRY(read_audiences(jwt->claims, arena, jwt));
  STATUS_TRY(read_time(jwt->claims, STR("exp"), &jwt->expires_s));
  STATUS_TRY(read_time(jwt->claims, STR("iat"), &jwt->issued_s));
  STATUS_TRY(read_time(jwt->claims, STR("nbf"), &jwt->not_before_s));
  return read_time(jwt->claims, STR("auth_time"), &jwt->auth_time_s);
}

/* ---- The whole ---- */

/* A part that is base64url, in the arena. */
static status decode_part(str part, const char *what, struct arena *arena, str *ret) {
  uint8_t *bytes = arena_alloc(arena, base64url_decoded_max(part.len));
  size_t len;
  if (bytes == NULL)
    return no_memory();
  if (!base64url_decode(part, bytes, &len))
    return status_make(STATUS_UNAUTHENTICATED, "The token is refused: its %s is not base64url.", what);
  *ret = str_make(bytes, len);
  return status_ok();
}

static status read_json(str part, const char *what, struct arena *arena, json_t **ret) {
  str text;
  STATUS_TRY(decode_part(part, what, arena, &text));
  *ret = json_object_parse(text, JWT_DEPTH_MAX);
  if (*ret == NULL)
    return status_make(
        STATUS_UNAUTHENTICATED,
        "The token is refused: its %s is not a JSON object (without names that occur twice, at "
        "most %d levels deep).",
        what, JWT_DEPTH_MAX);
  return status_ok();
}

status jwt_parse(str token, struct arena *arena, struct jwt *ret) {
  struct jwt jwt = {0};
  json_t *json;
  str rest, signature_part;
  if (token.len > JWT_BYTES_MAX)
    return wrong("it is longer than 16 KiB");
  str header_part = str_split(token, '.', &rest), payload_part = str_split(rest, '.', &signature_part);
  if (rest.ptr == NULL || signature_part.ptr == NULL || memchr(signature_part.ptr, '.', signature_part.len))
    return wrong("it does not have three parts");
  jwt.signing_input = str_make(token.ptr, header_part.len + 1 + payload_part.len);

  STATUS_TRY(read_json(header_part, "header", arena, &json));
  status result = read_header(json, arena, &jwt);
  json_decref(json);
  STATUS_TRY(result);
  STATUS_TRY(read_json(payload_part, "payload", arena, &json));
  result = read_claims(json, arena, &jwt);
  json_decref(json);
  STATUS_TRY(result);
  STATUS_TRY(decode_part(signature_part, "signature", arena, &jwt.signature));
  if ((jwt.algorithm == JWT_NONE) != (jwt.signature.len == 0))
    return wrong(jwt.algorithm == JWT_NONE ? "it says that it is not signed, and has a signature"
                                           : "it has no signature");
  *ret = jwt;
  return status_ok();
}

enum crypto_algorithm jwt_key_algorithm(const struct jwt *jwt) {
  assert(jwt->algorithm != JWT_NONE);
  return jwt->algorithm == JWT_RS256   ? CRYPTO_RS256
         : jwt->algorithm == JWT_ES256 ? CRYPTO_ES256
                                       : CRYPTO_EDDSA;
}

bool jwt_is_signed_by(const struct jwt *jwt, const struct crypto_key *key) {
  return jwt->algorithm != JWT_NONE && jwt_key_algorithm(jwt) == crypto_key_algorithm(key) &&
         crypto_verify(key, jwt->signing_input, jwt->signature);
}

static bool is_future(int64_t time_s, int64_t now_s) {
  return time_s != JWT_NO_TIME && time_s > now_s + JWT_CLOCK_TOLERANCE_S;
}

status jwt_check(const struct jwt *jwt, int64_t now_s) {
  if (jwt->expires_s == JWT_NO_TIME)
    return wrong("it does not say when it expires (`exp`)");
  if (jwt->issued_s == JWT_NO_TIME)
    return wrong("it does not say when it was issued (`iat`)");
  if (now_s >= jwt->expires_s + JWT_CLOCK_TOLERANCE_S)
    return wrong("it has expired. Sign in again, or get a new one");
  if (is_future(jwt->issued_s, now_s) || is_future(jwt->not_before_s, now_s) ||
      is_future(jwt->auth_time_s, now_s))
    return wrong("it is not valid yet (`iat`, `nbf` or `auth_time` is in the future). Is a clock wrong?");
  if (jwt->subject.len == 0 || jwt->subject.len > JWT_SUBJECT_BYTES_MAX)
    return wrong("its subject (`sub`) does not have 1 to 128 bytes");
  return status_ok();
}

bool jwt_has_audience(const struct jwt *jwt, str audience) {
  for (size_t i = 0; i < jwt->audience_count; i++)
    if (str_eq(jwt->audiences[i], audience))
      return true;
  return false;
}

str jwt_claim_text(const struct jwt *jwt, str name) {
  const struct doc_value *value = doc_map_get(jwt->claims, name);
  return value != NULL && value->type == DOC_STRING ? value->as.text : (str){NULL, 0};
}

status jwt_encode_claims(const struct jwt *jwt, struct arena *arena, str *ret) {
  status result = doc_encode_fields(jwt->claims, arena, ret);
  return status_is_ok(&result) ? result : no_memory();
}

status jwt_payload(str token, struct arena *arena, str *ret) {
  str rest, payload;
  (void)str_split(token, '.', &rest);
  payload = str_split(rest, '.', &rest);
  char *bytes = arena_alloc(arena, base64url_decoded_max(payload.len) + 1);
  size_t len;
  if (bytes == NULL)
    return no_memory();
  bool decoded = base64url_decode(payload, bytes, &len);
  assert(decoded);
  (void)decoded;
  bytes[len] = '\0';
  *ret = str_make(bytes, len);
  return status_ok();
}
