#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/firestore/resume_token.h"

#define SECRET STR("0123456789abcdef0123456789abcdef")
#define DATABASE STR("projects/p/databases/(default)")

static void test_round_trip(void **state) {
  (void)state;
  const int64_t versions[] = {1, 1795254754209973, INT64_MAX};
  for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
    uint8_t token[RESUME_TOKEN_BYTES];
    int64_t version = 0;
    resume_token_encode(SECRET, DATABASE, versions[i], token);
    assert_true(resume_token_decode(SECRET, DATABASE, str_make(token, sizeof token), &version));
    assert_true(version == versions[i]);
  }
}

static void test_others_are_refused(void **state) {
  (void)state;
  uint8_t token[RESUME_TOKEN_BYTES + 1] = {0};
  int64_t version = 0;
  resume_token_encode(SECRET, DATABASE, 1795254754209973, token);
  str whole = str_make(token, RESUME_TOKEN_BYTES);
  assert_false(resume_token_decode(STR("another secret"), DATABASE, whole, &version));
  assert_false(resume_token_decode(SECRET, STR("projects/p/databases/other"), whole, &version));
  for (size_t len = 0; len <= sizeof token; len++)
    assert_true(resume_token_decode(SECRET, DATABASE, str_make(token, len), &version) ==
                (len == RESUME_TOKEN_BYTES));
  for (size_t bit = 0; bit < (size_t)RESUME_TOKEN_BYTES * 8; bit++) {
    token[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_false(resume_token_decode(SECRET, DATABASE, whole, &version));
    token[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  resume_token_encode(SECRET, DATABASE, -5, token); /* never given, and of no use */
  assert_false(resume_token_decode(SECRET, DATABASE, whole, &version));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_others_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
