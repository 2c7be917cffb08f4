#include "server/firestore/resume_token.h"

#include <assert.h>

#include "base/crypto.h"

enum {
  FORMAT = 2,
  VERSION_BYTES = 8,
  SIGNATURE_BYTES = 16,
  DATABASE_BYTES_MAX = 256,
  BYTES_PER_TARGET = 2,
  BITS_SET = 4, /* of each target */
};

/* ---- The set of targets ---- */

struct resume_target resume_target_of(str serialised) {
  uint8_t digest[CRYPTO_SHA256_BYTES];
  struct resume_target target;
  crypto_sha256(serialised, digest);
  memcpy(&target.hash, digest, sizeof target.hash);
  return target;
}

void resume_targets_init(struct resume_targets *targets, size_t count) {
  targets->size_bytes = RESUME_TARGETS_BYTES_MIN;
  while (targets->size_bytes < RESUME_TARGETS_BYTES_MAX && targets->size_bytes < count * BYTES_PER_TARGET)
    targets->size_bytes *= 2;
  memset(targets->bits, 0, targets->size_bytes);
}

/* The place of a target's bit number `n`: of 16 bits of its hash, as many as the set has room for. */
static size_t place(struct resume_target target, unsigned n, size_t size_bytes) {
  return (size_t)(target.hash >> 16 * n) & (size_bytes * 8 - 1);
}

void resume_targets_add(struct resume_targets *targets, struct resume_target target) {
  for (unsigned n = 0; n < BITS_SET; n++) {
    size_t at = place(target, n, targets->size_bytes);
    targets->bits[at / 8] |= (uint8_t)(1u << at % 8);
  }
}

static bool has_target(const uint8_t *bits, size_t size_bytes, struct resume_target target) {
  for (unsigned n = 0; n < BITS_SET; n++) {
    size_t at = place(target, n, size_bytes);
    if ((bits[at / 8] >> at % 8 & 1) == 0)
      return false;
  }
  return true;
}

/* ---- The token ---- */

/* Of: a word that no other use of the secret signs, the version and the targets, the database. */
static void sign(str secret, str database, str content, uint8_t ret[SIGNATURE_BYTES]) {
  static const char use[] = "skerry resume token 2";
  uint8_t bytes[sizeof use + VERSION_BYTES + RESUME_TARGETS_BYTES_MAX + DATABASE_BYTES_MAX];
  uint8_t whole[CRYPTO_SHA256_BYTES];
  assert(database.len <= DATABASE_BYTES_MAX && content.len <= VERSION_BYTES + RESUME_TARGETS_BYTES_MAX);
  memcpy(bytes, use, sizeof use);
  memcpy(bytes + sizeof use, content.ptr, content.len);
  if (database.len > 0)
    memcpy(bytes + sizeof use + content.len, database.ptr, database.len);
  crypto_hmac_sha256(secret, str_make(bytes, sizeof use + content.len + database.len), whole);
  memcpy(ret, whole, SIGNATURE_BYTES);
}

size_t resume_token_encode(str secret, str database, int64_t version, const struct resume_targets *targets,
                           uint8_t ret[RESUME_TOKEN_BYTES_MAX]) {
  size_t content = VERSION_BYTES + targets->size_bytes;
  ret[0] = FORMAT;
  for (unsigned i = 0; i < VERSION_BYTES; i++)
    ret[1 + i] = (uint8_t)((uint64_t)version >> 8 * (VERSION_BYTES - 1 - i));
  memcpy(ret + 1 + VERSION_BYTES, targets->bits, targets->size_bytes);
  sign(secret, database, str_make(ret + 1, content), ret + 1 + content);
  return 1 + content + SIGNATURE_BYTES;
}

bool resume_token_decode(str secret, str database, struct resume_target target, str token,
                         int64_t *ret_version) {
  const uint8_t *bytes = (const uint8_t *)token.ptr;
  uint8_t signature[SIGNATURE_BYTES];
  if (token.len < 1 + VERSION_BYTES + RESUME_TARGETS_BYTES_MIN + SIGNATURE_BYTES ||
      token.len > RESUME_TOKEN_BYTES_MAX || bytes[0] != FORMAT || database.len > DATABASE_BYTES_MAX)
    return false;
  size_t content = token.len - 1 - SIGNATURE_BYTES, size_bytes = content - VERSION_BYTES;
  if ((size_bytes & (size_bytes - 1)) != 0)
    return false;
  sign(secret, database, str_make(bytes + 1, content), signature);
  if (!crypto_equal(str_make(signature, SIGNATURE_BYTES), str_make(bytes + 1 + content, SIGNATURE_BYTES)))
    return false;
  uint64_t version = 0;
  for (unsigned i = 0; i < VERSION_BYTES; i++)
    version = version << 8 | bytes[1 + i];
  *ret_version = (int64_t)version;
  return version > 0 && version <= INT64_MAX && has_target(bytes + 1 + VERSION_BYTES, size_bytes, target);
}
