/* How the HTTP/2 guard tells the runtime which connection a call came by.
 *
 * gRPC core names a call's peer by a descriptor, and descriptor numbers are used again: no identity can rest
 * on them. So the guard adds one header to each request that it lets through, and refuses that name from
 * clients. Its value is the connection's key, which cannot be guessed, and the time at which the request
 * arrived, from which the runtime knows how long it waited. Handlers do not see the header.
 *
 * No I/O, no allocation, any thread. */
#ifndef SKERRY_RPC_CONNECTION_H
#define SKERRY_RPC_CONNECTION_H

#include <stdint.h>

#include "base/str.h"

#define RPC_CONNECTION_HEADER "skerry-connection"

enum {
  RPC_CONNECTION_KEY_CHARS = 24, /* base64url of 18 bytes: the place in a table, and 14 random ones */
  RPC_CONNECTION_TIME_CHARS = 8, /* base64url of 48 bits: nine years of microseconds */
  RPC_CONNECTION_VALUE_CHARS = RPC_CONNECTION_KEY_CHARS + RPC_CONNECTION_TIME_CHARS,
};

/* Zeroed: none. */
struct rpc_connection_key {
  char text[RPC_CONNECTION_KEY_CHARS];
};

/* Writes the second part of the header's value: monotonic microseconds of the port's clock. */
void rpc_connection_time(int64_t arrived_us, char ret[RPC_CONNECTION_TIME_CHARS]);

/* ---- The runtime's side ---- */

enum { RPC_CONNECTION_SECRET_BYTES = 14 };

/* What a key says. */
struct rpc_connection_id {
  uint32_t slot;
  uint8_t secret[RPC_CONNECTION_SECRET_BYTES];
};

void rpc_connection_key_write(const struct rpc_connection_id *id, struct rpc_connection_key *ret);
/* False: these are not 24 characters of base64url (RFC 4648, section 5). */
bool rpc_connection_key_read(const struct rpc_connection_key *key, struct rpc_connection_id *ret);

/* The header's value, and how long ago the request arrived, as seen from `now_us`; never negative. False: it
 * has another form. */
bool rpc_connection_value_read(str value, int64_t now_us, struct rpc_connection_id *ret_id,
                               int64_t *ret_waited_us);

#endif
