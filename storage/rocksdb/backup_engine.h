/* RocksDB's backup engine as the driver needs it: a C header over its C++ API, which alone has it whole.
 *
 * A directory of backups is RocksDB's: meta/ (a file for each backup, renamed into place when all else is on
 * the medium, so a backup is there whole or not at all), shared_checksum/ (table files, shared by backups)
 * and private/ (the rest). The caller sees to it that one process at a time writes there.
 *
 * All functions block. Statuses: what rocksdb_translate says; CANCELLED if `step` stopped it. */
#ifndef SKERRY_STORAGE_ROCKSDB_BACKUP_ENGINE_H
#define SKERRY_STORAGE_ROCKSDB_BACKUP_ENGINE_H

#include "storage/rocksdb/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Called after each so many bytes. */
enum { BACKUP_STEP_BYTES = 64 * 1024 };

/* False stops the work. Perhaps on a thread of RocksDB's. */
typedef bool backup_step(void *argument, uint64_t bytes_done);

struct backup_job {
  const char *directory;
  str note;                  /* kept with the backup; at most BACKUP_NOTE_BYTES_MAX */
  uint64_t bytes_per_second; /* that are written; 0: no limit */
  bool flush;                /* writes memtables out first, so that little of the log is copied */
  backup_step *step;         /* or NULL */
  void *argument;
};
enum { BACKUP_NOTE_BYTES_MAX = 64 * 1024 };

/* Bytes that a backup made now would add, roughly: what is shared already is not counted. */
STATUS_MUST_USE status backup_engine_needs(struct engine *engine, const char *directory, uint64_t *ret);

/* Makes one; removes what an earlier one that was cut off has left. Commits go on. Everything that was
 * written before the call is in it, and of what is written meanwhile the first part, in order. Files that
 * compaction is done with stay until it ends. */
STATUS_MUST_USE status backup_engine_create(struct engine *engine, const struct backup_job *job,
                                            uint32_t *ret_id, uint64_t *ret_copied_bytes);

struct backup_facts {
  uint32_t id;
  uint64_t bytes; /* of all its files, shared ones too */
  uint32_t files;
  str note;
  const char *damage; /* files are missing: then nothing else is known. NULL: none */
};

/* The backups of a directory by id, so the oldest first. Text is valid during the visit. */
STATUS_MUST_USE status backup_engine_visit(const char *directory,
                                           void (*visit)(void *argument, const struct backup_facts *facts),
                                           void *argument);

/* Compares every file with its checksum; DATA_LOSS names the first that differs. */
STATUS_MUST_USE status backup_engine_verify(const char *directory, uint32_t id, uint64_t bytes_per_second,
                                            backup_step *step, void *argument);

/* Deletes those, and the files that no other needs. */
STATUS_MUST_USE status backup_engine_delete(const char *directory, const uint32_t *ids, size_t count);

/* Copies a backup into a directory, which is made, and compares with the checksums. */
STATUS_MUST_USE status backup_engine_restore(const char *directory, uint32_t id, const char *target);

#ifdef __cplusplus
}
#endif

#endif
