/* An encoded message on its way out: memory that goes to gRPC without another copy. */
#ifndef SKERRY_RPC_MESSAGE_H
#define SKERRY_RPC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* By value; owned by whoever holds it, until it is sent or discarded. Zeroed memory holds nothing. */
typedef struct rpc_message {
  uint8_t *data; /* fill all of data[0, len) before sending */
  size_t len;
  _Alignas(void *) unsigned char impl[32]; /* the runtime's */
} rpc_message;

/* False if there is no memory. */
bool rpc_message_alloc(size_t len, rpc_message *ret);
void rpc_message_discard(rpc_message *message);

#endif
