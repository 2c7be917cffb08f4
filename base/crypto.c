#include "base/crypto.h"

#include <assert.h>
#include <openssl/hmac.h>
#include <openssl/md5.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/siphash.h>

static_assert(CRYPTO_SHA256_BYTES == SHA256_DIGEST_LENGTH, "the header's size of a SHA-256 digest");
static_assert(CRYPTO_MD5_BYTES == MD5_DIGEST_LENGTH, "the header's size of an MD5 digest");

/* BoringSSL takes no NULL where it reads, and an empty `str` may have one. */
static const uint8_t *bytes_of(str s) {
  return s.ptr == NULL ? (const uint8_t *)"" : (const uint8_t *)s.ptr;
}

void crypto_random(void *out, size_t len) {
  int drawn = RAND_bytes(out, len); /* BoringSSL ends the program itself when the kernel gives no seed */
  assert(drawn == 1);
}

void crypto_sha256(str bytes, uint8_t out[CRYPTO_SHA256_BYTES]) {
  SHA256(bytes_of(bytes), bytes.len, out);
}

void crypto_hmac_sha256(str key, str bytes, uint8_t out[CRYPTO_SHA256_BYTES]) {
  unsigned written = 0;
  const uint8_t *mac = HMAC(EVP_sha256(), bytes_of(key), key.len, bytes_of(bytes), bytes.len, out, &written);
  assert(mac == out && written == CRYPTO_SHA256_BYTES); /* fails only if malloc does */
}

void crypto_md5(str bytes, uint8_t out[CRYPTO_MD5_BYTES]) {
  MD5(bytes_of(bytes), bytes.len, out);
}

uint64_t crypto_siphash(const uint64_t key[2], str bytes) {
  return SIPHASH_24(key, bytes_of(bytes), bytes.len);
}

bool crypto_equal(str a, str b) {
  return a.len == b.len && CRYPTO_memcmp(bytes_of(a), bytes_of(b), a.len) == 0;
}
