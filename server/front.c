#include "server/front.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "server/listener/tls.h"

enum { PUMPS_MAX = 16, CORES_A_PUMP = 4, HTTP_LINE_PART = 16 };
enum {
  DESCRIPTORS_A_CONNECTION =
      3,                      /* the client's socket and both ends of gRPC core's; or the socket and a copy */
  DESCRIPTORS_RESERVED = 512, /* the store has up to 256 files open, and needs new ones to write */
};

struct front {
  struct rpc_server *rpc;
  pthread_mutex_t mutex; /* of `gateway`, while it closes */
  struct gateway *gateway;
  struct listener *listener;
  struct tls *tls;
  struct memory_budget incomplete; /* of the guards */
  struct pump *pumps[PUMPS_MAX];
  unsigned pump_count, next_pump; /* next_pump: the listener's thread's */
};

static void adopt(void *argument, int fd, const struct rpc_peer *peer) {
  struct front *front = argument;
  rpc_server_adopt(front->rpc, fd, peer);
}

static void adopt_http(void *argument, int fd, const struct rpc_peer *peer) {
  struct front *front = argument;
  pthread_mutex_lock(&front->mutex);
  bool is_open = front->gateway != NULL;
  if (is_open)
    gateway_take(front->gateway, fd, peer);
  pthread_mutex_unlock(&front->mutex);
  if (!is_open)
    close(fd);
}

static void *open_http(void *argument, int fd, const struct rpc_peer *peer) {
  struct front *front = argument;
  struct gateway_link *link = NULL;
  pthread_mutex_lock(&front->mutex);
  bool is_open = front->gateway != NULL;
  if (is_open)
    link = gateway_take_linked(front->gateway, fd, peer);
  pthread_mutex_unlock(&front->mutex);
  if (!is_open)
    close(fd);
  return link;
}

static bool http_is_full(void *argument) {
  struct front *front = argument;
  pthread_mutex_lock(&front->mutex);
  bool full = front->gateway != NULL && gateway_is_full(front->gateway);
  pthread_mutex_unlock(&front->mutex);
  return full;
}

static bool http_rests(void *argument, void *link, uint64_t requests) {
  struct front *front = argument;
  pthread_mutex_lock(&front->mutex);
  bool rests = front->gateway != NULL && gateway_rests(front->gateway, link, requests);
  pthread_mutex_unlock(&front->mutex);
  return rests;
}

static void close_http(void *argument, void *link) {
  (void)argument;
  gateway_unlink(link);
}

static void take_stranger(void *argument, int fd, const struct rpc_peer *peer, bool always_h2, void *ticket) {
  struct front *front = argument;
  pump_take(front->pumps[front->next_pump++ % front->pump_count], fd, peer, always_h2, ticket);
}

static bool open_grpc(void *argument, int fd, const struct rpc_peer *peer, struct rpc_connection_key *ret) {
  struct front *front = argument;
  return rpc_server_adopt_guarded(front->rpc, fd, peer, ret);
}

static void close_grpc(void *argument, const struct rpc_connection_key *key) {
  struct front *front = argument;
  rpc_server_forget(front->rpc, key);
}

static bool turns_away(void *argument, str path, int64_t now_us, uint32_t *ret_retry_ms) {
  struct front *front = argument;
  return rpc_server_turns_away(front->rpc, path, now_us, ret_retry_ms);
}

static void ended(void *argument, void *ticket) {
  struct front *front = argument;
  listener_ended(front->listener, ticket);
}

static status open_tls(struct front *front, const struct settings *s, struct port *port) {
  if (s->tls_cert.count == 0)
    return status_ok();
  enum tls_client_certificates client = (enum tls_client_certificates)s->tls_client_certificates;
  struct tls_options options = {
      .port = port,
      .certificate_files = (const char *const *)s->tls_cert.items,
      .key_files = (const char *const *)s->tls_key.items,
      .count = s->tls_cert.count,
      .client_certificates = client,
      .client_ca_file = *s->tls_client_ca == '\0' ? NULL : s->tls_client_ca,
  };
  return tls_open(&options, &front->tls);
}

static status open_pumps(struct front *front, const struct settings *s, struct port *port) {
  unsigned wanted = (unsigned)s->pump_threads; /* at most PUMPS_MAX */
  if (wanted == 0)
    wanted = 1 + port->cores(port) / CORES_A_PUMP;
  if (wanted > PUMPS_MAX)
    wanted = PUMPS_MAX;
  struct pump_options options = {
      .port = port,
      .tls = front->tls,
      .guard = {.streams_max = (uint32_t)s->streams_per_connection_max,
                /* gRPC core has the same limit, and past it ends the connection without a word. */
                .metadata_bytes_max = (uint32_t)s->metadata_bytes_max - GUARD_ID_HEADER_COUNTED,
                .patience_us = s->handshake_timeout_ms * 1000,
                .turns_away = turns_away,
                .argument = front,
                .incomplete = &front->incomplete},
      .handshake_timeout_ms = (uint32_t)s->handshake_timeout_ms,
      .reader_timeout_ms = (uint32_t)s->reader_timeout_ms,
      .handshakes_max = (uint32_t)s->handshakes_max / wanted, /* 1 at least: the setting is 16 and more */
      .open_grpc = open_grpc,
      .open_http = front->gateway != NULL ? open_http : NULL,
      .http_is_full = http_is_full,
      .http_rests = http_rests,
      .close_http = close_http,
      .http_idle_timeout_ms = (uint32_t)s->http_idle_timeout_ms,
      .http_line_bytes_max = (size_t)(settings_memory_plan(s).http / HTTP_LINE_PART / wanted),
      .close_grpc = close_grpc,
      .ended = ended,
      .argument = front,
  };
  while (front->pump_count < wanted) {
    STATUS_TRY(pump_open(&options, &front->pumps[front->pump_count]));
    front->pump_count++;
  }
  return status_ok();
}

/* What the setting says, or what the process has descriptors for: without one the store cannot write, and
 * that must not be for strangers to bring about. */
static uint32_t connections_max(const struct settings *s, struct port *port) {
  uint64_t limit = port->descriptors_max(port);
  uint64_t reserved = limit / 2 < DESCRIPTORS_RESERVED ? limit / 2 : DESCRIPTORS_RESERVED;
  uint64_t most = (limit - reserved) / DESCRIPTORS_A_CONNECTION;
  if ((uint64_t)s->connections_max <= most)
    return (uint32_t)s->connections_max;
  if (settings_have_strangers(s)) /* on a developer's machine it is of no interest */
    log_event(LOG_LEVEL_WARN, "fewer connections than connections_max: raise the limit of open files",
              LOG_INT("connections", most), LOG_INT("connections_max", s->connections_max),
              LOG_INT("open_files", limit));
  return most > 0 ? (uint32_t)most : 1;
}

static status open_all(struct front *front, const struct settings *s, struct port *port) {
  bool has_strangers = settings_have_strangers(s);
  if (has_strangers) {
    STATUS_TRY(open_tls(front, s, port));
    STATUS_TRY(open_pumps(front, s, port));
  }
  struct listener_options options = {.port = port,
                                     .addresses = (const char *const *)s->listen.items,
                                     .address_count = s->listen.count,
                                     .taken = s->taken_count > 0 ? s->taken : NULL,
                                     .connections_max = connections_max(s, port),
                                     .connections_per_address_max = (uint32_t)s->connections_per_address_max,
                                     .handshake_timeout_ms = (uint32_t)s->handshake_timeout_ms,
                                     .handshakes_max = (uint32_t)s->handshakes_max,
                                     .on_connection = adopt,
                                     .on_http = front->gateway != NULL ? adopt_http : NULL,
                                     .on_stranger = has_strangers ? take_stranger : NULL,
                                     .argument = front};
  return listener_open(&options, &front->listener);
}

/* The guards' part of what connections may hold. gRPC core, which counts requests under way and each
 * connection too, comes to its own limit later: it would end any connection then. */
static size_t incomplete_memory(const struct settings *settings) {
  return (size_t)(settings_memory_plan(settings).connections / 3 * 2);
}

status front_open(const struct settings *settings, struct port *port, struct rpc_server *rpc,
                  struct gateway *gateway, struct front **ret) {
  struct front *front = calloc(1, sizeof *front);
  if (front == NULL) {
    gateway_close(gateway);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  pthread_mutex_init(&front->mutex, NULL);
  front->rpc = rpc;
  front->gateway = gateway;
  memory_budget_init(&front->incomplete, incomplete_memory(settings));
  status result = open_all(front, settings, port);
  if (!status_is_ok(&result)) {
    front_close(front);
    return result;
  }
  *ret = front;
  return result;
}

const char *front_address(const struct front *front, size_t index) {
  return listener_address(front->listener, index);
}

struct tls *front_tls(const struct front *front) {
  return front->tls;
}

void front_reload(struct front *front) {
  if (front->tls == NULL) {
    log_event(LOG_LEVEL_INFO, "nothing to reload: there are no certificates", LOG_INT("certificates", 0));
    return;
  }
  status result = tls_reload(front->tls);
  if (status_is_ok(&result))
    log_event(LOG_LEVEL_INFO, "certificates reloaded", LOG_CSTR("cause", "signal"));
  else
    log_event(LOG_LEVEL_ERROR, "certificates not reloaded, the old ones stay in use",
              LOG_CSTR("error", result.message));
}

void front_tick(struct front *front) {
  if (front->gateway != NULL)
    gateway_tick(front->gateway);
  if (front->tls != NULL)
    tls_tick(front->tls);
}

static void add_up(struct pump_stats *sum, const struct pump_stats *one) {
  sum->open += one->open;
  sum->http += one->http;
  sum->http_offences += one->http_offences;
  sum->http_line += one->http_line;
  sum->http_busy += one->http_busy;
  sum->waiting += one->waiting;
  sum->handshakes += one->handshakes;
  sum->resumed += one->resumed;
  sum->handshakes_failed += one->handshakes_failed;
  sum->silent += one->silent;
  sum->foreign += one->foreign;
  for (int i = 0; i < GUARD_OFFENCE_COUNT; i++)
    sum->offences[i] += one->offences[i];
}

void front_stats(struct front *front, struct front_stats *ret) {
  *ret = (struct front_stats){0};
  listener_stats(front->listener, &ret->listener);
  pthread_mutex_lock(&front->mutex);
  if (front->gateway != NULL)
    gateway_stats(front->gateway, &ret->gateway);
  pthread_mutex_unlock(&front->mutex);
  for (unsigned i = 0; i < front->pump_count; i++) {
    struct pump_stats one;
    pump_stats(front->pumps[i], &one);
    add_up(&ret->pumps, &one);
  }
}

void front_stop_accepting(struct front *front) {
  listener_stop_accepting(front->listener);
}

void front_close(struct front *front) {
  if (front == NULL)
    return;
  listener_stop_accepting(front->listener); /* nobody is brought to a pump any more */
  pthread_mutex_lock(&front->mutex);
  struct gateway *gateway = front->gateway;
  front->gateway = NULL;
  pthread_mutex_unlock(&front->mutex);
  gateway_close(gateway); /* what it says last, the pumps still pass on */
  for (unsigned i = 0; i < front->pump_count; i++)
    pump_close(front->pumps[i]);
  listener_close(front->listener);
  tls_close(front->tls);
  pthread_mutex_destroy(&front->mutex);
  free(front);
}
