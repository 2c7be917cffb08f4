/* The cryptography that other parts need, over BoringSSL. No other directory but server/listener includes
 * <openssl/...>. All functions may be called from any thread and cannot fail. Signatures: crypto_key.h. */
#ifndef SKERRY_BASE_CRYPTO_H
#define SKERRY_BASE_CRYPTO_H

#include "base/str.h"

enum { CRYPTO_SHA256_BYTES = 32, CRYPTO_MD5_BYTES = 16 };

/* Unpredictable bytes, from BoringSSL's generator (seeded by the kernel). */
void crypto_random(void *out, size_t len);

void crypto_sha256(str bytes, uint8_t out[CRYPTO_SHA256_BYTES]);
/* HMAC-SHA-256, RFC 2104. */
void crypto_hmac_sha256(str key, str bytes, uint8_t out[CRYPTO_SHA256_BYTES]);
/* For formats that ask for MD5 (Firestore's Bloom filters), not for security. */
void crypto_md5(str bytes, uint8_t out[CRYPTO_MD5_BYTES]);

/* SipHash-2-4 of the bytes: for tables whose keys strangers choose. The key is random and stays secret. */
uint64_t crypto_siphash(const uint64_t key[2], str bytes);

/* Compares in a time that does not depend on where the bytes differ. */
bool crypto_equal(str a, str b);

/* CRC-32C (Castagnoli), as RFC 3720 has it; `crc` is 0 or the value so far. */
uint32_t crypto_crc32c(uint32_t crc, str bytes);

#endif
