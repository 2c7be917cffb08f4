/* The listener with the runtime behind it, and with a callback alone, over real sockets on loopback. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "server/listener/listener.h"
#include "tests/support/unit.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_BYTES = sizeof preface - 1, TAKEN_MAX = 64 };

struct fixture {
  struct listener *listener;
  pthread_mutex_t mutex;
  int taken[TAKEN_MAX];
  struct rpc_peer peers[TAKEN_MAX];
  void *tickets[TAKEN_MAX]; /* of strangers */
  bool always_h2[TAKEN_MAX];
  size_t count;
};

static void take(void *argument, int fd, const struct rpc_peer *peer) {
  struct fixture *f = argument;
  pthread_mutex_lock(&f->mutex);
  assert_true(f->count < TAKEN_MAX);
  f->taken[f->count] = fd;
  f->peers[f->count++] = *peer;
  pthread_mutex_unlock(&f->mutex);
}

static void take_stranger(void *argument, int fd, const struct rpc_peer *peer, bool always_h2, void *ticket) {
  struct fixture *f = argument;
  pthread_mutex_lock(&f->mutex);
  assert_true(f->count < TAKEN_MAX);
  f->tickets[f->count] = ticket;
  f->always_h2[f->count] = always_h2;
  pthread_mutex_unlock(&f->mutex);
  take(argument, fd, peer);
}

/* Who takes everybody and is through with them at once. */
static void refuse_stranger(void *argument, int fd, const struct rpc_peer *peer, bool always_h2,
                            void *ticket) {
  struct fixture *f = argument;
  (void)peer, (void)always_h2;
  close(fd);
  pthread_mutex_lock(&f->mutex);
  f->count++;
  pthread_mutex_unlock(&f->mutex);
  listener_ended(f->listener, ticket);
}

static size_t taken(struct fixture *f) {
  pthread_mutex_lock(&f->mutex);
  size_t count = f->count;
  pthread_mutex_unlock(&f->mutex);
  return count;
}

static void nap(void) {
  struct timespec time = {0, 2000000};
  nanosleep(&time, NULL);
}

/* Waits until `condition` holds, five seconds at most. */
#define eventually(condition)                                                                                \
  do {                                                                                                       \
    for (int eventually_ = 0; eventually_ < 2500 && !(condition); eventually_++)                             \
      nap();                                                                                                 \
    assert_true(condition);                                                                                  \
  } while (0)

static void open_with(struct fixture *f, struct listener_options options, const char *address) {
  memset(f, 0, sizeof *f);
  pthread_mutex_init(&f->mutex, NULL);
  if (options.addresses == NULL) {
    options.addresses = &address;
    options.address_count = 1;
  }
  options.on_connection = take;
  options.argument = f;
  assert_status_ok(listener_open(&options, &f->listener));
}

static void close_all(struct fixture *f) {
  listener_close(f->listener);
  for (size_t i = 0; i < TAKEN_MAX && i < f->count; i++)
    if (f->taken[i] > 0)
      close(f->taken[i]);
  pthread_mutex_destroy(&f->mutex);
}

static int dial_number(const struct fixture *f, size_t index) {
  const char *address = listener_address(f->listener, index);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = {5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  return fd;
}

static int dial(const struct fixture *f) {
  return dial_number(f, 0);
}

/* The connection of a stranger is over, for who took it. */
static void end_stranger(struct fixture *f, size_t index) {
  close(f->taken[index]);
  f->taken[index] = 0;
  listener_ended(f->listener, f->tickets[index]);
}

/* Whether the other side closes, within five seconds. */
static bool is_closed(int fd) {
  char byte;
  return recv(fd, &byte, 1, 0) <= 0;
}

static struct listener_stats stats(struct fixture *f) {
  struct listener_stats s;
  listener_stats(f->listener, &s);
  return s;
}

static void test_hands_over_after_the_preface(void **state) {
  (void)state;
  struct fixture f;
  open_with(&f, (struct listener_options){0}, "127.0.0.1:0");
  assert_int_equal(strncmp(listener_address(f.listener, 0), "127.0.0.1:", 10), 0);
  int fd = dial(&f);
  assert_int_equal(send(fd, preface, 10, 0), 10);
  eventually(stats(&f).waiting == 1);
  assert_int_equal(taken(&f), 0);
  assert_int_equal(send(fd, preface + 10, PREFACE_BYTES - 10, 0), PREFACE_BYTES - 10);
  eventually(taken(&f) == 1);
  char got[PREFACE_BYTES];
  assert_int_equal(recv(f.taken[0], got, sizeof got, MSG_DONTWAIT),
                   PREFACE_BYTES); /* nothing was taken from it */
  assert_memory_equal(got, preface, PREFACE_BYTES);
  assert_int_equal(strncmp(f.peers[0].address, "127.0.0.1:", 10), 0);
  assert_true((fcntl(f.taken[0], F_GETFL) & O_NONBLOCK) != 0);
  assert_true((fcntl(f.taken[0], F_GETFD) & FD_CLOEXEC) != 0);
  close(fd);
  close_all(&f);
}

static void test_counts_the_open(void **state) {
  (void)state;
  struct fixture f;
  open_with(&f, (struct listener_options){.connections_per_address_max = 2}, "127.0.0.1:0");
  int first = dial(&f), second = dial(&f);
  send(first, preface, PREFACE_BYTES, 0);
  send(second, preface, PREFACE_BYTES, 0);
  eventually(stats(&f).open == 2);
  int third = dial(&f);
  assert_true(is_closed(third));
  close(third);
  shutdown(f.taken[0], SHUT_RDWR); /* as gRPC does before it closes */
  eventually(stats(&f).open == 1);
  int fourth = dial(&f);
  send(fourth, preface, PREFACE_BYTES, 0);
  eventually(stats(&f).open == 2);
  assert_int_equal(stats(&f).refused, 1);
  assert_int_equal(stats(&f).accepted, 4);
  close(first);
  close(second);
  close(fourth);
  close_all(&f);
}

static void test_closes_the_silent(void **state) {
  (void)state;
  struct fixture f;
  open_with(&f, (struct listener_options){.handshake_timeout_ms = 50, .handshakes_max = 2}, "127.0.0.1:0");
  int fds[5];
  for (int i = 0; i < 5; i++)
    fds[i] = dial(&f);
  for (int i = 0; i < 5; i++) {
    assert_true(is_closed(fds[i]));
    close(fds[i]);
  }
  eventually(stats(&f).waiting == 0);
  assert_int_equal(taken(&f), 0);
  assert_int_equal(stats(&f).refused, 5);
  close_all(&f);
}

static void test_tells_http1(void **state) {
  (void)state;
  struct fixture f;
  open_with(&f, (struct listener_options){0}, "127.0.0.1:0");
  int fd = dial(&f);
  const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  send(fd, request, sizeof request - 1, 0);
  char answer[512] = {0};
  size_t len = 0;
  for (ssize_t got;
       len < sizeof answer - 1 && (got = recv(fd, answer + len, sizeof answer - 1 - len, 0)) > 0;)
    len += (size_t)got;
  assert_non_null(strstr(answer, "HTTP/1.1 426"));
  assert_non_null(strstr(answer, "speaks gRPC"));
  close(fd);
  int other = dial(&f);
  send(other, "\x16\x03\x01", 3, 0);
  assert_true(is_closed(other));
  close(other);
  assert_int_equal(taken(&f), 0);
  close_all(&f);
}

static void test_unix_socket(void **state) {
  (void)state;
  char folder[] = "/tmp/listener_test.XXXXXX", path[64], address[80];
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/s", folder);
  snprintf(address, sizeof address, "unix:%s", path);
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strcpy(name.sun_path, path);
  int stale = socket(AF_UNIX, SOCK_STREAM, 0); /* a file that nobody answers on is replaced */
  assert_int_equal(bind(stale, (struct sockaddr *)&name, sizeof name), 0);
  close(stale);
  struct fixture f;
  open_with(&f, (struct listener_options){0}, address);
  struct stat info;
  assert_int_equal(lstat(path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  const char *addresses[] = {address};
  struct listener_options again = {.addresses = addresses, .address_count = 1, .on_connection = take};
  struct listener *second;
  assert_status_code(listener_open(&again, &second), STATUS_FAILED_PRECONDITION);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
  send(fd, preface, PREFACE_BYTES, 0);
  eventually(taken(&f) == 1);
  assert_true(f.peers[0].is_local_socket);
  assert_int_equal(f.peers[0].uid, getuid());
  assert_int_equal(f.peers[0].pid, getpid());
  close(fd);
  close_all(&f);
  assert_int_not_equal(lstat(path, &info), 0);
  int file = open(path, O_CREAT | O_WRONLY, 0600); /* what is no socket is not touched */
  close(file);
  assert_status_code(listener_open(&again, &second), STATUS_FAILED_PRECONDITION);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(rmdir(folder), 0);
}

static void test_refuses_addresses(void **state) {
  (void)state;
  const char *bad[] = {"",    "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:1x", "::1:80",
                       ":80", "unix:",     NULL};
  char long_name[300]; /* cut off, it would be another port */
  memset(long_name, '0', sizeof long_name);
  strcpy(long_name + 242, "177.0.0.1:58080");
  bad[UNIT_COUNT(bad) - 1] = long_name;
  for (size_t i = 0; i < UNIT_COUNT(bad); i++) {
    struct listener_options options = {.addresses = &bad[i], .address_count = 1, .on_connection = take};
    struct listener *listener;
    assert_status_code(listener_open(&options, &listener), STATUS_INVALID_ARGUMENT);
  }
}

static void test_stops(void **state) {
  (void)state;
  struct fixture f;
  open_with(&f, (struct listener_options){0}, "127.0.0.1:0");
  int silent = dial(&f), served = dial(&f);
  send(served, preface, PREFACE_BYTES, 0);
  eventually(taken(&f) == 1);
  eventually(stats(&f).waiting == 1);
  listener_stop_accepting(f.listener);
  listener_stop_accepting(f.listener);
  assert_true(is_closed(silent));
  assert_int_equal(stats(&f).open, 1);
  assert_int_equal(send(f.taken[0], "x", 1, 0), 1);
  char byte;
  assert_int_equal(recv(served, &byte, 1, 0), 1);
  close(silent);
  close(served);
  close_all(&f);
}

static void test_hands_over_strangers_at_once(void **state) {
  (void)state;
  const char *addresses[] = {"127.0.0.1:0", "127.0.0.1:0,grpc"};
  struct fixture f;
  open_with(
      &f, (struct listener_options){.addresses = addresses, .address_count = 2, .on_stranger = take_stranger},
      NULL);
  assert_null(strchr(listener_address(f.listener, 1), ','));
  int silent = dial_number(&f, 0); /* says nothing */
  eventually(taken(&f) == 1);
  int other = dial_number(&f, 1);
  eventually(taken(&f) == 2);
  assert_false(f.always_h2[0]);
  assert_true(f.always_h2[1]);
  assert_non_null(f.tickets[0]);
  assert_ptr_not_equal(f.tickets[0], f.tickets[1]);
  assert_int_equal(strncmp(f.peers[0].address, "127.0.0.1:", 10), 0);
  assert_int_equal(f.peers[0].connection_id, 0);
  assert_false(f.peers[0].is_local_socket);
  for (int i = 0; i < 2; i++) {
    int on = 0;
    socklen_t size = sizeof on;
    assert_true((fcntl(f.taken[i], F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(f.taken[i], F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(getsockopt(f.taken[i], IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    assert_int_not_equal(on, 0);
  }
  eventually(stats(&f).open == 2);
  assert_int_equal(stats(&f).waiting, 0);
  end_stranger(&f, 0);
  assert_true(is_closed(silent)); /* nobody else holds it */
  eventually(stats(&f).open == 1);
  close(silent);
  close(other);
  close_all(&f);
}

static void test_counts_strangers_until_they_end(void **state) {
  (void)state;
  for (int by_address = 0; by_address < 2; by_address++) {
    struct listener_options options = {.on_stranger = take_stranger};
    *(by_address ? &options.connections_per_address_max : &options.connections_max) = 2;
    struct fixture f;
    open_with(&f, options, "127.0.0.1:0");
    int first = dial(&f), second = dial(&f);
    eventually(taken(&f) == 2);
    int third = dial(&f);
    assert_true(is_closed(third));
    close(third);
    close(first); /* the client's end does not count, but what the owner says */
    nap();
    third = dial(&f);
    assert_true(is_closed(third));
    close(third);
    end_stranger(&f, 0);
    eventually(stats(&f).open == 1);
    third = dial(&f);
    eventually(taken(&f) == 3);
    assert_int_equal(stats(&f).refused, 2);
    assert_int_equal(stats(&f).accepted, 5);
    close(second);
    close(third);
    close_all(&f);
  }
}

static void test_strangers_end_after_the_stop(void **state) {
  (void)state;
  struct fixture f;
  open_with(&f, (struct listener_options){.on_stranger = take_stranger}, "127.0.0.1:0");
  int fds[3];
  for (int i = 0; i < 3; i++)
    fds[i] = dial(&f);
  eventually(taken(&f) == 3);
  end_stranger(&f, 1);
  listener_stop_accepting(f.listener);
  eventually(stats(&f).open == 2);
  char byte;
  assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), -1); /* they live on */
  end_stranger(&f, 0);
  eventually(stats(&f).open == 1);
  end_stranger(&f, 2);
  listener_stop_accepting(f.listener);
  eventually(stats(&f).open == 0);
  for (int i = 0; i < 3; i++)
    close(fds[i]);
  close_all(&f);
}

static void test_many_strangers(void **state) {
  (void)state;
  enum { ROUNDS = 40, AT_ONCE = 10 };
  struct fixture f;
  open_with(&f, (struct listener_options){.on_stranger = refuse_stranger, .connections_max = 10000},
            "127.0.0.1:0");
  for (int round = 0; round < ROUNDS; round++) {
    int fds[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++)
      fds[i] = dial(&f);
    for (int i = 0; i < AT_ONCE; i++) {
      assert_true(is_closed(fds[i]));
      close(fds[i]);
    }
  }
  eventually(stats(&f).open == 0);
  assert_int_equal(stats(&f).accepted, ROUNDS * AT_ONCE);
  assert_int_equal(stats(&f).refused, 0);
  f.count = 0;
  close_all(&f);
}

/* Ended by another thread than the one that accepts, while it accepts. */
static void *end_them(void *argument) {
  struct fixture *f = argument;
  for (size_t i = 0; i < TAKEN_MAX; i++) {
    while (taken(f) <= i)
      nap();
    end_stranger(f, i);
  }
  return NULL;
}

static void test_strangers_end_elsewhere(void **state) {
  (void)state;
  struct fixture f;
  open_with(&f, (struct listener_options){.on_stranger = take_stranger}, "127.0.0.1:0");
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, end_them, &f), 0);
  int fds[TAKEN_MAX];
  for (int i = 0; i < TAKEN_MAX; i++)
    fds[i] = dial(&f);
  assert_int_equal(pthread_join(thread, NULL), 0);
  eventually(stats(&f).open == 0);
  assert_int_equal(stats(&f).accepted, TAKEN_MAX);
  for (int i = 0; i < TAKEN_MAX; i++)
    close(fds[i]);
  close_all(&f);
}

static void test_unix_sockets_are_no_strangers(void **state) {
  (void)state;
  char folder[] = "/tmp/listener_test.XXXXXX", address[80];
  assert_non_null(mkdtemp(folder));
  snprintf(address, sizeof address, "unix:%s/s,grpc", folder); /* a path may end in anything */
  struct fixture f;
  open_with(&f, (struct listener_options){.on_stranger = take_stranger}, address);
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  snprintf(name.sun_path, sizeof name.sun_path, "%s", address + 5);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
  eventually(stats(&f).waiting == 1);
  assert_int_equal(taken(&f), 0);
  send(fd, preface, PREFACE_BYTES, 0);
  eventually(taken(&f) == 1);
  assert_null(f.tickets[0]);
  assert_true(f.peers[0].is_local_socket);
  close(fd);
  close_all(&f);
  assert_int_equal(rmdir(folder), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hands_over_after_the_preface),
      cmocka_unit_test(test_counts_the_open),
      cmocka_unit_test(test_closes_the_silent),
      cmocka_unit_test(test_tells_http1),
      cmocka_unit_test(test_unix_socket),
      cmocka_unit_test(test_refuses_addresses),
      cmocka_unit_test(test_stops),
      cmocka_unit_test(test_hands_over_strangers_at_once),
      cmocka_unit_test(test_counts_strangers_until_they_end),
      cmocka_unit_test(test_strangers_end_after_the_stop),
      cmocka_unit_test(test_many_strangers),
      cmocka_unit_test(test_strangers_end_elsewhere),
      cmocka_unit_test(test_unix_sockets_are_no_strangers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
