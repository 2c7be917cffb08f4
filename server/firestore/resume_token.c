#include "server/firestore/resume_token.h"

#include <assert.h>

#include "base/crypto.h"

enum { FORMAT = 1, VERSION_BYTES = 8, SIGNATURE_BYTES = 16, DATABASE_BYTES_MAX = 256 };

/* Of: a word that no other use of the secret signs, the version, the database. */
static void sign(str secret, str database, const uint8_t version[VERSION_BYTES],
                 uint8_t ret[SIGNATURE_BYTES]) {
  static const char use[] = "skerry resume token 1";
  uint8_t bytes[sizeof use + VERSION_BYTES + DATABASE_BYTES_MAX], whole[CRYPTO_SHA256_BYTES];
  assert(database.len <= DATABASE_BYTES_MAX);
  memcpy(bytes, use, sizeof use);
  memcpy(bytes + sizeof use, version, VERSION_BYTES);
  if (database.len > 0)
    memcpy(bytes + sizeof use + VERSION_BYTES, database.ptr, database.len);
  crypto_hmac_sha256(secret, str_make(bytes, sizeof use + VERSION_BYTES + database.len), whole);
  memcpy(ret, whole, SIGNATURE_BYTES);
}

void resume_token_encode(str secret, str database, int64_t version, uint8_t ret[RESUME_TOKEN_BYTES]) {
  ret[0] = FORMAT;
  for (unsigned i = 0; i < VERSION_BYTES; i++)
    ret[1 + i] = (uint8_t)((uint64_t)version >> 8 * (VERSION_BYTES - 1 - i));
  sign(secret, database, ret + 1, ret + 1 + VERSION_BYTES);
}

bool resume_token_decode(str secret, str database, str token, int64_t *ret_version) {
  const uint8_t *bytes = (const uint8_t *)token.ptr;
  uint8_t signature[SIGNATURE_BYTES];
  if (token.len != RESUME_TOKEN_BYTES || bytes[0] != FORMAT || database.len > DATABASE_BYTES_MAX)
    return false;
  sign(secret, database, bytes + 1, signature);
  if (!crypto_equal(str_make(signature, SIGNATURE_BYTES),
                    str_make(bytes + 1 + VERSION_BYTES, SIGNATURE_BYTES)))
    return false;
  uint64_t version = 0;
  for (unsigned i = 0; i < VERSION_BYTES; i++)
    version = version << 8 | bytes[1 + i];
  *ret_version = (int64_t)version;
  return version > 0 && version <= INT64_MAX;
}
