/* A thread for what takes too long for libmicrohttpd's: jobs one at a time, in the order that they came. */
#ifndef SKERRY_SERVER_GATEWAY_WORKER_H
#define SKERRY_SERVER_GATEWAY_WORKER_H

#include <pthread.h>

#include "base/status.h"

struct worker_job {
  void (*run)(struct worker_job *job); /* on the worker's thread; the job's memory may go within */
  struct worker_job *next;             /* private */
};

/* Private. */
struct worker {
  pthread_mutex_t mutex; /* guards the rest */
  pthread_cond_t changed;
  pthread_t thread;
  bool has_thread, ends;
  struct worker_job *first, **last;
  size_t waiting, waiting_max;
};

void worker_init(struct worker *worker, size_t waiting_max);
/* Starts its thread if it has none. RESOURCE_EXHAUSTED. Of one thread at a time. */
STATUS_MUST_USE status worker_start(struct worker *worker, const char *name);
/* The job stays the caller's until it runs. False: too many wait, or the worker ends. Any thread. */
bool worker_post(struct worker *worker, struct worker_job *job);
size_t worker_waiting(struct worker *worker); /* jobs that have not begun */
/* Takes no more jobs, does those that it has, and ends the thread. */
void worker_fini(struct worker *worker);

#endif
