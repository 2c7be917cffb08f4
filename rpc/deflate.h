/* Compressing what goes out, with zlib. */
#ifndef SKERRY_RPC_DEFLATE_H
#define SKERRY_RPC_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum rpc_encoding { RPC_IDENTITY, RPC_DEFLATE, RPC_GZIP };

/* What tells zlib the one format from the other, both ways: a sum of both is gzip; gRPC's and HTTP's
 * "deflate" is the zlib format. */
enum { RPC_DEFLATE_WINDOW_BITS = 15, RPC_DEFLATE_GZIP_BITS = 16 };

/* ---- Piece by piece ---- */

/* What one takes of memory, about. */
enum { RPC_DEFLATER_BYTES = 72 * 1024 };
struct rpc_deflater;

/* NULL: no memory. */
struct rpc_deflater *rpc_deflater_new(enum rpc_encoding encoding, int level);
void rpc_deflater_free(struct rpc_deflater *deflater); /* NULL allowed */
/* Appends the bytes compressed, so that what was put until now can be read; the last ones end the format. A
 * failure for lack of memory stays in `out`. One thread at a time. */
void rpc_deflater_put(struct rpc_deflater *deflater, str bytes, bool is_last, struct buf *out);

/* ---- At once ---- */

/* The bytes in RPC_DEFLATE or RPC_GZIP, at zlib's `level`, in memory for the caller to free; *ret_capacity is
 * its size. NULL: that would not be shorter, or there is no memory. Any thread. */
uint8_t *rpc_deflate(enum rpc_encoding encoding, int level, str bytes, size_t *ret_len, size_t *ret_capacity);

#endif
