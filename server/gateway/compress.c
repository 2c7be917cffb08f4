#include "server/gateway/compress.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

/* Fast: an answer is compressed once, and read over a network that is slower than either. */
enum { LEVEL = 3, WINDOW_BITS = 15, GZIP = 16, MEMORY_LEVEL = 8 };

bool gateway_gzip(struct buf *bytes) {
  z_stream z = {0};
  if (bytes->len < 2 || bytes->len > UINT_MAX / 2 ||
      deflateInit2(&z, LEVEL, Z_DEFLATED, WINDOW_BITS + GZIP, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
    return false;
  uint8_t *out = malloc(bytes->len - 1); /* what does not fit is not worth it */
  bool smaller = false;
  if (out != NULL) {
    z.next_in = bytes->data;
    z.avail_in = (uInt)bytes->len;
    z.next_out = out;
    z.avail_out = (uInt)bytes->len - 1;
    smaller = deflate(&z, Z_FINISH) == Z_STREAM_END;
  }
  size_t len = z.total_out;
  deflateEnd(&z);
  if (!smaller) {
    free(out);
    return false;
  }
  size_t room = bytes->len - 1;
  buf_fini(bytes);
  *bytes = (struct buf){.data = out, .len = len, .capacity = room};
  return true;
}
