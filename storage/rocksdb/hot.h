/* Documents that are read again and again, whole and in memory: a hit costs a twentieth of a get of the
 * engine, which asks memtables, filters, indexes and blocks one after the other.
 *
 * What an entry says: "at every snapshot from `version` on, this is the value of the key". It holds because
 * of an order of events that the callers keep:
 *   - The commit thread calls hot_forget for each key that it writes, before what it wrote can be seen, by a
 *     snapshot or on the medium. That takes the entry out and remembers the version in the key's set.
 *   - A reader offers what it found together with the snapshot at which it looked (hot_offer). If the set
 *     forgot something of a version past that snapshot, the reader may have looked too early, and is refused.
 * So who finds an entry at a snapshot at or past its version has what the engine would have said.
 *
 * A key is taken at its second offer within a short while, so that scans and reads at random pass by without
 * driving out what is hot. Sets of 8 in 16 shards, each with its mutex and its part of the bytes; the
 * clock algorithm replaces. Any thread. */
#ifndef SKERRY_STORAGE_ROCKSDB_HOT_H
#define SKERRY_STORAGE_ROCKSDB_HOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "storage/kv.h"

/* Larger values are cheap to read for their size, and a few of them would take the place of many. */
enum { HOT_VALUE_BYTES_MAX = 2048 };

struct hot;

/* At most `bytes` of entries, and a table of a sixteenth of that. Nobody called hot_forget for what was
 * written up to `newest`, so what is offered of a snapshot before it is not taken. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status hot_new(size_t bytes, kv_version newest, struct hot **ret);
/* Values that were handed out stay until they are released. NULL allowed. */
void hot_free(struct hot *hot);

/* True: *ret is the value at `snapshot`, to be released with kv_value_release. */
bool hot_find(struct hot *hot, str key, kv_version snapshot, struct kv_value *ret);
/* `value`, written at `version`, is what a reader found at `snapshot`. Copied, if it is taken. */
void hot_offer(struct hot *hot, str key, kv_version snapshot, str value, kv_version version);
/* `key` is written or deleted at `version`. */
void hot_forget(struct hot *hot, str key, kv_version version);

/* At most so many bytes of entries from now on; what is over goes at once. The table stays as it is. */
void hot_limit(struct hot *hot, size_t bytes);

struct hot_stats {
  uint64_t hits, misses; /* of hot_find */
  size_t bytes;          /* of entries */
};
void hot_stats(struct hot *hot, struct hot_stats *ret);

#endif
