/* The storage contract: an ordered, multi-version key-value store that an embedded engine and a distributed
 * one can both fulfil. Nothing above this header knows which engine is below, nor how history is kept.
 *
 * Model. A store is a set of `spaces`, each an ordered map from keys to values (keys: bytes, compared as
 * unsigned numbers, 1 to KV_KEY_MAX_BYTES; values: bytes). Every commit has a version: its commit time in
 * microseconds since 1970, strictly increasing over the life of the store, restarts and clock steps included.
 * Every key of every space reads as of any version between kv_oldest_version (history) and the newest.
 *
 * Writing. Reads are made at a snapshot, by anyone. Writing is one function, kv_commit, which takes a read
 * set (keys and ranges that must not have changed since the transaction's snapshot) and a function `resolve`,
 * run by the driver at commit time in commit order: it sees the state just before its own commit (earlier
 * members of the same group included), knows its version, and fills a batch or refuses. All of a batch is
 * applied, or none; applied means durable (unless the store was opened relaxed). Several transactions share
 * one sync.
 *
 * Changes. Keys that a commit wrote in a logged space are listed in the change log, which is kept apart from
 * history, for longer and without values. It feeds the matcher of live targets and resumes listeners.
 *
 * Threads. Every function may be called from any thread; an iterator, a cursor and a value belong to one
 * thread at a time.
 *
 * Errors, the same from every driver:
 *   INVALID_ARGUMENT     a key is empty or too long
 *   FAILED_PRECONDITION  a version lies before the history that is kept, or in the future
 *   OUT_OF_RANGE         the change log no longer reaches back (or holds not yet) the version asked for
 *   ABORTED              the read set changed: try the whole transaction again
 *   RESOURCE_EXHAUSTED   no disk space, or the commit queue is full; reads go on
 *   UNAVAILABLE          the store is opening again after an I/O error, is closing, or writes are stopped by
 *                        damage or because the medium can only be read
 *   DATA_LOSS            what was read is damaged; the store remembers it (kv_health) */
#ifndef SKERRY_STORAGE_KV_H
#define SKERRY_STORAGE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/status.h"
#include "base/str.h"

struct kv_store;
struct kv_iter;
struct kv_batch;
struct kv_changes;

/* Microseconds since 1970. 0 is before everything. */
typedef int64_t kv_version;
enum { KV_LATEST = 0 };

enum { KV_KEY_MAX_BYTES = 16 * 1024 };

/* The spaces of a store. Their numbers are on disk: append only. */
enum kv_space {
  KV_DOCUMENTS = 0, /* logged in the change log */
  KV_INDEX = 1,     /* secondary indexes */
  KV_SYSTEM = 2,    /* the server's own state: index definitions, settings in the store, users, ... */
  KV_SPACE_COUNT
};

/* ---- Reading ---- */

/* A point in history. By value; costs nothing to hold, but is not kept alive: a snapshot older than the
 * history that the store keeps fails when it is read. */
typedef struct kv_snapshot {
  struct kv_store *store;
  kv_version version;
} kv_snapshot;

/* version KV_LATEST: everything that is acknowledged now. Fails with FAILED_PRECONDITION outside the kept
 * history, UNAVAILABLE while the store is opening. */
STATUS_MUST_USE status kv_snapshot_at(struct kv_store *store, kv_version version, kv_snapshot *ret);

/* A value that was read: bytes pinned in the store (not copied) until kv_value_release. Zeroed memory is
 * released. */
struct kv_value {
  str bytes;
  bool found;
  kv_version version; /* the commit that wrote it; for a key that is not there 0 */
  void *pin;          /* the driver's */
};

/* NOT an error if the key is not there: ret->found is false. */
STATUS_MUST_USE status kv_get(kv_snapshot snapshot, enum kv_space space, str key, struct kv_value *ret);
void kv_value_release(struct kv_value *value);

/* Reads `count` keys of one space at once, cheaper than one by one. ret[i] belongs to keys[i]; all are
 * released by the caller also when the call failed (they are then empty). */
STATUS_MUST_USE status kv_get_many(kv_snapshot snapshot, enum kv_space space, size_t count, const str *keys,
                                   struct kv_value *ret);

/* A scan over lower <= key < upper (upper empty: to the end of the space), forwards or backwards. The bounds
 * are copied. The iterator stands before the first entry: call kv_iter_next. */
STATUS_MUST_USE status kv_iter_open(kv_snapshot snapshot, enum kv_space space, str lower, str upper,
                                    bool reverse, struct kv_iter **ret);
/* Moves on. False at the end or on an error: tell them apart with kv_iter_status. */
bool kv_iter_next(struct kv_iter *iter);
/* Moves in the scan's direction to the first entry at or past `key` (forwards: >=, backwards: <=), within the
 * bounds, and stands on it. False as for next. */
bool kv_iter_seek(struct kv_iter *iter, str key);
/* Valid until the iterator moves. Only after next or seek gave true. */
str kv_iter_key(const struct kv_iter *iter);
str kv_iter_value(const struct kv_iter *iter);
kv_version kv_iter_version(const struct kv_iter *iter);
status kv_iter_status(const struct kv_iter *iter);
void kv_iter_close(struct kv_iter *iter); /* NULL is allowed */

/* ---- Writing ---- */

/* What resolve reads through: the state just before its own commit. Only for the time of the call. */
struct kv_reader;
STATUS_MUST_USE status kv_reader_get(struct kv_reader *reader, enum kv_space space, str key,
                                     struct kv_value *ret);

/* What resolve writes. Keys and values are copied. The last write to a key in a batch counts. */
void kv_batch_put(struct kv_batch *batch, enum kv_space space, str key, str value);
void kv_batch_delete(struct kv_batch *batch, enum kv_space space, str key);

struct kv_key {
  enum kv_space space;
  str key;
};
struct kv_range {
  enum kv_space space;
  str lower, upper; /* as kv_iter_open */
};

/* A transaction, in the caller's memory, which stays as it is until `done` is called. */
struct kv_txn {
  /* The read set: ABORTED if one of these was written (or deleted, or inserted into the range) after
   * read_version. With KV_LATEST there is nothing to check. */
  kv_version read_version;
  const struct kv_key *keys;
  size_t key_count;
  const struct kv_range *ranges;
  size_t range_count;

  /* Runs on the store's commit thread: bounded, does not block, and has no effect but the batch and its own
   * memory, since it may be run again. A failure refuses this transaction alone, with its status. An empty
   * batch writes nothing and succeeds. */
  status (*resolve)(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch);
  /* Called exactly once, on a thread of the store's, after the commit is durable and visible to new
   * snapshots; `version` is the commit's. May call into the store; must not block. May be called before
   * kv_commit returns only if it failed. */
  void (*done)(void *argument, status result, kv_version version);
  void *argument;

  struct kv_txn *next; /* the driver's */
  void *driver;        /* the driver's */
};

/* Queues a transaction. Never blocks: a full queue is RESOURCE_EXHAUSTED through `done`. */
void kv_commit(struct kv_store *store, struct kv_txn *txn);

/* kv_commit, and waits for the end. For start-up, tools and tests, not for completion-queue threads. */
STATUS_MUST_USE status kv_commit_wait(struct kv_store *store, struct kv_txn *txn, kv_version *ret_version);

/* ---- Changes ---- */

struct kv_change {
  kv_version version;
  enum kv_space space;
  bool deleted;
  str key; /* valid until the next call */
};

/* Reads the log after version `since` (exclusive) up to `until` (inclusive, KV_LATEST: what is visible now),
 * in order of version. OUT_OF_RANGE if the log no longer reaches `since`. */
STATUS_MUST_USE status kv_changes_open(struct kv_store *store, kv_version since, kv_version until,
                                       struct kv_changes **ret);
bool kv_changes_next(struct kv_changes *changes, struct kv_change *ret); /* false: end or error */
status kv_changes_status(const struct kv_changes *changes);
void kv_changes_close(struct kv_changes *changes);

/* Has `published(argument, version)` called on a thread of the store's each time that newer commits became
 * visible, `version` being the newest. It must not block. At most one subscriber; NULL ends it, and when this
 * returns it is not called any more. */
void kv_subscribe(struct kv_store *store, void (*published)(void *argument, kv_version version),
                  void *argument);

/* ---- The store itself ---- */

enum kv_health {
  KV_HEALTHY,
  KV_NO_SPACE,
  KV_RECOVERING,
  KV_DAMAGED,
  KV_READ_ONLY /* the medium is, for now: reads go on, writes are UNAVAILABLE */
};

struct kv_info {
  enum kv_health health;
  char health_text[256]; /* what happened and what to do; "" if healthy */
  int format;            /* of the data on disk */
  kv_version newest, oldest_history, oldest_change;
  bool clock_trusted;
  kv_version now; /* what the next commit's version follows: by the clock that is trusted */
  uint64_t disk_free_bytes, disk_total_bytes, data_bytes;
  uint64_t keys_estimate, cache_bytes, write_buffer_bytes, commit_queue_len;
  uint64_t commits, groups, syncs, written_bytes; /* since the store was opened */
  uint64_t document_bytes,
      applied_bytes; /* keys and values that commits put: of KV_DOCUMENTS, of all spaces */
  uint64_t log_bytes, flushed_bytes,
      compacted_bytes;                     /* what the medium got, by who wrote it: written_bytes */
  struct histogram_summary group_size;     /* transactions that one group committed */
  struct histogram_summary group_write_us; /* its write, with the sync where each write is synced */
  struct histogram_summary late_sync_us;   /* syncs of a relaxed store's log, apart from its writes */
};
void kv_info(struct kv_store *store, struct kv_info *ret);

/* What a driver tells about itself, for those who watch it. Text is static or valid during the visit. */
struct kv_figure {
  const char *name; /* "rocksdb_files" */
  const char *help;
  bool is_counter;
  const char *label_name; /* NULL: none. Figures that differ in the label alone follow each other */
  const char *label;      /* needs no escapes */
  uint64_t value;
};
void kv_figures(struct kv_store *store, void (*visit)(void *argument, const struct kv_figure *figure),
                void *argument);
kv_version kv_newest_version(struct kv_store *store);
kv_version kv_oldest_version(struct kv_store *store);

/* The operator says that the wall clock is right now (see kv_rocksdb_options.clock_trusted). */
void kv_clock_trust(struct kv_store *store);

/* Memory is short: caches shrink to `sixteenths` (1 to 16) of what they may have, at once; 16 lets them grow
 * again. Any thread. */
void kv_caches_limit(struct kv_store *store, unsigned sixteenths);

/* Walks everything and calls `report` (may be NULL) for each damage found; *ret_damages counts them. Reads go
 * on meanwhile. */
STATUS_MUST_USE status kv_verify(struct kv_store *store, void (*report)(void *argument, str text),
                                 void *argument, uint64_t *ret_damages);

/* Refuses new commits (UNAVAILABLE), completes those that are queued, and closes. No iterator, cursor or
 * value may be open. */
void kv_close(struct kv_store *store);

#endif
