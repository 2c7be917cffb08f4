/* What the engine may spend, and how it spares the medium. Zeroed members have the defaults. The table of
 * hardware profiles (server/profile.c) has values that fit together. */
#ifndef SKERRY_STORAGE_ROCKSDB_TUNING_H
#define SKERRY_STORAGE_ROCKSDB_TUNING_H

#include <stdbool.h>
#include <stdint.h>

struct kv_rocksdb_tuning {
  /* Of the store's memory, how many sixteenths may be changes that are not in tables yet; 4. More makes
   * larger tables, so fewer merges; the rest caches blocks. */
  uint32_t write_buffer_sixteenths;
  /* Tables of level 0 that are merged at once; 4. Each byte is written once for as many, and scans look into
   * all of them. */
  uint32_t level0_tables;
  /* Documents and index entries are merged when there are level0_tables runs of about one size, instead of
   * into levels of fixed sizes: a byte is rewritten once for each time that the store has grown by that
   * factor. Scans look into more runs, and a large merge needs as much free space for a while as what it
   * merges. */
  bool lazy_merges;
  /* Of the first level below it, 64 MiB, and how many times larger each is than the one above, 10. */
  uint32_t level_base_bytes, level_multiplier;
  /* zstd instead of LZ4: a third less to write, and dearer reads. */
  bool zstd;
  /* What background work writes at most, bytes a second, so that the log's syncs find the medium free; 0: as
   * it can. */
  uint64_t background_bytes_per_second;
  uint32_t background_jobs; /* flushes and compactions at once; 2 */
  /* While commits come from several sides, how long a group waits for more of them before it is synced: fewer
   * half-filled pages are written again. A commit alone never waits. 0: not at all. */
  uint32_t gather_us;
};

#endif
