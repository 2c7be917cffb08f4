#include "codegen/wire_read.h"
#include "tests/support/unit.h"

static void test_reads_every_type(void **state) {
  (void)state;
  str rest = STR("\x08\x96\x01" /* 1: 150 */
                 "\x12\x02hi"   /* 2: "hi" */
                 "\x19"
                 "12345678" /* 3: 64 bits */
                 "\x25"
                 "1234" /* 4: 32 bits */
                 "\x82\x7d\x00" /* 2000: "" */);
  struct wire_field field;
  assert_true(wire_next(&rest, &field));
  assert_int_equal(field.number, 1);
  assert_int_equal(field.value, 150);
  assert_true(wire_next(&rest, &field));
  assert_true(str_eq(field.bytes, STR("hi")));
  assert_int_equal(field.raw.len, 4);
  assert_true(wire_next(&rest, &field));
  assert_int_equal(field.type, WIRE_FIXED64);
  assert_true(wire_next(&rest, &field));
  assert_int_equal(field.type, WIRE_FIXED32);
  assert_true(wire_next(&rest, &field));
  assert_int_equal(field.number, 2000);
  assert_int_equal(field.bytes.len, 0);
  assert_false(wire_next(&rest, &field));
  assert_int_equal(rest.len, 0);
}

static void test_stops_at_what_is_no_field(void **state) {
  (void)state;
  const str bad[] = {
      STR("\x08"),                                             /* no value */
      STR("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* a varint without end */
      STR("\x12\x05hi"),                                       /* longer than there is */
      STR("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),     /* as long as can be */
      STR("\x0b\x0c"),                                         /* a group */
      STR("\x00\x00"),                                         /* number 0 */
      STR("\x19"
          "1234567"),
      STR("\x25"
          "123"),
  };
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    str rest = bad[i];
    struct wire_field field;
    assert_false(wire_next(&rest, &field));
    assert_int_equal(rest.len, bad[i].len);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reads_every_type),
      cmocka_unit_test(test_stops_at_what_is_no_field),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
