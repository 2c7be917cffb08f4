/* One mutex guards the queue and the counts. Threads sleep on one condition until the head of the queue may
 * go: it has expired, the pool is closing, or its memory is free. A job's memory is taken when it begins and
 * given back when its `run` is over, which may be after the job itself is gone; so it is remembered apart. */
#include "base/slow_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { BUSY_PART = 4 }; /* a job that took a quarter longer than it computed has waited for others */

struct slow_pool {
  struct slow_pool_options options;
  pthread_t threads[SLOW_POOL_THREADS_MAX];
  unsigned thread_count;
  /* Guarded by the mutex. */
  pthread_mutex_t mutex;
  pthread_cond_t changed; /* the queue, the memory or `stopping` */
  pthread_cond_t stopped; /* `stopping` */
  struct slow_job *head, **tail;
  struct slow_pool_info info;
  bool stopping;
};

/* With the mutex held. What the head's turn comes to, if it has come. */
static bool head_may_go(struct slow_pool *pool, status *ret_go) {
  const struct slow_job *head = pool->head;
  if (head == NULL)
    return false;
  if (pool->stopping)
    *ret_go = status_make(STATUS_UNAVAILABLE, "The server is stopping.");
  else if (head->deadline_us != 0 && pool->options.now_us(pool->options.argument) >= head->deadline_us)
    *ret_go = status_default(STATUS_DEADLINE_EXCEEDED);
  else if (head->memory_bytes > pool->options.memory_bytes - pool->info.memory_bytes)
    return false;
  else
    *ret_go = status_ok();
  return true;
}

/* With the mutex held. */
static struct slow_job *take_head(struct slow_pool *pool) {
  struct slow_job *job = pool->head;
  pool->head = job->next;
  if (pool->head == NULL)
    pool->tail = &pool->head;
  pool->info.waiting--;
  return job;
}

static int64_t clock_us(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* For so long, or until the pool stops. With the mutex held. */
static void rest(struct slow_pool *pool, int64_t for_us) {
  int64_t until_us = clock_us(CLOCK_MONOTONIC) + for_us;
  struct timespec until = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
  while (!pool->stopping &&
         pthread_cond_clockwait(&pool->stopped, &pool->mutex, CLOCK_MONOTONIC, &until) == 0)
    continue;
}

/* Runs the job; returns for how long to rest after it. */
static int64_t run(const struct slow_pool *pool, struct slow_job *job, const status *go) {
  int64_t wall_us = clock_us(CLOCK_MONOTONIC), computed_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
  job->run(job, go);
  wall_us = clock_us(CLOCK_MONOTONIC) - wall_us;
  computed_us = clock_us(CLOCK_THREAD_CPUTIME_ID) - computed_us;
  bool is_busy = wall_us > computed_us + computed_us / BUSY_PART;
  return is_busy ? computed_us * pool->options.rest_when_busy : 0;
}

static void *work(void *argument) {
  struct slow_pool *pool = argument;
  status go;
  setpriority(PRIO_PROCESS, 0, pool->options.nice); /* of this thread alone: Linux */
  pthread_mutex_lock(&pool->mutex);
  for (;;) {
    if (!head_may_go(pool, &go)) {
      if (pool->stopping)
        break;
      pthread_cond_wait(&pool->changed, &pool->mutex);
      continue;
    }
    struct slow_job *job = take_head(pool);
    size_t memory_bytes = status_is_ok(&go) ? job->memory_bytes : 0;
    pool->info.memory_bytes += memory_bytes;
    pool->info.running++;
    int64_t began_us = pool->options.now_us(pool->options.argument);
    if (status_is_ok(&go))
      pool->info.waited_us += (uint64_t)(began_us - job->submitted_us);
    uint64_t *count = status_is_ok(&go)                     ? &pool->info.ran
                      : go.code == STATUS_DEADLINE_EXCEEDED ? &pool->info.expired
                                                            : &pool->info.stopped;
    (*count)++;
    if (pool->head != NULL)
      pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
    int64_t rest_us = run(pool, job, &go);
    pthread_mutex_lock(&pool->mutex);
    pool->info.running--;
    if (status_is_ok(&go))
      pool->info.took_us += (uint64_t)(pool->options.now_us(pool->options.argument) - began_us);
    pool->info.memory_bytes -= memory_bytes;
    pthread_cond_signal(&pool->changed);
    if (rest_us > 0)
      rest(pool, rest_us);
  }
  pthread_mutex_unlock(&pool->mutex);
  return NULL;
}

status slow_pool_open(const struct slow_pool_options *options, struct slow_pool **ret) {
  if (options->threads == 0 || options->threads > SLOW_POOL_THREADS_MAX || options->queue_max == 0 ||
      options->nice < 0 || options->nice > 19 || options->now_us == NULL)
    return status_make(STATUS_INVALID_ARGUMENT, "A pool of threads was given options out of bounds.");
  struct slow_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for a pool of threads.");
  pool->options = *options;
  pool->tail = &pool->head;
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->changed, NULL);
  pthread_cond_init(&pool->stopped, NULL);
  while (pool->thread_count < options->threads) {
    if (pthread_create(&pool->threads[pool->thread_count], NULL, work, pool) != 0) {
      slow_pool_close(pool);
      return status_make(STATUS_RESOURCE_EXHAUSTED, "The system gives no threads for a pool.");
    }
    pool->thread_count++;
  }
  *ret = pool;
  return status_ok();
}

void slow_pool_stop(struct slow_pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  pool->stopping = true;
  pthread_cond_broadcast(&pool->changed);
  pthread_cond_broadcast(&pool->stopped);
  pthread_mutex_unlock(&pool->mutex);
}

void slow_pool_close(struct slow_pool *pool) {
  if (pool == NULL)
    return;
  slow_pool_stop(pool);
  for (unsigned i = 0; i < pool->thread_count; i++)
    pthread_join(pool->threads[i], NULL);
  pthread_cond_destroy(&pool->changed);
  pthread_cond_destroy(&pool->stopped);
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

status slow_pool_submit(struct slow_pool *pool, struct slow_job *job) {
  status result = status_ok();
  pthread_mutex_lock(&pool->mutex);
  if (pool->stopping)
    result = status_make(STATUS_UNAVAILABLE, "The server is stopping.");
  else if (job->memory_bytes > pool->options.memory_bytes)
    result =
        status_make(STATUS_RESOURCE_EXHAUSTED, "This takes more memory than the server has for slow work.");
  else if (pool->info.waiting == pool->options.queue_max)
    result = status_make(STATUS_RESOURCE_EXHAUSTED,
                         "The server has more slow work than it can do. Please try again later.");
  if (status_is_ok(&result)) {
    job->next = NULL;
    job->submitted_us = pool->options.now_us(pool->options.argument);
    *pool->tail = job;
    pool->tail = &job->next;
    pool->info.waiting++;
    pthread_cond_signal(&pool->changed);
  } else {
    pool->info.refused++;
  }
  pthread_mutex_unlock(&pool->mutex);
  return result;
}

void slow_pool_info(struct slow_pool *pool, struct slow_pool_info *ret) {
  pthread_mutex_lock(&pool->mutex);
  *ret = pool->info;
  pthread_mutex_unlock(&pool->mutex);
}
