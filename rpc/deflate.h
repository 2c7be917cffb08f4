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

/* The bytes in RPC_DEFLATE or RPC_GZIP, at zlib's `level`, in memory for the caller to free; *ret_capacity is
 * its size. NULL: that would not be shorter, or there is no memory. Any thread. */
uint8_t *rpc_deflate(enum rpc_encoding encoding, int level, str bytes, size_t *ret_len, size_t *ret_capacity);

#endif
