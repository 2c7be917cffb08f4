#include "server/identity/password.h"

#include <assert.h>

#include "server/identity/password_form.h"

enum {
  OTHER_MEMORY_BYTES = 64 * 1024, /* what no form passes beside scrypt's blocks */
  FIREBASE_KEY_BYTES = CRYPTO_AES256_KEY_BYTES,
};

status password_check_policy(str password) {
  if (password.len < PASSWORD_BYTES_MIN)
    return status_make(STATUS_INVALID_ARGUMENT, "WEAK_PASSWORD : Password should be at least %d characters",
                       PASSWORD_BYTES_MIN);
  if (password.len > PASSWORD_BYTES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "PASSWORD_DOES_NOT_MEET_REQUIREMENTS : Password may have at most %d bytes",
                       PASSWORD_BYTES_MAX);
  return status_ok();
}

status password_hash(struct crypto_scrypt_cost cost, str password, struct buf *ret_stored) {
  struct password_form form = {.kind = PASSWORD_SCRYPT,
                               .cost = cost,
                               .salt.len = PASSWORD_SALT_BYTES,
                               .hash.len = PASSWORD_HASH_BYTES};
  crypto_random(form.salt.bytes, form.salt.len);
  STATUS_TRY(crypto_scrypt(password, password_part_str(&form.salt), cost, PASSWORD_MEMORY_BYTES_MAX,
                           form.hash.bytes, form.hash.len));
  if (!password_form_is_good(&form))
    return status_make(STATUS_INVALID_ARGUMENT, "The costs of passwords are out of bounds.");
  password_form_append(&form, ret_stored);
  return ret_stored->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

/* ---- Checking ---- */

/* Firebase's own: a key derived by scrypt encrypts the project's signer key. */
static status derive_firebase(const struct password_form *form, str password, uint8_t *out) {
  uint8_t salt[2 * PASSWORD_PART_BYTES_MAX], key[FIREBASE_KEY_BYTES];
  memcpy(salt, form->salt.bytes, form->salt.len);
  memcpy(salt + form->salt.len, form->separator.bytes, form->separator.len);
  STATUS_TRY(crypto_scrypt(password, str_make(salt, form->salt.len + form->separator.len), form->cost,
                           PASSWORD_MEMORY_BYTES_MAX, key, sizeof key));
  crypto_aes256_ctr(key, password_part_str(&form->key), out);
  crypto_wipe(key, sizeof key);
  return status_ok();
}

/* MD5's rounds are as Identity Toolkit has them: each takes the digest so far and the password. The others'
 * take the digest alone, and the first counts. */
static void derive_digest(const struct password_form *form, str password, uint8_t *out) {
  str salt = password_part_str(&form->salt);
  uint8_t sum[CRYPTO_DIGEST_BYTES_MAX];
  size_t len = crypto_digest_bytes(form->digest);
  bool md5 = form->digest == CRYPTO_MD5;
  crypto_digest_of(form->digest, form->salt_first ? salt : password, form->salt_first ? password : salt, sum);
  for (uint32_t i = md5 ? 0 : 1; i < form->rounds; i++)
    crypto_digest_of(form->digest, str_make(sum, len), md5 ? password : (str){NULL, 0}, sum);
  memcpy(out, sum, len);
}

/* hash.len bytes. */
static status derive(const struct password_form *form, str password, uint8_t out[PASSWORD_PART_BYTES_MAX]) {
  str salt = password_part_str(&form->salt);
  switch (form->kind) {
  case PASSWORD_SCRYPT:
    return crypto_scrypt(password, salt, form->cost, PASSWORD_MEMORY_BYTES_MAX, out, form->hash.len);
  case PASSWORD_FIREBASE_SCRYPT:
    return derive_firebase(form, password, out);
  case PASSWORD_PBKDF2:
    crypto_pbkdf2(form->digest, password, salt, form->rounds, out, form->hash.len);
    break;
  case PASSWORD_DIGEST:
    derive_digest(form, password, out);
    break;
  case PASSWORD_HMAC:
    crypto_hmac_of(form->digest, password_part_str(&form->key), form->salt_first ? salt : password,
                   form->salt_first ? password : salt, out);
    break;
  case PASSWORD_BCRYPT:
    assert(false); /* has a way of its own */
  }
  return status_ok();
}

status password_verify(str stored, str password, bool *ret_matches) {
  struct password_form form;
  uint8_t derived[PASSWORD_PART_BYTES_MAX];
  if (!password_form_parse(stored, &form))
    return status_make(STATUS_DATA_LOSS, "The stored password of this account is damaged: reset it.");
  if (password.len > PASSWORD_BYTES_MAX) {
    *ret_matches = false;
    return status_ok();
  }
  if (form.kind == PASSWORD_BCRYPT)
    return crypto_bcrypt_matches(password_part_str(&form.hash), password, ret_matches);
  STATUS_TRY(derive(&form, password, derived));
  *ret_matches = crypto_equal(str_make(derived, form.hash.len), password_part_str(&form.hash));
  crypto_wipe(derived, sizeof derived);
  return status_ok();
}

static status verify_nobody(struct crypto_scrypt_cost cost, str password) {
  static const uint8_t salt[PASSWORD_SALT_BYTES] = {0};
  uint8_t derived[PASSWORD_HASH_BYTES];
  if (password.len > PASSWORD_BYTES_MAX)
    return status_ok();
  return crypto_scrypt(password, str_make(salt, sizeof salt), cost, PASSWORD_MEMORY_BYTES_MAX, derived,
                       sizeof derived);
}

status password_check(struct crypto_scrypt_cost cost, str stored, str password, bool *ret_matches) {
  *ret_matches = false;
  if (stored.len == 0)
    return verify_nobody(cost, password);
  STATUS_TRY(password_verify(stored, password, ret_matches));
  bool is_cheap = password_memory_bytes(stored) < crypto_scrypt_memory_bytes(cost);
  return is_cheap && !*ret_matches ? verify_nobody(cost, password) : status_ok();
}

static uint64_t work_of(struct crypto_scrypt_cost cost) {
  return (UINT64_C(1) << cost.log_n) * cost.r * cost.p;
}

bool password_needs_upgrade(str stored, struct crypto_scrypt_cost cost) {
  struct password_form form;
  return !password_form_parse(stored, &form) || form.kind != PASSWORD_SCRYPT ||
         work_of(form.cost) < work_of(cost) ||
         crypto_scrypt_memory_bytes(form.cost) < crypto_scrypt_memory_bytes(cost) ||
         form.salt.len < PASSWORD_SALT_BYTES || form.hash.len < PASSWORD_HASH_BYTES;
}

size_t password_memory_bytes(str stored) {
  struct password_form form;
  if (!password_form_parse(stored, &form) ||
      (form.kind != PASSWORD_SCRYPT && form.kind != PASSWORD_FIREBASE_SCRYPT))
    return OTHER_MEMORY_BYTES;
  return (size_t)crypto_scrypt_memory_bytes(form.cost) + OTHER_MEMORY_BYTES; /* bounded by the form's costs */
}
