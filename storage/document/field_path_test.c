#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "base/limits.h"
#include "storage/document/field_path.h"

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, 1 << 20);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  return 0;
}

static struct doc_field_path parsed(str text) {
  struct doc_field_path path;
  status s = doc_field_path_parse(text, &arena, &path);
  if (!status_is_ok(&s))
    fail_msg("%.*s: %s", (int)text.len, text.ptr, s.message);
  return path;
}

static void assert_refused(str text, const char *says) {
  struct doc_field_path path;
  status s = doc_field_path_parse(text, &arena, &path);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  if (strstr(s.message, says) == NULL)
    fail_msg("\"%s\" does not say \"%s\"", s.message, says);
}

static void test_segments(void **state) {
  (void)state;
  struct doc_field_path path = parsed(STR("address.`zip.code`.`a\\`b\\\\c`._x9"));
  assert_int_equal(path.count, 4);
  assert_true(str_eq(path.segments[0], STR("address")));
  assert_true(str_eq(path.segments[1], STR("zip.code")));
  assert_true(str_eq(path.segments[2], STR("a`b\\c")));
  assert_true(str_eq(path.segments[3], STR("_x9")));
  assert_true(str_eq(parsed(STR("`\0`")).segments[0], STR("\0")));
  assert_true(str_eq(parsed(STR("`\xc3\xa9`")).segments[0], STR("\xc3\xa9")));
}

static void test_refused(void **state) {
  (void)state;
  static const char *const texts[] = {".",    "a.",   ".a", "a..b", "1a",   "a-b",  "a b",   "\xc3\xa9",
                                      "a.1",  "``",   "`a", "a`",   "`a`b", "a`b`", "`a\\`", "`\\n`",
                                      "`a\\", "`a`.", "`",  "a.``", "*",    "a[0]", "\\a"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    assert_refused(str_from_cstr(texts[i]), "Invalid property path \"");
  assert_refused(STR(""), "is empty");
  assert_refused(STR("`\xff`"), "is not valid UTF-8");
  assert_refused(STR("__a__"), "Property name \"__a__\" is invalid because it is reserved.");
  assert_refused(STR("a.__b__"), "is reserved");
  assert_refused(STR("a.`__b__`"), "is reserved");
  assert_refused(STR("____"), "is reserved");
  assert_refused(STR("__name__"), "is reserved");
  parsed(STR("__"));
  parsed(STR("___"));
  parsed(STR("__a"));
  parsed(STR("a__"));
}

static void test_name(void **state) {
  (void)state;
  assert_true(doc_field_path_is_name(STR("__name__")));
  assert_true(doc_field_path_is_name(STR("`__name__`")));
  assert_false(doc_field_path_is_name(STR("name")));
  assert_false(doc_field_path_is_name(STR("__name__.a")));
}

static void test_limits(void **state) {
  (void)state;
  char text[6 * LIMIT_ID_BYTES];
  memset(text, 'a', sizeof text);
  parsed(str_make(text, LIMIT_ID_BYTES));
  assert_refused(str_make(text, LIMIT_ID_BYTES + 1), "is longer than 1500 bytes");
  assert_refused(str_make(text, sizeof text), "is longer than 1500 bytes");
  text[700] = '.';
  parsed(str_make(text, LIMIT_ID_BYTES));
  assert_refused(str_make(text, LIMIT_ID_BYTES + 1), "is longer than 1500 bytes");

  /* Quotes and escapes do not count. */
  memset(text, '\\', sizeof text);
  text[0] = text[2 * LIMIT_ID_BYTES + 1] = '`';
  struct doc_field_path path = parsed(str_make(text, 2 * LIMIT_ID_BYTES + 2));
  assert_int_equal(path.segments[0].len, LIMIT_ID_BYTES);

  status s = doc_field_name_check(str_make("", 0));
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  memset(text, ' ', sizeof text);
  s = doc_field_name_check(str_make(text, LIMIT_ID_BYTES));
  assert_int_equal(s.code, STATUS_OK);
  s = doc_field_name_check(str_make(text, LIMIT_ID_BYTES + 1));
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  s = doc_field_name_check(STR("__x__"));
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  s = doc_field_name_check(STR("\x80"));
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
}

static void test_format(void **state) {
  (void)state;
  static const struct {
    const char *text, *canonical;
  } rows[] = {{"a.b", "a.b"}, {"`a`.`b`", "a.b"},           {"`a.b`", "`a.b`"},
              {"`1`", "`1`"}, {"`a\\`\\\\`", "`a\\`\\\\`"}, {"`_a`.`-`", "_a.`-`"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct doc_field_path path = parsed(str_from_cstr(rows[i].text));
    assert_true(str_eq(doc_field_path_format(&path, &arena), str_from_cstr(rows[i].canonical)));
  }
}

static void test_order(void **state) {
  (void)state;
  static const char *const sorted[] = {"`\x01`", "A", "a", "a.a", "a.b", "a.b.c", "`a `", "`a.a`", "b"};
  enum { COUNT = sizeof sorted / sizeof sorted[0] };
  struct doc_field_path paths[COUNT];
  for (size_t i = 0; i < COUNT; i++)
    paths[i] = parsed(str_from_cstr(sorted[i]));
  for (size_t i = 0; i < COUNT; i++)
    for (size_t j = 0; j < COUNT; j++) {
      int order = doc_field_path_compare(&paths[i], &paths[j]);
      assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
    }
  assert_true(doc_field_path_has_prefix(&paths[5], &paths[4]));
  assert_true(doc_field_path_has_prefix(&paths[4], &paths[4]));
  assert_false(doc_field_path_has_prefix(&paths[4], &paths[5]));
  assert_false(doc_field_path_has_prefix(&paths[4], &paths[3]));
}

static void test_no_memory(void **state) {
  (void)state;
  struct arena none;
  arena_init(&none, NULL, 0, 0);
  struct doc_field_path path, other = parsed(STR("a.b"));
  assert_int_equal(doc_field_path_parse(STR("a"), &none, &path).code, STATUS_RESOURCE_EXHAUSTED);
  assert_null(doc_field_path_format(&other, &none).ptr);
  arena_fini(&none);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_segments),  cmocka_unit_test(test_refused), cmocka_unit_test(test_name),
      cmocka_unit_test(test_limits),    cmocka_unit_test(test_format),  cmocka_unit_test(test_order),
      cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
