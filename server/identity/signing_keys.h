/* The keys that this server signs ID tokens with. They are in the store, sealed (base/crypto_seal.h) under a
 * key that is in a file of the data directory, `identity.key` (mode 0600), and not in the store: so a backup
 * of the store alone, or a disk image without that file, signs nothing. Whoever reads the whole data
 * directory can. Without the file (a backup was restored elsewhere) new keys are made, and ID tokens that are
 * in use have to be refreshed.
 *
 * A key signs for SIGNING_KEYS_ROTATE_DAYS and verifies for a day longer; there is one for each algorithm
 * that was in use. Any thread. */
#ifndef SKERRY_SERVER_IDENTITY_SIGNING_KEYS_H
#define SKERRY_SERVER_IDENTITY_SIGNING_KEYS_H

#include "base/crypto_key.h"
#include "ports/port.h"
#include "server/identity/refresh_token.h"
#include "server/tokens/jwt.h"
#include "storage/kv.h"

enum {
  SIGNING_KEYS_ROTATE_DAYS = 30,
  SIGNING_KEYS_OVERLAP_DAYS = 1, /* longer than any ID token lives */
  SIGNING_KEYS_MAX = 16,
  SIGNING_KEY_ID_BYTES = 20, /* hex digits */
};

struct signing_keys;

struct signing_keys_options {
  struct kv_store *store;
  struct port *port;
  const char *directory;           /* of `identity.key` */
  enum crypto_algorithm algorithm; /* of new tokens: ES256 or RS256 */
};

/* Reads the keys, and makes one if none is of use. Waits: start-up only. Statuses of kv.h;
 * FAILED_PRECONDITION, the file is damaged or cannot be read; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status signing_keys_open(const struct signing_keys_options *options,
                                         struct signing_keys **ret);
void signing_keys_close(struct signing_keys *keys); /* NULL is fine */

/* Now and then (once a minute or so): makes the next key when its time has come, and forgets old ones. May
 * wait for the store. A failure is logged, and tried again. */
void signing_keys_tick(struct signing_keys *keys, int64_t now_us);

/* Appends the token of these claims (a JSON object). RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status signing_keys_sign(struct signing_keys *keys, str claims, struct buf *out);

/* Whether the key that signed the token, by its id, is one of these; then *ret_good says whether the
 * signature is right. */
bool signing_keys_verify(struct signing_keys *keys, const struct jwt *jwt, bool *ret_good);

/* The public halves, for a JWK Set. The key is valid during the visit. */
void signing_keys_visit(struct signing_keys *keys,
                        void (*visit)(void *argument, const char *id, const struct crypto_key *key),
                        void *argument);

/* Other secrets, sealed under another key of the file's: for the store, or handed out and taken back. As
 * crypto_seal and crypto_open. */
void signing_keys_seal(const struct signing_keys *keys, str place, str bytes, struct buf *out);
bool signing_keys_unseal(const struct signing_keys *keys, str place, str sealed, struct buf *out);

/* For refresh_token_next: derived from the file's key. */
const uint8_t *signing_keys_refresh_key(const struct signing_keys *keys);

#endif
