/* Counts and latencies of one method as one queue's thread saw them: that thread writes, without locks or
 * read-modify-write instructions; any thread reads and adds up over the queues. */
#ifndef SKERRY_RPC_STATS_H
#define SKERRY_RPC_STATS_H

#include <stdatomic.h>

#include "base/histogram.h"
#include "rpc/server.h"

/* Latencies are told from 64 microseconds to 33.6 seconds, each bound twice the one before. */
enum { RPC_LATENCY_FIRST_POWER = 6, RPC_LATENCY_BOUNDS = HISTOGRAM_BOUNDS_MAX };

struct rpc_counters {
  _Atomic uint64_t started, messages_in, messages_out;
  _Atomic uint64_t by_code[STATUS_CODE_MAX + 1];
  struct histogram latency_us;
};

void rpc_counters_finished(struct rpc_counters *counters, enum status_code code, int64_t latency_us);

/* Adds up count sets (NULL ones are left out) of `method`. */
void rpc_counters_merge(const struct rpc_method *method, const struct rpc_counters *const *sets, size_t count,
                        struct rpc_method_stats *ret);

#endif
