/* Which peer a call came from: behind a key of the HTTP/2 guard's, or behind a descriptor that gRPC core
 * owns.
 *
 * Keys (rpc/connection.h) name an entry by its place and 14 random bytes that are drawn anew each time the
 * place is used. So a key is proof of its connection, and one that was forgotten finds nothing any more.
 *
 * Descriptors, of connections without the guard: after grpc_server_add_channel_from_fd gRPC names a call's
 * peer "fd:N", and it closes N without telling. So that N does not soon mean somebody else, each connection
 * is moved to the next number of a rotating range before the hand-over, and the table says who N is. A number
 * is only taken again after the whole range went by (or the range is full); a call that is read from a
 * connection already closed could then, in theory, be given to the newcomer: so the address is for display
 * and limits, not for identity (rpc/call.h).
 *
 * Entries are counted: the table holds one reference, each call another. Any thread; rpc_peers_find and
 * rpc_peers_find_key take no lock. */
#ifndef SKERRY_RPC_PEERS_H
#define SKERRY_RPC_PEERS_H

#include "base/memory_budget.h"
#include "rpc/call.h"
#include "rpc/connection.h"

struct rpc_peers;

/* `descriptors_max`: the process's limit of descriptors; `memory`: what the calls of all peers may take,
 * which outlives the peers. NULL: no memory. */
struct rpc_peers *rpc_peers_new(uint64_t descriptors_max, struct memory_budget *memory);
void rpc_peers_free(struct rpc_peers *peers); /* after the last call; NULL allowed */

/* Moves the socket to its number and enters it; returns that number (`fd` is closed then), or `fd` itself if
 * there is no other number left. Gives the peer its connection_id. -1: no memory; `fd` is as it was. */
int rpc_peers_enter(struct rpc_peers *peers, int fd, const struct rpc_peer *peer);

/* Enters the peer of one end of a socketpair behind the guard, and gives it its connection_id. `fd` stays
 * where it is and names nobody: what an earlier connection left under that number goes. False: no memory, or
 * as many connections as there are places (a million). */
bool rpc_peers_enter_guarded(struct rpc_peers *peers, int fd, const struct rpc_peer *peer,
                             struct rpc_connection_key *ret_key);
/* From now on the key finds nothing; calls keep the peer. Nothing for a key that is not known. */
void rpc_peers_forget(struct rpc_peers *peers, const struct rpc_connection_key *key);
/* With a reference; NULL: there is no such connection, or no more. */
const struct rpc_peer *rpc_peers_find_key(struct rpc_peers *peers, const struct rpc_connection_id *id);

/* The peer behind gRPC's name for it ("fd:N"), with a reference; never NULL: "unknown" has an entry too. */
const struct rpc_peer *rpc_peers_find(struct rpc_peers *peers, const char *name);
void rpc_peers_release(struct rpc_peers *peers, const struct rpc_peer *peer);

/* The share of the calls' memory that this peer's have; all of it for "unknown". While there is a reference.
 */
struct memory_budget *rpc_peers_memory(struct rpc_peers *peers, const struct rpc_peer *peer);

/* Connections that are open now: those with a key until they are forgotten. Of the others gRPC does not tell
 * when it closes one, so this looks at each number in the table: still a socket, and the same socket (its
 * inode number)? Those that are gone leave the table. */
uint64_t rpc_peers_count(struct rpc_peers *peers);
uint64_t rpc_peers_total(struct rpc_peers *peers); /* ever entered */

#endif
