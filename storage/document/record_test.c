#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <stdlib.h>

#include <cmocka.h>

#include "storage/document/record.h"
#include "storage/document/wire_build.h"

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  wire_build_init();
  arena_init(&arena, NULL, 0, 1 << 20);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  wire_build_fini();
  return 0;
}

static const int64_t END_US = INT64_C(253402300799999999);

static void records_are_kept(void **state) {
  (void)state;
  struct doc_record cases[] = {{0, 0, {NULL, 0}},
                               {1790000000123456, 1790000000123456, STR("fields")},
                               {1790000000123456, 1790000900000000, STR("\0\xFF")},
                               {0, END_US, STR("x")},
                               {END_US, END_US, STR("x")}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    str bytes;
    struct doc_record got;
    status s = doc_record_encode(&cases[i], &arena, &bytes);
    assert_true(status_is_ok(&s));
    assert_in_range(bytes.len, 10 + cases[i].fields.len, DOC_RECORD_HEADER_MAX_BYTES + cases[i].fields.len);
    s = doc_record_decode(bytes, &got);
    assert_true(status_is_ok(&s));
    assert_true(got.create_us == cases[i].create_us && got.update_us == cases[i].update_us);
    assert_true(str_eq(got.fields, cases[i].fields));
  }
}

static void the_format_is_fixed(void **state) {
  (void)state;
  struct doc_record record = {0x0102030405060708 % 100000000000000000,
                              0x0102030405060708 % 100000000000000000 + 300, STR("F")};
  str bytes;
  status s = doc_record_encode(&record, &arena, &bytes);
  assert_true(status_is_ok(&s));
  assert_int_equal(bytes.len, 1 + 8 + 2 + 1);
  uint64_t create = 0;
  for (size_t i = 0; i < 8; i++)
    create |= (uint64_t)(uint8_t)bytes.ptr[1 + i] << (8 * i);
  assert_int_equal(bytes.ptr[0], 1);
  assert_true((int64_t)create == record.create_us);
  assert_memory_equal(bytes.ptr + 9,
                      "\xAC\x02"
                      "F",
                      3);
}

static void damage_is_data_loss(void **state) {
  (void)state;
  str cases[] = {STR(""),
                 STR("\x02\0\0\0\0\0\0\0\0\0"),
                 STR("\x01\0\0\0\0\0\0\0"),
                 STR("\x01\0\0\0\0\0\0\0\0"),
                 STR("\x01\0\0\0\0\0\0\0\0\x80"),
                 STR("\x01\0\0\0\0\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),
                 STR("\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0"),
                 STR("\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F\0")};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct doc_record record;
    status s = doc_record_decode(cases[i], &record);
    assert_int_equal(s.code, STATUS_DATA_LOSS);
  }
}

static void a_document_message(void **state) {
  (void)state;
  str name = STR("projects/p/databases/d/documents/c/i"), fields = F("a", V_INT(1));
  struct {
    struct doc_record record;
    str create, update;
  } cases[] = {
      {{0, 1500000, fields}, NOTHING, JOIN(varint_field(1, 1), varint_field(2, 500000000))},
      {{2000000, 1790000000123456, fields},
       varint_field(1, 2),
       JOIN(varint_field(1, 1790000000), varint_field(2, 123456000))},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    str wanted =
        JOIN(raw_field(1, name), fields, raw_field(3, cases[i].create), raw_field(4, cases[i].update));
    size_t size = doc_document_wire_size(name, &cases[i].record);
    assert_int_equal(size, wanted.len);
    uint8_t *out = malloc(size);
    doc_document_wire_write(name, &cases[i].record, out);
    assert_memory_equal(out, wanted.ptr, size);
    free(out);
  }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(records_are_kept),
      TEST(the_format_is_fixed),
      TEST(damage_is_data_loss),
      TEST(a_document_message),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
