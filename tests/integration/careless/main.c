/* A service whose handlers do what they should not, as the client asks:
 * tests/integration/library_careless.test.mjs looks at what the library makes of it. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "careless.skerry.h"
#include "skerry/documents.h"
#include "skerry/server.h"

int careless_length(const char *text);

static void answer(struct rpc_call *call, const char *text) {
  Careless__V1__Done done = CARELESS__V1__DONE__INIT;
  done.text = (char *)(uintptr_t)text;
  done.number = careless_length(text);
  careless_v1_careless_act_reply(call, &done);
}

/* Answers long after the client has gone, and uses documents before that. */
static void *answer_late(void *argument) {
  struct rpc_call *call = argument;
  struct skerry_document document;
  while (!rpc_call_is_cancelled(call))
    usleep(10000);
  usleep(300000);
  status read = skerry_get(rpc_call_service(call), call, SKERRY_AS_SERVER, STR("careless/one"),
                           rpc_call_arena(call), &document);
  answer(call, status_is_ok(&read) ? "late" : "late, and without documents");
  return NULL;
}

static void start_late(struct rpc_call *call) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, answer_late, call) == 0)
    pthread_detach(thread);
  else
    rpc_call_finish(call, status_make(STATUS_INTERNAL, "no thread"));
}

static status write_one(struct skerry_transaction *transaction, void *state) {
  (void)state;
  struct skerry_fields fields = {.arena = skerry_transaction_arena(transaction)};
  skerry_fields_put(&fields, "n", skerry_integer(1));
  return skerry_transaction_set(transaction, STR("careless/one"), &fields, SKERRY_ANYHOW);
}

/* The transaction's call was finished before it was done. */
static void done_too(struct rpc_call *call, void *state, status result, int64_t commit_time_us) {
  (void)state;
  (void)result;
  (void)commit_time_us;
  answer(call, "after the commit");
}

static const struct skerry_transaction_handlers transaction = {.run = write_one, .done = done_too};

static void careless_act(struct rpc_call *call, const Careless__V1__Order *order) {
  if (strcmp(order->what, "never") == 0)
    return;
  if (strcmp(order->what, "late") == 0) {
    start_late(call);
  } else if (strcmp(order->what, "transaction") == 0) {
    skerry_transact(rpc_call_service(call), call, SKERRY_AS_SERVER, &transaction, NULL);
  } else if (strcmp(order->what, "nothing") == 0) {
    rpc_call_finish(call, status_ok());
  } else {
    answer(call, "once");
    if (strcmp(order->what, "twice") == 0)
      answer(call, "twice");
  }
}

/* Sends on whatever the queue says. */
static void careless_flood(struct rpc_call *call, const Careless__V1__Order *order) {
  Careless__V1__Done done = CARELESS__V1__DONE__INIT;
  char text[1001];
  memset(text, 'x', 1000);
  text[1000] = '\0';
  done.text = text;
  for (done.number = 0; done.number < order->count; done.number++)
    if (careless_v1_careless_flood_send(call, &done) != RPC_SEND_OK)
      done.refused++;
  rpc_call_finish(call, status_make(STATUS_OUT_OF_RANGE, "refused %d", (int)done.refused));
  if (strcmp(order->what, "after") == 0)
    (void)careless_v1_careless_flood_send(call, &done);
}

static const struct careless_v1_careless_handlers handlers = {.act = careless_act, .flood = careless_flood};

static status start(struct skerry_server *server, void *argument) {
  (void)argument;
  return skerry_server_add_service(server, &careless_v1_careless_service, &handlers,
                                   skerry_server_documents(server));
}

int main(int argc, char **argv) {
  static const struct skerry_program program = {.name = "careless", .start = start};
  return skerry_main(argc, argv, &program);
}
