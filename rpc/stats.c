#include "rpc/stats.h"

size_t rpc_histogram_bucket(uint64_t us) {
  if (us < RPC_HISTOGRAM_SUB)
    return (size_t)us;
  unsigned power = 63U - (unsigned)__builtin_clzll(us); /* 3 and more */
  size_t bucket = (size_t)(power - 2) * RPC_HISTOGRAM_SUB + (size_t)((us >> (power - 3)) & 7);
  return bucket < RPC_HISTOGRAM_BUCKETS ? bucket : RPC_HISTOGRAM_BUCKETS - 1;
}

uint64_t rpc_histogram_value(size_t bucket) {
  if (bucket < RPC_HISTOGRAM_SUB)
    return bucket;
  unsigned power = (unsigned)(bucket / RPC_HISTOGRAM_SUB) + 2;
  uint64_t width = (uint64_t)1 << (power - 3);
  return (RPC_HISTOGRAM_SUB + bucket % RPC_HISTOGRAM_SUB) * width + width / 2;
}

void rpc_counters_finished(struct rpc_counters *counters, enum status_code code, int64_t latency_us) {
  unsigned index = (unsigned)code <= STATUS_CODE_MAX ? (unsigned)code : STATUS_UNKNOWN;
  rpc_counter_add(&counters->by_code[index], 1);
  rpc_counter_add(&counters->latency[rpc_histogram_bucket(latency_us < 0 ? 0 : (uint64_t)latency_us)], 1);
}

static uint64_t read_counter(const _Atomic uint64_t *counter) {
  return atomic_load_explicit(counter, memory_order_relaxed);
}

static uint64_t quantile(const uint64_t *buckets, uint64_t total, unsigned percent) {
  uint64_t wanted = (total * percent + 99) / 100, seen = 0;
  for (size_t i = 0; i < RPC_HISTOGRAM_BUCKETS; i++) {
    seen += buckets[i];
    if (seen >= wanted && seen > 0)
      return rpc_histogram_value(i);
  }
  return 0;
}

void rpc_counters_merge(const struct rpc_method *method, const struct rpc_counters *const *sets, size_t count,
                        struct rpc_method_stats *ret) {
  uint64_t latency[RPC_HISTOGRAM_BUCKETS] = {0}, finished = 0;
  *ret = (struct rpc_method_stats){.method = method};
  for (size_t s = 0; s < count; s++) {
    const struct rpc_counters *from = sets[s];
    if (from == NULL)
      continue;
    ret->started += read_counter(&from->started);
    ret->messages_in += read_counter(&from->messages_in);
    ret->messages_out += read_counter(&from->messages_out);
    for (size_t i = 0; i <= STATUS_CODE_MAX; i++)
      ret->by_code[i] += read_counter(&from->by_code[i]);
    for (size_t i = 0; i < RPC_HISTOGRAM_BUCKETS; i++)
      latency[i] += read_counter(&from->latency[i]);
  }
  ret->ok = ret->by_code[STATUS_OK];
  for (size_t i = 1; i <= STATUS_CODE_MAX; i++)
    ret->failed += ret->by_code[i];
  for (size_t i = 0; i < RPC_HISTOGRAM_BUCKETS; i++)
    finished += latency[i];
  ret->latency_us_p50 = quantile(latency, finished, 50);
  ret->latency_us_p99 = quantile(latency, finished, 99);
}
