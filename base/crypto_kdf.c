#include "base/crypto_kdf.h"

#include <assert.h>
#include <crypt.h>
#include <openssl/aes.h>
#include <openssl/digest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <stdlib.h>

static_assert(CRYPTO_DIGEST_BYTES_MAX == EVP_MAX_MD_SIZE, "the header's size of the longest digest");

enum { SCRYPT_PARALLEL_MAX = (1 << 30) - 1, BCRYPT_PASSWORD_BYTES = 72 };

/* BoringSSL takes no NULL where it reads, and an empty `str` may have one. */
static const uint8_t *bytes_of(str s) {
  return s.ptr == NULL ? (const uint8_t *)"" : (const uint8_t *)s.ptr;
}

static const EVP_MD *md_of(enum crypto_digest digest) {
  switch (digest) {
  case CRYPTO_MD5:
    return EVP_md5();
  case CRYPTO_SHA1:
    return EVP_sha1();
  case CRYPTO_SHA256:
    return EVP_sha256();
  case CRYPTO_SHA512:
    return EVP_sha512();
  }
  assert(false);
  return NULL;
}

size_t crypto_digest_bytes(enum crypto_digest digest) {
  return EVP_MD_size(md_of(digest));
}

void crypto_digest_of(enum crypto_digest digest, str first, str second,
                      uint8_t out[CRYPTO_DIGEST_BYTES_MAX]) {
  EVP_MD_CTX context;
  EVP_MD_CTX_init(&context);
  bool good = EVP_DigestInit_ex(&context, md_of(digest), NULL) == 1 &&
              EVP_DigestUpdate(&context, bytes_of(first), first.len) == 1 &&
              EVP_DigestUpdate(&context, bytes_of(second), second.len) == 1 &&
              EVP_DigestFinal_ex(&context, out, NULL) == 1;
  EVP_MD_CTX_cleanup(&context);
  assert(good); /* fails only if malloc does */
}

void crypto_hmac_of(enum crypto_digest digest, str key, str first, str second,
                    uint8_t out[CRYPTO_DIGEST_BYTES_MAX]) {
  HMAC_CTX context;
  unsigned written = 0;
  HMAC_CTX_init(&context);
  bool good = HMAC_Init_ex(&context, bytes_of(key), key.len, md_of(digest), NULL) == 1 &&
              HMAC_Update(&context, bytes_of(first), first.len) == 1 &&
              HMAC_Update(&context, bytes_of(second), second.len) == 1 &&
              HMAC_Final(&context, out, &written) == 1;
  HMAC_CTX_cleanup(&context);
  assert(good); /* fails only if malloc does */
}

uint64_t crypto_scrypt_memory_bytes(struct crypto_scrypt_cost cost) {
  uint64_t blocks, bytes;
  if (cost.log_n > 63 || __builtin_add_overflow(UINT64_C(1) << cost.log_n, (uint64_t)cost.p + 1, &blocks) ||
      __builtin_mul_overflow(blocks, UINT64_C(128) * cost.r, &bytes))
    return UINT64_MAX;
  return bytes;
}

status crypto_scrypt(str password, str salt, struct crypto_scrypt_cost cost, uint64_t memory_bytes_max,
                     uint8_t *out, size_t len) {
  uint64_t memory_bytes = crypto_scrypt_memory_bytes(cost);
  bool exists = cost.log_n >= 1 && cost.log_n <= 31 && cost.r >= 1 && cost.p >= 1 &&
                (uint64_t)cost.r * cost.p <= SCRYPT_PARALLEL_MAX && cost.log_n < UINT64_C(16) * cost.r;
  if (!exists || memory_bytes > memory_bytes_max || memory_bytes > SIZE_MAX / 2)
    return status_make(STATUS_INVALID_ARGUMENT, "The costs of scrypt are out of bounds.");
  if (EVP_PBE_scrypt((const char *)bytes_of(password), password.len, bytes_of(salt), salt.len,
                     UINT64_C(1) << cost.log_n, cost.r, cost.p, (size_t)memory_bytes, out, len) == 1)
    return status_ok();
  ERR_clear_error();
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for scrypt.");
}

void crypto_pbkdf2(enum crypto_digest digest, str password, str salt, uint32_t rounds, uint8_t *out,
                   size_t len) {
  assert(rounds > 0);
  int derived = PKCS5_PBKDF2_HMAC((const char *)bytes_of(password), password.len, bytes_of(salt), salt.len,
                                  rounds, md_of(digest), len, out);
  assert(derived == 1); /* fails only if malloc does */
}

void crypto_aes256_ctr(const uint8_t key[CRYPTO_AES256_KEY_BYTES], str in, uint8_t *out) {
  AES_KEY schedule;
  uint8_t counter[AES_BLOCK_SIZE] = {0}, block[AES_BLOCK_SIZE] = {0};
  unsigned used = 0;
  int set = AES_set_encrypt_key(key, CRYPTO_AES256_KEY_BYTES * 8, &schedule);
  assert(set == 0);
  AES_ctr128_encrypt(bytes_of(in), out, in.len, &schedule, counter, block, &used);
  crypto_wipe(&schedule, sizeof schedule);
  crypto_wipe(block, sizeof block);
}

/* "$2b$10$" and 53 characters of bcrypt's own base64. */
static bool is_bcrypt(str text) {
  static const char digits[] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  if (text.len != CRYPTO_BCRYPT_TEXT_BYTES || memcmp(text.ptr, "$2", 2) != 0 ||
      memchr("aby", text.ptr[2], 3) == NULL || text.ptr[3] != '$' || text.ptr[6] != '$')
    return false;
  for (size_t i = 4; i < text.len; i++) {
    bool good = i < 6 ? text.ptr[i] >= '0' && text.ptr[i] <= '9'
                      : i == 6 || memchr(digits, text.ptr[i], sizeof digits - 1) != NULL;
    if (!good)
      return false;
  }
  return true;
}

status crypto_bcrypt_matches(str text, str password, bool *ret_matches) {
  char setting[CRYPTO_BCRYPT_TEXT_BYTES + 1] = "", phrase[BCRYPT_PASSWORD_BYTES + 1] = "";
  if (!is_bcrypt(text) || (password.len > 0 && memchr(password.ptr, '\0', password.len) != NULL)) {
    *ret_matches = false;
    return status_ok();
  }
  struct crypt_data *data = calloc(1, sizeof *data);
  if (data == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for bcrypt.");
  memcpy(setting, text.ptr, text.len);
  memcpy(phrase, bytes_of(password), password.len < sizeof phrase ? password.len : sizeof phrase - 1);
  const char *made = crypt_rn(phrase, setting, data, (int)sizeof *data);
  *ret_matches = made != NULL && crypto_equal(str_from_cstr(made), text);
  crypto_wipe(phrase, sizeof phrase);
  crypto_wipe(data, sizeof *data);
  free(data);
  return status_ok();
}

void crypto_wipe(void *bytes, size_t len) {
  OPENSSL_cleanse(bytes, len);
}
