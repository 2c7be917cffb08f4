/* The ceiling of live data: a message to all open streams on gRPC core's C API, with nothing of ours but the
 * loop.
 *
 *   bare_broadcast ADDRESS_V4 PORT THREADS
 *
 * /skerry.test.v1.Echo/Subscribe answers with the request and stays open; Broadcast (unary) sends its request
 * to all that are subscribed, each time followed by a message as short as a snapshot of Listen, and answers
 * as soon as at most AHEAD broadcasts are not with gRPC. A stream that is behind gets all that waits for it
 * one after the other, with the hint that more comes. */
#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bare_server.h"

enum { SLOTS = 256, THREADS_MAX = 64, WAITING = 64, SUBSCRIBED_MAX = 20000, SNAPSHOT_BYTES = 72, AHEAD = 4 };

/* A tag is a pointer to one of these. */
struct tag {
  void (*run)(struct tag *tag, bool ok);
};

struct queue {
  grpc_server *server;
  grpc_completion_queue *cq;
};

/* A call that may come. */
struct call {
  struct tag tag; /* first */
  struct queue *queue;
  void *method;
  grpc_call *call;
  gpr_timespec deadline;
  grpc_metadata_array metadata;
  grpc_byte_buffer *payload;
};

struct broadcast {
  struct tag tag;         /* first */
  atomic_int sends_left;  /* streams that have not sent it, and one until all have it */
  atomic_int users;       /* the sends, and the answer */
  struct broadcast *next; /* that waits for its answer */
  grpc_call *call;
  grpc_byte_buffer *message;
  int cancelled;
};

struct subscriber {
  struct tag tag; /* first: of a message that is sent */
  struct tag closed_tag;
  grpc_call *call;
  pthread_mutex_t mutex; /* all that follows */
  struct broadcast *waiting[WAITING];
  unsigned first, count;
  bool is_sending, owes_snapshot;
  struct broadcast *sent; /* whose snapshot is under way */
  int cancelled;
};

static void *subscribe_method, *broadcast_method;
static grpc_byte_buffer *snapshot;
static pthread_mutex_t subscribed_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct subscriber *subscribed[SUBSCRIBED_MAX];
static unsigned subscribed_count;

static void came(struct tag *tag, bool ok);

static void request(struct queue *queue, void *method) {
  struct call *call = calloc(1, sizeof *call);
  assert(call != NULL);
  *call = (struct call){.tag = {came}, .queue = queue, .method = method};
  grpc_metadata_array_init(&call->metadata);
  grpc_server_request_registered_call(queue->server, method, &call->call, &call->deadline, &call->metadata,
                                      &call->payload, queue->cq, queue->cq, call);
}

/* ---- Broadcasts ---- */

static pthread_mutex_t ahead_mutex = PTHREAD_MUTEX_INITIALIZER; /* of: */
static int ahead;
static struct broadcast *unanswered; /* one writer has one */

static void drop(struct broadcast *broadcast) {
  if (atomic_fetch_sub(&broadcast->users, 1) > 1)
    return;
  grpc_byte_buffer_destroy(broadcast->message);
  free(broadcast);
}

static void answered(struct tag *tag, bool ok) {
  (void)ok;
  struct broadcast *broadcast = (struct broadcast *)tag;
  grpc_call_unref(broadcast->call);
  drop(broadcast);
}

static void answer(struct broadcast *broadcast) {
  broadcast->tag.run = answered;
  grpc_byte_buffer *empty = grpc_raw_byte_buffer_create(NULL, 0);
  grpc_op ops[] = {
      {.op = GRPC_OP_SEND_INITIAL_METADATA},
      {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = empty},
      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &broadcast->cancelled}};
  grpc_call_start_batch(broadcast->call, ops, 4, broadcast, NULL);
  grpc_byte_buffer_destroy(empty);
}

/* Answers what may be answered, after `change` of those that are ahead. `new` may be NULL. */
static void count_ahead(int change, struct broadcast *new) {
  pthread_mutex_lock(&ahead_mutex);
  ahead += change;
  if (new != NULL) {
    new->next = unanswered;
    unanswered = new;
  }
  struct broadcast *due = ahead <= AHEAD ? unanswered : NULL;
  if (due != NULL)
    unanswered = NULL;
  pthread_mutex_unlock(&ahead_mutex);
  while (due != NULL) {
    struct broadcast *next = due->next;
    answer(due);
    due = next;
  }
}

static void done_with(struct broadcast *broadcast) {
  if (atomic_fetch_sub(&broadcast->sends_left, 1) > 1)
    return;
  count_ahead(-1, NULL);
  drop(broadcast);
}

/* Sends what is next. With the mutex, and lets go of it. */
static void send_next(struct subscriber *to) {
  grpc_byte_buffer *message = NULL;
  bool more = false;
  if (!to->is_sending && to->owes_snapshot) {
    to->owes_snapshot = false;
    message = snapshot;
    more = to->count > 0;
  } else if (!to->is_sending && to->count > 0) {
    to->sent = to->waiting[to->first];
    to->first = (to->first + 1) % WAITING;
    to->count--;
    to->owes_snapshot = more = true;
    message = to->sent->message;
  }
  to->is_sending = to->is_sending || message != NULL;
  pthread_mutex_unlock(&to->mutex);
  if (message == NULL)
    return;
  grpc_byte_buffer *copy = grpc_byte_buffer_copy(message); /* sending empties it; the bytes are shared */
  grpc_op op = {.op = GRPC_OP_SEND_MESSAGE,
                .flags = more ? GRPC_WRITE_BUFFER_HINT : 0,
                .data.send_message.send_message = copy};
  grpc_call_start_batch(to->call, &op, 1, to, NULL);
  grpc_byte_buffer_destroy(copy);
}

static void message_sent(struct tag *tag, bool ok) {
  (void)ok; /* a stream that has ended counts its broadcasts down all the same */
  struct subscriber *to = (struct subscriber *)tag;
  pthread_mutex_lock(&to->mutex);
  to->is_sending = false;
  struct broadcast *done = to->owes_snapshot ? NULL : to->sent;
  if (done != NULL)
    to->sent = NULL;
  send_next(to);
  if (done != NULL)
    done_with(done);
}

static void broadcast(struct call *call) {
  struct broadcast *broadcast = calloc(1, sizeof *broadcast);
  assert(broadcast != NULL);
  broadcast->call = call->call;
  broadcast->message = call->payload;
  call->payload = NULL;
  count_ahead(1, NULL);
  pthread_mutex_lock(&subscribed_mutex);
  atomic_init(&broadcast->sends_left, (int)subscribed_count + 1);
  atomic_init(&broadcast->users, 2);
  for (unsigned i = 0; i < subscribed_count; i++) {
    struct subscriber *to = subscribed[i];
    pthread_mutex_lock(&to->mutex);
    assert(to->count < WAITING);
    to->waiting[(to->first + to->count++) % WAITING] = broadcast;
    send_next(to);
  }
  pthread_mutex_unlock(&subscribed_mutex);
  count_ahead(0, broadcast);
  done_with(broadcast);
}

/* ---- Subscribers ---- */

static void closed(struct tag *tag, bool ok) {
  (void)ok;
  (void)tag; /* it stays in the list: this server serves one crowd and ends */
}

static void subscribe(struct call *call) {
  struct subscriber *new = calloc(1, sizeof *new);
  assert(new != NULL);
  *new = (struct subscriber){
      .tag = {message_sent}, .closed_tag = {closed}, .call = call->call, .is_sending = true};
  pthread_mutex_init(&new->mutex, NULL);
  pthread_mutex_lock(&subscribed_mutex);
  assert(subscribed_count < SUBSCRIBED_MAX);
  subscribed[subscribed_count++] = new;
  pthread_mutex_unlock(&subscribed_mutex);
  grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                   .data.recv_close_on_server.cancelled = &new->cancelled};
  grpc_call_start_batch(new->call, &close, 1, &new->closed_tag, NULL);
  grpc_op ops[] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                   {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->payload}};
  grpc_call_start_batch(new->call, ops, 2, new, NULL);
}

static void came(struct tag *tag, bool ok) {
  struct call *call = (void *)tag;
  if (!ok)
    return;
  request(call->queue, call->method);
  if (call->payload == NULL)
    grpc_call_unref(call->call);
  else if (call->method == subscribe_method)
    subscribe(call);
  else
    broadcast(call);
  grpc_byte_buffer_destroy(call->payload);
  grpc_metadata_array_destroy(&call->metadata);
  free(call);
}

static void *serve(void *argument) {
  struct queue *queue = argument;
  for (int i = 0; i < SLOTS; i++) {
    request(queue, subscribe_method);
    request(queue, broadcast_method);
  }
  for (;;) {
    grpc_event event = grpc_completion_queue_next(queue->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    if (event.type != GRPC_OP_COMPLETE)
      return NULL;
    struct tag *tag = event.tag;
    tag->run(tag, event.success != 0);
  }
}

/* A ListenResponse with a TargetChange of unknown content. */
static void make_snapshot(void) {
  uint8_t bytes[SNAPSHOT_BYTES] = {2 << 3 | 2, SNAPSHOT_BYTES - 2, 15 << 3 | 2, SNAPSHOT_BYTES - 4};
  grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes, sizeof bytes);
  snapshot = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
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
  make_snapshot();
  grpc_server *server = grpc_server_create(NULL, NULL);
  subscribe_method = grpc_server_register_method(server, "/skerry.test.v1.Echo/Subscribe", NULL,
                                                 GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  broadcast_method = grpc_server_register_method(server, "/skerry.test.v1.Echo/Broadcast", NULL,
                                                 GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  static struct queue queues[THREADS_MAX];
  for (unsigned long i = 0; i < threads; i++) {
    queues[i] = (struct queue){server, grpc_completion_queue_create_for_next(NULL)};
    grpc_server_register_completion_queue(server, queues[i].cq, NULL);
  }
  bare_server_start(server, argv[1], argv[2]);
  for (unsigned long i = 0; i < threads; i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, serve, &queues[i]);
  }
  bare_server_accept(server, argv[1], argv[2]);
}
