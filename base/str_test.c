#include "tests/support/unit.h"

static const str NOTHING = {NULL, 0};

static void compares_as_unsigned_bytes(void **state) {
  (void)state;
  /* In order. */
  const str sorted[] = {STR(""),   STR("\0"), STR("\0\0"), STR("a"),    STR("a\0"),
                        STR("ab"), STR("b"),  STR("\x7F"), STR("\x80"), STR("\xFF")};
  for (size_t i = 0; i < UNIT_COUNT(sorted); i++) {
    for (size_t j = 0; j < UNIT_COUNT(sorted); j++) {
      int order = str_cmp(sorted[i], sorted[j]);
      assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
      assert_int_equal(str_eq(sorted[i], sorted[j]), i == j);
    }
  }
  assert_true(str_eq(NOTHING, STR("")));
  assert_int_equal(str_cmp(NOTHING, STR("")), 0);
  assert_true(str_cmp(NOTHING, STR("a")) < 0);
}

static void finds_prefixes_and_suffixes(void **state) {
  (void)state;
  assert_true(str_has_prefix(STR("abc"), STR("ab")));
  assert_false(str_has_prefix(STR("abc"), STR("bc")));
  assert_false(str_has_prefix(STR("ab"), STR("abc")));
  assert_true(str_has_suffix(STR("abc"), STR("bc")));
  assert_false(str_has_suffix(STR("bc"), STR("abc")));
  assert_true(str_has_prefix(NOTHING, NOTHING));
  assert_true(str_has_suffix(NOTHING, NOTHING));
  assert_true(str_has_suffix(STR("abc"), NOTHING));
  assert_true(str_is_empty(str_from_cstr(NULL)));
  assert_str_is(str_from(STR("abc"), 3), "");
}

static void splits_until_nothing_is_left(void **state) {
  (void)state;
  const struct {
    const char *text;
    const char *pieces[4];
  } cases[] = {
      {"", {"", NULL}},        {"a", {"a", NULL}}, {"/", {"", "", NULL}}, {"a//b", {"a", "", "b", NULL}},
      {"a/", {"a", "", NULL}},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    str rest = str_from_cstr(cases[i].text);
    for (const char *const *piece = cases[i].pieces; *piece != NULL; piece++) {
      assert_non_null(rest.ptr);
      assert_str_is(str_split(rest, '/', &rest), *piece);
    }
    assert_null(rest.ptr);
  }
  str rest = STR("x");
  assert_true(str_is_empty(str_split(NOTHING, '/', &rest)));
  assert_null(rest.ptr);
}

static void numbers_fit_or_fail(void **state) {
  (void)state;
  const struct {
    const char *text;
    uint64_t number;
  } good[] = {{"0", 0},
              {"007", 7},
              {"1234567890", 1234567890},
              {"9223372036854775808", UINT64_C(1) << 63},
              {"18446744073709551615", UINT64_MAX}};
  for (size_t i = 0; i < UNIT_COUNT(good); i++) {
    uint64_t number = 1;
    assert_true(str_to_u64(str_from_cstr(good[i].text), &number));
    assert_int_equal(number, good[i].number);
  }
  const char *bad[] = {"",
                       "-1",
                       "+1",
                       " 1",
                       "1 ",
                       "0x1",
                       "1.0",
                       "a",
                       "/",
                       ":",
                       "18446744073709551616",
                       "18446744073709551620",
                       "99999999999999999999",
                       "184467440737095516150"};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++) {
    uint64_t number = 42;
    assert_false(str_to_u64(str_from_cstr(bad[i]), &number));
    assert_int_equal(number, 42);
  }
  uint64_t number;
  assert_false(str_to_u64(STR("1\0"), &number));
}

static void buffer_grows_and_keeps_what_it_has(void **state) {
  (void)state;
  struct buf b = {0};
  assert_true(str_is_empty(buf_str(&b)));
  for (unsigned i = 0; i < 1000; i++)
    buf_append_byte(&b, (uint8_t)i);
  buf_append_str(&b, STR("tail"));
  buf_append_str(&b, NOTHING);
  buf_append(&b, NULL, 0);
  assert_false(b.failed);
  assert_int_equal(b.len, 1004);
  for (unsigned i = 0; i < 1000; i++)
    assert_int_equal(b.data[i], (uint8_t)i);
  assert_str_is(str_from(buf_str(&b), 1000), "tail");
  const uint8_t *memory = b.data;
  buf_clear(&b);
  assert_int_equal(b.len, 0);
  buf_printf(&b, "%s:%d", "x", 5);
  assert_ptr_equal(b.data, memory);
  assert_str_is(buf_str(&b), "x:5");
  buf_fini(&b);
  buf_fini(&b);
}

static void buffer_past_its_limit_fails_until_cleared(void **state) {
  (void)state;
  struct buf b = {.max_bytes = 10};
  buf_append_str(&b, STR("12345678"));
  assert_false(b.failed);
  buf_append_str(&b, STR("abc"));
  assert_true(b.failed);
  buf_append_byte(&b, 'x');
  assert_str_is(buf_str(&b), "12345678");
  assert_false(buf_reserve(&b, 0));
  buf_clear(&b);
  buf_append_str(&b, STR("0123456789"));
  assert_false(b.failed);
  assert_int_equal(b.capacity, 10);
  buf_printf(&b, "x");
  assert_true(b.failed);
  assert_str_is(buf_str(&b), "0123456789");
  buf_fini(&b);
}

static void buffer_refuses_sizes_that_overflow(void **state) {
  (void)state;
  struct buf b = {0};
  buf_append_byte(&b, 1);
  assert_false(buf_reserve(&b, SIZE_MAX));
  assert_true(b.failed);
  buf_clear(&b);
  assert_false(buf_reserve(&b, SIZE_MAX / 2 + 1));
  buf_fini(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(compares_as_unsigned_bytes),
      cmocka_unit_test(finds_prefixes_and_suffixes),
      cmocka_unit_test(splits_until_nothing_is_left),
      cmocka_unit_test(numbers_fit_or_fail),
      cmocka_unit_test(buffer_grows_and_keeps_what_it_has),
      cmocka_unit_test(buffer_past_its_limit_fails_until_cleared),
      cmocka_unit_test(buffer_refuses_sizes_that_overflow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
