/* Counts of durations, exact to about 3%: 32 steps to each power of two of microseconds. Zeroed memory is
 * empty. One thread. */
#ifndef SKERRY_BENCH_DURATIONS_H
#define SKERRY_BENCH_DURATIONS_H

#include <stdint.h>

enum { DURATIONS_STEPS_LOG2 = 5, DURATIONS_BUCKETS = (40 - DURATIONS_STEPS_LOG2) << DURATIONS_STEPS_LOG2 };

struct durations {
  uint64_t total;
  int64_t max_us;
  uint64_t buckets[DURATIONS_BUCKETS];
};

void durations_add(struct durations *h, int64_t us);
void durations_merge(struct durations *into, const struct durations *from);
/* The duration that `share` (0 to 1) of all stay within; 0 if there are none. */
double durations_quantile(const struct durations *h, double share);

#endif
