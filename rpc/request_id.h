/* Ids of requests: in the log, and in the answer as "skerry-request-id", so that who has the one finds the
 * other. Over HTTP/1.1 every answer has it; over gRPC, as a trailer, those of calls that failed, and all of
 * them where the log has lines for others too (access_log, slow_call_ms).
 *
 * Unique in a run of the server, and all but certainly over its runs; a permutation of a count by a secret of
 * the run, so they do not tell how many calls there are. */
#ifndef SKERRY_RPC_REQUEST_ID_H
#define SKERRY_RPC_REQUEST_ID_H

#include <stdint.h>

#include "base/str.h"

#define RPC_REQUEST_ID_HEADER "skerry-request-id"

struct rpc_request_ids {
  uint64_t secret[2];
};

/* murmur3's finalizer between two keys: each step can be undone, so no two counts have one id. */
static inline uint64_t rpc_request_id_make(const struct rpc_request_ids *ids, uint64_t count) {
  uint64_t id = count ^ ids->secret[0];
  id = (id ^ id >> 33) * UINT64_C(0xff51afd7ed558ccd);
  id = (id ^ id >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
  return (id ^ id >> 33) ^ ids->secret[1];
}

enum { RPC_REQUEST_ID_DIGITS = 16 };
struct rpc_request_id {
  char digits[RPC_REQUEST_ID_DIGITS + 1]; /* NUL-terminated */
};

static inline void rpc_request_id_write(uint64_t id, struct rpc_request_id *ret) {
  for (unsigned i = 0; i < RPC_REQUEST_ID_DIGITS; i++)
    ret->digits[i] = "0123456789abcdef"[id >> (60 - 4 * i) & 15];
  ret->digits[RPC_REQUEST_ID_DIGITS] = '\0';
}

#endif
