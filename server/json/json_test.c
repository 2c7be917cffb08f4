/* The JSON form of messages, both ways, against hand-made texts; tests/integration/json.test.mjs compares
 * random messages with another implementation. */
#include <stdlib.h>

#include "google/firestore/v1/firestore.skerry.h"
#include "google/protobuf/field_mask.skerry.h"
#include "google/protobuf/struct.skerry.h"
#include "google/protobuf/wrappers.skerry.h"
#include "google/rpc/error_details.skerry.h"
#include "server/json/json_read.h"
#include "server/json/json_time.h"
#include "server/json/json_write.h"
#include "skerry/test/v1/test_service.skerry.h"
#include "tests/support/unit.h"

static struct schema *schema;

static int start(void **state) {
  (void)state;
  const struct rpc_file *const files[] = {
      &google_firestore_v1_firestore_proto, &google_rpc_error_details_proto,
      &google_protobuf_struct_proto,        &google_protobuf_field_mask_proto,
      &google_protobuf_wrappers_proto,      &skerry_test_v1_test_service_proto};
  assert_status_ok(schema_new(files, UNIT_COUNT(files), &schema));
  return 0;
}

static int stop(void **state) {
  (void)state;
  schema_free(schema);
  return 0;
}

static const struct schema_message *type(const char *name) {
  const struct schema_message *message = schema_find(schema, str_from_cstr(name));
  assert_non_null(message);
  return message;
}

#define VALUE "google.firestore.v1.Value"
#define DOCUMENT "google.firestore.v1.Document"
#define ECHO "skerry.test.v1.EchoRequest"

static status read_text(const char *name, const char *json, struct buf *out) {
  return json_read_message(schema, type(name), str_from_cstr(json), out);
}

/* Reads the text and writes it again. */
static void assert_becomes(const char *name, const char *json, const char *wanted) {
  struct buf wire = {0}, text = {0};
  status result = read_text(name, json, &wire);
  if (!status_is_ok(&result))
    fail_msg("%s: %s", json, result.message);
  assert_true(json_write_message(schema, type(name), wire.len == 0 ? STR("") : buf_str(&wire), &text));
  assert_str_is(buf_str(&text), wanted);
  buf_fini(&wire);
  buf_fini(&text);
}

static void assert_same(const char *name, const char *json) {
  assert_becomes(name, json, json);
}

static void assert_refused(const char *name, const char *json, const char *why) {
  struct buf wire = {0};
  status result = read_text(name, json, &wire);
  assert_status_code(result, STATUS_INVALID_ARGUMENT);
  if (strstr(result.message, why) == NULL)
    fail_msg("%s: \"%s\" does not say \"%s\"", json, result.message, why);
  buf_fini(&wire);
}

static void test_values(void **state) {
  (void)state;
  assert_same(VALUE, "{\"nullValue\":null}");
  assert_same(VALUE, "{\"booleanValue\":false}");
  assert_same(VALUE, "{\"booleanValue\":true}");
  assert_same(VALUE, "{\"integerValue\":\"9223372036854775807\"}");
  assert_same(VALUE, "{\"integerValue\":\"-9223372036854775808\"}");
  assert_becomes(VALUE, "{\"integerValue\":12}", "{\"integerValue\":\"12\"}");
  assert_becomes(VALUE, " {\"integer_value\" : 1.2e1 }\n", "{\"integerValue\":\"12\"}");
  assert_becomes(VALUE, "{\"integerValue\":\"-0\"}", "{\"integerValue\":\"0\"}");
  assert_same(VALUE, "{\"doubleValue\":0.1}");
  assert_same(VALUE, "{\"doubleValue\":-0}");
  assert_same(VALUE, "{\"doubleValue\":\"NaN\"}");
  assert_same(VALUE, "{\"doubleValue\":\"-Infinity\"}");
  assert_same(VALUE, "{\"doubleValue\":4.94065645841247e-324}");
  assert_same(VALUE, "{\"doubleValue\":1.7976931348623157e+308}");
  assert_becomes(VALUE, "{\"doubleValue\":\"2.50\"}", "{\"doubleValue\":2.5}");
  assert_same(VALUE, "{\"timestampValue\":\"2026-08-01T12:00:00.123456Z\"}");
  assert_becomes(VALUE, "{\"timestampValue\":\"2026-08-01T14:00:00.50+02:00\"}",
                 "{\"timestampValue\":\"2026-08-01T12:00:00.500Z\"}");
  assert_same(VALUE, "{\"timestampValue\":\"0001-01-01T00:00:00Z\"}");
  assert_same(VALUE, "{\"timestampValue\":\"9999-12-31T23:59:59.999999999Z\"}");
  assert_same(VALUE, "{\"bytesValue\":\"AP8=\"}");
  assert_becomes(VALUE, "{\"bytesValue\":\"_-8\"}", "{\"bytesValue\":\"/+8=\"}");
  assert_same(VALUE, "{\"geoPointValue\":{\"latitude\":-1.5,\"longitude\":2}}");
  assert_same(VALUE, "{\"mapValue\":{}}");
  assert_same(VALUE, "{\"arrayValue\":{\"values\":[{\"stringValue\":\"a\"},{\"mapValue\":{\"fields\":{\"\":{"
                     "\"booleanValue\":true}}}}]}}");
}

static void test_strings(void **state) {
  (void)state;
  assert_same(VALUE, "{\"stringValue\":\"x\\u0000y\\n\\\"\\\\\"}");
  assert_becomes(VALUE, "{\"stringValue\":\"\\u00e4\\ud83d\\ude00\\/\"}",
                 "{\"stringValue\":\"\xc3\xa4\xf0\x9f\x98\x80/\"}");
  assert_same(DOCUMENT, "{\"name\":\"n\",\"fields\":{\"a\\u0000b\":{\"nullValue\":null}}}");
  assert_refused(VALUE, "{\"stringValue\":\"\\ud83d\"}", "surrogate");
  assert_refused(VALUE, "{\"stringValue\":\"\\ude00\"}", "surrogate");
  assert_refused(VALUE, "{\"stringValue\":\"\\ud83d\\u0041\"}", "surrogate");
  assert_refused(VALUE, "{\"stringValue\":\"\\x\"}", "backslash");
  assert_refused(VALUE, "{\"stringValue\":\"\\u12g4\"}", "four hexadecimal");
  assert_refused(VALUE, "{\"stringValue\":\"a\nb\"}", "control character");
  assert_refused(VALUE, "{\"stringValue\":\"\xff\"}", "UTF-8");
  assert_refused(VALUE, "{\"stringValue\":\"a", "no end");
  assert_refused(VALUE, "{\"stringValue\":\"a\\", "no end");
}

static void test_refused(void **state) {
  (void)state;
  assert_refused(VALUE, "{\"unknown\":1}", "unknown field \"unknown\"");
  assert_refused(VALUE, "{\"integerValue\":\"9223372036854775808\"}", "whole number");
  assert_refused(VALUE, "{\"integerValue\":1.5}", "whole number");
  assert_refused(VALUE, "{\"integerValue\":\"\"}", "whole number");
  assert_refused(VALUE, "{\"integerValue\":\" 1\"}", "whole number");
  assert_refused(VALUE, "{\"integerValue\":true}", "number was expected");
  assert_refused(VALUE, "{\"integerValue\":1e400}", "whole number");
  assert_refused(VALUE, "{\"doubleValue\":1e400}", "fits");
  assert_refused(VALUE, "{\"doubleValue\":NaN}", "number was expected");
  assert_refused(VALUE, "{\"doubleValue\":01}", "number was expected");
  assert_refused(VALUE, "{\"doubleValue\":.5}", "number was expected");
  assert_refused(VALUE, "{\"booleanValue\":\"true\"}", "true or false");
  assert_refused(VALUE, "{\"booleanValue\":1}", "true or false");
  assert_refused(VALUE, "{\"stringValue\":1}", "a string");
  assert_refused(VALUE, "{\"bytesValue\":\"*\"}", "base64");
  assert_refused(VALUE, "{\"timestampValue\":\"2026-02-29T00:00:00Z\"}", "timestamp");
  assert_refused(VALUE, "{\"timestampValue\":\"yesterday\"}", "timestamp");
  assert_refused(VALUE, "{\"nullValue\":0,\"booleanValue\":true}", "alternatives");
  assert_refused(VALUE, "{\"booleanValue\":true,\"booleanValue\":true}", "more than one");
  assert_refused(VALUE, "{\"booleanValue\":true,\"boolean_value\":true}", "more than one");
  assert_refused(VALUE, "{\"arrayValue\":{\"values\":[null]}}", "null");
  assert_refused(VALUE, "{\"arrayValue\":{\"values\":{}}}", "array");
  assert_refused(DOCUMENT, "{\"fields\":{\"a\":null}}", "null");
  assert_refused(DOCUMENT, "{\"fields\":[]}", "object");
  assert_refused(DOCUMENT, "[]", "object");
  assert_refused(DOCUMENT, "{}x", "something follows");
  assert_refused(DOCUMENT, "{\"name\":\"a\",}", "nothing behind");
  assert_refused(DOCUMENT, "{\"name\"}", "colon");
  assert_refused(DOCUMENT, "{\"name\":\"a\"", "comma or the end");
  assert_refused(DOCUMENT, "{name:\"a\"}", "a string was expected");
  assert_refused(DOCUMENT, "null", "object");
  assert_refused("google.firestore.v1.StructuredQuery.FieldFilter", "{\"op\":\"ALMOST\"}", "does not know");
}

/* Clients of an older kind send what this program does not know. */
static void test_unknown_fields_passed_over(void **state) {
  (void)state;
  static const char *const passed[] = {
      "{\"unknown\":{\"a\":[1,{\"b\":\"}\"}],\"c\":null},\"stringValue\":\"x\",\"more\":[]}",
      "{\"a\":1,\"b\":-2.5e3,\"c\":true,\"d\":\"\\\"\",\"stringValue\":\"x\"}",
      "{\"stringValue\":\"x\",\"a\":1,\"a\":2}"};
  static const char *const broken[] = {"{\"unknown\":",    "{\"unknown\":[1",
                                       "{\"unknown\":}",   "{\"unknown\":1",
                                       "{\"unknown\":1}}", "{\"unknown\":]}",
                                       "{\"unknown\":1,}", "{\"stringValue\":\"x\",\"stringValue\":\"y\"}"};
  for (size_t i = 0; i < UNIT_COUNT(passed); i++) {
    struct buf wire = {0}, text = {0};
    assert_status_ok(json_read_known_fields(schema, type(VALUE), str_from_cstr(passed[i]), &wire));
    assert_true(json_write_message(schema, type(VALUE), buf_str(&wire), &text));
    assert_str_is(buf_str(&text), "{\"stringValue\":\"x\"}");
    buf_fini(&wire);
    buf_fini(&text);
  }
  for (size_t i = 0; i < UNIT_COUNT(broken); i++) {
    struct buf wire = {0};
    if (json_read_known_fields(schema, type(VALUE), str_from_cstr(broken[i]), &wire).code !=
        STATUS_INVALID_ARGUMENT)
      fail_msg("%s was taken", broken[i]);
    buf_fini(&wire);
  }
}

static void test_null_is_nothing(void **state) {
  (void)state;
  assert_becomes(DOCUMENT, "{\"name\":null,\"fields\":null,\"createTime\":null}", "{}");
  assert_becomes(DOCUMENT, "", "{}");
  assert_becomes(DOCUMENT, " \n", "{}");
}

static void test_enums_and_wrappers(void **state) {
  (void)state;
  assert_same("google.firestore.v1.StructuredQuery.FieldFilter",
              "{\"field\":{\"fieldPath\":\"a\"},\"op\":\"EQUAL\",\"value\":{\"integerValue\":\"1\"}}");
  assert_becomes("google.firestore.v1.StructuredQuery.FieldFilter", "{\"op\":5}", "{\"op\":\"EQUAL\"}");
  assert_becomes("google.firestore.v1.StructuredQuery.FieldFilter", "{\"op\":77}", "{\"op\":77}");
  assert_same("google.firestore.v1.StructuredQuery", "{\"limit\":0}"); /* an Int32Value that is set */
  assert_same("google.firestore.v1.StructuredQuery", "{\"limit\":5}");
  assert_becomes("google.firestore.v1.StructuredQuery", "{\"limit\":\"5\"}", "{\"limit\":5}");
  assert_becomes("google.firestore.v1.StructuredQuery", "{\"limit\":null}", "{}");
}

static void test_maps_and_lists(void **state) {
  (void)state;
  assert_same(ECHO, "{\"labels\":{\"a\":\"1\",\"b\":\"\"},\"maybe\":0,\"names\":[\"x\",\"\"]}");
  assert_becomes(ECHO, "{\"labels\":{},\"names\":[]}", "{}");
}

static void test_known_types(void **state) {
  (void)state;
  assert_same("google.rpc.RetryInfo", "{\"retryDelay\":\"-1.500s\"}");
  assert_same("google.protobuf.FieldMask", "\"a.bC,d\"");
  assert_same("google.protobuf.FloatValue", "0.1");
  assert_same("google.protobuf.FloatValue", "3.4e+38");
  assert_same("google.protobuf.FloatValue", "\"NaN\"");
  assert_refused("google.protobuf.FieldMask", "\"a_b\"", "fieldName");
  assert_same("google.protobuf.Struct", "{\"a\":null,\"b\":[1,\"x\",{\"c\":true}],\"d\":{}}");
  assert_same("google.rpc.Status",
              "{\"code\":3,\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
              "\"retryDelay\":\"1s\"},{\"@type\":\"type.googleapis.com/google.protobuf.Duration\","
              "\"value\":\"2s\"}]}");
  assert_becomes("google.protobuf.Any", "{\"retryDelay\":\"1s\",\"@type\":\"x/google.rpc.RetryInfo\"}",
                 "{\"@type\":\"x/google.rpc.RetryInfo\",\"retryDelay\":\"1s\"}");
  assert_refused("google.protobuf.Any", "{\"@type\":\"x/none.Such\"}", "unknown type");
  assert_refused("google.protobuf.Any", "{\"a\":1}", "@type");
}

static char *repeat(const char *left, const char *middle, const char *right, size_t times) {
  size_t l = strlen(left), m = strlen(middle), r = strlen(right);
  char *text = malloc(times * (l + r) + m + 1), *at = text;
  assert_non_null(text);
  for (size_t i = 0; i < times; i++, at += l)
    memcpy(at, left, l);
  memcpy(at, middle, m + 1);
  at += m;
  for (size_t i = 0; i < times; i++, at += r)
    memcpy(at, right, r + 1);
  return text;
}

static void test_depth(void **state) {
  (void)state;
  char *fine = repeat("{\"mapValue\":{\"fields\":{\"a\":", "{\"nullValue\":null}", "}}}", 22);
  assert_same(VALUE, fine);
  free(fine);
  static const char *const parts[][2] = {{"{\"mapValue\":{\"fields\":{\"a\":", "}}}"},
                                         {"{\"arrayValue\":{\"values\":[", "]}}"},
                                         {"[", "]"},
                                         {"{\"a\":", "}"}};
  static const char *const types[] = {VALUE, VALUE, "google.protobuf.Value", "google.protobuf.Value"};
  for (size_t i = 0; i < UNIT_COUNT(parts); i++) {
    char *deep = repeat(parts[i][0], i < 2 ? "{}" : "1", parts[i][1], 100000);
    assert_refused(types[i], deep, "too many");
    free(deep);
  }
  char *any = repeat("{\"@type\":\"a/google.protobuf.Any\",\"value\":", "{}", "}", 50000);
  assert_refused("google.protobuf.Any", any, "too many");
  free(any);
  assert_refused(VALUE, "{\"arrayValue\":{\"values\":[", "object");
}

/* Lengths that need one, two, three and four bytes, known only behind what they measure. */
static void test_sizes(void **state) {
  (void)state;
  for (size_t len = 1; len < 3000000; len = len * 3 + 7) {
    char *text = repeat("y", "", "", len);
    struct buf json = {0};
    buf_printf(&json, "{\"arrayValue\":{\"values\":[{\"stringValue\":\"");
    buf_append_str(&json, str_from_cstr(text));
    buf_printf(&json, "\"},{\"integerValue\":\"1\"}]}}");
    buf_append_byte(&json, 0);
    assert_same(VALUE, (char *)json.data);
    buf_fini(&json);
    free(text);
  }
}

static void test_room(void **state) {
  (void)state;
  struct buf wire = {.max_bytes = 64};
  char *text = repeat("y", "", "", 1000);
  struct buf json = {0};
  buf_printf(&json, "{\"stringValue\":\"%s\"}", text);
  assert_status_code(json_read_message(schema, type(VALUE), buf_str(&json), &wire),
                     STATUS_RESOURCE_EXHAUSTED);
  buf_fini(&wire);
  buf_fini(&json);
  free(text);
}

static void assert_parameters(const char *const (*pairs)[2], size_t count, const char *name,
                              const char *wanted) {
  struct buf wire = {0}, merged = {0}, text = {0};
  for (size_t i = 0; i < count; i++)
    assert_status_ok(json_read_parameter(schema, type(name), str_from_cstr(pairs[i][0]),
                                         str_from_cstr(pairs[i][1]), &wire));
  json_merge_fields(type(name), buf_str(&wire), &merged);
  assert_true(json_write_message(schema, type(name), buf_str(&merged), &text));
  assert_str_is(buf_str(&text), wanted);
  buf_fini(&wire);
  buf_fini(&merged);
  buf_fini(&text);
}

static void test_parameters(void **state) {
  (void)state;
  static const char *const pairs[][2] = {{"mask.fieldPaths", "a"},
                                         {"name", "n"},
                                         {"mask.field_paths", "b c"},
                                         {"readTime", "2026-01-01T00:00:00Z"}};
  assert_parameters(
      pairs, 4, "google.firestore.v1.GetDocumentRequest",
      "{\"name\":\"n\",\"readTime\":\"2026-01-01T00:00:00Z\",\"mask\":{\"fieldPaths\":[\"a\",\"b c\"]}}");
  static const char *const more[][2] = {
      {"pageSize", "7"}, {"showMissing", "true"}, {"transaction", "AAE="}, {"orderBy", ""}};
  assert_parameters(more, 4, "google.firestore.v1.ListDocumentsRequest",
                    "{\"pageSize\":7,\"showMissing\":true,\"transaction\":\"AAE=\",\"orderBy\":\"\"}");
  static const char *const bad[][2] = {
      {"nothing", "1"},    {"name.more", "1"},        {"mask", "a"},   {"mask.", "a"}, {"", "a"}, {".", "a"},
      {"readTime", "now"}, {"mask.fieldPaths.x", ""}, {"name", "\xff"}};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++) {
    struct buf wire = {0};
    assert_status_code(json_read_parameter(schema, type("google.firestore.v1.GetDocumentRequest"),
                                           str_from_cstr(bad[i][0]), str_from_cstr(bad[i][1]), &wire),
                       STATUS_INVALID_ARGUMENT);
    buf_fini(&wire);
  }
}

static void test_broken_wire(void **state) {
  (void)state;
  static const char *const broken[] = {"\x0a", "\x0a\x05z", "\x0a\x01\xff", "\x0b", "\x08"};
  for (size_t i = 0; i < UNIT_COUNT(broken); i++) {
    struct buf text = {0};
    assert_false(json_write_message(schema, type(DOCUMENT), str_from_cstr(broken[i]), &text));
    buf_fini(&text);
  }
  struct buf text = {0}; /* unknown fields and other wire types are passed over */
  assert_true(json_write_message(schema, type(DOCUMENT), STR("\x08\x01\x7a\x01z\x0a\x01n"), &text));
  assert_str_is(buf_str(&text), "{\"name\":\"n\"}");
  buf_fini(&text);
}

static void test_times(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "2026-08-01",
                                    "2026-08-01T12:00:00",
                                    "0000-01-01T00:00:00Z",
                                    "2026-13-01T00:00:00Z",
                                    "2026-00-01T00:00:00Z",
                                    "2026-04-31T00:00:00Z",
                                    "2026-08-01T24:00:00Z",
                                    "2026-08-01T00:60:00Z",
                                    "2026-08-01T00:00:60Z",
                                    "2026-08-01T00:00:00.Z",
                                    "2026-08-01T00:00:00.1234567890Z",
                                    "2026-08-01T00:00:00+1:00",
                                    "9999-12-31T23:59:59-00:01",
                                    "0001-01-01T00:00:00+00:01",
                                    "2026-08-01T00:00:00Zx"};
  int64_t seconds;
  int32_t nanos;
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    if (json_timestamp_read(str_from_cstr(bad[i]), &seconds, &nanos))
      fail_msg("\"%s\" was taken", bad[i]);
  for (int64_t at = -62135596800; at <= 253402300799; at += 86400 * 97 + 4711) {
    struct buf text = {0};
    assert_true(json_timestamp_write(at, 0, &text));
    assert_true(json_timestamp_read(buf_str(&text), &seconds, &nanos));
    assert_true(seconds == at && nanos == 0);
    buf_fini(&text);
  }
  assert_true(json_timestamp_read(STR("1970-01-01T00:00:00Z"), &seconds, &nanos) && seconds == 0);
  assert_true(json_timestamp_read(STR("2000-02-29t12:00:00z"), &seconds, &nanos) && seconds == 951825600);
  static const char *const durations[] = {
      "", "s", "1", "1.s", ".5s", "+1s", "1.1234567890s", "315576000001s", "--1s"};
  for (size_t i = 0; i < UNIT_COUNT(durations); i++)
    assert_false(json_duration_read(str_from_cstr(durations[i]), &seconds, &nanos));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_values),
      cmocka_unit_test(test_strings),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_unknown_fields_passed_over),
      cmocka_unit_test(test_null_is_nothing),
      cmocka_unit_test(test_enums_and_wrappers),
      cmocka_unit_test(test_maps_and_lists),
      cmocka_unit_test(test_known_types),
      cmocka_unit_test(test_depth),
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_room),
      cmocka_unit_test(test_parameters),
      cmocka_unit_test(test_broken_wire),
      cmocka_unit_test(test_times),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
