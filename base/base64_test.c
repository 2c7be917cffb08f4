#include "base/base64.h"
#include "tests/support/unit.h"

static void test_both_ways(void **state) {
  (void)state;
  /* RFC 4648, section 10 */
  static const char *const pairs[][2] = {{"", ""},
                                         {"f", "Zg=="},
                                         {"fo", "Zm8="},
                                         {"foo", "Zm9v"},
                                         {"foob", "Zm9vYg=="},
                                         {"fooba", "Zm9vYmE="},
                                         {"foobar", "Zm9vYmFy"}};
  for (size_t i = 0; i < UNIT_COUNT(pairs); i++) {
    struct buf text = {0}, bytes = {0}, bare = {0};
    base64_encode(str_from_cstr(pairs[i][0]), &text);
    assert_str_is(buf_str(&text), pairs[i][1]);
    assert_true(base64_decode(buf_str(&text), &bytes));
    assert_str_is(buf_str(&bytes), pairs[i][0]);
    while (text.len > 0 && text.data[text.len - 1] == '=')
      text.len--;
    assert_true(base64_decode(buf_str(&text), &bare));
    assert_str_is(buf_str(&bare), pairs[i][0]);
    buf_fini(&text);
    buf_fini(&bytes);
    buf_fini(&bare);
  }
}

static void test_both_alphabets(void **state) {
  (void)state;
  struct buf out = {0};
  assert_true(base64_decode(STR("-_+/"), &out));
  assert_int_equal(out.len, 3);
  assert_memory_equal(out.data, "\xfb\xff\xbf", 3);
  buf_fini(&out);
}

static void test_refuses(void **state) {
  (void)state;
  static const char *const bad[] = {"A",    "A===", "AB=",   "ABC==", "A B=", "AB\n=",    "=",
                                    "=AAA", "AA=A", "AAAA=", "Zh==",  "Zm9=", "AAAA====", "\xc3\xa4ZZ"};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++) {
    struct buf out = {0};
    if (base64_decode(str_from_cstr(bad[i]), &out))
      fail_msg("\"%s\" was taken", bad[i]);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_both_ways),
      cmocka_unit_test(test_both_alphabets),
      cmocka_unit_test(test_refuses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
