/* The ceiling: a bare echo on gRPC core's C API, with nothing of ours but the loop. Each connection is
 * accepted here and handed over, each completion queue has its thread, a method is registered with its
 * payload, one final batch answers.
 *
 *   bare_echo ADDRESS_V4 PORT THREADS     prints "listening on ADDRESS:PORT" and serves until it is killed
 *
 * It answers /skerry.test.v1.Echo/Unary with the request's bytes, and ServerStream with STREAM_MESSAGES times
 * those. */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bare_server.h"

enum { SLOTS = 64, THREADS_MAX = 64, STREAM_MESSAGES = 20 };

struct queue {
  grpc_server *server;
  void *unary, *stream; /* methods */
  grpc_completion_queue *cq;
};

struct call {
  struct queue *queue;
  void *method;
  grpc_call *call;
  gpr_timespec deadline;
  grpc_metadata_array metadata;
  grpc_byte_buffer *payload;
  int cancelled;
  int messages_left;
  bool is_begun;
};

static void request(struct call *call) {
  call->messages_left = call->method == call->queue->stream ? STREAM_MESSAGES : 1;
  call->is_begun = false;
  grpc_metadata_array_init(&call->metadata);
  grpc_server_request_registered_call(call->queue->server, call->method, &call->call, &call->deadline,
                                      &call->metadata, &call->payload, call->queue->cq, call->queue->cq,
                                      call);
}

/* One message more, with what goes before the first and after the last. A message that others follow waits
 * for them in gRPC's buffer; but not one that goes with the headers, which gRPC would then keep for ever. */
static void answer(struct call *call) {
  grpc_op ops[4];
  size_t count = 0;
  bool is_last = --call->messages_left == 0;
  uint32_t flags = call->is_begun && !is_last ? GRPC_WRITE_BUFFER_HINT : 0;
  /* Sending empties it. */
  grpc_byte_buffer *message = is_last ? call->payload : grpc_byte_buffer_copy(call->payload);
  if (!call->is_begun)
    ops[count++] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
  ops[count++] =
      (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .flags = flags, .data.send_message.send_message = message};
  if (is_last) {
    ops[count++] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    ops[count++] = (grpc_op){.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                             .data.recv_close_on_server.cancelled = &call->cancelled};
  }
  call->is_begun = true;
  grpc_call_start_batch(call->call, ops, count, call, NULL);
  if (!is_last)
    grpc_byte_buffer_destroy(message);
}

static void *serve(void *argument) {
  struct queue *queue = argument;
  struct call *calls = calloc(2 * SLOTS, sizeof *calls);
  for (int i = 0; calls != NULL && i < 2 * SLOTS; i++) {
    calls[i].queue = queue;
    calls[i].method = i < SLOTS ? queue->unary : queue->stream;
    request(&calls[i]);
  }
  for (;;) {
    grpc_event event = grpc_completion_queue_next(queue->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    if (event.type != GRPC_OP_COMPLETE)
      return NULL;
    struct call *call = event.tag;
    if (call->messages_left > 0 && event.success != 0 && call->payload != NULL) {
      answer(call);
      continue;
    }
    grpc_byte_buffer_destroy(call->payload);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_call_unref(call->call);
    request(call);
  }
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: %s ADDRESS_V4 PORT THREADS\n", argv[0]);
    return 2;
  }
  unsigned long threads = strtoul(argv[3], NULL, 10);
  if (threads < 1 || threads > THREADS_MAX)
    threads = 1;
  grpc_init();
  grpc_server *server = grpc_server_create(NULL, NULL);
  void *unary = grpc_server_register_method(server, "/skerry.test.v1.Echo/Unary", NULL,
                                            GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  void *stream = grpc_server_register_method(server, "/skerry.test.v1.Echo/ServerStream", NULL,
                                             GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  static struct queue queues[THREADS_MAX];
  for (unsigned long i = 0; i < threads; i++) {
    queues[i] = (struct queue){server, unary, stream, grpc_completion_queue_create_for_next(NULL)};
    grpc_server_register_completion_queue(server, queues[i].cq, NULL);
  }
  bare_server_start(server, argv[1], argv[2]);
  for (unsigned long i = 0; i < threads; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, serve, &queues[i]);
  }
  bare_server_accept(server, argv[1], argv[2]);
}
