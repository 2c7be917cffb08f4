/* A firestore.indexes.json on disk. */
#ifndef SKERRY_SERVER_INDEX_FILE_H
#define SKERRY_SERVER_INDEX_FILE_H

#include "base/status.h"
#include "base/str.h"

/* Appends the file's text to `out`; "-" is standard input. INVALID_ARGUMENT, with the path, if it cannot be
 * read or is larger than LIMIT_INDEX_FILE_BYTES. */
STATUS_MUST_USE status index_file_read(const char *path, struct buf *out);

#endif
