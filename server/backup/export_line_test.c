#include "server/backup/export_line.h"
#include "storage/document/codec.h"
#include "tests/support/unit.h"

#define NAME "projects/p/databases/(default)/documents/rooms/a"

static const char vector[] =
    "{\"mapValue\":{\"fields\":{\"__type__\":{\"stringValue\":\"__vector__\"},\"value\":{"
    "\"arrayValue\":{\"values\":[{\"doubleValue\":1.5},{\"doubleValue\":-2.0}]}}}}}";

struct lines {
  struct export_format *format;
  struct arena arena;
};

static int setup(void **state) {
  static struct lines lines;
  assert_status_ok(export_format_new(&lines.format));
  arena_init(&lines.arena, NULL, 0, 64 << 20);
  *state = &lines;
  return 0;
}

static int teardown(void **state) {
  struct lines *lines = *state;
  export_format_free(lines->format);
  arena_fini(&lines->arena);
  return 0;
}

static void expect_same(struct lines *lines, const char *line) {
  struct export_document document;
  struct buf out = {0};
  assert_status_ok(export_line_read(lines->format, str_from_cstr(line), &lines->arena, &document));
  assert_true(export_line_write(lines->format, document.wire, &out));
  assert_true(out.len > 0 && out.data[out.len - 1] == '\n');
  assert_str_is(str_make(out.data, out.len - 1), line);
  buf_fini(&out);
}

static void values_come_back_as_they_were(void **state) {
  static const char *const values[] = {
      "{\"nullValue\":null}",
      "{\"booleanValue\":false}",
      "{\"integerValue\":\"9223372036854775807\"}",
      "{\"integerValue\":\"-9223372036854775808\"}",
      "{\"doubleValue\":\"NaN\"}",
      "{\"doubleValue\":\"-Infinity\"}",
      "{\"doubleValue\":-0.0}",
      "{\"doubleValue\":5e-324}",
      "{\"timestampValue\":\"0001-01-01T00:00:00Z\"}",
      "{\"timestampValue\":\"9999-12-31T23:59:59.999999Z\"}",
      "{\"stringValue\":\"a\\u0000b\\nc\"}",
      "{\"bytesValue\":\"AP/+\"}",
      "{\"referenceValue\":\"projects/p/databases/(default)/documents/rooms/a\"}",
      "{\"geoPointValue\":{\"latitude\":-90.0,\"longitude\":180.0}}",
      "{\"arrayValue\":{}}",
      "{\"mapValue\":{}}",
      vector,
  };
  struct lines *lines = *state;
  for (size_t i = 0; i < UNIT_COUNT(values); i++) {
    struct buf line = {0};
    buf_printf(&line, "{\"name\":\"" NAME "\",\"fields\":{\"x\":%s}}", values[i]);
    buf_append_byte(&line, 0);
    struct export_document document, again;
    struct buf out = {0};
    assert_status_ok(
        export_line_read(lines->format, str_from_cstr((char *)line.data), &lines->arena, &document));
    assert_true(export_line_write(lines->format, document.wire, &out));
    assert_status_ok(export_line_read(lines->format, str_make(out.data, out.len - 1), &lines->arena, &again));
    assert_true(str_eq(document.wire, again.wire));
    buf_fini(&out);
    buf_fini(&line);
  }
  expect_same(lines,
              "{\"name\":\"" NAME "\",\"fields\":{\"x\":{\"stringValue\":\"a\\u0000b\"}},\"createTime\":"
              "\"2026-01-02T03:04:05.123456Z\",\"updateTime\":\"2026-01-02T03:04:06Z\"}");
  expect_same(lines, "{\"name\":\"" NAME "\",\"fields\":{\"x\":{\"integerValue\":\"9007199254740993\"}}}");
}

static void a_mask_names_what_there_is(void **state) {
  struct lines *lines = *state;
  struct export_document document;
  assert_status_ok(export_line_read(
      lines->format,
      STR("{\"name\":\"" NAME
          "\",\"fields\":{\"a\":{\"mapValue\":{\"fields\":{\"b.c\":{\"nullValue\":null},\"d\":{"
          "\"mapValue\":{}}}}},\"z\":{\"integerValue\":\"1\"}}}"),
      &lines->arena, &document));
  assert_int_equal(document.masked_count, 3);
  assert_str_is(document.masked[0], "a.`b.c`");
  assert_str_is(document.masked[1], "a.d");
  assert_str_is(document.masked[2], "z");
  assert_status_ok(export_line_read(lines->format, STR("{\"name\":\"" NAME "\"}"), &lines->arena, &document));
  assert_int_equal(document.masked_count, 0);
}

static void wrong_lines_are_refused(void **state) {
  static const char *const wrong[] = {
      "",
      "{}",
      "null",
      "[]",
      "{\"name\":\"" NAME "\"",
      "{\"name\":\"" NAME "\"}}",
      "{\"name\":\"" NAME "\"} {}",
      "{\"fields\":{}}",
      "{\"name\":\"rooms/a\"}",
      "{\"name\":\"projects/p/databases/(default)/documents/rooms\"}",
      "{\"name\":\"projects/p/databases/(default)/documents\"}",
      "{\"name\":\"" NAME "\",\"more\":1}",
      "{\"name\":\"" NAME "\",\"fields\":{\"x\":{\"integerValue\":\"9223372036854775808\"}}}",
      "{\"name\":\"" NAME "\",\"fields\":{\"x\":{}}}",
      "{\"name\":\"" NAME "\",\"fields\":{\"x\":{\"integerValue\":1,\"stringValue\":\"\"}}}",
      "{\"name\":\"" NAME "\",\"fields\":{\"__x__\":{\"nullValue\":null}}}",
      "{\"name\":\"" NAME "\",\"fields\":{\"x\":{\"arrayValue\":{\"values\":[{\"arrayValue\":{}}]}}}}",
      "{\"name\":\"" NAME "\",\"fields\":{\"x\":{\"stringValue\":\"\xff\"}}}",
  };
  struct lines *lines = *state;
  struct export_document document;
  for (size_t i = 0; i < UNIT_COUNT(wrong); i++) {
    status s = export_line_read(lines->format, str_from_cstr(wrong[i]), &lines->arena, &document);
    if (s.code != STATUS_INVALID_ARGUMENT)
      fail_msg("%s: %s", wrong[i], status_code_name((int)s.code));
    assert_true(s.message[0] != '\0');
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(values_come_back_as_they_were, setup, teardown),
      cmocka_unit_test_setup_teardown(a_mask_names_what_there_is, setup, teardown),
      cmocka_unit_test_setup_teardown(wrong_lines_are_refused, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
