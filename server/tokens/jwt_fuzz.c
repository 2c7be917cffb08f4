/* Any bytes as a token, and, since few of them get through base64url, as a payload: parsing ends, stays
 * within its memory, and what it takes has claims that can be written and read as fields of a document. */
#include <stdlib.h>

#include "base/base64url.h"
#include "server/tokens/jwt.h"
#include "storage/document/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

static void try_token(str token) {
  struct arena arena;
  struct jwt jwt;
  arena_init(&arena, NULL, 0, JWT_MEMORY_BYTES_MAX);
  status result = jwt_parse(token, &arena, &jwt);
  CHECK(result.code == STATUS_OK || result.code == STATUS_UNAUTHENTICATED);
  if (status_is_ok(&result)) {
    str claims;
    struct doc_map back;
    struct arena reading;
    CHECK(token.len <= JWT_BYTES_MAX && (jwt.algorithm == JWT_NONE) == (jwt.signature.len == 0));
    CHECK(jwt_encode_claims(&jwt, &arena, &claims).code == STATUS_OK);
    arena_init(&reading, NULL, 0, JWT_MEMORY_BYTES_MAX);
    CHECK(doc_decode_fields(claims, &reading, &back).code == STATUS_OK && back.count == jwt.claims.count);
    result = jwt_check(&jwt, 1700000000);
    CHECK(result.code == STATUS_UNAUTHENTICATED || (jwt.subject.len > 0 && jwt.expires_s > 1600000000));
    for (size_t i = 0; i < jwt.audience_count; i++)
      CHECK(jwt_has_audience(&jwt, jwt.audiences[i]));
    arena_fini(&reading);
  }
  arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try_token(str_make(data, size));
  struct buf token = {0};
  buf_append_str(&token, STR("eyJhbGciOiJSUzI1NiJ9.")); /* {"alg":"RS256"} */
  base64url_append(&token, str_make(data, size));
  buf_append_str(&token, STR(".AA"));
  CHECK(!token.failed);
  try_token(buf_str(&token));
  buf_fini(&token);
  return 0;
}
