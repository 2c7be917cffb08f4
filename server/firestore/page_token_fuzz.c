/* A token from outside either is refused or is, byte for byte, what this server would have written. The first
 * byte chooses: the rest is a token's text, or a key that is encoded and read back. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "server/firestore/page_token.h"
#include "storage/kv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  const str secret = STR("0123456789abcdef0123456789abcdef"), request = STR("request");
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  str input = str_make(data + 1, size - 1), text;
  struct page_token token = {0};
  status s;
  if (data[0] % 2 == 0) {
    s = page_token_decode(secret, request, input, &arena, &token);
    CHECK(s.code == STATUS_OK || s.code == STATUS_INVALID_ARGUMENT);
    if (s.code == STATUS_OK) {
      s = page_token_encode(secret, request, &token, &arena, &text);
      CHECK(s.code == STATUS_OK && str_eq(text, input));
    }
  } else if (input.len <= KV_KEY_MAX_BYTES) {
    struct page_token given = {input, (int64_t)size - 9};
    s = page_token_encode(secret, request, &given, &arena, &text);
    CHECK(s.code == STATUS_OK);
    s = page_token_decode(secret, request, text, &arena, &token);
    CHECK(s.code == STATUS_OK && token.version == given.version && str_eq(token.key, given.key));
    s = page_token_decode(secret, STR("requests"), text, &arena, &token);
    CHECK(s.code == STATUS_INVALID_ARGUMENT);
  }
  arena_fini(&arena);
  return 0;
}
