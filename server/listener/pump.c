/* The pump's thread.
 *
 * Parties: the thread, which owns the epoll set and all connections; others, who bring connections
 * (pump_take), ask for counts and close. The mutex guards what they share: what was brought, the copy of the
 * counts, the end.
 *
 * Connections stand in lists by what they wait for. In all but `open` everyone has the same time, so the
 * first is the one that is due first; `open` is looked through from time to time for what the guard has a
 * deadline for. Those in line for a place at the gateway get one in their order, after each turn. */
#include "server/listener/pump.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/listener/pipe.h"

enum {
  HANDSHAKE_TIMEOUT_MS = 10000,
  READER_TIMEOUT_MS = 30000,
  HTTP_IDLE_TIMEOUT_MS = 60000,
  HTTP_LINE_TIMEOUT_MS = 10000,
  HTTP_LINE_BYTES_MAX = 1 << 20,
  HANDSHAKES_MAX = 1024,
  FLUSH_TIMEOUT_US = 20000000, /* for some hundred kilobytes at most, to somebody with a bad connection */
  LINGER_TIMEOUT_US = 5000000,
  GOODBYE_US = 500000, /* at the end, for what is on its way to clients */
  GOODBYE_POLL_MS = 20,
  CHECK_INTERVAL_US = 2000000,
  PLACES_INTERVAL_US = 20000, /* between two looks for one that rests, when there was none */
  EVENTS_A_TURN = 128,
};

enum list_name {
  LIST_NONE,
  LIST_WAITING,
  LIST_LINE,
  LIST_OPEN,
  LIST_FLUSH,
  LIST_LINGER,
  LIST_ENDED,
  LIST_COUNT
};

struct list {
  struct pipe *first, *last;
  size_t count;
};

/* A connection on its way to the thread. */
struct brought {
  struct brought *next;
  int fd;
  bool always_h2;
  struct rpc_peer peer;
  void *ticket;
};

struct pump {
  struct pump_options options;
  struct pipe_thread pipes;
  struct list lists[LIST_COUNT];
  int epoll, wake;
  int64_t check_at_us, places_at_us;
  pthread_t thread;
  bool has_thread;
  pthread_mutex_t mutex;
  struct brought *first_brought, **last_brought;
  struct pump_stats stats;
  bool end;
};

static int64_t now_us(const struct pump *pump) {
  return pump->options.port->monotonic_us(pump->options.port);
}

/* ---- Lists ---- */

static void list_add(struct list *list, struct pipe *pipe) {
  pipe->previous = list->last;
  pipe->next = NULL;
  *(list->last != NULL ? &list->last->next : &list->first) = pipe;
  list->last = pipe;
  list->count++;
}

static void list_remove(struct list *list, struct pipe *pipe) {
  *(pipe->previous != NULL ? &pipe->previous->next : &list->first) = pipe->next;
  *(pipe->next != NULL ? &pipe->next->previous : &list->last) = pipe->previous;
  list->count--;
}

static enum list_name list_for(const struct pipe *pipe) {
  switch (pipe->phase) {
  case PIPE_HANDSHAKE:
  case PIPE_PREFACE:
    return LIST_WAITING;
  case PIPE_OPEN:
    return pipe->in_line ? LIST_LINE : LIST_OPEN;
  case PIPE_FLUSH:
    return LIST_FLUSH;
  case PIPE_LINGER:
    return LIST_LINGER;
  case PIPE_CLOSED:
    break;
  }
  return LIST_ENDED;
}

static int64_t time_in(const struct pump *pump, enum list_name name) {
  if (name == LIST_WAITING)
    return pump->options.handshake_timeout_ms * 1000LL;
  if (name == LIST_LINE)
    return pump->options.http_line_timeout_ms * 1000LL;
  return name == LIST_FLUSH ? FLUSH_TIMEOUT_US : LINGER_TIMEOUT_US;
}

/* To where its phase belongs, with the time that it has there. */
static void place(struct pump *pump, struct pipe *pipe, int64_t now) {
  enum list_name wanted = list_for(pipe);
  if (pipe->list == (int)wanted)
    return;
  if (pipe->list != LIST_NONE)
    list_remove(&pump->lists[pipe->list], pipe);
  pipe->list = (int)wanted;
  pipe->deadline_us = now + time_in(pump, wanted);
  list_add(&pump->lists[wanted], pipe);
}

static void end(struct pump *pump, struct pipe *pipe, const char *why, int64_t now) {
  if (pipe->list == LIST_WAITING)
    pump->pipes.stats.silent++;
  pipe_close(pipe, why);
  place(pump, pipe, now);
}

/* Not before the turn is over: events of the turn may still name them. */
static void free_ended(struct pump *pump) {
  struct list *ended = &pump->lists[LIST_ENDED];
  while (ended->first != NULL) {
    struct pipe *pipe = ended->first;
    list_remove(ended, pipe);
    pipe_free(pipe);
  }
}

/* The first of the line. False: there is no place. */
static bool admit_first(struct pump *pump, bool at_any_cost, int64_t now) {
  struct pipe *first = pump->lists[LIST_LINE].first;
  bool admitted = pipe_admit(first, at_any_cost);
  place(pump, first, now);
  return admitted;
}

/* Places for those in line: such as are free, those of connections that can rest, those that others must
 * leave. */
static void give_places(struct pump *pump, int64_t now) {
  const struct list *line = &pump->lists[LIST_LINE];
  while (line->first != NULL && admit_first(pump, false, now))
    continue;
  if (line->first == NULL || now < pump->places_at_us)
    return;
  for (struct pipe *pipe = pump->lists[LIST_OPEN].first; pipe != NULL && line->first != NULL;
       pipe = pipe->next)
    if (pipe_rest(pipe))
      admit_first(pump, false, now);
  while (line->first != NULL && admit_first(pump, true, now))
    continue;
  if (line->first != NULL)
    pump->places_at_us = now + PLACES_INTERVAL_US;
}

/* Those that waited too long, or all. */
static void shorten_line(struct pump *pump, bool all, int64_t now) {
  const struct list *line = &pump->lists[LIST_LINE];
  while (line->first != NULL && (all || line->first->deadline_us <= now)) {
    struct pipe *pipe = line->first;
    pipe_turn_away(pipe, now);
    place(pump, pipe, now);
  }
}

/* ---- The thread ---- */

static void begin(struct pump *pump, const struct brought *brought, int64_t now) {
  struct list *waiting = &pump->lists[LIST_WAITING];
  if (waiting->count >= pump->options.handshakes_max)
    end(pump, waiting->first, "too many connections wait; it was the oldest", now);
  struct pipe *pipe =
      pipe_new(&pump->pipes, brought->fd, &brought->peer, brought->always_h2, brought->ticket);
  if (pipe == NULL)
    pump->options.ended(pump->options.argument, brought->ticket);
  else
    place(pump, pipe, now);
}

static struct brought *take_brought(struct pump *pump, bool *ret_end) {
  pthread_mutex_lock(&pump->mutex);
  struct brought *first = pump->first_brought;
  pump->first_brought = NULL;
  pump->last_brought = &pump->first_brought;
  *ret_end = pump->end;
  pthread_mutex_unlock(&pump->mutex);
  return first;
}

static void tell_counts(struct pump *pump) {
  pthread_mutex_lock(&pump->mutex);
  pump->stats = pump->pipes.stats;
  pump->stats.waiting = pump->lists[LIST_WAITING].count;
  pthread_mutex_unlock(&pump->mutex);
}

static void end_overdue(struct pump *pump, enum list_name name, const char *why, int64_t now,
                        int64_t *next_us) {
  struct list *list = &pump->lists[name];
  while (list->first != NULL && list->first->deadline_us <= now)
    end(pump, list->first, why, now);
  if (list->first != NULL && list->first->deadline_us < *next_us)
    *next_us = list->first->deadline_us;
}

static void check_open(struct pump *pump, int64_t now) {
  struct pipe *next;
  for (struct pipe *pipe = pump->lists[LIST_OPEN].first; pipe != NULL; pipe = next) {
    next = pipe->next;
    pipe_check(pipe, now);
    place(pump, pipe, now);
  }
  pump->check_at_us = now + CHECK_INTERVAL_US;
}

/* Does what is due; the milliseconds until something else is, or -1. */
static int run_timers(struct pump *pump) {
  bool idle = true;
  for (int i = LIST_WAITING; i < LIST_ENDED; i++)
    idle = idle && pump->lists[i].first == NULL;
  if (idle)
    return -1;
  int64_t now = now_us(pump);
  if (now >= pump->check_at_us)
    check_open(pump, now);
  int64_t next = pump->check_at_us;
  shorten_line(pump, false, now);
  if (pump->lists[LIST_LINE].first != NULL && now + PLACES_INTERVAL_US < next)
    next = now + PLACES_INTERVAL_US;
  end_overdue(pump, LIST_WAITING, "it took too long to say what it wants", now, &next);
  end_overdue(pump, LIST_FLUSH, "it does not take what is left for it", now, &next);
  end_overdue(pump, LIST_LINGER, NULL, now, &next);
  return (int)((next - now) / 1000) + 1;
}

static void drain_wake(struct pump *pump) {
  uint64_t ignored;
  while (read(pump->wake, &ignored, sizeof ignored) > 0)
    continue;
}

static void run_events(struct pump *pump, const struct epoll_event *events, int count) {
  int64_t now = now_us(pump);
  for (int i = 0; i < count; i++) {
    struct pipe_side *side = events[i].data.ptr;
    if (side == NULL) {
      drain_wake(pump);
      continue;
    }
    if (side->fd < 0) /* it ended earlier in this turn */
      continue;
    pipe_run(side->pipe, side, events[i].events, now);
    place(pump, side->pipe, now);
  }
}

/* gRPC core has closed its ends, or is about to; what it sent last is still passed on. */
static bool has_said_goodbye(struct pump *pump, int64_t *deadline_us) {
  int64_t now = now_us(pump);
  if (*deadline_us == INT64_MAX) {
    *deadline_us = now + GOODBYE_US;
    shorten_line(pump, true, now);
    check_open(pump, now); /* nobody says anything to those that rest */
  }
  bool has_some = false;
  for (int i = LIST_OPEN; i < LIST_ENDED; i++)
    has_some = has_some || pump->lists[i].first != NULL;
  return !has_some || now >= *deadline_us;
}

static void *run(void *argument) {
  struct pump *pump = argument;
  int64_t goodbye_us = INT64_MAX;
  pthread_setname_np(pthread_self(), "pump");
  for (;;) {
    bool must_end;
    struct brought *brought = take_brought(pump, &must_end);
    pump->pipes.is_ending = must_end;
    while (brought != NULL) {
      struct brought *next = brought->next;
      begin(pump, brought, now_us(pump));
      free(brought);
      brought = next;
    }
    if (must_end && has_said_goodbye(pump, &goodbye_us))
      return NULL;
    struct epoll_event events[EVENTS_A_TURN];
    int wait_ms = run_timers(pump);
    tell_counts(pump); /* as they stay while it waits */
    int got = epoll_wait(pump->epoll, events, EVENTS_A_TURN, must_end ? GOODBYE_POLL_MS : wait_ms);
    if (got > 0)
      run_events(pump, events, got);
    if (pump->lists[LIST_LINE].first != NULL)
      give_places(pump, now_us(pump));
    free_ended(pump);
  }
}

/* ---- From other threads ---- */

static void wake(struct pump *pump) {
  uint64_t one = 1;
  ssize_t written = write(pump->wake, &one, sizeof one);
  (void)written; /* it is full only if a wake-up waits already */
}

void pump_take(struct pump *pump, int fd, const struct rpc_peer *peer, bool always_h2, void *ticket) {
  struct brought *brought = malloc(sizeof *brought);
  if (brought == NULL) {
    close(fd);
    pump->options.ended(pump->options.argument, ticket);
    return;
  }
  *brought = (struct brought){.fd = fd, .always_h2 = always_h2, .peer = *peer, .ticket = ticket};
  pthread_mutex_lock(&pump->mutex);
  *pump->last_brought = brought;
  pump->last_brought = &brought->next;
  pthread_mutex_unlock(&pump->mutex);
  wake(pump);
}

void pump_stats(struct pump *pump, struct pump_stats *ret) {
  pthread_mutex_lock(&pump->mutex);
  *ret = pump->stats;
  pthread_mutex_unlock(&pump->mutex);
}

static bool start_thread(struct pump *pump) {
  pump->has_thread = pthread_create(&pump->thread, NULL, run, pump) == 0;
  return pump->has_thread;
}

status pump_open(const struct pump_options *options, struct pump **ret) {
  struct pump *pump = calloc(1, sizeof *pump);
  if (pump == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  pump->options = *options;
  if (pump->options.port == NULL)
    pump->options.port = port_linux();
  if (pump->options.handshake_timeout_ms == 0)
    pump->options.handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS;
  if (pump->options.reader_timeout_ms == 0)
    pump->options.reader_timeout_ms = READER_TIMEOUT_MS;
  if (pump->options.http_idle_timeout_ms == 0)
    pump->options.http_idle_timeout_ms = HTTP_IDLE_TIMEOUT_MS;
  if (pump->options.http_line_timeout_ms == 0)
    pump->options.http_line_timeout_ms = HTTP_LINE_TIMEOUT_MS;
  if (pump->options.http_line_bytes_max == 0)
    pump->options.http_line_bytes_max = HTTP_LINE_BYTES_MAX;
  if (pump->options.handshakes_max == 0)
    pump->options.handshakes_max = HANDSHAKES_MAX;
  pump->last_brought = &pump->first_brought;
  pthread_mutex_init(&pump->mutex, NULL);
  pump->epoll = epoll_create1(EPOLL_CLOEXEC);
  pump->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  status result = pipe_thread_init(&pump->pipes, &pump->options, pump->epoll);
  if (status_is_ok(&result) &&
      (pump->epoll < 0 || pump->wake < 0 || epoll_ctl(pump->epoll, EPOLL_CTL_ADD, pump->wake, &event) != 0 ||
       !start_thread(pump)))
    result = status_make(STATUS_RESOURCE_EXHAUSTED, "A thread could not be started.");
  if (!status_is_ok(&result)) {
    pump_close(pump);
    return result;
  }
  *ret = pump;
  return result;
}

void pump_close(struct pump *pump) {
  if (pump == NULL)
    return;
  if (pump->has_thread) {
    pthread_mutex_lock(&pump->mutex);
    pump->end = true;
    pthread_mutex_unlock(&pump->mutex);
    wake(pump);
    pthread_join(pump->thread, NULL);
  }
  for (int i = LIST_WAITING; i < LIST_ENDED; i++)
    while (pump->lists[i].first != NULL) {
      pipe_close(pump->lists[i].first, NULL);
      place(pump, pump->lists[i].first, 0);
    }
  free_ended(pump);
  pipe_thread_fini(&pump->pipes);
  if (pump->epoll >= 0)
    close(pump->epoll);
  if (pump->wake >= 0)
    close(pump->wake);
  pthread_mutex_destroy(&pump->mutex);
  free(pump);
}
