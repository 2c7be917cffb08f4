#include "rpc/deflate.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

enum {
  MEMORY_LEVEL = 8,
  /* 64 KiB a stream, of which there are many, and not 256: a window of 8 KiB has the documents before. */
  STREAM_WINDOW_BITS = 13,
  STREAM_MEMORY_LEVEL = 6,
  PIECE_BYTES_MAX = 16 * 1024,
};

struct rpc_deflater {
  z_stream z;
};

struct rpc_deflater *rpc_deflater_new(enum rpc_encoding encoding, int level) {
  struct rpc_deflater *deflater = calloc(1, sizeof *deflater);
  int window_bits = STREAM_WINDOW_BITS + (encoding == RPC_GZIP ? RPC_DEFLATE_GZIP_BITS : 0);
  if (deflater == NULL || deflateInit2(&deflater->z, level, Z_DEFLATED, window_bits, STREAM_MEMORY_LEVEL,
                                       Z_DEFAULT_STRATEGY) == Z_OK)
    return deflater;
  free(deflater);
  return NULL;
}

void rpc_deflater_free(struct rpc_deflater *deflater) {
  if (deflater == NULL)
    return;
  deflateEnd(&deflater->z);
  free(deflater);
}

void rpc_deflater_put(struct rpc_deflater *deflater, str bytes, bool is_last, struct buf *out) {
  uint8_t piece[PIECE_BYTES_MAX];
  z_stream *z = &deflater->z;
  z->next_in = (Bytef *)(uintptr_t)bytes.ptr;
  size_t left = bytes.len;
  do { /* until all is taken, and zlib leaves room: then it holds nothing back */
    uInt offered = left > UINT_MAX / 2 ? UINT_MAX / 2 : (uInt)left;
    z->avail_in = offered;
    z->next_out = piece;
    z->avail_out = sizeof piece;
    deflate(z, left > offered ? Z_NO_FLUSH : is_last ? Z_FINISH : Z_SYNC_FLUSH);
    left -= offered - z->avail_in;
    buf_append(out, piece, sizeof piece - z->avail_out);
  } while (left > 0 || z->avail_out == 0);
}

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
