#include "server/identity/fields.h"

#include <stdlib.h>

#include "base/crypto.h"
#include "base/utf8.h"
#include "server/tokens/claims.h"
#include "server/tokens/json.h"

enum { LOCAL_PART_BYTES_MAX = 64, CLAIMS_ARENA_BYTES = 64 * 1024 };

/* Of tokens themselves, and of OpenID Connect (Firebase's documentation has the list). */
static const char *const reserved[] = {
    "acr", "amr",   "at_hash",        "aud",         "auth_time", "azp", "c_hash",
    "cnf", "email", "email_verified", "exp",         "firebase",  "iat", "iss",
    "jti", "nbf",   "nonce",          "provider_id", "sid",       "sub", "user_id"};

void fields_make_uid(char ret[FIELDS_UID_MADE_BYTES + 1]) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  enum { COUNT = sizeof digits - 1, FAIR = 256 / COUNT * COUNT };
  for (size_t made = 0; made < FIELDS_UID_MADE_BYTES;) {
    uint8_t drawn[FIELDS_UID_MADE_BYTES];
    crypto_random(drawn, sizeof drawn);
    for (size_t i = 0; i < sizeof drawn && made < FIELDS_UID_MADE_BYTES; i++)
      if (drawn[i] < FAIR)
        ret[made++] = digits[drawn[i] % COUNT];
  }
  ret[FIELDS_UID_MADE_BYTES] = '\0';
}

static bool has_control(str text) {
  for (size_t i = 0; i < text.len; i++)
    if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
      return true;
  return false;
}

status fields_check_uid(str uid) {
  if (uid.len == 0 || uid.len > FIELDS_UID_BYTES_MAX || has_control(uid) || !utf8_is_valid(uid.ptr, uid.len))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_LOCAL_ID : An id has 1 to %d bytes.",
                       FIELDS_UID_BYTES_MAX);
  return status_ok();
}

/* What may stand in an address without quotes (RFC 5322, RFC 6531). */
static bool is_address_byte(char c) {
  return (unsigned char)c > 0x20 && c != 0x7f && strchr("()<>[]:;@\\,\"", c) == NULL;
}

static bool is_email(str email) {
  str domain, local = str_split(email, '@', &domain);
  if (email.len > FIELDS_EMAIL_BYTES_MAX || local.len == 0 || local.len > LOCAL_PART_BYTES_MAX ||
      domain.len == 0 || domain.ptr[0] == '.' || domain.ptr[domain.len - 1] == '.' ||
      !utf8_is_valid(email.ptr, email.len))
    return false;
  for (size_t i = 0; i < local.len; i++)
    if (!is_address_byte(local.ptr[i]))
      return false;
  for (size_t i = 0; i < domain.len; i++)
    if (!is_address_byte(domain.ptr[i]) || (domain.ptr[i] == '.' && domain.ptr[i - 1] == '.'))
      return false;
  return true;
}

status fields_canonical_email(str email, struct arena *arena, str *ret) {
  if (!is_email(email))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_EMAIL");
  str copy = arena_str_copy(arena, email);
  if (copy.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (char *at = (char *)(uintptr_t)copy.ptr; *at != '\0'; at++)
    if (*at >= 'A' && *at <= 'Z')
      *at = (char)(*at - 'A' + 'a');
  *ret = copy;
  return status_ok();
}

status fields_check_display_name(str name) {
  if (name.len > FIELDS_NAME_BYTES_MAX || has_control(name))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_DISPLAY_NAME : A name has at most %d bytes.",
                       FIELDS_NAME_BYTES_MAX);
  return status_ok();
}

status fields_check_photo_url(str url) {
  if (url.len > FIELDS_URL_BYTES_MAX || has_control(url))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_PHOTO_URL : A URL has at most %d bytes.",
                       FIELDS_URL_BYTES_MAX);
  return status_ok();
}

/* ---- Claims ---- */

static status check_claims(const json_t *json) {
  _Alignas(max_align_t) char first[4096];
  struct arena arena;
  struct doc_map readable;
  for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
    if (json_object_get(json, reserved[i]) != NULL)
      return status_make(STATUS_INVALID_ARGUMENT, "FORBIDDEN_CLAIM : The claim \"%s\" is the token's own.",
                         reserved[i]);
  arena_init(&arena, first, sizeof first, CLAIMS_ARENA_BYTES);
  status result = json_to_claims(json, &arena, &readable);
  arena_fini(&arena);
  if (result.code == STATUS_INVALID_ARGUMENT)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_CLAIMS : %s.", result.message);
  return result;
}

status fields_canonical_claims(str json, struct arena *arena, str *ret) {
  if (json.len > FIELDS_CLAIMS_BYTES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "CLAIMS_TOO_LARGE : Claims have at most %d bytes.",
                       FIELDS_CLAIMS_BYTES_MAX);
  json_t *object = json_object_parse(json, FIELDS_CLAIMS_DEPTH_MAX);
  if (object == NULL)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_CLAIMS : Claims are a JSON object.");
  status result = check_claims(object);
  if (status_is_ok(&result)) {
    char *text = json_object_size(object) == 0 ? strdup("") : json_dumps(object, JSON_COMPACT);
    *ret = text == NULL ? (str){0} : arena_str_copy(arena, str_from_cstr(text));
    free(text);
    if (ret->ptr == NULL)
      result = status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  json_decref(object);
  return result;
}

/* Both were checked when they came in. */
static json_t *parse_or_empty(str claims) {
  return claims.len == 0 ? json_object() : json_object_parse(claims, FIELDS_CLAIMS_DEPTH_MAX);
}

status fields_append_claims(str weaker, str stronger, struct buf *out) {
  if (weaker.len == 0 || stronger.len == 0) { /* nearly always */
    str one = weaker.len == 0 ? stronger : weaker;
    if (one.len > 2)
      buf_append(out, one.ptr + 1, one.len - 2);
    return status_ok();
  }
  json_t *all = parse_or_empty(weaker), *more = parse_or_empty(stronger);
  char *text = all == NULL || more == NULL || json_object_update(all, more) != 0
                   ? NULL
                   : json_dumps(all, JSON_COMPACT);
  json_decref(all);
  json_decref(more);
  if (text == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  buf_append(out, text + 1, strlen(text) - 2);
  free(text);
  return status_ok();
}
