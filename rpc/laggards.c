#include "rpc/laggards.h"

#include <assert.h>

#include "rpc/local_call.h"
#include "rpc/runtime.h"

enum {
  PATIENCE_US = 2000000, /* a phone on a bad line takes an answer of 600 KB in so much at 300 KB/s */
  INTERVAL_US = 50000,   /* between two rounds */
  ENDED_A_ROUND = 32,    /* of each queue */
  LOOKED_AT_A_ROUND = 1024,
};

void rpc_laggards_init(struct rpc_laggards *laggards) {
  *laggards = (struct rpc_laggards){0};
  pthread_mutex_init(&laggards->mutex, NULL);
}

void rpc_laggards_fini(struct rpc_laggards *laggards) {
  for (int kind = 0; kind < RPC_LAGGARD_KINDS; kind++)
    assert(laggards->first[kind] == NULL);
  pthread_mutex_destroy(&laggards->mutex);
}

/* With the mutex held. */
static void take_out(struct rpc_laggards *laggards, struct rpc_call *call) {
  enum rpc_laggard kind = call->laggard;
  if (kind == RPC_LAGGARD_NONE)
    return;
  *(call->laggard_before != NULL ? &call->laggard_before->laggard_after : &laggards->first[kind]) =
      call->laggard_after;
  *(call->laggard_after != NULL ? &call->laggard_after->laggard_before : &laggards->last[kind]) =
      call->laggard_before;
  call->laggard = RPC_LAGGARD_NONE;
}

void rpc_laggards_add(struct rpc_call *call, enum rpc_laggard kind) {
  struct rpc_laggards *laggards = &call->queue->laggards;
  struct port *port = call->server->options.port;
  pthread_mutex_lock(&laggards->mutex);
  take_out(laggards, call);
  call->laggard = kind;
  call->was_laggard = true;
  call->laggard_since_us = port->monotonic_us(port);
  call->laggard_after = NULL;
  call->laggard_before = laggards->last[kind];
  *(call->laggard_before != NULL ? &call->laggard_before->laggard_after : &laggards->first[kind]) = call;
  laggards->last[kind] = call;
  pthread_mutex_unlock(&laggards->mutex);
}

void rpc_laggards_remove(struct rpc_call *call, enum rpc_laggard kind) {
  struct rpc_laggards *laggards = &call->queue->laggards;
  pthread_mutex_lock(&laggards->mutex);
  if (call->laggard == kind)
    take_out(laggards, call);
  pthread_mutex_unlock(&laggards->mutex);
}

void rpc_laggards_forget(struct rpc_call *call) {
  if (!call->was_laggard)
    return;
  /* Also if it is in no list any more: another thread that has just taken it out is done with it then. */
  pthread_mutex_lock(&call->queue->laggards.mutex);
  take_out(&call->queue->laggards, call);
  pthread_mutex_unlock(&call->queue->laggards.mutex);
}

struct late {
  grpc_call *grpc;
  struct rpc_local *local;
};

/* Of memory: there is little left, or the call is of a connection that has much of it. */
static bool is_in_the_way(const struct rpc_call *call, enum rpc_laggard kind) {
  const struct memory_budget *all = &call->server->calls_memory;
  return kind != RPC_DOES_NOT_TAKE || memory_budget_is_low(all) ||
         (memory_budget_used(call->memory) >= all->max_bytes / 4 &&
          memory_budget_used(all) >= all->max_bytes / 2);
}

/* Those that are due, taken out of the list, each with a reference to gRPC's call or what stands for it. */
static size_t collect(struct rpc_laggards *laggards, enum rpc_laggard kind, int64_t before_us,
                      struct late calls[ENDED_A_ROUND]) {
  size_t count = 0;
  pthread_mutex_lock(&laggards->mutex);
  struct rpc_call *next = laggards->first[kind];
  for (int looked = 0; count < ENDED_A_ROUND && looked < LOOKED_AT_A_ROUND && next != NULL &&
                       next->laggard_since_us < before_us;
       looked++) {
    struct rpc_call *call = next;
    next = call->laggard_after;
    if (!is_in_the_way(call, kind))
      continue;
    take_out(laggards, call);
    if (call->local != NULL)
      rpc_local_ref(call->local);
    else
      grpc_call_ref(call->grpc);
    calls[count++] = (struct late){call->grpc, call->local};
  }
  pthread_mutex_unlock(&laggards->mutex);
  return count;
}

void rpc_laggards_relieve(struct rpc_server *server, enum rpc_laggard kind, int64_t now_us) {
  int64_t due_us = atomic_load_explicit(&server->relieved_us, memory_order_relaxed) + INTERVAL_US;
  if (now_us < due_us ||
      !atomic_compare_exchange_strong(&server->relieved_us, &(int64_t){due_us - INTERVAL_US}, now_us))
    return;
  const char *why = kind == RPC_DOES_NOT_TAKE
                        ? "The answer was not taken, and its memory is wanted. Read faster, or ask for less."
                        : "Nothing was said on this call, and its place is wanted.";
  for (unsigned i = 0; i < server->options.threads; i++) {
    struct late calls[ENDED_A_ROUND];
    size_t count = collect(&server->queues[i].laggards, kind, now_us - PATIENCE_US, calls);
    for (size_t k = 0; k < count; k++) {
      if (calls[k].local != NULL) {
        rpc_local_cancel(calls[k].local, STATUS_RESOURCE_EXHAUSTED, why);
        rpc_local_unref(calls[k].local);
        continue;
      }
      grpc_call_cancel_with_status(calls[k].grpc, GRPC_STATUS_RESOURCE_EXHAUSTED, why, NULL);
      grpc_call_unref(calls[k].grpc);
    }
  }
}
