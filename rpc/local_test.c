/* Calls that begin in this process, with the echo service. */
#include <pthread.h>
#include <stdlib.h>

#include "rpc/local.h"
#include "tests/support/runtime_fixture.h"

static const struct rpc_peer peer = {.address = "192.0.2.9:80", .connection_id = 7};

/* Keeps what came. */
struct receiver {
  pthread_mutex_t mutex;
  struct rpc_local *local;
  bool takes;         /* messages, at once */
  bool ends_in_event; /* with the first message */
  unsigned headers, messages, finished, aborted;
  struct buf bytes; /* of the messages */
  struct buf header, trailer, details;
  status end;
  _Atomic bool closed;
};

static void on_headers(struct rpc_local *local, void *argument, const struct rpc_local_header *headers,
                       size_t count) {
  (void)local;
  struct receiver *r = argument;
  pthread_mutex_lock(&r->mutex);
  assert_int_equal(r->messages + r->finished, 0);
  r->headers++;
  for (size_t i = 0; i < count; i++)
    if (str_eq(headers[i].name, STR("echo-header")))
      buf_append_str(&r->header, headers[i].value);
  pthread_mutex_unlock(&r->mutex);
}

static void on_message(struct rpc_local *local, void *argument, str message) {
  struct receiver *r = argument;
  pthread_mutex_lock(&r->mutex);
  assert_int_equal(r->finished, 0);
  r->messages++;
  buf_append_str(&r->bytes, message);
  bool takes = r->takes, ends = r->ends_in_event;
  pthread_mutex_unlock(&r->mutex);
  if (takes)
    rpc_local_taken(local);
  if (ends)
    rpc_local_end(local);
}

static void on_finished(struct rpc_local *local, void *argument, const struct rpc_local_end *end) {
  (void)local;
  struct receiver *r = argument;
  pthread_mutex_lock(&r->mutex);
  r->finished++;
  r->end = end->code == STATUS_OK ? status_ok() : status_make(end->code, STR_FMT, STR_ARG(end->text));
  for (size_t i = 0; i < end->trailer_count; i++) {
    if (str_eq(end->trailers[i].name, STR("echo-trailer-bin")))
      buf_append_str(&r->trailer, end->trailers[i].value);
    if (str_eq(end->trailers[i].name, STR("grpc-status-details-bin")))
      buf_append_str(&r->details, end->trailers[i].value);
  }
  pthread_mutex_unlock(&r->mutex);
}

static void on_aborted(struct rpc_local *local, void *argument) {
  (void)local;
  struct receiver *r = argument;
  pthread_mutex_lock(&r->mutex);
  r->aborted++;
  pthread_mutex_unlock(&r->mutex);
}

static void on_closed(void *argument) {
  struct receiver *r = argument;
  atomic_store(&r->closed, true);
}

static const struct rpc_local_events events = {on_headers, on_message, on_finished, on_aborted, on_closed};

static unsigned read_count(struct receiver *r, const unsigned *count) {
  pthread_mutex_lock(&r->mutex);
  unsigned value = *count;
  pthread_mutex_unlock(&r->mutex);
  return value;
}
#define COUNT(r, member) read_count((r), &(r)->member)

static void receiver_init(struct receiver *r) {
  *r = (struct receiver){.takes = true};
  pthread_mutex_init(&r->mutex, NULL);
}

/* Ends it if that was not done, and waits until nothing more comes. */
static void receiver_fini(struct receiver *r, bool end) {
  if (end && r->local != NULL)
    rpc_local_end(r->local);
  if (r->local != NULL)
    eventually(atomic_load(&r->closed));
  buf_fini(&r->bytes);
  buf_fini(&r->header);
  buf_fini(&r->trailer);
  buf_fini(&r->details);
  pthread_mutex_destroy(&r->mutex);
}

static status begin(struct runtime_fixture *f, const char *path, const echo_request *request,
                    const struct rpc_local_header *metadata, size_t count, int64_t timeout_us,
                    struct receiver *r) {
  struct rpc_local_request local = {
      .path = path, .peer = &peer, .metadata = metadata, .metadata_count = count, .timeout_us = timeout_us};
  assert_true(rpc_message_pack(&request->base, &local.message));
  status result = rpc_local_begin(f->server, &local, &events, r, &r->local);
  assert_null(local.message.data);
  return result;
}

static status simple(struct runtime_fixture *f, const char *path, const echo_request *request,
                     struct receiver *r) {
  return begin(f, path, request, NULL, 0, INT64_MAX, r);
}

static echo_response *unpack(struct receiver *r) {
  echo_response *response = skerry__test__v1__echo_response__unpack(NULL, r->bytes.len, r->bytes.data);
  assert_non_null(response);
  return response;
}

static void test_unary(void **state) {
  struct runtime_fixture *f = *state;
  for (int i = 0; i < 4; i++) { /* on both queues, at once and by another thread */
    struct receiver r;
    receiver_init(&r);
    echo_request request = runtime_request("hello");
    request.echo_metadata = true;
    request.delay_us = i / 2 * 2000;
    const struct rpc_local_header metadata[] = {{STR("echo-header"), STR("up")},
                                                {STR("echo-trailer-bin"), STR("\0\1")}};
    assert_status_ok(begin(f, UNARY, &request, metadata, 2, INT64_MAX, &r));
    eventually(COUNT(&r, finished) == 1);
    assert_status_ok(r.end);
    assert_int_equal(r.headers, 1);
    assert_int_equal(r.messages, 1);
    assert_str_is(buf_str(&r.header), "up");
    assert_int_equal(r.trailer.len, 2);
    echo_response *response = unpack(&r);
    assert_string_equal(response->text, "hello");
    assert_string_equal(response->peer, "192.0.2.9:80");
    assert_int_equal(response->n_metadata, 2);
    runtime_free(response);
    receiver_fini(&r, true);
  }
}

static void test_error_with_details(void **state) {
  struct runtime_fixture *f = *state;
  struct receiver r;
  receiver_init(&r);
  echo_request request = runtime_request("");
  request.status_code = STATUS_ABORTED;
  request.status_message = (char *)(uintptr_t) "not now";
  assert_status_ok(simple(f, UNARY, &request, &r));
  eventually(COUNT(&r, finished) == 1);
  assert_int_equal(r.end.code, STATUS_ABORTED);
  assert_string_equal(r.end.message, "not now");
  assert_int_equal(r.messages, 0);
  assert_true(r.details.len > 0);
  receiver_fini(&r, true);
}

static void test_refused_at_once(void **state) {
  struct runtime_fixture *f = *state;
  struct receiver r;
  receiver_init(&r);
  echo_request request = runtime_request("x");
  assert_status_code(simple(f, "/skerry.test.v1.Echo/Nothing", &request, &r), STATUS_UNIMPLEMENTED);
  assert_status_code(simple(f, "", &request, &r), STATUS_UNIMPLEMENTED);
  assert_status_code(simple(f, BIDI, &request, &r), STATUS_UNIMPLEMENTED);
  assert_status_code(simple(f, CLIENT_STREAM, &request, &r), STATUS_UNIMPLEMENTED);
  static char large[9000];
  const struct rpc_local_header metadata = {STR("x"), {large, sizeof large}};
  assert_status_code(begin(f, UNARY, &request, &metadata, 1, INT64_MAX, &r), STATUS_RESOURCE_EXHAUSTED);
  assert_null(r.local);
  assert_non_null(rpc_local_method(f->server, STR(UNARY)));
  assert_null(rpc_local_method(f->server, STR("/skerry.test.v1.Echo/Nothing")));
  receiver_fini(&r, false);
}

static void test_damaged_request(void **state) {
  struct runtime_fixture *f = *state;
  struct receiver r;
  receiver_init(&r);
  struct rpc_local_request request = {.path = UNARY, .peer = &peer, .timeout_us = INT64_MAX};
  assert_true(rpc_message_alloc(1, &request.message));
  request.message.data[0] = 0x0a; /* a string whose length is missing */
  assert_status_ok(rpc_local_begin(f->server, &request, &events, &r, &r.local));
  eventually(COUNT(&r, finished) == 1);
  assert_int_equal(r.end.code, STATUS_INVALID_ARGUMENT);
  receiver_fini(&r, true);
}

static void test_stream(void **state) {
  struct runtime_fixture *f = *state;
  for (int delay_us = 0; delay_us <= 200; delay_us += 200) {
    struct receiver r;
    receiver_init(&r);
    echo_request request = runtime_request("s");
    request.repeat = 50;
    request.delay_us = delay_us;
    assert_status_ok(simple(f, SERVER_STREAM, &request, &r));
    eventually(COUNT(&r, finished) == 1);
    assert_status_ok(r.end);
    assert_int_equal(r.messages, 50);
    receiver_fini(&r, true);
  }
}

/* A receiver that takes nothing stops the handler; one that takes gets all of it. */
static void test_flow_control(void **state) {
  struct runtime_fixture *f = *state;
  static char text[100001];
  memset(text, 'x', sizeof text - 1);
  struct receiver r;
  receiver_init(&r);
  r.takes = false;
  echo_request request = runtime_request(text);
  request.repeat = 100;
  uint64_t refused = atomic_load(&f->echo.refused);
  assert_status_ok(simple(f, SERVER_STREAM, &request, &r));
  eventually(atomic_load(&f->echo.refused) > refused);
  runtime_sleep_ms(20);
  assert_int_equal(COUNT(&r, messages), 1);
  for (unsigned i = 1; i <= 100; i++) {
    eventually(COUNT(&r, messages) == i);
    rpc_local_taken(r.local);
  }
  eventually(COUNT(&r, finished) == 1);
  assert_status_ok(r.end);
  assert_int_equal(r.messages, 100);
  receiver_fini(&r, true);
}

/* Whoever ends early cancels: the handler hears it. */
static void test_end_early(void **state) {
  struct runtime_fixture *f = *state;
  static char text[100001];
  memset(text, 'x', sizeof text - 1);
  for (int in_event = 0; in_event < 2; in_event++) {
    struct receiver r;
    receiver_init(&r);
    r.takes = false;
    r.ends_in_event = in_event;
    echo_request request = runtime_request(text);
    request.repeat = 100;
    uint64_t cancelled = atomic_load(&f->echo.cancelled), released = atomic_load(&f->echo.released);
    assert_status_ok(simple(f, SERVER_STREAM, &request, &r));
    if (!in_event) {
      eventually(COUNT(&r, messages) == 1);
      rpc_local_end(r.local);
    }
    eventually(atomic_load(&f->echo.released) == released + 1);
    assert_int_equal(atomic_load(&f->echo.cancelled), cancelled + 1);
    receiver_fini(&r, false);
    assert_int_equal(r.finished, 0);
  }
}

static void test_end_before_it_began(void **state) {
  struct runtime_fixture *f = *state;
  for (int i = 0; i < 200; i++) {
    struct receiver r;
    receiver_init(&r);
    echo_request request = runtime_request("x");
    request.delay_us = i % 3 == 0 ? 500 : 0;
    assert_status_ok(simple(f, i % 2 == 0 ? UNARY : SERVER_STREAM, &request, &r));
    receiver_fini(&r, true);
  }
}

static void test_deadline(void **state) {
  struct runtime_fixture *f = *state;
  struct receiver r, late;
  receiver_init(&r);
  echo_request request = runtime_request("x");
  request.delay_us = 300000;
  int64_t started_us = runtime_now_us();
  assert_status_ok(begin(f, UNARY, &request, NULL, 0, 20000, &r));
  eventually(COUNT(&r, finished) == 1);
  assert_int_equal(r.end.code, STATUS_DEADLINE_EXCEEDED);
  int64_t took_us = runtime_now_us() - started_us;
  assert_in_range(took_us, 19000, 200000);
  receiver_fini(&r, true);

  receiver_init(&late);
  assert_status_ok(begin(f, UNARY, &request, NULL, 0, -1, &late));
  eventually(COUNT(&late, finished) == 1);
  assert_int_equal(late.end.code, STATUS_DEADLINE_EXCEEDED);
  receiver_fini(&late, true);
}

static uint64_t active(struct runtime_fixture *f) {
  struct rpc_server_stats stats;
  rpc_server_stats(f->server, &stats);
  return stats.calls_active;
}

/* calls_max counts them, and an answer that is not taken counts as a call under way. */
static void test_admission(void **state) {
  struct runtime_fixture *f = *state;
  static char text[8001];
  memset(text, 'x', sizeof text - 1);
  struct receiver held[16], one;
  echo_request request = runtime_request(text);
  for (int i = 0; i < 16; i++) {
    receiver_init(&held[i]);
    held[i].takes = false;
    assert_status_ok(simple(f, UNARY, &request, &held[i]));
  }
  for (int i = 0; i < 16; i++)
    eventually(COUNT(&held[i], finished) == 1);
  assert_int_equal(active(f), 16);
  receiver_init(&one);
  assert_status_ok(simple(f, UNARY, &request, &one));
  eventually(COUNT(&one, finished) == 1);
  assert_int_equal(one.end.code, STATUS_RESOURCE_EXHAUSTED);
  assert_true(one.details.len > 0); /* RetryInfo */
  receiver_fini(&one, true);
  for (int i = 0; i < 16; i++)
    receiver_fini(&held[i], true);
  eventually(active(f) == 0);
}

static int start_small(void **state) {
  const struct rpc_server_options options = {.threads = 1, .calls_max = 16};
  return runtime_start_with(state, &options);
}

/* Memory that is wanted: an answer that is not taken goes, after two seconds. Request, decoded request and
 * answer together are more than the server has for calls. */
static void test_aborted(void **state) {
  struct runtime_fixture *f = *state;
  static char text[6000001];
  memset(text, 'x', sizeof text - 1);
  struct receiver held, one;
  echo_request request = runtime_request(text);
  receiver_init(&held);
  held.takes = false;
  assert_status_ok(simple(f, UNARY, &request, &held));
  eventually(COUNT(&held, finished) == 1);
  assert_status_ok(held.end);
  request = runtime_request("small");
  for (int i = 0; i < 40 && COUNT(&held, aborted) == 0; i++) {
    runtime_sleep_ms(100);
    receiver_init(&one);
    assert_status_ok(simple(f, UNARY, &request, &one));
    eventually(COUNT(&one, finished) == 1);
    assert_int_equal(one.end.code, STATUS_RESOURCE_EXHAUSTED);
    receiver_fini(&one, true);
  }
  assert_int_equal(COUNT(&held, aborted), 1);
  receiver_fini(&held, true);
}

static int start_poor(void **state) {
  const struct rpc_server_options options = {.threads = 1, .calls_memory_bytes_max = 16 << 20};
  return runtime_start_with(state, &options);
}

static void test_drain(void **state) {
  struct runtime_fixture *f = *state;
  static char text[100001];
  memset(text, 'x', sizeof text - 1);
  struct receiver stuck, late;
  receiver_init(&stuck);
  stuck.takes = false;
  echo_request request = runtime_request(text);
  request.repeat = 100;
  assert_status_ok(simple(f, SERVER_STREAM, &request, &stuck));
  eventually(COUNT(&stuck, messages) == 1);
  rpc_server_drain(f->server, runtime_now_us() + 50000);
  assert_int_equal(COUNT(&stuck, finished), 1);
  assert_int_equal(stuck.end.code, STATUS_UNAVAILABLE);
  receiver_init(&late);
  assert_status_code(simple(f, UNARY, &request, &late), STATUS_UNAVAILABLE);
  receiver_fini(&late, false);
  receiver_fini(&stuck, true);
}

/* ---- Many at once ---- */

/* On a busy machine calls wait for longer than the runtime likes. */
static int start_patient(void **state) {
  const struct rpc_server_options options = {.sheds_never = true};
  return runtime_start_with(state, &options);
}

static void *crowd(void *argument) {
  struct runtime_fixture *f = argument;
  for (int i = 0; i < 300; i++) {
    struct receiver r;
    receiver_init(&r);
    echo_request request = runtime_request("crowd");
    request.repeat = i % 7 == 0 ? 0 : i % 20;
    bool is_stream = i % 2 == 0;
    if (!is_stream)
      request.repeat = 0;
    int64_t timeout_us = i % 5 == 0 ? 100 + i : INT64_MAX;
    assert_status_ok(begin(f, is_stream ? SERVER_STREAM : UNARY, &request, NULL, 0, timeout_us, &r));
    if (i % 3 != 0) {
      eventually(COUNT(&r, finished) == 1);
      assert_true(r.end.code == STATUS_OK || r.end.code == STATUS_DEADLINE_EXCEEDED);
    }
    receiver_fini(&r, true);
  }
  return NULL;
}

static void test_crowd(void **state) {
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, crowd, *state), 0);
  for (int i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_unary, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_error_with_details, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_refused_at_once, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_damaged_request, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_stream, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_flow_control, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_end_early, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_end_before_it_began, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_deadline, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_admission, start_small, runtime_stop),
      cmocka_unit_test_setup_teardown(test_aborted, start_poor, runtime_stop),
      cmocka_unit_test_setup_teardown(test_drain, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_crowd, start_patient, runtime_stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
