/* The inside of rpc/local.h, for the runtime: what stands where gRPC's call stands for others. */
#ifndef SKERRY_RPC_LOCAL_CALL_H
#define SKERRY_RPC_LOCAL_CALL_H

#include "rpc/local.h"
#include "rpc/runtime.h"

/* As grpc_call_start_batch, for the batches that the runtime makes for unary calls and streams of responses.
 */
void rpc_local_start(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag);
/* As grpc_call_cancel_with_status. Any thread. */
void rpc_local_cancel(struct rpc_local *local, enum status_code code, const char *text);
void rpc_local_ref(struct rpc_local *local);
void rpc_local_unref(struct rpc_local *local);
const struct rpc_peer *rpc_local_peer(const struct rpc_local *local);
int64_t rpc_local_arrived_us(const struct rpc_local *local);
uint64_t rpc_local_id(const struct rpc_local *local);
/* The call has ended, or was never begun. On the queue's thread. */
void rpc_local_released(struct rpc_local *local);

/* ---- The queue's ---- */

/* Cancels those whose deadline has passed; the microseconds until the next one, INT64_MAX: there is none. On
 * the queue's thread. */
int64_t rpc_locals_expire(struct rpc_queue *queue);
/* Cancels all that there are. Any thread; comes into effect on the queue's. */
void rpc_locals_cancel(struct rpc_queue *queue);

#endif
