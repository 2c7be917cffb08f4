/* The Write stream: commits one after another, in order, as the mobile SDKs send what was queued.
 *
 *   client: {database}                  server: {stream_id, stream_token}
 *   client: {writes, stream_token}  ->  server: {stream_token, write_results, commit_time}
 *   ...                                 a write that fails ends the stream with its status
 *
 * One commit of a stream is under way at a time, and the next message is asked for when its answer is queued.
 * SDKs send up to ten ahead; those wait in HTTP/2's flow control, so a stream costs no more memory than its
 * one message. More at once would not be right: when a write fails, the SDK takes it from its queue and sends
 * those behind it again on a new stream, so none of them may have been applied. Streams share syncs with each
 * other in the store.
 *
 * What a lost connection leaves open (was the last commit applied?) the protocol leaves open too: stream
 * tokens acknowledge responses, and an SDK that has not seen one sends the writes again. We give tokens,
 * check that what comes back is one of this stream's, and do not resume streams.
 *
 *   greeting --(first message)--> ready --(message)--> committing --(answer taken)--> ready
 *                                   |                      |  \--(queue full)--> blocked --(drained)--> ready
 *                                   +---- half close, cancel, failure ----> over
 *
 * Threads: messages, half close, cancel and drained come on the call's queue thread, one at a time; the
 * commit's end on a thread of the store's. Committing belongs to the commit: what happens meanwhile is noted
 * in `cancelled`, and the commit's end ends the call. */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "server/firestore/handlers.h"
#include "server/firestore/write_request.h"

enum { NONCE_BYTES = 8, TOKEN_BYTES = NONCE_BYTES + 8, ID_BYTES = 2 * NONCE_BYTES };

enum write_state { WRITE_GREETING, WRITE_READY, WRITE_COMMITTING, WRITE_BLOCKED, WRITE_OVER };

struct write_stream {
  struct rpc_call *call;
  struct write_stream *next, **link; /* all open ones; with the mutex of the list */
  pthread_mutex_t mutex;             /* state, cancelled, stops, is_woken, caller */
  enum write_state state;
  bool cancelled; /* while committing */
  bool stops;     /* likewise: the server does, or the caller is stale */
  bool is_woken;  /* `drained` is to come */
  uint8_t nonce[NONCE_BYTES];
  uint64_t given; /* tokens: one a response, numbered from 0 */
  str database_name;
  struct doc_path database;
  struct access_caller *caller; /* NULL before the greeting */
  struct arena arena;           /* of the commit under way */
  struct doc_commit commit;
  rpc_message answer; /* WRITE_BLOCKED */
};

/* ---- The end ---- */

static void released(void *state) {
  struct write_stream *stream = state;
  rpc_message_discard(&stream->answer);
  access_caller_unref(stream->caller);
  arena_fini(&stream->arena);
  pthread_mutex_destroy(&stream->mutex);
  free(stream);
}

/* False: the server stops. */
static bool enter_list(struct write_stream *stream) {
  struct write_streams *all = &request_service(stream->call)->write_streams;
  pthread_mutex_lock(&all->mutex);
  bool entered = !all->stopping;
  if (entered) {
    stream->next = all->first;
    stream->link = &all->first;
    if (stream->next != NULL)
      stream->next->link = &stream->next;
    all->first = stream;
  }
  pthread_mutex_unlock(&all->mutex);
  return entered;
}

static void leave_list(struct write_stream *stream) {
  struct write_streams *all = &request_service(stream->call)->write_streams;
  pthread_mutex_lock(&all->mutex);
  *stream->link = stream->next;
  if (stream->next != NULL)
    stream->next->link = stream->link;
  pthread_mutex_unlock(&all->mutex);
}

/* From the one that owns the call: the queue's thread, or the commit's end while committing. Answers that are
 * queued go out before the status: an SDK takes an error for that of the first write that has no answer. */
static void end(struct write_stream *stream, status result) {
  leave_list(stream);
  pthread_mutex_lock(&stream->mutex);
  assert(stream->state != WRITE_OVER);
  stream->state = WRITE_OVER;
  pthread_mutex_unlock(&stream->mutex);
  rpc_call_finish_in_order(stream->call, request_write_status(result));
}

static void cancelled(struct rpc_call *call, void *state) {
  (void)call;
  struct write_stream *stream = state;
  pthread_mutex_lock(&stream->mutex);
  stream->cancelled = true;
  bool ours = stream->state != WRITE_COMMITTING && stream->state != WRITE_OVER;
  pthread_mutex_unlock(&stream->mutex);
  if (ours)
    end(stream, status_default(STATUS_CANCELLED));
}

/* ---- Tokens ---- */

static void put_u64(uint8_t *at, uint64_t number) {
  for (unsigned i = 0; i < 8; i++)
    at[i] = (uint8_t)(number >> 8 * (7 - i));
}

static ProtobufCBinaryData next_token(struct write_stream *stream, uint8_t room[TOKEN_BYTES]) {
  memcpy(room, stream->nonce, NONCE_BYTES);
  put_u64(room + NONCE_BYTES, stream->given++);
  return (ProtobufCBinaryData){TOKEN_BYTES, room};
}

/* None, or one that this stream gave. What does not fit is no verdict on the writes: an SDK keeps them when
 * it hears ABORTED. */
static status check_token(const struct write_stream *stream, ProtobufCBinaryData token) {
  if (token.len == 0)
    return status_ok();
  uint64_t number = 0;
  if (token.len == TOKEN_BYTES && memcmp(token.data, stream->nonce, NONCE_BYTES) == 0) {
    for (unsigned i = NONCE_BYTES; i < TOKEN_BYTES; i++)
      number = number << 8 | token.data[i];
    if (number < stream->given)
      return status_ok();
  }
  return status_make(STATUS_ABORTED, "stream_token is not of this stream. Open a new one.");
}

/* ---- Answers ---- */

static status make_answer(struct write_stream *stream, kv_version version, rpc_message *ret) {
  Google__Firestore__V1__WriteResponse response = GOOGLE__FIRESTORE__V1__WRITE_RESPONSE__INIT;
  uint8_t token[TOKEN_BYTES];
  struct arena arena;
  write_request_answer_arena(&arena);
  status result =
      write_request_results(&stream->commit, version, &arena, &response.write_results, &response.commit_time);
  if (status_is_ok(&result)) {
    response.n_write_results = stream->commit.write_count;
    response.stream_token = next_token(stream, token);
    if (!rpc_message_pack(&response.base, ret))
      result = status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  arena_fini(&arena);
  return result;
}

static status stopping(void) {
  return status_make(STATUS_UNAVAILABLE, "The server is stopping. Please connect again.");
}

static bool is_stopping(const struct write_stream *stream) {
  struct write_streams *all = &request_service(stream->call)->write_streams;
  pthread_mutex_lock(&all->mutex);
  bool is = all->stopping;
  pthread_mutex_unlock(&all->mutex);
  return is;
}

/* Who the client is now: its token may have expired, or the rules changed. The queue's thread, while nothing
 * is committed. */
static status renew_caller(struct write_stream *stream) {
  if (stream->caller != NULL && !access_caller_is_stale(stream->caller))
    return status_ok();
  struct access_caller *caller;
  STATUS_TRY(access_caller_new(request_service(stream->call)->options.access, stream->call, &caller));
  pthread_mutex_lock(&stream->mutex);
  access_caller_unref(stream->caller);
  stream->caller = caller;
  pthread_mutex_unlock(&stream->mutex);
  return access_may_enter(caller, ACCESS_WRITE, &stream->database);
}

/* The client has read what was sent before: the answer that waited goes out, and the next message may come.
 * Or the server stops, or the caller is stale: then a stream that rests looks whether it ends, and one that
 * commits is told to. */
static void drained(struct rpc_call *call, void *state) {
  struct write_stream *stream = state;
  pthread_mutex_lock(&stream->mutex);
  enum write_state was = stream->state;
  stream->is_woken = false;
  stream->stops = stream->stops || was == WRITE_COMMITTING;
  pthread_mutex_unlock(&stream->mutex);
  if (was == WRITE_COMMITTING || was == WRITE_OVER)
    return;
  if (was == WRITE_BLOCKED) {
    if (rpc_call_send(call, &stream->answer) != RPC_SEND_OK)
      return; /* full again: drained comes again; closed: cancelled comes */
    pthread_mutex_lock(&stream->mutex);
    stream->state = WRITE_READY;
    pthread_mutex_unlock(&stream->mutex);
  }
  bool was_told = stream->stops; /* while it committed: then no message was asked for */
  stream->stops = false;
  status result = is_stopping(stream)     ? stopping()
                  : was == WRITE_GREETING ? status_ok()
                                          : renew_caller(stream);
  if (!status_is_ok(&result))
    end(stream, result);
  else if (was == WRITE_BLOCKED || was_told)
    rpc_call_receive_next(call);
}

/* Has `drained` called. With the mutex, of a stream that is in the list or commits. */
static void wake(struct write_stream *stream) {
  if (!stream->is_woken)
    rpc_call_wake(stream->call);
  stream->is_woken = true;
}

/* On the store's thread. The mutex is held throughout: from the moment that the state is not committing any
 * more, the queue's thread may end the call, which must not happen between the answer and asking for the next
 * message. (Nothing that is called here waits for an event.) */
static void answer(struct write_stream *stream) {
  struct rpc_call *call = stream->call;
  pthread_mutex_lock(&stream->mutex);
  bool gone = stream->cancelled;
  if (!gone) {
    bool full = rpc_call_send(call, &stream->answer) == RPC_SEND_FULL;
    stream->state = full ? WRITE_BLOCKED : WRITE_READY; /* if closed: `cancelled` comes */
    if (!full && stream->stops)
      wake(stream); /* `drained` looks whether it ends */
    else if (!full)
      rpc_call_receive_next(call);
  }
  pthread_mutex_unlock(&stream->mutex);
  if (gone)
    end(stream, status_default(STATUS_CANCELLED));
}

static void commit_done(struct doc_commit *commit, status result, kv_version version) {
  struct write_stream *stream = commit->user;
  if (status_is_ok(&result))
    result = make_answer(stream, version, &stream->answer);
  arena_reset(&stream->arena);
  if (status_is_ok(&result))
    answer(stream);
  else
    end(stream, result);
}

/* ---- Messages ---- */

static status greet(struct write_stream *stream, const Google__Firestore__V1__WriteRequest *request) {
  struct rpc_call *call = stream->call;
  if (request->stream_id[0] != '\0' || request->stream_token.len > 0)
    return status_make(STATUS_ABORTED,
                       "Streams are not resumed. Open one without stream_id and stream_token.");
  if (request->n_writes > 0)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "The first message of a Write stream has no writes: it names the database.");
  stream->database_name = arena_str_copy(rpc_call_arena(call), str_from_cstr(request->database));
  if (stream->database_name.ptr == NULL)
    return write_request_no_memory();
  STATUS_TRY(
      request_database(request_service(call), stream->database_name.ptr, REQUEST_WRITES, &stream->database));
  STATUS_TRY(renew_caller(stream));
  Google__Firestore__V1__WriteResponse response = GOOGLE__FIRESTORE__V1__WRITE_RESPONSE__INIT;
  uint8_t token[TOKEN_BYTES];
  char id[ID_BYTES + 1];
  for (size_t i = 0; i < NONCE_BYTES; i++)
    snprintf(id + 2 * i, 3, "%02x", stream->nonce[i]);
  response.stream_id = id;
  response.stream_token = next_token(stream, token);
  stream->state = WRITE_READY;
  if (google_firestore_v1_firestore_write_send(call, &response) == RPC_SEND_OK)
    rpc_call_receive_next(call); /* else the client is gone already: `cancelled` comes */
  return status_ok();
}

static status prepare(struct write_stream *stream, const Google__Firestore__V1__WriteRequest *request) {
  struct rpc_call *call = stream->call;
  if (request->stream_id[0] != '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "stream_id goes with the first message only.");
  if (request->database[0] != '\0' && !str_eq(str_from_cstr(request->database), stream->database_name))
    return status_make(STATUS_INVALID_ARGUMENT, "A Write stream stays in one database.");
  STATUS_TRY(check_token(stream, request->stream_token));
  STATUS_TRY(renew_caller(stream));
  size_t count = request->n_writes;
  struct doc_write *writes = ARENA_NEW_ARRAY(&stream->arena, struct doc_write, count);
  if (writes == NULL)
    return write_request_no_memory();
  for (size_t i = 0; i < count; i++)
    STATUS_TRY(write_request_parse(&stream->database, request->writes[i], &stream->arena, &writes[i]));
  stream->commit =
      write_request_commit(request_service(call), writes, count, &stream->arena, commit_done, stream);
  return write_request_prepare(stream->caller, &stream->commit);
}

void firestore_write_message(struct rpc_call *call, const Google__Firestore__V1__WriteRequest *request) {
  struct write_stream *stream = rpc_call_state(call);
  if (stream == NULL)
    return; /* not opened for lack of memory, and finished */
  pthread_mutex_lock(&stream->mutex);
  enum write_state state = stream->state;
  pthread_mutex_unlock(&stream->mutex);
  if (state == WRITE_OVER)
    return;
  assert(state == WRITE_GREETING || state == WRITE_READY);
  if (is_stopping(stream)) {
    end(stream, stopping());
    return;
  }
  status result = state == WRITE_GREETING ? greet(stream, request) : prepare(stream, request);
  if (!status_is_ok(&result)) {
    end(stream, result);
  } else if (state == WRITE_READY) {
    pthread_mutex_lock(&stream->mutex);
    stream->state = WRITE_COMMITTING;
    pthread_mutex_unlock(&stream->mutex);
    doc_commit_start(request_service(call)->options.store, &stream->commit);
  }
}

/* A message is asked for only when the one before is answered, so nothing is under way here. */
void firestore_write_half_close(struct rpc_call *call) {
  struct write_stream *stream = rpc_call_state(call);
  if (stream != NULL && stream->state != WRITE_OVER)
    end(stream, status_ok());
}

void firestore_write_open(struct rpc_call *call) {
  static const struct rpc_call_events events = {
      .drained = drained, .cancelled = cancelled, .released = released};
  struct write_stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL || pthread_mutex_init(&stream->mutex, NULL) != 0) {
    free(stream);
    rpc_call_finish(call, status_default(STATUS_RESOURCE_EXHAUSTED));
    return;
  }
  stream->call = call;
  crypto_random(stream->nonce, sizeof stream->nonce);
  arena_init(&stream->arena, NULL, 0, rpc_call_arena(call)->cap_bytes);
  stream->arena.budget = rpc_call_arena(call)->budget;
  rpc_call_watch(call, &events, stream);
  if (enter_list(stream))
    return;
  stream->state = WRITE_OVER;
  rpc_call_finish(call, stopping());
}

/* Streams that send nothing hear it too when their token expires. */
void firestore_write_tick(struct write_streams *all) {
  pthread_mutex_lock(&all->mutex);
  for (struct write_stream *stream = all->first; stream != NULL; stream = stream->next) {
    pthread_mutex_lock(&stream->mutex);
    if (stream->state == WRITE_READY && access_caller_is_stale(stream->caller))
      wake(stream);
    pthread_mutex_unlock(&stream->mutex);
  }
  pthread_mutex_unlock(&all->mutex);
}

/* `drained` is called on the stream's own thread, and ends it there. One that commits just now answers first.
 */
void firestore_write_stop(struct write_streams *all) {
  pthread_mutex_lock(&all->mutex);
  bool again = all->stopping;
  all->stopping = true;
  for (struct write_stream *stream = all->first; stream != NULL && !again; stream = stream->next) {
    pthread_mutex_lock(&stream->mutex);
    wake(stream);
    pthread_mutex_unlock(&stream->mutex);
  }
  pthread_mutex_unlock(&all->mutex);
}
