/* Backups of a server's data in one directory: the store's (storage/rocksdb/backup.h), and what else lies in
 * the data directory.
 *
 *   SKERRY-BACKUPS   "skerry backups", "format 1", "of ID": what this is, and of which data
 *   LOCK             locked by who writes here, shared by who reads
 *   engine/          the store's backups; each with a note, which is what makes it a backup of ours: program,
 *                    time, version, and the name and checksum of
 *   files/NAME/      the other files, and LIST, a line "CHECKSUM LENGTH PATH" for each
 *
 * The other files are written first and synced; the store's backup, which comes whole or not at all, refers
 * to them. What no backup refers to was cut off, and the next one removes it. Not in a backup: rocksdb/ as
 * files, spill/, sockets, hidden files, and what lies outside of the data directory (settings, certificates,
 * rules that a setting names).
 *
 * All functions block; any thread. Besides what they say: FAILED_PRECONDITION, this is not a directory of
 * backups, or of other data, or a newer program's, or another process writes there; UNAVAILABLE with what the
 * system says; RESOURCE_EXHAUSTED, space or memory. */
#ifndef SKERRY_SERVER_BACKUP_ARCHIVE_H
#define SKERRY_SERVER_BACKUP_ARCHIVE_H

#include "base/status.h"
#include "base/str.h"
#include "ports/port.h"
#include "storage/kv.h"

/* The format that this program writes; it reads every older one. */
enum { ARCHIVE_FORMAT = 1 };
/* What stays free on the medium of the backups where nobody says something else. */
enum { ARCHIVE_FREE_SPACE_MIN_BYTES = 64 * 1024 * 1024 };

/* False stops the work with CANCELLED. On any thread, one at a time. */
struct archive_progress {
  bool (*goes_on)(void *argument, const char *what, uint64_t bytes_done, uint64_t bytes_total);
  void *argument;
};

/* ---- Making ---- */

struct archive_job {
  struct kv_store *store; /* open, with or without a server */
  const char *data;       /* its directory */
  const char *directory;  /* of backups; made if its parent is there */
  const char *program;    /* version */
  struct port *port;
  uint64_t bytes_per_second; /* 0: no limit */
  uint64_t free_space_min_bytes;
  struct archive_progress progress;
};

struct archive_made {
  uint32_t id;
  uint64_t copied_bytes;
  bool same_medium; /* as the data: it does not help when that fails */
};

/* Makes a backup and verifies it. DATA_LOSS: the store is damaged, or what was written reads back as
 * something else; that backup is deleted. CANCELLED, and any failure: nothing of it stays. */
STATUS_MUST_USE status archive_make(const struct archive_job *job, struct archive_made *ret);

/* ---- Looking ---- */

struct archive_facts {
  uint32_t id;
  int format;         /* 0: not known; newer than ARCHIVE_FORMAT: nothing else is known */
  const char *damage; /* files are missing, so nothing else is known; NULL: none is */
  char program[32];
  int64_t time_us;    /* the wall clock when it began */
  kv_version version; /* everything up to it is in it */
  uint64_t bytes;
};

/* By id, so the oldest first. NOT_FOUND: there is no such directory. */
STATUS_MUST_USE status archive_visit(const char *directory,
                                     void (*visit)(void *argument, const struct archive_facts *facts),
                                     void *argument);
/* `id` 0: the newest that is not damaged. NOT_FOUND: there is none. */
STATUS_MUST_USE status archive_find(const char *directory, uint32_t id, struct archive_facts *ret);

/* Compares every file with its checksum. DATA_LOSS names the first that differs. */
STATUS_MUST_USE status archive_verify(const char *directory, uint32_t id, uint64_t bytes_per_second,
                                      const struct archive_progress *progress);

/* Keeps the newest `keep` (0: all) of those that are younger than age_us (0: any), and the newest in any
 * case. A damaged one does not count, and stays: it may be what is left. *ret_deleted counts. */
STATUS_MUST_USE status archive_prune(const char *directory, uint64_t keep, int64_t age_us, int64_t now_us,
                                     unsigned *ret_deleted);

/* ---- Going back ---- */

/* Puts the files of a backup into `data`, which is empty or does not exist. The directory is not a store for
 * anybody until archive_restore_end, so one that was cut off is never taken for one. */
STATUS_MUST_USE status archive_restore(const char *directory, uint32_t id, const char *data,
                                       struct port *port, struct archive_facts *ret);
STATUS_MUST_USE status archive_restore_end(const char *data);

#endif
