/* grpc.reflection.v1 and v1alpha: which services there are, and their .proto files as they were written.
 * https://github.com/grpc/grpc/blob/master/doc/server-reflection.md */
#ifndef SKERRY_RPC_REFLECTION_H
#define SKERRY_RPC_REFLECTION_H

#include "rpc/server.h"

struct rpc_reflection;

/* Adds both services to the server, last: it tells about all that were added, and these two. */
STATUS_MUST_USE status rpc_reflection_new(struct rpc_server *server, struct rpc_reflection **ret);
void rpc_reflection_free(struct rpc_reflection *reflection); /* NULL allowed */

#endif
