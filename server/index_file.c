#include "server/index_file.h"

#include <errno.h>
#include <stdio.h>

#include "base/limits.h"

status index_file_read(const char *path, struct buf *out) {
  bool is_stdin = strcmp(path, "-") == 0;
  FILE *file = is_stdin ? stdin : fopen(path, "rb");
  if (file == NULL)
    return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", path, strerror(errno));
  enum { CHUNK = 64 * 1024 };
  size_t got = 0;
  do {
    got = buf_reserve(out, CHUNK) ? fread(out->data + out->len, 1, CHUNK, file) : 0;
    out->len += got;
  } while (got > 0 && out->len <= LIMIT_INDEX_FILE_BYTES);
  int error = ferror(file) ? errno : 0;
  if (!is_stdin)
    fclose(file);
  if (error != 0)
    return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", path, strerror(error));
  if (out->len > LIMIT_INDEX_FILE_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "%s is larger than %d bytes", path, LIMIT_INDEX_FILE_BYTES);
  return out->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}
