#include "base/histogram.h"

#include <assert.h>

size_t histogram_bucket(uint64_t value) {
  if (value < HISTOGRAM_SUB)
    return (size_t)value;
  unsigned power = 63U - (unsigned)__builtin_clzll(value); /* 3 and more */
  size_t bucket = (size_t)(power - 2) * HISTOGRAM_SUB + (size_t)((value >> (power - 3)) & 7);
  return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_middle(size_t bucket) {
  if (bucket < HISTOGRAM_SUB)
    return bucket;
  unsigned power = (unsigned)(bucket / HISTOGRAM_SUB) + 2;
  uint64_t width = (uint64_t)1 << (power - 3);
  return (HISTOGRAM_SUB + bucket % HISTOGRAM_SUB) * width + width / 2;
}

void histogram_add(struct histogram *histogram, uint64_t value) {
  counter_add(&histogram->buckets[histogram_bucket(value)], 1);
  counter_add(&histogram->sum, value);
}

void histogram_counts_add(struct histogram_counts *counts, const struct histogram *histogram) {
  for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
    uint64_t count = atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    counts->buckets[i] += count;
    counts->total += count;
  }
  counts->sum += atomic_load_explicit(&histogram->sum, memory_order_relaxed);
}

uint64_t histogram_quantile(const struct histogram_counts *counts, unsigned percent) {
  uint64_t wanted = (counts->total * percent + 99) / 100, seen = 0;
  for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
    seen += counts->buckets[i];
    if (seen >= wanted && seen > 0)
      return histogram_middle(i);
  }
  return 0;
}

void histogram_summarize(const struct histogram_counts *counts, unsigned first_power, unsigned bounds,
                         struct histogram_summary *ret) {
  assert(bounds <= HISTOGRAM_BOUNDS_MAX && first_power + bounds <= HISTOGRAM_POWERS + 2);
  *ret = (struct histogram_summary){
      .first_power = first_power, .bounds = bounds, .total = counts->total, .sum = counts->sum};
  uint64_t seen = 0;
  size_t bucket = 0;
  for (unsigned i = 0; i < bounds; i++) {
    size_t end = histogram_bucket((uint64_t)1 << (first_power + i)); /* the first of the next power */
    for (; bucket < end; bucket++)
      seen += counts->buckets[bucket];
    ret->below[i] = seen;
  }
}
