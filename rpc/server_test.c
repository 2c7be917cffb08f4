/* The runtime with a real client and a real service, in one process over socketpairs. */
#include <grpc/grpc.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/wire.h"
#include "ports/port.h"
#include "rpc/server.h"
#include "skerry/test/v1/test_service.skerry.h"
#include "tests/support/echo_service.h"
#include "tests/support/raw_client.h"
#include "tests/support/unit.h"

typedef Skerry__Test__V1__EchoRequest echo_request;
typedef Skerry__Test__V1__EchoResponse echo_response;

#define UNARY "/skerry.test.v1.Echo/Unary"
#define SERVER_STREAM "/skerry.test.v1.Echo/ServerStream"
#define CLIENT_STREAM "/skerry.test.v1.Echo/ClientStream"
#define BIDI "/skerry.test.v1.Echo/Bidi"

struct fixture {
  struct rpc_server *server;
  struct echo_service echo;
  struct raw_channel channel;
};

static int start_with(void **state, const struct rpc_server_options *options) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  assert_status_ok(rpc_server_new(options, &f->server));
  assert_status_ok(echo_service_add(&f->echo, f->server));
  assert_status_ok(rpc_server_start(f->server));
  f->channel = raw_channel_open(f->server, "192.0.2.7:1234");
  *state = f;
  return 0;
}

static int start(void **state) {
  const struct rpc_server_options options = {
      .threads = 2, .message_bytes_max = 1 << 20, .call_memory_bytes_max = 4 << 20};
  return start_with(state, &options);
}

static int stop(void **state) {
  struct fixture *f = *state;
  raw_channel_close(&f->channel);
  rpc_server_drain(f->server, port_linux()->monotonic_us(port_linux()) + 2000000);
  echo_service_fini(&f->echo);
  rpc_server_free(f->server);
  free(f);
  return 0;
}

static void pack(const echo_request *request, struct buf *out) {
  size_t size = skerry__test__v1__echo_request__get_packed_size(request);
  assert_true(buf_reserve(out, size));
  skerry__test__v1__echo_request__pack(request, out->data + out->len);
  out->len += size;
}

static echo_request text_request(const char *text) {
  echo_request request = SKERRY__TEST__V1__ECHO_REQUEST__INIT;
  request.text = (char *)(uintptr_t)text;
  return request;
}

static status call_unary(struct fixture *f, const struct raw_options *options, const echo_request *request,
                         echo_response **ret) {
  struct buf bytes = {0}, response = {0};
  pack(request, &bytes);
  status result = raw_unary(&f->channel, UNARY, options, buf_str(&bytes), &response);
  if (ret != NULL)
    *ret = result.code == STATUS_OK
               ? skerry__test__v1__echo_response__unpack(NULL, response.len, response.data)
               : NULL;
  buf_fini(&bytes);
  buf_fini(&response);
  return result;
}

/* ---- Unary ---- */

static void test_echoes(void **state) {
  echo_request request = text_request("hello");
  for (int i = 0; i < 50; i++) {
    echo_response *response;
    assert_status_ok(call_unary(*state, NULL, &request, &response));
    assert_string_equal(response->text, "hello");
    skerry__test__v1__echo_response__free_unpacked(response, NULL);
  }
}

static void test_finishes_from_another_thread(void **state) {
  echo_request request = text_request("later");
  for (int64_t delay_us = 1; delay_us < 2000; delay_us *= 3) {
    request.delay_us = delay_us;
    echo_response *response;
    assert_status_ok(call_unary(*state, NULL, &request, &response));
    assert_string_equal(response->text, "later");
    skerry__test__v1__echo_response__free_unpacked(response, NULL);
  }
}

static void test_unknown_method(void **state) {
  struct fixture *f = *state;
  status result = raw_unary(&f->channel, "/x/y", NULL, STR(""), NULL);
  assert_int_equal(result.code, STATUS_UNIMPLEMENTED);
  assert_string_equal(result.message, "unknown method /x/y");
}

static void test_error_with_details(void **state) {
  struct fixture *f = *state;
  echo_request request = text_request("");
  request.status_code = STATUS_NOT_FOUND;
  request.status_message = (char *)(uintptr_t) "nichts gefunden: \xc3\xa4 100%";
  struct buf bytes = {0};
  pack(&request, &bytes);
  struct raw_call *call = raw_call_open(&f->channel, UNARY, NULL);
  assert_true(raw_call_send(call, buf_str(&bytes)));
  raw_call_half_close(call);
  str none, details;
  assert_false(raw_call_receive(call, &none, NULL));
  status result = raw_call_finish(call);
  assert_int_equal(result.code, STATUS_NOT_FOUND);
  assert_string_equal(result.message, request.status_message);
  assert_true(raw_call_trailer(call, "grpc-status-details-bin", &details));
  assert_non_null(memmem(details.ptr, details.len, "type.googleapis.com/skerry.test.v1.EchoRequest", 46));
  assert_int_equal(details.ptr[0], 0x08);
  assert_int_equal(details.ptr[1], STATUS_NOT_FOUND);
  raw_call_free(call);
  buf_fini(&bytes);
}

static void test_metadata_both_ways(void **state) {
  struct fixture *f = *state;
  const struct raw_header headers[] = {{"echo-header", STR("value")},
                                       {"echo-trailer-bin", STR("\x00\xff\x01")}};
  struct raw_options options = {.headers = headers, .header_count = 2};
  echo_request request = text_request("x");
  request.echo_metadata = true;
  struct buf bytes = {0};
  pack(&request, &bytes);
  struct raw_call *call = raw_call_open(&f->channel, UNARY, &options);
  assert_true(raw_call_send(call, buf_str(&bytes)));
  raw_call_half_close(call);
  str body, value;
  assert_true(raw_call_receive(call, &body, NULL));
  echo_response *response =
      skerry__test__v1__echo_response__unpack(NULL, body.len, (const uint8_t *)body.ptr);
  assert_non_null(response);
  assert_string_equal(response->peer, "192.0.2.7:1234");
  bool found = false;
  for (size_t i = 0; i < response->n_metadata; i++)
    found = found || (strcmp(response->metadata[i]->key, "echo-header") == 0 &&
                      strcmp(response->metadata[i]->value, "value") == 0);
  assert_true(found);
  assert_status_ok(raw_call_finish(call));
  assert_true(raw_call_header(call, "echo-header", &value));
  assert_str_is(value, "value");
  assert_true(raw_call_trailer(call, "echo-trailer-bin", &value));
  assert_true(str_eq(value, STR("\x00\xff\x01")));
  raw_call_free(call);
  skerry__test__v1__echo_response__free_unpacked(response, NULL);
  buf_fini(&bytes);
}

static void test_deadline(void **state) {
  struct raw_options options = {.timeout_ms = 30};
  echo_request request = text_request("slow");
  request.delay_us = 200000;
  assert_status_code(call_unary(*state, &options, &request, NULL), STATUS_DEADLINE_EXCEEDED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_echoes, start, stop),
      cmocka_unit_test_setup_teardown(test_finishes_from_another_thread, start, stop),
      cmocka_unit_test_setup_teardown(test_unknown_method, start, stop),
      cmocka_unit_test_setup_teardown(test_error_with_details, start, stop),
      cmocka_unit_test_setup_teardown(test_metadata_both_ways, start, stop),
      cmocka_unit_test_setup_teardown(test_deadline, start, stop),
  };
  grpc_init();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
