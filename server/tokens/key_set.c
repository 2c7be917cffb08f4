#include "server/tokens/key_set.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/base64url.h"
#include "server/tokens/json.h"
#include "server/tokens/jwt.h"

struct entry {
  struct crypto_key *key;
  char *id; /* owned, or NULL: none */
  uint8_t fingerprint[CRYPTO_SHA256_BYTES];
};

struct key_set {
  _Atomic unsigned references;
  size_t count;
  struct entry entries[KEY_SET_KEYS_MAX];
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for an issuer's keys.");
}

static status wrong(const char *what) {
  return status_make(STATUS_INVALID_ARGUMENT, "The issuer's document cannot be used: %s.", what);
}

struct key_set *key_set_ref(struct key_set *set) {
  atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
  return set;
}

void key_set_unref(struct key_set *set) {
  if (set == NULL || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) != 1)
    return;
  for (size_t i = 0; i < set->count; i++) {
    crypto_key_free(set->entries[i].key);
    free(set->entries[i].id);
  }
  free(set);
}

/* Takes the key, also when it fails. */
static status add(struct key_set *set, struct crypto_key *key, str id) {
  assert(set->count < KEY_SET_KEYS_MAX);
  struct entry entry = {.key = key, .id = id.len == 0 ? NULL : strndup(id.ptr, id.len)};
  if ((id.len > 0 && entry.id == NULL) || !crypto_key_fingerprint(key, entry.fingerprint)) {
    crypto_key_free(key);
    free(entry.id);
    return no_memory();
  }
  set->entries[set->count++] = entry;
  return status_ok();
}

/* ---- JWK ---- */

/* A member in base64url. False if it is missing or something else. */
static bool get_bytes(const json_t *jwk, const char *name, uint8_t *out, size_t size, str *ret) {
  str text;
  size_t len;
  if (!json_object_get_str(jwk, name, &text) || base64url_decoded_max(text.len) > size ||
      !base64url_decode(text, out, &len))
    return false;
  *ret = str_make(out, len);
  return true;
}

static bool text_is(const json_t *jwk, const char *name, const char *wanted) {
  str text;
  return json_object_get_str(jwk, name, &text) && str_eq(text, str_from_cstr(wanted));
}

static bool is_for_signatures(const json_t *jwk) {
  if (json_object_get(jwk, "use") != NULL && !text_is(jwk, "use", "sig"))
    return false;
  const json_t *operations = json_object_get(jwk, "key_ops"), *operation;
  if (operations == NULL)
    return true;
  size_t i;
  json_array_foreach(operations, i, operation) {
    if (json_is_string(operation) && strcmp(json_string_value(operation), "verify") == 0)
      return true;
  }
  return false;
}

static const char *algorithm_name(enum crypto_algorithm algorithm) {
  return algorithm == CRYPTO_RS256 ? "RS256" : algorithm == CRYPTO_ES256 ? "ES256" : "EdDSA";
}

/* NULL (and OK) if it is of no use here. */
static status read_jwk(const json_t *jwk, struct crypto_key **ret) {
  uint8_t first_bytes[1024], second_bytes[1024];
  str first, second;
  struct crypto_key *key = NULL;
  status result = status_make(STATUS_INVALID_ARGUMENT, "not known");
  *ret = NULL;
  if (!is_for_signatures(jwk))
    return status_ok();
  if (text_is(jwk, "kty", "RSA") && get_bytes(jwk, "n", first_bytes, sizeof first_bytes, &first) &&
      get_bytes(jwk, "e", second_bytes, sizeof second_bytes, &second))
    result = crypto_key_from_rsa(first, second, &key);
  else if (text_is(jwk, "kty", "EC") && text_is(jwk, "crv", "P-256") &&
           get_bytes(jwk, "x", first_bytes, sizeof first_bytes, &first) &&
           get_bytes(jwk, "y", second_bytes, sizeof second_bytes, &second))
    result = crypto_key_from_p256(first, second, &key);
  else if (text_is(jwk, "kty", "OKP") && text_is(jwk, "crv", "Ed25519") &&
           get_bytes(jwk, "x", first_bytes, sizeof first_bytes, &first))
    result = crypto_key_from_ed25519(first, &key);
  if (!status_is_ok(&result))
    return result.code == STATUS_INVALID_ARGUMENT ? status_ok() : result;
  if (json_object_get(jwk, "alg") != NULL &&
      !text_is(jwk, "alg", algorithm_name(crypto_key_algorithm(key)))) {
    crypto_key_free(key);
    return status_ok();
  }
  *ret = key;
  return status_ok();
}

static status read_jwks(const json_t *keys, struct key_set *set) {
  const json_t *jwk;
  size_t i;
  if (json_array_size(keys) > KEY_SET_KEYS_MAX)
    return wrong("it has more than 100 keys");
  json_array_foreach(keys, i, jwk) {
    struct crypto_key *key;
    str id;
    if (!json_is_object(jwk))
      continue;
    json_object_get_str(jwk, "kid", &id);
    STATUS_TRY(read_jwk(jwk, &key));
    if (key == NULL)
      continue;
    if (id.len > JWT_KEY_ID_BYTES_MAX)
      crypto_key_free(key); /* no token can name it */
    else
      STATUS_TRY(add(set, key, id));
  }
  return status_ok();
}

/* ---- Certificates ---- */

static status read_certificates(const json_t *certificates, struct key_set *set) {
  if (json_object_size(certificates) > KEY_SET_KEYS_MAX)
    return wrong("it has more than 100 keys");
  json_t *object = (json_t *)(uintptr_t)certificates;
  for (void *i = json_object_iter(object); i != NULL; i = json_object_iter_next(object, i)) {
    str id = str_from_cstr(json_object_iter_key(i));
    const json_t *pem = json_object_iter_value(i);
    struct crypto_key *key;
    if (id.len == 0 || id.len > JWT_KEY_ID_BYTES_MAX || !json_is_string(pem))
      continue;
    status result =
        crypto_key_from_certificate_pem(str_make(json_string_value(pem), json_string_length(pem)), &key);
    if (status_is_ok(&result))
      result = add(set, key, id);
    else if (result.code == STATUS_INVALID_ARGUMENT)
      continue;
    STATUS_TRY(result);
  }
  return status_ok();
}

status key_set_parse(str document, struct key_set **ret) {
  if (document.len > KEY_SET_BYTES_MAX)
    return wrong("it is larger than 256 KiB");
  json_t *json = json_object_parse(document, KEY_SET_DEPTH_MAX);
  if (json == NULL)
    return wrong("it is not a JSON object");
  struct key_set *set = calloc(1, sizeof *set);
  status result = no_memory();
  if (set != NULL) {
    atomic_init(&set->references, 1);
    const json_t *keys = json_object_get(json, "keys");
    result = json_is_array(keys) ? read_jwks(keys, set) : read_certificates(json, set);
    if (status_is_ok(&result) && set->count == 0)
      result = wrong("no key in it is RSA of 2048 to 4096 bits, P-256 or Ed25519 and for signatures");
  }
  json_decref(json);
  if (status_is_ok(&result))
    *ret = set;
  else
    key_set_unref(set);
  return result;
}

/* ---- Looking ---- */

size_t key_set_count(const struct key_set *set) {
  return set->count;
}

const struct crypto_key *key_set_find(const struct key_set *set, str key_id,
                                      enum crypto_algorithm algorithm) {
  const struct entry *only = NULL;
  size_t of_algorithm = 0;
  for (size_t i = 0; i < set->count; i++) {
    const struct entry *entry = &set->entries[i];
    if (crypto_key_algorithm(entry->key) != algorithm)
      continue;
    if (key_id.len > 0 && entry->id != NULL && str_eq(key_id, str_from_cstr(entry->id)))
      return entry->key;
    of_algorithm++;
    only = entry;
  }
  return of_algorithm == 1 && (key_id.len == 0 || only->id == NULL) ? only->key : NULL;
}

static bool has_entry(const struct key_set *set, const struct entry *wanted) {
  for (size_t i = 0; i < set->count; i++) {
    const struct entry *entry = &set->entries[i];
    if (str_eq(str_from_cstr(entry->id), str_from_cstr(wanted->id)) &&
        memcmp(entry->fingerprint, wanted->fingerprint, sizeof entry->fingerprint) == 0)
      return true;
  }
  return false;
}

bool key_set_equal(const struct key_set *a, const struct key_set *b) {
  if (a->count != b->count)
    return false;
  for (size_t i = 0; i < a->count; i++)
    if (!has_entry(b, &a->entries[i]) || !has_entry(a, &b->entries[i]))
      return false;
  return true;
}

/* ---- Discovery ---- */

status discovery_parse(str document, str issuer, struct buf *ret_keys_url) {
  if (document.len > KEY_SET_BYTES_MAX)
    return wrong("it is larger than 256 KiB");
  json_t *json = json_object_parse(document, JWT_DEPTH_MAX);
  if (json == NULL)
    return wrong("it is not a JSON object");
  str named, url;
  status result = status_ok();
  if (!json_object_get_str(json, "issuer", &named) || !str_eq(named, issuer))
    result = wrong("its `issuer` is not the one that was asked for, to the byte");
  else if (!json_object_get_str(json, "jwks_uri", &url) || url.len == 0 || url.len > KEY_SET_URL_BYTES_MAX)
    result = wrong("it has no `jwks_uri`");
  else
    buf_append_str(ret_keys_url, url);
  json_decref(json);
  return status_is_ok(&result) && ret_keys_url->failed ? no_memory() : result;
}
