#include "rpc/client_test_server.h"

#include <assert.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/tsan.h"

enum { STREAMS_MAX = 100, PADDED_BYTES = 1000 };

struct test_server {
  grpc_server *core;
  grpc_completion_queue *queue; /* new calls and the shutdown */
  pthread_t thread;
  int port;
  atomic_int playing;
};

struct play {
  struct test_server *server;
  grpc_call *call;
  grpc_completion_queue *queue; /* of this call alone */
  grpc_call_details details;
  grpc_metadata_array headers;
  grpc_metadata answer;
  bool has_answer;
};

static bool run_batch(struct play *play, const grpc_op *ops, size_t count) {
  grpc_call_error error = grpc_call_start_batch(play->call, ops, count, play, NULL);
  assert(error == GRPC_CALL_OK);
  (void)error;
  return grpc_completion_queue_pluck(play->queue, play, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).success !=
         0;
}

static void send_headers(struct play *play) {
  grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
  if (play->has_answer) {
    play->answer.key = grpc_slice_from_static_string("x-answer");
    op.data.send_initial_metadata.count = 1;
    op.data.send_initial_metadata.metadata = &play->answer;
  }
  run_batch(play, &op, 1);
}

/* NULL: half-closed or over. The caller destroys it. */
static grpc_byte_buffer *receive(struct play *play) {
  grpc_byte_buffer *message = NULL;
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
  op.data.recv_message.recv_message = &message;
  run_batch(play, &op, 1);
  return message;
}

/* Takes the message. */
static bool send_message(struct play *play, grpc_byte_buffer *message) {
  grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
  op.data.send_message.send_message = message;
  bool ok = run_batch(play, &op, 1);
  grpc_byte_buffer_destroy(message);
  return ok;
}

static bool send_text(struct play *play, const char *text, size_t len) {
  grpc_slice slice = grpc_slice_from_copied_buffer(text, len);
  grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return send_message(play, message);
}

static void finish(struct play *play, grpc_status_code code, const char *text, const char *details) {
  grpc_slice message = grpc_slice_from_static_string(text);
  grpc_metadata trailer = {.key = grpc_slice_from_static_string("grpc-status-details-bin")};
  grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
  op.data.send_status_from_server.status = code;
  op.data.send_status_from_server.status_details = &message;
  op.data.send_status_from_server.trailing_metadata = &trailer;
  if (details != NULL) {
    trailer.value = grpc_slice_from_static_string(details);
    op.data.send_status_from_server.trailing_metadata_count = 1;
  } else if (play->has_answer) {
    trailer.key = grpc_slice_from_static_string("x-answer-bin");
    trailer.value = play->answer.value;
    op.data.send_status_from_server.trailing_metadata_count = 1;
  }
  run_batch(play, &op, 1);
}

static void wait_for_cancel(struct play *play) {
  int cancelled = 0;
  grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
  op.data.recv_close_on_server.cancelled = &cancelled;
  run_batch(play, &op, 1);
}

static void play_count(struct play *play) {
  grpc_byte_buffer *request = receive(play);
  if (request == NULL)
    return;
  grpc_byte_buffer_reader reader;
  grpc_byte_buffer_reader_init(&reader, request);
  grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
  grpc_byte_buffer_reader_destroy(&reader);
  char *text = grpc_slice_to_c_string(slice);
  grpc_slice_unref(slice);
  grpc_byte_buffer_destroy(request);
  long count = strtol(text, NULL, 10);
  gpr_free(text);
  bool ok = true;
  for (long i = 0; ok && i < count; i++) {
    char message[PADDED_BYTES] = {0};
    snprintf(message, sizeof message, "%ld", i);
    ok = send_text(play, message, sizeof message);
  }
}

static void play_sum(struct play *play) {
  size_t messages = 0, bytes = 0;
  for (grpc_byte_buffer *message; (message = receive(play)) != NULL; messages++) {
    bytes += grpc_byte_buffer_length(message);
    grpc_byte_buffer_destroy(message);
  }
  char text[64];
  int len = snprintf(text, sizeof text, "%zu %zu", messages, bytes);
  send_text(play, text, (size_t)len);
}

static void play_echo(struct play *play, bool many) {
  grpc_byte_buffer *message = receive(play);
  while (message != NULL && send_message(play, message) && many)
    message = receive(play);
}

static void play_method(struct play *play) {
  char *path = grpc_slice_to_c_string(play->details.method);
  const char *name = strrchr(path, '/') + 1;
  for (size_t i = 0; i < play->headers.count; i++)
    if (grpc_slice_str_cmp(play->headers.metadata[i].key, "x-ask") == 0) {
      play->has_answer = true;
      play->answer.value = play->headers.metadata[i].value;
    }
  send_headers(play);
  const char *details = NULL, *text = "";
  grpc_status_code code = GRPC_STATUS_OK;
  if (strcmp(name, "Echo") == 0 || strcmp(name, "Chat") == 0) {
    play_echo(play, strcmp(name, "Chat") == 0);
  } else if (strcmp(name, "Count") == 0) {
    play_count(play);
  } else if (strcmp(name, "Sum") == 0) {
    play_sum(play);
  } else if (strcmp(name, "Wait") == 0 || strcmp(name, "Once") == 0) {
    if (strcmp(name, "Once") == 0)
      send_text(play, "only", 4);
    wait_for_cancel(play);
  } else {
    code = GRPC_STATUS_NOT_FOUND;
    text = "there is no such thing";
    details = "details";
  }
  gpr_free(path);
  finish(play, code, text, details);
}

static void end_play(struct play *play) {
  if (play->call != NULL)
    grpc_call_unref(play->call);
  grpc_call_details_destroy(&play->details);
  grpc_metadata_array_destroy(&play->headers);
  grpc_completion_queue_shutdown(play->queue);
  grpc_completion_queue_destroy(play->queue);
  atomic_int *playing = &play->server->playing;
  free(play);
  atomic_fetch_sub(playing, 1);
}

static void *run_play(void *argument) {
  play_method(argument);
  end_play(argument);
  return NULL;
}

static void ask_for_call(struct test_server *server) {
  struct play *play = calloc(1, sizeof *play);
  assert(play != NULL);
  play->server = server;
  play->queue = grpc_completion_queue_create_for_pluck(NULL);
  grpc_call_details_init(&play->details);
  grpc_metadata_array_init(&play->headers);
  atomic_fetch_add(&server->playing, 1);
  RPC_TSAN_RELEASE(play);
  grpc_call_error error = grpc_server_request_call(server->core, &play->call, &play->details, &play->headers,
                                                   play->queue, server->queue, play);
  assert(error == GRPC_CALL_OK);
  (void)error;
}

static void *run_server(void *argument) {
  struct test_server *server = argument;
  for (;;) {
    grpc_event event = grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      return NULL;
    RPC_TSAN_ACQUIRE(event.tag);
    if (event.tag == server) { /* it is shut down */
      grpc_completion_queue_shutdown(server->queue);
    } else if (!event.success) {
      end_play(event.tag);
    } else {
      ask_for_call(server);
      pthread_t thread;
      int failed = pthread_create(&thread, NULL, run_play, event.tag);
      assert(failed == 0);
      (void)failed;
      pthread_detach(thread);
    }
  }
}

struct test_server *test_server_start(const char *address) {
  struct test_server *server = calloc(1, sizeof *server);
  assert(server != NULL);
  grpc_init();
  char key[] = GRPC_ARG_MAX_CONCURRENT_STREAMS, reuse[] = GRPC_ARG_ALLOW_REUSEPORT;
  grpc_arg args[] = {{GRPC_ARG_INTEGER, key, {.integer = STREAMS_MAX}},
                     {GRPC_ARG_INTEGER, reuse, {.integer = 0}}};
  grpc_channel_args all = {2, args};
  server->core = grpc_server_create(&all, NULL);
  server->queue = grpc_completion_queue_create_for_next(NULL);
  grpc_server_register_completion_queue(server->core, server->queue, NULL);
  grpc_server_credentials *plaintext = grpc_insecure_server_credentials_create();
  server->port = grpc_server_add_http2_port(server->core, address, plaintext);
  grpc_server_credentials_release(plaintext);
  grpc_server_start(server->core);
  ask_for_call(server);
  pthread_create(&server->thread, NULL, run_server, server);
  if (server->port == 0) {
    test_server_stop(server);
    return NULL;
  }
  return server;
}

int test_server_port(const struct test_server *server) {
  return server->port;
}

void test_server_stop(struct test_server *server) {
  grpc_server_shutdown_and_notify(server->core, server->queue, server);
  grpc_server_cancel_all_calls(server->core);
  pthread_join(server->thread, NULL);
  while (atomic_load(&server->playing) > 0)
    sched_yield();
  grpc_server_destroy(server->core);
  grpc_completion_queue_destroy(server->queue);
  free(server);
  grpc_shutdown();
}
