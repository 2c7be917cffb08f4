/* Between rpc_message and gRPC core: for the files of rpc/ that talk to it. */
#ifndef SKERRY_RPC_MESSAGE_SLICE_H
#define SKERRY_RPC_MESSAGE_SLICE_H

#include <grpc/slice.h>

#include "rpc/message.h"

/* The message's bytes, which the caller owns now; `message` (not empty) holds nothing afterwards. */
grpc_slice rpc_message_take_slice(rpc_message *message);

#endif
