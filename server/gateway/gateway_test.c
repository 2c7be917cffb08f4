/* The gateway over the echo service, with hand-made bytes over socketpairs. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/gateway/gateway.h"
#include "tests/support/runtime_fixture.h"

enum { ANSWER_BYTES_MAX = 1 << 20, WAIT_MS = 5000 };

struct fixture {
  struct runtime_fixture *runtime;
  struct gateway *gateway;
  _Atomic unsigned routed;
};

static const struct rpc_peer peer = {.address = "192.0.2.1:1"};

static void handle(void *argument, struct gateway_request *request) {
  struct fixture *f = argument;
  f->routed++;
  char text[256];
  str thing = gateway_request_variable(request, "thing"), body = gateway_request_body(request);
  snprintf(text, sizeof text, STR_FMT "=" STR_FMT " " STR_FMT, STR_ARG(thing), STR_ARG(body),
           STR_ARG(gateway_request_authorization(request)));
  if (str_eq(body, STR("fail")))
    gateway_answer_status(request, status_make(STATUS_ABORTED, "no"));
  else
    gateway_answer(request, 201, "text/plain", str_from_cstr(text));
}

static int start(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  void *runtime;
  runtime_start(&runtime);
  f->runtime = runtime;
  struct gateway_options options = {
      .rpc = f->runtime->server, .body_bytes_max = 100000, .memory_bytes_max = 8 << 20};
  assert_status_ok(gateway_open(&options, &f->gateway));
  assert_status_ok(gateway_route(f->gateway, "PUT", "/things/{thing}", handle, f));
  assert_status_code(gateway_route(f->gateway, "PUT", "things", handle, f), STATUS_INVALID_ARGUMENT);
  *state = f;
  return 0;
}

static int stop(void **state) {
  struct fixture *f = *state;
  void *runtime = f->runtime;
  rpc_server_drain(f->runtime->server, runtime_now_us() + 2000000);
  gateway_close(f->gateway);
  runtime_stop(&runtime);
  free(f);
  return 0;
}

static int connect_to(struct fixture *f) {
  int ends[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  gateway_take(f->gateway, ends[1], &peer);
  return ends[0];
}

/* False: the other side has closed before all was sent. */
static bool send_some(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
    if (sent < 0 && errno == EPIPE)
      return false;
    if (sent < 0) {
      assert_int_equal(errno, EAGAIN);
      struct pollfd wait = {.fd = fd, .events = POLLOUT};
      assert_true(poll(&wait, 1, WAIT_MS) == 1);
      continue;
    }
    bytes += sent;
    len -= (size_t)sent;
  }
  return true;
}

static void send_all(int fd, const char *bytes, size_t len) {
  assert_true(send_some(fd, bytes, len));
}

/* What comes until the end of the connection. NUL-terminated; the caller frees. */
static char *receive_all(int fd, size_t *ret_len) {
  char *all = malloc(ANSWER_BYTES_MAX + 1);
  assert_non_null(all);
  size_t len = 0;
  for (;;) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    assert_true(poll(&wait, 1, WAIT_MS) == 1);
    ssize_t got = recv(fd, all + len, ANSWER_BYTES_MAX - len, 0);
    if (got <= 0)
      break;
    len += (size_t)got;
    assert_true(len < ANSWER_BYTES_MAX);
  }
  all[len] = '\0';
  *ret_len = len;
  close(fd);
  return all;
}

static void assert_answer(struct fixture *f, const char *request, size_t request_len, const char *status_line,
                          const char *part) {
  size_t len;
  int fd = connect_to(f);
  send_all(fd, request, request_len);
  char *answer = receive_all(fd, &len);
  if (strncmp(answer, status_line, strlen(status_line)) != 0)
    fail_msg("not %s: %s", status_line, answer);
  if (strstr(answer, part) == NULL)
    fail_msg("no \"%s\" in: %s", part, answer);
  free(answer);
}

#define ANSWERS(f, request, status_line, part) assert_answer(f, request, strlen(request), status_line, part)
#define HEAD " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

static void test_json(void **state) {
  struct fixture *f = *state;
  ANSWERS(f, "POST /v1/echo" HEAD "Content-Length: 32\r\n\r\n{\"text\":\"hi\",\"labels\":{\"a\":\"b\"}}",
          "HTTP/1.1 200 ", "{\"text\":\"hi\"}");
  ANSWERS(f, "POST /v1/echo" HEAD "Content-Length: 20\r\n\r\n{\"delayUs\":\"2000\"}  ", "HTTP/1.1 200 ",
          "\r\n\r\n{}");
  ANSWERS(f,
          "POST /v1/echo" HEAD
          "X-Thing: 7\r\nSkerry-Connection: fake\r\nContent-Length: 21\r\n\r\n{\"echoMetadata\":true}\n",
          "HTTP/1.1 200 ", "{\"metadata\":{\"x-thing\":\"7\"},\"peer\":\"192.0.2.1:1\"}");
  ANSWERS(f, "POST /v1/echo" HEAD "Content-Length: 40\r\n\r\n{\"statusCode\":10,\"statusMessage\":\"no\\n\"}",
          "HTTP/1.1 409 ",
          "{\"error\":{\"code\":409,\"message\":\"no\\n\",\"status\":\"ABORTED\",\"details\":[{");
  ANSWERS(f, "POST /v1/echo" HEAD "Content-Length: 5\r\n\r\n{\"x\":", "HTTP/1.1 400 ", "INVALID_ARGUMENT");
  ANSWERS(f, "GET /v1/echo" HEAD "\r\n", "HTTP/1.1 405 ", "Allow: POST");
  ANSWERS(f, "GET /v1/none" HEAD "\r\n", "HTTP/1.1 404 ", "NOT_FOUND");
  ANSWERS(f, "GET /healthz" HEAD "\r\n", "HTTP/1.1 200 ", "\r\n\r\nok\n");
  ANSWERS(f, "GET /readyz" HEAD "\r\n", "HTTP/1.1 503 ", "not ready");
  rpc_server_set_serving(f->runtime->server, "", true);
  ANSWERS(f, "GET /readyz" HEAD "\r\n", "HTTP/1.1 200 ", "ok");
}

/* On a busy machine those that have gone are noticed late, and new ones would find no room. Those that
 * libmicrohttpd has yet to begin with have a place too, and are not in `open`. */
static void wait_for_room(struct fixture *f) {
  struct gateway_stats stats;
  for (int i = 0; i < 1000; i++) {
    gateway_stats(f->gateway, &stats);
    if (stats.open < 8)
      return;
    gateway_tick(f->gateway);
    runtime_sleep_ms(10);
  }
  fail_msg("%llu connections are left", (unsigned long long)stats.open);
}

/* `{"text":"..."}` of as many bytes, as a whole request. */
static struct buf large_request(size_t text_len) {
  struct buf request = {0};
  buf_printf(&request, "POST /v1/echo" HEAD "Content-Length: %zu\r\n\r\n{\"text\":\"", text_len + 11);
  for (size_t i = 0; i < text_len; i++)
    buf_append_byte(&request, 'l');
  buf_append_str(&request, STR("\"}"));
  assert_false(request.failed);
  return request;
}

/* Read on the gateway's thread for large bodies, in both forms, and refused there. */
static void test_large(void **state) {
  struct fixture *f = *state;
  struct buf request = large_request(90000);
  assert_answer(f, (const char *)request.data, request.len, "HTTP/1.1 200 ", "llll\"}");
  request.data[request.len - 1] = 'x';
  assert_answer(f, (const char *)request.data, request.len, "HTTP/1.1 400 ", "INVALID_ARGUMENT");
  buf_fini(&request);
  request = (struct buf){0};
  buf_printf(&request,
             "POST " UNARY HEAD "Content-Type: application/grpc-web\r\nContent-Length: 90009\r\n\r\n");
  buf_append(&request, "\0\0\1\x5f\x94\x0a\x90\xbf\5", 9); /* 90004 bytes: field 1 of 90000 */
  for (int i = 0; i < 90000; i++)
    buf_append_byte(&request, 'w');
  assert_answer(f, (const char *)request.data, request.len, "HTTP/1.1 200 ", ": application/grpc-web+proto");
  buf_fini(&request);
}

/* Their clients go while they are read, or the runtime has ended meanwhile. */
static void test_large_leaving(void **state) {
  struct fixture *f = *state;
  struct buf request = large_request(90000);
  int fds[8];
  for (int round = 0; round < 30; round++) {
    for (int i = 0; i < 8; i++) {
      fds[i] = connect_to(f);
      send_all(fds[i], (const char *)request.data, request.len);
    }
    if (round % 2 == 0)
      runtime_sleep_ms(1);
    for (int i = 0; i < 8; i++)
      shutdown(fds[i], SHUT_RDWR);
    gateway_tick(f->gateway);
    for (int i = 0; i < 8; i++)
      close(fds[i]);
    wait_for_room(f);
  }
  rpc_server_drain(f->runtime->server, runtime_now_us() + 2000000);
  for (int i = 0; i < 8; i++) {
    fds[i] = connect_to(f);
    send_some(fds[i], (const char *)request.data, request.len); /* the answer may come before */
    if (i % 2 == 0)
      close(fds[i]);
  }
  for (int i = 1; i < 8; i += 2) {
    size_t len;
    char *answer = receive_all(fds[i], &len);
    assert_true(strncmp(answer, "HTTP/1.1 503 ", 13) == 0);
    free(answer);
  }
  buf_fini(&request);
}

static void test_web(void **state) {
  struct fixture *f = *state;
  static const char request[] =
      "POST " SERVER_STREAM HEAD
      "Content-Type: application/grpc-web\r\nContent-Length: 9\r\n\r\n\0\0\0\0\4\x0a\0\x18\3";
  size_t len;
  int fd = connect_to(f);
  send_all(fd, request, sizeof request - 1);
  char *answer = receive_all(fd, &len);
  assert_true(strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
  assert_non_null(memmem(answer, len, "\0\0\0\0\2\x18\2", 7)); /* index 2 */
  assert_non_null(memmem(answer, len, "grpc-status:0\r\n", 15));
  free(answer);
}

/* A stream in gzip: it begins as such, and comes to its end. */
static void test_packed_stream(void **state) {
  struct fixture *f = *state;
  static const char request[] =
      "POST " SERVER_STREAM HEAD "Accept-Encoding: gzip\r\nContent-Type: application/grpc-web\r\n"
      "Content-Length: 10\r\n\r\n\0\0\0\0\5\x0a\0\x18\xe8\7"; /* 1000 answers */
  size_t len;
  int fd = connect_to(f);
  send_all(fd, request, sizeof request - 1);
  char *answer = receive_all(fd, &len);
  assert_non_null(strstr(answer, "Content-Encoding: gzip\r\n"));
  assert_non_null(memmem(answer, len, "\x1f\x8b\x08", 3));
  const char *whole = strstr(answer, "Content-Length: "); /* it was complete before libmicrohttpd began */
  const char *body = strstr(answer, "\r\n\r\n") + 4;
  if (whole != NULL)
    assert_int_equal(strtoul(whole + 16, NULL, 10), len - (size_t)(body - answer));
  else
    assert_memory_equal(answer + len - 7, "\r\n0\r\n\r\n", 7);
  free(answer);
}

static void test_routes(void **state) {
  struct fixture *f = *state;
  ANSWERS(f, "PUT /things/a%20b" HEAD "Authorization: me\r\nContent-Length: 2\r\n\r\nxy", "HTTP/1.1 201 ",
          "\r\n\r\na b=xy me");
  ANSWERS(f, "PUT /things/a" HEAD "Content-Length: 4\r\n\r\nfail", "HTTP/1.1 409 ", "ABORTED");
  ANSWERS(f, "PUT /things" HEAD "\r\n", "HTTP/1.1 404 ", "NOT_FOUND");
  assert_int_equal(f->routed, 2);
}

static void test_limits(void **state) {
  struct fixture *f = *state;
  ANSWERS(f, "POST /v1/echo" HEAD "Content-Length: 100001\r\n\r\n{", "HTTP/1.1 413 ", "larger than 100000");
  struct buf request = {0};
  buf_printf(&request, "POST /v1/echo" HEAD "Transfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 120; i++) {
    buf_printf(&request, "3e8\r\n");
    for (int k = 0; k < 1000; k++)
      buf_append_byte(&request, ' ');
    buf_printf(&request, "\r\n");
  }
  buf_printf(&request, "0\r\n\r\n");
  assert_answer(f, (const char *)request.data, request.len, "HTTP/1.1 413 ", "larger than 100000");
  buf_fini(&request);
}

/* More connections than there is memory for: those that rest give way. */
static void test_many(void **state) {
  struct fixture *f = *state;
  enum { MANY = 400, ROOM = (8 << 20) / 2 / (24 * 1024) + 1 };
  static int fds[MANY];
  for (int i = 0; i < MANY; i++) {
    fds[i] = connect_to(f);
    if (i % 50 == 49)
      runtime_sleep_ms(20);
  }
  struct gateway_stats stats;
  for (int i = 0; i < 1000; i++) {
    gateway_stats(f->gateway, &stats);
    if (stats.open == ROOM)
      break;
    runtime_sleep_ms(5);
  }
  assert_int_equal(stats.open, ROOM);
  ANSWERS(f, "GET /healthz" HEAD "\r\n", "HTTP/1.1 200 ", "ok");
  for (int i = 0; i < MANY; i++)
    close(fds[i]);
}

/* Clients that go at any moment: nothing is left. */
static void test_leaving(void **state) {
  struct fixture *f = *state;
  static const char text[] = "POST /v1/echo" HEAD "Content-Length: 21\r\n\r\n{\"delayUs\":\"1000\"}   "
                             "GET /healthz" HEAD "\r\n";
  for (size_t i = 0; i < 300; i++) {
    int fd = connect_to(f);
    send_all(fd, text, 1 + i * 7 % (sizeof text - 1));
    if (i % 3 == 0)
      runtime_sleep_ms(1);
    close(fd);
    wait_for_room(f);
  }
  for (int i = 0; i < 100; i++) {
    struct gateway_stats stats;
    gateway_tick(f->gateway);
    gateway_stats(f->gateway, &stats);
    if (stats.open == 0)
      return;
    runtime_sleep_ms(20);
  }
  fail_msg("connections are left");
}

/* A call whose client has gone is cancelled. */
static void test_gone(void **state) {
  struct fixture *f = *state;
  static const char request[] =
      "POST " SERVER_STREAM HEAD "Content-Type: application/grpc-web\r\nContent-Length: 14\r\n\r\n"
      "\0\0\0\0\x09\x0a\0\x18\xe8\7\x20\xa0\x8d\6"; /* 1000 answers, 100 ms each */
  int fd = connect_to(f);
  send_all(fd, request, sizeof request - 1);
  runtime_sleep_ms(50);
  close(fd);
  for (int i = 0; i < 100 && atomic_load(&f->runtime->echo.cancelled) == 0; i++) {
    gateway_tick(f->gateway);
    runtime_sleep_ms(50);
  }
  assert_int_equal(atomic_load(&f->runtime->echo.cancelled), 1);
}

static void *crowd(void *argument) {
  struct fixture *f = argument;
  for (int i = 0; i < 60; i++)
    ANSWERS(f, "POST /v1/echo" HEAD "Content-Length: 12\r\n\r\n{\"text\":\"c\"}", "HTTP/1.1 200 ",
            "{\"text\":\"c\"}");
  return NULL;
}

static void test_crowd(void **state) {
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, crowd, *state), 0);
  for (int i = 0; i < 20; i++) {
    gateway_tick(((struct fixture *)*state)->gateway);
    runtime_sleep_ms(2);
  }
  for (int i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
}

/* Closed with requests under way. */
static void test_close(void **state) {
  struct fixture *f = *state;
  static const char request[] = "POST /v1/echo" HEAD "Content-Length: 22\r\n\r\n{\"delayUs\":\"3000\"}    ";
  int fds[20];
  for (int i = 0; i < 20; i++) {
    fds[i] = connect_to(f);
    send_all(fds[i], request, sizeof request - 1 - (i % 2 == 0 ? 0 : 5));
  }
  stop(state);
  for (int i = 0; i < 20; i++)
    close(fds[i]);
}

/* A connection can be taken away when its requests are answered, and only then. */
static void test_rest(void **state) {
  struct fixture *f = *state;
  static const char whole[] = "PUT /things/a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nb";
  int ends[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  struct gateway_link *link = gateway_take_linked(f->gateway, ends[1], &peer);
  assert_non_null(link);
  for (uint64_t requests = 1; requests < 4; requests++) {
    send_all(ends[0], whole, sizeof whole - 2); /* all but the body */
    eventually(f->routed == requests - 1);
    assert_false(gateway_rests(f->gateway, link, requests));
    send_all(ends[0], "b", 1);
    eventually(f->routed == requests);
    struct pollfd answer = {.fd = ends[0], .events = POLLIN};
    assert_int_equal(poll(&answer, 1, WAIT_MS), 1);
    char text[4096];
    assert_true(recv(ends[0], text, sizeof text, 0) > 0);
  }
  assert_false(gateway_rests(f->gateway, link, 4)); /* one is still to come */
  assert_false(gateway_rests(f->gateway, link, 2));
  bool rests = false; /* the answer comes before libmicrohttpd is done with the request */
  eventually(rests = rests || gateway_rests(f->gateway, link, 3));
  assert_false(gateway_rests(f->gateway, link, 3)); /* it does already */
  shutdown(ends[0], SHUT_WR);
  size_t len;
  free(receive_all(ends[0], &len));
  assert_int_equal(len, 0);
  struct gateway_stats stats;
  eventually((gateway_stats(f->gateway, &stats), stats.open == 0));
  assert_false(gateway_rests(f->gateway, link, 3));
  gateway_unlink(link);
  /* A link may outlive the connection, and the connection the link. */
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  gateway_unlink(gateway_take_linked(f->gateway, ends[1], &peer));
  close(ends[0]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_json, start, stop),
      cmocka_unit_test_setup_teardown(test_large, start, stop),
      cmocka_unit_test_setup_teardown(test_large_leaving, start, stop),
      cmocka_unit_test_setup_teardown(test_web, start, stop),
      cmocka_unit_test_setup_teardown(test_packed_stream, start, stop),
      cmocka_unit_test_setup_teardown(test_routes, start, stop),
      cmocka_unit_test_setup_teardown(test_limits, start, stop),
      cmocka_unit_test_setup_teardown(test_many, start, stop),
      cmocka_unit_test_setup_teardown(test_leaving, start, stop),
      cmocka_unit_test_setup_teardown(test_gone, start, stop),
      cmocka_unit_test_setup_teardown(test_rest, start, stop),
      cmocka_unit_test_setup_teardown(test_crowd, start, stop),
      cmocka_unit_test_setup(test_close, start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
