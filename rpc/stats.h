/* Counts and latencies of one method as one queue's thread saw them: that thread writes, without locks or
 * read-modify-write instructions; any thread reads and adds up over the queues.
 *
 * The histogram is log-linear over microseconds: eight buckets for each power of two, so a quantile is within
 * 1/16 of the truth. */
#ifndef SKERRY_RPC_STATS_H
#define SKERRY_RPC_STATS_H

#include <stdatomic.h>

#include "rpc/server.h"

enum {
  RPC_HISTOGRAM_SUB = 8,
  RPC_HISTOGRAM_POWERS = 34, /* up to 2^36 microseconds, 19 hours; longer ones count as that */
  RPC_HISTOGRAM_BUCKETS = RPC_HISTOGRAM_SUB * (RPC_HISTOGRAM_POWERS + 1)
};

struct rpc_counters {
  _Atomic uint64_t started, messages_in, messages_out;
  _Atomic uint64_t by_code[STATUS_CODE_MAX + 1];
  _Atomic uint64_t latency[RPC_HISTOGRAM_BUCKETS];
};

/* By the one thread that writes it. */
static inline void rpc_counter_add(_Atomic uint64_t *counter, uint64_t more) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                        memory_order_relaxed);
}

void rpc_counters_finished(struct rpc_counters *counters, enum status_code code, int64_t latency_us);

/* Adds up count sets (NULL ones are left out) of `method`. */
void rpc_counters_merge(const struct rpc_method *method, const struct rpc_counters *const *sets, size_t count,
                        struct rpc_method_stats *ret);

/* Exposed for its test: the bucket of a latency, and the middle of a bucket. */
size_t rpc_histogram_bucket(uint64_t us);
uint64_t rpc_histogram_value(size_t bucket);

#endif
