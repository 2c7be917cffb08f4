#include "server/identity/password_form.h"

static const struct {
  const char *name;
  enum password_import_kind kind;
  enum crypto_digest digest;
} algorithms[] = {
    {"SCRYPT", PASSWORD_IMPORT_SCRYPT, CRYPTO_SHA256},
    {"STANDARD_SCRYPT", PASSWORD_IMPORT_STANDARD_SCRYPT, CRYPTO_SHA256},
    {"PBKDF_SHA1", PASSWORD_IMPORT_PBKDF2, CRYPTO_SHA1},
    {"PBKDF2_SHA256", PASSWORD_IMPORT_PBKDF2, CRYPTO_SHA256},
    {"MD5", PASSWORD_IMPORT_DIGEST, CRYPTO_MD5},
    {"SHA1", PASSWORD_IMPORT_DIGEST, CRYPTO_SHA1},
    {"SHA256", PASSWORD_IMPORT_DIGEST, CRYPTO_SHA256},
    {"SHA512", PASSWORD_IMPORT_DIGEST, CRYPTO_SHA512},
    {"HMAC_MD5", PASSWORD_IMPORT_HMAC, CRYPTO_MD5},
    {"HMAC_SHA1", PASSWORD_IMPORT_HMAC, CRYPTO_SHA1},
    {"HMAC_SHA256", PASSWORD_IMPORT_HMAC, CRYPTO_SHA256},
    {"HMAC_SHA512", PASSWORD_IMPORT_HMAC, CRYPTO_SHA512},
    {"BCRYPT", PASSWORD_IMPORT_BCRYPT, CRYPTO_SHA256},
};

bool password_import_read_algorithm(str name, struct password_import *ret) {
  for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
    if (str_eq(name, str_from_cstr(algorithms[i].name))) {
      ret->kind = algorithms[i].kind;
      ret->digest = algorithms[i].digest;
      return true;
    }
  return false;
}

/* ---- Options ---- */

static bool is_power_of_two(uint64_t number) {
  return number != 0 && (number & (number - 1)) == 0;
}

static struct crypto_scrypt_cost scrypt_cost(const struct password_import *import) {
  if (import->kind == PASSWORD_IMPORT_SCRYPT)
    return (struct crypto_scrypt_cost){.log_n = (uint8_t)import->memory_cost, .r = import->rounds, .p = 1};
  return (struct crypto_scrypt_cost){.log_n = (uint8_t)__builtin_ctzll(import->cpu_memory_cost),
                                     .r = import->block_size,
                                     .p = import->parallelization};
}

static status check_scrypt(const struct password_import *import) {
  bool own = import->kind == PASSWORD_IMPORT_SCRYPT;
  struct password_form probe = {.kind = PASSWORD_SCRYPT, .hash.len = 16};
  if (own ? import->memory_cost < 1 || import->memory_cost > 63 : !is_power_of_two(import->cpu_memory_cost))
    return status_make(
        STATUS_INVALID_ARGUMENT,
        own ? "INVALID_HASH_MEMORY_COST : memoryCost is the logarithm of scrypt's N: 1 to 14 in "
              "exports of Firebase."
            : "INVALID_HASH_MEMORY_COST : cpuMemCost is scrypt's N, a power of two.");
  probe.cost = scrypt_cost(import);
  if (!password_form_is_good(&probe))
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "INVALID_HASH_MEMORY_COST : checking one password would take more than %d MiB of memory "
        "or too much time.",
        PASSWORD_MEMORY_BYTES_MAX / (1024 * 1024));
  if (!own && (import->derived_bytes < 16 || import->derived_bytes > PASSWORD_PART_BYTES_MAX))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_HASH_DERIVED_KEY_LENGTH : dkLen is 16 to %d here.",
                       PASSWORD_PART_BYTES_MAX);
  return status_ok();
}

static status check_key(const struct password_import *import, size_t least) {
  if (import->key.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "EMPTY_HASH_KEY : this algorithm needs signerKey.");
  if (import->key.len < least || import->key.len > PASSWORD_PART_BYTES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_HASH_KEY : signerKey has %zu to %d bytes here.",
                       least, PASSWORD_PART_BYTES_MAX);
  return status_ok();
}

static status check_rounds(const struct password_import *import, uint32_t least, uint32_t most) {
  if (import->rounds >= least && import->rounds <= most)
    return status_ok();
  return status_make(STATUS_INVALID_ARGUMENT,
                     "INVALID_HASH_ROUNDS : rounds is %u to %u for this algorithm here.", (unsigned)least,
                     (unsigned)most);
}

status password_import_check(const struct password_import *import) {
  switch (import->kind) {
  case PASSWORD_IMPORT_SCRYPT:
    STATUS_TRY(check_key(import, 16));
    STATUS_TRY(check_rounds(import, 1, 64));
    if (import->separator.len > PASSWORD_PART_BYTES_MAX)
      return status_make(STATUS_INVALID_ARGUMENT, "INVALID_HASH_SALT_SEPARATOR : saltSeparator is too long.");
    return check_scrypt(import);
  case PASSWORD_IMPORT_STANDARD_SCRYPT:
    return check_scrypt(import);
  case PASSWORD_IMPORT_PBKDF2:
    return check_rounds(import, 1, PASSWORD_PBKDF2_ROUNDS_MAX);
  case PASSWORD_IMPORT_DIGEST:
    return check_rounds(import, 0, PASSWORD_DIGEST_ROUNDS_MAX);
  case PASSWORD_IMPORT_HMAC:
    return check_key(import, 1);
  case PASSWORD_IMPORT_BCRYPT:
    return status_ok();
  }
  return status_make(STATUS_INVALID_ARGUMENT, "INVALID_HASH_ALGORITHM : there is no such algorithm.");
}

/* ---- Users ---- */

/* Identity Toolkit's MD5 is written as hexadecimal digits. */
static bool set_hash(struct password_form *form, str hash) {
  if (form->kind != PASSWORD_DIGEST || form->digest != CRYPTO_MD5 || hash.len != 2 * CRYPTO_MD5_BYTES)
    return password_part_set(&form->hash, hash);
  for (size_t i = 0; i < hash.len; i++) {
    char c = hash.ptr[i];
    unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                            : 16;
    if (digit == 16)
      return false;
    form->hash.bytes[i / 2] = (uint8_t)((unsigned)form->hash.bytes[i / 2] << 4 | digit);
  }
  form->hash.len = CRYPTO_MD5_BYTES;
  return true;
}

static struct password_form form_of(const struct password_import *import) {
  struct password_form form = {.digest = import->digest, .rounds = import->rounds};
  bool salt_first_unless_said = import->kind == PASSWORD_IMPORT_DIGEST;
  form.salt_first = import->order == PASSWORD_ORDER_DEFAULT ? salt_first_unless_said
                                                            : import->order == PASSWORD_ORDER_SALT_FIRST;
  switch (import->kind) {
  case PASSWORD_IMPORT_SCRYPT:
    form.kind = PASSWORD_FIREBASE_SCRYPT;
    form.cost = scrypt_cost(import);
    break;
  case PASSWORD_IMPORT_STANDARD_SCRYPT:
    form.kind = PASSWORD_SCRYPT;
    form.cost = scrypt_cost(import);
    break;
  case PASSWORD_IMPORT_PBKDF2:
    form.kind = PASSWORD_PBKDF2;
    break;
  case PASSWORD_IMPORT_DIGEST:
    form.kind = PASSWORD_DIGEST;
    if (form.rounds == 0 && form.digest != CRYPTO_MD5)
      form.rounds = 1;
    if (form.digest == CRYPTO_MD5) /* the order is not asked for there */
      form.salt_first = true;
    break;
  case PASSWORD_IMPORT_HMAC:
    form.kind = PASSWORD_HMAC;
    break;
  case PASSWORD_IMPORT_BCRYPT:
    form.kind = PASSWORD_BCRYPT;
    break;
  }
  return form;
}

status password_import_user(const struct password_import *import, str hash, str salt,
                            struct buf *ret_stored) {
  STATUS_TRY(password_import_check(import));
  struct password_form form = form_of(import);
  bool good = set_hash(&form, hash) && password_part_set(&form.salt, salt) &&
              password_part_set(&form.key, import->key) &&
              password_part_set(&form.separator, import->separator) && password_form_is_good(&form) &&
              (import->kind != PASSWORD_IMPORT_STANDARD_SCRYPT || hash.len == import->derived_bytes);
  if (!good)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "INVALID_PASSWORD_HASH : the hash or the salt cannot be of this algorithm and these "
                       "options.");
  password_form_append(&form, ret_stored);
  return ret_stored->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}
