/* The keeper: one thread that does what must happen without being asked.
 *
 *   every 100 ms, or when woken: opens the engine again if it failed (and, on a full disk, there is space
 *   again, and the medium can be written); every second: syncs the log of a relaxed store; every second: lets
 * history and change log move on
 *
 * Opening again: close the gate, wait until readers have left (they notice, see store.c), close the engine,
 * open it, open the gate. Everything acknowledged is in the log. A commit whose write failed may or may not
 * be; if it is, it appears now, although it was refused: the same that a client must expect of any answer
 * that it did not get. While the engine cannot be opened, it is opened for reading alone. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/monotonic_wait.h"
#include "storage/rocksdb/store_internal.h"

enum {
  ROUND_MS = 100,
  ROUNDS_PER_SECOND = 10,
  /* Iterators notice the closed gate at their next step; a value that is pinned leaves when its call ends. */
  DRAIN_MS = 10000,
  /* History moves in steps of a 64th of its length: each step is written to the manifest. */
  HISTORY_STEPS = 64,
  /* A change log that is too large gives up a 16th of its time at once. */
  CHANGE_LOG_STEPS = 16,
  /* A smaller limit is taken for this one: the log goes by whole files, of 4 MB each (engine.cc). */
  CHANGE_LOG_MIN_BYTES = 16 * 1024 * 1024,
};

static void history_advance(struct rocks_store *store) {
  int64_t oldest = atomic_load(&store->oldest_history);
  int64_t wanted = atomic_load(&store->newest) - store->options.history_us;
  /* What was refused to readers a step ago is dropped now, so that no get that began before it was refused
   * can still be on its way. */
  if (store->history_limit < oldest) {
    status s = engine_trim_history(store->engine, oldest);
    if (status_is_ok(&s))
      store->history_limit = oldest;
  }
  if (wanted - oldest < store->options.history_us / HISTORY_STEPS || wanted <= oldest)
    return;
  status s = rocks_meta_write(store, META_OLDEST_HISTORY, wanted);
  if (status_is_ok(&s))
    atomic_store(&store->oldest_history, wanted);
}

static void change_log_advance(struct rocks_store *store) {
  int64_t oldest = atomic_load(&store->oldest_change), newest = atomic_load(&store->newest);
  int64_t wanted = newest - store->options.change_log_us;
  bool by_time = wanted - oldest > store->options.change_log_us / HISTORY_STEPS;
  uint64_t bytes = engine_family_bytes(store->engine, ENGINE_CHANGES);
  bool by_size = bytes > store->options.change_log_max_bytes && bytes > CHANGE_LOG_MIN_BYTES;
  if (by_size && wanted < oldest + (newest - oldest) / CHANGE_LOG_STEPS)
    wanted = oldest + (newest - oldest) / CHANGE_LOG_STEPS;
  if ((!by_time && !by_size) || wanted <= oldest)
    return;
  status s = rocks_meta_write(store, META_OLDEST_CHANGE, wanted);
  if (!status_is_ok(&s))
    return;
  atomic_store(&store->oldest_change, wanted);
  char upper[CHANGE_KEY_BYTES];
  change_key_encode(upper, wanted, 0);
  status dropped = engine_drop_before(store->engine, ENGINE_CHANGES, str_make(upper, sizeof upper));
  (void)dropped; /* the next step drops it */
}

/* Whether there is a point in opening again. A medium that can only be read is left alone: the engine that
 * failed goes on reading. */
static bool medium_is_fit(struct rocks_store *store) {
  struct port_disk disk;
  if (!rocks_medium_look(store, &disk))
    return true;
  bool wants_space = atomic_load(&store->health) == KV_NO_SPACE;
  return !disk.read_only && (!wants_space || disk.free_bytes >= store->options.free_space_min_bytes);
}

static status engine_replace(struct rocks_store *store) {
  engine_close(store->engine, false);
  STATUS_TRY(rocks_engine_open(store));
  int64_t last = 0;
  STATUS_TRY(rocks_meta_get(store->engine, META_LAST, &last));
  pthread_mutex_lock(&store->clock_lock);
  if (last > store->clock.last)
    store->clock.last = last;
  pthread_mutex_unlock(&store->clock_lock);
  if (last > atomic_load(&store->newest))
    atomic_store(&store->newest, last);
  return status_ok();
}

static void reopen(struct rocks_store *store) {
  if (!medium_is_fit(store))
    return;
  gate_close(&store->gate);
  if (store->engine != NULL && !gate_wait_empty(&store->gate, DRAIN_MS)) {
    gate_open(&store->gate); /* somebody holds on: reading goes on, and we try again */
    return;
  }
  status s = engine_replace(store);
  pthread_mutex_lock(&store->state_lock);
  store->must_reopen = !status_is_ok(&s);
  pthread_mutex_unlock(&store->state_lock);
  if (status_is_ok(&s)) {
    rocks_health_set(store, KV_HEALTHY, "");
    gate_open(&store->gate);
    rocks_publish(store);
    return;
  }
  enum kv_health health = s.code == STATUS_RESOURCE_EXHAUSTED ? KV_NO_SPACE
                          : s.code == STATUS_DATA_LOSS        ? KV_DAMAGED
                                                              : KV_RECOVERING;
  rocks_health_set(store, health, s.message);
  status reading = rocks_engine_open_for_reading(store);
  if (status_is_ok(&reading))
    gate_open(&store->gate);
}

static void log_sync(struct rocks_store *store) {
  if (!atomic_exchange(&store->log_is_dirty, false))
    return;
  int64_t begin_us = store->port->monotonic_us(store->port);
  status s = engine_sync(store->engine);
  histogram_add(&store->late_sync_us, (uint64_t)(store->port->monotonic_us(store->port) - begin_us));
  if (!status_is_ok(&s))
    rocks_engine_failed(store, &s);
}

void keeper_round(struct rocks_store *store) {
  if (!gate_enter(&store->gate))
    return;
  pthread_mutex_lock(&store->round_lock);
  log_sync(store);
  if (atomic_load(&store->health) == KV_HEALTHY) {
    history_advance(store);
    change_log_advance(store);
  }
  pthread_mutex_unlock(&store->round_lock);
  gate_leave(&store->gate);
}

static void *keeper_main(void *argument) {
  struct rocks_store *store = argument;
  int rounds = 0;
  pthread_mutex_lock(&store->state_lock);
  while (!store->stop_keeper) {
    if (!store->must_reopen || rounds % ROUNDS_PER_SECOND != 0)
      monotonic_wait_for(&store->keeper_wakes, &store->state_lock, ROUND_MS * 1000);
    bool must_reopen = store->must_reopen;
    bool stop = store->stop_keeper;
    pthread_mutex_unlock(&store->state_lock);
    if (must_reopen && !stop)
      reopen(store);
    if (++rounds % ROUNDS_PER_SECOND == 0 && !stop)
      keeper_round(store);
    pthread_mutex_lock(&store->state_lock);
  }
  pthread_mutex_unlock(&store->state_lock);
  return NULL;
}

status keeper_start(struct rocks_store *store) {
  int error = pthread_create(&store->keeper, NULL, keeper_main, store);
  if (error != 0)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "Cannot start the store's keeper: %s.", strerror(error));
  store->has_keeper = true;
  return status_ok();
}

void keeper_stop(struct rocks_store *store) {
  if (!store->has_keeper)
    return;
  pthread_mutex_lock(&store->state_lock);
  store->stop_keeper = true;
  pthread_cond_signal(&store->keeper_wakes);
  pthread_mutex_unlock(&store->state_lock);
  pthread_join(store->keeper, NULL);
  store->has_keeper = false;
}
