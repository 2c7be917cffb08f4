#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/firestore/resume_token.h"

#define SECRET STR("0123456789abcdef0123456789abcdef")
#define DATABASE STR("projects/p/databases/(default)")

static struct resume_target target_number(size_t number) {
  return resume_target_of(str_make(&number, sizeof number));
}

static struct resume_targets first_targets(size_t count) {
  struct resume_targets targets;
  resume_targets_init(&targets, count);
  for (size_t i = 0; i < count; i++)
    resume_targets_add(&targets, target_number(i));
  return targets;
}

static void test_round_trip(void **state) {
  (void)state;
  const int64_t versions[] = {1, 1795254754209973, INT64_MAX};
  for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
    uint8_t token[RESUME_TOKEN_BYTES_MAX];
    int64_t version = 0;
    struct resume_targets targets = first_targets(10 * i + 1);
    size_t len = resume_token_encode(SECRET, DATABASE, versions[i], &targets, token);
    for (size_t n = 0; n < 10 * i + 1; n++) {
      assert_true(resume_token_decode(SECRET, DATABASE, target_number(n), str_make(token, len), &version));
      assert_true(version == versions[i]);
    }
  }
}

static void test_others_are_refused(void **state) {
  (void)state;
  uint8_t token[RESUME_TOKEN_BYTES_MAX + 1] = {0};
  int64_t version = 0;
  struct resume_targets targets = first_targets(3);
  struct resume_target mine = target_number(1);
  size_t token_len = resume_token_encode(SECRET, DATABASE, 1795254754209973, &targets, token);
  str whole = str_make(token, token_len);
  assert_false(resume_token_decode(STR("another secret"), DATABASE, mine, whole, &version));
  assert_false(resume_token_decode(SECRET, STR("projects/p/databases/other"), mine, whole, &version));
  for (size_t len = 0; len <= sizeof token; len++)
    assert_true(resume_token_decode(SECRET, DATABASE, mine, str_make(token, len), &version) ==
                (len == token_len));
  for (size_t bit = 0; bit < token_len * 8; bit++) {
    token[bit / 8] ^= (uint8_t)(1u << bit % 8);
    assert_false(resume_token_decode(SECRET, DATABASE, mine, whole, &version));
    token[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  token_len = resume_token_encode(SECRET, DATABASE, -5, &targets, token); /* never given, and of no use */
  assert_false(resume_token_decode(SECRET, DATABASE, mine, str_make(token, token_len), &version));
}

/* How many of 10,000 targets pass for one of the `count` that a token is for. */
static size_t strangers_among(size_t count) {
  uint8_t token[RESUME_TOKEN_BYTES_MAX];
  struct resume_targets targets = first_targets(count);
  size_t len = resume_token_encode(SECRET, DATABASE, 7, &targets, token), passed = 0;
  for (size_t n = count; n < count + 10000; n++) {
    int64_t version;
    passed += resume_token_decode(SECRET, DATABASE, target_number(n), str_make(token, len), &version);
  }
  return passed;
}

static void test_other_targets_are_refused(void **state) {
  (void)state;
  assert_int_equal(strangers_among(0), 0);
  assert_in_range(strangers_among(1), 0, 5);
  assert_in_range(strangers_among(4), 0, 60);
  assert_in_range(strangers_among(100), 0, 60);
  assert_in_range(strangers_among(256), 0, 60);
  assert_in_range(strangers_among(1000), 500, 2000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_others_are_refused),
      cmocka_unit_test(test_other_targets_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
