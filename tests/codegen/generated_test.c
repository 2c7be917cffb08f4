/* What comes out of the generator for the files in golden/: tables, thunks, bindings, descriptors. That it
 * compiles and links is part of the test. */
#include <stdio.h>
#include <stdlib.h>

#include "codegen/wire_read.h"
#include "kinds.skerry.h"
#include "legacy.skerry.h"
#include "nopackage.skerry.h"
#include "odd.skerry.h"
#include "opaque.skerry.h"
#include "other/odd-name.v1.skerry.h"
#include "pbc_options.skerry.h"
#include "tests/codegen/tests.h"

/* ---- Tables ---- */

static void kinds_and_names(void **state) {
  (void)state;
  const struct rpc_service *library = &test_kinds_v1_library_service;
  static const struct {
    const char *name, *path;
    enum rpc_method_kind kind;
  } expected[] = {
      {"GetBook", "/test.kinds.v1.Library/GetBook", RPC_UNARY},
      {"ListBooks", "/test.kinds.v1.Library/ListBooks", RPC_SERVER_STREAM},
      {"AddBooks", "/test.kinds.v1.Library/AddBooks", RPC_CLIENT_STREAM},
      {"Chat", "/test.kinds.v1.Library/Chat", RPC_BIDI},
  };
  assert_string_equal(library->name, "test.kinds.v1.Library");
  assert_ptr_equal(library->file, &kinds_proto);
  assert_int_equal(library->method_count, TEST_KINDS_V1_LIBRARY_METHOD_COUNT);
  for (size_t i = 0; i < 4; i++) {
    const struct rpc_method *method = &library->methods[i];
    assert_string_equal(method->name, expected[i].name);
    assert_string_equal(method->path, expected[i].path);
    assert_int_equal(method->kind, expected[i].kind);
    assert_ptr_equal(method->service, library);
    assert_true((method->open != NULL) == (i >= 2));
    assert_true((method->half_close != NULL) == (i >= 2));
  }
  assert_ptr_equal(library->methods[2].request.descriptor, &test__kinds__v1__book__descriptor);
  assert_string_equal(library->methods[2].response.name, "test.kinds.v1.Count");
}

static void assert_rule(const struct rpc_http_rule *rule, const char *verb, const char *path,
                        const char *body, const char *response_body) {
  assert_string_equal(rule->verb, verb);
  assert_string_equal(rule->path, path);
  assert_string_equal(rule->body, body);
  assert_string_equal(rule->response_body, response_body);
}

static void http_bindings(void **state) {
  (void)state;
  const struct rpc_method *methods = test_kinds_v1_library_service.methods;
  assert_int_equal(methods[0].http_count, 3);
  assert_rule(&methods[0].http[0], "GET", "/v1/{name=shelves/*/books/*}", "", "");
  assert_rule(&methods[0].http[1], "GET", "/v1/{name=books/*}", "", "title");
  assert_rule(&methods[0].http[2], "PEEK", "/v1/peek", "*", "");
  /* Written as two options: they are one rule. */
  assert_int_equal(methods[1].http_count, 1);
  assert_rule(&methods[1].http[0], "POST", "/v1/books:list", "*", "");
  assert_int_equal(methods[2].http_count, 0);
  const struct rpc_method *odd = test_odd_package_v1beta2_http_gateway_service.methods;
  assert_rule(&odd[TEST_ODD_PACKAGE_V1BETA2_HTTP_GATEWAY_S3_BUCKET].http[0], "GET",
              "/v1/\"quoted\"\\?\?/\001{x=**}", "", "");
}

static void odd_names(void **state) {
  (void)state;
  const struct rpc_service *gateway = &test_odd_package_v1beta2_http_gateway_service;
  assert_string_equal(gateway->name, "test.odd_Package.v1beta2.HTTPGateway");
  assert_string_equal(other_pkg_http_gateway_service.name, "other.pkg.HTTPGateway");
  assert_string_equal(plain_service.name, "Plain");
  assert_string_equal(plain_service.methods[PLAIN_CALL].path, "/Plain/Call");
  assert_ptr_equal(plain_service.methods[PLAIN_ODD].response.descriptor, &test__legacy__old__descriptor);
  assert_int_equal(test_odd_package_v1beta2_nothing_service.method_count, 0);
  assert_null(test_odd_package_v1beta2_nothing_service.methods);
  assert_ptr_equal(test_pbc_options_optioned_service.methods[0].request.descriptor,
                   &short__c2__message__descriptor);
}

/* The rpc descriptors name the type that protobuf-c's descriptor has: our naming is its naming. */
static void types_are_the_right_ones(void **state) {
  (void)state;
  const struct rpc_service *const services[] = {&test_kinds_v1_library_service,
                                                &test_odd_package_v1beta2_http_gateway_service,
                                                &plain_service,
                                                &test_legacy_legacy_service,
                                                &test_opaque_store_service,
                                                &other_pkg_http_gateway_service};
  for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
    for (size_t k = 0; k < services[i]->method_count; k++) {
      const struct rpc_type *types[] = {&services[i]->methods[k].request, &services[i]->methods[k].response};
      for (size_t t = 0; t < 2; t++) {
        if (types[t]->descriptor != NULL)
          assert_string_equal(types[t]->descriptor->name, types[t]->name);
      }
    }
  }
}

/* ---- Thunks ---- */

static struct {
  int get, open, message, half_close;
  const void *argument;
} seen;

static void on_get(struct rpc_call *call, const Test__Kinds__V1__GetBookRequest *request) {
  (void)call;
  seen.get++;
  seen.argument = request;
}
static void on_open(struct rpc_call *call) {
  (void)call;
  seen.open++;
}
static void on_message(struct rpc_call *call, const Test__Kinds__V1__Book *book) {
  (void)call;
  seen.message++;
  seen.argument = book;
}
static void on_half_close(struct rpc_call *call) {
  (void)call;
  seen.half_close++;
}

static void thunks_reach_the_handlers(void **state) {
  (void)state;
  const struct test_kinds_v1_library_handlers handlers = {
      .get_book = on_get,
      .chat = {.open = on_open, .message = on_message, .half_close = on_half_close},
  };
  const struct rpc_method *methods = test_kinds_v1_library_service.methods;
  assert_true(methods[TEST_KINDS_V1_LIBRARY_GET_BOOK].is_implemented(&handlers));
  assert_false(methods[TEST_KINDS_V1_LIBRARY_LIST_BOOKS].is_implemented(&handlers));
  assert_false(methods[TEST_KINDS_V1_LIBRARY_ADD_BOOKS].is_implemented(&handlers));
  const struct rpc_method *chat = &methods[TEST_KINDS_V1_LIBRARY_CHAT];
  assert_true(chat->is_implemented(&handlers));

  Test__Kinds__V1__GetBookRequest request = TEST__KINDS__V1__GET_BOOK_REQUEST__INIT;
  methods[TEST_KINDS_V1_LIBRARY_GET_BOOK].message(NULL, &handlers, &request);
  assert_int_equal(seen.get, 1);
  assert_ptr_equal(seen.argument, &request);
  Test__Kinds__V1__Book book = TEST__KINDS__V1__BOOK__INIT;
  chat->open(NULL, &handlers);
  chat->message(NULL, &handlers, &book);
  assert_ptr_equal(seen.argument, &book);
  chat->half_close(NULL, &handlers);
  assert_int_equal(seen.open + seen.message + seen.half_close, 3);
}

static void a_stream_needs_not_all_handlers(void **state) {
  (void)state;
  const struct test_kinds_v1_library_handlers handlers = {.add_books = {.open = on_open}};
  const struct rpc_method *add = &test_kinds_v1_library_service.methods[TEST_KINDS_V1_LIBRARY_ADD_BOOKS];
  assert_true(add->is_implemented(&handlers));
  Test__Kinds__V1__Book book = TEST__KINDS__V1__BOOK__INIT;
  add->message(NULL, &handlers, &book);
  add->half_close(NULL, &handlers);
}

/* A field called like protobuf-c's own member. */
static void a_field_called_base(void **state) {
  (void)state;
  Test__OddPackage__V1beta2__Based based = TEST__ODD__PACKAGE__V1BETA2__BASED__INIT;
  char text[] = "text";
  based.base = text;
  uint8_t bytes[16];
  assert_int_equal(protobuf_c_message_pack((const ProtobufCMessage *)&based, bytes), 6);
}

/* ---- Descriptors ---- */

static const struct rpc_file *find_file(const struct rpc_file *file, str name) {
  if (str_eq(name, str_from_cstr(file->name)))
    return file;
  for (size_t i = 0; i < file->dependency_count; i++) {
    const struct rpc_file *found = find_file(file->dependencies[i], name);
    if (found != NULL)
      return found;
  }
  return NULL;
}

static const struct rpc_file *find_any(str name) {
  const struct rpc_file *const files[] = {&kinds_proto, &nopackage_proto, &opaque_proto, &pbc_options_proto};
  for (size_t i = 0; i < 4; i++) {
    const struct rpc_file *found = find_file(files[i], name);
    if (found != NULL)
      return found;
  }
  return NULL;
}

static str read_descriptor_set(uint8_t *buffer, size_t size) {
  FILE *file = fopen(DESCRIPTOR_SET, "rb");
  assert_non_null(file);
  size_t len = fread(buffer, 1, size, file);
  fclose(file);
  assert_true(len > 0 && len < size);
  return str_make(buffer, len);
}

/* google.protobuf.FileDescriptorSet is repeated field 1 of files, whose field 1 is the name. */
static void descriptors_are_what_protoc_says(void **state) {
  (void)state;
  enum { SIZE = 1 << 20 };
  uint8_t *buffer = malloc(SIZE);
  assert_non_null(buffer);
  str set = read_descriptor_set(buffer, SIZE);
  size_t files = 0;
  for (struct wire_field field; wire_next(&set, &field); files++) {
    str descriptor = field.bytes;
    struct wire_field name;
    assert_true(wire_next(&descriptor, &name));
    assert_int_equal(name.number, 1);
    const struct rpc_file *file = find_any(name.bytes);
    assert_non_null(file);
    assert_int_equal(file->descriptor.len, field.bytes.len);
    assert_memory_equal(file->descriptor.ptr, field.bytes.ptr, field.bytes.len);
  }
  assert_int_equal(set.len, 0);
  assert_int_equal(files, 12);
  free(buffer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kinds_and_names),
      cmocka_unit_test(http_bindings),
      cmocka_unit_test(odd_names),
      cmocka_unit_test(types_are_the_right_ones),
      cmocka_unit_test(thunks_reach_the_handlers),
      cmocka_unit_test(a_stream_needs_not_all_handlers),
      cmocka_unit_test(a_field_called_base),
      cmocka_unit_test(descriptors_are_what_protoc_says),
  };
  int failed = cmocka_run_group_tests_name("generated", tests, NULL, NULL);
  return failed + presence_tests() + opaque_tests();
}
