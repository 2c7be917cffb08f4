#include "base/crypto_seal.h"

#include <assert.h>
#include <openssl/aead.h>
#include <openssl/err.h>

#include "base/crypto.h"

enum { NONCE_BYTES = 12, TAG_BYTES = 16 };
static_assert(NONCE_BYTES + TAG_BYTES == CRYPTO_SEAL_MORE_BYTES, "what a sealed form has more");

static const uint8_t *bytes_of(str s) {
  return s.ptr == NULL ? (const uint8_t *)"" : (const uint8_t *)s.ptr;
}

void crypto_seal(const uint8_t key[CRYPTO_SEAL_KEY_BYTES], str place, str bytes, struct buf *out) {
  EVP_AEAD_CTX context;
  size_t written = 0;
  if (!buf_reserve(out, bytes.len + CRYPTO_SEAL_MORE_BYTES))
    return;
  uint8_t *nonce = out->data + out->len, *at = nonce + NONCE_BYTES;
  crypto_random(nonce, NONCE_BYTES);
  bool sealed =
      EVP_AEAD_CTX_init(&context, EVP_aead_aes_256_gcm(), key, CRYPTO_SEAL_KEY_BYTES, TAG_BYTES, NULL) != 0;
  if (sealed) {
    sealed = EVP_AEAD_CTX_seal(&context, at, &written, bytes.len + TAG_BYTES, nonce, NONCE_BYTES,
                               bytes_of(bytes), bytes.len, bytes_of(place), place.len) != 0;
    EVP_AEAD_CTX_cleanup(&context);
  }
  if (sealed)
    out->len += NONCE_BYTES + written;
  else
    out->failed = true; /* only without memory */
  ERR_clear_error();
}

bool crypto_open(const uint8_t key[CRYPTO_SEAL_KEY_BYTES], str place, str sealed, struct buf *out) {
  EVP_AEAD_CTX context;
  size_t written = 0;
  if (sealed.len < CRYPTO_SEAL_MORE_BYTES || !buf_reserve(out, sealed.len))
    return false;
  const uint8_t *nonce = bytes_of(sealed);
  bool opened =
      EVP_AEAD_CTX_init(&context, EVP_aead_aes_256_gcm(), key, CRYPTO_SEAL_KEY_BYTES, TAG_BYTES, NULL) != 0;
  if (opened) {
    opened =
        EVP_AEAD_CTX_open(&context, out->data + out->len, &written, sealed.len, nonce, NONCE_BYTES,
                          nonce + NONCE_BYTES, sealed.len - NONCE_BYTES, bytes_of(place), place.len) != 0;
    EVP_AEAD_CTX_cleanup(&context);
  }
  if (opened)
    out->len += written;
  ERR_clear_error();
  return opened;
}
