/* Opaque messages go through untouched, whatever is in them: what protobuf-c would change stays. */
#include "aside.skerry.h"
#include "inherit.skerry.h"
#include "opaque.skerry.h"
#include "tests/codegen/tests.h"

/* A Document {name = "a\0b"} with the same map key twice and a field that nobody knows. */
#define DOCUMENT                                                                                             \
  0x0a, 0x03, 'a', 0x00, 'b', 0x12, 0x07, 0x0a, 0x01, 'k', 0x12, 0x02, 0x0a, 0x00, 0x12, 0x07, 0x0a, 0x01,   \
      'k', 0x12, 0x02, 0x0a, 0x00, 0xf8, 0x07, 0x01
enum { DOCUMENT_BYTES = 26 };

/* In the order of field numbers, which is the one in which protobuf-c writes. */
static const uint8_t holder_bytes[] = {
    0x0a,
    DOCUMENT_BYTES,
    DOCUMENT, /* one */
    0x12,
    DOCUMENT_BYTES,
    DOCUMENT, /* many */
    0x12,
    0x00, /* many: an empty one */
    0x1a,
    DOCUMENT_BYTES + 5,
    0x0a,
    0x01,
    'k',
    0x12,
    DOCUMENT_BYTES,
    DOCUMENT, /* by_name: a raw entry */
    0x1a,
    0x03,
    0x0a,
    0x01,
    'k', /* by_name: the key again, without a value */
    0x2a,
    0x02,
    0x0a,
    0x00, /* choice: value */
    0x3a,
    0x00, /* maybe: there, and empty */
    0x40,
    0x05, /* after */
    0x4a,
    0x06,
    0x0a,
    0x04,
    0x0a,
    0x02,
    0xff,
    0x00, /* nested.values: text of invalid UTF-8 */
};

static void bytes_come_back_as_they_were(void **state) {
  (void)state;
  static const uint8_t document[] = {DOCUMENT};
  Test__Opaque__Holder *holder = test__opaque__holder__unpack(NULL, sizeof(holder_bytes), holder_bytes);
  assert_non_null(holder);
  assert_int_equal(holder->one.len, sizeof(document));
  assert_memory_equal(holder->one.data, document, sizeof(document));
  assert_int_equal(holder->n_many, 2);
  assert_memory_equal(holder->many[0].data, document, sizeof(document));
  assert_int_equal(holder->many[1].len, 0);
  assert_int_equal(holder->n_by_name, 2);
  assert_int_equal(holder->by_name[0].len, sizeof(document) + 5);
  assert_int_equal(holder->by_name[1].len, 3);
  assert_int_equal(holder->after, 5);
  assert_int_equal(holder->nested->n_values, 1);
  assert_int_equal(holder->choice_case, TEST__OPAQUE__HOLDER__CHOICE_VALUE);
  assert_int_equal(holder->value.len, 2);
  assert_int_equal(holder->_maybe_case, TEST__OPAQUE__HOLDER___MAYBE_MAYBE);

  uint8_t again[sizeof(holder_bytes)];
  assert_int_equal(test__opaque__holder__get_packed_size(holder), sizeof(holder_bytes));
  test__opaque__holder__pack(holder, again);
  assert_memory_equal(again, holder_bytes, sizeof(again));
  test__opaque__holder__free_unpacked(holder, NULL);
}

static const struct rpc_method *method(size_t index) {
  return &test_opaque_store_service.methods[index];
}

static void the_table_has_no_descriptor_for_them(void **state) {
  (void)state;
  assert_null(method(TEST_OPAQUE_STORE_GET)->response.descriptor);
  assert_string_equal(method(TEST_OPAQUE_STORE_GET)->response.name, "test.opaque.Document");
  assert_ptr_equal(method(TEST_OPAQUE_STORE_GET)->request.descriptor, &test__opaque__holder__descriptor);
  assert_null(method(TEST_OPAQUE_STORE_PUT)->request.descriptor);
  assert_null(method(TEST_OPAQUE_STORE_SYNC)->request.descriptor);
  assert_string_equal(method(TEST_OPAQUE_STORE_SYNC)->response.name, "test.opaque.Value");
}

static const str *seen;

static void on_put(struct rpc_call *call, const str *request) {
  (void)call;
  seen = request;
}

static void handlers_get_a_str(void **state) {
  (void)state;
  const struct test_opaque_store_handlers handlers = {.put = on_put, .sync = {.message = on_put}};
  str bytes = STR("bytes");
  method(TEST_OPAQUE_STORE_PUT)->message(NULL, &handlers, &bytes);
  assert_ptr_equal(seen, &bytes);
  seen = NULL;
  method(TEST_OPAQUE_STORE_SYNC)->message(NULL, &handlers, &bytes);
  assert_ptr_equal(seen, &bytes);
}

static void other_targets_inherit_them(void **state) {
  (void)state;
  const struct rpc_method *store = &test_inherit_archive_service.methods[TEST_INHERIT_ARCHIVE_STORE];
  assert_null(store->request.descriptor);
  Test__Inherit__Stored stored = TEST__INHERIT__STORED__INIT;
  stored.document = (ProtobufCBinaryData){0, NULL};
  assert_int_equal(test__inherit__stored__get_packed_size(&stored), 0);
  assert_string_equal(aside_proto.name, "aside.proto");
}

int opaque_tests(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_come_back_as_they_were),
      cmocka_unit_test(the_table_has_no_descriptor_for_them),
      cmocka_unit_test(handlers_get_a_str),
      cmocka_unit_test(other_targets_inherit_them),
  };
  return cmocka_run_group_tests_name("opaque", tests, NULL, NULL);
}
