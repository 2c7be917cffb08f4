/* Against the published vectors of the SDKs: filters of the names "...documents/coll/doc0" to "doc499" (and
 * of one name) that production made. We make the same bits; 600 bytes are compared by their hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "storage/change/bloom_filter.h"

static struct bloom_digest name(unsigned i) {
  char text[96];
  int length = snprintf(text, sizeof text, "projects/project-1/databases/database-1/documents/coll/doc%u", i);
  return bloom_digest_of(str_make(text, (size_t)length));
}

static struct bloom_filter filled(size_t bit_count, uint32_t hash_count, unsigned names) {
  struct bloom_filter filter = {.bit_count = bit_count, .hash_count = hash_count};
  filter.bits = calloc(1, bloom_filter_bytes(&filter) + 1);
  for (unsigned i = 0; i < names; i++) {
    struct bloom_digest digest = name(i);
    bloom_filter_add(&filter, &digest);
  }
  return filter;
}

static void test_one_name(void **state) {
  (void)state;
  struct bloom_filter filter = filled(2 * 8 - 5, 8, 1);
  const uint8_t published[] = {0x9b, 0x01}; /* "mwE=" with a padding of 5 */
  assert_memory_equal(filter.bits, published, sizeof published);
  assert_int_equal(bloom_filter_padding(&filter), 5);
  struct bloom_digest one = name(0), other = name(1);
  assert_true(bloom_filter_has(&filter, &one));
  assert_false(bloom_filter_has(&filter, &other));
  free(filter.bits);
}

static void test_five_hundred_names(void **state) {
  (void)state;
  struct bloom_filter filter = filled(600 * 8 - 7, 7, 500);
  static const char published[] = "09a28c7d7a56cb7089c24c1c6ac7a303d5b5d4db7f2e04583a3ecd502dfb1fb1";
  uint8_t hash[CRYPTO_SHA256_BYTES];
  char text[2 * CRYPTO_SHA256_BYTES + 1];
  crypto_sha256(str_make(filter.bits, bloom_filter_bytes(&filter)), hash);
  for (unsigned i = 0; i < sizeof hash; i++)
    snprintf(text + 2 * (size_t)i, 3, "%02x", hash[i]);
  assert_string_equal(text, published);
  unsigned others = 0;
  for (unsigned i = 0; i < 1000; i++) {
    struct bloom_digest digest = name(i);
    bool has = bloom_filter_has(&filter, &digest);
    assert_true(has || i >= 500);
    others += i >= 500 && has;
  }
  assert_int_equal(others, 2); /* as published */
  free(filter.bits);
}

static void test_of_any_size(void **state) {
  (void)state;
  for (unsigned count = 0; count < 2000; count = count * 3 / 2 + 1) {
    struct bloom_filter shape = bloom_filter_for(count);
    struct bloom_filter filter = filled(shape.bit_count, shape.hash_count, count);
    unsigned others = 0;
    for (unsigned i = 0; i < count + 4000; i++) {
      struct bloom_digest digest = name(i);
      bool has = bloom_filter_has(&filter, &digest);
      assert_true(has || i >= count);
      others += has && i >= count;
    }
    assert_true(others <= 20); /* 4 expected */
    assert_true(bloom_filter_padding(&filter) < 8);
    free(filter.bits);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_name),
      cmocka_unit_test(test_five_hundred_names),
      cmocka_unit_test(test_of_any_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
