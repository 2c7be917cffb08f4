/* One transaction at a time. `changed` begins one unless one is under way; its `done` begins the next if
 * there is more. A failed one gives its records back and waits for the next change: while the store refuses
 * writes, the counts in memory hold. */
#include "server/identity/attempts_kv.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/log.h"

enum { BATCH_MAX = 256, KEY_BYTES = 9 + 2 };
static const char PREFIX[] = "attempts/";
#define SECRET_KEY STR("attempts/secret")

struct attempts_kv {
  struct kv_store *store;
  struct attempts *attempts;
  uint8_t secret[ATTEMPTS_SECRET_BYTES];
  struct kv_txn txn;
  struct attempts_changed batch[BATCH_MAX]; /* of the transaction that is under way */
  size_t batch_count;
  /* Guarded by the mutex. */
  pthread_mutex_t mutex;
  pthread_cond_t idle;
  bool busy, again; /* a transaction is under way; there were changes since it was filled */
};

/* ---- Writing ---- */

static status resolve(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  const struct attempts_kv *kv = argument;
  (void)reader, (void)version;
  for (size_t i = 0; i < kv->batch_count; i++) {
    uint8_t key[KEY_BYTES];
    memcpy(key, PREFIX, sizeof PREFIX - 1);
    key[KEY_BYTES - 2] = (uint8_t)(kv->batch[i].slot >> 8);
    key[KEY_BYTES - 1] = (uint8_t)kv->batch[i].slot;
    kv_batch_put(batch, KV_SYSTEM, str_make(key, sizeof key),
                 str_make(kv->batch[i].record, sizeof kv->batch[i].record));
  }
  return status_ok();
}

static void done(void *argument, status result, kv_version version);

/* By whoever made it busy. */
static void write_next(struct attempts_kv *kv) {
  kv->batch_count = attempts_take_changed(kv->attempts, kv->batch, BATCH_MAX);
  kv->txn = (struct kv_txn){.resolve = resolve, .done = done, .argument = kv};
  kv_commit(kv->store, &kv->txn);
}

static void done(void *argument, status result, kv_version version) {
  struct attempts_kv *kv = argument;
  (void)version;
  bool good = status_is_ok(&result), full = kv->batch_count == BATCH_MAX;
  if (!good) {
    static struct log_limiter limiter;
    uint32_t suppressed;
    attempts_give_back(kv->attempts, kv->batch, kv->batch_count);
    if (log_limiter_pass(&limiter, 1, &suppressed))
      log_event(LOG_LEVEL_WARN, "counts of sign-in attempts are not stored",
                LOG_CSTR("reason", result.message), LOG_INT("suppressed", suppressed));
  }
  pthread_mutex_lock(&kv->mutex);
  bool go_on = good && (kv->again || full);
  kv->again = false;
  kv->busy = go_on;
  if (!go_on)
    pthread_cond_broadcast(&kv->idle);
  pthread_mutex_unlock(&kv->mutex);
  if (go_on)
    write_next(kv);
}

static void changed(void *argument) {
  struct attempts_kv *kv = argument;
  pthread_mutex_lock(&kv->mutex);
  bool begin = !kv->busy;
  kv->again = kv->busy;
  kv->busy = true;
  pthread_mutex_unlock(&kv->mutex);
  if (begin)
    write_next(kv);
}

/* ---- Opening and closing ---- */

static status resolve_secret(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  struct attempts_kv *kv = argument;
  struct kv_value stored = {0};
  (void)version;
  STATUS_TRY(kv_reader_get(reader, KV_SYSTEM, SECRET_KEY, &stored));
  status result = status_ok();
  if (!stored.found) {
    crypto_random(kv->secret, sizeof kv->secret);
    kv_batch_put(batch, KV_SYSTEM, SECRET_KEY, str_make(kv->secret, sizeof kv->secret));
  } else if (stored.bytes.len == sizeof kv->secret) {
    memcpy(kv->secret, stored.bytes.ptr, sizeof kv->secret);
  } else {
    result = status_make(STATUS_DATA_LOSS, "What the store has under attempts/secret is damaged.");
  }
  kv_value_release(&stored);
  return result;
}

static status restore(struct attempts_kv *kv) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  STATUS_TRY(kv_snapshot_at(kv->store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_iter_open(snapshot, KV_SYSTEM, STR("attempts/"), STR("attempts0"), false, &iter));
  while (kv_iter_next(iter)) {
    str key = kv_iter_key(iter);
    if (key.len != KEY_BYTES) /* the secret */
      continue;
    uint16_t slot = (uint16_t)((uint8_t)key.ptr[KEY_BYTES - 2] << 8 | (uint8_t)key.ptr[KEY_BYTES - 1]);
    attempts_restore(kv->attempts, slot, kv_iter_value(iter));
  }
  status result = kv_iter_status(iter);
  kv_iter_close(iter);
  return result;
}

static void free_kv(struct attempts_kv *kv) {
  attempts_free(kv->attempts);
  pthread_cond_destroy(&kv->idle);
  pthread_mutex_destroy(&kv->mutex);
  free(kv);
}

static status open_kv(struct attempts_kv *kv, struct port *port) {
  struct kv_txn txn = {.resolve = resolve_secret, .argument = kv};
  kv_version version;
  STATUS_TRY(kv_commit_wait(kv->store, &txn, &version));
  STATUS_TRY(attempts_new(port, str_make(kv->secret, sizeof kv->secret),
                          (struct attempts_persistence){changed, kv}, &kv->attempts));
  return restore(kv);
}

status attempts_kv_open(struct kv_store *store, struct port *port, struct attempts_kv **ret) {
  struct attempts_kv *kv = calloc(1, sizeof *kv);
  if (kv == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to count attempts.");
  kv->store = store;
  pthread_mutex_init(&kv->mutex, NULL);
  pthread_cond_init(&kv->idle, NULL);
  status result = open_kv(kv, port);
  if (status_is_ok(&result))
    *ret = kv;
  else
    free_kv(kv);
  return result;
}

void attempts_kv_close(struct attempts_kv *kv) {
  if (kv == NULL)
    return;
  pthread_mutex_lock(&kv->mutex);
  while (kv->busy)
    pthread_cond_wait(&kv->idle, &kv->mutex);
  pthread_mutex_unlock(&kv->mutex);
  free_kv(kv);
}

struct attempts *attempts_kv_attempts(const struct attempts_kv *kv) {
  return kv->attempts;
}
