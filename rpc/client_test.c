#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "rpc/client.h"
#include "rpc/client_test_server.h"
#include "skerry/test/v1/test_service.skerry.h"
#include "tests/support/unit.h"

enum { SECOND_US = 1000000 };

/* c-ares, which resolves "localhost" for gRPC core, keeps a few bytes for the process. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libcares";
}

/* Opaque both ways. */
#define METHOD(method_name, method_kind)                                                                     \
  {                                                                                                          \
    .name = #method_name, .path = "/test.T/" #method_name, .kind = method_kind,                              \
    .request = {"test.Bytes", NULL}, .response = {"test.Bytes", NULL},                                       \
  }
static const struct rpc_method echo = METHOD(Echo, RPC_UNARY), fail = METHOD(Fail, RPC_UNARY),
                               wait_unary = METHOD(Wait, RPC_UNARY), wait_bidi = METHOD(Wait, RPC_BIDI),
                               count = METHOD(Count, RPC_SERVER_STREAM), sum = METHOD(Sum, RPC_CLIENT_STREAM),
                               chat = METHOD(Chat, RPC_BIDI), once = METHOD(Once, RPC_BIDI);

struct fixture {
  struct test_server *server;
  struct rpc_client *client;
  struct arena arena;
  char target[64];
};

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  f->server = test_server_start("127.0.0.1:0");
  assert_non_null(f->server);
  snprintf(f->target, sizeof f->target, "127.0.0.1:%d", test_server_port(f->server));
  status opened = rpc_client_open(f->target, true, &f->client);
  assert_int_equal(opened.code, STATUS_OK);
  arena_init(&f->arena, NULL, 0, 8 * 1024 * 1024);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  struct fixture *f = *state;
  rpc_client_close(f->client);
  if (f->server != NULL)
    test_server_stop(f->server);
  arena_fini(&f->arena);
  free(f);
  return 0;
}

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

static void assert_echo(struct rpc_client *client, struct arena *arena, const char *text) {
  str request = str_from_cstr(text);
  const void *response = NULL;
  assert_status_ok(rpc_client_unary(client, &echo, NULL, &request, arena, &response));
  assert_true(str_eq(*(const str *)response, request));
}

/* ---- Unary ---- */

static void test_unary(void **state) {
  struct fixture *f = *state;
  for (int i = 0; i < 100; i++)
    assert_echo(f->client, &f->arena, "hello");
  assert_echo(f->client, &f->arena, "");
}

static void test_large(void **state) {
  struct fixture *f = *state;
  str request = {calloc(1, 3000000), 3000000};
  const void *response;
  for (int compress = 0; compress < 2; compress++) {
    struct rpc_client_options options = {.compress = compress != 0};
    assert_status_ok(rpc_client_unary(f->client, &echo, &options, &request, &f->arena, &response));
    assert_true(str_eq(*(const str *)response, request));
    arena_reset(&f->arena);
  }
  struct arena small;
  arena_init(&small, NULL, 0, 1000000);
  assert_status_code(rpc_client_unary(f->client, &echo, NULL, &request, &small, &response),
                     STATUS_RESOURCE_EXHAUSTED);
  arena_fini(&small);
  free((char *)(uintptr_t)request.ptr);
}

static void test_error_of_the_server(void **state) {
  struct fixture *f = *state;
  const str request = STR("x");
  const void *response = NULL;
  status result = rpc_client_unary(f->client, &fail, NULL, &request, &f->arena, &response);
  assert_status_code(result, STATUS_NOT_FOUND);
  assert_string_equal(result.message, "there is no such thing");
  assert_null(response);
}

/* A server that sends what is no message, or one that nests too deeply, gets INTERNAL and does no harm. */
static void test_bad_responses(void **state) {
  struct fixture *f = *state;
  struct rpc_method method = echo;
  method.response =
      (struct rpc_type){"skerry.test.v1.EchoResponse", &skerry__test__v1__echo_response__descriptor};
  const void *response = NULL;
  const str bad[] = {STR("\xff"), STR("\x0a\x7fshort"),
                     STR("\x0a\x03"
                         "a\0b")};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_status_code(rpc_client_unary(f->client, &method, NULL, &bad[i], &f->arena, &response),
                       STATUS_INTERNAL);
  assert_null(response);
  const str good = STR("");
  assert_status_ok(rpc_client_unary(f->client, &method, NULL, &good, &f->arena, &response));
  assert_non_null(response);
}

static void test_timeout(void **state) {
  struct fixture *f = *state;
  const str request = STR("x");
  const void *response;
  struct rpc_client_options options = {.timeout_us = 50000};
  int64_t start = now_us();
  assert_status_code(rpc_client_unary(f->client, &wait_unary, &options, &request, &f->arena, &response),
                     STATUS_DEADLINE_EXCEEDED);
  assert_in_range(now_us() - start, 49000, 5 * SECOND_US);
}

static void test_bad_header(void **state) {
  struct fixture *f = *state;
  const str request = STR("x");
  const void *response;
  const struct rpc_client_header bad[] = {{"Upper-Case", STR("v")}, {"x-value", STR("a\nb")}};
  for (size_t i = 0; i < 2; i++) {
    struct rpc_client_options options = {.headers = &bad[i], .header_count = 1};
    assert_status_code(rpc_client_unary(f->client, &echo, &options, &request, &f->arena, &response),
                       STATUS_INVALID_ARGUMENT);
  }
  assert_echo(f->client, &f->arena, "still well");
}

/* ---- Many at once ---- */

#ifdef TEST_UNDER_QEMU
enum { MANY = 1000, MANY_SECONDS = 500 };
#else
enum { MANY = 1000, MANY_SECONDS = 50 };
#endif

/* So many may take longer than a call's usual minute. */
static const struct rpc_client_options at_leisure = {.timeout_us = -1};

struct many {
  struct rpc_client *client;
  atomic_int running, ok, cancelled, again;
};

static void count_one(void *argument, const status *result, const void *response) {
  struct many *many = argument;
  if (status_is_ok(result)) {
    assert_true(str_eq(*(const str *)response, STR("many")));
    atomic_fetch_add(&many->ok, 1);
  } else {
    assert_null(response);
    if (result->code == STATUS_CANCELLED)
      atomic_fetch_add(&many->cancelled, 1);
  }
  /* Calls may start from here. */
  const str request = STR("many");
  if (status_is_ok(result) && atomic_fetch_sub(&many->again, 1) > 0)
    rpc_client_unary_start(many->client, &echo, &at_leisure, &request, count_one, many);
  else
    atomic_fetch_sub(&many->running, 1);
}

static void test_many_at_once(void **state) {
  struct fixture *f = *state;
  struct many many = {.client = f->client, .running = MANY, .again = MANY};
  const str request = STR("many");
  for (int i = 0; i < MANY; i++)
    rpc_client_unary_start(f->client, &echo, &at_leisure, &request, count_one, &many);
  int64_t limit = now_us() + MANY_SECONDS * SECOND_US;
  while (atomic_load(&many.running) > 0 && now_us() < limit)
    usleep(1000);
  assert_int_equal(atomic_load(&many.running), 0);
  assert_int_equal(atomic_load(&many.ok), 2 * MANY);
}

static void test_close_cancels(void **state) {
  struct fixture *f = *state;
  struct many many = {.client = f->client, .running = 50};
  const str request = STR("many");
  for (int i = 0; i < 50; i++)
    rpc_client_unary_start(f->client, &wait_unary, NULL, &request, count_one, &many);
  rpc_client_close(f->client);
  f->client = NULL;
  assert_int_equal(atomic_load(&many.running), 0);
  assert_int_equal(atomic_load(&many.cancelled), 50);
}

static void *echo_often(void *argument) {
  struct fixture *f = argument;
  struct arena arena;
  arena_init(&arena, NULL, 0, 100000);
  for (int i = 0; i < 50; i++) {
    assert_echo(f->client, &arena, "from a thread");
    arena_reset(&arena);
  }
  arena_fini(&arena);
  return NULL;
}

static void test_threads_share_a_client(void **state) {
  pthread_t threads[8];
  for (size_t i = 0; i < 8; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, echo_often, *state), 0);
  for (size_t i = 0; i < 8; i++)
    pthread_join(threads[i], NULL);
}

/* ---- Streams ---- */

static struct rpc_client_stream *open_stream(struct fixture *f, const struct rpc_method *method,
                                             const struct rpc_client_options *options) {
  struct rpc_client_stream *stream = NULL;
  assert_status_ok(rpc_client_stream_open(f->client, method, options, &stream));
  return stream;
}

static void test_server_stream(void **state) {
  struct fixture *f = *state;
  struct rpc_client_stream *stream = open_stream(f, &count, NULL);
  assert_status_ok(rpc_client_stream_send(stream, &STR("500")));
  rpc_client_stream_half_close(stream);
  const void *message;
  int received = 0;
  for (; rpc_client_stream_receive(stream, &f->arena, &message); received++) {
    assert_int_equal(((const str *)message)->len, 1000);
    assert_int_equal(atoi(((const str *)message)->ptr), received);
    arena_reset(&f->arena);
  }
  assert_int_equal(received, 500);
  str details = STR("not empty");
  assert_status_ok(rpc_client_stream_finish(stream, &f->arena, &details));
  assert_int_equal(details.len, 0);
}

static void test_finish_drops_what_is_unread(void **state) {
  struct fixture *f = *state;
  struct rpc_client_stream *stream = open_stream(f, &count, NULL);
  assert_status_ok(rpc_client_stream_send(stream, &STR("2000")));
  assert_status_ok(rpc_client_stream_finish(stream, NULL, NULL));
}

static void test_client_stream(void **state) {
  struct fixture *f = *state;
  struct rpc_client_stream *stream = open_stream(f, &sum, NULL);
  for (int i = 0; i < 300; i++)
    assert_status_ok(rpc_client_stream_send(stream, &STR("0123456789")));
  rpc_client_stream_half_close(stream);
  const void *message;
  assert_true(rpc_client_stream_receive(stream, &f->arena, &message));
  assert_true(str_eq(*(const str *)message, STR("300 3000")));
  assert_status_ok(rpc_client_stream_finish(stream, NULL, NULL));
}

static void test_bidi(void **state) {
  struct fixture *f = *state;
  struct rpc_client_stream *stream = open_stream(f, &chat, NULL);
  const void *message;
  for (int i = 0; i < 100; i++) {
    str text = arena_printf(&f->arena, "message %d", i);
    assert_status_ok(rpc_client_stream_send(stream, &text));
    assert_true(rpc_client_stream_receive(stream, &f->arena, &message));
    assert_true(str_eq(*(const str *)message, text));
  }
  rpc_client_stream_half_close(stream);
  assert_false(rpc_client_stream_receive(stream, &f->arena, &message));
  assert_status_ok(rpc_client_stream_finish(stream, NULL, NULL));
}

static void *send_often(void *argument) {
  struct rpc_client_stream *stream = argument;
  for (int i = 0; i < 1000; i++)
    assert_status_ok(rpc_client_stream_send(stream, &STR("from the sending thread")));
  rpc_client_stream_half_close(stream);
  return NULL;
}

static void test_bidi_with_two_threads(void **state) {
  struct fixture *f = *state;
  struct rpc_client_stream *stream = open_stream(f, &chat, NULL);
  pthread_t sender;
  assert_int_equal(pthread_create(&sender, NULL, send_often, stream), 0);
  int received = 0;
  for (const void *message; rpc_client_stream_receive(stream, &f->arena, &message); received++)
    assert_true(str_eq(*(const str *)message, STR("from the sending thread")));
  pthread_join(sender, NULL);
  assert_int_equal(received, 1000);
  assert_status_ok(rpc_client_stream_finish(stream, NULL, NULL));
}

/* The server reads nothing: sends stop when the window is full, and the deadline ends them. */
static void test_back_pressure(void **state) {
  struct fixture *f = *state;
  struct rpc_client_options options = {.timeout_us = SECOND_US / 2};
  struct rpc_client_stream *stream = open_stream(f, &wait_bidi, &options);
  str message = {calloc(1, 100000), 100000};
  int sent = 0;
  while (sent < 1000) {
    status result = rpc_client_stream_send(stream, &message);
    if (!status_is_ok(&result))
      break;
    sent++;
  }
  assert_in_range(sent, 1, 200); /* 20 MB: far over any window here */
  assert_status_code(rpc_client_stream_finish(stream, NULL, NULL), STATUS_DEADLINE_EXCEEDED);
  free((char *)(uintptr_t)message.ptr);
}

static void test_message_over_the_arena(void **state) {
  struct fixture *f = *state;
  struct rpc_client_stream *stream = open_stream(f, &count, NULL);
  assert_status_ok(rpc_client_stream_send(stream, &STR("10000")));
  struct arena small;
  arena_init(&small, NULL, 0, 500);
  const void *message;
  assert_false(rpc_client_stream_receive(stream, &small, &message));
  assert_status_code(rpc_client_stream_finish(stream, NULL, NULL), STATUS_RESOURCE_EXHAUSTED);
  arena_fini(&small);
}

static void *cancel_soon(void *argument) {
  usleep(20000);
  rpc_client_stream_cancel(argument);
  return NULL;
}

static void test_cancel_from_another_thread(void **state) {
  struct fixture *f = *state;
  struct rpc_client_stream *stream = open_stream(f, &once, NULL);
  const void *message;
  assert_true(rpc_client_stream_receive(stream, &f->arena, &message));
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, cancel_soon, stream), 0);
  assert_false(rpc_client_stream_receive(stream, &f->arena, &message));
  pthread_join(thread, NULL);
  status sent = rpc_client_stream_send(stream, &STR("too late"));
  assert_status_code(sent, STATUS_CANCELLED);
  assert_status_code(rpc_client_stream_finish(stream, NULL, NULL), STATUS_CANCELLED);
}

static void test_server_gone_in_a_stream(void **state) {
  struct fixture *f = *state;
  struct rpc_client_stream *stream = open_stream(f, &once, NULL);
  const void *message;
  assert_true(rpc_client_stream_receive(stream, &f->arena, &message));
  test_server_stop(f->server);
  f->server = NULL;
  assert_false(rpc_client_stream_receive(stream, &f->arena, &message));
  assert_status_code(rpc_client_stream_finish(stream, NULL, NULL), STATUS_UNAVAILABLE);
}

static void *close_client(void *argument) {
  rpc_client_close(argument);
  return NULL;
}

static void test_close_ends_a_stream(void **state) {
  struct fixture *f = *state;
  struct rpc_client_stream *stream = open_stream(f, &once, NULL);
  const void *message;
  assert_true(rpc_client_stream_receive(stream, &f->arena, &message));
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, close_client, f->client), 0);
  assert_false(rpc_client_stream_receive(stream, &f->arena, &message));
  assert_status_code(rpc_client_stream_finish(stream, NULL, NULL), STATUS_CANCELLED);
  pthread_join(thread, NULL);
  f->client = NULL;
}

static void test_metadata_and_details(void **state) {
  struct fixture *f = *state;
  const struct rpc_client_header ask = {"x-ask", STR("a value that is longer than a small slice")};
  struct rpc_client_options options = {.headers = &ask, .header_count = 1};
  struct rpc_client_stream *stream = open_stream(f, &echo, &options);
  assert_status_ok(rpc_client_stream_send(stream, &STR("x")));
  rpc_client_stream_half_close(stream);
  str value = {0};
  assert_true(rpc_client_stream_header(stream, "x-answer", &f->arena, &value));
  assert_true(str_eq(value, ask.value));
  assert_false(rpc_client_stream_header(stream, "x-other", &f->arena, &value));
  const void *message;
  assert_true(rpc_client_stream_receive(stream, &f->arena, &message));
  assert_true(rpc_client_stream_trailer(stream, "x-answer-bin", &f->arena, &value));
  assert_true(str_eq(value, ask.value));
  assert_status_ok(rpc_client_stream_finish(stream, NULL, NULL));

  stream = open_stream(f, &fail, NULL);
  str details = {0};
  assert_status_code(rpc_client_stream_finish(stream, &f->arena, &details), STATUS_NOT_FOUND);
  assert_true(str_eq(details, STR("details")));
}

/* ---- Connecting ---- */

static void test_targets(void **state) {
  (void)state;
  struct rpc_client *client = NULL;
  const char *const bad[] = {"",       "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",   "127.0.0.1:65536",
                             ":80",    "[::1]",     "[::1:80",    "[zz]:80",       "http://a/b:80",
                             "a b:80", "unix:",     "host:80/xx", "dns:///ab.c:80"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_status_code(rpc_client_open(bad[i], false, &client), STATUS_INVALID_ARGUMENT);
    assert_null(client);
  }
}

static void assert_reaches(const char *listen, const char *target_format) {
  struct test_server *server = test_server_start(listen);
  if (server == NULL) {
    print_message("cannot listen on %s here: skipped\n", listen);
    return;
  }
  char target[128];
  snprintf(target, sizeof target, "%s:%d", target_format, test_server_port(server));
  struct rpc_client *client;
  assert_status_ok(
      rpc_client_open(strncmp(target_format, "unix:", 5) == 0 ? target_format : target, false, &client));
  struct arena arena;
  arena_init(&arena, NULL, 0, 100000);
  assert_echo(client, &arena, "hello");
  arena_fini(&arena);
  rpc_client_close(client);
  test_server_stop(server);
}

static void test_addresses(void **state) {
  (void)state;
  char directory[] = "/tmp/skerry-client-XXXXXX", unix_target[64];
  assert_non_null(mkdtemp(directory));
  snprintf(unix_target, sizeof unix_target, "unix:%s/socket", directory);
  assert_reaches(unix_target, unix_target);
  assert_reaches("[::1]:0", "[::1]");
  assert_reaches("127.0.0.1:0", "localhost");
  unlink(unix_target + 5);
  rmdir(directory);
}

static void *start_soon(void *argument) {
  usleep(200000);
  return test_server_start(argument);
}

static void test_waits_for_the_server(void **state) {
  struct fixture *f = *state;
  test_server_stop(f->server);
  f->server = NULL;
  const str request = STR("x");
  const void *response;
  status result = rpc_client_unary(f->client, &echo, NULL, &request, &f->arena, &response);
  assert_status_code(result, STATUS_UNAVAILABLE);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, start_soon, f->target), 0);
  struct rpc_client_options options = {.wait_for_ready = true, .timeout_us = 20 * SECOND_US};
  result = rpc_client_unary(f->client, &echo, &options, &request, &f->arena, &response);
  void *server = NULL;
  pthread_join(thread, &server);
  f->server = server;
  assert_non_null(f->server);
  assert_status_ok(result);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_unary),
      TEST(test_large),
      TEST(test_error_of_the_server),
      TEST(test_bad_responses),
      TEST(test_timeout),
      TEST(test_bad_header),
      TEST(test_many_at_once),
      TEST(test_close_cancels),
      TEST(test_threads_share_a_client),
      TEST(test_server_stream),
      TEST(test_finish_drops_what_is_unread),
      TEST(test_client_stream),
      TEST(test_bidi),
      TEST(test_bidi_with_two_threads),
      TEST(test_back_pressure),
      TEST(test_message_over_the_arena),
      TEST(test_cancel_from_another_thread),
      TEST(test_server_gone_in_a_stream),
      TEST(test_close_ends_a_stream),
      TEST(test_metadata_and_details),
      TEST(test_waits_for_the_server),
      cmocka_unit_test(test_targets),
      cmocka_unit_test(test_addresses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
