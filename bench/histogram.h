/* Counts of durations, exact to about 3%: 32 steps to each power of two of microseconds. Zeroed memory is
 * empty. One thread. */
#ifndef SKERRY_BENCH_HISTOGRAM_H
#define SKERRY_BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS_LOG2 = 5, HISTOGRAM_BUCKETS = (40 - HISTOGRAM_STEPS_LOG2) << HISTOGRAM_STEPS_LOG2 };

struct histogram {
  uint64_t total;
  int64_t max_us;
  uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, int64_t us);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The duration that `share` (0 to 1) of all stay within; 0 if there are none. */
double histogram_quantile(const struct histogram *h, double share);

#endif
