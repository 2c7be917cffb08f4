/* The client, with the real skerry-net (SKERRY_NET) against an HTTP and a mail server in this process, on
 * loopback. TLS is tested with tests/integration. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "net/client.h"
#include "tests/support/unit.h"

/* ---- A server ---- */

/* For what is answered: an emulated skerry-net takes seconds to start, on a busy machine many. */
#ifdef TEST_UNDER_QEMU
enum { ANSWER_MS = 60000 };
#else
enum { ANSWER_MS = 20000 };
#endif

static uint16_t port;
static atomic_int requests;

static void send_text(int fd, const char *text) {
  size_t len = strlen(text);
  while (len > 0) {
    ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
    if (sent <= 0)
      return;
    text += sent;
    len -= (size_t)sent;
  }
}

static void send_large(int fd) {
  send_text(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
  char block[4097];
  memset(block, 'x', sizeof block - 1);
  block[sizeof block - 1] = '\0';
  for (unsigned i = 0; i < 100; i++)
    send_text(fd, block);
}

/* A mail server without TLS, of which the test has seen no more than it says. */
static atomic_int mails, mail_connections;

static void *answer_mail(void *argument) {
  int fd = (int)(intptr_t)argument;
  FILE *in = fdopen(fd, "r");
  char line[1024];
  bool in_text = false;
  atomic_fetch_add(&mail_connections, 1);
  send_text(fd, "220 mail.test\r\n");
  while (in != NULL && fgets(line, sizeof line, in) != NULL) {
    if (in_text && strcmp(line, ".\r\n") == 0) {
      atomic_fetch_add(&mails, 1);
      in_text = false;
    } else if (in_text) {
      continue;
    }
    in_text = strncmp(line, "DATA", 4) == 0;
    send_text(fd, in_text ? "354 go on\r\n" : strncmp(line, "QUIT", 4) == 0 ? "221 bye\r\n" : "250 ok\r\n");
  }
  if (in != NULL)
    fclose(in);
  return NULL;
}

static void *answer(void *argument) {
  int fd = (int)(intptr_t)argument;
  char request[8192] = "";
  size_t len = 0;
  ssize_t got;
  while (strstr(request, "\r\n\r\n") == NULL && len < sizeof request - 1 &&
         (got = recv(fd, request + len, sizeof request - 1 - len, 0)) > 0) {
    len += (size_t)got;
    request[len] = '\0';
  }
  atomic_fetch_add(&requests, 1);
  if (strncmp(request, "GET /ok ", 8) == 0)
    send_text(
        fd, "HTTP/1.1 200 OK\r\nCache-Control: max-age=77\r\nX-Odd:  a b \r\nContent-Length: 5\r\n\r\nhello");
  else if (strncmp(request, "POST /echo ", 11) == 0 && strstr(request, "x-test: 1\r\n") != NULL)
    send_text(fd, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
  else if (strncmp(request, "GET /away ", 10) == 0)
    send_text(fd, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
  else if (strncmp(request, "GET /large ", 11) == 0)
    send_large(fd);
  else if (strncmp(request, "GET /slow ", 10) == 0)
    sleep(2);
  else
    send_text(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
  close(fd);
  return NULL;
}

struct service {
  int listening;
  uint16_t port;
  void *(*answer)(void *fd);
  pthread_t thread;
};
static struct service web = {.answer = answer}, mail_server = {.answer = answer_mail};

static void *serve(void *argument) {
  const struct service *service = argument;
  for (;;) {
    int fd = accept(service->listening, NULL, NULL);
    if (fd < 0)
      return NULL;
    pthread_t thread;
    if (pthread_create(&thread, NULL, service->answer, (void *)(intptr_t)fd) == 0)
      pthread_detach(thread);
  }
}

static int start_service(struct service *service) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  service->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(service->listening, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(service->listening, 64) != 0 ||
      getsockname(service->listening, (struct sockaddr *)&address, &len) != 0)
    return -1;
  service->port = ntohs(address.sin_port);
  return pthread_create(&service->thread, NULL, serve, service);
}

static void stop_service(const struct service *service) {
  shutdown(service->listening, SHUT_RDWR);
  pthread_join(service->thread, NULL);
  close(service->listening);
}

static int start_servers(void **state) {
  (void)state;
  int result = start_service(&web) != 0 || start_service(&mail_server) != 0;
  port = web.port;
  return result;
}

static int stop_servers(void **state) {
  (void)state;
  stop_service(&web);
  stop_service(&mail_server);
  return 0;
}

/* ---- Helpers ---- */

static struct net_client *open_client(bool loopback_http, int64_t idle_ms) {
  char origin[64];
  snprintf(origin, sizeof origin, "http://127.0.0.1:%u", port);
  const char *const origins[] = {origin, "https://example.com"};
  struct net_client_options options = {.program = getenv("SKERRY_NET"),
                                       .origins = origins,
                                       .origin_count = 2,
                                       .loopback_http = loopback_http,
                                       .idle_ms = idle_ms};
  struct net_client *client = NULL;
  assert_non_null(options.program);
  assert_status_ok(net_client_open(&options, &client));
  return client;
}

static status get(struct net_client *client, const char *path, uint32_t timeout_ms, struct net_answer *ret) {
  char url[128];
  snprintf(url, sizeof url, "http://127.0.0.1:%u%s", port, path);
  struct net_request request = {
      .timeout_ms = timeout_ms, .body_bytes_max = 100000, .method = STR("GET"), .url = str_from_cstr(url)};
  return net_client_fetch(client, &request, ret);
}

/* A process whose parent is this one, until it was waited for. */
static pid_t find_child(void) {
  DIR *processes = opendir("/proc");
  pid_t found = 0;
  for (struct dirent *entry; found == 0 && (entry = readdir(processes)) != NULL;) {
    char path[300], line[512];
    snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
    FILE *file = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? fopen(path, "re") : NULL;
    if (file == NULL)
      continue;
    const char *end = fgets(line, sizeof line, file) == NULL ? NULL : strrchr(line, ')');
    int parent = 0;
    if (end != NULL && sscanf(end, ") %*c %d", &parent) == 1 && parent == getpid())
      found = (pid_t)atoi(entry->d_name);
    fclose(file);
  }
  closedir(processes);
  return found;
}

static void sleep_ms(long ms) {
  nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- Tests ---- */

static void answers_come_back_whole(void **state) {
  (void)state;
  struct net_client *client = open_client(true, 0);
  struct net_answer answer = {0};
  assert_status_ok(get(client, "/ok", ANSWER_MS, &answer));
  assert_int_equal(answer.response.http_status, 200);
  assert_str_is(answer.response.body, "hello");
  assert_str_is(net_response_header(&answer.response, STR("cache-control")), "max-age=77");
  assert_str_is(net_response_header(&answer.response, STR("x-odd")), "a b");
  net_answer_fini(&answer);
  assert_status_ok(get(client, "/none", ANSWER_MS, &answer));
  assert_int_equal(answer.response.http_status, 404);
  net_answer_fini(&answer);
  char url[64];
  snprintf(url, sizeof url, "http://127.0.0.1:%u/echo", port);
  struct net_request post = {.timeout_ms = ANSWER_MS,
                             .body_bytes_max = 10,
                             .method = STR("POST"),
                             .url = str_from_cstr(url),
                             .headers = {{STR("x-test"), STR("1")}},
                             .header_count = 1,
                             .body = STR("body")};
  assert_status_ok(net_client_fetch(client, &post, &answer));
  assert_int_equal(answer.response.http_status, 201);
  net_answer_fini(&answer);
  assert_int_equal(net_client_starts(client), 1);
  net_client_close(client);
  assert_int_equal(find_child(), 0);
}

static void redirects_are_answers(void **state) {
  (void)state;
  struct net_client *client = open_client(true, 0);
  struct net_answer answer = {0};
  int before = atomic_load(&requests);
  assert_status_ok(get(client, "/away", ANSWER_MS, &answer));
  assert_int_equal(answer.response.http_status, 302);
  assert_int_equal(atomic_load(&requests) - before, 1);
  net_answer_fini(&answer);
  net_client_close(client);
}

static void size_and_time_are_bounded(void **state) {
  (void)state;
  struct net_client *client = open_client(true, 0);
  struct net_answer answer = {0};
  status result = get(client, "/large", ANSWER_MS, &answer);
  assert_status_code(result, STATUS_UNAVAILABLE);
  assert_non_null(strstr(result.message, "too large"));
  assert_status_code(get(client, "/slow", 300, &answer), STATUS_UNAVAILABLE);
  assert_status_ok(get(client, "/ok", ANSWER_MS, &answer)); /* others do not suffer */
  net_answer_fini(&answer);
  net_client_close(client);
}

static void only_allowed_origins_are_reached(void **state) {
  (void)state;
  struct net_client *client = open_client(true, 0), *strict = open_client(false, 0);
  struct net_answer answer = {0};
  int before = atomic_load(&requests);
  char other[64], name[64];
  snprintf(other, sizeof other, "http://localhost:%u/ok", port); /* the same server by another name */
  snprintf(name, sizeof name, "http://127.0.0.1:%u@example.com/ok", port);
  const char *const urls[] = {other, name, "https://example.org/", "file:///etc/passwd",
                              "http://example.com/"};
  for (size_t i = 0; i < UNIT_COUNT(urls); i++) {
    struct net_request request = {
        .timeout_ms = ANSWER_MS, .body_bytes_max = 10, .method = STR("GET"), .url = str_from_cstr(urls[i])};
    assert_status_code(net_client_fetch(client, &request, &answer), STATUS_UNAVAILABLE);
  }
  assert_status_code(get(strict, "/ok", ANSWER_MS, &answer), STATUS_UNAVAILABLE); /* http is for tests */
  assert_int_equal(atomic_load(&requests), before);
  net_client_close(client);
  net_client_close(strict);
}

static void it_is_started_again_and_backs_off(void **state) {
  (void)state;
  log_configure(LOG_LEVEL_OFF, LOG_FORMAT_LOGFMT, STDERR_FILENO);
  struct net_client *client = open_client(true, 0);
  struct net_answer answer = {0};
  for (unsigned i = 1; i <= 2; i++) {
    assert_status_ok(get(client, "/ok", ANSWER_MS, &answer));
    net_answer_fini(&answer);
    assert_int_equal(net_client_starts(client), i);
    pid_t child = find_child();
    assert_true(child > 0);
    kill(child, SIGKILL);
    while (find_child() != 0)
      sleep_ms(5);
    sleep_ms(100);
  }
  status result = get(client, "/ok", ANSWER_MS, &answer);
  assert_status_code(result, STATUS_UNAVAILABLE);
  assert_non_null(strstr(result.message, "started again"));
  sleep_ms(1200);
  assert_status_ok(get(client, "/ok", ANSWER_MS, &answer));
  net_answer_fini(&answer);
  net_client_close(client);
  log_configure(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT, STDERR_FILENO);
}

static void it_goes_when_it_has_nothing_to_do(void **state) {
  (void)state;
  struct net_client *client = open_client(true, 200);
  struct net_answer answer = {0};
  assert_int_equal(find_child(), 0);
  for (unsigned i = 1; i <= 2; i++) {
    assert_status_ok(get(client, "/ok", ANSWER_MS, &answer));
    net_answer_fini(&answer);
    assert_int_equal(net_client_starts(client), i);
    for (unsigned wait = 0; find_child() != 0 && wait < 300; wait++)
      sleep_ms(10);
    assert_int_equal(find_child(), 0);
  }
  net_client_close(client);
}

/* Not even a try to become somebody: what it has given up is read off the kernel. */
static void it_has_given_up_privileges(void **state) {
  (void)state;
  struct net_client *client = open_client(true, 0);
  struct net_answer answer = {0};
  assert_status_ok(get(client, "/ok", ANSWER_MS, &answer));
  net_answer_fini(&answer);
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%d/status", (int)find_child());
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  bool no_new_privileges = false, filtered = false;
  while (fgets(line, sizeof line, file) != NULL) {
    no_new_privileges = no_new_privileges || strcmp(line, "NoNewPrivs:\t1\n") == 0;
    filtered = filtered || strcmp(line, "Seccomp:\t2\n") == 0;
  }
  fclose(file);
  assert_true(no_new_privileges);
#ifndef TEST_UNDER_QEMU /* it lets nobody filter its system calls */
  assert_true(filtered);
#else
  (void)filtered;
#endif
  net_client_close(client);
}

static status send_mail(struct net_client *client, const char *url, enum net_tls tls,
                        struct net_answer *ret) {
  struct net_mail mail = {.timeout_ms = ANSWER_MS,
                          .tls = tls,
                          .url = str_from_cstr(url),
                          .hello = STR("box.example"),
                          .from = STR("box@box.example"),
                          .to = STR("ann@example.com"),
                          .message = STR("Subject: a\r\n\r\nb\r\n")};
  return net_client_mail(client, &mail, ret);
}

static void mails_need_tls_unless_they_say_so(void **state) {
  (void)state;
  char url[64], other[64];
  snprintf(url, sizeof url, "smtp://127.0.0.1:%u", mail_server.port);
  snprintf(other, sizeof other, "smtp://localhost:%u", mail_server.port);
  const char *const origins[] = {url, "smtp://mail.example:25"};
  struct net_client_options options = {
      .program = getenv("SKERRY_NET"), .origins = origins, .origin_count = 2, .loopback_http = true};
  struct net_client *client;
  struct net_answer answer = {0};
  assert_status_ok(net_client_open(&options, &client));
  assert_status_code(send_mail(client, url, NET_TLS_REQUIRED, &answer), STATUS_UNAVAILABLE);
  assert_int_equal(atomic_load(&mail_connections), 1);
  assert_int_equal(atomic_load(&mails), 0);
  assert_status_ok(send_mail(client, url, NET_TLS_IF_OFFERED, &answer));
  assert_int_equal(answer.response.http_status, 250);
  net_answer_fini(&answer);
  assert_status_ok(send_mail(client, url, NET_TLS_NONE, &answer));
  net_answer_fini(&answer);
  assert_int_equal(atomic_load(&mails), 2);
  /* Neither another name of the host, nor TLS left out to another machine, nor a fetch from there. */
  int before = atomic_load(&mail_connections);
  assert_status_code(send_mail(client, other, NET_TLS_NONE, &answer), STATUS_UNAVAILABLE);
  status result = send_mail(client, "smtp://mail.example:25", NET_TLS_IF_OFFERED, &answer);
  assert_int_equal(result.code, STATUS_UNAVAILABLE);
  assert_non_null(strstr(result.message, "without TLS"));
  struct net_request request = {
      .timeout_ms = ANSWER_MS, .body_bytes_max = 10, .method = STR("GET"), .url = str_from_cstr(url)};
  assert_status_code(net_client_fetch(client, &request, &answer), STATUS_UNAVAILABLE);
  assert_int_equal(atomic_load(&mail_connections), before);
  net_client_close(client);
}

static void *fetch_many(void *argument) {
  for (unsigned i = 0; i < 20; i++) {
    struct net_answer answer = {0};
    status result = get(argument, "/ok", ANSWER_MS, &answer);
    if (!status_is_ok(&result) || !str_eq(answer.response.body, STR("hello")))
      abort();
    net_answer_fini(&answer);
  }
  return NULL;
}

static void *fetch_slow(void *argument) {
  struct net_answer answer = {0};
  status result = get(argument, "/slow", 20000, &answer);
  if (result.code != STATUS_UNAVAILABLE)
    abort();
  return NULL;
}

static void many_threads_ask_at_once(void **state) {
  (void)state;
  struct net_client *client = open_client(true, 0);
  pthread_t threads[24];
  for (unsigned i = 0; i < UNIT_COUNT(threads); i++)
    assert_int_equal(pthread_create(&threads[i], NULL, fetch_many, client), 0);
  for (unsigned i = 0; i < UNIT_COUNT(threads); i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(net_client_starts(client), 1);
  /* Stopping lets those go that wait. */
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, fetch_slow, client), 0);
  sleep_ms(100);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  net_client_stop(client);
  for (unsigned i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  clock_gettime(CLOCK_MONOTONIC, &end);
  assert_true(end.tv_sec - begin.tv_sec <= 1);
  struct net_answer answer = {0};
  assert_status_code(get(client, "/ok", 1000, &answer), STATUS_UNAVAILABLE);
  net_client_close(client);
}

static void a_missing_program_is_said_at_once(void **state) {
  (void)state;
  struct net_client *client;
  struct net_client_options options = {.program = "/nonexistent/skerry-net"};
  assert_status_code(net_client_open(&options, &client), STATUS_FAILED_PRECONDITION);
  const char *const bad[] = {"not a url"};
  options = (struct net_client_options){.program = getenv("SKERRY_NET"), .origins = bad, .origin_count = 1};
  assert_status_code(net_client_open(&options, &client), STATUS_FAILED_PRECONDITION);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(answers_come_back_whole),
      cmocka_unit_test(redirects_are_answers),
      cmocka_unit_test(size_and_time_are_bounded),
      cmocka_unit_test(only_allowed_origins_are_reached),
      cmocka_unit_test(it_is_started_again_and_backs_off),
      cmocka_unit_test(it_goes_when_it_has_nothing_to_do),
      cmocka_unit_test(it_has_given_up_privileges),
      cmocka_unit_test(mails_need_tls_unless_they_say_so),
      cmocka_unit_test(many_threads_ask_at_once),
      cmocka_unit_test(a_missing_program_is_said_at_once),
  };
  return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
