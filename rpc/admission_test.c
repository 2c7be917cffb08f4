/* Calls that are turned away before a handler sees them: waited for too long, too late, or one too many. The
 * guard's part is played: the header says since when a request waited. */
#include <grpc/grpc.h>
#include <stdlib.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "rpc/shedding.h"
#include "tests/support/runtime_fixture.h"

/* The target (0: the default), and later than twice that. On an emulated processor every call waits for
 * longer than the default. */
#ifdef TEST_UNDER_QEMU
enum { TARGET_MS = 200, LATE_US = 900000, VERY_LATE_US = 3000000 };
#else
enum { TARGET_MS = 0, LATE_US = 50000, VERY_LATE_US = 3000000 };
#endif

#define OVERLOADED "This server is overloaded. Try again after the time given."
#define CHECK "/grpc.health.v1.Health/Check"

struct guarded {
  struct runtime_fixture *f;
  struct rpc_connection_key key;
};

static struct guarded start(const struct rpc_server_options *options) {
  void *state;
  runtime_start_with(&state, options);
  struct guarded g = {.f = state};
  raw_channel_close(&g.f->channel);
  const struct rpc_peer peer = {.address = "192.0.2.7:5555"};
  g.f->channel = raw_channel_open_guarded(g.f->server, &peer, &g.key);
  return g;
}

static struct guarded start_default(void) {
  const struct rpc_server_options options = {.threads = 1, .shed_target_ms = TARGET_MS};
  return start(&options);
}

static void stop(struct guarded *g) {
  void *state = g->f;
  runtime_stop(&state);
}

/* ---- Calls ---- */

/* A call that arrived so long ago. */
static struct raw_call *open_with(struct guarded *g, const char *path, int64_t late_us, int timeout_ms) {
  char value[RPC_CONNECTION_VALUE_CHARS];
  memcpy(value, g->key.text, sizeof g->key.text);
  rpc_connection_time(runtime_now_us() - late_us, value + sizeof g->key.text);
  const struct raw_header header = {RPC_CONNECTION_HEADER, str_make(value, sizeof value)};
  const struct raw_options options = {.headers = &header, .header_count = 1, .timeout_ms = timeout_ms};
  return raw_call_open(&g->f->channel, path, &options);
}

static struct raw_call *open_late(struct guarded *g, const char *path, int64_t late_us) {
  return open_with(g, path, late_us, 0);
}

static struct raw_call *call_late(struct guarded *g, const char *path, int64_t late_us) {
  struct raw_call *call = open_late(g, path, late_us);
  if (raw_call_send(call, STR("")))
    raw_call_half_close(call);
  return call;
}

static status end_of(struct raw_call *call) {
  str response;
  while (raw_call_receive(call, &response, NULL)) /* the status comes after the messages */
    continue;
  status result = raw_call_finish(call);
  raw_call_free(call);
  return result;
}

static status call_of(struct guarded *g, const char *path, int64_t late_us) {
  return end_of(call_late(g, path, late_us));
}

static status echo_of(struct guarded *g, const echo_request *request) {
  struct raw_call *call = open_late(g, UNARY, 0);
  if (runtime_send(call, request))
    raw_call_half_close(call);
  return end_of(call);
}

/* Late calls to `path` until the runtime has had to notice; whether it refused one. */
static bool overload(struct guarded *g, const char *path) {
  int64_t until_us = runtime_now_us() + 3 * RPC_SHEDDING_INTERVAL_US;
  for (int i = 0; runtime_now_us() < until_us || i < 3 * RPC_SHEDDING_CALLS_MIN; i++) {
    if (call_of(g, path, LATE_US).code == STATUS_RESOURCE_EXHAUSTED)
      return true;
    runtime_sleep_ms(2);
  }
  return false;
}

static struct rpc_server_stats stats_of(struct guarded *g) {
  struct rpc_server_stats stats;
  rpc_server_stats(g->f->server, &stats);
  return stats;
}

/* What the client is told: the status again, and how long to stay away, in ms. */
static int64_t retry_ms(struct raw_call *call, const char *message) {
  status result = raw_call_finish(call);
  assert_status_code(result, STATUS_RESOURCE_EXHAUSTED);
  assert_string_equal(result.message, message);
  str bytes;
  assert_true(raw_call_trailer(call, "grpc-status-details-bin", &bytes));
  Google__Rpc__Status *details = google__rpc__status__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
  assert_non_null(details);
  assert_int_equal(details->code, STATUS_RESOURCE_EXHAUSTED);
  assert_string_equal(details->message, message);
  assert_int_equal(details->n_details, 1);
  assert_string_equal(details->details[0]->type_url, "type.googleapis.com/google.rpc.RetryInfo");
  Google__Rpc__RetryInfo *info =
      google__rpc__retry_info__unpack(NULL, details->details[0]->value.len, details->details[0]->value.data);
  assert_non_null(info);
  assert_non_null(info->retry_delay);
  int64_t ms = info->retry_delay->seconds * 1000 + info->retry_delay->nanos / 1000000;
  google__rpc__retry_info__free_unpacked(info, NULL);
  google__rpc__status__free_unpacked(details, NULL);
  return ms;
}

/* ---- Overload ---- */

static void test_refuses_what_waited(void **state) {
  (void)state;
  struct guarded g = start_default();
  assert_false(stats_of(&g).is_shedding);
  assert_status_ok(call_of(&g, UNARY, VERY_LATE_US)); /* one late call is no overload */
  assert_true(overload(&g, UNARY));
  struct rpc_server_stats before = stats_of(&g);
  assert_true(before.is_shedding);
  assert_true(before.shed > 0);
  struct raw_call *call = call_late(&g, UNARY, LATE_US);
  int64_t ms = retry_ms(call, OVERLOADED);
  assert_in_range(ms, RPC_SHEDDING_RETRY_MS_MIN, 1000);
  raw_call_free(call);
  assert_int_equal(stats_of(&g).shed, before.shed + 1);
  assert_status_ok(call_of(&g, UNARY, 0)); /* this one did not wait */
  stop(&g);
}

/* The payload is not looked at: what would be malformed is refused for the overload. */
static void test_before_decoding(void **state) {
  (void)state;
  struct guarded g = start_default();
  assert_true(overload(&g, UNARY));
  struct raw_call *call = open_late(&g, UNARY, LATE_US);
  assert_true(raw_call_send(call, STR("\xff\xff\xff")));
  raw_call_half_close(call);
  assert_status_code(raw_call_finish(call), STATUS_RESOURCE_EXHAUSTED);
  raw_call_free(call);
  stop(&g);
}

static void test_others_go_on(void **state) {
  (void)state;
  struct guarded g = start_default();
  assert_true(overload(&g, UNARY));
  assert_status_ok(call_of(&g, SERVER_STREAM, LATE_US)); /* waited no longer than usual for it */
  assert_status_ok(call_of(&g, CHECK, LATE_US));
  assert_false(overload(&g, CHECK));
  assert_status_ok(call_of(&g, CHECK, VERY_LATE_US));
  stop(&g);
}

static void test_recovers(void **state) {
  (void)state;
  struct guarded g = start_default();
  assert_true(overload(&g, UNARY));
  int64_t until_us = runtime_now_us() + 3 * RPC_SHEDDING_INTERVAL_US;
  for (int i = 0; runtime_now_us() < until_us || i < 3 * RPC_SHEDDING_CALLS_MIN; i++) {
    assert_status_ok(call_of(&g, UNARY, 0));
    runtime_sleep_ms(2);
  }
  assert_false(stats_of(&g).is_shedding);
  assert_status_ok(call_of(&g, UNARY, LATE_US));
  stop(&g);
}

/* Streams of responses are refused as unary calls are; streams of requests never. */
static void test_streams(void **state) {
  (void)state;
  struct guarded g = start_default();
  assert_true(overload(&g, SERVER_STREAM));
  assert_false(overload(&g, BIDI));
  struct raw_call *open = open_late(&g, BIDI, VERY_LATE_US);
  echo_request request = runtime_request("x");
  for (int i = 0; i < 20; i++) {
    assert_true(runtime_send(open, &request));
    runtime_expect(open, "x", i);
  }
  raw_call_half_close(open);
  assert_status_ok(raw_call_finish(open));
  raw_call_free(open);
  stop(&g);
}

/* ---- Settings ---- */

static void test_target(void **state) {
  (void)state;
  const struct rpc_server_options options = {.threads = 1, .shed_target_ms = LATE_US / 1000 + 10};
  struct guarded g = start(&options);
  assert_false(overload(&g, UNARY)); /* late, but not by so much */
  stop(&g);
  struct rpc_server *server;
  const struct rpc_server_options wrong = {.shed_target_ms = 1001};
  status result = rpc_server_new(&wrong, &server);
  assert_status_code(result, STATUS_INVALID_ARGUMENT);
  assert_non_null(strstr(result.message, "shed_target_ms"));
}

static void test_turned_off(void **state) {
  (void)state;
  const char *const services[] = {"other.Service", "skerry.test.v1.Echo", NULL};
  const struct rpc_server_options options[] = {{.threads = 1, .sheds_never = true},
                                               {.threads = 1, .never_shed = services}};
  for (size_t i = 0; i < UNIT_COUNT(options); i++) {
    struct guarded g = start(&options[i]);
    assert_false(overload(&g, UNARY));
    assert_false(stats_of(&g).is_shedding);
    assert_int_equal(stats_of(&g).shed, 0);
    stop(&g);
  }
}

/* ---- Other reasons ---- */

static void find_unary(void *argument, const struct rpc_method_stats *stats) {
  if (strcmp(stats->method->path, UNARY) == 0)
    *(struct rpc_method_stats *)argument = *stats;
}

/* Sends a call while the one thread is busy until its deadline passed; false: it came before that. */
static bool expires(struct guarded *g) {
  echo_request slow = runtime_request("slow"), request = runtime_request("x");
  slow.repeat = 1;
  struct raw_call *call = open_late(g, UNARY, 0);
  assert_true(runtime_send(call, &slow));
  raw_call_half_close(call);
  runtime_sleep_ms(20); /* nothing tells that a turn has begun */
  struct raw_call *late = open_with(g, UNARY, 0, 50);
  assert_true(runtime_send(late, &request));
  raw_call_half_close(late);
  status result = raw_call_finish(late);
  raw_call_free(late);
  runtime_expect(call, "slow", 0);
  assert_status_ok(raw_call_finish(call));
  raw_call_free(call);
  assert_true(result.code == STATUS_OK || result.code == STATUS_DEADLINE_EXCEEDED);
  return result.code == STATUS_DEADLINE_EXCEEDED;
}

static void test_deadline_passed(void **state) {
  (void)state;
  struct guarded g = start_default();
  g.f->echo.turn_us = 300000;
  uint64_t tries = 1;
  while (!expires(&g) && tries < 10)
    tries++;
  struct rpc_method_stats stats;
  eventually(
      (rpc_server_visit_methods(g.f->server, find_unary, &stats), stats.ok + stats.failed == 2 * tries));
  assert_int_equal(stats.by_code[STATUS_DEADLINE_EXCEEDED], 1);
  assert_int_equal(stats.messages_in, 2 * tries - 1); /* the late one's was not looked at */
  stop(&g);
}

static void test_crowd_may_come_back(void **state) {
  (void)state;
  const struct rpc_server_options options = {.threads = 1, .calls_max = 16};
  struct guarded g = start(&options);
  struct raw_call *calls[16];
  echo_request request = runtime_request("x");
  for (size_t i = 0; i < UNIT_COUNT(calls); i++) {
    calls[i] = open_late(&g, BIDI, 0);
    assert_true(runtime_send(calls[i], &request));
    runtime_expect(calls[i], "x", 0);
  }
  struct raw_call *call = call_late(&g, UNARY, 0);
  assert_in_range(retry_ms(call, "This server has too many calls under way. Try again."),
                  RPC_SHEDDING_RETRY_MS_MIN, 1000);
  raw_call_free(call);
  assert_int_equal(stats_of(&g).shed, 0);
  for (size_t i = 0; i < UNIT_COUNT(calls); i++)
    raw_call_free(calls[i]);
  stop(&g);
}

/* Streams that say nothing hold all places: once somebody wants one, those that waited long are ended. */
static void test_who_says_nothing_is_ended(void **state) {
  (void)state;
  const struct rpc_server_options options = {.threads = 2, .calls_max = 16};
  struct guarded g = start(&options);
  struct raw_call *calls[24];
  for (size_t i = 0; i < UNIT_COUNT(calls); i++)
    calls[i] = open_late(&g, BIDI, 0);
  for (int i = 0; i < 500 && call_of(&g, UNARY, 0).code == STATUS_OK; i++)
    runtime_sleep_ms(2); /* until all are there */
  assert_status_code(call_of(&g, UNARY, 0), STATUS_RESOURCE_EXHAUSTED);
  runtime_sleep_ms(2200);
  for (int i = 0; i < 500 && call_of(&g, UNARY, 0).code != STATUS_OK; i++)
    runtime_sleep_ms(10);
  assert_status_ok(call_of(&g, UNARY, 0));
  size_t ended = 0;
  for (size_t i = 0; i < UNIT_COUNT(calls); i++) {
    raw_call_half_close(calls[i]);
    ended += raw_call_finish(calls[i]).code != STATUS_OK;
    raw_call_free(calls[i]);
  }
  assert_true(ended >= 8);
  stop(&g);
}

/* Answers that nobody takes hold all memory that one connection may have: likewise. */
static void test_who_does_not_take_is_ended(void **state) {
  (void)state;
  const struct rpc_server_options options = {.threads = 2, .calls_memory_bytes_max = 24 << 20};
  struct guarded g = start(&options);
  enum { LARGE_BYTES = 4 << 20 }; /* four times that with its copies */
  char *text = malloc(LARGE_BYTES);
  assert_non_null(text);
  memset(text, 'x', LARGE_BYTES - 1);
  text[LARGE_BYTES - 1] = '\0';
  echo_request request = runtime_request(text);
  struct raw_call *calls[6];
  for (size_t i = 0; i < UNIT_COUNT(calls); i++) {
    calls[i] = open_late(&g, UNARY, 0);
    if (runtime_send(calls[i], &request)) /* and does not receive */
      raw_call_half_close(calls[i]);
    runtime_sleep_ms(50);
  }
  assert_status_code(echo_of(&g, &request), STATUS_RESOURCE_EXHAUSTED);
  runtime_sleep_ms(2200);
  for (int i = 0; i < 500 && echo_of(&g, &request).code != STATUS_OK; i++)
    runtime_sleep_ms(10);
  assert_status_ok(echo_of(&g, &request));
  for (size_t i = 0; i < UNIT_COUNT(calls); i++)
    raw_call_free(calls[i]);
  free(text);
  stop(&g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_refuses_what_waited),
      cmocka_unit_test(test_before_decoding),
      cmocka_unit_test(test_others_go_on),
      cmocka_unit_test(test_recovers),
      cmocka_unit_test(test_streams),
      cmocka_unit_test(test_target),
      cmocka_unit_test(test_turned_off),
      cmocka_unit_test(test_deadline_passed),
      cmocka_unit_test(test_crowd_may_come_back),
      cmocka_unit_test(test_who_says_nothing_is_ended),
      cmocka_unit_test(test_who_does_not_take_is_ended),
  };
  grpc_init();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
