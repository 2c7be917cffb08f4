/* The Listen streams of a server.
 *
 * Parties. The call's queue thread takes messages, checks them, and puts them into the stream's inbox. The
 * matcher's thread (storage/change/matcher.h) puts events into the stream's queue. Either wakes the stream;
 * one of a few worker threads then runs it for a turn (listen_stream.c): answers the inbox, evaluates
 * targets, sends events, until there is nothing left or the client does not read fast enough. A stream is run
 * by one worker at a time, so all but its inbox has one owner and no lock.
 *
 *         wake                    a worker            nothing left
 *   rests ----> in the run queue ----------> running ------------> rests
 *                      ^                        | wake, or more to do       finished
 *                      +------------------------+--------------------------------------> over
 *
 * Storms. Evaluations take memory and time, so LISTEN_EVALUATIONS of them are under way at once; other
 * streams wait in line, without memory but for their targets. All targets together have a budget, beyond
 * which a stream ends with RESOURCE_EXHAUSTED: SDKs come back after a while. A client that does not read
 * holds nobody up: its evaluation gives its place away until it reads again. */
#ifndef SKERRY_SERVER_FIRESTORE_LISTEN_H
#define SKERRY_SERVER_FIRESTORE_LISTEN_H

#include <pthread.h>

#include "base/memory_budget.h"
#include "rpc/call.h"
#include "server/firestore/listen_evaluate.h"
#include "server/firestore/listen_target.h"
#include "storage/change/matcher.h"

enum { LISTEN_THREADS_MAX = 4, LISTEN_EVALUATIONS = 32 };

struct listen_service {
  struct firestore_service *service;
  struct change_matcher *matcher;
  struct memory_budget budget; /* targets, documents in queues, evaluations */
  pthread_t threads[LISTEN_THREADS_MAX];
  unsigned thread_count;

  pthread_mutex_t mutex; /* all that follows, and `task` of streams */
  pthread_cond_t work;
  struct listen_stream *run_first, *run_last;   /* the run queue */
  struct listen_stream *wait_first, *wait_last; /* for a place to evaluate */
  struct listen_stream *streams;
  unsigned evaluating;
  size_t stream_count, run_count, wait_count; /* of the lists above */
  bool stopping;                              /* streams end, and new ones are refused */
  bool ending;                                /* threads end */
};

/* One message of the client's, checked. */
struct listen_request {
  struct listen_request *next;
  enum { LISTEN_REQUEST_ADD, LISTEN_REQUEST_REMOVE, LISTEN_REQUEST_REFUSE } kind;
  int32_t id;
  struct listen_target *target; /* ADD */
  status why;                   /* REFUSE */
};

enum listen_task { LISTEN_RESTS, LISTEN_QUEUED, LISTEN_RUNNING, LISTEN_RUNNING_WOKEN, LISTEN_OVER };

struct listen_stream {
  struct change_listener listener; /* first: wake finds the stream by it */
  struct listen_service *all;
  struct rpc_call *call;

  /* With all->mutex. */
  enum listen_task task;
  struct listen_stream *next_task;
  struct listen_stream *next, **link;
  struct listen_stream *next_waiting;
  bool is_waiting, may_evaluate;

  pthread_mutex_t mutex;        /* the inbox, and what stands here: */
  struct access_caller *caller; /* NULL before the first message; replaced by the worker */
  struct listen_request *inbox, **inbox_end;
  size_t inbox_count;
  bool is_receiving; /* a message was asked for */
  bool half_closed, cancelled;
  bool has_end; /* the stream ends with `end` after what is in the inbox */
  status end;

  /* The queue thread's. */
  struct doc_path database;
  char *database_name; /* NULL until the first message */

  /* The worker's. */
  struct listen_target **targets;
  size_t target_count, target_capacity;
  size_t once_over;   /* targets that the next snapshot removes */
  size_t once_due;    /* that it has removed: to be told */
  size_t to_judge;    /* after another caller: targets[0, to_judge) are judged again */
  size_t to_catch_up; /* after CHANGE_LOST: targets[0, to_catch_up) are evaluated again */
  kv_version catch_up_version;
  kv_version read_version; /* of the last snapshot that was sent */
  int32_t next_id;         /* that the server chooses */
  struct listen_evaluation evaluation;
  bool evaluates_added; /* it is the first: ends in CURRENT */
  bool has_unsent;
  rpc_message unsent;
};

STATUS_MUST_USE status listen_service_new(struct firestore_service *service, size_t memory_bytes_max,
                                          struct listen_service **ret);
/* Streams whose caller is stale look again. About once a second. */
void listen_service_tick(struct listen_service *all);
struct firestore_stats;
void listen_service_stats(struct listen_service *all, struct firestore_stats *ret); /* its part */
/* Ends all streams with UNAVAILABLE, and those that are still to come. */
void listen_service_stop(struct listen_service *all);
void listen_service_free(struct listen_service *all); /* when all calls are over; NULL is allowed */

/* ---- Between the files ---- */

/* There is something to do. Any thread, also with the matcher's mutex. */
void listen_wake(struct listen_stream *stream);
/* A place to evaluate. False: the stream stands in line and is woken when it has one. By its worker. */
bool listen_may_evaluate(struct listen_stream *stream);
void listen_give_place(struct listen_stream *stream);

/* A turn of a stream, on a worker. */
enum listen_turn { LISTEN_REST, LISTEN_MORE, LISTEN_FINISH };
enum listen_turn listen_stream_run(struct listen_stream *stream, status *ret_end);
/* What the worker has; before the call is finished. */
void listen_stream_fini(struct listen_stream *stream);
void listen_request_free(struct listen_request *request);

#endif
