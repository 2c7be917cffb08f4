/* The runtime with a real client and a real service, in one process over socketpairs. */
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdlib.h>

#include "rpc/server.h"
#include "tests/support/runtime_fixture.h"

/* ---- Unary ---- */

static void test_echoes(void **state) {
  echo_request request = runtime_request("hello");
  for (int i = 0; i < 50; i++) {
    echo_response *response;
    assert_status_ok(runtime_unary(*state, NULL, &request, &response));
    assert_string_equal(response->text, "hello");
    runtime_free(response);
  }
}

static void test_finishes_from_another_thread(void **state) {
  echo_request request = runtime_request("later");
  for (int64_t delay_us = 1; delay_us < 2000; delay_us *= 3) {
    request.delay_us = delay_us;
    echo_response *response;
    assert_status_ok(runtime_unary(*state, NULL, &request, &response));
    assert_string_equal(response->text, "later");
    runtime_free(response);
  }
}

static void test_unknown_method(void **state) {
  struct runtime_fixture *f = *state;
  status result = raw_unary(&f->channel, "/x/y", NULL, STR(""), NULL);
  assert_int_equal(result.code, STATUS_UNIMPLEMENTED);
  assert_string_equal(result.message, "unknown method /x/y");
}

static void test_error_with_details(void **state) {
  struct runtime_fixture *f = *state;
  echo_request request = runtime_request("");
  request.status_code = STATUS_NOT_FOUND;
  request.status_message = (char *)(uintptr_t) "nichts gefunden: \xc3\xa4 100%";
  struct buf bytes = {0};
  runtime_pack(&request, &bytes);
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
  struct runtime_fixture *f = *state;
  const struct raw_header headers[] = {{"echo-header", STR("value")},
                                       {"echo-trailer-bin", STR("\x00\xff\x01")}};
  struct raw_options options = {.headers = headers, .header_count = 2};
  echo_request request = runtime_request("x");
  request.echo_metadata = true;
  struct buf bytes = {0};
  runtime_pack(&request, &bytes);
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
  runtime_free(response);
  buf_fini(&bytes);
}

static void test_deadline(void **state) {
  struct raw_options options = {.timeout_ms = 30};
  echo_request request = runtime_request("slow");
  request.delay_us = 200000;
  assert_status_code(runtime_unary(*state, &options, &request, NULL), STATUS_DEADLINE_EXCEEDED);
}

/* ---- Health ---- */

#define CHECK "/grpc.health.v1.Health/Check"
#define WATCH "/grpc.health.v1.Health/Watch"
#define REFLECTION "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define REFLECTION_ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
#define ECHO_NAME "skerry.test.v1.Echo"
#define ECHO_REQUEST "\x0a\x13" ECHO_NAME

static void expect_health(struct runtime_fixture *f, str request, const char *wanted) {
  struct buf response = {0};
  assert_status_ok(raw_unary(&f->channel, CHECK, NULL, request, &response));
  assert_int_equal(response.len, strlen(wanted));
  assert_memory_equal(response.data, wanted, response.len);
  buf_fini(&response);
}

static void test_health(void **state) {
  struct runtime_fixture *f = *state;
  expect_health(f, STR(""), "\x08\x02");
  rpc_server_set_serving(f->server, "", true);
  expect_health(f, STR(""), "\x08\x01");
  expect_health(f, STR(ECHO_REQUEST), "\x08\x02");
  rpc_server_set_serving(f->server, ECHO_NAME, true);
  expect_health(f, STR(ECHO_REQUEST), "\x08\x01");
  assert_status_code(raw_unary(&f->channel, CHECK, NULL, STR("\x0a\x01x"), NULL), STATUS_NOT_FOUND);
  struct buf response = {0};
  assert_status_ok(raw_unary(&f->channel, "/grpc.health.v1.Health/List", NULL, STR(""), &response));
  assert_non_null(memmem(response.data, response.len, ECHO_NAME, strlen(ECHO_NAME)));
  buf_fini(&response);
}

static void expect_bytes(struct raw_call *call, const char *wanted) {
  str bytes;
  assert_true(raw_call_receive(call, &bytes, NULL));
  assert_int_equal(bytes.len, strlen(wanted));
  assert_memory_equal(bytes.ptr, wanted, bytes.len);
}

static struct raw_call *open_with(struct runtime_fixture *f, const char *path, str request) {
  struct raw_call *call = raw_call_open(&f->channel, path, NULL);
  assert_true(raw_call_send(call, request));
  raw_call_half_close(call);
  return call;
}

static void test_health_watch(void **state) {
  struct runtime_fixture *f = *state;
  struct raw_call *echo = open_with(f, WATCH, STR(ECHO_REQUEST)),
                  *unknown = open_with(f, WATCH, STR("\x0a\x01x"));
  struct raw_call *gone = open_with(f, WATCH, STR(""));
  expect_bytes(echo, "\x08\x02");
  expect_bytes(unknown, "\x08\x03");
  expect_bytes(gone, "\x08\x02");
  raw_call_cancel(gone);
  raw_call_free(gone);
  for (int i = 0; i < 20; i++) {
    rpc_server_set_serving(f->server, ECHO_NAME, true);
    expect_bytes(echo, "\x08\x01");
    rpc_server_set_serving(f->server, ECHO_NAME, false);
    expect_bytes(echo, "\x08\x02");
  }
  rpc_server_set_serving(f->server, ECHO_NAME, true);
  expect_bytes(echo, "\x08\x01");
  rpc_server_drain(f->server, runtime_now_us() + 5000000);
  expect_bytes(echo, "\x08\x02"); /* watchers hear of the end, and their streams do not hold it up */
  str none;
  assert_false(raw_call_receive(echo, &none, NULL));
  assert_status_ok(raw_call_finish(echo));
  raw_call_free(echo);
  raw_call_free(unknown);
}

/* ---- Reflection ---- */

static void test_reflection(void **state) {
  struct runtime_fixture *f = *state;
  const char *paths[] = {REFLECTION, REFLECTION_ALPHA};
  for (size_t i = 0; i < UNIT_COUNT(paths); i++) {
    struct raw_call *call = raw_call_open(&f->channel, paths[i], NULL);
    const struct {
      str request;
      const char *part;
    } cases[] = {
        {STR("\x3a\x01*"), ECHO_NAME},
        {STR("\x3a\x01*"), "grpc.reflection.v1alpha.ServerReflection"},
        {STR("\x22\x13" ECHO_NAME), "skerry/test/v1/test_service.proto"},
        {STR("\x22\x13" ECHO_NAME), "google/protobuf/descriptor.proto"}, /* with what it imports */
        {STR("\x22\x19" ECHO_NAME ".Unary"), "skerry/test/v1/test_service.proto"},
        {STR("\x22\x14." ECHO_NAME), "skerry/test/v1/test_service.proto"},
        {STR("\x22\x2a"
             "skerry.test.v1.EchoRequest.LabelsEntry.key"),
         "skerry/test/v1/test_service.proto"},
        {STR("\x22\x15"
             "google.api.http.absent"),
         "unknown symbol: google.api.http.absent"},
        {STR("\x1a\x21skerry/test/v1/test_service.proto"), ECHO_NAME},
        {STR("\x1a\x03x/y"), "unknown file: x/y"},
        {STR("\x2a\x24\x0a\x1egoogle.protobuf.MethodOptions\x10\xb0\xca\xbc\x22"),
         "google/api/annotations.proto"},
        {STR("\x2a\x22\x0a\x1egoogle.protobuf.MethodOptions\x10\x05"), "no such extension"},
        {STR("\x32\x1dgoogle.protobuf.MethodOptions"), "\xb0\xca\xbc\x22"},
        {STR("\x32\x01x"), "unknown type: x"},
        {STR(""), "asks for nothing"},
    };
    for (size_t k = 0; k < UNIT_COUNT(cases); k++) {
      str response, request = cases[k].request;
      char fixed[128];
      assert_true(request.len < sizeof fixed);
      if (request.len > 2) { /* lengths of the nested fields, so that nobody counts bytes by hand */
        memcpy(fixed, request.ptr, request.len);
        fixed[1] = (char)(request.len - 2);
        if (fixed[0] == 0x2a)
          fixed[3] = (char)strlen("google.protobuf.MethodOptions");
        request.ptr = fixed;
      }
      assert_true(raw_call_send(call, request));
      assert_true(raw_call_receive(call, &response, NULL));
      if (memmem(response.ptr, response.len, cases[k].part, strlen(cases[k].part)) == NULL)
        fail_msg("case %zu: no \"%s\" in %zu bytes", k, cases[k].part, response.len);
    }
    raw_call_half_close(call);
    assert_status_ok(raw_call_finish(call));
    raw_call_free(call);
  }
}

/* ---- Drain ---- */

struct drainer {
  struct rpc_server *server;
  int64_t wait_us, took_us;
};

static void *drain(void *argument) {
  struct drainer *d = argument;
  int64_t start = runtime_now_us();
  rpc_server_drain(d->server, start + d->wait_us);
  d->took_us = runtime_now_us() - start;
  return NULL;
}

static void test_drain_waits_for_calls(void **state) {
  struct runtime_fixture *f = *state;
  echo_request request = runtime_request("under way");
  request.delay_us = 150000;
  struct raw_call *call = raw_call_open(&f->channel, UNARY, NULL);
  assert_true(runtime_send(call, &request));
  raw_call_half_close(call);
  eventually(atomic_load(&f->echo.threads) == 1);
  struct drainer d = {f->server, 10000000, 0};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, drain, &d), 0);
  runtime_sleep_ms(30);
  request.delay_us = 0; /* new calls are refused, the old one gets its answer */
  assert_status_code(runtime_unary(f, NULL, &request, NULL), STATUS_UNAVAILABLE);
  runtime_expect(call, "under way", 0);
  assert_status_ok(raw_call_finish(call));
  pthread_join(thread, NULL);
  assert_true(d.took_us < 2000000);
  raw_call_free(call);
}

static void test_drain_cancels_at_the_deadline(void **state) {
  struct runtime_fixture *f = *state;
  struct raw_call *call = raw_call_open(&f->channel, BIDI, NULL);
  echo_request request = runtime_request("open");
  assert_true(runtime_send(call, &request));
  runtime_expect(call, "open", 0);
  struct drainer d = {f->server, 100000, 0};
  drain(&d);
  assert_true(d.took_us >= 90000 && d.took_us < 3000000);
  assert_int_not_equal(raw_call_finish(call).code, STATUS_OK);
  assert_int_equal(atomic_load(&f->echo.released), 1);
  raw_call_free(call);
}

static void test_second_drain_is_earlier(void **state) {
  struct runtime_fixture *f = *state;
  struct raw_call *call = raw_call_open(&f->channel, BIDI, NULL);
  echo_request request = runtime_request("open");
  assert_true(runtime_send(call, &request));
  runtime_expect(call, "open", 0);
  struct drainer slow = {f->server, 60000000, 0};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, drain, &slow), 0);
  runtime_sleep_ms(30);
  struct drainer quick = {f->server, 0, 0};
  drain(&quick);
  pthread_join(thread, NULL);
  assert_true(slow.took_us < 5000000);
  raw_call_free(call);
}

/* ---- Settings and counts ---- */

static void test_refuses_settings(void **state) {
  (void)state;
  struct rpc_server *server;
  const struct rpc_server_options bad[] = {{.threads = 65},
                                           {.message_bytes_max = 1},
                                           {.call_memory_bytes_max = 1},
                                           {.metadata_bytes_max = 1 << 20},
                                           {.streams_per_connection_max = 10001},
                                           {.send_queue_bytes_max = 1},
                                           {.calls_max = 1},
                                           {.keepalive_ms = 1},
                                           {.keepalive_timeout_ms = 1},
                                           {.connection_age_max_ms = 1}};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_status_code(rpc_server_new(&bad[i], &server), STATUS_INVALID_ARGUMENT);
  rpc_server_free(NULL);
  assert_status_ok(rpc_server_new(NULL, &server)); /* never started */
  rpc_server_free(server);
}

static void find_unary(void *argument, const struct rpc_method_stats *stats) {
  if (strcmp(stats->method->path, UNARY) == 0)
    *(struct rpc_method_stats *)argument = *stats;
}

/* As `skerry serve` has it: the second server's thread leaves polling to the first one's. */
static void test_polled_by_another(void **state) {
  (void)state;
  void *public = NULL, *admin = NULL;
  const struct rpc_server_options polls = {.threads = 2}, works = {.threads = 1, .polled_by_another = true};
  assert_int_equal(runtime_start_with(&public, &polls), 0);
  assert_int_equal(runtime_start_with(&admin, &works), 0);
  echo_request request = runtime_request("hello");
  for (int i = 0; i < 20; i++) {
    echo_response *response;
    assert_status_ok(runtime_unary(i % 2 == 0 ? admin : public, NULL, &request, &response));
    assert_string_equal(response->text, "hello");
    runtime_free(response);
  }
  assert_int_equal(runtime_stop(&admin), 0); /* drains while the other one still polls */
  assert_int_equal(runtime_stop(&public), 0);
}

static void test_counts(void **state) {
  struct runtime_fixture *f = *state;
  echo_request request = runtime_request("x");
  for (int i = 0; i < 10; i++)
    assert_status_ok(runtime_unary(f, NULL, &request, NULL));
  request.status_code = STATUS_ABORTED;
  assert_status_code(runtime_unary(f, NULL, &request, NULL), STATUS_ABORTED);
  struct rpc_method_stats stats;
  eventually((rpc_server_visit_methods(f->server, find_unary, &stats), stats.ok + stats.failed == 11));
  assert_int_equal(stats.started, 11);
  assert_int_equal(stats.ok, 10);
  assert_int_equal(stats.by_code[STATUS_ABORTED], 1);
  assert_int_equal(stats.messages_in, 11);
  assert_int_equal(stats.messages_out, 10);
  assert_true(stats.latency_us_p50 > 0 && stats.latency_us_p50 <= stats.latency_us_p99);
}

/* ---- Turns ---- */

static struct raw_call *start_turns(struct runtime_fixture *f, int turns) {
  echo_request request = runtime_request("turns");
  struct raw_call *call = raw_call_open(&f->channel, UNARY, NULL);
  request.repeat = turns;
  assert_true(runtime_send(call, &request));
  raw_call_half_close(call);
  return call;
}

/* So long that a call goes there and back within a few turns, on an emulated processor too. */
#ifdef TEST_UNDER_QEMU
enum { TURN_US = 20000 };
#else
enum { TURN_US = 2000 };
#endif

/* A new call comes before the turns of those that have much to do, not behind a turn of each. */
static void test_turns_do_not_hold_up_others(void **state) {
  struct runtime_fixture *f = *state;
  struct raw_call *slow[80];
  f->echo.turn_us = TURN_US;
  for (size_t i = 0; i < UNIT_COUNT(slow); i++)
    slow[i] = start_turns(f, 1000000);
  eventually(atomic_load(&f->echo.turns) > UNIT_COUNT(slow));
  for (int i = 0; i < 5; i++) {
    echo_request request = runtime_request("quick");
    uint64_t before = atomic_load(&f->echo.turns);
    assert_status_ok(runtime_unary(f, NULL, &request, NULL));
    assert_true(atomic_load(&f->echo.turns) - before < UNIT_COUNT(slow) / 3);
  }
  for (size_t i = 0; i < UNIT_COUNT(slow); i++) {
    raw_call_cancel(slow[i]);
    assert_status_code(raw_call_finish(slow[i]), STATUS_CANCELLED);
    raw_call_free(slow[i]);
  }
}

static void test_turns_come_to_their_end(void **state) {
  struct runtime_fixture *f = *state;
  struct raw_call *calls[10];
  for (size_t i = 0; i < UNIT_COUNT(calls); i++)
    calls[i] = start_turns(f, 100);
  for (size_t i = 0; i < UNIT_COUNT(calls); i++) {
    runtime_expect(calls[i], "turns", 0);
    assert_status_ok(raw_call_finish(calls[i]));
    raw_call_free(calls[i]);
  }
  assert_int_equal(atomic_load(&f->echo.turns), 100 * UNIT_COUNT(calls));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_echoes, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_finishes_from_another_thread, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_unknown_method, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_error_with_details, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_metadata_both_ways, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_deadline, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_health, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_health_watch, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_reflection, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_drain_waits_for_calls, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_drain_cancels_at_the_deadline, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_second_drain_is_earlier, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_turns_do_not_hold_up_others, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_turns_come_to_their_end, runtime_start, runtime_stop),
      cmocka_unit_test(test_refuses_settings),
      cmocka_unit_test(test_polled_by_another),
      cmocka_unit_test_setup_teardown(test_counts, runtime_start, runtime_stop),
  };
  grpc_init();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
