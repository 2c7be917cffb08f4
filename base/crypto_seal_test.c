#include "base/crypto_seal.h"
#include "tests/support/unit.h"

static const uint8_t KEY[CRYPTO_SEAL_KEY_BYTES] = {1, 2, 3};

static void test_what_was_sealed_opens(void **state) {
  (void)state;
  struct buf sealed = {0}, again = {0}, opened = {0};
  crypto_seal(KEY, STR("place"), STR("a secret"), &sealed);
  crypto_seal(KEY, STR("place"), STR("a secret"), &again);
  assert_int_equal(sealed.len, 8 + CRYPTO_SEAL_MORE_BYTES);
  assert_false(str_eq(buf_str(&sealed), buf_str(&again))); /* another nonce */
  assert_true(crypto_open(KEY, STR("place"), buf_str(&sealed), &opened));
  assert_str_is(buf_str(&opened), "a secret");
  buf_fini(&sealed);
  buf_fini(&again);
  buf_fini(&opened);
}

static void test_nothing_else_opens(void **state) {
  (void)state;
  struct buf sealed = {0}, opened = {0};
  uint8_t other[CRYPTO_SEAL_KEY_BYTES] = {3, 2, 1};
  crypto_seal(KEY, STR("place"), STR("a secret"), &sealed);
  assert_false(crypto_open(other, STR("place"), buf_str(&sealed), &opened));
  assert_false(crypto_open(KEY, STR("elsewhere"), buf_str(&sealed), &opened));
  for (size_t len = 0; len < sealed.len; len++)
    assert_false(crypto_open(KEY, STR("place"), str_make(sealed.data, len), &opened));
  for (size_t i = 0; i < sealed.len; i++) {
    sealed.data[i] ^= 1;
    assert_false(crypto_open(KEY, STR("place"), buf_str(&sealed), &opened));
    sealed.data[i] ^= 1;
  }
  assert_int_equal(opened.len, 0);
  buf_fini(&sealed);
  buf_fini(&opened);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_was_sealed_opens),
      cmocka_unit_test(test_nothing_else_opens),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
