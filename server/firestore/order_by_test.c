#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "base/limits.h"
#include "server/firestore/order_by.h"

static struct arena arena;

static int setup(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, 1 << 20);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_fini(&arena);
  return 0;
}

/* The orders in one canonical text: "a.b< `c d`>". */
static const char *canonical(const char *text) {
  struct query_order *orders;
  size_t count;
  status result = order_by_parse(str_from_cstr(text), &arena, &orders, &count);
  if (!status_is_ok(&result))
    return status_code_name((int)result.code);
  str all = arena_str_copy(&arena, STR(""));
  for (size_t i = 0; i < count; i++) {
    str field = orders[i].field.is_name ? STR("name") : doc_field_path_format(&orders[i].field.path, &arena);
    all = arena_printf(&arena, STR_FMT "%s" STR_FMT "%s", STR_ARG(all), i == 0 ? "" : " ", STR_ARG(field),
                       orders[i].descending ? ">" : "<");
  }
  return all.ptr;
}

static void test_orders(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"", ""},
      {"a", "a<"},
      {"a asc", "a<"},
      {"a DESC", "a>"},
      {" a  Desc , b.c\tasc ", "a> b.c<"},
      {"__name__ desc", "name>"},
      {"`__name__`", "name<"},
      {"`a,b` desc,`c d`", "`a,b`> `c d`<"},
      {"`a\\`,b`.c desc", "`a\\`,b`.c>"},
      {"a,a", "a< a<"}, /* query_prepare refuses it */
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_string_equal(canonical(cases[i][0]), cases[i][1]);
}

static void test_refused(void **state) {
  (void)state;
  static const char *const cases[] = {" ",     ",",        "a,", "a,,b", "a up",        "a desc desc",
                                      "a b",   "a..b",     "`a", "a`b",  "desc a",      "a desc,",
                                      "__x__", "a \\desc", "`",  "1a",   "a desc, b up"};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_string_equal(canonical(cases[i]), "INVALID_ARGUMENT");
  struct buf many = {0};
  for (int i = 0; i < LIMIT_QUERY_PARTS; i++)
    buf_append_str(&many, STR("a,"));
  buf_append_str(&many, STR("a"));
  buf_append_byte(&many, 0);
  assert_string_equal(canonical((const char *)many.data), "INVALID_ARGUMENT");
  buf_fini(&many);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_orders, setup, teardown),
      cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
