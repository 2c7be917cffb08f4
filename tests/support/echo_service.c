#include "tests/support/echo_service.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "skerry/test/v1/test_service.skerry.h"

typedef Skerry__Test__V1__EchoRequest echo_request;
typedef Skerry__Test__V1__EchoResponse echo_response;
typedef Skerry__Test__V1__EchoResponse__MetadataEntry echo_metadata;

/* A call that does not end in its handler. In the call's arena. */
struct echo_call {
  struct rpc_call *call;
  struct echo_service *echo;
  const echo_request *request; /* NULL: none is being answered */
  int32_t index, left;
  bool half_closed, is_bidi, is_threaded;
  struct buf text, payload; /* of a client stream */
};

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void pause_us(int64_t us) {
  struct timespec time = {us / 1000000, (long)(us % 1000000) * 1000};
  nanosleep(&time, NULL);
}

static status requested_status(const echo_request *request) {
  int code = request->status_code < 0 || request->status_code > STATUS_CODE_MAX ? STATUS_UNKNOWN
                                                                                : request->status_code;
  return status_make((enum status_code)code, "%s", request->status_message);
}

/* ---- Metadata ---- */

static char *arena_text(struct arena *arena, str s) {
  return (char *)(uintptr_t)arena_str_copy(arena, s).ptr;
}

static bool fill_metadata(struct rpc_call *call, echo_response *response) {
  struct arena *arena = rpc_call_arena(call);
  str name, value;
  size_t count = 0;
  while (rpc_call_metadata_at(call, count, &name, &value))
    count++;
  response->metadata = ARENA_NEW_ARRAY(arena, echo_metadata *, count);
  for (size_t i = 0; response->metadata != NULL && i < count; i++) {
    echo_metadata *entry = ARENA_NEW(arena, echo_metadata);
    if (entry == NULL)
      return false;
    rpc_call_metadata_at(call, i, &name, &value);
    skerry__test__v1__echo_response__metadata_entry__init(entry);
    entry->key = arena_text(arena, name);
    entry->value = arena_text(arena, value);
    if (entry->key == NULL || entry->value == NULL)
      return false;
    response->metadata[i] = entry;
  }
  response->n_metadata = count;
  response->peer = arena_text(arena, str_from_cstr(rpc_call_peer(call)->address));
  return response->metadata != NULL && response->peer != NULL;
}

/* A header "echo-header: x" comes back as a header and a trailer "echo-trailer-bin" as a trailer. */
static void return_metadata(struct rpc_call *call) {
  str value;
  if (rpc_call_metadata(call, "echo-header", &value))
    rpc_call_add_header(call, "echo-header", value);
  if (rpc_call_metadata(call, "echo-trailer-bin", &value))
    rpc_call_add_trailer(call, "echo-trailer-bin", value);
}

static bool fill_response(struct rpc_call *call, const echo_request *request, int32_t index,
                          echo_response *response) {
  skerry__test__v1__echo_response__init(response);
  response->text = request->text;
  response->payload = request->payload;
  response->index = index;
  if (request->_maybe_case == SKERRY__TEST__V1__ECHO_REQUEST___MAYBE_MAYBE) {
    response->_maybe_case = SKERRY__TEST__V1__ECHO_RESPONSE___MAYBE_MAYBE;
    response->maybe = request->maybe;
  }
  return !request->echo_metadata || fill_metadata(call, response);
}

/* ---- Unary ---- */

static void answer_unary(struct rpc_call *call, const echo_request *request) {
  return_metadata(call);
  if (request->status_code != 0) {
    const struct rpc_detail detail = {"skerry.test.v1.EchoRequest", STR("\x0a\x06"
                                                                        "detail")};
    rpc_call_finish_with_details(call, requested_status(request), &detail, 1);
    return;
  }
  echo_response response;
  if (fill_response(call, request, 0, &response))
    skerry_test_v1_echo_unary_reply(call, &response);
  else
    rpc_call_finish(call, status_default(STATUS_RESOURCE_EXHAUSTED));
}

static void *unary_thread(void *argument) {
  struct echo_call *state = argument;
  struct echo_service *echo = state->echo;
  pause_us(state->request->delay_us);
  answer_unary(state->call, state->request);
  atomic_fetch_sub(&echo->threads, 1);
  return NULL;
}

/* ---- Turns ---- */

static void take_turn(struct rpc_call *call, void *argument) {
  struct echo_call *state = argument;
  int64_t until_us = now_us() + state->echo->turn_us;
  while (now_us() < until_us)
    ;
  atomic_fetch_add(&state->echo->turns, 1);
  if (--state->left > 0)
    rpc_call_yield(call);
  else
    answer_unary(call, state->request);
}

static void turns_cancelled(struct rpc_call *call, void *argument) {
  (void)argument;
  rpc_call_finish(call, status_default(STATUS_CANCELLED));
}

static const struct rpc_call_events turn_events = {.drained = take_turn, .cancelled = turns_cancelled};

/* ---- Streams of responses ---- */

/* Sends what is owed for the current request. False: the queue is full, `drained` goes on. */
static bool send_owed(struct echo_call *state) {
  while (state->left > 0) {
    if (state->is_threaded)
      pause_us(state->request->delay_us);
    echo_response response;
    enum rpc_send sent = RPC_SEND_CLOSED;
    if (fill_response(state->call, state->request, state->index, &response))
      sent = rpc_typed_send(state->call, &response);
    if (sent == RPC_SEND_FULL) {
      atomic_fetch_add(&state->echo->refused, 1);
      if (!state->is_threaded)
        return false;
      pause_us(1000);
      continue;
    }
    if (sent == RPC_SEND_CLOSED) {
      state->left = 0;
      return true;
    }
    state->index++;
    state->left--;
  }
  return true;
}

static void advance(struct echo_call *state) {
  if (state->request == NULL || !send_owed(state))
    return;
  const echo_request *request = state->request;
  state->request = NULL;
  if (request->status_code != 0)
    rpc_call_finish(state->call, requested_status(request));
  else if (rpc_call_is_cancelled(state->call))
    rpc_call_finish(state->call, status_default(STATUS_CANCELLED));
  else if (!state->is_bidi)
    rpc_call_finish(state->call, status_ok());
  else
    rpc_call_receive_next(state->call);
}

static void *stream_thread(void *argument) {
  struct echo_call *state = argument;
  struct echo_service *echo = state->echo;
  advance(state);
  atomic_fetch_sub(&echo->threads, 1);
  return NULL;
}

static void on_drained(struct rpc_call *call, void *argument) {
  (void)call;
  struct echo_call *state = argument;
  if (!state->is_threaded)
    advance(state);
}

static void on_cancelled(struct rpc_call *call, void *argument) {
  struct echo_call *state = argument;
  atomic_fetch_add(&state->echo->cancelled, 1);
  if (!state->is_threaded)
    rpc_call_finish(call, status_default(STATUS_CANCELLED));
}

static void on_released(void *argument) {
  struct echo_call *state = argument;
  buf_fini(&state->text);
  buf_fini(&state->payload);
  atomic_fetch_add(&state->echo->released, 1);
}

static const struct rpc_call_events stream_events = {on_drained, on_cancelled, on_released};

static struct echo_call *new_state(struct rpc_call *call, bool watch) {
  struct echo_call *state = ARENA_NEW(rpc_call_arena(call), struct echo_call);
  assert(state != NULL);
  state->call = call;
  state->echo = rpc_call_service(call);
  state->is_bidi = rpc_call_method(call)->kind == RPC_BIDI;
  if (watch)
    rpc_call_watch(call, &stream_events, state);
  return state;
}

/* The request's answers from now on. */
static void answer_stream(struct echo_call *state, const echo_request *request, bool may_thread) {
  state->request = request;
  state->left = request->repeat > 0 ? request->repeat : 1;
  state->is_threaded = may_thread && request->delay_us > 0;
  pthread_t thread;
  if (!state->is_threaded) {
    advance(state);
    return;
  }
  atomic_fetch_add(&state->echo->threads, 1);
  int failed = pthread_create(&thread, NULL, stream_thread, state);
  assert(failed == 0);
  pthread_detach(thread);
}

/* ---- Handlers ---- */

static void unary(struct rpc_call *call, const echo_request *request) {
  bool takes_turns = request->repeat > 0;
  if (request->delay_us <= 0 && !takes_turns) {
    answer_unary(call, request);
    return;
  }
  struct echo_call *state = new_state(call, false);
  state->request = request;
  if (takes_turns) {
    state->left = request->repeat;
    rpc_call_watch(call, &turn_events, state);
    rpc_call_yield(call);
    return;
  }
  atomic_fetch_add(&state->echo->threads, 1);
  pthread_t thread;
  int failed = pthread_create(&thread, NULL, unary_thread, state);
  assert(failed == 0);
  (void)failed;
  pthread_detach(thread);
}

static void server_stream(struct rpc_call *call, const echo_request *request) {
  return_metadata(call);
  answer_stream(new_state(call, true), request, true);
}

static void bidi_open(struct rpc_call *call) {
  return_metadata(call);
  new_state(call, true);
}

static void bidi_message(struct rpc_call *call, const echo_request *request) {
  answer_stream(rpc_call_state(call), request, false);
}

static void bidi_half_close(struct rpc_call *call) {
  rpc_call_finish(call, status_ok());
}

static void client_open(struct rpc_call *call) {
  return_metadata(call);
  new_state(call, true);
}

static void client_message(struct rpc_call *call, const echo_request *request) {
  struct echo_call *state = rpc_call_state(call);
  if (request->status_code != 0) {
    rpc_call_finish(call, requested_status(request));
    return;
  }
  state->index++;
  buf_append_str(&state->text, str_from_cstr(request->text));
  buf_append(&state->payload, request->payload.data, request->payload.len);
  rpc_call_receive_next(call);
}

static void client_half_close(struct rpc_call *call) {
  struct echo_call *state = rpc_call_state(call);
  buf_append_byte(&state->text, 0);
  echo_response response;
  skerry__test__v1__echo_response__init(&response);
  response.text = (char *)state->text.data;
  response.payload = (ProtobufCBinaryData){state->payload.len, state->payload.data};
  response.index = state->index;
  if (state->text.failed || state->payload.failed)
    rpc_call_finish(call, status_default(STATUS_RESOURCE_EXHAUSTED));
  else
    skerry_test_v1_echo_client_stream_reply(call, &response);
}

static const struct skerry_test_v1_echo_handlers handlers = {
    .unary = unary,
    .server_stream = server_stream,
    .client_stream = {client_open, client_message, client_half_close},
    .bidi = {bidi_open, bidi_message, bidi_half_close},
};

status echo_service_add(struct echo_service *echo, struct rpc_server *server) {
  return rpc_server_add_service(server, &skerry_test_v1_echo_service, &handlers, echo);
}

void echo_service_fini(struct echo_service *echo) {
  while (atomic_load(&echo->threads) > 0)
    sched_yield();
}
