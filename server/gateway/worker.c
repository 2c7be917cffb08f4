#include "server/gateway/worker.h"

void worker_init(struct worker *worker, size_t waiting_max) {
  *worker = (struct worker){.waiting_max = waiting_max};
  worker->last = &worker->first;
  pthread_mutex_init(&worker->mutex, NULL);
  pthread_cond_init(&worker->changed, NULL);
}

static void *run(void *argument) {
  struct worker *worker = argument;
  pthread_mutex_lock(&worker->mutex);
  for (;;) {
    struct worker_job *job = worker->first;
    if (job == NULL && worker->ends)
      break;
    if (job == NULL) {
      pthread_cond_wait(&worker->changed, &worker->mutex);
      continue;
    }
    worker->first = job->next;
    if (worker->first == NULL)
      worker->last = &worker->first;
    worker->waiting--;
    pthread_mutex_unlock(&worker->mutex);
    job->run(job);
    pthread_mutex_lock(&worker->mutex);
  }
  pthread_mutex_unlock(&worker->mutex);
  return NULL;
}

status worker_start(struct worker *worker, const char *name) {
  if (worker->has_thread)
    return status_ok();
  if (pthread_create(&worker->thread, NULL, run, worker) != 0)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "A thread could not be started.");
  pthread_setname_np(worker->thread, name);
  worker->has_thread = true;
  return status_ok();
}

bool worker_post(struct worker *worker, struct worker_job *job) {
  pthread_mutex_lock(&worker->mutex);
  bool has_room = worker->has_thread && worker->waiting < worker->waiting_max && !worker->ends;
  if (has_room) {
    job->next = NULL;
    worker->waiting++;
    *worker->last = job;
    worker->last = &job->next;
    pthread_cond_signal(&worker->changed);
  }
  pthread_mutex_unlock(&worker->mutex);
  return has_room;
}

size_t worker_waiting(struct worker *worker) {
  pthread_mutex_lock(&worker->mutex);
  size_t waiting = worker->waiting;
  pthread_mutex_unlock(&worker->mutex);
  return waiting;
}

void worker_fini(struct worker *worker) {
  pthread_mutex_lock(&worker->mutex);
  worker->ends = true;
  pthread_cond_signal(&worker->changed);
  pthread_mutex_unlock(&worker->mutex);
  if (worker->has_thread)
    pthread_join(worker->thread, NULL);
  pthread_cond_destroy(&worker->changed);
  pthread_mutex_destroy(&worker->mutex);
}
