/* Bytes that are kept where others may read them: AES-256-GCM (NIST SP 800-38D) with a nonce drawn at random,
 * so a key should seal less than 2^32 times. A sealed form is nonce, ciphertext, tag. Any thread. */
#ifndef SKERRY_BASE_CRYPTO_SEAL_H
#define SKERRY_BASE_CRYPTO_SEAL_H

#include "base/str.h"

enum { CRYPTO_SEAL_KEY_BYTES = 32, CRYPTO_SEAL_MORE_BYTES = 12 + 16 };

/* Appends the sealed form, CRYPTO_SEAL_MORE_BYTES longer than `bytes`. `place` says what they are and where
 * they belong: they open only with the same. No memory: out->failed. */
void crypto_seal(const uint8_t key[CRYPTO_SEAL_KEY_BYTES], str place, str bytes, struct buf *out);
/* Appends what was sealed. False, and nothing is appended: another key or place, or it was changed;
 * out->failed: no memory. */
bool crypto_open(const uint8_t key[CRYPTO_SEAL_KEY_BYTES], str place, str sealed, struct buf *out);

#endif
