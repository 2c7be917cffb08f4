/* Workers, and which stream runs when. listen.h has the design. */
#include <assert.h>
#include <stdlib.h>

#include "server/firestore/listen.h"
#include "server/firestore/service.h"

/* ---- With the mutex held ---- */

static void enqueue(struct listen_stream *stream) {
  struct listen_service *all = stream->all;
  stream->task = LISTEN_QUEUED;
  stream->next_task = NULL;
  if (all->run_last != NULL)
    all->run_last->next_task = stream;
  else
    all->run_first = stream;
  all->run_last = stream;
  all->run_count++;
  pthread_cond_signal(&all->work);
}

static struct listen_stream *dequeue(struct listen_service *all) {
  struct listen_stream *stream = all->run_first;
  if (stream == NULL)
    return NULL;
  all->run_first = stream->next_task;
  if (all->run_first == NULL)
    all->run_last = NULL;
  all->run_count--;
  stream->task = LISTEN_RUNNING;
  return stream;
}

static void wake(struct listen_stream *stream) {
  if (stream->task == LISTEN_RESTS)
    enqueue(stream);
  else if (stream->task == LISTEN_RUNNING)
    stream->task = LISTEN_RUNNING_WOKEN;
}

static void leave_line(struct listen_stream *stream) {
  struct listen_service *all = stream->all;
  struct listen_stream *before = NULL, *at = all->wait_first;
  if (!stream->is_waiting)
    return;
  for (; at != stream; at = at->next_waiting)
    before = at;
  if (before != NULL)
    before->next_waiting = stream->next_waiting;
  else
    all->wait_first = stream->next_waiting;
  if (all->wait_last == stream)
    all->wait_last = before;
  all->wait_count--;
  stream->is_waiting = false;
}

static void give_place(struct listen_stream *stream) {
  struct listen_service *all = stream->all;
  if (!stream->may_evaluate)
    return;
  stream->may_evaluate = false;
  all->evaluating--;
  struct listen_stream *next = all->wait_first;
  if (next == NULL)
    return;
  leave_line(next);
  next->may_evaluate = true;
  all->evaluating++;
  wake(next);
}

/* ---- For streams ---- */

void listen_wake(struct listen_stream *stream) {
  pthread_mutex_lock(&stream->all->mutex);
  wake(stream);
  pthread_mutex_unlock(&stream->all->mutex);
}

bool listen_may_evaluate(struct listen_stream *stream) {
  struct listen_service *all = stream->all;
  pthread_mutex_lock(&all->mutex);
  if (!stream->may_evaluate && all->evaluating < LISTEN_EVALUATIONS) {
    stream->may_evaluate = true;
    all->evaluating++;
    leave_line(stream);
  } else if (!stream->may_evaluate && !stream->is_waiting) {
    stream->is_waiting = true;
    stream->next_waiting = NULL;
    if (all->wait_last != NULL)
      all->wait_last->next_waiting = stream;
    else
      all->wait_first = stream;
    all->wait_last = stream;
    all->wait_count++;
  }
  bool may = stream->may_evaluate;
  pthread_mutex_unlock(&all->mutex);
  return may;
}

void listen_give_place(struct listen_stream *stream) {
  pthread_mutex_lock(&stream->all->mutex);
  leave_line(stream);
  give_place(stream);
  pthread_mutex_unlock(&stream->all->mutex);
}

/* ---- Workers ---- */

static void finish(struct listen_stream *stream, status result) {
  struct listen_service *all = stream->all;
  listen_stream_fini(stream);
  pthread_mutex_lock(&all->mutex);
  assert(!stream->may_evaluate && !stream->is_waiting);
  stream->task = LISTEN_OVER;
  *stream->link = stream->next;
  if (stream->next != NULL)
    stream->next->link = stream->link;
  all->stream_count--;
  pthread_mutex_unlock(&all->mutex);
  rpc_call_finish(stream->call, result); /* the stream may be gone now */
}

static void run_stream(struct listen_stream *stream) {
  struct listen_service *all = stream->all;
  status result;
  enum listen_turn turn = listen_stream_run(stream, &result);
  if (turn == LISTEN_FINISH) {
    finish(stream, result);
    return;
  }
  pthread_mutex_lock(&all->mutex);
  if (turn == LISTEN_MORE || stream->task == LISTEN_RUNNING_WOKEN)
    enqueue(stream);
  else
    stream->task = LISTEN_RESTS;
  pthread_mutex_unlock(&all->mutex);
}

static void *work(void *argument) {
  struct listen_service *all = argument;
  pthread_mutex_lock(&all->mutex);
  while (!all->ending) {
    struct listen_stream *stream = dequeue(all);
    if (stream == NULL) {
      pthread_cond_wait(&all->work, &all->mutex);
      continue;
    }
    pthread_mutex_unlock(&all->mutex);
    run_stream(stream);
    pthread_mutex_lock(&all->mutex);
  }
  pthread_mutex_unlock(&all->mutex);
  return NULL;
}

/* ---- The service ---- */

static status start(struct listen_service *all) {
  const struct firestore_options *options = &all->service->options;
  struct change_matcher_options matcher = {
      .store = options->store,
      .port = options->port,
      .budget = &all->budget,
      .queue_events_max = LIMIT_LISTEN_QUEUE_EVENTS,
      .queue_bytes_max = LIMIT_LISTEN_QUEUE_BYTES,
      .heartbeat_us = LIMIT_LISTEN_HEARTBEAT_MS * (int64_t)1000,
  };
  STATUS_TRY(change_matcher_new(&matcher, &all->matcher));
  unsigned wanted = options->port->cores(options->port);
  wanted = wanted < 1 ? 1 : wanted > LISTEN_THREADS_MAX ? LISTEN_THREADS_MAX : wanted;
  while (all->thread_count < wanted) {
    if (pthread_create(&all->threads[all->thread_count], NULL, work, all) != 0)
      return status_make(STATUS_RESOURCE_EXHAUSTED, "No thread for listeners.");
    all->thread_count++;
  }
  return status_ok();
}

status listen_service_new(struct firestore_service *service, size_t memory_bytes_max,
                          struct listen_service **ret) {
  struct listen_service *all = calloc(1, sizeof *all);
  if (all == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  all->service = service;
  memory_budget_init(&all->budget, memory_bytes_max);
  pthread_mutex_init(&all->mutex, NULL);
  pthread_cond_init(&all->work, NULL);
  status result = start(all);
  if (status_is_ok(&result))
    *ret = all;
  else
    listen_service_free(all);
  return result;
}

void listen_service_tick(struct listen_service *all) {
  pthread_mutex_lock(&all->mutex);
  for (struct listen_stream *stream = all->streams; stream != NULL; stream = stream->next) {
    pthread_mutex_lock(&stream->mutex);
    bool is_stale = stream->caller != NULL && access_caller_is_stale(stream->caller);
    pthread_mutex_unlock(&stream->mutex);
    if (is_stale)
      wake(stream);
  }
  pthread_mutex_unlock(&all->mutex);
}

void listen_service_stop(struct listen_service *all) {
  pthread_mutex_lock(&all->mutex);
  all->stopping = true;
  for (struct listen_stream *stream = all->streams; stream != NULL; stream = stream->next) {
    pthread_mutex_lock(&stream->mutex);
    if (!stream->has_end)
      stream->end = status_make(STATUS_UNAVAILABLE, "The server is stopping. Please connect again.");
    stream->has_end = true;
    pthread_mutex_unlock(&stream->mutex);
    wake(stream);
  }
  pthread_mutex_unlock(&all->mutex);
}

void listen_service_free(struct listen_service *all) {
  if (all == NULL)
    return;
  assert(all->streams == NULL);
  pthread_mutex_lock(&all->mutex);
  all->ending = true;
  pthread_cond_broadcast(&all->work);
  pthread_mutex_unlock(&all->mutex);
  for (unsigned i = 0; i < all->thread_count; i++)
    pthread_join(all->threads[i], NULL);
  change_matcher_free(all->matcher);
  pthread_cond_destroy(&all->work);
  pthread_mutex_destroy(&all->mutex);
  free(all);
}

void listen_service_stats(struct listen_service *all, struct firestore_stats *ret) {
  struct change_stats changes;
  change_matcher_stats(all->matcher, &changes);
  ret->listen_targets = changes.targets;
  ret->listeners_lost = changes.lost;
  pthread_mutex_lock(&all->mutex);
  ret->listen_streams = all->stream_count;
  ret->listen_queued = all->run_count;
  ret->listen_waiting = all->wait_count;
  ret->listen_evaluating = all->evaluating;
  pthread_mutex_unlock(&all->mutex);
  ret->listen_memory_bytes = memory_budget_used(&all->budget);
  ret->listen_memory_bytes_max = all->budget.max_bytes;
}
