/* Small files that are read and replaced whole, and survive a power cut: either the old content or the new.
 * Blocks for the time of the disk. Any thread, but one writer a file. */
#ifndef SKERRY_SERVER_TOKENS_FILE_H
#define SKERRY_SERVER_TOKENS_FILE_H

#include "base/status.h"
#include "base/str.h"

/* Appends the content. NOT_FOUND: there is no such file; FAILED_PRECONDITION: it cannot be read, is no plain
 * file or larger than bytes_max; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status file_read(const char *path, size_t bytes_max, struct buf *ret);

/* Writes a temporary file beside it (PATH.new, mode 0600), syncs, renames, and syncs the directory. On
 * failure the old file is untouched. UNAVAILABLE with what the system says. */
STATUS_MUST_USE status file_replace(const char *path, str content);

#endif
