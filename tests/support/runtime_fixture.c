#include "tests/support/runtime_fixture.h"

#include <stdlib.h>
#include <time.h>

#include "ports/port.h"

int64_t runtime_now_us(void) {
  return port_linux()->monotonic_us(port_linux());
}

void runtime_sleep_ms(int ms) {
  struct timespec time = {ms / 1000, (ms % 1000) * 1000000L};
  nanosleep(&time, NULL);
}

int runtime_start_with(void **state, const struct rpc_server_options *options) {
  struct runtime_fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  assert_status_ok(rpc_server_new(options, &f->server));
  assert_status_ok(echo_service_add(&f->echo, f->server));
  assert_status_ok(rpc_server_start(f->server));
  f->channel = raw_channel_open(f->server, "192.0.2.7:1234");
  *state = f;
  return 0;
}

int runtime_start(void **state) {
  const struct rpc_server_options options = {
      .threads = 2, .message_bytes_max = 1 << 20, .call_memory_bytes_max = 4 << 20, .reflection = true};
  return runtime_start_with(state, &options);
}

int runtime_stop(void **state) {
  struct runtime_fixture *f = *state;
  raw_channel_close(&f->channel);
  rpc_server_drain(f->server, runtime_now_us() + 2000000);
  echo_service_fini(&f->echo);
  struct rpc_server_stats stats;
  rpc_server_stats(f->server, &stats);
  assert_int_equal(stats.calls_active, 0);
  rpc_server_free(f->server);
  free(f);
  return 0;
}

echo_request runtime_request(const char *text) {
  echo_request request = SKERRY__TEST__V1__ECHO_REQUEST__INIT;
  request.text = (char *)(uintptr_t)text;
  return request;
}

void runtime_pack(const echo_request *request, struct buf *out) {
  size_t size = skerry__test__v1__echo_request__get_packed_size(request);
  assert_true(buf_reserve(out, size + 1));
  out->len += skerry__test__v1__echo_request__pack(request, out->data + out->len);
}

bool runtime_send(struct raw_call *call, const echo_request *request) {
  struct buf bytes = {0};
  runtime_pack(request, &bytes);
  bool sent = raw_call_send(call, buf_str(&bytes));
  buf_fini(&bytes);
  return sent;
}

static echo_response *unpack(str bytes) {
  echo_response *response =
      skerry__test__v1__echo_response__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
  assert_non_null(response);
  return response;
}

echo_response *runtime_receive(struct raw_call *call) {
  str bytes;
  return raw_call_receive(call, &bytes, NULL) ? unpack(bytes) : NULL;
}

void runtime_expect(struct raw_call *call, const char *text, int32_t index) {
  echo_response *response = runtime_receive(call);
  assert_non_null(response);
  assert_string_equal(response->text, text);
  assert_int_equal(response->index, index);
  runtime_free(response);
}

status runtime_unary(struct runtime_fixture *f, const struct raw_options *options,
                     const echo_request *request, echo_response **ret) {
  struct buf bytes = {0}, response = {0};
  runtime_pack(request, &bytes);
  status result = raw_unary(&f->channel, UNARY, options, buf_str(&bytes), &response);
  if (ret != NULL)
    *ret = result.code == STATUS_OK ? unpack(buf_str(&response)) : NULL;
  buf_fini(&bytes);
  buf_fini(&response);
  return result;
}

void runtime_free(echo_response *response) {
  skerry__test__v1__echo_response__free_unpacked(response, NULL);
}
