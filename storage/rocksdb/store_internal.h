/* The driver's parts among themselves: store.c (opening, reading, closing), commit.c (the pipeline),
 * changes.c (the change log), keeper.c (background work and recovery), verify.c. */
#ifndef SKERRY_STORAGE_ROCKSDB_STORE_INTERNAL_H
#define SKERRY_STORAGE_ROCKSDB_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "storage/kv_driver.h"
#include "storage/rocksdb/engine.h"
#include "storage/rocksdb/gate.h"
#include "storage/rocksdb/hot.h"
#include "storage/rocksdb/layout.h"
#include "storage/rocksdb/store.h"
#include "storage/version_clock.h"

struct pipeline;

struct rocks_store {
  struct kv_store base;
  struct kv_rocksdb_options options; /* with the defaults filled in */
  char *directory;
  struct layout layout;
  struct port *port;

  /* Who uses `engine` has entered the gate; who replaces it has closed the gate and waited. */
  struct gate gate;
  struct engine *engine;
  struct hot *hot; /* of KV_DOCUMENTS; NULL if read-only. For all, in front of the gate */

  _Atomic int64_t newest; /* what new snapshots see */
  _Atomic int64_t oldest_history;
  _Atomic int64_t oldest_change; /* changes after it are in the log */

  pthread_mutex_t clock_lock; /* guards the next two */
  struct version_clock clock;
  int64_t first_in_flight; /* the first version that is given out but not visible, or 0 */

  _Atomic int health;         /* enum kv_health */
  pthread_mutex_t state_lock; /* guards the rest of this block, and changes of health */
  char health_text[256];
  bool must_reopen;
  bool has_keeper;
  bool stop_keeper;
  pthread_t keeper;
  pthread_cond_t keeper_wakes;

  _Atomic bool log_is_dirty;          /* relaxed: written, not synced */
  _Atomic unsigned caches_sixteenths; /* of what they may have */

  pthread_mutex_t round_lock;    /* one keeper_round at a time; guards the next two */
  int64_t history_limit;         /* what RocksDB was told */
  struct histogram late_sync_us; /* may be read without */

  struct pipeline *pipeline; /* NULL if read-only */
  pthread_mutex_t
      subscriber_lock; /* of the two below; held during the call, so who unsubscribed is not called */
  void (*published)(void *argument, kv_version version);
  void *published_argument;
};

extern const struct kv_driver rocks_driver;

static inline struct rocks_store *rocks_of(struct kv_store *store) {
  return (struct rocks_store *)(void *)store; /* aligned for its cache lines: it was made so */
}

/* store.c */

/* Enters the gate, waiting briefly while the store opens again. UNAVAILABLE. */
status rocks_enter(struct rocks_store *store);
void rocks_leave(struct rocks_store *store);
/* To be called with every failure of the engine that a reader meets: remembers damage. */
void rocks_saw(struct rocks_store *store, const status *failure);
void rocks_publish(struct rocks_store *store); /* tells the subscriber */
/* A write or a background job failed: no more writes until the keeper has opened the store again. Any thread,
 * any lock. */
void rocks_engine_failed(struct rocks_store *store, const status *failure);
/* Whether a transaction may be committed now, and what to say otherwise. Looks at the free space. */
status rocks_write_status(struct rocks_store *store, uint64_t more_bytes);
void rocks_health_set(struct rocks_store *store, enum kv_health health, const char *text);
/* False: the system does not say. */
bool rocks_medium_look(struct rocks_store *store, struct port_disk *ret);
/* Opens the engine and takes its newest version; leaves the gate as it is. */
status rocks_engine_open(struct rocks_store *store);
/* The same for reading only, while the engine cannot be opened for writing. */
status rocks_engine_open_for_reading(struct rocks_store *store);
int64_t rocks_clock_now(struct rocks_store *store);
bool rocks_is_empty_range(str lower, str upper);

/* The numbers that ENGINE_META keeps, under these names, as 8 bytes. */
#define META_LAST STR("last")                /* the newest version, in the batch of each group */
#define META_OLDEST_HISTORY STR("history")   /* reads before it are refused */
#define META_OLDEST_CHANGE STR("change_log") /* changes after it are kept */
void rocks_meta_put(struct rocks_store *store, struct engine_batch *batch, str name, int64_t number);
status rocks_meta_get(struct engine *engine, str name, int64_t *ret); /* 0 if it is not there */
status rocks_meta_write(struct rocks_store *store, str name, int64_t number);

static inline void rocks_encode64(char *bytes, uint64_t n, bool big_endian) {
  for (unsigned i = 0; i < 8; i++)
    bytes[big_endian ? 7 - i : i] = (char)(n >> (8 * i));
}
static inline uint64_t rocks_decode64(const char *bytes, bool big_endian) {
  uint64_t n = 0;
  for (unsigned i = 0; i < 8; i++)
    n |= (uint64_t)(unsigned char)bytes[big_endian ? 7 - i : i] << (8 * i);
  return n;
}

/* commit.c */
status pipeline_start(struct rocks_store *store);
/* Refuses new transactions, completes those that are queued, and ends. */
void pipeline_stop(struct rocks_store *store);
uint64_t pipeline_queue_len(struct rocks_store *store);
/* Commits, and how long writes and syncs of the log take. */
void pipeline_counts(struct rocks_store *store, struct kv_info *ret);
void rocks_commit(struct kv_store *store, struct kv_txn *txn);
status rocks_reader_get(struct kv_reader *reader, enum kv_space space, str key, struct kv_value *ret);
void rocks_batch_write(struct kv_batch *batch, enum kv_space space, str key, bool deleted, str value);
void rocks_batch_fail(struct kv_batch *batch, const status *failure);

/* changes.c */

/* A record of the log: all keys that one commit wrote, or a part of them. */
enum { CHANGE_KEY_BYTES = 12 };
void change_key_encode(char key[CHANGE_KEY_BYTES], int64_t version, uint32_t part);
void change_record_add(struct buf *record, enum kv_space space, bool deleted, str key);
/* Takes the first change off *rest. False: the record is damaged. */
bool change_record_take(str *rest, struct kv_change *ret);
status rocks_changes_open(struct kv_store *store, kv_version since, kv_version until,
                          struct kv_changes **ret);
bool rocks_changes_next(struct kv_changes *changes, struct kv_change *ret);
status rocks_changes_status(const struct kv_changes *changes);
void rocks_changes_close(struct kv_changes *changes);

/* keeper.c */
status keeper_start(struct rocks_store *store);
void keeper_stop(struct rocks_store *store);
/* One round of what the keeper does in the background; tests call it. */
void keeper_round(struct rocks_store *store);

/* figures.c */
void rocks_figures(struct kv_store *store, void (*visit)(void *argument, const struct kv_figure *figure),
                   void *argument);

/* verify.c */
status rocks_verify(struct kv_store *store, void (*report)(void *argument, str text), void *argument,
                    uint64_t *ret_damages);

#endif
