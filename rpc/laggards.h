/* Calls that wait for their client: for it to take what was sent, or to say something at last.
 *
 * They hold memory, or a place, that others want. While there is enough, they may; patience costs nothing
 * then. When calls have to be refused because memory or places are spent, those that have waited longest are
 * ended, so that a few clients that do not read, or begin calls and say nothing, cannot keep everybody else
 * out. While there is some memory left, these
 * are of connections that hold much.
 *
 * Two lists for each queue, first come first. Any thread; the mutex is never held while gRPC core works:
 * within it calls are only referenced. A call is in one list at most; it leaves it on its queue's thread, or
 * by being ended. */
#ifndef SKERRY_RPC_LAGGARDS_H
#define SKERRY_RPC_LAGGARDS_H

#include <pthread.h>
#include <stdint.h>

struct rpc_call;
struct rpc_server;

enum rpc_laggard { RPC_LAGGARD_NONE, RPC_DOES_NOT_TAKE, RPC_SAYS_NOTHING, RPC_LAGGARD_KINDS };

struct rpc_laggards {
  pthread_mutex_t mutex;
  struct rpc_call *first[RPC_LAGGARD_KINDS], *last[RPC_LAGGARD_KINDS];
};

void rpc_laggards_init(struct rpc_laggards *laggards);
void rpc_laggards_fini(struct rpc_laggards *laggards); /* they are empty */

/* From now on; before the batch that waits is started. If it is in a list, it leaves that. */
void rpc_laggards_add(struct rpc_call *call, enum rpc_laggard kind);
/* It waits for that no more. Nothing if it did not, or was ended for it. On the queue's thread. */
void rpc_laggards_remove(struct rpc_call *call, enum rpc_laggard kind);
/* The call goes: likewise, whatever it waited for. */
void rpc_laggards_forget(struct rpc_call *call);

/* Room is wanted: ends some of the calls that have waited for too long, of all queues. Cheap to ask often. */
void rpc_laggards_relieve(struct rpc_server *server, enum rpc_laggard kind, int64_t now_us);

#endif
