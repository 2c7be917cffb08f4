/* Resume tokens of listeners: how far a client knows the answers of some targets, as bytes that only this
 * store's server makes.
 *
 *   token = format (1 byte, 2), version (8, big-endian), targets (8-512), signature (16)
 *
 * One token goes with a global snapshot, for all targets of the stream, and clients keep it for each of them.
 * A target that was not among them must not go on from there: what was in its answer before would be missing.
 * So a token has the set of its targets, as a Bloom filter of 16 bits a target: one other target in 400
 * passes for one of them; from 256 targets on, when the filter grows no more, it is more (one in seven at
 * 1,000).
 *
 * Signed (HMAC-SHA-256, 128 bits) with the secret of the store, for a database, so it outlives restarts, and
 * one that is damaged, made up, or of another store, database or target is told apart: then a listener is
 * reset and sent everything, which is always right. Any thread. */
#ifndef SKERRY_SERVER_FIRESTORE_RESUME_TOKEN_H
#define SKERRY_SERVER_FIRESTORE_RESUME_TOKEN_H

#include <stdint.h>

#include "base/str.h"

enum {
  RESUME_TARGETS_BYTES_MIN = 8,
  RESUME_TARGETS_BYTES_MAX = 512,
  RESUME_TOKEN_BYTES_MAX = 1 + 8 + RESUME_TARGETS_BYTES_MAX + 16
};

/* What tells targets apart, made of their serialised form as the client sent it. */
struct resume_target {
  uint64_t hash;
};
struct resume_target resume_target_of(str serialised);

struct resume_targets {
  size_t size_bytes; /* a power of two */
  uint8_t bits[RESUME_TARGETS_BYTES_MAX];
};
/* An empty set with room for `count`. */
void resume_targets_init(struct resume_targets *targets, size_t count);
void resume_targets_add(struct resume_targets *targets, struct resume_target target);

/* `database` is its full name, of at most 256 bytes. Returns the token's length. */
size_t resume_token_encode(str secret, str database, int64_t version, const struct resume_targets *targets,
                           uint8_t ret[RESUME_TOKEN_BYTES_MAX]);
/* False: not one of this store's for this database and this target. */
bool resume_token_decode(str secret, str database, struct resume_target target, str token,
                         int64_t *ret_version);

#endif
