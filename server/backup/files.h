/* What of a data directory is not the store: small files, and directories of them, which are copied to a
 * directory of their own with a list of their checksums, and back. Blocks. */
#ifndef SKERRY_SERVER_BACKUP_FILES_H
#define SKERRY_SERVER_BACKUP_FILES_H

#include "base/status.h"
#include "base/str.h"

enum { FILES_PATH_MAX_BYTES = 4096, FILES_FILE_MAX_BYTES = 16 * 1024 * 1024 };

/* "directory/name". FAILED_PRECONDITION: too long. */
STATUS_MUST_USE status files_join(const char *directory, const char *name, char ret[FILES_PATH_MAX_BYTES]);

/* Copies, syncs, writes LIST; `to` is made. *ret_checksum is LIST's. FAILED_PRECONDITION: a file cannot be
 * read or is larger than FILES_FILE_MAX_BYTES. */
STATUS_MUST_USE status files_save(const char *data, const char *to, uint32_t *ret_checksum);
/* Compares with LIST, and that with its checksum; writes the files into `data` if that is not NULL. DATA_LOSS
 * names the file that is not what was saved. */
STATUS_MUST_USE status files_check(const char *from, uint32_t checksum, const char *data);
/* All of it. */
void files_remove(const char *directory);

#endif
