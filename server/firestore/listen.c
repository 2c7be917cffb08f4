/* The Listen call, on its queue's thread: messages are checked and copied into the stream's inbox. */
#include "server/firestore/listen.h"

#include <stdlib.h>

#include "server/firestore/handlers.h"

static void wake_by_listener(struct change_listener *listener) {
  listen_wake((struct listen_stream *)listener);
}

/* ---- Into the inbox ---- */

/* The stream ends with `why` once what came before is answered. */
static void end_later(struct listen_stream *stream, status why) {
  pthread_mutex_lock(&stream->mutex);
  if (!stream->has_end)
    stream->end = why;
  stream->has_end = true;
  pthread_mutex_unlock(&stream->mutex);
  listen_wake(stream);
}

static void put_request(struct listen_stream *stream, struct listen_request *request) {
  pthread_mutex_lock(&stream->mutex);
  *stream->inbox_end = request;
  stream->inbox_end = &request->next;
  bool receive = ++stream->inbox_count < LIMIT_LISTEN_INBOX;
  stream->is_receiving = receive;
  pthread_mutex_unlock(&stream->mutex);
  if (receive)
    rpc_call_receive_next(stream->call);
  listen_wake(stream);
}

static status check_database(struct listen_stream *stream, const char *name) {
  if (stream->database_name != NULL) {
    if (name[0] == '\0' || strcmp(name, stream->database_name) == 0)
      return status_ok();
    return status_make(STATUS_INVALID_ARGUMENT, "A Listen stream stays in one database.");
  }
  struct rpc_call *call = stream->call;
  str copy = arena_str_copy(rpc_call_arena(call), str_from_cstr(name));
  if (copy.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  STATUS_TRY(request_database(request_service(call), copy.ptr, REQUEST_READS, &stream->database));
  struct access_caller *caller;
  STATUS_TRY(access_caller_new(request_service(call)->options.access, call, &caller));
  pthread_mutex_lock(&stream->mutex);
  stream->caller = caller;
  pthread_mutex_unlock(&stream->mutex);
  stream->database_name = (char *)(uintptr_t)copy.ptr;
  return status_ok();
}

/* With a reference: the worker may replace it. One that is stale would refuse by rules that hold no more; the
 * worker makes its own when it comes to it. */
static status take_caller(struct listen_stream *stream, struct access_caller **ret) {
  pthread_mutex_lock(&stream->mutex);
  *ret = access_caller_ref(stream->caller);
  pthread_mutex_unlock(&stream->mutex);
  if (!access_caller_is_stale(*ret))
    return status_ok();
  struct access *access = (*ret)->access;
  access_caller_unref(*ret);
  return access_caller_new(access, stream->call, ret);
}

/* Into *ret what the message asks for. A failure ends the stream. */
static status parse(struct listen_stream *stream, const Google__Firestore__V1__ListenRequest *message,
                    struct listen_request *ret) {
  STATUS_TRY(check_database(stream, message->database));
  switch (message->target_change_case) {
  case GOOGLE__FIRESTORE__V1__LISTEN_REQUEST__TARGET_CHANGE_ADD_TARGET: {
    const Google__Firestore__V1__Target *target = message->add_target;
    ret->kind = LISTEN_REQUEST_ADD;
    ret->id = target->target_id;
    if (ret->id < 0)
      return status_make(STATUS_INVALID_ARGUMENT, "A target id is positive, or 0 to let the server choose.");
    struct access_caller *caller;
    STATUS_TRY(take_caller(stream, &caller));
    ret->why = listen_target_new(stream->call, caller, &stream->database, target, &stream->all->budget,
                                 &ret->target);
    access_caller_unref(caller);
    if (ret->why.code == STATUS_RESOURCE_EXHAUSTED || ret->why.code == STATUS_UNAVAILABLE)
      return ret->why;
    if (!status_is_ok(&ret->why))
      ret->kind = LISTEN_REQUEST_REFUSE;
    return status_ok();
  }
  case GOOGLE__FIRESTORE__V1__LISTEN_REQUEST__TARGET_CHANGE_REMOVE_TARGET:
    ret->kind = LISTEN_REQUEST_REMOVE;
    ret->id = message->remove_target;
    if (ret->id <= 0)
      return status_make(STATUS_INVALID_ARGUMENT, "remove_target names no target.");
    return status_ok();
  case GOOGLE__FIRESTORE__V1__LISTEN_REQUEST__TARGET_CHANGE__NOT_SET:
  default:
    return status_make(STATUS_INVALID_ARGUMENT, "The message neither adds nor removes a target.");
  }
}

void firestore_listen_message(struct rpc_call *call, const Google__Firestore__V1__ListenRequest *message) {
  struct listen_stream *stream = rpc_call_state(call);
  if (stream == NULL)
    return; /* refused at its opening */
  struct listen_request *request = calloc(1, sizeof *request);
  status result =
      request == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED) : parse(stream, message, request);
  if (status_is_ok(&result)) {
    put_request(stream, request);
  } else {
    free(request);
    end_later(stream, result);
  }
}

/* ---- Events ---- */

void firestore_listen_half_close(struct rpc_call *call) {
  struct listen_stream *stream = rpc_call_state(call);
  if (stream == NULL)
    return;
  pthread_mutex_lock(&stream->mutex);
  stream->half_closed = true;
  pthread_mutex_unlock(&stream->mutex);
  listen_wake(stream);
}

static void cancelled(struct rpc_call *call, void *state) {
  (void)call;
  struct listen_stream *stream = state;
  pthread_mutex_lock(&stream->mutex);
  stream->cancelled = true;
  pthread_mutex_unlock(&stream->mutex);
  listen_wake(stream);
}

static void drained(struct rpc_call *call, void *state) {
  (void)call;
  listen_wake(state);
}

static void released(void *state) {
  struct listen_stream *stream = state;
  while (stream->inbox != NULL) {
    struct listen_request *request = stream->inbox;
    stream->inbox = request->next;
    listen_request_free(request);
  }
  access_caller_unref(stream->caller);
  pthread_mutex_destroy(&stream->mutex);
  free(stream);
}

void firestore_listen_open(struct rpc_call *call) {
  static const struct rpc_call_events events = {
      .drained = drained, .cancelled = cancelled, .released = released};
  struct listen_service *all = request_service(call)->listen;
  struct listen_stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL || pthread_mutex_init(&stream->mutex, NULL) != 0) {
    free(stream);
    rpc_call_finish(call, status_default(STATUS_RESOURCE_EXHAUSTED));
    return;
  }
  stream->all = all;
  stream->call = call;
  stream->inbox_end = &stream->inbox;
  stream->is_receiving = true; /* the runtime asks for the first */
  pthread_mutex_lock(&all->mutex);
  bool stopping = all->stopping;
  if (!stopping) {
    stream->next = all->streams;
    stream->link = &all->streams;
    if (stream->next != NULL)
      stream->next->link = &stream->next;
    all->streams = stream;
    all->stream_count++;
  }
  pthread_mutex_unlock(&all->mutex);
  if (stopping) {
    pthread_mutex_destroy(&stream->mutex);
    free(stream);
    rpc_call_finish(call, status_make(STATUS_UNAVAILABLE, "The server is stopping. Please connect again."));
    return;
  }
  change_listener_init(&stream->listener, all->matcher, wake_by_listener);
  rpc_call_watch(call, &events, stream);
}
