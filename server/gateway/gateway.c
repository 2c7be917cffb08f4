/* Connections: from the pump and the listener to libmicrohttpd, their times, the end.
 *
 * libmicrohttpd tells of a connection that it begins with by its descriptor, which is how the peer is found:
 * a connection waits in by_fd until then, and is in the list of connections afterwards, until libmicrohttpd
 * says that it is closed, which is before it closes the descriptor. So a descriptor in the list is open, and
 * may be shut down. */
#include "server/gateway/gateway.h"

#include <assert.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "server/gateway/gateway_inside.h"

enum {
  HEADER_BYTES_MAX = 16 * 1024,
  POOL_BYTES_MORE = 8 * 1024, /* for the answer's head, and libmicrohttpd's own */
  HEAD_TIMEOUT_MS = 10000,
  IDLE_TIMEOUT_MS = 60000,
  SILENCE_S = 90, /* libmicrohttpd's own, in whatever it waits for */
  BODY_GRACE_US = 10000000,
  BEGINNING_US = 5000000, /* from the first byte to the request line, when there is no place for others */
  GONE_CHECK_US = 500000, /* shorter work is not looked after */
  MEMORY_BYTES_MAX = 64 << 20,
  ARENA_BYTES_MAX = 4 << 20,
  CONNECTIONS_MAX = 1000000, /* the listener's limit is what counts */
  ROUTES_WAITING_MAX = 64,
  BODIES_WAITING_MAX = 256, /* whose memory is counted besides */
  GOODBYE_MS = 500,
  GOODBYE_STEP_MS = 5,
};

/* ---- Connections; with the mutex held ---- */

static void list_add(struct gateway *gateway, struct connection *c) {
  c->previous = NULL;
  c->next = gateway->connections;
  if (c->next != NULL)
    c->next->previous = c;
  gateway->connections = c;
  gateway->open++;
}

static void list_remove(struct gateway *gateway, struct connection *c) {
  *(c->previous != NULL ? &c->previous->next : &gateway->connections) = c->next;
  if (c->next != NULL)
    c->next->previous = c->previous;
  gateway->open--;
  gateway->ended -= c->phase == CONNECTION_ENDED;
}

static bool is_full(const struct gateway *gateway) {
  return gateway->open + gateway->pending - gateway->ended >= gateway->open_max;
}

static void free_connection(struct connection *c) {
  if (c != NULL && c->link != NULL) {
    c->link->connection = NULL;
    gateway_unlink(c->link);
  }
  free(c);
}

/* Whether one more may come. Past the limit the one that has rested longest gives way. One with a link has
 * begun a request, or who stands in front would have taken it away: it has a while for that. */
static bool make_room(struct gateway *gateway, int64_t now_us) {
  if (!is_full(gateway))
    return true;
  struct connection *oldest = NULL;
  for (struct connection *c = gateway->connections; c != NULL; c = c->next)
    if (c->phase == CONNECTION_IDLE && (oldest == NULL || c->since_us < oldest->since_us))
      oldest = c;
  if (oldest == NULL || (oldest->link != NULL && now_us - oldest->since_us < BEGINNING_US))
    return false;
  oldest->phase = CONNECTION_ENDED;
  gateway->ended++;
  shutdown(oldest->fd, SHUT_RDWR);
  return true;
}

/* Enters it under its descriptor. False: no memory. */
static bool enter(struct gateway *gateway, struct connection *c) {
  size_t fd = (size_t)c->fd;
  if (fd >= gateway->by_fd_count) {
    size_t count = (fd + 1) * 2;
    struct connection **grown = realloc(gateway->by_fd, count * sizeof(struct connection *));
    if (grown == NULL)
      return false;
    memset(grown + gateway->by_fd_count, 0, (count - gateway->by_fd_count) * sizeof(struct connection *));
    gateway->by_fd = grown;
    gateway->by_fd_count = count;
  }
  if (gateway->by_fd[fd] != NULL) { /* one that libmicrohttpd had closed without a word */
    free_connection(gateway->by_fd[fd]);
    gateway->pending--;
  }
  gateway->by_fd[fd] = c;
  gateway->pending++;
  return true;
}

static struct connection *leave(struct gateway *gateway, int fd) {
  if (fd < 0 || (size_t)fd >= gateway->by_fd_count)
    return NULL;
  struct connection *c = gateway->by_fd[fd];
  gateway->by_fd[fd] = NULL;
  gateway->pending -= c != NULL;
  return c;
}

void gateway_set_phase(struct exchange *ex, enum connection_phase phase) {
  struct gateway *gateway = ex->gateway;
  int64_t now_us = gateway_now_us(gateway);
  pthread_mutex_lock(&gateway->mutex);
  if (ex->connection->phase != CONNECTION_ENDED) /* a request that came just then does not bring it back */
    ex->connection->phase = phase;
  ex->connection->since_us = now_us;
  ex->connection->exchange = phase == CONNECTION_IDLE ? NULL : ex;
  ex->connection->requests += phase == CONNECTION_IDLE;
  pthread_mutex_unlock(&gateway->mutex);
}

/* ---- From libmicrohttpd ---- */

static void notify_connection(void *argument, struct MHD_Connection *mhd, void **context,
                              enum MHD_ConnectionNotificationCode code) {
  struct gateway *gateway = argument;
  if (code == MHD_CONNECTION_NOTIFY_STARTED) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    pthread_mutex_lock(&gateway->mutex);
    struct connection *c = leave(gateway, info->connect_fd);
    if (c != NULL)
      list_add(gateway, c);
    pthread_mutex_unlock(&gateway->mutex);
    *context = c;
    return;
  }
  struct connection *c = *context;
  if (c == NULL)
    return;
  /* A close is not enough where the listener has a copy of the descriptor, by which it sees the end. */
  shutdown(c->fd, SHUT_RDWR);
  pthread_mutex_lock(&gateway->mutex);
  list_remove(gateway, c);
  free_connection(c);
  pthread_mutex_unlock(&gateway->mutex);
}

/* libmicrohttpd would take the query apart, 70 bytes a parameter, and when its memory for that is out it
 * neither answers nor closes. So it sees one parameter; the text is its own buffer, into which it puts NULs
 * itself. */
static void hide_query(const char *target) {
  for (char *at = (char *)(uintptr_t)target; *at != '\0'; at++)
    if (*at == '&')
      *at = '_';
}

/* The request line is there: what is returned is the request's context from now on. */
static void *begin_request(void *argument, const char *target, struct MHD_Connection *mhd) {
  struct gateway *gateway = argument;
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  struct connection *c = info == NULL ? NULL : info->socket_context;
  struct exchange *ex = c == NULL ? NULL : exchange_new(gateway, c, target);
  if (ex != NULL)
    gateway_set_phase(ex, CONNECTION_HEAD);
  hide_query(target);
  atomic_fetch_add_explicit(&gateway->requests, 1, memory_order_relaxed);
  return ex;
}

static enum MHD_Result run_request(void *argument, struct MHD_Connection *mhd, const char *url,
                                   const char *verb, const char *version, const char *upload,
                                   size_t *upload_len, void **context) {
  (void)argument;
  (void)url;
  struct exchange *ex = *context;
  return ex == NULL ? MHD_NO : (enum MHD_Result)exchange_run(ex, mhd, verb, version, upload, upload_len);
}

static void end_request(void *argument, struct MHD_Connection *mhd, void **context,
                        enum MHD_RequestTerminationCode code) {
  (void)argument;
  (void)mhd;
  (void)code;
  struct exchange *ex = *context;
  *context = NULL;
  if (ex == NULL)
    return;
  gateway_set_phase(ex, CONNECTION_IDLE);
  exchange_completed(ex);
}

/* Paths are taken as they were sent: url.h decodes what it has taken apart. */
static size_t leave_escapes(void *argument, struct MHD_Connection *mhd, char *text) {
  (void)argument;
  (void)mhd;
  return strlen(text);
}

/* ---- Opening ---- */

static uint32_t or_default(uint32_t value, uint32_t normal) {
  return value == 0 ? normal : value;
}

static void complete_options(struct gateway_options *o) {
  o->port = o->port == NULL ? port_linux() : o->port;
  o->threads = o->threads == 0 ? 1 : o->threads;
  o->message_bytes_max = or_default(o->message_bytes_max, LIMIT_MESSAGE_BYTES);
  o->body_bytes_max = or_default(o->body_bytes_max, LIMIT_MESSAGE_BYTES);
  o->header_bytes_max = or_default(o->header_bytes_max, HEADER_BYTES_MAX);
  o->head_timeout_ms = or_default(o->head_timeout_ms, HEAD_TIMEOUT_MS);
  o->idle_timeout_ms = or_default(o->idle_timeout_ms, IDLE_TIMEOUT_MS);
  o->memory_bytes_max = o->memory_bytes_max == 0 ? MEMORY_BYTES_MAX : o->memory_bytes_max;
}

static struct MHD_Daemon *start(struct gateway *gateway) {
  const struct gateway_options *o = &gateway->options;
  unsigned flags =
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;
  struct MHD_OptionItem options[] = {
      {MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, NULL},
      {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)o->header_bytes_max + POOL_BYTES_MORE, NULL},
      {MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_S, NULL},
      {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
      {MHD_OPTION_THREAD_POOL_SIZE, o->threads > 1 ? (intptr_t)o->threads : 0, NULL},
      {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)notify_connection, gateway},
      {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)end_request, gateway},
      {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)begin_request, gateway},
      {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)leave_escapes, gateway},
      {MHD_OPTION_END, 0, NULL},
  };
  return MHD_start_daemon(flags, 0, NULL, NULL, run_request, gateway, MHD_OPTION_ARRAY, options,
                          MHD_OPTION_END);
}

status gateway_open(const struct gateway_options *options, struct gateway **ret) {
  struct gateway *gateway = calloc(1, sizeof *gateway);
  if (gateway == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  gateway->options = *options;
  complete_options(&gateway->options);
  arena_init(&gateway->arena, NULL, 0, ARENA_BYTES_MAX);
  /* Half of the memory for what connections have while they rest. */
  gateway->open_max =
      gateway->options.memory_bytes_max / 2 / (gateway->options.header_bytes_max + POOL_BYTES_MORE) + 1;
  memory_budget_init(&gateway->memory, (size_t)gateway->options.memory_bytes_max / 2);
  pthread_mutex_init(&gateway->mutex, NULL);
  worker_init(&gateway->routes_worker, ROUTES_WAITING_MAX);
  worker_init(&gateway->bodies_worker, BODIES_WAITING_MAX);
  status result = rest_init(gateway);
  if (status_is_ok(&result))
    result = worker_start(&gateway->bodies_worker, "gateway-bodies");
  if (status_is_ok(&result)) {
    gateway->daemon = start(gateway);
    if (gateway->daemon == NULL)
      result = status_make(STATUS_RESOURCE_EXHAUSTED, "The threads for HTTP/1.1 could not be started.");
  }
  if (!status_is_ok(&result)) {
    gateway_close(gateway);
    return result;
  }
  *ret = gateway;
  return result;
}

/* False: refused, and `fd` is closed. `link`: NULL if nobody wants one. */
static bool take(struct gateway *gateway, int fd, const struct rpc_peer *peer, struct gateway_link *link) {
  /* libmicrohttpd wants some address, and nothing here asks it for one. */
  const struct sockaddr address = {.sa_family = AF_UNIX};
  struct connection *c = calloc(1, sizeof *c);
  if (c == NULL) {
    close(fd);
    return false;
  }
  *c = (struct connection){.fd = fd, .peer = *peer, .since_us = gateway_now_us(gateway), .link = link};
  /* Apart from the runtime's own numbers. */
  c->peer.connection_id = 1ULL << 63 | ++gateway->connection_ids;
  pthread_mutex_lock(&gateway->mutex);
  bool entered = make_room(gateway, c->since_us) && enter(gateway, c);
  if (entered && link != NULL) {
    link->connection = c;
    atomic_fetch_add_explicit(&link->holders, 1, memory_order_relaxed);
  }
  pthread_mutex_unlock(&gateway->mutex);
  if (!entered) {
    free(c);
    close(fd);
    return false;
  }
  if (MHD_add_connection(gateway->daemon, fd, &address, sizeof address) == MHD_YES)
    return true;
  pthread_mutex_lock(&gateway->mutex); /* it has closed the descriptor, which may be another's by now */
  bool is_mine = (size_t)fd < gateway->by_fd_count && gateway->by_fd[fd] == c;
  if (is_mine) {
    leave(gateway, fd);
    free_connection(c);
  }
  pthread_mutex_unlock(&gateway->mutex);
  return false;
}

void gateway_take(struct gateway *gateway, int fd, const struct rpc_peer *peer) {
  take(gateway, fd, peer, NULL);
}

struct gateway_link *gateway_take_linked(struct gateway *gateway, int fd, const struct rpc_peer *peer) {
  struct gateway_link *link = calloc(1, sizeof *link);
  if (link == NULL) {
    close(fd);
    return NULL;
  }
  atomic_init(&link->holders, 1);
  if (take(gateway, fd, peer, link))
    return link;
  gateway_unlink(link);
  return NULL;
}

bool gateway_rests(struct gateway *gateway, const struct gateway_link *link, uint64_t requests) {
  assert(requests > 0); /* or libmicrohttpd might not have begun with it */
  pthread_mutex_lock(&gateway->mutex);
  struct connection *c = link->connection;
  bool rests = c != NULL && c->phase == CONNECTION_IDLE && c->requests == requests;
  if (rests) {
    c->phase = CONNECTION_ENDED;
    gateway->ended++;
  }
  pthread_mutex_unlock(&gateway->mutex);
  return rests;
}

void gateway_unlink(struct gateway_link *link) {
  if (link != NULL && atomic_fetch_sub_explicit(&link->holders, 1, memory_order_acq_rel) == 1)
    free(link);
}

bool gateway_is_full(struct gateway *gateway) {
  pthread_mutex_lock(&gateway->mutex);
  bool full = is_full(gateway);
  pthread_mutex_unlock(&gateway->mutex);
  return full;
}

/* ---- Time passes ---- */

/* With the mutex held. */
static bool is_overdue(const struct gateway *gateway, const struct connection *c, int64_t now_us) {
  const struct gateway_options *o = &gateway->options;
  int64_t in_phase_us = now_us - c->since_us;
  switch (c->phase) {
  case CONNECTION_IDLE:
    return in_phase_us > o->idle_timeout_ms * 1000LL;
  case CONNECTION_HEAD:
    return in_phase_us > o->head_timeout_ms * 1000LL;
  case CONNECTION_BODY: {
    size_t received =
        c->exchange == NULL ? 0 : atomic_load_explicit(&c->exchange->body_received, memory_order_relaxed);
    return in_phase_us > BODY_GRACE_US + (int64_t)(received / GATEWAY_BODY_BYTES_PER_SECOND) * 1000000;
  }
  case CONNECTION_WORKING:
  case CONNECTION_ENDED:
    break;
  }
  return false;
}

/* Whether the client of a request under way has gone: libmicrohttpd does not look at connections that sleep.
 */
static bool is_gone(const struct connection *c) {
  struct pollfd poll_fd = {.fd = c->fd, .events = POLLRDHUP};
  return poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void gateway_tick(struct gateway *gateway) {
  int64_t now_us = gateway_now_us(gateway);
  pthread_mutex_lock(&gateway->mutex);
  for (struct connection *c = gateway->connections; c != NULL; c = c->next) {
    if (is_overdue(gateway, c, now_us)) {
      shutdown(c->fd, SHUT_RDWR);
      continue;
    }
    bool works = c->exchange != NULL && (c->phase == CONNECTION_WORKING || c->phase == CONNECTION_ENDED);
    if (works && now_us - c->since_us > GONE_CHECK_US && is_gone(c))
      exchange_abort(c->exchange); /* in the list it has its exchange: exchange_completed comes after */
  }
  pthread_mutex_unlock(&gateway->mutex);
}

void gateway_stats(struct gateway *gateway, struct gateway_stats *ret) {
  pthread_mutex_lock(&gateway->mutex);
  ret->open = gateway->open;
  pthread_mutex_unlock(&gateway->mutex);
  ret->requests = atomic_load_explicit(&gateway->requests, memory_order_relaxed);
  ret->refused = atomic_load_explicit(&gateway->refused, memory_order_relaxed);
  ret->memory_bytes = memory_budget_used(&gateway->memory);
  ret->memory_bytes_max = gateway->memory.max_bytes;
  ret->bodies_waiting = worker_waiting(&gateway->bodies_worker);
}

/* ---- The end ---- */

static bool is_busy(struct gateway *gateway) {
  bool busy = false;
  pthread_mutex_lock(&gateway->mutex);
  for (struct connection *c = gateway->connections; c != NULL; c = c->next)
    busy = busy || (c->phase != CONNECTION_IDLE && c->phase != CONNECTION_ENDED);
  pthread_mutex_unlock(&gateway->mutex);
  return busy;
}

static void say_goodbye(struct gateway *gateway) {
  const struct timespec step = {0, GOODBYE_STEP_MS * 1000000L};
  for (int waited = 0; waited < GOODBYE_MS && is_busy(gateway); waited += GOODBYE_STEP_MS)
    nanosleep(&step, NULL);
  pthread_mutex_lock(&gateway->mutex);
  for (struct connection *c = gateway->connections; c != NULL; c = c->next)
    if (c->exchange != NULL)
      exchange_abort(c->exchange); /* none may sleep when libmicrohttpd stops */
  pthread_mutex_unlock(&gateway->mutex);
}

void gateway_close(struct gateway *gateway) {
  if (gateway == NULL)
    return;
  worker_fini(&gateway->routes_worker);
  worker_fini(&gateway->bodies_worker);
  if (gateway->daemon != NULL) {
    say_goodbye(gateway);
    MHD_stop_daemon(gateway->daemon);
  }
  for (size_t i = 0; i < gateway->by_fd_count; i++)
    free_connection(gateway->by_fd[i]);
  free(gateway->by_fd);
  assert(gateway->connections == NULL);
  schema_free(gateway->schema);
  arena_fini(&gateway->arena);
  pthread_mutex_destroy(&gateway->mutex);
  free(gateway);
}
