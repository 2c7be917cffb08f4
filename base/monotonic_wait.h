/* Waiting on a condition for so long, by the monotonic clock: the wall clock may step by years. */
#ifndef SKERRY_BASE_MONOTONIC_WAIT_H
#define SKERRY_BASE_MONOTONIC_WAIT_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline void monotonic_cond_init(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
}

/* With the mutex held; `condition` is of monotonic_cond_init. 0: it was signalled, or woke by itself;
 * ETIMEDOUT. */
static inline int monotonic_wait_for(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t us) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  int64_t nanoseconds = until.tv_nsec + us % 1000000 * 1000;
  until.tv_sec += (time_t)(us / 1000000 + nanoseconds / 1000000000);
  until.tv_nsec = (long)(nanoseconds % 1000000000);
  return pthread_cond_timedwait(condition, mutex, &until);
}

#endif
