#include "rpc/deflate.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

enum { MEMORY_LEVEL = 8 };

uint8_t *rpc_deflate(enum rpc_encoding encoding, int level, str bytes, size_t *ret_len,
                     size_t *ret_capacity) {
  z_stream z = {0};
  int window_bits = RPC_DEFLATE_WINDOW_BITS + (encoding == RPC_GZIP ? RPC_DEFLATE_GZIP_BITS : 0);
  if (bytes.len < 2 || bytes.len > UINT_MAX / 2 ||
      deflateInit2(&z, level, Z_DEFLATED, window_bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
    return NULL;
  size_t room = bytes.len - 1; /* what does not fit is not worth it */
  uint8_t *out = malloc(room);
  bool shorter = false;
  if (out != NULL) {
    z.next_in = (Bytef *)(uintptr_t)bytes.ptr;
    z.avail_in = (uInt)bytes.len;
    z.next_out = out;
    z.avail_out = (uInt)room;
    shorter = deflate(&z, Z_FINISH) == Z_STREAM_END;
  }
  *ret_len = z.total_out;
  *ret_capacity = room;
  deflateEnd(&z);
  if (shorter)
    return out;
  free(out);
  return NULL;
}
