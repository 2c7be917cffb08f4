/* The order of the background work, and its thread.
 *
 * Each step goes by a catalog behind which the pipeline was waited for once: every commit that was resolved
 * by an older one is then visible, so no document can escape the walk, and no entry the sweep. The order is
 * retiring, sweep, walk (ledger.h), and TTL between any two steps when it is due.
 *
 * Between steps the thread sleeps as long as the step took, or longer if documents_a_second says so: at least
 * half of the time is the foreground's. */
#include "storage/index/build.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "ports/port.h"
#include "storage/index/work.h"

enum {
  TTL_INTERVAL_MS = 60 * 1000,
  RETRY_MS = 5000,      /* after a failure: a full disk, a store that opens again */
  FAILURES_A_LINE = 24, /* in the log, while it lasts */
  PAUSE_MAX_MS = 1000,
};

struct index_worker {
  struct index_worker_options options;
  struct index_catalog *catalog; /* that the work goes by, NULL at first */
  struct index_walk walk;
  struct index_sweep sweep;
  struct index_expiry expiry;
  bool is_expiring;
  int64_t expire_at_us; /* on the monotonic clock */

  pthread_t thread;
  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t changed;
  bool stop, woken;
};

static void worker_init(struct index_worker *worker, const struct index_worker_options *options) {
  *worker = (struct index_worker){.options = *options};
  struct index_worker_options *o = &worker->options;
  if (o->port == NULL)
    o->port = port_linux();
  if (o->ttl_interval_ms == 0)
    o->ttl_interval_ms = TTL_INTERVAL_MS;
  worker->walk.store = worker->sweep.store = worker->expiry.store = o->store;
  worker->walk.set = worker->sweep.set = worker->expiry.set = o->set;
  worker->expire_at_us = o->port->monotonic_us(o->port);
  arena_init(&worker->walk.keys.arena, NULL, 0, WORK_ARENA_BYTES);
  arena_init(&worker->sweep.keys.arena, NULL, 0, WORK_ARENA_BYTES);
  arena_init(&worker->expiry.keys.arena, NULL, 0, WORK_ARENA_BYTES);
}

static void worker_fini(struct index_worker *worker) {
  index_catalog_unref(worker->catalog);
  arena_fini(&worker->walk.keys.arena);
  arena_fini(&worker->sweep.keys.arena);
  arena_fini(&worker->expiry.keys.arena);
  buf_fini(&worker->walk.position);
  buf_fini(&worker->sweep.position);
  buf_fini(&worker->expiry.database);
  buf_fini(&worker->expiry.position);
}

/* ---- One step ---- */

static status nothing(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  (void)argument, (void)reader, (void)version, (void)batch;
  return status_ok();
}

/* Takes the current catalog, and waits until no commit goes by an older one. */
static status take_catalog(struct index_worker *worker) {
  struct index_catalog *current = index_set_current(worker->options.set);
  if (current == worker->catalog) {
    index_catalog_unref(current);
    return status_ok();
  }
  struct kv_txn fence = {.resolve = nothing};
  kv_version version;
  status s = kv_commit_wait(worker->options.store, &fence, &version);
  if (!status_is_ok(&s)) {
    index_catalog_unref(current);
    return s;
  }
  index_catalog_unref(worker->catalog);
  worker->catalog = current;
  worker->expire_at_us = worker->options.port->monotonic_us(worker->options.port); /* a policy may be new */
  return s;
}

static status retire(void *argument, struct index_ledger *ledger, kv_version version, struct arena *arena,
                     bool *ret_changed) {
  (void)argument, (void)version, (void)arena;
  *ret_changed = index_ledger_retire(ledger);
  return status_ok();
}

static status expire(struct index_worker *worker) {
  bool done;
  STATUS_TRY(index_expiry_step(&worker->expiry, worker->catalog, &done));
  worker->is_expiring = !done;
  return status_ok();
}

/* Whether a round of TTL is under way or begins now. */
static bool is_expiring(struct index_worker *worker) {
  struct port *port = worker->options.port;
  int64_t now = port->monotonic_us(port);
  if (!worker->is_expiring && now >= worker->expire_at_us) {
    worker->is_expiring = true;
    worker->expire_at_us = now + (int64_t)worker->options.ttl_interval_ms * 1000;
  }
  return worker->is_expiring;
}

/* *ret_idle: there was nothing to do. */
static status work_step(struct index_worker *worker, bool *ret_idle) {
  bool done;
  *ret_idle = false;
  STATUS_TRY(take_catalog(worker));
  const struct index_ledger *ledger = &worker->catalog->ledger;
  if (is_expiring(worker))
    return expire(worker);
  if (index_ledger_is_retiring(ledger)) {
    struct index_change change = {retire, NULL};
    buf_clear(&worker->sweep.position); /* a sweep under way may have passed what goes now */
    return index_set_change(worker->options.set, &change);
  }
  if (ledger->sweep)
    return index_sweep_step(&worker->sweep, worker->catalog, &done);
  bool gave_up = worker->walk.gave_up && worker->walk.generation == ledger->generation;
  if (index_ledger_is_building(ledger) && !gave_up)
    return index_walk_step(&worker->walk, worker->catalog, &done);
  *ret_idle = true;
  return status_ok();
}

status index_work_all(const struct index_worker_options *options) {
  struct index_worker *worker = malloc(sizeof *worker);
  if (worker == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  worker_init(worker, options);
  status s = status_ok();
  for (bool idle = false; !idle && status_is_ok(&s);)
    s = work_step(worker, &idle);
  worker_fini(worker);
  free(worker);
  return s;
}

/* ---- The thread ---- */

/* Sleeps; ends early at a stop, and if `wakes` at a wake. */
static void sleep_ms(struct index_worker *worker, int64_t ms, bool wakes) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  int64_t ns = until.tv_nsec + ms % 1000 * 1000000;
  until.tv_sec += ms / 1000 + ns / 1000000000;
  until.tv_nsec = (long)(ns % 1000000000);
  pthread_mutex_lock(&worker->lock);
  int error = 0;
  while (error != ETIMEDOUT && !worker->stop && !(wakes && worker->woken))
    error = pthread_cond_timedwait(&worker->changed, &worker->lock, &until);
  worker->woken = worker->woken && !wakes;
  pthread_mutex_unlock(&worker->lock);
}

static bool is_stopped(struct index_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  bool stop = worker->stop;
  pthread_mutex_unlock(&worker->lock);
  return stop;
}

static void pause_after(struct index_worker *worker, int64_t took_us, uint64_t built) {
  int64_t ms = took_us / 1000 + 1;
  uint32_t rate = worker->options.documents_a_second;
  if (rate > 0 && (int64_t)(built * 1000 / rate) > ms)
    ms = (int64_t)(built * 1000 / rate);
  sleep_ms(worker, ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS, false);
}

static void *worker_main(void *argument) {
  struct index_worker *worker = argument;
  struct port *port = worker->options.port;
  unsigned failures = 0; /* one after the other */
  while (!is_stopped(worker)) {
    int64_t began = port->monotonic_us(port);
    uint64_t built = worker->walk.built;
    bool idle;
    status s = work_step(worker, &idle);
    int64_t now = port->monotonic_us(port);
    if (status_is_ok(&s))
      failures = 0;
    if (!status_is_ok(&s)) {
      if (failures++ % FAILURES_A_LINE == 0)
        log_event(LOG_LEVEL_WARN, "the work on indexes waits", LOG_CSTR("reason", s.message));
      sleep_ms(worker, RETRY_MS, true);
    } else if (idle) {
      int64_t until_ttl_ms = (worker->expire_at_us - now) / 1000 + 1;
      sleep_ms(worker, until_ttl_ms > 0 ? until_ttl_ms : 1, true);
    } else {
      pause_after(worker, now - began, worker->walk.built > built ? worker->walk.built - built : 0);
    }
  }
  return NULL;
}

status index_worker_start(const struct index_worker_options *options, struct index_worker **ret) {
  struct index_worker *worker = malloc(sizeof *worker);
  if (worker == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  worker_init(worker, options);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&worker->lock, NULL);
  pthread_cond_init(&worker->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  int error = pthread_create(&worker->thread, NULL, worker_main, worker);
  if (error == 0) {
    *ret = worker;
    return status_ok();
  }
  pthread_cond_destroy(&worker->changed);
  pthread_mutex_destroy(&worker->lock);
  worker_fini(worker);
  free(worker);
  return status_make(STATUS_RESOURCE_EXHAUSTED, "Cannot start the thread of indexes: %s.", strerror(error));
}

void index_worker_wake(struct index_worker *worker) {
  pthread_mutex_lock(&worker->lock);
  worker->woken = true;
  pthread_cond_signal(&worker->changed);
  pthread_mutex_unlock(&worker->lock);
}

void index_worker_stop(struct index_worker *worker) {
  if (worker == NULL)
    return;
  pthread_mutex_lock(&worker->lock);
  worker->stop = true;
  pthread_cond_signal(&worker->changed);
  pthread_mutex_unlock(&worker->lock);
  pthread_join(worker->thread, NULL);
  pthread_cond_destroy(&worker->changed);
  pthread_mutex_destroy(&worker->lock);
  worker_fini(worker);
  free(worker);
}
