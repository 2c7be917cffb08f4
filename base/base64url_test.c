#include <stdlib.h>

#include "base/base64url.h"
#include "tests/support/unit.h"

static void vectors_of_rfc_4648_without_padding(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xef\xff", "--__"}};
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct buf text = {0};
    base64url_append(&text, str_from_cstr(cases[i][0]));
    assert_str_is(buf_str(&text), cases[i][1]);
    buf_fini(&text);
    char bytes[16];
    size_t len;
    assert_true(base64url_decode(str_from_cstr(cases[i][1]), bytes, &len));
    assert_true(str_eq(str_make(bytes, len), str_from_cstr(cases[i][0])));
  }
}

static void what_is_not_strict_is_refused(void **state) {
  (void)state;
  static const char *const cases[] = {"Zg==",  "Zm8=", "Z",  "Zm9vY", "Zh",       "Zm9", "Zm 8",
                                      "Zm8\n", "+_",   "/w", "Zm9v.", "\xc3\xa9", "--_+"};
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    char bytes[16];
    size_t len;
    if (base64url_decode(str_from_cstr(cases[i]), bytes, &len))
      fail_msg("\"%s\" was taken", cases[i]);
  }
  char bytes[16];
  size_t len;
  assert_false(base64url_decode(STR("Zg\0\0"), bytes, &len));
}

static void all_lengths_come_back(void **state) {
  (void)state;
  uint8_t bytes[64];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(i * 37 + 11);
  for (size_t len = 0; len <= sizeof bytes; len++) {
    struct buf text = {0};
    base64url_append(&text, str_make(bytes, len));
    /* Of exactly the size that the header promises is enough, so that a sanitizer sees more. */
    char *back = malloc(base64url_decoded_max(text.len) + (text.len == 0));
    size_t back_len;
    assert_true(base64url_decode(buf_str(&text), back, &back_len));
    assert_true(str_eq(str_make(back, back_len), str_make(bytes, len)));
    free(back);
    buf_fini(&text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(vectors_of_rfc_4648_without_padding),
      cmocka_unit_test(what_is_not_strict_is_refused),
      cmocka_unit_test(all_lengths_come_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
