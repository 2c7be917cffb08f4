/* A small pool of threads for work that is slow on purpose (hashing passwords) and must not hold up those
 * that serve. Everything about it is bounded: threads, jobs that wait, and the memory that running jobs take
 * together.
 *
 * Jobs lie in the memory of who submits them and run in the order of submission. A job whose memory is not
 * free waits at the head and the others behind it, so none starves. A job ends in exactly one call of `run`,
 * on a thread of the pool and with no lock held: with OK it does its work, with any other status it must not
 * and only tells whoever waits:
 *   DEADLINE_EXCEEDED  its deadline passed before its turn came
 *   UNAVAILABLE        the pool is being closed
 * Any thread may submit, from within `run` too. */
#ifndef SKERRY_BASE_SLOW_POOL_H
#define SKERRY_BASE_SLOW_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct slow_pool;

struct slow_job {
  /* `go` is valid during the call. The job may be freed or submitted again in it. */
  void (*run)(struct slow_job *job, const status *go);
  int64_t deadline_us;   /* by the pool's clock; 0: none */
  size_t memory_bytes;   /* what running it takes */
  struct slow_job *next; /* the pool's */
  int64_t submitted_us;  /* likewise */
};

struct slow_pool_options {
  unsigned threads;    /* 1 to SLOW_POOL_THREADS_MAX */
  unsigned queue_max;  /* jobs that wait, those that run not counted; at least 1 */
  size_t memory_bytes; /* of jobs that run at once */
  int nice;            /* 0 to 19: how much its threads step back behind the others when the cores are busy */
  /* When a job took longer than it computed, the cores are wanted by others: the thread then rests for so
   * many times what it computed. Niceness alone does not spare them: a core that idles for moments between
   * two waits is taken for long stretches. 0: it never rests. */
  unsigned rest_when_busy;
  int64_t (*now_us)(void *argument); /* a clock that only grows; any thread */
  void *argument;
};
enum { SLOW_POOL_THREADS_MAX = 16 };

/* INVALID_ARGUMENT: options out of bounds; RESOURCE_EXHAUSTED: no memory, no threads. */
STATUS_MUST_USE status slow_pool_open(const struct slow_pool_options *options, struct slow_pool **ret);
/* Refuses further jobs, ends those that wait with UNAVAILABLE, lets those that run end, and frees it. Not
 * from within a job. Submitting concurrently is not allowed any more: see slow_pool_stop. NULL is fine. */
void slow_pool_close(struct slow_pool *pool);
/* The first half of closing: from here on submitting gives UNAVAILABLE. Does not wait. */
void slow_pool_stop(struct slow_pool *pool);

/* Never blocks. RESOURCE_EXHAUSTED: too many wait, or the job alone takes more memory than the pool has;
 * UNAVAILABLE: it is being closed. Then `run` is not called. */
STATUS_MUST_USE status slow_pool_submit(struct slow_pool *pool, struct slow_job *job);

struct slow_pool_info {
  unsigned waiting, running;
  size_t memory_bytes;                     /* of those that run */
  uint64_t ran, expired, refused, stopped; /* since the start; refused: by slow_pool_submit */
  uint64_t waited_us, took_us;             /* of those that ran, together, by the pool's clock */
};
void slow_pool_info(struct slow_pool *pool, struct slow_pool_info *ret);

#endif
