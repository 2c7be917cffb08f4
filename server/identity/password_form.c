#include "server/identity/password_form.h"

#include <inttypes.h>

#include "base/base64url.h"

static const struct {
  const char *name; /* in forms: "sha256", "hmac-sha256", "pbkdf2-sha256" */
  enum crypto_digest digest;
} digests[] = {
    {"md5", CRYPTO_MD5}, {"sha1", CRYPTO_SHA1}, {"sha256", CRYPTO_SHA256}, {"sha512", CRYPTO_SHA512}};
enum { DIGESTS = sizeof digests / sizeof digests[0] };

static const char *digest_name(enum crypto_digest digest) {
  size_t i = 0;
  while (digests[i].digest != digest)
    i++;
  return digests[i].name;
}

static bool read_digest(str name, enum crypto_digest *ret) {
  for (size_t i = 0; i < DIGESTS; i++)
    if (str_eq(name, str_from_cstr(digests[i].name))) {
      *ret = digests[i].digest;
      return true;
    }
  return false;
}

bool password_part_set(struct password_part *part, str bytes) {
  if (bytes.len > PASSWORD_PART_BYTES_MAX)
    return false;
  if (bytes.len > 0)
    memcpy(part->bytes, bytes.ptr, bytes.len);
  part->len = bytes.len;
  return true;
}

/* ---- Bounds ---- */

static bool scrypt_is_good(struct crypto_scrypt_cost cost) {
  return cost.log_n >= 1 && cost.log_n <= 24 && cost.r >= 1 && cost.r <= 1024 && cost.p >= 1 &&
         cost.p <= 1024 && cost.log_n < 16 * cost.r &&
         ((uint64_t)cost.r * cost.p) << cost.log_n <= PASSWORD_SCRYPT_WORK_MAX &&
         crypto_scrypt_memory_bytes(cost) <= PASSWORD_MEMORY_BYTES_MAX;
}

/* "$2b$10$..." of 60 characters; what is after the cost is looked at when it is used. */
static bool bcrypt_is_good(str text) {
  uint64_t cost;
  return text.len == CRYPTO_BCRYPT_TEXT_BYTES && str_has_prefix(text, STR("$2")) && text.ptr[3] == '$' &&
         text.ptr[6] == '$' && str_to_u64(str_make(text.ptr + 4, 2), &cost) && cost >= 4 &&
         cost <= PASSWORD_BCRYPT_COST_MAX;
}

bool password_form_is_good(const struct password_form *form) {
  size_t hash_len = form->hash.len;
  switch (form->kind) {
  case PASSWORD_SCRYPT:
    return scrypt_is_good(form->cost) && hash_len >= 16;
  case PASSWORD_FIREBASE_SCRYPT:
    return scrypt_is_good(form->cost) && form->key.len >= 16 && hash_len == form->key.len;
  case PASSWORD_PBKDF2:
    return form->rounds >= 1 && form->rounds <= PASSWORD_PBKDF2_ROUNDS_MAX &&
           (form->digest == CRYPTO_SHA1 || form->digest == CRYPTO_SHA256) && hash_len >= 16 &&
           hash_len <= CRYPTO_DIGEST_BYTES_MAX;
  case PASSWORD_DIGEST:
    return form->rounds <= PASSWORD_DIGEST_ROUNDS_MAX && (form->rounds >= 1 || form->digest == CRYPTO_MD5) &&
           hash_len == crypto_digest_bytes(form->digest);
  case PASSWORD_HMAC:
    return form->key.len >= 1 && hash_len == crypto_digest_bytes(form->digest);
  case PASSWORD_BCRYPT:
    return bcrypt_is_good(password_part_str(&form->hash));
  }
  return false;
}

/* ---- Reading ---- */

/* The value of the next of "name=value,name=value", which must have that name. */
static bool take(str *parameters, const char *name, str *ret) {
  str value, one = str_split(*parameters, ',', parameters);
  if (!str_eq(str_split(one, '=', &value), str_from_cstr(name)) || value.ptr == NULL)
    return false;
  *ret = value;
  return true;
}

static bool take_number(str *parameters, const char *name, uint32_t *ret) {
  str text;
  uint64_t number;
  if (!take(parameters, name, &text) || !str_to_u64(text, &number) || number > UINT32_MAX)
    return false;
  *ret = (uint32_t)number;
  return true;
}

static bool read_part(str text, struct password_part *ret) {
  return base64url_decoded_max(text.len) <= sizeof ret->bytes &&
         base64url_decode(text, ret->bytes, &ret->len) && ret->len <= PASSWORD_PART_BYTES_MAX;
}

static bool take_part(str *parameters, const char *name, struct password_part *ret) {
  str text;
  return take(parameters, name, &text) && read_part(text, ret);
}

static bool take_cost(str *parameters, struct crypto_scrypt_cost *ret) {
  uint32_t log_n;
  if (!take_number(parameters, "ln", &log_n) || log_n > 63 || !take_number(parameters, "r", &ret->r) ||
      !take_number(parameters, "p", &ret->p))
    return false;
  ret->log_n = (uint8_t)log_n;
  return true;
}

static bool take_order(str *parameters, bool *ret_salt_first) {
  str text;
  if (!take(parameters, "o", &text) || (!str_eq(text, STR("s")) && !str_eq(text, STR("p"))))
    return false;
  *ret_salt_first = str_eq(text, STR("s"));
  return true;
}

static bool read_kind(str name, str *parameters, struct password_form *ret) {
  static const char pbkdf2[] = "pbkdf2-", hmac[] = "hmac-";
  if (str_eq(name, STR("scrypt"))) {
    ret->kind = PASSWORD_SCRYPT;
    return take_cost(parameters, &ret->cost);
  }
  if (str_eq(name, STR("firebase-scrypt"))) {
    ret->kind = PASSWORD_FIREBASE_SCRYPT;
    return take_cost(parameters, &ret->cost) && take_part(parameters, "key", &ret->key) &&
           take_part(parameters, "sep", &ret->separator);
  }
  if (str_has_prefix(name, str_from_cstr(pbkdf2))) {
    ret->kind = PASSWORD_PBKDF2;
    return read_digest(str_from(name, sizeof pbkdf2 - 1), &ret->digest) &&
           take_number(parameters, "i", &ret->rounds);
  }
  if (str_has_prefix(name, str_from_cstr(hmac))) {
    ret->kind = PASSWORD_HMAC;
    return read_digest(str_from(name, sizeof hmac - 1), &ret->digest) &&
           take_order(parameters, &ret->salt_first) && take_part(parameters, "key", &ret->key);
  }
  ret->kind = PASSWORD_DIGEST;
  return read_digest(name, &ret->digest) && take_number(parameters, "i", &ret->rounds) &&
         take_order(parameters, &ret->salt_first);
}

bool password_form_parse(str text, struct password_form *ret) {
  struct password_form form = {.kind = PASSWORD_BCRYPT};
  if (text.len > PASSWORD_STORED_BYTES_MAX || text.len == 0 || text.ptr[0] != '$')
    return false;
  if (str_has_prefix(text, STR("$2"))) {
    if (!password_part_set(&form.hash, text) || !password_form_is_good(&form))
      return false;
    *ret = form;
    return true;
  }
  str parameters, salt, hash;
  str name = str_split(str_from(text, 1), '$', &parameters);
  parameters = str_split(parameters, '$', &salt);
  salt = str_split(salt, '$', &hash);
  if (hash.ptr == NULL || !read_kind(name, &parameters, &form) || parameters.len > 0 ||
      !read_part(salt, &form.salt) || !read_part(hash, &form.hash) || !password_form_is_good(&form))
    return false;
  *ret = form;
  return true;
}

/* ---- Writing ---- */

static void append_part(struct buf *out, const char *before, const struct password_part *part) {
  buf_append_str(out, str_from_cstr(before));
  base64url_append(out, password_part_str(part));
}

void password_form_append(const struct password_form *form, struct buf *out) {
  struct crypto_scrypt_cost cost = form->cost;
  const char *order = form->salt_first ? "s" : "p";
  switch (form->kind) {
  case PASSWORD_BCRYPT:
    buf_append_str(out, password_part_str(&form->hash));
    return;
  case PASSWORD_SCRYPT:
    buf_printf(out, "$scrypt$ln=%u,r=%" PRIu32 ",p=%" PRIu32, (unsigned)cost.log_n, cost.r, cost.p);
    break;
  case PASSWORD_FIREBASE_SCRYPT:
    buf_printf(out, "$firebase-scrypt$ln=%u,r=%" PRIu32 ",p=%" PRIu32, (unsigned)cost.log_n, cost.r, cost.p);
    append_part(out, ",key=", &form->key);
    append_part(out, ",sep=", &form->separator);
    break;
  case PASSWORD_PBKDF2:
    buf_printf(out, "$pbkdf2-%s$i=%" PRIu32, digest_name(form->digest), form->rounds);
    break;
  case PASSWORD_DIGEST:
    buf_printf(out, "$%s$i=%" PRIu32 ",o=%s", digest_name(form->digest), form->rounds, order);
    break;
  case PASSWORD_HMAC:
    buf_printf(out, "$hmac-%s$o=%s", digest_name(form->digest), order);
    append_part(out, ",key=", &form->key);
    break;
  }
  append_part(out, "$", &form->salt);
  append_part(out, "$", &form->hash);
}
