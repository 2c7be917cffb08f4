/* Backups of the embedded driver's stores, in a directory of RocksDB's backup engine (backup_engine.h): made
 * while the store serves, sharing files with the ones before; listed, verified, deleted and restored without
 * the store. What else belongs to a server's data is the caller's (server/backup). All functions block. */
#ifndef SKERRY_STORAGE_ROCKSDB_BACKUP_H
#define SKERRY_STORAGE_ROCKSDB_BACKUP_H

#include "base/status.h"
#include "ports/port.h"
#include "storage/kv.h"
#include "storage/rocksdb/backup_engine.h"

struct kv_backup_options {
  const char *directory;         /* made if it is missing */
  str note;                      /* kept with the backup */
  uint64_t bytes_per_second;     /* 0: no limit */
  uint64_t free_space_min_bytes; /* that stay free on the medium of `directory` */
  /* Called about every BACKUP_STEP_BYTES with what is copied and what there is to copy, roughly; false stops
   * the backup with CANCELLED. On a thread of the engine's. May be NULL. */
  bool (*goes_on)(void *argument, uint64_t bytes_done, uint64_t bytes_total);
  void *argument;
};

struct kv_backup_made {
  uint32_t id;
  uint64_t copied_bytes; /* that other backups did not have */
};

/* Makes a backup of a store that is open: all that was acknowledged before the call, and of what is committed
 * meanwhile the first part, in order. Reads and commits go on. On any failure nothing of it stays.
 *
 *   RESOURCE_EXHAUSTED  not enough space for it; or the disk of the store is about to be full, since files
 *                       that compaction is done with stay until the backup ends
 *   DATA_LOSS           the store is damaged
 *   CANCELLED           goes_on said so
 *   UNAVAILABLE         the store is opening again, or a disk reports errors */
STATUS_MUST_USE status kv_rocksdb_backup(struct kv_store *store, const struct kv_backup_options *options,
                                         struct kv_backup_made *ret);

/* Makes `directory`, which is empty or does not exist, a store with the content of a backup: each file is
 * compared with its checksum. Until kv_rocksdb_restore_end it opens for options.restoring alone, whatever
 * happens meanwhile. FAILED_PRECONDITION: it is not empty. DATA_LOSS: the backup is damaged. */
STATUS_MUST_USE status kv_rocksdb_restore(const char *backups, uint32_t id, const char *directory);
STATUS_MUST_USE status kv_rocksdb_restore_end(const char *directory);

/* What a restore needs of the store that it has just put into place: what was acknowledged after the backup
 * is gone, and clients may know it. So nobody reads the past, and no listener resumes from before this
 * moment. The store must have committed something since it was opened, whose version is then the moment. */
STATUS_MUST_USE status kv_rocksdb_forget_past(struct kv_store *store);

#endif
