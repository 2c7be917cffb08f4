/* The server: settings, the table of methods, start, hand-over of connections, drain. rpc/runtime.h has the
 * design of what happens to a call. */
#include <assert.h>
#include <errno.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/monotonic_wait.h"
#include "rpc/abseil.h"
#include "rpc/health.h"
#include "rpc/local_call.h"
#include "rpc/reflection.h"
#include "rpc/runtime.h"

enum {
  /* gRPC copies the table of registered methods into every connection, about 200 bytes for each. Methods past
   * this number, and those that the client streams to, come through the generic request: one event more. */
  REGISTERED_MAX = 32,
  THREADS_MAX = 64,
  HANDSHAKE_TIMEOUT_MS = 20000,
  FRAME_BYTES_MAX = 16384,      /* HTTP/2's smallest: bounds what one frame can make gRPC hold */
  PING_INTERVAL_MIN_MS = 10000, /* mobile clients ping often; gRPC's default of 5 minutes cuts them off */
  AGE_GRACE_MS = 30000,
  MEMORY_BYTES_NORMAL = 256 << 20, /* of calls, and of connections */
  MEMORY_BYTES_LEAST = 2 << 20,
  GRPC_LOG_BURST = 2,
  /* An idle server answers in a fraction of it, and nobody notices so much on top of a network's time. */
  SHED_TARGET_MS = 5,
  DRAIN_POLL_MS = 5,
  DRAIN_GOODBYE_US = 200000, /* for clients to close after the GOAWAY, once all calls are done */
};

/* ---- Settings ---- */

struct bounds {
  const char *name;
  uint32_t *value;
  uint32_t normal, least, most;
};

static status check_bounds(const struct bounds *bounds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (*bounds[i].value == 0)
      *bounds[i].value = bounds[i].normal;
    if (*bounds[i].value < bounds[i].least || *bounds[i].value > bounds[i].most)
      return status_make(STATUS_INVALID_ARGUMENT, "%s must be from %u to %u, not %u.", bounds[i].name,
                         bounds[i].least, bounds[i].most, *bounds[i].value);
  }
  return status_ok();
}

static status complete_options(struct rpc_server_options *o) {
  if (o->port == NULL)
    o->port = port_linux();
  unsigned cores = o->port->cores(o->port);
  uint32_t threads = o->threads;
  const struct bounds bounds[] = {
      {"threads", &threads,
       cores < 1             ? 1
       : cores > THREADS_MAX ? THREADS_MAX
                             : cores,
       1, THREADS_MAX},
      {"message_bytes_max", &o->message_bytes_max, LIMIT_MESSAGE_BYTES, 65536, 64 << 20},
      {"call_memory_bytes_max", &o->call_memory_bytes_max, LIMIT_CALL_ARENA_BYTES, 1 << 20, 1 << 30},
      {"metadata_bytes_max", &o->metadata_bytes_max, LIMIT_METADATA_BYTES, 1024, 65536},
      {"streams_per_connection_max", &o->streams_per_connection_max, LIMIT_STREAMS_PER_CONNECTION, 1, 10000},
      {"send_queue_bytes_max", &o->send_queue_bytes_max, LIMIT_SEND_QUEUE_BYTES, 65536, 64 << 20},
      {"calls_max", &o->calls_max, 20000, 16, 1000000},
      {"keepalive_ms", &o->keepalive_ms, 120000, 10000, 86400000},
      {"keepalive_timeout_ms", &o->keepalive_timeout_ms, 20000, 1000, 600000},
      {"shed_target_ms", &o->shed_target_ms, SHED_TARGET_MS, 1, 1000},
  };
  STATUS_TRY(check_bounds(bounds, sizeof bounds / sizeof bounds[0]));
  if (o->calls_memory_bytes_max == 0)
    o->calls_memory_bytes_max = MEMORY_BYTES_NORMAL;
  if (o->connections_memory_bytes_max == 0)
    o->connections_memory_bytes_max = MEMORY_BYTES_NORMAL;
  if (o->calls_memory_bytes_max < MEMORY_BYTES_LEAST || o->connections_memory_bytes_max < MEMORY_BYTES_LEAST)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "calls_memory_bytes_max and connections_memory_bytes_max must be at least %d.",
                       (int)MEMORY_BYTES_LEAST);
  if (o->connection_age_max_ms != 0 &&
      (o->connection_age_max_ms < 10000 || o->connection_age_max_ms > INT_MAX))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "connection_age_max_ms must be 0 or from 10000 to %d, not %u.", INT_MAX,
                       o->connection_age_max_ms);
  if (o->connection_idle_max_ms != 0 &&
      (o->connection_idle_max_ms < 1000 || o->connection_idle_max_ms > INT_MAX))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "connection_idle_max_ms must be 0 or from 1000 to %d, not %u.", INT_MAX,
                       o->connection_idle_max_ms);
  o->threads = threads;
  return status_ok();
}

static grpc_arg int_arg(const char *name, uint32_t value) {
  return (grpc_arg){.type = GRPC_ARG_INTEGER,
                    .key = (char *)(uintptr_t)name, /* gRPC copies it, but does not say so in its type */
                    .value.integer = (int)value};
}

static grpc_server *create_grpc_server(const struct rpc_server_options *o) {
  grpc_resource_quota *quota = grpc_resource_quota_create("connections");
  grpc_resource_quota_resize(quota, o->connections_memory_bytes_max);
  grpc_arg args[] = {
      {.type = GRPC_ARG_POINTER,
       .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
       .value.pointer = {.p = quota, .vtable = grpc_resource_quota_arg_vtable()}},
      /* We inflate: gRPC would first inflate all of it and then look at the limit. */
      int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
      int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
      int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, o->message_bytes_max),
      int_arg(GRPC_ARG_MAX_METADATA_SIZE, o->metadata_bytes_max),
      int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, o->streams_per_connection_max),
      int_arg(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, FRAME_BYTES_MAX),
      int_arg(GRPC_ARG_HTTP2_ENABLE_TRUE_BINARY, 0),
      int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, o->keepalive_ms),
      int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, o->keepalive_timeout_ms),
      int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
      int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_INTERVAL_MIN_MS),
      int_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS),
      /* Its tables of every connection cost memory, and nothing here shows them. */
      int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
      int_arg(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
              o->connection_idle_max_ms == 0 ? INT_MAX : o->connection_idle_max_ms),
      int_arg(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, AGE_GRACE_MS),
      int_arg(GRPC_ARG_MAX_CONNECTION_AGE_MS, o->connection_age_max_ms),
  };
  size_t count = sizeof args / sizeof args[0];
  if (o->connection_age_max_ms == 0)
    count--;
  grpc_channel_args all = {.num_args = count, .args = args};
  grpc_server *server = grpc_server_create(&all, NULL);
  grpc_resource_quota_unref(quota); /* the server holds it */
  return server;
}

/* ---- Building ---- */

static void shutdown_done(struct rpc_tag *tag, bool ok) {
  (void)ok;
  struct rpc_server *server = RPC_OWNER(tag, struct rpc_server, shutdown_tag);
  pthread_mutex_lock(&server->mutex);
  server->shutdown_done = true;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->mutex);
}

/* What gRPC core has to say. Clients can make it say as much as they like: it quotes headers that it cannot
 * read, and writes to standard error by itself. */
static void take_grpc_log(gpr_log_func_args *args) {
  if (strstr(args->message, "non-client generated index") != NULL)
    return; /* the guard did that: a header block that nobody waits for (server/listener/guard.h) */
  static struct log_limiter limiter;
  uint32_t suppressed = 0;
  if (log_limiter_pass(&limiter, GRPC_LOG_BURST, &suppressed))
    log_event(args->severity == GPR_LOG_SEVERITY_ERROR ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "gRPC core",
              LOG_CSTR("says", args->message), LOG_INT("suppressed", suppressed));
}

status rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret) {
  struct rpc_server *server = calloc(1, sizeof *server);
  if (server == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  if (options != NULL)
    server->options = *options;
  status result = complete_options(&server->options);
  if (result.code != STATUS_OK) {
    free(server);
    return result;
  }
  rpc_abseil_configure();
  gpr_set_log_function(take_grpc_log);
  grpc_init();
  crypto_random(&server->request_ids, sizeof server->request_ids);
  server->logged_from_us = server->options.access_log         ? INT64_MIN
                           : server->options.slow_call_ms > 0 ? (int64_t)server->options.slow_call_ms * 1000
                                                              : INT64_MAX;
  memory_budget_init(&server->calls_memory, server->options.calls_memory_bytes_max);
  pthread_mutex_init(&server->mutex, NULL);
  monotonic_cond_init(&server->changed);
  server->shutdown_tag.run = shutdown_done;
  server->drain_deadline_us = INT64_MAX;
  server->grpc = create_grpc_server(&server->options);
  server->credentials = grpc_insecure_server_credentials_create();
  server->peers =
      rpc_peers_new(server->options.port->descriptors_max(server->options.port), &server->calls_memory);
  if (server->grpc == NULL || server->peers == NULL) {
    rpc_server_free(server);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  *ret = server;
  return status_ok();
}

static bool wants_registration(const struct rpc_server *server, const struct rpc_method *method) {
  size_t registered = 0;
  for (size_t i = 0; i < server->entry_count; i++)
    registered += server->entries[i]->registered != NULL;
  return registered < REGISTERED_MAX && (method->kind == RPC_UNARY || method->kind == RPC_SERVER_STREAM);
}

static bool is_never_shed(const struct rpc_server *server, const char *service) {
  const char *const *listed = server->options.never_shed;
  for (; listed != NULL && *listed != NULL; listed++)
    if (strcmp(*listed, service) == 0)
      return true;
  return server->options.sheds_never || server->adds_own;
}

static status add_method(struct rpc_server *server, const struct rpc_method *method, const void *handlers,
                         void *service_state, bool never_shed) {
  /* A stream costs little to open, its client is told of what it missed meanwhile anyway, and Firestore's
   * SDKs stay away for a minute after RESOURCE_EXHAUSTED on Listen and Write. */
  bool streams_requests = method->kind == RPC_CLIENT_STREAM || method->kind == RPC_BIDI;
  struct rpc_entry *entry = calloc(1, sizeof *entry);
  if (entry == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  *entry = (struct rpc_entry){.method = method,
                              .handlers = handlers,
                              .service_state = service_state,
                              .index = server->entry_count,
                              .is_implemented = method->is_implemented(handlers),
                              .is_never_shed = never_shed || streams_requests,
                              .is_own = server->adds_own};
  if (entry->is_implemented && wants_registration(server, method))
    entry->registered = grpc_server_register_method(server->grpc, method->path, NULL,
                                                    GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  server->entries[server->entry_count++] = entry;
  return status_ok();
}

status rpc_server_add_service(struct rpc_server *server, const struct rpc_service *service,
                              const void *handlers, void *service_state) {
  assert(server->state == SERVER_NEW);
  for (size_t i = 0; i < server->service_count; i++)
    if (strcmp(server->services[i]->name, service->name) == 0)
      return status_make(STATUS_ALREADY_EXISTS, "service %s was added before", service->name);
  size_t entries = server->entry_count + service->method_count;
  struct rpc_entry **grown = realloc(server->entries, (entries + 1) * sizeof *grown);
  if (grown != NULL)
    server->entries = grown;
  const struct rpc_service **services =
      realloc(server->services, (server->service_count + 1) * sizeof *services);
  if (services != NULL)
    server->services = services;
  if (grown == NULL || services == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  server->services[server->service_count++] = service;
  bool never_shed = is_never_shed(server, service->name);
  for (size_t i = 0; i < service->method_count; i++)
    STATUS_TRY(add_method(server, &service->methods[i], handlers, service_state, never_shed));
  return status_ok();
}

/* FNV-1a: the paths are ours, so nobody can aim at collisions. */
static size_t hash(str path) {
  uint64_t h = 14695981039346656037U;
  for (size_t i = 0; i < path.len; i++)
    h = (h ^ (uint8_t)path.ptr[i]) * 1099511628211U;
  return (size_t)(h ^ (h >> 32));
}

static bool build_table(struct rpc_server *server) {
  size_t size = 16;
  while (size < server->entry_count * 2)
    size *= 2;
  server->by_path = calloc(size, sizeof *server->by_path);
  if (server->by_path == NULL)
    return false;
  server->by_path_mask = size - 1;
  for (size_t i = 0; i < server->entry_count; i++) {
    size_t at = hash(str_from_cstr(server->entries[i]->method->path)) & server->by_path_mask;
    while (server->by_path[at] != NULL)
      at = (at + 1) & server->by_path_mask;
    server->by_path[at] = server->entries[i];
  }
  return true;
}

const struct rpc_entry *rpc_server_lookup(const struct rpc_server *server, str path) {
  for (size_t at = hash(path);; at++) {
    const struct rpc_entry *entry = server->by_path[at & server->by_path_mask];
    if (entry == NULL)
      return &server->unknown;
    if (str_eq(str_from_cstr(entry->method->path), path))
      return entry;
  }
}

/* Last, so that the methods of others are the registered ones. */
static status add_own_services(struct rpc_server *server) {
  server->adds_own = true;
  STATUS_TRY(rpc_health_new(server, server->services, server->service_count, &server->health));
  if (!server->options.reflection)
    return status_ok();
  return rpc_reflection_new(server, &server->reflection);
}

static bool init_gates(struct rpc_server *server) {
  server->gates = calloc(server->entry_count + 1, sizeof *server->gates);
  if (server->gates == NULL)
    return false;
  for (; server->gate_count < server->entry_count; server->gate_count++)
    rpc_gate_init(&server->gates[server->gate_count], (int64_t)server->options.shed_target_ms * 1000);
  return true;
}

status rpc_server_start(struct rpc_server *server) {
  assert(server->state == SERVER_NEW);
  STATUS_TRY(add_own_services(server));
  server->unknown.index = server->entry_count;
  server->queues = calloc(server->options.threads, sizeof *server->queues);
  if (server->queues == NULL || !init_gates(server) || !build_table(server))
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (unsigned i = 0; i < server->options.threads; i++) {
    if (!rpc_queue_init(&server->queues[i], server, i))
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    grpc_server_register_completion_queue(server->grpc, server->queues[i].cq, NULL);
  }
  grpc_server_start(server->grpc);
  server->state = SERVER_STARTED;
  for (unsigned i = 0; i < server->options.threads; i++)
    if (!rpc_queue_start(&server->queues[i]))
      return status_make(STATUS_RESOURCE_EXHAUSTED, "A thread could not be started.");
  return status_ok();
}

static bool is_started(struct rpc_server *server) {
  pthread_mutex_lock(&server->mutex);
  bool is_open = server->state == SERVER_STARTED;
  pthread_mutex_unlock(&server->mutex);
  return is_open;
}

void rpc_server_adopt(struct rpc_server *server, int fd, const struct rpc_peer *peer) {
  int moved = is_started(server) ? rpc_peers_enter(server->peers, fd, peer) : -1;
  if (moved < 0) {
    close(fd);
    return;
  }
  grpc_server_add_channel_from_fd(server->grpc, moved, server->credentials);
}

bool rpc_server_adopt_guarded(struct rpc_server *server, int fd, const struct rpc_peer *peer,
                              struct rpc_connection_key *ret) {
  if (!is_started(server) || !rpc_peers_enter_guarded(server->peers, fd, peer, ret)) {
    close(fd);
    return false;
  }
  grpc_server_add_channel_from_fd(server->grpc, fd, server->credentials);
  return true;
}

void rpc_server_forget(struct rpc_server *server, const struct rpc_connection_key *key) {
  rpc_peers_forget(server->peers, key);
}

void rpc_server_tick(struct rpc_server *server) {
  int64_t now_us = server->options.port->monotonic_us(server->options.port);
  if (memory_budget_is_spent(&server->calls_memory))
    rpc_laggards_relieve(server, RPC_DOES_NOT_TAKE, now_us);
  else if (rpc_server_is_crowded(server))
    rpc_laggards_relieve(server, RPC_SAYS_NOTHING, now_us);
}

int64_t rpc_server_pulse(struct rpc_server *server) {
  int64_t now_us = server->options.port->monotonic_us(server->options.port), longest_us = 0;
  for (unsigned i = 0; i < server->options.threads; i++) {
    int64_t asked_us = rpc_queue_pulse(&server->queues[i], now_us);
    if (asked_us != 0 && now_us - asked_us > longest_us)
      longest_us = now_us - asked_us;
  }
  return longest_us;
}

void rpc_server_set_serving(struct rpc_server *server, const char *service, bool serving) {
  assert(server->health != NULL); /* after rpc_server_start */
  rpc_health_set(server->health, service, serving);
}

bool rpc_server_is_serving(struct rpc_server *server, const char *service) {
  return server->health != NULL && rpc_health_get(server->health, service);
}

/* ---- The end ---- */

static uint64_t calls_active(const struct rpc_server *server) {
  uint64_t active = 0;
  for (unsigned i = 0; i < server->options.threads && server->queues != NULL; i++)
    active += atomic_load_explicit(&server->queues[i].calls_active, memory_order_acquire);
  return active;
}

/* Those of this process too that did not get to their queue yet. */
static bool is_busy(const struct rpc_server *server) {
  return atomic_load_explicit(&server->locals, memory_order_acquire) > 0 || calls_active(server) > 0;
}

/* Waits for a moment, or until something changes. With the mutex held. */
static void wait_shortly(struct rpc_server *server) {
  monotonic_wait_for(&server->changed, &server->mutex, DRAIN_POLL_MS * 1000);
}

void rpc_server_drain(struct rpc_server *server, int64_t deadline_us) {
  struct port *port = server->options.port;
  pthread_mutex_lock(&server->mutex);
  if (deadline_us < server->drain_deadline_us)
    server->drain_deadline_us = deadline_us;
  if (server->state != SERVER_STARTED) { /* somebody else drains: he sees the earlier deadline */
    while (server->state == SERVER_DRAINING)
      wait_shortly(server);
    if (server->state == SERVER_NEW)
      server->state = SERVER_DRAINED;
    pthread_mutex_unlock(&server->mutex);
    return;
  }
  server->state = SERVER_DRAINING;
  pthread_mutex_unlock(&server->mutex);

  rpc_health_close(server->health);
  grpc_server_shutdown_and_notify(server->grpc, server->queues[0].cq, &server->shutdown_tag);

  pthread_mutex_lock(&server->mutex);
  bool cancelled = false;
  int64_t goodbye_us = INT64_MAX;
  while (!server->shutdown_done || is_busy(server)) {
    int64_t now_us = port->monotonic_us(port);
    if (goodbye_us == INT64_MAX && !is_busy(server))
      goodbye_us = now_us + DRAIN_GOODBYE_US;
    if (!cancelled && (now_us >= server->drain_deadline_us || now_us >= goodbye_us)) {
      cancelled = true;
      pthread_mutex_unlock(&server->mutex);
      grpc_server_cancel_all_calls(server->grpc); /* and connections with them */
      for (unsigned i = 0; i < server->options.threads; i++)
        rpc_locals_cancel(&server->queues[i]);
      pthread_mutex_lock(&server->mutex);
    }
    wait_shortly(server);
  }
  server->state = SERVER_DRAINED;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->mutex);
}

void rpc_server_free(struct rpc_server *server) {
  if (server == NULL)
    return;
  if (server->state == SERVER_STARTED) /* a start that failed halfway, or a caller in a hurry */
    rpc_server_drain(server, 0);
  if (server->grpc != NULL)
    grpc_server_destroy(server->grpc);
  for (unsigned i = 0; i < server->options.threads && server->queues != NULL; i++)
    rpc_queue_fini(&server->queues[i]);
  free(server->queues);
  for (size_t i = 0; i < server->entry_count; i++)
    free(server->entries[i]);
  free(server->entries);
  for (size_t i = 0; i < server->gate_count; i++)
    rpc_gate_fini(&server->gates[i]);
  free(server->gates);
  free(server->services);
  free(server->by_path);
  rpc_peers_free(server->peers);
  rpc_health_free(server->health);
  rpc_reflection_free(server->reflection);
  if (server->credentials != NULL)
    grpc_server_credentials_release(server->credentials);
  pthread_cond_destroy(&server->changed);
  pthread_mutex_destroy(&server->mutex);
  free(server);
  grpc_shutdown();
}

/* ---- Counts ---- */

void rpc_server_stats(struct rpc_server *server, struct rpc_server_stats *ret) {
  ret->connections_open = rpc_peers_count(server->peers);
  ret->connections_total = rpc_peers_total(server->peers);
  ret->calls_active = calls_active(server);
  ret->turned_away = 0;
  ret->is_shedding = false;
  ret->calls_memory_bytes = memory_budget_used(&server->calls_memory);
  ret->calls_memory_bytes_max = server->calls_memory.max_bytes;
  int64_t now_us = server->options.port->monotonic_us(server->options.port);
  for (size_t i = 0; i < server->gate_count; i++)
    ret->turned_away += rpc_gate_refused(&server->gates[i]);
  ret->shed = ret->turned_away;
  for (unsigned q = 0; q < server->options.threads && server->queues != NULL; q++)
    for (size_t i = 0; i < server->entry_count && server->queues[q].shedding != NULL; i++) {
      const struct rpc_shedding *shedding = &server->queues[q].shedding[i];
      ret->shed += rpc_shedding_refused(shedding);
      ret->is_shedding = ret->is_shedding ||
                         (!server->entries[i]->is_never_shed && rpc_shedding_is_overloaded(shedding, now_us));
    }
}

/* Calls that the runtime did not see. */
static void add_turned_away(struct rpc_method_stats *stats, uint64_t count) {
  stats->started += count;
  stats->failed += count;
  stats->by_code[STATUS_RESOURCE_EXHAUSTED] += count;
}

void rpc_server_visit_methods(struct rpc_server *server,
                              void (*visit)(void *argument, const struct rpc_method_stats *stats),
                              void *argument) {
  const struct rpc_counters *sets[THREADS_MAX];
  for (size_t i = 0; i < server->entry_count; i++) {
    for (unsigned q = 0; q < server->options.threads; q++)
      sets[q] = server->queues == NULL || server->queues[q].counters == NULL ? NULL
                                                                             : &server->queues[q].counters[i];
    struct rpc_method_stats stats;
    rpc_counters_merge(server->entries[i]->method, sets, server->options.threads, &stats);
    add_turned_away(&stats, i < server->gate_count ? rpc_gate_refused(&server->gates[i]) : 0);
    visit(argument, &stats);
  }
}
