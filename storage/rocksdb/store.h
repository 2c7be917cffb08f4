/* The embedded driver of storage/kv.h: RocksDB in a directory of this machine. */
#ifndef SKERRY_STORAGE_ROCKSDB_STORE_H
#define SKERRY_STORAGE_ROCKSDB_STORE_H

#include "base/status.h"
#include "ports/port.h"
#include "storage/kv.h"
#include "storage/rocksdb/tuning.h"

enum kv_sync {
  KV_SYNC_ON,     /* acknowledged means on the medium (fdatasync before the answer) */
  KV_SYNC_RELAXED /* acknowledged means in the kernel; a power cut loses up to the last second, the store
                     stays whole */
};

/* Zeroed memory has the defaults. */
struct kv_rocksdb_options {
  const char *directory; /* made (mode 0700) if it is missing */
  struct port *port;     /* NULL: port_linux() */
  enum kv_sync sync;
  size_t memory_bytes;           /* block cache and write buffers together; 0: 32 MiB */
  int64_t history_us;            /* 0: one hour */
  int64_t change_log_us;         /* 0: seven days */
  uint64_t change_log_max_bytes; /* 0: 5% of the disk; at least 16 MiB */
  uint64_t free_space_min_bytes; /* writes stop below it; 0: 64 MiB or 2% of the disk, whichever is less */
  bool clock_trusted; /* the wall clock is right whatever the kernel says (`clock = trusted`, and --dev) */
  struct kv_rocksdb_tuning tuning;
  bool read_only; /* for tools on a store that no server has open */
  bool restoring; /* for the restore that is putting it into place */
};

/* Opens or makes the store. Blocks while the log is replayed. Fails, with a text for the operator, with
 *
 *   FAILED_PRECONDITION  another process has the directory open; its format is newer than this program; it
 *                        holds other files than a store of ours
 *   PERMISSION_DENIED    the directory cannot be read or written
 *   DATA_LOSS            the data is damaged beyond what the log can repair: run `skerry verify`
 *   RESOURCE_EXHAUSTED   no space to open it */
STATUS_MUST_USE status kv_rocksdb_open(const struct kv_rocksdb_options *options, struct kv_store **ret);

#endif
