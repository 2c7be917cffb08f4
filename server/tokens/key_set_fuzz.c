/* Any bytes as a document of keys, of certificates and of discovery. */
#include <stdlib.h>

#include "server/tokens/key_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct key_set *set;
  str document = str_make(data, size);
  status result = key_set_parse(document, &set);
  CHECK(result.code == STATUS_OK || result.code == STATUS_INVALID_ARGUMENT);
  if (status_is_ok(&result)) {
    CHECK(key_set_count(set) > 0 && key_set_count(set) <= KEY_SET_KEYS_MAX && key_set_equal(set, set));
    const struct crypto_key *key = key_set_find(set, STR("a"), CRYPTO_RS256);
    CHECK(key == NULL || crypto_key_algorithm(key) == CRYPTO_RS256);
    CHECK(key == NULL || !crypto_verify(key, document, document));
    key_set_unref(set);
  }
  struct buf url = {0};
  result = discovery_parse(document, STR("https://i.example"), &url);
  CHECK(result.code == STATUS_INVALID_ARGUMENT || (url.len > 0 && url.len <= KEY_SET_URL_BYTES_MAX));
  buf_fini(&url);
  return 0;
}
