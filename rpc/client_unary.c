/* One request, one response: everything is one batch with one completion. A blocking call waits for it and
 * decodes on its own thread; one with `done` is finished on the client's thread. */
#include <assert.h>
#include <grpc/byte_buffer.h>
#include <stdlib.h>

#include "rpc/client_call.h"

struct unary {
  struct rpc_client_completion completion;
  struct rpc_client_call call;
  grpc_byte_buffer *request, *response;
};

struct blocking {
  struct unary unary;
  pthread_mutex_t mutex; /* guards is_complete */
  pthread_cond_t complete;
  bool is_complete;
};

struct async {
  struct unary unary;
  void (*done)(void *argument, const status *result, const void *response);
  void *argument;
};

static void start(struct unary *unary, struct rpc_client *client, const struct rpc_method *method,
                  const struct rpc_client_options *options, const void *request) {
  struct rpc_client_call *call = &unary->call;
  unary->response = NULL;
  rpc_client_call_init(call, client, method, options);
  unary->request = rpc_client_call_encode(call, request);
  grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = call->headers_flags}};
  ops[0].data.send_initial_metadata.count = call->header_count;
  ops[0].data.send_initial_metadata.metadata = call->headers;
  ops[1].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  ops[2].op = GRPC_OP_RECV_INITIAL_METADATA;
  ops[2].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
  ops[3].op = GRPC_OP_RECV_MESSAGE;
  ops[3].data.recv_message.recv_message = &unary->response;
  ops[4].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
  ops[4].data.recv_status_on_client.trailing_metadata = &call->trailing;
  ops[4].data.recv_status_on_client.status = &call->code;
  ops[4].data.recv_status_on_client.status_details = &call->message;
  size_t count = 5;
  if (unary->request != NULL) {
    ops[count].op = GRPC_OP_SEND_MESSAGE;
    ops[count++].data.send_message.send_message = unary->request;
  }
  rpc_client_call_start(call, ops, count, &unary->completion);
}

static status finish(struct unary *unary, struct arena *arena, const void **ret_response) {
  const void *response = NULL;
  status result = rpc_client_call_result(&unary->call);
  if (!status_is_ok(&result)) {
    if (unary->response != NULL)
      grpc_byte_buffer_destroy(unary->response);
  } else if (unary->response == NULL) {
    result =
        status_make(STATUS_INTERNAL, "%s ended with OK and without a response.", unary->call.method->path);
  } else if (!rpc_client_call_decode(&unary->call, unary->response, arena, &response)) {
    result = rpc_client_call_result(&unary->call);
  }
  if (unary->request != NULL)
    grpc_byte_buffer_destroy(unary->request);
  if (status_is_ok(&result))
    *ret_response = response;
  return result;
}

/* ---- Blocking ---- */

static void wake(struct rpc_client_completion *completion, bool ok) {
  (void)ok;
  struct blocking *blocking = (void *)completion;
  pthread_mutex_lock(&blocking->mutex);
  blocking->is_complete = true;
  pthread_cond_signal(&blocking->complete);
  pthread_mutex_unlock(&blocking->mutex);
}

status rpc_client_unary(struct rpc_client *client, const struct rpc_method *method,
                        const struct rpc_client_options *options, const void *request, struct arena *arena,
                        const void **ret_response) {
  assert(!pthread_equal(pthread_self(), client->thread)); /* it would wait for itself */
  struct blocking blocking = {.unary.completion.run = wake, .is_complete = false};
  pthread_mutex_init(&blocking.mutex, NULL);
  pthread_cond_init(&blocking.complete, NULL);
  start(&blocking.unary, client, method, options, request);
  pthread_mutex_lock(&blocking.mutex);
  while (!blocking.is_complete)
    pthread_cond_wait(&blocking.complete, &blocking.mutex);
  pthread_mutex_unlock(&blocking.mutex);
  pthread_cond_destroy(&blocking.complete);
  pthread_mutex_destroy(&blocking.mutex);
  status result = finish(&blocking.unary, arena, ret_response);
  rpc_client_call_release(&blocking.unary.call);
  return result;
}

/* ---- With a function at the end ---- */

static void run_done(struct rpc_client_completion *completion, bool ok) {
  (void)ok;
  struct async *async = (struct async *)completion;
  struct arena *arena = &async->unary.call.client->responses;
  const void *response = NULL;
  status result = finish(&async->unary, arena, &response);
  async->done(async->argument, &result, response);
  arena_reset(arena);
  rpc_client_call_release(&async->unary.call);
  free(async);
}

void rpc_client_unary_start(struct rpc_client *client, const struct rpc_method *method,
                            const struct rpc_client_options *options, const void *request,
                            void (*done)(void *argument, const status *result, const void *response),
                            void *argument) {
  struct async *async = malloc(sizeof *async);
  /* The failure has to reach `done` on the client's thread, and what would carry it there is what we lack. */
  if (async == NULL)
    abort();
  async->unary.completion.run = run_done;
  async->done = done;
  async->argument = argument;
  start(&async->unary, client, method, options, request);
}
