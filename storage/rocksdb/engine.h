/* RocksDB as the driver needs it: a C header over C++ (engine.cc; backup_engine.cc is the other), since
 * RocksDB's C API has no user-defined timestamps with pinned reads, no write buffer manager, no error
 * listener and errors as text only. Nothing here knows of transactions, clocks or recovery.
 *
 * An engine has one column family for each kv_space, whose keys carry the version as RocksDB's user-defined
 * timestamp, and two plain ones: ENGINE_CHANGES and ENGINE_META. The value of a versioned key begins with its
 * version again, since compaction zeroes timestamps that are older than history. engine.cc opens with the
 * design note. Any thread, but for engine_open and engine_close. */
#ifndef SKERRY_STORAGE_ROCKSDB_ENGINE_H
#define SKERRY_STORAGE_ROCKSDB_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* compound literals */
#endif
#include "base/status.h"
#include "base/str.h"
#include "storage/rocksdb/tuning.h"
#ifdef __cplusplus
#pragma GCC diagnostic pop
extern "C" {
#endif

/* 0 .. 2 are enum kv_space. */
enum engine_family {
  ENGINE_INDEX = 1,
  ENGINE_VERSIONED_COUNT = 3,
  ENGINE_CHANGES = 3,
  ENGINE_META = 4,
  ENGINE_FAMILY_COUNT
};

/* Bytes before each value of a versioned family. */
enum { ENGINE_VALUE_PREFIX_BYTES = 8 };

struct engine;
struct engine_iter;
struct engine_batch;

struct engine_options {
  const char *directory;
  size_t memory_bytes; /* block cache, with write buffers charged to it */
  struct kv_rocksdb_tuning tuning;
  bool create;
  bool read_only;
  bool accept_torn_log; /* stop at the first broken record of the log instead of refusing it */
  /* A flush, a compaction or a write failed; the engine takes no writes any more until it is opened again.
   * Runs on a thread of RocksDB's with its locks held: must not call the engine. */
  void (*failed)(void *argument, const status *error);
  void *argument;
};

STATUS_MUST_USE status engine_open(const struct engine_options *options, struct engine **ret);
/* `flush` writes the memtables out, so that there is no log to replay at the next start. */
void engine_close(struct engine *engine, bool flush);

/* A value that is pinned in the engine. The first member is the driver's table (struct kv_pin). */
struct engine_pin {
  const void *driver;
  void *owner; /* the caller's */
};
void engine_pin_release(struct engine_pin *pin);

/* The newest value of `key` at or before `version`, of a versioned family. *ret_pin NULL: not there. *ret is
 * without the prefix. */
STATUS_MUST_USE status engine_get(struct engine *engine, unsigned family, str key, int64_t version,
                                  struct engine_pin **ret_pin, str *ret, int64_t *ret_version);
/* As `count` calls of engine_get. On failure all pins are NULL. */
STATUS_MUST_USE status engine_get_many(struct engine *engine, unsigned family, size_t count, const str *keys,
                                       int64_t version, struct engine_pin **ret_pins, str *rets,
                                       int64_t *ret_versions);
/* The version of the last write or deletion of `key`; 0 if there is none, or none younger than history. */
STATUS_MUST_USE status engine_key_version(struct engine *engine, unsigned family, str key,
                                          int64_t *ret_version);
/* Whether a key of lower <= key < upper (empty: no bound) was written or deleted after `since`. Walks over
 * all of the range: not known after entries_max entries. */
enum engine_changed { ENGINE_UNCHANGED, ENGINE_CHANGED, ENGINE_NOT_KNOWN };
STATUS_MUST_USE status engine_range_changed(struct engine *engine, unsigned family, str lower, str upper,
                                            int64_t since, uint64_t entries_max, enum engine_changed *ret);

/* ENGINE_META: copied. *ret_found false: not there. At most `capacity` bytes. */
STATUS_MUST_USE status engine_meta_get(struct engine *engine, str key, void *bytes, size_t capacity,
                                       size_t *ret_len, bool *ret_found);

/* `version` counts for versioned families only; `cached` false reads without filling the cache. */
STATUS_MUST_USE status engine_iter_open(struct engine *engine, unsigned family, str lower, str upper,
                                        int64_t version, bool cached, struct engine_iter **ret);
void engine_iter_first(struct engine_iter *iter);
void engine_iter_last(struct engine_iter *iter);
void engine_iter_seek(struct engine_iter *iter, str key);          /* >= */
void engine_iter_seek_for_prev(struct engine_iter *iter, str key); /* <= */
void engine_iter_next(struct engine_iter *iter);
void engine_iter_prev(struct engine_iter *iter);
bool engine_iter_valid(const struct engine_iter *iter);
str engine_iter_key(const struct engine_iter *iter);
str engine_iter_value(const struct engine_iter *iter); /* with the prefix, if it has one */
STATUS_MUST_USE status engine_iter_status(const struct engine_iter *iter);
void engine_iter_close(struct engine_iter *iter);

/* A batch is made for one engine; `value` of a versioned family begins with the prefix. */
struct engine_batch *engine_batch_new(void);
void engine_batch_free(struct engine_batch *batch);
void engine_batch_clear(struct engine_batch *batch);
size_t engine_batch_bytes(const struct engine_batch *batch);
void engine_batch_put(struct engine *engine, struct engine_batch *batch, unsigned family, str key,
                      int64_t version, str value);
void engine_batch_delete(struct engine *engine, struct engine_batch *batch, unsigned family, str key,
                         int64_t version);
/* All or nothing. `sync`: on the medium when it returns. One thread at a time. */
STATUS_MUST_USE status engine_write(struct engine *engine, struct engine_batch *batch, bool sync);
/* Brings what was written without sync to the medium. */
STATUS_MUST_USE status engine_sync(struct engine *engine);

STATUS_MUST_USE status engine_flush(struct engine *engine);
/* Compacts everything, for tests and tools. */
STATUS_MUST_USE status engine_compact(struct engine *engine);
/* Values that no read at or after `version` can see may be dropped from now on. */
STATUS_MUST_USE status engine_trim_history(struct engine *engine, int64_t version);
/* Deletes the files of a plain family that lie wholly before `upper`. */
STATUS_MUST_USE status engine_drop_before(struct engine *engine, unsigned family, str upper);
/* What the block cache may take from now on; what is over goes at once, but for what is in use. */
void engine_cache_resize(struct engine *engine, size_t bytes);
/* Bytes of `family` between the bounds, on disk, roughly. */
uint64_t engine_family_bytes(struct engine *engine, unsigned family);
/* Compares every file with its own checksums. `report` is called for each damage. */
STATUS_MUST_USE status engine_verify_files(struct engine *engine,
                                           void (*report)(void *argument, const char *text), void *argument);

struct engine_stats {
  uint64_t data_bytes, keys_estimate, cache_bytes, write_buffer_bytes, written_bytes, log_syncs;
  /* What written_bytes consists of: the log's records, tables of flushes, tables of compactions. */
  uint64_t log_bytes, flushed_bytes, compacted_bytes;
};
void engine_stats_read(struct engine *engine, struct engine_stats *ret);

/* How far its background work is. All families together. */
enum { ENGINE_LEVELS = 7 };
struct engine_figures {
  uint64_t files[ENGINE_LEVELS]; /* of each level */
  uint64_t compactions_running, flushes_running, compaction_pending_bytes;
  uint64_t table_readers_bytes, cache_capacity_bytes;
  uint64_t delayed_write_bytes_per_second; /* 0: writes are not held up */
  bool writes_stopped;
};
void engine_figures_read(struct engine *engine, struct engine_figures *ret);

#ifdef __cplusplus
}
#endif

#endif
