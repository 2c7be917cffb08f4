#include "rpc/stats.h"

void rpc_counters_finished(struct rpc_counters *counters, enum status_code code, int64_t latency_us) {
  unsigned index = (unsigned)code <= STATUS_CODE_MAX ? (unsigned)code : STATUS_UNKNOWN;
  counter_add(&counters->by_code[index], 1);
  histogram_add(&counters->latency_us, latency_us < 0 ? 0 : (uint64_t)latency_us);
}

static uint64_t read_counter(const _Atomic uint64_t *counter) {
  return atomic_load_explicit(counter, memory_order_relaxed);
}

void rpc_counters_merge(const struct rpc_method *method, const struct rpc_counters *const *sets, size_t count,
                        struct rpc_method_stats *ret) {
  struct histogram_counts latency = {0};
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
    histogram_counts_add(&latency, &from->latency_us);
  }
  ret->ok = ret->by_code[STATUS_OK];
  for (size_t i = 1; i <= STATUS_CODE_MAX; i++)
    ret->failed += ret->by_code[i];
  ret->latency_us_p50 = histogram_quantile(&latency, 50);
  ret->latency_us_p99 = histogram_quantile(&latency, 99);
  histogram_summarize(&latency, RPC_LATENCY_FIRST_POWER, RPC_LATENCY_BOUNDS, &ret->latency_us);
}
