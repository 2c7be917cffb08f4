/* Derivation of keys from passwords, and the digests and the cipher that stored forms of passwords are made
 * of, over BoringSSL; bcrypt over libcrypt (libxcrypt). Slow on purpose: for a pool of threads of their own
 * (slow_pool.h), never for those that serve. Any thread. */
#ifndef SKERRY_BASE_CRYPTO_KDF_H
#define SKERRY_BASE_CRYPTO_KDF_H

#include "base/crypto.h"
#include "base/status.h"

enum crypto_digest { CRYPTO_MD5, CRYPTO_SHA1, CRYPTO_SHA256, CRYPTO_SHA512 };
enum { CRYPTO_DIGEST_BYTES_MAX = 64, CRYPTO_AES256_KEY_BYTES = 32, CRYPTO_BCRYPT_TEXT_BYTES = 60 };

size_t crypto_digest_bytes(enum crypto_digest digest);
/* Of the two texts in a row. Cannot fail. */
void crypto_digest_of(enum crypto_digest digest, str first, str second, uint8_t out[CRYPTO_DIGEST_BYTES_MAX]);
/* HMAC (RFC 2104) of the two texts in a row. Cannot fail but for memory, which ends the program. */
void crypto_hmac_of(enum crypto_digest digest, str key, str first, str second,
                    uint8_t out[CRYPTO_DIGEST_BYTES_MAX]);

/* scrypt, RFC 7914: N = 2^log_n. */
struct crypto_scrypt_cost {
  uint8_t log_n; /* 1 to 63 */
  uint32_t r, p; /* at least 1; r * p < 2^30 */
};
/* What a derivation takes of memory, beside some KiB. UINT64_MAX: more than can be counted. */
uint64_t crypto_scrypt_memory_bytes(struct crypto_scrypt_cost cost);
/* Writes `len` bytes. INVALID_ARGUMENT: costs that scrypt does not have, or over memory_bytes_max;
 * RESOURCE_EXHAUSTED: no memory. */
STATUS_MUST_USE status crypto_scrypt(str password, str salt, struct crypto_scrypt_cost cost,
                                     uint64_t memory_bytes_max, uint8_t *out, size_t len);

/* PBKDF2 with HMAC, RFC 8018; `rounds` at least 1. Cannot fail but for memory, which ends the program. */
void crypto_pbkdf2(enum crypto_digest digest, str password, str salt, uint32_t rounds, uint8_t *out,
                   size_t len);

/* AES-256 in counter mode, the counter block beginning with zero: `out` gets in.len bytes. */
void crypto_aes256_ctr(const uint8_t key[CRYPTO_AES256_KEY_BYTES], str in, uint8_t *out);

/* bcrypt ($2a$, $2b$, $2y$): hashes with the cost and the salt that `text` (all 60 characters of a stored
 * form) has, and compares in constant time. A password with a NUL matches nothing; bytes past the 72nd do not
 * count, as bcrypt is. A text that is none matches nothing. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status crypto_bcrypt_matches(str text, str password, bool *ret_matches);

/* Overwrites secrets that are not needed any more; the compiler does not leave it out. */
void crypto_wipe(void *bytes, size_t len);

#endif
