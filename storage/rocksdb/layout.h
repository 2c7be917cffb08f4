/* What a data directory holds, and whether it is ours:
 *
 *   FORMAT    two lines of text, "skerry store" and "format 1 new" or "format 1 ready"; "new" until the
 *             engine's files exist, so that lost files are never taken for an empty store; "restoring" from
 *             the begin of a restore to its end, so that half of a store is never taken for one
 *   rocksdb/  the engine's files */
#ifndef SKERRY_STORAGE_ROCKSDB_LAYOUT_H
#define SKERRY_STORAGE_ROCKSDB_LAYOUT_H

#include <stdbool.h>

#include "base/status.h"

/* The format that this program writes. A program reads every older one and refuses a newer one. */
enum { LAYOUT_FORMAT = 1 };
enum { LAYOUT_PATH_MAX_BYTES = 4096 };

struct layout {
  char engine_path[LAYOUT_PATH_MAX_BYTES];
  int format;
  bool is_new;       /* the engine's files are yet to be made */
  bool is_restoring; /* a restore has not come to its end */
  bool is_locked;
  int lock_fd; /* where is_locked */
};

/* Looks at `directory`, makes it if it is missing and may be made. FAILED_PRECONDITION: not ours, or newer.
 * PERMISSION_DENIED, RESOURCE_EXHAUSTED, DATA_LOSS (FORMAT cannot be understood), NOT_FOUND (read_only and
 * nothing there). */
STATUS_MUST_USE status layout_open(const char *directory, bool read_only, struct layout *ret);
/* Makes a directory that does not exist, or is empty, one that is being restored; *ret is for its files.
 * FAILED_PRECONDITION: there is something in it. */
STATUS_MUST_USE status layout_begin_restore(const char *directory, struct layout *ret);
/* The engine's files exist now, and are whole. */
STATUS_MUST_USE status layout_mark_ready(const char *directory);
/* For tools that only read, since the engine locks its files against other writers only: no other process
 * opens them for writing until layout_unlock. FAILED_PRECONDITION: one has them open. */
STATUS_MUST_USE status layout_lock(struct layout *layout, const char *directory);
void layout_unlock(struct layout *layout);
status layout_in_use(const char *directory);

#endif
