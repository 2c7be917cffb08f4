/* How often values of each size came, such as latencies in microseconds: one thread adds, without locks or
 * read-modify-write instructions; any thread reads.
 *
 * Log-linear: eight buckets for each power of two, so a quantile is within 1/16 of the truth, and how many
 * values were less than a power of two is exact. */
#ifndef SKERRY_BASE_HISTOGRAM_H
#define SKERRY_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HISTOGRAM_SUB = 8,
  HISTOGRAM_POWERS = 34, /* up to 2^36, as microseconds 19 hours; larger ones count as that */
  HISTOGRAM_BUCKETS = HISTOGRAM_SUB * (HISTOGRAM_POWERS + 1)
};

struct histogram {
  _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
  _Atomic uint64_t sum;
};

/* By the one thread that writes the counter, or the histogram. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t more) {
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                        memory_order_relaxed);
}
void histogram_add(struct histogram *histogram, uint64_t value);

/* ---- Reading ---- */

/* Numbers of a moment, of one histogram or of several added up. Zeroed memory is empty. */
struct histogram_counts {
  uint64_t buckets[HISTOGRAM_BUCKETS];
  uint64_t total, sum;
};
void histogram_counts_add(struct histogram_counts *counts, const struct histogram *histogram);
/* The middle of the bucket that has the quantile; 0 without values. */
uint64_t histogram_quantile(const struct histogram_counts *counts, unsigned percent);

/* What Prometheus wants of it: how many values were less than 2^first_power, 2^(first_power + 1), ... */
enum { HISTOGRAM_BOUNDS_MAX = 20 };
struct histogram_summary {
  unsigned first_power, bounds;
  uint64_t below[HISTOGRAM_BOUNDS_MAX];
  uint64_t total, sum;
};
/* first_power + bounds <= 36, bounds <= HISTOGRAM_BOUNDS_MAX. */
void histogram_summarize(const struct histogram_counts *counts, unsigned first_power, unsigned bounds,
                         struct histogram_summary *ret);

/* Exposed for its test: the bucket of a value, and the middle of a bucket. */
size_t histogram_bucket(uint64_t value);
uint64_t histogram_middle(size_t bucket);

#endif
