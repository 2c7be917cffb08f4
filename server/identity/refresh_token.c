#include "server/identity/refresh_token.h"

#include <assert.h>

#include "base/base64.h"
#include "base/base64url.h"

static_assert(sizeof(struct refresh_token) == REFRESH_TOKEN_TEXT_BYTES / 4 * 3,
              "a token is its bytes, in order");

void refresh_token_make(struct refresh_token *ret) {
  crypto_random(ret, sizeof *ret);
}

void refresh_token_next(const uint8_t key[REFRESH_TOKEN_KEY_BYTES], const struct refresh_token *token,
                        struct refresh_token *ret) {
  struct refresh_token next = *token;
  crypto_hmac_sha256(str_make(key, REFRESH_TOKEN_KEY_BYTES), str_make(token, sizeof *token), next.secret);
  *ret = next;
}

void refresh_token_hash(const struct refresh_token *token, uint8_t out[CRYPTO_SHA256_BYTES]) {
  crypto_sha256(str_make(token, sizeof *token), out);
}

void refresh_token_write(const struct refresh_token *token, char ret[REFRESH_TOKEN_TEXT_BYTES + 1]) {
  base64_write(str_make(token, sizeof *token), ret); /* without padding: three bytes are four digits */
  for (size_t i = 0; i < REFRESH_TOKEN_TEXT_BYTES; i++)
    ret[i] = (char)(ret[i] == '+' ? '-' : ret[i] == '/' ? '_' : ret[i]);
  ret[REFRESH_TOKEN_TEXT_BYTES] = '\0';
}

bool refresh_token_read(str text, struct refresh_token *ret) {
  size_t len;
  return text.len == REFRESH_TOKEN_TEXT_BYTES && base64url_decode(text, ret, &len) && len == sizeof *ret;
}
