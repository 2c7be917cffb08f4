#include "server/identity/refresh_token.h"
#include "tests/support/unit.h"

static const uint8_t KEY[REFRESH_TOKEN_KEY_BYTES] = {7};

static bool same(const struct refresh_token *a, const struct refresh_token *b) {
  return memcmp(a, b, sizeof *a) == 0;
}

static void test_text(void **state) {
  (void)state;
  struct refresh_token token, read;
  char text[REFRESH_TOKEN_TEXT_BYTES + 1];
  for (int i = 0; i < 100; i++) { /* both characters that differ from base64 come by */
    refresh_token_make(&token);
    refresh_token_write(&token, text);
    assert_true(refresh_token_read(str_from_cstr(text), &read));
    assert_true(same(&token, &read));
  }
  assert_false(refresh_token_read(str_make(text, REFRESH_TOKEN_TEXT_BYTES - 1), &read));
  assert_false(refresh_token_read(STR(""), &read));
  text[5] = '+';
  assert_false(refresh_token_read(str_from_cstr(text), &read));
}

static void test_the_next_one(void **state) {
  (void)state;
  struct refresh_token token, next, again, other;
  uint8_t hash[CRYPTO_SHA256_BYTES], next_hash[CRYPTO_SHA256_BYTES];
  refresh_token_make(&token);
  refresh_token_next(KEY, &token, &next);
  refresh_token_next(KEY, &token, &again);
  assert_true(same(&next, &again)); /* a lost answer is the same answer */
  assert_memory_equal(token.session, next.session, sizeof token.session);
  assert_memory_not_equal(token.secret, next.secret, sizeof token.secret);
  const uint8_t another[REFRESH_TOKEN_KEY_BYTES] = {8};
  refresh_token_next(another, &token, &other);
  assert_false(same(&next, &other)); /* who has the token, but not the key */
  refresh_token_hash(&token, hash);
  refresh_token_hash(&next, next_hash);
  assert_memory_not_equal(hash, next_hash, sizeof hash);
  refresh_token_next(KEY, &token, &token); /* in place */
  assert_true(same(&token, &next));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_the_next_one)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
