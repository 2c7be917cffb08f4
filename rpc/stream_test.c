/* Streams of all three kinds with a real client. */
#include <grpc/grpc.h>
#include <stdlib.h>

#include "rpc/server.h"
#include "tests/support/runtime_fixture.h"

static void test_server_stream(void **state) {
  struct runtime_fixture *f = *state;
  for (int repeat = 1; repeat <= 64; repeat *= 2) {
    struct raw_call *call = raw_call_open(&f->channel, SERVER_STREAM, NULL);
    echo_request request = runtime_request("s");
    request.repeat = repeat;
    assert_true(runtime_send(call, &request));
    raw_call_half_close(call);
    for (int i = 0; i < repeat; i++)
      runtime_expect(call, "s", i);
    assert_null(runtime_receive(call));
    assert_status_ok(raw_call_finish(call));
    raw_call_free(call);
  }
}

static void test_server_stream_from_another_thread(void **state) {
  struct runtime_fixture *f = *state;
  struct raw_call *call = raw_call_open(&f->channel, SERVER_STREAM, NULL);
  echo_request request = runtime_request("slow");
  request.repeat = 20;
  request.delay_us = 200;
  request.status_code = STATUS_ABORTED;
  request.status_message = (char *)(uintptr_t) "enough";
  assert_true(runtime_send(call, &request));
  raw_call_half_close(call);
  int got = 0;
  for (echo_response *response; (response = runtime_receive(call)) != NULL; got++)
    runtime_free(response);
  assert_true(got <= 20); /* an error drops what still waits */
  status result = raw_call_finish(call);
  assert_int_equal(result.code, STATUS_ABORTED);
  assert_string_equal(result.message, "enough");
  raw_call_free(call);
}

static void test_client_stream(void **state) {
  struct runtime_fixture *f = *state;
  for (int count = 0; count <= 9; count += 3) {
    struct raw_call *call = raw_call_open(&f->channel, CLIENT_STREAM, NULL);
    echo_request request = runtime_request("ab");
    for (int i = 0; i < count; i++)
      assert_true(runtime_send(call, &request));
    raw_call_half_close(call);
    runtime_expect(call,
                   count == 0   ? ""
                   : count == 3 ? "ababab"
                   : count == 6 ? "abababababab"
                                : "ababababababababab",
                   count);
    assert_null(runtime_receive(call));
    assert_status_ok(raw_call_finish(call));
    raw_call_free(call);
  }
}

static void test_client_stream_ends_early(void **state) {
  struct runtime_fixture *f = *state;
  struct raw_call *call = raw_call_open(&f->channel, CLIENT_STREAM, NULL);
  echo_request request = runtime_request("no");
  request.status_code = STATUS_PERMISSION_DENIED;
  assert_true(runtime_send(call, &request));
  assert_null(runtime_receive(call));
  assert_status_code(raw_call_finish(call), STATUS_PERMISSION_DENIED);
  raw_call_free(call);
}

static void test_bidi(void **state) {
  struct runtime_fixture *f = *state;
  const struct raw_header header = {"echo-header", STR("h")};
  const struct raw_options options = {.headers = &header, .header_count = 1};
  struct raw_call *call = raw_call_open(&f->channel, BIDI, &options);
  echo_request request = runtime_request("ping");
  for (int i = 0; i < 100; i += 2) {
    request.repeat = 2;
    assert_true(runtime_send(call, &request));
    runtime_expect(call, "ping", i);
    runtime_expect(call, "ping", i + 1);
  }
  raw_call_half_close(call);
  assert_null(runtime_receive(call));
  assert_status_ok(raw_call_finish(call));
  str value;
  assert_true(raw_call_header(call, "echo-header", &value));
  assert_str_is(value, "h");
  raw_call_free(call);
}

static void test_bidi_status_of_the_server(void **state) {
  struct runtime_fixture *f = *state;
  struct raw_call *call = raw_call_open(&f->channel, BIDI, NULL);
  echo_request request = runtime_request("x");
  request.status_code = STATUS_DATA_LOSS;
  assert_true(runtime_send(call, &request));
  assert_status_code(raw_call_finish(call), STATUS_DATA_LOSS);
  raw_call_free(call);
}

/* A client that does not read: the server's queue fills, and what it holds stays bounded. */
static void test_back_pressure(void **state) {
  const struct rpc_server_options options = {.threads = 1, .send_queue_bytes_max = 65536};
  runtime_start_with(state, &options);
  struct runtime_fixture *f = *state;
  struct raw_call *call = raw_call_open(&f->channel, SERVER_STREAM, NULL);
  char text[1001];
  memset(text, 'x', 1000);
  text[1000] = '\0';
  echo_request request = runtime_request(text);
  request.repeat = 20000; /* 20 MB */
  assert_true(runtime_send(call, &request));
  raw_call_half_close(call);
  eventually(atomic_load(&f->echo.refused) > 0);
  /* What fits between the two is taken in time; then it stands still: it does not spin, it waits to be told.
   */
  uint64_t refused, tries = 0;
  do {
    refused = atomic_load(&f->echo.refused);
    runtime_sleep_ms(100);
  } while (atomic_load(&f->echo.refused) != refused && ++tries < 50);
  assert_int_equal(atomic_load(&f->echo.refused), refused);
  for (int i = 0; i < 20000; i++)
    runtime_expect(call, text, i);
  assert_null(runtime_receive(call));
  assert_status_ok(raw_call_finish(call));
  raw_call_free(call);
  runtime_stop(state);
}

static void test_back_pressure_of_a_thread(void **state) {
  const struct rpc_server_options options = {.threads = 1, .send_queue_bytes_max = 65536};
  runtime_start_with(state, &options);
  struct runtime_fixture *f = *state;
  struct raw_call *call = raw_call_open(&f->channel, SERVER_STREAM, NULL);
  char text[4001];
  memset(text, 'y', 4000);
  text[4000] = '\0';
  echo_request request = runtime_request(text);
  request.repeat = 300;
  request.delay_us = 1;
  assert_true(runtime_send(call, &request));
  raw_call_half_close(call);
  for (int i = 0; i < 300; i++)
    runtime_expect(call, text, i);
  assert_null(runtime_receive(call));
  assert_status_ok(raw_call_finish(call));
  raw_call_free(call);
  runtime_stop(state);
}

struct wanted {
  const char *path;
  uint64_t messages_in;
};

static void count_messages(void *argument, const struct rpc_method_stats *stats) {
  struct wanted *wanted = argument;
  if (strcmp(stats->method->path, wanted->path) == 0)
    wanted->messages_in = stats->messages_in;
}

static uint64_t messages_in(struct runtime_fixture *f, const char *path) {
  struct wanted wanted = {.path = path};
  rpc_server_visit_methods(f->server, count_messages, &wanted);
  return wanted.messages_in;
}

static void test_cancel(void **state) {
  struct runtime_fixture *f = *state;
  const char *paths[] = {BIDI, SERVER_STREAM, CLIENT_STREAM};
  for (size_t i = 0; i < UNIT_COUNT(paths); i++) {
    bool has_responses = i < 2;
    uint64_t released = atomic_load(&f->echo.released), refused = atomic_load(&f->echo.refused);
    struct raw_call *call = raw_call_open(&f->channel, paths[i], NULL);
    echo_request request = runtime_request("x");
    request.repeat = 1 << 30; /* has no end, and nobody reads it */
    assert_true(runtime_send(call, &request));
    if (i == 1)
      raw_call_half_close(call);
    eventually(has_responses ? atomic_load(&f->echo.refused) > refused : messages_in(f, paths[i]) == 1);
    raw_call_cancel(call);
    assert_status_code(raw_call_finish(call), STATUS_CANCELLED);
    eventually(atomic_load(&f->echo.released) == released + 1);
    raw_call_free(call);
  }
  assert_int_equal(atomic_load(&f->echo.cancelled), 3);
}

static void test_deadline_of_a_stream(void **state) {
  struct runtime_fixture *f = *state;
  /* On a busy machine a short deadline is over before the server has heard of the call. */
  for (int timeout_ms = 40; timeout_ms < 20000 && atomic_load(&f->echo.released) == 0; timeout_ms *= 4) {
    const struct raw_options options = {.timeout_ms = timeout_ms};
    struct raw_call *call = raw_call_open(&f->channel, BIDI, &options);
    assert_status_code(raw_call_finish(call), STATUS_DEADLINE_EXCEEDED);
    raw_call_free(call);
  }
  eventually(atomic_load(&f->echo.released) > 0 &&
             atomic_load(&f->echo.cancelled) == atomic_load(&f->echo.released));
}

/* A message that cannot be read ends the call for the client; the handler hears that it was cancelled. */
static void test_malformed_message(void **state) {
  struct runtime_fixture *f = *state;
  struct raw_call *call = raw_call_open(&f->channel, BIDI, NULL);
  echo_request request = runtime_request("fine");
  assert_true(runtime_send(call, &request));
  runtime_expect(call, "fine", 0);
  raw_call_send(call, STR("\x0a\x05zz"));
  status result = raw_call_finish(call);
  assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
  assert_non_null(strstr(result.message, "EchoRequest"));
  eventually(atomic_load(&f->echo.released) == 1);
  raw_call_free(call);
}

static uint64_t calls_active(struct runtime_fixture *f) {
  struct rpc_server_stats stats;
  rpc_server_stats(f->server, &stats);
  return stats.calls_active;
}

/* Many streams that end in all ways at once, from other threads. */
static void test_churn(void **state) {
  struct runtime_fixture *f = *state;
  enum { CALLS = 40 };
  struct raw_call *calls[CALLS];
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < CALLS; i++) {
      calls[i] = raw_call_open(&f->channel, SERVER_STREAM, NULL);
      echo_request request = runtime_request("churn");
      request.repeat = i;
      request.delay_us = (i * 37) % 200;
      runtime_send(calls[i], &request);
      raw_call_half_close(calls[i]);
    }
    for (int i = 0; i < CALLS; i++) {
      if (i % 3 == 0)
        raw_call_cancel(calls[i]);
      if (i % 3 == 1)
        for (echo_response *response; (response = runtime_receive(calls[i])) != NULL;)
          runtime_free(response);
    }
    for (int i = 0; i < CALLS; i++)
      raw_call_free(calls[i]);
  }
  /* Those that were cancelled before the server saw their request had no handler. */
  eventually(calls_active(f) == 0);
  assert_true(atomic_load(&f->echo.released) >= 5 * CALLS / 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_server_stream, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_server_stream_from_another_thread, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_client_stream, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_client_stream_ends_early, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_bidi, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_bidi_status_of_the_server, runtime_start, runtime_stop),
      cmocka_unit_test(test_back_pressure),
      cmocka_unit_test(test_back_pressure_of_a_thread),
      cmocka_unit_test_setup_teardown(test_cancel, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_deadline_of_a_stream, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_malformed_message, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_churn, runtime_start, runtime_stop),
  };
  grpc_init();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
