/* What a worker does with a stream: steps, each of which sends at most one message.
 *
 * In this order: what could not be sent before; the inbox; the evaluation under way, or the next target that
 * has to catch up; the next event. So nothing of an event is sent before the evaluation that came before it
 * is complete, and CHANGE_SNAPSHOT finds the client complete up to its version: it becomes the global
 * snapshot. */
#include <assert.h>
#include <stdlib.h>

#include "server/firestore/listen.h"
#include "server/firestore/listen_message.h"

enum {
  TURN_STEPS = 64,
  MERGED_MAX = 64,              /* targets in one DocumentChange */
  FIRST_SERVER_ID = 0x40000000, /* SDKs count from 1 or 2 */
};

enum step { STEP_AGAIN, STEP_IDLE, STEP_BLOCKED, STEP_ENDED };

/* ---- Sending ---- */

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The server is out of memory. Please try again later.");
}

/* Takes the message. It waits in `unsent` if the client is slow. */
static enum step send_message(struct listen_stream *stream, rpc_message *message) {
  assert(!stream->has_unsent);
  enum rpc_send sent = rpc_call_send(stream->call, message);
  if (sent == RPC_SEND_OK)
    return STEP_AGAIN;
  stream->unsent = *message; /* if closed: `cancelled` wakes the stream */
  stream->has_unsent = true;
  return STEP_BLOCKED;
}

static enum step send_unsent(struct listen_stream *stream) {
  rpc_message message = stream->unsent;
  stream->has_unsent = false;
  return send_message(stream, &message);
}

static status send_news(struct listen_stream *stream, const struct listen_target_news *news, enum step *ret) {
  rpc_message message;
  if (!listen_message_target(news, &message))
    return no_memory();
  *ret = send_message(stream, &message);
  return status_ok();
}

/* A token of one target, or of all the stream's. Those that the client does not have yet (it knows that they
 * are added, but they are evaluated later) may not go on from there: then there is no token. */
static str token_of(const struct listen_stream *stream, const struct listen_target *only, kv_version version,
                    uint8_t room[RESUME_TOKEN_BYTES_MAX]) {
  const struct firestore_service *service = stream->all->service;
  struct resume_targets targets;
  resume_targets_init(&targets, only != NULL ? 1 : stream->target_count);
  if (only != NULL)
    resume_targets_add(&targets, only->identity);
  for (size_t i = 0; only == NULL && i < stream->target_count; i++) {
    if (!stream->targets[i]->evaluated)
      return str_make(NULL, 0);
    resume_targets_add(&targets, stream->targets[i]->identity);
  }
  size_t len = resume_token_encode(str_make(service->secret, sizeof service->secret),
                                   request_database_name(&stream->database), version, &targets, room);
  return str_make(room, len);
}

/* ---- Targets ---- */

static struct listen_target *target_of(const struct change_event *event) {
  return (struct listen_target *)(void *)event->target; /* its first member */
}

static size_t find_target(const struct listen_stream *stream, int32_t id) {
  size_t at = 0;
  while (at < stream->target_count && stream->targets[at]->id != id)
    at++;
  return at;
}

static void end_evaluation(struct listen_stream *stream) {
  listen_evaluation_end(&stream->evaluation);
  listen_give_place(stream);
}

static void drop_target(struct listen_stream *stream, size_t at) {
  struct listen_target *target = stream->targets[at];
  assert(target != NULL);
  if (stream->evaluation.target == target)
    end_evaluation(stream);
  change_target_remove(&target->watch);
  stream->once_over -= target->over;
  if (stream->once_due > stream->once_over)
    stream->once_due = stream->once_over;
  /* Those that still have to catch up stay in front. */
  if (at < stream->to_catch_up) {
    stream->to_catch_up--;
    stream->targets[at] = stream->targets[stream->to_catch_up];
    at = stream->to_catch_up;
  }
  stream->targets[at] = stream->targets[--stream->target_count];
  if (stream->to_judge > 0)
    stream->to_judge = stream->target_count; /* another one may stand there now */
  listen_target_free(target);
}

/* Verdicts on a target end it alone; everything else is the server's condition and ends the stream, or SDKs
 * would show their users an error where waiting helps. */
static bool is_verdict(const status *why) {
  return why->code == STATUS_INVALID_ARGUMENT || why->code == STATUS_PERMISSION_DENIED ||
         why->code == STATUS_NOT_FOUND || why->code == STATUS_FAILED_PRECONDITION ||
         why->code == STATUS_UNIMPLEMENTED || why->code == STATUS_UNAUTHENTICATED;
}

static int32_t choose_id(struct listen_stream *stream) {
  if (stream->next_id < FIRST_SERVER_ID)
    stream->next_id = FIRST_SERVER_ID;
  do
    stream->next_id = stream->next_id == INT32_MAX ? FIRST_SERVER_ID : stream->next_id + 1;
  while (find_target(stream, stream->next_id) < stream->target_count);
  return stream->next_id;
}

/* One whose id was to be chosen gets one to end with: without an id the message would be about all targets.
 */
static status remove_with_cause(struct listen_stream *stream, int32_t id, const status *why, enum step *ret) {
  if (id == 0)
    id = choose_id(stream);
  size_t at = find_target(stream, id);
  if (at < stream->target_count)
    drop_target(stream, at);
  struct listen_target_news news = {.type = LISTEN_REMOVE, .target_id = id, .cause = why};
  return send_news(stream, &news, ret);
}

static bool make_room(struct listen_stream *stream) {
  if (stream->target_count < stream->target_capacity)
    return true;
  size_t capacity = stream->target_capacity == 0 ? 4 : stream->target_capacity * 2;
  struct listen_target **targets = realloc(stream->targets, capacity * sizeof *targets);
  if (targets == NULL)
    return false;
  stream->targets = targets;
  stream->target_capacity = capacity;
  return true;
}

/* Takes the target. */
static status add_target(struct listen_stream *stream, struct listen_target *target, enum step *ret) {
  status why = status_ok();
  if (target->id != 0 && find_target(stream, target->id) < stream->target_count)
    why = status_make(STATUS_INVALID_ARGUMENT, "The target id %d is in use on this stream.", (int)target->id);
  else if (stream->target_count >= LIMIT_LISTEN_TARGETS)
    why = status_make(STATUS_FAILED_PRECONDITION, "A stream has at most %d targets.", LIMIT_LISTEN_TARGETS);
  if (!status_is_ok(&why)) {
    int32_t id = target->id;
    listen_target_free(target);
    return remove_with_cause(stream, id, &why, ret);
  }
  if (!make_room(stream)) {
    listen_target_free(target);
    return no_memory();
  }
  if (target->id == 0)
    target->id = choose_id(stream);
  stream->targets[stream->target_count++] = target;
  if (target->judged_generation != stream->caller->generation)
    stream->to_judge = stream->target_count;
  STATUS_TRY(change_target_add(&stream->listener, &target->watch));
  struct listen_target_news news = {.type = LISTEN_ADD, .target_id = target->id};
  return send_news(stream, &news, ret);
}

/* Also of one that is not there: the client may have sent this before it heard that the target is gone. */
static status remove_target(struct listen_stream *stream, int32_t id, enum step *ret) {
  size_t at = find_target(stream, id);
  if (at < stream->target_count)
    drop_target(stream, at);
  struct listen_target_news news = {.type = LISTEN_REMOVE, .target_id = id};
  return send_news(stream, &news, ret);
}

/* ---- Who the client is ---- */

/* The token expired, or the rules changed: another caller, or the end. */
static status renew_caller(struct listen_stream *stream) {
  if (stream->caller == NULL || !access_caller_is_stale(stream->caller))
    return status_ok();
  struct access_caller *caller;
  STATUS_TRY(access_caller_new(stream->caller->access, stream->call, &caller));
  pthread_mutex_lock(&stream->mutex);
  struct access_caller *old = stream->caller;
  stream->caller = caller;
  pthread_mutex_unlock(&stream->mutex);
  access_caller_unref(old);
  stream->to_judge = stream->target_count;
  return status_ok();
}

static status judge_again(struct listen_stream *stream, enum step *ret) {
  struct listen_target *target = stream->targets[--stream->to_judge];
  *ret = STEP_AGAIN;
  target->judged_generation = stream->caller->generation;
  status result = target->refused
                      ? status_default(STATUS_PERMISSION_DENIED)
                      : listen_target_judge(target, stream->caller, stream->all->service, &stream->database);
  if (status_is_ok(&result) || !is_verdict(&result))
    return result;
  return remove_with_cause(stream, target->id, &result, ret);
}

/* Before a target is sent what happened up to `version`: the documents that rules have read may have changed
 * (a role was taken away). */
static status judge_news(struct listen_stream *stream, struct listen_target *target, kv_version version) {
  if (target->refused)
    return status_default(STATUS_PERMISSION_DENIED);
  if (target->watch.query == NULL || target->judged_version == KV_LATEST || target->judged_version >= version)
    return status_ok();
  return listen_target_judge(target, stream->caller, stream->all->service, &stream->database);
}

/* The same of a document's news; of a target that names it, what it is now decides. */
static status judge_event(struct listen_stream *stream, const struct change_event *event) {
  const struct change_document *document = event->document;
  struct listen_target *target = target_of(event);
  if (target->watch.query != NULL || target->refused)
    return judge_news(stream, target, event->version);
  return listen_target_judge_document(stream->caller, document->name,
                                      document->exists ? &document->record.fields : NULL);
}

/* ---- Evaluations ---- */

static status begin_evaluation(struct listen_stream *stream, struct listen_target *target, kv_version version,
                               bool is_added, enum step *ret) {
  stream->evaluates_added = is_added;
  status judged = judge_news(stream, target, version);
  if (!status_is_ok(&judged))
    return is_verdict(&judged) ? remove_with_cause(stream, target->id, &judged, ret) : judged;
  status result = listen_evaluation_begin(&stream->evaluation, stream->all->service, &stream->all->budget,
                                          target, version);
  if (result.code == STATUS_FAILED_PRECONDITION)
    result = status_make(STATUS_UNAVAILABLE, "The client was too slow for the history that is kept.");
  *ret = STEP_AGAIN;
  return result;
}

static status evaluated(struct listen_stream *stream, enum step *ret) {
  struct listen_target *target = stream->evaluation.target;
  kv_version version = stream->evaluation.version;
  bool tell = stream->evaluates_added || stream->evaluation.sent_reset;
  end_evaluation(stream);
  target->evaluated = true;
  target->known = version;
  *ret = STEP_AGAIN;
  if (!tell)
    return status_ok();
  if (target->once && !target->over) {
    target->over = true;
    stream->once_over++;
  }
  uint8_t token[RESUME_TOKEN_BYTES_MAX];
  struct listen_target_news news = {.type = LISTEN_CURRENT,
                                    .target_id = target->id,
                                    .token = token_of(stream, target, version, token),
                                    .read_us = version};
  return send_news(stream, &news, ret);
}

static status step_evaluation(struct listen_stream *stream, enum step *ret) {
  if (!listen_may_evaluate(stream)) {
    listen_evaluation_pause(&stream->evaluation);
    *ret = STEP_BLOCKED;
    return status_ok();
  }
  enum listen_step step;
  rpc_message message;
  status result = listen_evaluation_step(&stream->evaluation, stream->caller, &step, &message);
  if (!status_is_ok(&result)) {
    int32_t id = stream->evaluation.target->id;
    return is_verdict(&result) ? remove_with_cause(stream, id, &result, ret) : result;
  }
  if (step == LISTEN_END)
    return evaluated(stream, ret);
  *ret = step == LISTEN_MESSAGE ? send_message(stream, &message) : STEP_AGAIN;
  return status_ok();
}

/* After CHANGE_LOST: what a target's client has is the answer as of the last snapshot, and some of what came
 * later. */
static status catch_up(struct listen_stream *stream, enum step *ret) {
  struct listen_target *target = stream->targets[--stream->to_catch_up];
  if (target->evaluated && target->known < stream->read_version)
    target->known = stream->read_version;
  return begin_evaluation(stream, target, stream->catch_up_version, !target->evaluated, ret);
}

static status lost(struct listen_stream *stream, enum step *ret) {
  stream->catch_up_version = change_listener_recover(&stream->listener);
  stream->to_catch_up = stream->target_count;
  *ret = STEP_AGAIN;
  return status_ok();
}

/* ---- Events ---- */

/* The targets of one message about a document. */
struct addressees {
  int32_t in[MERGED_MAX], out[MERGED_MAX];
  size_t in_count, out_count;
};

/* A target that may not have the news ends after the message. */
static status address(struct listen_stream *stream, const struct change_event *event,
                      struct addressees *addressees) {
  struct listen_target *target = target_of(event);
  status judged = judge_event(stream, event);
  if (!status_is_ok(&judged) && !is_verdict(&judged))
    return judged;
  if (!status_is_ok(&judged)) {
    target->refused = true;
    stream->to_judge = stream->target_count;
  } else if (event->kind == CHANGE_MATCHED) {
    addressees->in[addressees->in_count++] = target->id;
  } else {
    addressees->out[addressees->out_count++] = target->id;
  }
  return status_ok();
}

static status document_message(const struct change_document *document, const struct doc_mask *mask,
                               const struct addressees *addressees, kv_version version, rpc_message *ret) {
  struct listen_ids in = {addressees->in, addressees->in_count};
  struct listen_ids out = {addressees->out, addressees->out_count};
  struct doc_record record = document->record;
  struct arena arena;
  arena_init(&arena, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  status result = in.count > 0 ? request_project(&record, mask, &arena) : status_ok();
  bool made = false;
  if (status_is_ok(&result))
    made = in.count > 0 ? listen_message_change(document->name, &record, in, out, ret)
                        : listen_message_gone(document->name, document->exists, out, version, ret);
  arena_fini(&arena);
  STATUS_TRY(result);
  return made ? status_ok() : no_memory();
}

/* One document's news for all targets of the stream: the matcher puts them next to each other. Takes the
 * event. */
static status send_document(struct listen_stream *stream, struct change_event *event, enum step *ret) {
  struct addressees addressees = {.in_count = 0};
  struct change_document *document = event->document;
  const struct doc_mask *mask = target_of(event)->request.mask;
  status result = status_ok();
  do
    result = address(stream, event, &addressees);
  while (status_is_ok(&result) && mask == NULL && addressees.in_count + addressees.out_count < MERGED_MAX &&
         change_listener_take_same(&stream->listener, document, event));
  bool has_addressees = addressees.in_count + addressees.out_count > 0;
  rpc_message message;
  if (status_is_ok(&result) && has_addressees)
    result = document_message(document, mask, &addressees, event->version, &message);
  change_document_release(document);
  STATUS_TRY(result);
  *ret = has_addressees ? send_message(stream, &message) : STEP_AGAIN;
  return status_ok();
}

/* A target that was asked for once and is current. */
static status remove_over(struct listen_stream *stream, enum step *ret) {
  size_t at = 0;
  while (!stream->targets[at]->over)
    at++;
  return remove_target(stream, stream->targets[at]->id, ret);
}

static status snapshot(struct listen_stream *stream, kv_version version, enum step *ret) {
  assert(version >= stream->read_version);
  *ret = STEP_AGAIN;
  if (change_listener_is_next_added(&stream->listener))
    return status_ok(); /* more targets are on their way: one snapshot for all */
  stream->read_version = version;
  stream->once_due = stream->once_over;
  uint8_t token[RESUME_TOKEN_BYTES_MAX];
  struct listen_target_news news = {
      .type = LISTEN_NO_CHANGE, .token = token_of(stream, NULL, version, token), .read_us = version};
  return send_news(stream, &news, ret);
}

static status step_event(struct listen_stream *stream, enum step *ret) {
  struct change_event event;
  *ret = STEP_IDLE;
  if (!change_listener_take(&stream->listener, &event))
    return status_ok();
  struct listen_target *target = target_of(&event);
  status result;
  switch (event.kind) {
  case CHANGE_ADDED:
    result = begin_evaluation(stream, target, event.version, true, ret);
    break;
  case CHANGE_TOUCHED:
    result = begin_evaluation(stream, target, event.version, false, ret);
    break;
  case CHANGE_MATCHED:
  case CHANGE_LEFT:
    result = send_document(stream, &event, ret);
    break;
  case CHANGE_SNAPSHOT:
    result = snapshot(stream, event.version, ret);
    break;
  case CHANGE_LOST:
  default:
    result = lost(stream, ret);
    break;
  }
  return result;
}

/* ---- The inbox ---- */

void listen_request_free(struct listen_request *request) {
  if (request == NULL)
    return;
  listen_target_free(request->target);
  free(request);
}

static struct listen_request *take_request(struct listen_stream *stream) {
  pthread_mutex_lock(&stream->mutex);
  struct listen_request *request = stream->inbox;
  bool receive = false;
  if (request != NULL) {
    stream->inbox = request->next;
    if (stream->inbox == NULL)
      stream->inbox_end = &stream->inbox;
    stream->inbox_count--;
    receive = !stream->is_receiving && !stream->half_closed && !stream->has_end &&
              stream->inbox_count < LIMIT_LISTEN_INBOX / 2;
    stream->is_receiving = stream->is_receiving || receive;
  }
  pthread_mutex_unlock(&stream->mutex);
  if (receive)
    rpc_call_receive_next(stream->call);
  return request;
}

static status step_request(struct listen_stream *stream, struct listen_request *request, enum step *ret) {
  struct listen_target *target = request->target;
  status result;
  request->target = NULL;
  if (request->kind == LISTEN_REQUEST_ADD)
    result = add_target(stream, target, ret);
  else if (request->kind == LISTEN_REQUEST_REMOVE)
    result = remove_target(stream, request->id, ret);
  else
    result = remove_with_cause(stream, request->id, &request->why, ret);
  listen_request_free(request);
  return result;
}

/* ---- A turn ---- */

static status step(struct listen_stream *stream, enum step *ret) {
  if (stream->has_unsent) {
    *ret = send_unsent(stream);
    return status_ok();
  }
  struct listen_request *request = take_request(stream);
  if (request != NULL)
    return step_request(stream, request, ret);
  if (stream->to_judge > 0)
    return judge_again(stream, ret);
  if (stream->once_due > 0)
    return remove_over(stream, ret);
  if (stream->evaluation.target != NULL)
    return step_evaluation(stream, ret);
  if (stream->to_catch_up > 0)
    return catch_up(stream, ret);
  return step_event(stream, ret);
}

/* Whether the stream is to end now: the client is gone, or all that it sent is answered. */
static bool is_ended(struct listen_stream *stream, bool idle, status *ret) {
  pthread_mutex_lock(&stream->mutex);
  bool answered = stream->inbox == NULL;
  bool ended =
      stream->cancelled || (stream->has_end && answered) || (stream->half_closed && answered && idle);
  *ret = stream->cancelled ? status_default(STATUS_CANCELLED) : stream->has_end ? stream->end : status_ok();
  pthread_mutex_unlock(&stream->mutex);
  return ended;
}

/* What SDKs shall try again, they hear as such. */
static status stream_status(status result) {
  if (result.code != STATUS_OK && result.code != STATUS_CANCELLED && result.code != STATUS_INVALID_ARGUMENT &&
      result.code != STATUS_RESOURCE_EXHAUSTED && result.code != STATUS_NOT_FOUND &&
      result.code != STATUS_PERMISSION_DENIED && result.code != STATUS_UNAUTHENTICATED)
    result.code = STATUS_UNAVAILABLE;
  return result;
}

static enum listen_turn run(struct listen_stream *stream, status *ret_end) {
  enum step last = STEP_AGAIN;
  status renewed = renew_caller(stream);
  if (!status_is_ok(&renewed)) {
    *ret_end = stream_status(renewed);
    return LISTEN_FINISH;
  }
  for (unsigned i = 0; i < TURN_STEPS && last == STEP_AGAIN; i++) {
    if (is_ended(stream, false, ret_end))
      return LISTEN_FINISH;
    status result = step(stream, &last);
    if (!status_is_ok(&result)) {
      *ret_end = stream_status(result);
      return LISTEN_FINISH;
    }
  }
  if (last == STEP_IDLE && is_ended(stream, true, ret_end))
    return LISTEN_FINISH;
  if (stream->evaluation.target != NULL)
    listen_evaluation_pause(&stream->evaluation);
  if (last == STEP_BLOCKED && stream->has_unsent)
    listen_give_place(stream);
  return last == STEP_AGAIN ? LISTEN_MORE : LISTEN_REST;
}

/* A change and its snapshot go out together. */
enum listen_turn listen_stream_run(struct listen_stream *stream, status *ret_end) {
  rpc_call_cork(stream->call);
  enum listen_turn turn = run(stream, ret_end);
  rpc_call_uncork(stream->call);
  return turn;
}

void listen_stream_fini(struct listen_stream *stream) {
  if (stream->evaluation.target != NULL)
    end_evaluation(stream);
  while (stream->target_count > 0)
    drop_target(stream, stream->target_count - 1);
  free(stream->targets);
  stream->targets = NULL;
  if (stream->has_unsent)
    rpc_message_discard(&stream->unsent);
  stream->has_unsent = false;
  change_listener_fini(&stream->listener);
}
