#include "storage/kv.h"

#include <assert.h>
#include <pthread.h>

#include "storage/kv_driver.h"

static status key_check(str key) {
  if (key.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "A key of the store is empty.");
  if (key.len > KV_KEY_MAX_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "A key of the store has %zu bytes; the most is %d.", key.len,
                       KV_KEY_MAX_BYTES);
  return status_ok();
}

/* A bound may be empty, and is a key or a key's successor, so one byte longer. */
static status bound_check(str bound) {
  if (bound.len > KV_KEY_MAX_BYTES + 1)
    return status_make(STATUS_INVALID_ARGUMENT, "A bound of a scan has %zu bytes; the most is %d.", bound.len,
                       KV_KEY_MAX_BYTES + 1);
  return status_ok();
}

static void space_assert(enum kv_space space) {
  assert((unsigned)space < KV_SPACE_COUNT);
}

status kv_snapshot_at(struct kv_store *store, kv_version version, kv_snapshot *ret) {
  if (version < 0)
    return status_make(STATUS_FAILED_PRECONDITION, "The time to read at lies before 1970.");
  return store->driver->snapshot_at(store, version, ret);
}

status kv_get(kv_snapshot snapshot, enum kv_space space, str key, struct kv_value *ret) {
  space_assert(space);
  STATUS_TRY(key_check(key));
  return snapshot.store->driver->get(snapshot, space, key, ret);
}

void kv_value_release(struct kv_value *value) {
  if (value->pin != NULL)
    ((struct kv_pin *)value->pin)->driver->value_release(value->pin);
  *value = (struct kv_value){0};
}

status kv_get_many(kv_snapshot snapshot, enum kv_space space, size_t count, const str *keys,
                   struct kv_value *ret) {
  space_assert(space);
  for (size_t i = 0; i < count; i++)
    ret[i] = (struct kv_value){0};
  for (size_t i = 0; i < count; i++)
    STATUS_TRY(key_check(keys[i]));
  if (count == 0)
    return status_ok();
  return snapshot.store->driver->get_many(snapshot, space, count, keys, ret);
}

status kv_iter_open(kv_snapshot snapshot, enum kv_space space, str lower, str upper, bool reverse,
                    struct kv_iter **ret) {
  space_assert(space);
  STATUS_TRY(bound_check(lower));
  STATUS_TRY(bound_check(upper));
  return snapshot.store->driver->iter_open(snapshot, space, lower, upper, reverse, ret);
}

bool kv_iter_next(struct kv_iter *iter) {
  return iter->driver->iter_next(iter);
}

bool kv_iter_seek(struct kv_iter *iter, str key) {
  return iter->driver->iter_seek(iter, key);
}

str kv_iter_key(const struct kv_iter *iter) {
  return iter->driver->iter_key(iter);
}

str kv_iter_value(const struct kv_iter *iter) {
  return iter->driver->iter_value(iter);
}

kv_version kv_iter_version(const struct kv_iter *iter) {
  return iter->driver->iter_version(iter);
}

status kv_iter_status(const struct kv_iter *iter) {
  return iter->driver->iter_status(iter);
}

void kv_iter_close(struct kv_iter *iter) {
  if (iter != NULL)
    iter->driver->iter_close(iter);
}

status kv_reader_get(struct kv_reader *reader, enum kv_space space, str key, struct kv_value *ret) {
  space_assert(space);
  STATUS_TRY(key_check(key));
  return reader->driver->reader_get(reader, space, key, ret);
}

static void batch_write(struct kv_batch *batch, enum kv_space space, str key, bool deleted, str value) {
  space_assert(space);
  status checked = key_check(key);
  if (!status_is_ok(&checked)) {
    batch->driver->batch_fail(batch, &checked);
    return;
  }
  batch->driver->batch_write(batch, space, key, deleted, value);
}

void kv_batch_put(struct kv_batch *batch, enum kv_space space, str key, str value) {
  batch_write(batch, space, key, false, value);
}

void kv_batch_delete(struct kv_batch *batch, enum kv_space space, str key) {
  batch_write(batch, space, key, true, (str){0});
}

static status txn_check(const struct kv_txn *txn) {
  for (size_t i = 0; i < txn->key_count; i++) {
    space_assert(txn->keys[i].space);
    STATUS_TRY(key_check(txn->keys[i].key));
  }
  for (size_t i = 0; i < txn->range_count; i++) {
    space_assert(txn->ranges[i].space);
    STATUS_TRY(bound_check(txn->ranges[i].lower));
    STATUS_TRY(bound_check(txn->ranges[i].upper));
  }
  return status_ok();
}

void kv_commit(struct kv_store *store, struct kv_txn *txn) {
  assert(txn->resolve != NULL && txn->done != NULL);
  status checked = txn_check(txn);
  if (!status_is_ok(&checked))
    txn->done(txn->argument, checked, 0);
  else
    store->driver->commit(store, txn);
}

/* A transaction whose caller sleeps until it is done. */
struct waiting {
  const struct kv_txn *inner;
  pthread_mutex_t lock; /* guards the rest */
  pthread_cond_t ended;
  bool is_done;
  status result;
  kv_version version;
};

static status waiting_resolve(void *argument, struct kv_reader *reader, kv_version version,
                              struct kv_batch *batch) {
  struct waiting *w = argument;
  return w->inner->resolve(w->inner->argument, reader, version, batch);
}

static void waiting_done(void *argument, status result, kv_version version) {
  struct waiting *w = argument;
  pthread_mutex_lock(&w->lock);
  w->result = result;
  w->version = version;
  w->is_done = true;
  pthread_cond_signal(&w->ended);
  pthread_mutex_unlock(&w->lock);
}

status kv_commit_wait(struct kv_store *store, struct kv_txn *txn, kv_version *ret_version) {
  struct waiting w = {.inner = txn};
  pthread_mutex_init(&w.lock, NULL);
  pthread_cond_init(&w.ended, NULL);
  struct kv_txn outer = *txn;
  outer.resolve = waiting_resolve;
  outer.done = waiting_done;
  outer.argument = &w;
  kv_commit(store, &outer);
  pthread_mutex_lock(&w.lock);
  while (!w.is_done)
    pthread_cond_wait(&w.ended, &w.lock);
  pthread_mutex_unlock(&w.lock);
  pthread_cond_destroy(&w.ended);
  pthread_mutex_destroy(&w.lock);
  if (status_is_ok(&w.result) && ret_version != NULL)
    *ret_version = w.version;
  return w.result;
}

status kv_changes_open(struct kv_store *store, kv_version since, kv_version until, struct kv_changes **ret) {
  return store->driver->changes_open(store, since, until, ret);
}

bool kv_changes_next(struct kv_changes *changes, struct kv_change *ret) {
  return changes->driver->changes_next(changes, ret);
}

status kv_changes_status(const struct kv_changes *changes) {
  return changes->driver->changes_status(changes);
}

void kv_changes_close(struct kv_changes *changes) {
  if (changes != NULL)
    changes->driver->changes_close(changes);
}

void kv_subscribe(struct kv_store *store, void (*published)(void *argument, kv_version version),
                  void *argument) {
  store->driver->subscribe(store, published, argument);
}

void kv_info(struct kv_store *store, struct kv_info *ret) {
  store->driver->info(store, ret);
}

void kv_figures(struct kv_store *store, void (*visit)(void *argument, const struct kv_figure *figure),
                void *argument) {
  store->driver->figures(store, visit, argument);
}

kv_version kv_newest_version(struct kv_store *store) {
  return store->driver->newest_version(store);
}

kv_version kv_oldest_version(struct kv_store *store) {
  return store->driver->oldest_version(store);
}

void kv_clock_trust(struct kv_store *store) {
  store->driver->clock_trust(store);
}

void kv_caches_limit(struct kv_store *store, unsigned sixteenths) {
  assert(sixteenths >= 1 && sixteenths <= 16);
  store->driver->caches_limit(store, sixteenths);
}

status kv_verify(struct kv_store *store, void (*report)(void *argument, str text), void *argument,
                 uint64_t *ret_damages) {
  return store->driver->verify(store, report, argument, ret_damages);
}

void kv_close(struct kv_store *store) {
  if (store != NULL)
    store->driver->close(store);
}
