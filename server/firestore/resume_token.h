/* Resume tokens of listeners: how far a client knows a database, as bytes that only this store's server
 * makes.
 *
 *   token = format (1 byte, 1), version (8, big-endian), signature (16)
 *
 * A token is for a database, not for one target: a global snapshot gives one token to all targets of its
 * stream. Signed (HMAC-SHA-256, 128 bits) with the secret of the store, so it outlives restarts, and one that
 * is damaged, made up, or from another store is told apart: then a listener is sent everything, which is
 * always right. Any thread. */
#ifndef SKERRY_SERVER_FIRESTORE_RESUME_TOKEN_H
#define SKERRY_SERVER_FIRESTORE_RESUME_TOKEN_H

#include <stdint.h>

#include "base/str.h"

enum { RESUME_TOKEN_BYTES = 1 + 8 + 16 };

/* `database` is its full name, of at most 256 bytes. */
void resume_token_encode(str secret, str database, int64_t version, uint8_t ret[RESUME_TOKEN_BYTES]);
/* False: not one of this store's for this database. */
bool resume_token_decode(str secret, str database, str token, int64_t *ret_version);

#endif
