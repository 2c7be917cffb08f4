/* Tokens for tests: any header and payload, signed or not. All texts of one test live until it ends them with
 * token_maker_reset. One thread. */
#ifndef SKERRY_TESTS_SUPPORT_TOKEN_MAKER_H
#define SKERRY_TESTS_SUPPORT_TOKEN_MAKER_H

#include "base/crypto_key.h"

/* base64url(header) "." base64url(payload) "." signature; without a key an empty signature. */
str token_make(const char *header, const char *payload, const struct crypto_key *key);
/* The same with parts that are given as they are. */
str token_join(str header, str payload, str signature);
str token_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
str token_base64url(str bytes);

/* One key of each algorithm and a second one, made once and kept until the end of the program. */
const struct crypto_key *token_key(enum crypto_algorithm algorithm, bool second);
/* That key as a JWK with the id; "extra" is put before its end, such as ",\"use\":\"sig\"". */
str token_jwk(const struct crypto_key *key, const char *id, const char *extra);

void token_maker_reset(void);
void token_maker_end(void); /* the keys too */

#endif
