#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/print.h"

static void expect(struct buf *out, const char *wanted) {
  buf_append_byte(out, 0);
  assert_false(out->failed);
  assert_string_equal((const char *)out->data, wanted);
  buf_fini(out);
}

static void test_times(void **state) {
  (void)state;
  static const struct {
    int64_t us;
    const char *text;
  } cases[] = {
      {0, "1970-01-01T00:00:00.000000Z"},
      {-1, "1969-12-31T23:59:59.999999Z"},
      {1767323045123456, "2026-01-02T03:04:05.123456Z"},
      {-62135596800000000, "0001-01-01T00:00:00.000000Z"},
      {253402300799999999, "9999-12-31T23:59:59.999999Z"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct buf out = {0};
    print_time(&out, cases[i].us);
    expect(&out, cases[i].text);
  }
}

static void test_text_is_json(void **state) {
  (void)state;
  struct buf out = {0};
  print_text(&out, STR("a\"b\\c\nd\0e\x1b[31m"));
  expect(&out, "\"a\\\"b\\\\c\\nd\\u0000e\\u001b[31m\"");
}

static void test_every_type(void **state) {
  (void)state;
  const struct doc_value items[] = {
      {.type = DOC_INTEGER, .as.integer = INT64_MIN},
      {.type = DOC_DOUBLE, .as.number = (double)NAN},
      {.type = DOC_DOUBLE, .as.number = -(double)INFINITY},
      {.type = DOC_DOUBLE, .as.number = 0.5},
  };
  const struct doc_field fields[] = {
      {STR("a"), {.type = DOC_NULL}},
      {STR("b"), {.type = DOC_BOOLEAN, .as.boolean = true}},
      {STR("c"), {.type = DOC_ARRAY, .as.array = {items, 4}}},
      {STR("d"), {.type = DOC_BYTES, .as.text = STR("\0\xff\x10\x20")}},
      {STR("e"), {.type = DOC_GEO_POINT, .as.geo_point = {1.5, -2}}},
      {STR("f"), {.type = DOC_MAP}},
      {STR("g"), {.type = DOC_TIMESTAMP, .as.timestamp_us = 1}},
  };
  struct buf out = {0};
  print_fields(&out, (struct doc_map){fields, 7}, 0);
  expect(&out, "{\n"
               "  \"a\": null,\n"
               "  \"b\": true,\n"
               "  \"c\": [-9223372036854775808, \"NaN\", \"-Infinity\", 0.5],\n"
               "  \"d\": \"AP8QIA==\",\n"
               "  \"e\": {\"latitude\": 1.5, \"longitude\": -2},\n"
               "  \"f\": {},\n"
               "  \"g\": \"1970-01-01T00:00:00.000001Z\"\n"
               "}");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_times),
      cmocka_unit_test(test_text_is_json),
      cmocka_unit_test(test_every_type),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
