#include "tests/support/pump_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/unit.h"

enum { WAIT_MS = 5000 };

void pump_fixture_nap(void) {
  nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

int64_t pump_fixture_real_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int count_descriptors(void) {
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  assert_non_null(directory);
  while (readdir(directory) != NULL)
    count++;
  closedir(directory);
  return count;
}

/* ---- What the pump calls ---- */

/* With the mutex held. */
static struct pump_fixture_end *add_end(struct pump_fixture *f, int fd, const struct rpc_peer *peer) {
  assert_true(f->end_count < PUMP_FIXTURE_MAX);
  struct pump_fixture_end *end = &f->ends[f->end_count];
  *end = (struct pump_fixture_end){.fd = fd, .peer = *peer};
  char text[RPC_CONNECTION_KEY_CHARS + 1];
  snprintf(text, sizeof text, "connection-number-%06u", f->end_count++);
  memcpy(end->key.text, text, sizeof end->key.text);
  return end;
}

static bool open_grpc(void *argument, int fd, const struct rpc_peer *peer, struct rpc_connection_key *ret) {
  struct pump_fixture *f = argument;
  pthread_mutex_lock(&f->mutex);
  bool refused = f->refuses;
  if (refused)
    close(fd);
  else
    *ret = add_end(f, fd, peer)->key;
  pthread_mutex_unlock(&f->mutex);
  return !refused;
}

static void close_grpc(void *argument, const struct rpc_connection_key *key) {
  struct pump_fixture *f = argument;
  pthread_mutex_lock(&f->mutex);
  unsigned found = 0;
  for (unsigned i = 0; i < f->end_count; i++)
    if (memcmp(&f->ends[i].key, key, sizeof *key) == 0) {
      f->ends[i].closed++;
      found++;
    }
  assert_int_equal(found, 1);
  pthread_mutex_unlock(&f->mutex);
}

/* With the mutex held. */
static bool is_full(const struct pump_fixture *f) {
  unsigned open = 0;
  for (unsigned i = 0; i < f->end_count; i++)
    open += f->ends[i].closed == 0;
  return open >= f->places;
}

static void *open_http(void *argument, int fd, const struct rpc_peer *peer) {
  struct pump_fixture *f = argument;
  struct pump_fixture_end *end = NULL;
  pthread_mutex_lock(&f->mutex);
  if (f->makes_room || !is_full(f))
    end = add_end(f, fd, peer);
  else
    close(fd);
  pthread_mutex_unlock(&f->mutex);
  return end;
}

static bool http_is_full(void *argument) {
  struct pump_fixture *f = argument;
  pthread_mutex_lock(&f->mutex);
  bool full = is_full(f);
  pthread_mutex_unlock(&f->mutex);
  return full;
}

static bool http_rests(void *argument, void *connection, uint64_t requests) {
  struct pump_fixture *f = argument;
  (void)connection;
  (void)requests;
  pthread_mutex_lock(&f->mutex);
  bool rests = f->rests;
  pthread_mutex_unlock(&f->mutex);
  return rests;
}

static void close_http(void *argument, void *connection) {
  struct pump_fixture *f = argument;
  struct pump_fixture_end *end = connection;
  pthread_mutex_lock(&f->mutex);
  end->closed++;
  pthread_mutex_unlock(&f->mutex);
}

void pump_fixture_set_http(struct pump_fixture *f, bool makes_room, bool rests) {
  pthread_mutex_lock(&f->mutex);
  f->makes_room = makes_room;
  f->rests = rests;
  pthread_mutex_unlock(&f->mutex);
}

static void ended(void *argument, void *ticket) {
  struct pump_fixture *f = argument;
  pthread_mutex_lock(&f->mutex);
  (*(unsigned *)ticket)++;
  pthread_mutex_unlock(&f->mutex);
}

/* ---- The fixture ---- */

static int listen_on_loopback(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(fd, 64), 0);
  return fd;
}

void pump_fixture_open(struct pump_fixture *f, bool is_tls, struct pump_options options) {
  pump_fixture_open_http(f, is_tls, options, 0);
}

void pump_fixture_open_http(struct pump_fixture *f, bool is_tls, struct pump_options options,
                            unsigned places) {
  int before = count_descriptors();
  *f = (struct pump_fixture){.is_tls = is_tls, .descriptors = before, .places = places};
  pthread_mutex_init(&f->mutex, NULL);
  tls_fixture_open(&f->tls);
  if (is_tls) {
    tls_fixture_make(&f->tls, (struct tls_fixture_certificate){.name = "server", .names = "DNS:localhost"});
    tls_fixture_serve(&f->tls, "server");
  }
  f->listening = listen_on_loopback();
  options.port = options.port != NULL ? options.port : f->tls.port;
  options.tls = f->tls.tls;
  if (options.guard.streams_max == 0)
    options.guard =
        (struct guard_options){.streams_max = 100, .metadata_bytes_max = 16384, .patience_us = 10000000};
  options.open_grpc = open_grpc;
  options.close_grpc = close_grpc;
  if (places > 0) {
    options.open_http = open_http;
    options.http_is_full = http_is_full;
    options.http_rests = http_rests;
    options.close_http = close_http;
  }
  options.ended = ended;
  options.argument = f;
  assert_status_ok(pump_open(&options, &f->pump));
}

void pump_fixture_close(struct pump_fixture *f) {
  pump_close(f->pump);
  for (unsigned i = 0; i < f->client_count; i++)
    assert_int_equal(f->ended[i], 1);
  for (unsigned i = 0; i < f->end_count; i++) {
    assert_int_equal(f->ends[i].closed, 1);
    pump_fixture_end_close(&f->ends[i]);
  }
  close(f->listening);
  tls_fixture_close(&f->tls);
  pthread_mutex_destroy(&f->mutex);
  assert_int_equal(count_descriptors(), f->descriptors);
}

struct pump_stats pump_fixture_stats(struct pump_fixture *f) {
  struct pump_stats stats;
  pump_stats(f->pump, &stats);
  return stats;
}

unsigned pump_fixture_ended(struct pump_fixture *f, unsigned client) {
  pthread_mutex_lock(&f->mutex);
  unsigned count = f->ended[client];
  pthread_mutex_unlock(&f->mutex);
  return count;
}

unsigned pump_fixture_closed(struct pump_fixture *f, const struct pump_fixture_end *end) {
  pthread_mutex_lock(&f->mutex);
  unsigned count = end->closed;
  pthread_mutex_unlock(&f->mutex);
  return count;
}

unsigned pump_fixture_end_count(struct pump_fixture *f) {
  pthread_mutex_lock(&f->mutex);
  unsigned count = f->end_count;
  pthread_mutex_unlock(&f->mutex);
  return count;
}

/* Somebody who comes and goes wakes it. */
void pump_fixture_advance(struct pump_fixture *f, int64_t us) {
  port_simulated_advance(f->tls.simulated, us);
  struct pump_client passer_by = pump_client_open(f, (struct pump_client_options){.is_raw = true});
  pump_client_close(&passer_by);
  eventually(pump_fixture_ended(f, passer_by.number) == 1);
}

int64_t pump_fixture_cpu_us(void) {
  int64_t spent = -1;
  DIR *directory = opendir("/proc/self/task");
  assert_non_null(directory);
  for (const struct dirent *entry; spent < 0 && (entry = readdir(directory)) != NULL;) {
    char path[300], name[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
      continue;
    bool is_pump = fgets(name, sizeof name, file) != NULL && strcmp(name, "pump\n") == 0;
    fclose(file);
    snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", entry->d_name);
    if (is_pump && (file = fopen(path, "r")) != NULL) {
      char numbers[128]; /* the first: nanoseconds on a CPU */
      assert_non_null(fgets(numbers, sizeof numbers, file));
      spent = strtoll(numbers, NULL, 10);
      fclose(file);
    }
  }
  closedir(directory);
  assert_true(spent >= 0);
  return spent / 1000;
}

/* ---- Ends of gRPC core ---- */

struct pump_fixture_end *pump_fixture_end(struct pump_fixture *f, unsigned index) {
  eventually(pump_fixture_end_count(f) > index);
  return &f->ends[index];
}

void pump_fixture_end_close(struct pump_fixture_end *end) {
  if (end->fd >= 0)
    close(end->fd);
  end->fd = -1;
}

static ptrdiff_t result(ssize_t moved) {
  if (moved >= 0)
    return moved;
  return errno == EAGAIN ? PUMP_AGAIN : PUMP_BROKEN;
}

ptrdiff_t pump_end_write(const struct pump_fixture_end *end, const void *bytes, size_t len) {
  return result(send(end->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT));
}

ptrdiff_t pump_end_read(const struct pump_fixture_end *end, void *bytes, size_t len) {
  return result(recv(end->fd, bytes, len, MSG_DONTWAIT));
}

/* ---- Strangers ---- */

static void set_buffers(int fd, int bytes) {
  if (bytes == 0)
    return;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

static int connect_to(struct pump_fixture *f, const struct pump_client_options *options,
                      struct rpc_peer *peer, int *ret_server) {
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  set_buffers(client, options->buffer_bytes);
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (options->buffer_bytes != 0) /* loopback's segments are larger than such a window, and would wait */
    setsockopt(client, IPPROTO_TCP, TCP_MAXSEG, &(int){1000}, sizeof(int));
  assert_int_equal(getsockname(f->listening, (struct sockaddr *)&address, &size), 0);
  assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
  int server = accept4(f->listening, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  assert_true(server >= 0);
  set_buffers(server,
              options->server_buffer_bytes != 0 ? options->server_buffer_bytes : options->buffer_bytes);
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  assert_int_equal(fcntl(client, F_SETFL, O_NONBLOCK), 0);
  snprintf(peer->address, sizeof peer->address, "127.0.0.1:%u", ntohs(address.sin_port));
  *ret_server = server;
  return client;
}

static SSL *speak_tls(int fd, const struct pump_client_options *options) {
  SSL_CTX *context = SSL_CTX_new(TLS_method());
  assert_non_null(context);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_ENABLE_FALSE_START);
  if (options->version != 0) {
    assert_true(SSL_CTX_set_min_proto_version(context, options->version));
    assert_true(SSL_CTX_set_max_proto_version(context, options->version));
  }
  SSL *ssl = SSL_new(context);
  SSL_CTX_free(context);
  assert_non_null(ssl);
  if (options->alpn != NULL) {
    uint8_t wire[64];
    size_t len = 0;
    str rest = str_from_cstr(options->alpn);
    while (rest.len > 0) {
      str one = str_split(rest, ',', &rest);
      wire[len++] = (uint8_t)one.len;
      memcpy(wire + len, one.ptr, one.len);
      len += one.len;
    }
    assert_int_equal(SSL_set_alpn_protos(ssl, wire, (unsigned)len), 0);
  }
  assert_true(SSL_set_fd(ssl, fd));
  SSL_set_connect_state(ssl);
  for (int done; (done = SSL_do_handshake(ssl)) != 1;) {
    assert_int_equal(SSL_get_error(ssl, done), SSL_ERROR_WANT_READ);
    if (options->in_one_piece)
      setsockopt(fd, IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int));
    assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, WAIT_MS), 1);
  }
  return ssl;
}

struct pump_client pump_client_open(struct pump_fixture *f, struct pump_client_options options) {
  struct rpc_peer peer = {0};
  int server;
  assert_true(f->client_count < PUMP_FIXTURE_MAX);
  struct pump_client client = {.fd = connect_to(f, &options, &peer, &server), .number = f->client_count++};
  pump_take(f->pump, server, &peer, options.always_h2, &f->ended[client.number]);
  if (f->is_tls && !options.is_raw)
    client.ssl = speak_tls(client.fd, &options);
  return client;
}

void pump_client_release(struct pump_client *client) {
  assert_int_equal(setsockopt(client->fd, IPPROTO_TCP, TCP_CORK, &(int){0}, sizeof(int)), 0);
}

void pump_client_close(struct pump_client *client) {
  SSL_free(client->ssl);
  client->ssl = NULL;
  if (client->fd >= 0)
    close(client->fd);
  client->fd = -1;
}

void pump_client_reset(struct pump_client *client) {
  struct linger at_once = {.l_onoff = 1};
  assert_int_equal(setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
  pump_client_close(client);
}

void pump_client_end(struct pump_client *client) {
  if (client->ssl != NULL)
    SSL_shutdown(client->ssl);
  shutdown(client->fd, SHUT_WR);
}

static ptrdiff_t tls_result(const struct pump_client *client, int moved) {
  int error = SSL_get_error(client->ssl, moved);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
    return PUMP_AGAIN;
  return error == SSL_ERROR_ZERO_RETURN ? 0 : PUMP_BROKEN;
}

ptrdiff_t pump_client_write(struct pump_client *client, const void *bytes, size_t len) {
  if (client->ssl == NULL)
    return result(send(client->fd, bytes, len, MSG_NOSIGNAL));
  int moved = SSL_write(client->ssl, bytes, (int)(client->retry_len != 0 ? client->retry_len : len));
  client->retry_len = moved > 0 ? 0 : client->retry_len != 0 ? client->retry_len : len;
  return moved > 0 ? moved : tls_result(client, moved);
}

ptrdiff_t pump_client_read(struct pump_client *client, void *bytes, size_t len) {
  if (client->ssl == NULL)
    return result(recv(client->fd, bytes, len, 0));
  int moved = SSL_read(client->ssl, bytes, (int)len);
  return moved > 0 ? moved : tls_result(client, moved);
}

/* ---- Waiting ---- */

static void wait_for(int fd, short events) {
  assert_true(poll(&(struct pollfd){.fd = fd, .events = events}, 1, WAIT_MS) > 0);
}

void pump_client_send(struct pump_client *client, const void *bytes, size_t len) {
  for (size_t at = 0; at < len;) {
    ptrdiff_t moved = pump_client_write(client, (const uint8_t *)bytes + at, len - at);
    assert_int_not_equal(moved, PUMP_BROKEN);
    if (moved == PUMP_AGAIN)
      wait_for(client->fd, POLLOUT);
    else
      at += (size_t)moved;
  }
}

void pump_end_send(const struct pump_fixture_end *end, const void *bytes, size_t len) {
  for (size_t at = 0; at < len;) {
    ptrdiff_t moved = pump_end_write(end, (const uint8_t *)bytes + at, len - at);
    assert_int_not_equal(moved, PUMP_BROKEN);
    if (moved == PUMP_AGAIN)
      wait_for(end->fd, POLLOUT);
    else
      at += (size_t)moved;
  }
}

size_t pump_client_receive(struct pump_client *client, void *bytes, size_t len, ptrdiff_t *ret_last) {
  size_t at = 0;
  *ret_last = PUMP_AGAIN;
  while (at < len) {
    ptrdiff_t moved = pump_client_read(client, (uint8_t *)bytes + at, len - at);
    if (moved == PUMP_AGAIN) {
      wait_for(client->fd, POLLIN);
      continue;
    }
    *ret_last = moved;
    if (moved <= 0)
      break;
    at += (size_t)moved;
  }
  return at;
}

size_t pump_end_receive(const struct pump_fixture_end *end, void *bytes, size_t len, ptrdiff_t *ret_last) {
  size_t at = 0;
  *ret_last = PUMP_AGAIN;
  while (at < len) {
    ptrdiff_t moved = pump_end_read(end, (uint8_t *)bytes + at, len - at);
    if (moved == PUMP_AGAIN) {
      wait_for(end->fd, POLLIN);
      continue;
    }
    *ret_last = moved;
    if (moved <= 0)
      break;
    at += (size_t)moved;
  }
  return at;
}
