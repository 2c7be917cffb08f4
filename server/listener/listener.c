/* The accepting thread.
 *
 * Parties: the thread, which owns everything in the epoll set; the caller, who opens, asks for counts, and
 * stops, or says which strangers are gone. The mutex guards what both touch: the counts, those who are gone,
 * and the flags of the end.
 *
 * A connection is waiting (its preface is looked at with MSG_PEEK, nothing is taken from it; edge-triggered,
 * because what was looked at stays) and then watched: the descriptor is handed over and a duplicate stays
 * here, for which epoll reports only the hang-up. gRPC shuts a socket down before it closes it, so the
 * duplicate tells when the connection ends; it holds the kernel's socket for the moment until then, and
 * nothing else. That is what makes the limits count connections that are open, without asking their new
 * owner. Strangers are watched from the start, without a descriptor: who took them says when they end. */
#include "server/listener/listener.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "server/listener/preface.h"
#include "server/listener/socket.h"

enum {
  CONNECTIONS_MAX = 10000,
  HANDSHAKE_TIMEOUT_MS = 10000,
  HANDSHAKES_MAX = 1024,
  ACCEPTS_A_TURN = 64, /* so that those who are connected get their turn */
  PAUSE_MS = 200,      /* without descriptors or memory */
  EVENTS_A_TURN = 128,
  LOG_BURST = 5,
  ADDRESS_BYTES_MAX = 256,
};

#define GRPC_ONLY ",grpc" /* at the end of an address */

static const char HTTP1_ANSWER[] = "HTTP/1.1 426 Upgrade Required\r\n"
                                   "Upgrade: h2c\r\nConnection: close\r\nContent-Type: text/plain\r\n"
                                   "Content-Length: 52\r\n\r\n"
                                   "This port speaks gRPC: HTTP/2 with prior knowledge.\n";

/* What an epoll event points at. */
enum kind { KIND_WAKE, KIND_SOCKET, KIND_CONNECTION };

struct connection {
  enum kind kind;
  int fd; /* while it waits the connection itself, then the duplicate; -1: a stranger's, or ended */
  bool is_waiting;
  uint64_t place;
  int64_t deadline_us;
  struct rpc_peer peer;
  struct connection *next_in_place, *previous, *next; /* its bucket; all waiting ones, or all watched ones */
  struct connection *next_ended;
};

struct list {
  struct connection *first, *last;
  size_t count;
};

struct acceptor {
  enum kind kind;
  bool always_h2;
  struct listener_socket socket;
};

struct listener {
  struct listener_options options;
  struct acceptor *acceptors;
  struct connection **places; /* buckets of connections by place */
  size_t places_mask;
  struct list waiting, watched;
  struct list freed; /* connections that ended in this turn: events of the turn may still name them */
  int epoll, wake;
  enum kind wake_kind;
  int64_t paused_until_us; /* 0: accepting */
  pthread_t thread;
  bool has_thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool stop_accepting, accepting_stopped, end;
  struct connection *ended; /* strangers whose connections are closed */
  struct listener_stats stats;
};

static int64_t now_us(const struct listener *listener) {
  return listener->options.port->monotonic_us(listener->options.port);
}

/* ---- Lists of connections ---- */

static void list_add(struct list *list, struct connection *c) {
  c->previous = list->last;
  c->next = NULL;
  if (list->last != NULL)
    list->last->next = c;
  else
    list->first = c;
  list->last = c;
  list->count++;
}

static void list_remove(struct list *list, struct connection *c) {
  *(c->previous != NULL ? &c->previous->next : &list->first) = c->next;
  *(c->next != NULL ? &c->next->previous : &list->last) = c->previous;
  list->count--;
}

static struct connection **bucket(struct listener *listener, uint64_t place) {
  uint64_t mixed = place * 0x9e3779b97f4a7c15U;
  return &listener->places[(size_t)(mixed >> 32) & listener->places_mask];
}

/* Walks one bucket: as long as the limit of one address, or a few collisions more. */
static uint32_t count_place(struct listener *listener, uint64_t place) {
  uint32_t count = 0;
  for (struct connection *c = *bucket(listener, place); c != NULL; c = c->next_in_place)
    count += c->place == place;
  return count;
}

static void count(struct listener *listener, uint64_t accepted, uint64_t refused) {
  pthread_mutex_lock(&listener->mutex);
  listener->stats.accepted += accepted;
  listener->stats.refused += refused;
  listener->stats.open = listener->watched.count;
  listener->stats.waiting = listener->waiting.count;
  pthread_mutex_unlock(&listener->mutex);
}

/* ---- The end of a connection ---- */

static void forget(struct listener *listener, struct connection *c) {
  for (struct connection **at = bucket(listener, c->place); *at != NULL; at = &(*at)->next_in_place) {
    if (*at == c) {
      *at = c->next_in_place;
      break;
    }
  }
  list_remove(c->is_waiting ? &listener->waiting : &listener->watched, c);
  if (c->fd >= 0)
    close(c->fd); /* leaves the epoll set with it: nobody else has this file of a waiting one... */
  c->fd = -1;
  list_add(&listener->freed, c);
}

static void drop(struct listener *listener, struct connection *c) {
  if (c->fd >= 0)
    epoll_ctl(listener->epoll, EPOLL_CTL_DEL, c->fd,
              NULL); /* ...but a handed-over file lives on without this */
  forget(listener, c);
}

static void refuse_waiting(struct listener *listener, struct connection *c, const char *why) {
  static struct log_limiter limiter;
  uint32_t suppressed = 0;
  if (log_limiter_pass(&limiter, LOG_BURST, &suppressed))
    log_event(LOG_LEVEL_INFO, "connection refused", LOG_CSTR("reason", why),
              LOG_CSTR("peer", c->peer.address), LOG_INT("suppressed", suppressed));
  drop(listener, c);
  count(listener, 0, 1);
}

static void free_forgotten(struct listener *listener) {
  while (listener->freed.first != NULL) {
    struct connection *c = listener->freed.first;
    list_remove(&listener->freed, c);
    free(c);
  }
}

/* ---- Admission ---- */

static void hand_over(struct listener *listener, struct connection *c, bool is_http) {
  int copy = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
  struct epoll_event event = {.events = 0, .data.ptr = c}; /* the hang-up is always told */
  if (copy < 0 || epoll_ctl(listener->epoll, EPOLL_CTL_ADD, copy, &event) != 0) {
    if (copy >= 0)
      close(copy);
    refuse_waiting(listener, c, "no descriptor is left");
    return;
  }
  int fd = c->fd;
  epoll_ctl(listener->epoll, EPOLL_CTL_DEL, fd, NULL);
  list_remove(&listener->waiting, c);
  c->fd = copy;
  c->is_waiting = false;
  list_add(&listener->watched, c);
  count(listener, 0, 0);
  void (*take)(void *, int, const struct rpc_peer *) =
      is_http ? listener->options.on_http : listener->options.on_connection;
  take(listener->options.argument, fd, &c->peer);
}

/* Tells a client of HTTP/1.1 where it is. What it sent is read away, or the kernel would answer with a reset
 * and it would not see the text. */
static void answer_http1(struct connection *c) {
  char scratch[4096];
  if (send(c->fd, HTTP1_ANSWER, sizeof HTTP1_ANSWER - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
    shutdown(c->fd, SHUT_WR);
  for (int i = 0; i < 8 && recv(c->fd, scratch, sizeof scratch, MSG_DONTWAIT) > 0; i++)
    continue;
}

static void look_at(struct listener *listener, struct connection *c) {
  char seen[HTTP2_PREFACE_BYTES];
  ssize_t got = recv(c->fd, seen, sizeof seen, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (got <= 0) { /* gone before it said anything: health checks of load balancers do that */
    drop(listener, c);
    count(listener, 0, 0);
    return;
  }
  if (memcmp(seen, HTTP2_PREFACE, (size_t)got) != 0) {
    bool is_text = seen[0] >= 'A' && seen[0] <= 'Z';
    if (is_text && listener->options.on_http != NULL) {
      hand_over(listener, c, true);
      return;
    }
    if (is_text)
      answer_http1(c);
    refuse_waiting(listener, c, is_text ? "it speaks HTTP/1.1" : "it does not speak HTTP/2 (TLS perhaps)");
  } else if (got == HTTP2_PREFACE_BYTES) {
    hand_over(listener, c, false);
  }
}

static const char *limit_reached(struct listener *listener, uint64_t place) {
  const struct listener_options *o = &listener->options;
  if (listener->waiting.count + listener->watched.count >= o->connections_max)
    return "connections_max is reached";
  if (place != 0 && o->connections_per_address_max != 0 &&
      count_place(listener, place) >= o->connections_per_address_max)
    return "connections_per_address_max is reached";
  return NULL;
}

static void refuse_new(struct listener *listener, int fd, const struct rpc_peer *peer, const char *why) {
  static struct log_limiter limiter;
  uint32_t suppressed = 0;
  close(fd);
  if (log_limiter_pass(&limiter, LOG_BURST, &suppressed))
    log_event(LOG_LEVEL_WARN, "connection refused", LOG_CSTR("reason", why), LOG_CSTR("peer", peer->address),
              LOG_INT("suppressed", suppressed));
  count(listener, 1, 1);
}

static void enter(struct listener *listener, struct connection *c, struct list *list) {
  c->next_in_place = *bucket(listener, c->place);
  *bucket(listener, c->place) = c;
  list_add(list, c);
  count(listener, 1, 0);
}

/* False: no memory. */
static bool admit_stranger(struct listener *listener, const struct acceptor *acceptor, int fd,
                           const struct rpc_peer *peer, uint64_t place) {
  struct connection *c = malloc(sizeof *c);
  if (c == NULL)
    return false;
  *c = (struct connection){.kind = KIND_CONNECTION, .fd = -1, .place = place, .peer = *peer};
  enter(listener, c, &listener->watched);
  listener->options.on_stranger(listener->options.argument, fd, peer, acceptor->always_h2, c);
  return true;
}

static bool admit_waiting(struct listener *listener, int fd, const struct rpc_peer *peer, uint64_t place) {
  struct connection *c = malloc(sizeof *c);
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = c};
  if (c == NULL || epoll_ctl(listener->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    free(c);
    return false;
  }
  if (listener->waiting.count >= listener->options.handshakes_max)
    refuse_waiting(listener, listener->waiting.first, "too many connections wait; it was the oldest");
  *c = (struct connection){.kind = KIND_CONNECTION,
                           .fd = fd,
                           .is_waiting = true,
                           .place = place,
                           .deadline_us = now_us(listener) + listener->options.handshake_timeout_ms * 1000LL,
                           .peer = *peer};
  enter(listener, c, &listener->waiting);
  return true;
}

static void admit(struct listener *listener, const struct acceptor *acceptor, int fd,
                  const struct sockaddr_storage *from) {
  struct rpc_peer peer;
  uint64_t place;
  int on = 1;
  listener_socket_peer(fd, from, &peer, &place);
  if (!peer.is_local_socket)
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const char *why = limit_reached(listener, place);
  bool is_stranger = listener->options.on_stranger != NULL && !peer.is_local_socket;
  if (why == NULL && !(is_stranger ? admit_stranger(listener, acceptor, fd, &peer, place)
                                   : admit_waiting(listener, fd, &peer, place)))
    why = "no memory is left";
  if (why != NULL)
    refuse_new(listener, fd, &peer, why);
}

/* ---- Accepting ---- */

static void watch_sockets(struct listener *listener, uint32_t events) {
  for (size_t i = 0; i < listener->options.address_count; i++) {
    struct acceptor *acceptor = &listener->acceptors[i];
    struct epoll_event event = {.events = events, .data.ptr = acceptor};
    if (acceptor->socket.fd >= 0)
      epoll_ctl(listener->epoll, EPOLL_CTL_MOD, acceptor->socket.fd, &event);
  }
}

/* Those who wait in the kernel's queue stay there: better than spinning on an accept that fails. */
static void pause_accepting(struct listener *listener, int error) {
  static struct log_limiter limiter;
  uint32_t suppressed = 0;
  if (log_limiter_pass(&limiter, 1, &suppressed))
    log_event(LOG_LEVEL_WARN, "cannot accept connections, waiting", LOG_CSTR("error", strerror(error)),
              LOG_INT("suppressed", suppressed));
  watch_sockets(listener, 0);
  listener->paused_until_us = now_us(listener) + PAUSE_MS * 1000LL;
}

static void accept_some(struct listener *listener, struct acceptor *acceptor) {
  for (int i = 0; i < ACCEPTS_A_TURN && acceptor->socket.fd >= 0; i++) {
    struct sockaddr_storage from = {0};
    socklen_t size = sizeof from;
    int fd = accept4(acceptor->socket.fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (acceptor->socket.is_unix)
        from.ss_family = AF_UNIX;
      admit(listener, acceptor, fd, &from);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      pause_accepting(listener, errno);
      return;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return; /* EAGAIN; network errors of one connection come back with the next event */
    }
  }
}

static void stop_accepting(struct listener *listener) {
  for (size_t i = 0; i < listener->options.address_count; i++)
    listener_socket_close(&listener->acceptors[i].socket);
  while (listener->waiting.first != NULL)
    drop(listener, listener->waiting.first);
  count(listener, 0, 0);
  pthread_mutex_lock(&listener->mutex);
  listener->accepting_stopped = true;
  pthread_cond_broadcast(&listener->changed);
  pthread_mutex_unlock(&listener->mutex);
}

/* ---- The thread ---- */

/* Does what is due, and says for how many milliseconds nothing else is; -1: until something happens. */
static int run_timers(struct listener *listener) {
  if (listener->waiting.first == NULL && listener->paused_until_us == 0)
    return -1;
  int64_t now = now_us(listener), next = INT64_MAX;
  while (listener->waiting.first != NULL && listener->waiting.first->deadline_us <= now)
    refuse_waiting(listener, listener->waiting.first, "it stayed silent");
  if (listener->waiting.first != NULL)
    next = listener->waiting.first->deadline_us;
  if (listener->paused_until_us != 0 && listener->paused_until_us <= now) {
    listener->paused_until_us = 0;
    watch_sockets(listener, EPOLLIN);
  }
  if (listener->paused_until_us != 0 && listener->paused_until_us < next)
    next = listener->paused_until_us;
  return next == INT64_MAX ? -1 : (int)((next - now) / 1000) + 1;
}

static void handle(struct listener *listener, const struct epoll_event *event) {
  enum kind kind = *(const enum kind *)event->data.ptr;
  if (kind == KIND_WAKE) {
    uint64_t ignored;
    while (read(listener->wake, &ignored, sizeof ignored) > 0)
      continue;
    return;
  }
  if (kind == KIND_SOCKET) {
    accept_some(listener, event->data.ptr);
    return;
  }
  struct connection *c = event->data.ptr;
  if (c->fd < 0) /* it ended earlier in this turn */
    return;
  if (c->is_waiting) {
    look_at(listener, c);
  } else if ((event->events & (EPOLLHUP | EPOLLERR)) != 0) {
    drop(listener, c);
    count(listener, 0, 0);
  }
}

static void forget_ended(struct listener *listener, struct connection *ended) {
  if (ended == NULL)
    return;
  while (ended != NULL) {
    struct connection *next = ended->next_ended;
    forget(listener, ended);
    ended = next;
  }
  count(listener, 0, 0);
}

static void *run(void *argument) {
  struct listener *listener = argument;
  pthread_setname_np(pthread_self(), "listener");
  for (;;) {
    pthread_mutex_lock(&listener->mutex);
    bool end = listener->end, stop = listener->stop_accepting && !listener->accepting_stopped;
    struct connection *ended = listener->ended;
    listener->ended = NULL;
    pthread_mutex_unlock(&listener->mutex);
    forget_ended(listener, ended);
    if (stop)
      stop_accepting(listener);
    if (end)
      return NULL;
    free_forgotten(listener);
    struct epoll_event events[EVENTS_A_TURN];
    int got = epoll_wait(listener->epoll, events, EVENTS_A_TURN, run_timers(listener));
    for (int i = 0; i < got; i++)
      handle(listener, &events[i]);
  }
}

/* ---- Opening and closing ---- */

static bool add_to_epoll(struct listener *listener, int fd, void *object) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = object};
  return epoll_ctl(listener->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static status open_sockets(struct listener *listener) {
  for (size_t i = 0; i < listener->options.address_count; i++) {
    struct acceptor *acceptor = &listener->acceptors[i];
    str address = str_from_cstr(listener->options.addresses[i]);
    char plain[ADDRESS_BYTES_MAX];
    acceptor->always_h2 = str_has_suffix(address, STR(GRPC_ONLY)) && !str_has_prefix(address, STR("unix:"));
    address.len -= acceptor->always_h2 ? sizeof GRPC_ONLY - 1 : 0;
    if (address.len >= sizeof plain)
      return status_make(STATUS_INVALID_ARGUMENT, "an address to listen on has at most %zu bytes",
                         sizeof plain - 1);
    snprintf(plain, sizeof plain, STR_FMT, STR_ARG(address));
    STATUS_TRY(listener->options.taken != NULL
                   ? listener_socket_take(listener->options.taken[i], &acceptor->socket)
                   : listener_socket_open(plain, &acceptor->socket));
    if (!add_to_epoll(listener, acceptor->socket.fd, acceptor))
      return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  listener->options.addresses = NULL; /* the caller's */
  listener->options.taken = NULL;
  return status_ok();
}

static bool start_thread(struct listener *listener) {
  listener->has_thread = pthread_create(&listener->thread, NULL, run, listener) == 0;
  return listener->has_thread;
}

static uint32_t or_default(uint32_t value, uint32_t normal) {
  return value == 0 ? normal : value;
}

status listener_open(const struct listener_options *options, struct listener **ret) {
  assert(options->on_connection != NULL && options->address_count > 0);
  struct listener *listener = calloc(1, sizeof *listener);
  if (listener == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  listener->options = *options;
  struct listener_options *o = &listener->options;
  o->port = o->port == NULL ? port_linux() : o->port;
  o->connections_max = or_default(o->connections_max, CONNECTIONS_MAX);
  o->handshake_timeout_ms = or_default(o->handshake_timeout_ms, HANDSHAKE_TIMEOUT_MS);
  o->handshakes_max = or_default(o->handshakes_max, HANDSHAKES_MAX);
  pthread_mutex_init(&listener->mutex, NULL);
  pthread_cond_init(&listener->changed, NULL);
  listener->wake_kind = KIND_WAKE;
  listener->epoll = epoll_create1(EPOLL_CLOEXEC);
  listener->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  size_t buckets = 64;
  while (buckets < o->connections_max && buckets < 16384)
    buckets *= 2;
  listener->places_mask = buckets - 1;
  listener->places = calloc(buckets, sizeof(struct connection *));
  listener->acceptors = calloc(o->address_count, sizeof *listener->acceptors);
  for (size_t i = 0; listener->acceptors != NULL && i < o->address_count; i++) {
    listener->acceptors[i].kind = KIND_SOCKET;
    listener->acceptors[i].socket.fd = -1;
  }
  status result = status_default(STATUS_RESOURCE_EXHAUSTED);
  if (listener->epoll >= 0 && listener->wake >= 0 && listener->places != NULL &&
      listener->acceptors != NULL && add_to_epoll(listener, listener->wake, &listener->wake_kind))
    result = open_sockets(listener);
  if (result.code == STATUS_OK) {
    pthread_mutex_lock(&listener->mutex); /* the thread begins with it: no callback is before *ret */
    if (start_thread(listener))
      *ret = listener;
    else
      result = status_make(STATUS_RESOURCE_EXHAUSTED, "A thread could not be started.");
    pthread_mutex_unlock(&listener->mutex);
  }
  if (result.code != STATUS_OK)
    listener_close(listener);
  return result;
}

const char *listener_address(const struct listener *listener, size_t index) {
  assert(index < listener->options.address_count);
  return listener->acceptors[index].socket.address;
}

void listener_stats(struct listener *listener, struct listener_stats *ret) {
  pthread_mutex_lock(&listener->mutex);
  *ret = listener->stats;
  pthread_mutex_unlock(&listener->mutex);
}

static void wake(struct listener *listener) {
  uint64_t one = 1;
  ssize_t written = write(listener->wake, &one, sizeof one);
  (void)written; /* it is full only if a wake-up waits already */
}

void listener_ended(struct listener *listener, void *ticket) {
  struct connection *c = ticket;
  pthread_mutex_lock(&listener->mutex);
  bool was_empty = listener->ended == NULL;
  c->next_ended = listener->ended;
  listener->ended = c;
  pthread_mutex_unlock(&listener->mutex);
  if (was_empty)
    wake(listener);
}

void listener_stop_accepting(struct listener *listener) {
  if (listener == NULL)
    return;
  pthread_mutex_lock(&listener->mutex);
  listener->stop_accepting = true;
  wake(listener);
  while (!listener->accepting_stopped && !listener->end)
    pthread_cond_wait(&listener->changed, &listener->mutex);
  pthread_mutex_unlock(&listener->mutex);
}

void listener_close(struct listener *listener) {
  if (listener == NULL)
    return;
  if (listener->has_thread) {
    pthread_mutex_lock(&listener->mutex);
    listener->stop_accepting = listener->end = true;
    wake(listener);
    pthread_mutex_unlock(&listener->mutex);
    pthread_join(listener->thread, NULL);
  } else if (listener->acceptors != NULL) {
    stop_accepting(listener);
  }
  while (listener->watched.first != NULL)
    drop(listener, listener->watched.first);
  free_forgotten(listener);
  if (listener->epoll >= 0)
    close(listener->epoll);
  if (listener->wake >= 0)
    close(listener->wake);
  free(listener->acceptors);
  free(listener->places);
  pthread_cond_destroy(&listener->changed);
  pthread_mutex_destroy(&listener->mutex);
  free(listener);
}
