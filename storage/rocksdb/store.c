/* Opening, reading, health and closing.
 *
 * Parties: readers on any thread; the commit thread and the completion thread (commit.c); the keeper
 * (keeper.c). All but the keeper use the engine inside the gate; the keeper, after an error, closes the gate,
 * waits until all have left, and replaces the engine. Values and iterators are inside from open to release;
 * an iterator that notices the closed gate fails with UNAVAILABLE, so that its owner lets go. */
#include "storage/rocksdb/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/monotonic_wait.h"
#include "storage/rocksdb/log_scan.h"
#include "storage/rocksdb/store_internal.h"

/* How long a reader waits while the store opens again: that takes 10 to 100 ms. */
enum { ENTER_WAIT_MS = 500 };
/* A snapshot in the time of a group that is being committed waits for it. */
enum { SNAPSHOT_WAIT_MS = 2000 };

static void sleep_us(long us) {
  nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}, NULL);
}

status rocks_enter(struct rocks_store *store) {
  if (gate_enter(&store->gate))
    return status_ok();
  for (int waited_ms = 0; waited_ms < ENTER_WAIT_MS; waited_ms++) {
    sleep_us(1000);
    if (gate_enter(&store->gate))
      return status_ok();
  }
  return status_make(STATUS_UNAVAILABLE, "The store is opening again after an error. Please try again.");
}

void rocks_leave(struct rocks_store *store) {
  gate_leave(&store->gate);
}

/* ---- Health ---- */

static void health_set_locked(struct rocks_store *store, enum kv_health health, const char *text) {
  atomic_store(&store->health, (int)health);
  snprintf(store->health_text, sizeof store->health_text, "%.*s", (int)sizeof store->health_text - 1, text);
}

void rocks_health_set(struct rocks_store *store, enum kv_health health, const char *text) {
  pthread_mutex_lock(&store->state_lock);
  if (atomic_load(&store->health) != KV_DAMAGED)
    health_set_locked(store, health, text);
  pthread_mutex_unlock(&store->state_lock);
}

void rocks_saw(struct rocks_store *store, const status *failure) {
  if (failure->code == STATUS_DATA_LOSS)
    rocks_health_set(store, KV_DAMAGED, failure->message);
}

void rocks_engine_failed(struct rocks_store *store, const status *failure) {
  pthread_mutex_lock(&store->state_lock);
  if (failure->code == STATUS_DATA_LOSS) {
    health_set_locked(store, KV_DAMAGED, failure->message);
  } else if (atomic_load(&store->health) != KV_DAMAGED) {
    health_set_locked(store, failure->code == STATUS_RESOURCE_EXHAUSTED ? KV_NO_SPACE : KV_RECOVERING,
                      failure->message);
    store->must_reopen = true;
    pthread_cond_signal(&store->keeper_wakes);
  }
  pthread_mutex_unlock(&store->state_lock);
}

bool rocks_medium_look(struct rocks_store *store, struct port_disk *ret) {
  status asked = store->port->disk(store->port, store->directory, ret);
  return status_is_ok(&asked);
}

status rocks_write_status(struct rocks_store *store, uint64_t more_bytes) {
  struct port_disk disk;
  bool known = rocks_medium_look(store, &disk);
  bool is_read_only = known && disk.read_only;
  bool is_full = known && disk.free_bytes < store->options.free_space_min_bytes + more_bytes;
  enum kv_health health = (enum kv_health)atomic_load(&store->health);
  if (health == KV_HEALTHY && !is_full && !is_read_only)
    return status_ok();
  pthread_mutex_lock(&store->state_lock);
  health = (enum kv_health)atomic_load(&store->health);
  if (is_read_only && health != KV_DAMAGED)
    health_set_locked(
        store, health = KV_READ_ONLY,
        "The file system of the store can only be read: the kernel does that after errors of the "
        "medium (see `dmesg`). Mount it for writing again, or replace the medium.");
  else if (health == KV_READ_ONLY && store->must_reopen)
    health_set_locked(store, health = KV_RECOVERING, "The file system can be written again.");
  else if (health == KV_READ_ONLY)
    health_set_locked(store, health = KV_HEALTHY, "");
  if (health == KV_HEALTHY && is_full)
    health_set_locked(store, health = KV_NO_SPACE,
                      "Less space is free on the disk of the store than is kept in reserve: make room.");
  else if (health == KV_NO_SPACE && !is_full && !store->must_reopen)
    health_set_locked(store, health = KV_HEALTHY, "");
  status result = status_ok();
  if (health == KV_NO_SPACE)
    result = status_make(STATUS_RESOURCE_EXHAUSTED, "The server's disk is full; reading goes on. (%s)",
                         store->health_text);
  else if (health == KV_DAMAGED)
    result =
        status_make(STATUS_UNAVAILABLE, "The store is damaged and takes no writes. (%s)", store->health_text);
  else if (health == KV_READ_ONLY)
    result = status_make(STATUS_UNAVAILABLE, "The server takes no writes for now; reading goes on. (%s)",
                         store->health_text);
  else if (health == KV_RECOVERING)
    result =
        status_make(STATUS_UNAVAILABLE, "The store is opening again after an error. Please try again. (%s)",
                    store->health_text);
  pthread_mutex_unlock(&store->state_lock);
  return result;
}

/* ---- Snapshots and versions ---- */

int64_t rocks_clock_now(struct rocks_store *store) {
  pthread_mutex_lock(&store->clock_lock);
  int64_t now = version_clock_now(&store->clock);
  pthread_mutex_unlock(&store->clock_lock);
  return now;
}

/* A time after the newest commit and not in the future: from now on no commit gets a version up to it. What
 * is being committed may have one already, and is waited for. */
static status snapshot_after_newest(struct rocks_store *store, kv_version version) {
  for (int waited_us = 0; waited_us < SNAPSHOT_WAIT_MS * 1000; waited_us += 100) {
    pthread_mutex_lock(&store->clock_lock);
    bool future = version > version_clock_now(&store->clock);
    bool busy = store->first_in_flight != 0 && store->first_in_flight <= version;
    if (!future && !busy)
      version_clock_raise(&store->clock, version);
    pthread_mutex_unlock(&store->clock_lock);
    if (future)
      return status_make(STATUS_FAILED_PRECONDITION, "The time to read at lies in the future.");
    if (!busy)
      return status_ok();
    sleep_us(100);
  }
  return status_make(STATUS_UNAVAILABLE, "The store is busy. Please try again.");
}

static status too_old(void) {
  return status_make(STATUS_FAILED_PRECONDITION, "The time to read at lies before the history that is kept.");
}

static status rocks_snapshot_at(struct kv_store *base, kv_version version, kv_snapshot *ret) {
  struct rocks_store *store = rocks_of(base);
  kv_version newest = atomic_load(&store->newest);
  if (version == KV_LATEST)
    version = newest;
  if (version < atomic_load(&store->oldest_history))
    return too_old();
  if (version > newest)
    STATUS_TRY(snapshot_after_newest(store, version));
  *ret = (kv_snapshot){base, version};
  return status_ok();
}

static kv_version rocks_newest_version(struct kv_store *base) {
  return atomic_load(&rocks_of(base)->newest);
}

static kv_version rocks_oldest_version(struct kv_store *base) {
  return atomic_load(&rocks_of(base)->oldest_history);
}

static void rocks_clock_trust(struct kv_store *base) {
  struct rocks_store *store = rocks_of(base);
  pthread_mutex_lock(&store->clock_lock);
  version_clock_trust(&store->clock);
  pthread_mutex_unlock(&store->clock_lock);
}

static void rocks_subscribe(struct kv_store *base, void (*published)(void *argument, kv_version version),
                            void *argument) {
  struct rocks_store *store = rocks_of(base);
  pthread_mutex_lock(&store->subscriber_lock);
  store->published_argument = argument;
  store->published = published;
  pthread_mutex_unlock(&store->subscriber_lock);
}

void rocks_publish(struct rocks_store *store) {
  pthread_mutex_lock(&store->subscriber_lock);
  if (store->published != NULL)
    store->published(store->published_argument, atomic_load(&store->newest));
  pthread_mutex_unlock(&store->subscriber_lock);
}

/* ---- Reading ---- */

static status rocks_get(kv_snapshot snapshot, enum kv_space space, str key, struct kv_value *ret) {
  struct rocks_store *store = rocks_of(snapshot.store);
  if (snapshot.version < atomic_load_explicit(&store->oldest_history, memory_order_relaxed))
    return too_old();
  bool may_be_hot = store->hot != NULL && space == KV_DOCUMENTS;
  if (may_be_hot && hot_find(store->hot, key, snapshot.version, ret))
    return status_ok();
  STATUS_TRY(rocks_enter(store));
  struct engine_pin *pin = NULL;
  str bytes = {0};
  int64_t version = 0;
  status s = engine_get(store->engine, space, key, snapshot.version, &pin, &bytes, &version);
  if (!status_is_ok(&s) || pin == NULL) {
    rocks_leave(store);
    if (!status_is_ok(&s)) {
      rocks_saw(store, &s);
      return s;
    }
    *ret = (struct kv_value){0};
    return s;
  }
  if (may_be_hot)
    hot_offer(store->hot, key, snapshot.version, bytes, version);
  pin->driver = &rocks_driver;
  pin->owner = store;
  *ret = (struct kv_value){bytes, true, version, pin};
  return s;
}

static void rocks_value_release(void *memory) {
  struct engine_pin *pin = memory;
  struct rocks_store *store = pin->owner;
  engine_pin_release(pin);
  if (store != NULL)
    rocks_leave(store);
}

/* Keys that are read in one call to the engine: what fits on the stack. */
enum { GET_MANY_CHUNK = 64 };

/* Those of the keys that are not hot, in their order, and their places. */
struct cold {
  size_t count;
  str keys[GET_MANY_CHUNK];
  size_t places[GET_MANY_CHUNK];
};

static void find_hot(kv_snapshot snapshot, enum kv_space space, size_t count, const str *keys,
                     struct kv_value *ret, struct cold *ret_cold) {
  struct hot *hot = space == KV_DOCUMENTS ? rocks_of(snapshot.store)->hot : NULL;
  ret_cold->count = 0;
  for (size_t i = 0; i < count; i++) {
    if (hot != NULL && hot_find(hot, keys[i], snapshot.version, &ret[i]))
      continue;
    ret_cold->keys[ret_cold->count] = keys[i];
    ret_cold->places[ret_cold->count++] = i;
  }
}

static status get_chunk(kv_snapshot snapshot, enum kv_space space, size_t count, const str *keys,
                        struct kv_value *ret) {
  struct rocks_store *store = rocks_of(snapshot.store);
  struct engine_pin *pins[GET_MANY_CHUNK];
  str bytes[GET_MANY_CHUNK];
  int64_t versions[GET_MANY_CHUNK];
  struct cold cold;
  assert(count <= GET_MANY_CHUNK);
  find_hot(snapshot, space, count, keys, ret, &cold);
  if (cold.count == 0)
    return status_ok();
  status s = rocks_enter(store);
  bool entered = status_is_ok(&s);
  if (entered)
    s = engine_get_many(store->engine, space, cold.count, cold.keys, snapshot.version, pins, bytes, versions);
  if (!status_is_ok(&s)) {
    if (entered) {
      rocks_leave(store);
      rocks_saw(store, &s);
    }
    for (size_t i = 0; i < count; i++)
      kv_value_release(&ret[i]);
    return s;
  }
  for (size_t i = 0; i < cold.count; i++) {
    if (pins[i] == NULL)
      continue;
    if (store->hot != NULL && space == KV_DOCUMENTS)
      hot_offer(store->hot, cold.keys[i], snapshot.version, bytes[i], versions[i]);
    /* Each value is inside on its own. We are, so the gate can only be closing behind us: a reader that is
     * turned away now must not be, since its value is already pinned. */
    gate_enter_again(&store->gate);
    pins[i]->driver = &rocks_driver;
    pins[i]->owner = store;
    ret[cold.places[i]] = (struct kv_value){bytes[i], true, versions[i], pins[i]};
  }
  rocks_leave(store);
  return s;
}

static status rocks_get_many(kv_snapshot snapshot, enum kv_space space, size_t count, const str *keys,
                             struct kv_value *ret) {
  if (snapshot.version < atomic_load(&rocks_of(snapshot.store)->oldest_history))
    return too_old();
  for (size_t i = 0; i < count; i += GET_MANY_CHUNK) {
    size_t n = count - i < GET_MANY_CHUNK ? count - i : GET_MANY_CHUNK;
    status s = get_chunk(snapshot, space, n, keys + i, ret + i);
    if (status_is_ok(&s))
      continue;
    for (size_t k = 0; k < i; k++)
      kv_value_release(&ret[k]);
    return s;
  }
  return status_ok();
}

/* ---- Scans ---- */

struct rocks_iter {
  struct kv_iter base;
  struct rocks_store *store;
  struct engine_iter *at; /* NULL: the range is empty */
  bool reverse;
  bool started, on_entry;
  status failure;
};

bool rocks_is_empty_range(str lower, str upper) {
  return upper.len > 0 && str_cmp(lower, upper) >= 0;
}

static status rocks_iter_open(kv_snapshot snapshot, enum kv_space space, str lower, str upper, bool reverse,
                              struct kv_iter **ret) {
  struct rocks_store *store = rocks_of(snapshot.store);
  if (snapshot.version < atomic_load(&store->oldest_history))
    return too_old();
  STATUS_TRY(rocks_enter(store));
  struct rocks_iter *iter = calloc(1, sizeof *iter);
  status s = iter != NULL ? status_ok() : status_default(STATUS_RESOURCE_EXHAUSTED);
  if (status_is_ok(&s) && !rocks_is_empty_range(lower, upper))
    s = engine_iter_open(store->engine, space, lower, upper, snapshot.version, true, &iter->at);
  if (!status_is_ok(&s)) {
    free(iter);
    rocks_leave(store);
    return s;
  }
  iter->base.driver = &rocks_driver;
  iter->store = store;
  iter->reverse = reverse;
  iter->failure = status_ok();
  *ret = &iter->base;
  return s;
}

static struct rocks_iter *iter_of(const struct kv_iter *iter) {
  return (struct rocks_iter *)(uintptr_t)iter;
}

/* Whether the iterator may be moved. */
static bool iter_ready(struct rocks_iter *iter) {
  iter->on_entry = false;
  if (iter->at == NULL || !status_is_ok(&iter->failure))
    return false;
  if (!gate_is_closed(&iter->store->gate))
    return true;
  iter->failure = status_make(STATUS_UNAVAILABLE, "The store is opening again. Please try again.");
  return false;
}

static bool iter_settle(struct rocks_iter *iter) {
  iter->started = true;
  iter->on_entry = engine_iter_valid(iter->at);
  if (iter->on_entry && engine_iter_value(iter->at).len < ENGINE_VALUE_PREFIX_BYTES) {
    iter->failure = status_make(STATUS_DATA_LOSS, "A stored value is shorter than its version.");
    iter->on_entry = false;
  } else if (!iter->on_entry) {
    iter->failure = engine_iter_status(iter->at);
  }
  if (!status_is_ok(&iter->failure))
    rocks_saw(iter->store, &iter->failure);
  return iter->on_entry;
}

static bool rocks_iter_next(struct kv_iter *base) {
  struct rocks_iter *iter = iter_of(base);
  bool was_on_entry = iter->on_entry;
  if (!iter_ready(iter))
    return false;
  if (!iter->started) {
    if (iter->reverse)
      engine_iter_last(iter->at);
    else
      engine_iter_first(iter->at);
  } else if (!was_on_entry) {
    return false; /* past the end */
  } else if (iter->reverse) {
    engine_iter_prev(iter->at);
  } else {
    engine_iter_next(iter->at);
  }
  return iter_settle(iter);
}

static bool rocks_iter_seek(struct kv_iter *base, str key) {
  struct rocks_iter *iter = iter_of(base);
  if (!iter_ready(iter))
    return false;
  if (iter->reverse)
    engine_iter_seek_for_prev(iter->at, key);
  else
    engine_iter_seek(iter->at, key);
  return iter_settle(iter);
}

static str rocks_iter_key(const struct kv_iter *base) {
  assert(iter_of(base)->on_entry);
  return engine_iter_key(iter_of(base)->at);
}

static str rocks_iter_value(const struct kv_iter *base) {
  assert(iter_of(base)->on_entry);
  return str_from(engine_iter_value(iter_of(base)->at), ENGINE_VALUE_PREFIX_BYTES);
}

static kv_version rocks_iter_version(const struct kv_iter *base) {
  assert(iter_of(base)->on_entry);
  return (kv_version)rocks_decode64(engine_iter_value(iter_of(base)->at).ptr, false);
}

static status rocks_iter_status(const struct kv_iter *base) {
  return iter_of(base)->failure;
}

static void rocks_iter_close(struct kv_iter *base) {
  struct rocks_iter *iter = iter_of(base);
  engine_iter_close(iter->at);
  rocks_leave(iter->store);
  free(iter);
}

/* ---- Meta ---- */

void rocks_meta_put(struct rocks_store *store, struct engine_batch *batch, str name, int64_t number) {
  char bytes[8];
  rocks_encode64(bytes, (uint64_t)number, false);
  engine_batch_put(store->engine, batch, ENGINE_META, name, 0, str_make(bytes, sizeof bytes));
}

status rocks_meta_get(struct engine *engine, str name, int64_t *ret) {
  char bytes[8];
  size_t len = 0;
  bool found = false;
  STATUS_TRY(engine_meta_get(engine, name, bytes, sizeof bytes, &len, &found));
  if (found && len != sizeof bytes)
    return status_make(STATUS_DATA_LOSS, "The store's own number \"" STR_FMT "\" is damaged.", STR_ARG(name));
  *ret = found ? (int64_t)rocks_decode64(bytes, false) : 0;
  return status_ok();
}

status rocks_meta_write(struct rocks_store *store, str name, int64_t number) {
  struct engine_batch *batch = engine_batch_new();
  rocks_meta_put(store, batch, name, number);
  status s = engine_write(store->engine, batch, true);
  engine_batch_free(batch);
  return s;
}

/* ---- Information ---- */

static void rocks_info(struct kv_store *base, struct kv_info *ret) {
  struct rocks_store *store = rocks_of(base);
  *ret = (struct kv_info){.format = store->layout.format};
  if (!store->options.read_only) {
    status looked = rocks_write_status(store, 0); /* refreshes the health */
    (void)looked;
  }
  pthread_mutex_lock(&store->state_lock);
  ret->health = (enum kv_health)atomic_load(&store->health);
  snprintf(ret->health_text, sizeof ret->health_text, "%s", store->health_text);
  pthread_mutex_unlock(&store->state_lock);
  ret->newest = atomic_load(&store->newest);
  ret->oldest_history = atomic_load(&store->oldest_history);
  ret->oldest_change = atomic_load(&store->oldest_change);
  pthread_mutex_lock(&store->clock_lock);
  ret->now = version_clock_now(&store->clock);
  ret->clock_trusted = store->clock.trusted;
  pthread_mutex_unlock(&store->clock_lock);
  struct port_disk disk = {0};
  status asked = store->port->disk(store->port, store->directory, &disk);
  if (status_is_ok(&asked)) {
    ret->disk_free_bytes = disk.free_bytes;
    ret->disk_total_bytes = disk.total_bytes;
  }
  pipeline_counts(store, ret);
  status entered = rocks_enter(store);
  if (!status_is_ok(&entered))
    return;
  struct engine_stats stats;
  engine_stats_read(store->engine, &stats);
  rocks_leave(store);
  ret->data_bytes = stats.data_bytes;
  ret->keys_estimate = stats.keys_estimate;
  ret->cache_bytes = stats.cache_bytes;
  ret->write_buffer_bytes = stats.write_buffer_bytes;
  ret->written_bytes = stats.written_bytes;
  ret->log_bytes = stats.log_bytes;
  ret->flushed_bytes = stats.flushed_bytes;
  ret->compacted_bytes = stats.compacted_bytes;
  ret->syncs = stats.log_syncs;
}

/* ---- Opening and closing ---- */

static void engine_failed(void *argument, const status *failure) {
  rocks_engine_failed(argument, failure);
}

/* After a power cut the log may end in a broken record: one that was never acknowledged. Damage to what was
 * acknowledged is not guessed away. A relaxed store may have holes from a power cut, and promised no more
 * than to stay whole. */
static status open_with_broken_log(struct rocks_store *store, struct engine_options *options,
                                   status first_failure) {
  bool damaged = false;
  STATUS_TRY(log_scan_directory(options->directory, &damaged));
  if (damaged && store->options.sync == KV_SYNC_ON)
    return status_make(STATUS_DATA_LOSS, "The store's log is damaged in its middle: restore a backup. (%s)",
                       first_failure.message);
  options->accept_torn_log = true;
  return engine_open(options, &store->engine);
}

/* The share of hot documents. */
static size_t hot_bytes(const struct rocks_store *store) {
  return store->options.read_only ? 0 : store->options.memory_bytes / 8;
}

/* The share of blocks. */
static size_t cache_bytes(const struct rocks_store *store) {
  return store->options.memory_bytes - hot_bytes(store);
}

/* Before the engine is told, so that one that opens meanwhile is told too (rocks_engine_open). */
static void rocks_caches_limit(struct kv_store *base, unsigned sixteenths) {
  struct rocks_store *store = rocks_of(base);
  atomic_store(&store->caches_sixteenths, sixteenths);
  if (store->hot != NULL)
    hot_limit(store->hot, hot_bytes(store) / 16 * sixteenths);
  status entered = rocks_enter(store);
  if (!status_is_ok(&entered))
    return;
  engine_cache_resize(store->engine, cache_bytes(store) / 16 * sixteenths);
  rocks_leave(store);
}

status rocks_engine_open(struct rocks_store *store) {
  struct engine_options options = {
      .directory = store->layout.engine_path,
      .memory_bytes = cache_bytes(store),
      .tuning = store->options.tuning,
      .create = store->layout.is_new,
      .read_only = store->options.read_only,
      .failed = engine_failed,
      .argument = store,
  };
  status s = engine_open(&options, &store->engine);
  if (s.code == STATUS_DATA_LOSS)
    s = open_with_broken_log(store, &options, s);
  if (status_is_ok(&s)) {
    unsigned sixteenths = atomic_load(&store->caches_sixteenths);
    if (sixteenths < 16)
      engine_cache_resize(store->engine, cache_bytes(store) / 16 * sixteenths);
    return s;
  }
  store->engine = NULL;
  if (strstr(s.message, "ock ") != NULL && strstr(s.message, "LOCK") != NULL)
    return layout_in_use(store->directory);
  if (strstr(s.message, "Permission denied") != NULL)
    return status_make(STATUS_PERMISSION_DENIED, "The store in %s cannot be read or written: %s",
                       store->directory, s.message);
  if (s.code == STATUS_INTERNAL)
    return status_make(STATUS_DATA_LOSS, "Files of the store in %s are missing or damaged: %s",
                       store->directory, s.message);
  return s;
}

status rocks_engine_open_for_reading(struct rocks_store *store) {
  struct engine_options options = {.directory = store->layout.engine_path,
                                   .memory_bytes = cache_bytes(store),
                                   .tuning = store->options.tuning,
                                   .read_only = true,
                                   .accept_torn_log = true};
  return engine_open(&options, &store->engine);
}

static void options_fill(struct rocks_store *store, const struct kv_rocksdb_options *given) {
  struct kv_rocksdb_options *o = &store->options;
  *o = *given;
  store->port = o->port != NULL ? o->port : port_linux();
  struct port_disk disk = {0};
  status asked = store->port->disk(store->port, given->directory, &disk);
  if (!status_is_ok(&asked))
    disk.total_bytes = UINT64_C(8) << 30;
  if (o->memory_bytes == 0)
    o->memory_bytes = 32u << 20;
  if (o->history_us == 0)
    o->history_us = INT64_C(3600) * 1000000;
  if (o->change_log_us == 0)
    o->change_log_us = INT64_C(7) * 24 * 3600 * 1000000;
  if (o->change_log_max_bytes == 0)
    o->change_log_max_bytes = disk.total_bytes / 20;
  if (o->free_space_min_bytes == 0) {
    uint64_t share = disk.total_bytes / 50;
    o->free_space_min_bytes = share < (UINT64_C(64) << 20) ? share : UINT64_C(64) << 20;
  }
}

/* In one write: a start that is killed leaves all of it, or nothing. */
static status versions_begin(struct rocks_store *store, int64_t first) {
  struct engine_batch *batch = engine_batch_new();
  rocks_meta_put(store, batch, META_OLDEST_HISTORY, first);
  rocks_meta_put(store, batch, META_OLDEST_CHANGE, first);
  rocks_meta_put(store, batch, META_LAST, first);
  status s = engine_write(store->engine, batch, true);
  engine_batch_free(batch);
  return s;
}

/* The versions that the store knows; an empty store gets its first one now, durably, so that no later clock
 * can give out an earlier one. */
static status versions_load(struct rocks_store *store) {
  int64_t last = 0, history = 0, change = 0;
  STATUS_TRY(rocks_meta_get(store->engine, META_LAST, &last));
  STATUS_TRY(rocks_meta_get(store->engine, META_OLDEST_HISTORY, &history));
  STATUS_TRY(rocks_meta_get(store->engine, META_OLDEST_CHANGE, &change));
  bool begins = store->layout.is_new && last == 0;
  if (!begins && (last < 0 || history < 0 || change < 0 || history > last || change > last))
    return status_make(STATUS_DATA_LOSS, "The store's version numbers are damaged: run `skerry verify`.");
  if (!begins && last == 0)
    return status_make(STATUS_DATA_LOSS, "The store has lost its version number: run `skerry verify`.");
  version_clock_init(&store->clock, store->port, store->options.clock_trusted, last);
  if (begins) {
    last = history = change = store->clock.last;
    STATUS_TRY(versions_begin(store, last));
  }
  if (store->layout.is_new && !store->options.read_only) { /* even if the start that began it was killed */
    STATUS_TRY(layout_mark_ready(store->directory));
    store->layout.is_new = false;
  }
  atomic_store(&store->newest, last);
  atomic_store(&store->oldest_history, history);
  atomic_store(&store->oldest_change, change);
  store->history_limit = history;
  return status_ok();
}

static void store_free(struct rocks_store *store) {
  engine_close(store->engine, false);
  pthread_cond_destroy(&store->keeper_wakes);
  pthread_mutex_destroy(&store->round_lock);
  pthread_mutex_destroy(&store->state_lock);
  pthread_mutex_destroy(&store->clock_lock);
  pthread_mutex_destroy(&store->subscriber_lock);
  layout_unlock(&store->layout);
  hot_free(store->hot);
  free(store->directory);
  free(store);
}

status kv_rocksdb_open(const struct kv_rocksdb_options *options, struct kv_store **ret) {
  assert(options->directory != NULL);
  struct rocks_store *store = aligned_alloc(64, (sizeof *store + 63) / 64 * 64);
  if (store == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  memset(store, 0, sizeof *store);
  store->base.driver = &rocks_driver;
  atomic_init(&store->caches_sixteenths, 16);
  store->directory = strdup(options->directory);
  pthread_mutex_init(&store->clock_lock, NULL);
  pthread_mutex_init(&store->subscriber_lock, NULL);
  pthread_mutex_init(&store->state_lock, NULL);
  pthread_mutex_init(&store->round_lock, NULL);
  monotonic_cond_init(&store->keeper_wakes);
  status s = store->directory != NULL ? layout_open(options->directory, options->read_only, &store->layout)
                                      : status_default(STATUS_RESOURCE_EXHAUSTED);
  if (status_is_ok(&s) && store->layout.is_restoring && !options->restoring)
    s = status_make(STATUS_FAILED_PRECONDITION,
                    "A restore into %s was cut off, or still runs: let it end, or remove the directory and "
                    "restore again.",
                    options->directory);
  if (status_is_ok(&s) && options->read_only)
    s = layout_lock(&store->layout, options->directory);
  if (status_is_ok(&s)) {
    options_fill(store, options);
    store->options.directory = store->directory;
    s = rocks_engine_open(store);
  }
  if (status_is_ok(&s))
    s = versions_load(store);
  if (status_is_ok(&s) && !options->read_only)
    s = hot_new(hot_bytes(store), atomic_load(&store->newest), &store->hot);
  if (status_is_ok(&s) && !options->read_only) {
    s = pipeline_start(store);
    if (status_is_ok(&s)) {
      s = keeper_start(store);
      if (!status_is_ok(&s))
        pipeline_stop(store);
    }
  }
  if (!status_is_ok(&s)) {
    store_free(store);
    return s;
  }
  *ret = &store->base;
  return s;
}

static void rocks_close(struct kv_store *base) {
  struct rocks_store *store = rocks_of(base);
  if (store->pipeline != NULL)
    pipeline_stop(store);
  keeper_stop(store);
  gate_close(&store->gate);
  bool all_left = gate_wait_empty(&store->gate, 0);
  assert(all_left); /* an iterator, cursor or value is still open */
  engine_close(store->engine, true);
  store->engine = NULL;
  store_free(store);
}

const struct kv_driver rocks_driver = {
    .name = "rocksdb",
    .snapshot_at = rocks_snapshot_at,
    .get = rocks_get,
    .get_many = rocks_get_many,
    .value_release = rocks_value_release,
    .iter_open = rocks_iter_open,
    .iter_next = rocks_iter_next,
    .iter_seek = rocks_iter_seek,
    .iter_key = rocks_iter_key,
    .iter_value = rocks_iter_value,
    .iter_version = rocks_iter_version,
    .iter_status = rocks_iter_status,
    .iter_close = rocks_iter_close,
    .reader_get = rocks_reader_get,
    .batch_write = rocks_batch_write,
    .batch_fail = rocks_batch_fail,
    .commit = rocks_commit,
    .changes_open = rocks_changes_open,
    .changes_next = rocks_changes_next,
    .changes_status = rocks_changes_status,
    .changes_close = rocks_changes_close,
    .subscribe = rocks_subscribe,
    .info = rocks_info,
    .figures = rocks_figures,
    .newest_version = rocks_newest_version,
    .oldest_version = rocks_oldest_version,
    .clock_trust = rocks_clock_trust,
    .caches_limit = rocks_caches_limit,
    .verify = rocks_verify,
    .close = rocks_close,
};
