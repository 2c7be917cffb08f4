/* The ceiling: a bare echo on gRPC core's C API, with nothing of ours but the loop. Each connection is
 * accepted here and handed over, each completion queue has its thread, a method is registered with its
 * payload, one final batch answers.
 *
 *   bare_echo ADDRESS_V4 PORT THREADS     prints "listening on ADDRESS:PORT" and serves until it is killed
 *
 * It answers /skerry.test.v1.Echo/Unary with the request's bytes. */
#include <arpa/inet.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { SLOTS = 64, THREADS_MAX = 64 };

struct queue {
  grpc_server *server;
  void *method;
  grpc_completion_queue *cq;
};

struct call {
  struct queue *queue;
  grpc_call *call;
  gpr_timespec deadline;
  grpc_metadata_array metadata;
  grpc_byte_buffer *payload;
  int cancelled;
  bool is_answered;
};

static void request(struct call *call) {
  call->is_answered = false;
  grpc_metadata_array_init(&call->metadata);
  grpc_server_request_registered_call(call->queue->server, call->queue->method, &call->call, &call->deadline,
                                      &call->metadata, &call->payload, call->queue->cq, call->queue->cq,
                                      call);
}

static void answer(struct call *call) {
  call->is_answered = true;
  grpc_op ops[4] = {
      {.op = GRPC_OP_SEND_INITIAL_METADATA},
      {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->payload},
      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &call->cancelled}};
  grpc_call_start_batch(call->call, ops, 4, call, NULL);
}

static void *serve(void *argument) {
  struct queue *queue = argument;
  struct call *calls = calloc(SLOTS, sizeof *calls);
  for (int i = 0; calls != NULL && i < SLOTS; i++) {
    calls[i].queue = queue;
    request(&calls[i]);
  }
  for (;;) {
    grpc_event event = grpc_completion_queue_next(queue->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    if (event.type != GRPC_OP_COMPLETE)
      return NULL;
    struct call *call = event.tag;
    if (!call->is_answered && event.success != 0 && call->payload != NULL) {
      answer(call);
      continue;
    }
    grpc_byte_buffer_destroy(call->payload);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_call_unref(call->call);
    request(call);
  }
}

static int listen_on(const char *host, const char *port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
  socklen_t size = sizeof address;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || bind(fd, (struct sockaddr *)&address, size) != 0 ||
      listen(fd, 512) != 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
    perror("listen");
    exit(1);
  }
  printf("listening on %s:%u\n", host, ntohs(address.sin_port));
  fflush(stdout);
  return fd;
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
  void *method = grpc_server_register_method(server, "/skerry.test.v1.Echo/Unary", NULL,
                                             GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  static struct queue queues[THREADS_MAX];
  for (unsigned long i = 0; i < threads; i++) {
    queues[i] = (struct queue){server, method, grpc_completion_queue_create_for_next(NULL)};
    grpc_server_register_completion_queue(server, queues[i].cq, NULL);
  }
  grpc_server_start(server);
  for (unsigned long i = 0; i < threads; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, serve, &queues[i]);
  }
  grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
  int listener = listen_on(argv[1], argv[2]);
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (fd < 0)
      continue;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    grpc_server_add_channel_from_fd(server, fd, credentials);
  }
}
