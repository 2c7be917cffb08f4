#include "base/limits.h"
#include "base/wire.h"
#include "rpc/wire_check.h"
#include "skerry/test/v1/test_service.skerry.h"
#include "tests/support/unit.h"

#define TYPE (&skerry__test__v1__echo_request__descriptor)

static void expect(str bytes, const char *wanted) {
  status result = wire_check(TYPE, bytes);
  if (wanted == NULL) {
    assert_status_ok(result);
    return;
  }
  assert_status_code(result, STATUS_INVALID_ARGUMENT);
  if (strstr(result.message, wanted) == NULL)
    fail_msg("\"%s\" has no \"%s\"", result.message, wanted);
}

static void test_accepts(void **state) {
  (void)state;
  expect(str_make(NULL, 0), NULL);
  expect(STR("\x0a\x02hi\x12\x03\xff\x00\xfe\x18\x05\x48\x01\x58\x01"), NULL); /* bytes are not text */
  expect(STR("\x42\x08\x0a\x01k\x12\x03v\xc3\xa4\x52\x01n\x52\x01m"), NULL);
  expect(STR("\x3a\x04\x3a\x02\x3a\x00"), NULL);
  expect(STR("\xf8\x07\x01\xf9\x07"
             "12345678"
             "\xfa\x07\x02\xff\x00\xfd\x07"
             "1234"),
         NULL);                                                      /* unknown fields */
  expect(STR("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), NULL); /* -1 as int32 */
}

static void test_refuses_malformed(void **state) {
  (void)state;
  expect(STR("\x0a"), "length");
  expect(STR("\x0a\x02x"), "length");
  expect(STR("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"), "length");
  expect(STR("\x02\x01x"), "tag"); /* field 0 */
  expect(STR("\x80"), "tag");
  expect(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "tag");
  expect(STR("\x80\x80\x80\x80\x80\x01"), "tag"); /* over 32 bits */
  expect(STR("\x18"), "varint");
  expect(STR("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "varint");
  expect(STR("\xf9\x07"
             "1234567"),
         "number");
  expect(STR("\xfd\x07"
             "123"),
         "number");
  expect(STR("\xfb\x07\xfc\x07"), "group");
  expect(STR("\xfe\x07"), "group");
  expect(STR("\x3a\x02\x0a\x05"), "length"); /* past the end of the inner message, not of the outer */
}

static void test_refuses_strings(void **state) {
  (void)state;
  expect(STR("\x0a\x01\xff"), "field \"text\" of skerry.test.v1.EchoRequest is not valid UTF-8");
  expect(STR("\x0a\x03"
             "a\0b"),
         "field \"text\" of skerry.test.v1.EchoRequest holds the character U+0000");
  expect(STR("\x3a\x03\x0a\x01\xff"), "field \"text\"");
  expect(STR("\x52\x01\xff"), "field \"names\"");
  expect(STR("\x42\x03\x12\x01\xff"), "field \"value\" of skerry.test.v1.EchoRequest.LabelsEntry");
}

static void test_refuses_wire_types(void **state) {
  (void)state;
  expect(STR("\x08\x01"), "field \"text\" of skerry.test.v1.EchoRequest has the wrong wire type");
  expect(STR("\x1a\x01\x01"), "field \"repeat\"");
  expect(STR("\x3d"
             "1234"),
         "field \"nested\"");
  expect(STR("\x19"
             "12345678"),
         "field \"repeat\"");
}

/* `depth` messages in each other. */
static status check_depth(int depth) {
  static uint8_t bytes[65536];
  uint8_t *end = bytes + sizeof bytes;
  size_t size = 0;
  for (int i = 1; i < depth; i++) {
    uint8_t head[16];
    size_t len = (size_t)(wire_put_bytes_head(head, 7, size) - head);
    size += len;
    memcpy(end - size, head, len);
  }
  return wire_check(TYPE, str_make(end - size, size));
}

static void test_depth(void **state) {
  (void)state;
  assert_status_ok(check_depth(LIMIT_MESSAGE_DEPTH - 1));
  assert_status_ok(check_depth(LIMIT_MESSAGE_DEPTH));
  assert_status_code(check_depth(LIMIT_MESSAGE_DEPTH + 1), STATUS_INVALID_ARGUMENT);
  assert_status_code(check_depth(10000), STATUS_INVALID_ARGUMENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_accepts),         cmocka_unit_test(test_refuses_malformed),
      cmocka_unit_test(test_refuses_strings), cmocka_unit_test(test_refuses_wire_types),
      cmocka_unit_test(test_depth),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
