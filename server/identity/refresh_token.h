/* Refresh tokens: what keeps a session alive. 64 characters, base64url of the session's id (16 bytes) and a
 * secret (32). The server keeps hashes of the secrets only.
 *
 * A refresh spends the secret and gives the next one. The next one is computed from the one that came and a
 * key of the server's, so that whoever sends the same token twice gets the same answer, although nothing of
 * the answer is kept; and who has a token, but not the key, cannot compute what follows it. Any thread. */
#ifndef SKERRY_SERVER_IDENTITY_REFRESH_TOKEN_H
#define SKERRY_SERVER_IDENTITY_REFRESH_TOKEN_H

#include "base/crypto.h"

enum {
  REFRESH_TOKEN_SESSION_BYTES = 16,
  REFRESH_TOKEN_SECRET_BYTES = 32,
  REFRESH_TOKEN_TEXT_BYTES = 64,
  REFRESH_TOKEN_KEY_BYTES = 32,
};

struct refresh_token {
  uint8_t session[REFRESH_TOKEN_SESSION_BYTES];
  uint8_t secret[REFRESH_TOKEN_SECRET_BYTES];
};

/* Of a new session. */
void refresh_token_make(struct refresh_token *ret);
void refresh_token_next(const uint8_t key[REFRESH_TOKEN_KEY_BYTES], const struct refresh_token *token,
                        struct refresh_token *ret);
/* What is kept. */
void refresh_token_hash(const struct refresh_token *token, uint8_t out[CRYPTO_SHA256_BYTES]);

/* With a NUL. */
void refresh_token_write(const struct refresh_token *token, char ret[REFRESH_TOKEN_TEXT_BYTES + 1]);
/* False: it is no such text. */
bool refresh_token_read(str text, struct refresh_token *ret);

#endif
