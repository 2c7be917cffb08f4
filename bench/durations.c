#include "bench/durations.h"

enum { STEPS = 1 << DURATIONS_STEPS_LOG2 };

static unsigned bucket_of(int64_t us) {
  uint64_t value = us < 0 ? 0 : (uint64_t)us;
  if (value < STEPS)
    return (unsigned)value;
  unsigned power = 63u - (unsigned)__builtin_clzll(value);
  unsigned step = (unsigned)(value >> (power - DURATIONS_STEPS_LOG2)) & (STEPS - 1);
  unsigned bucket = ((power - DURATIONS_STEPS_LOG2 + 1) << DURATIONS_STEPS_LOG2) + step;
  return bucket < DURATIONS_BUCKETS ? bucket : DURATIONS_BUCKETS - 1;
}

/* The middle of a bucket. */
static double value_of(unsigned bucket) {
  if (bucket < STEPS)
    return bucket;
  unsigned power = (bucket >> DURATIONS_STEPS_LOG2) - 1;
  return ((double)(STEPS + (bucket & (STEPS - 1))) + 0.5) * (double)(UINT64_C(1) << power);
}

void durations_add(struct durations *h, int64_t us) {
  h->total++;
  h->buckets[bucket_of(us)]++;
  if (us > h->max_us)
    h->max_us = us;
}

void durations_merge(struct durations *into, const struct durations *from) {
  into->total += from->total;
  if (from->max_us > into->max_us)
    into->max_us = from->max_us;
  for (unsigned i = 0; i < DURATIONS_BUCKETS; i++)
    into->buckets[i] += from->buckets[i];
}

double durations_quantile(const struct durations *h, double share) {
  uint64_t wanted = (uint64_t)(share * (double)h->total), seen = 0;
  if (wanted >= h->total)
    return (double)h->max_us;
  for (unsigned i = 0; i < DURATIONS_BUCKETS; i++) {
    seen += h->buckets[i];
    if (seen > wanted)
      return value_of(i) < (double)h->max_us ? value_of(i) : (double)h->max_us;
  }
  return 0;
}
