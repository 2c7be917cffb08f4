/* Which peer is behind a descriptor that gRPC core owns.
 *
 * After grpc_server_add_channel_from_fd gRPC names a call's peer "fd:N", and it closes N without telling. So
 * that N does not soon mean somebody else, each connection is moved to the next number of a rotating range
 * before the hand-over, and the table says who N is. A number is only taken again after the whole range went
 * by (or the range is full); a call that is read from a connection already closed could then, in theory, be
 * given to the newcomer: so the address is for display and limits, not for identity (rpc/call.h).
 *
 * Entries are counted: the table holds one reference, each call another. Any thread; rpc_peers_find takes no
 * lock. */
#ifndef SKERRY_RPC_PEERS_H
#define SKERRY_RPC_PEERS_H

#include "rpc/call.h"

struct rpc_peers;

/* `descriptors_max`: the process's limit of descriptors. NULL: no memory. */
struct rpc_peers *rpc_peers_new(uint64_t descriptors_max);
void rpc_peers_free(struct rpc_peers *peers); /* after the last call; NULL allowed */

/* Moves the socket to its number and enters it; returns that number (`fd` is closed then), or `fd` itself if
 * there is no other number left. Gives the peer its connection_id. -1: no memory; `fd` is as it was. */
int rpc_peers_enter(struct rpc_peers *peers, int fd, const struct rpc_peer *peer);

/* The peer behind gRPC's name for it ("fd:N"), with a reference; never NULL: "unknown" has an entry too. */
const struct rpc_peer *rpc_peers_find(struct rpc_peers *peers, const char *name);
void rpc_peers_release(struct rpc_peers *peers, const struct rpc_peer *peer);

/* Connections that are open now. gRPC does not tell when it closes one, so this looks at each number in the
 * table: still a socket, and the same socket (its inode number)? Those that are gone leave the table. */
uint64_t rpc_peers_count(struct rpc_peers *peers);
uint64_t rpc_peers_total(struct rpc_peers *peers); /* ever entered */

#endif
