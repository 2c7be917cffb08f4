/* Whom to turn away before gRPC core has seen them, while calls of a method wait too long (rpc/shedding.h).
 *
 * A refusal by the runtime costs gRPC core more than the answer of an empty call, so a server that gets three
 * times what it can answer cannot refuse the rest in time. What stands in front of gRPC core, the HTTP/2
 * guard, does it at a small part of that. It must know how many calls wait: with those before it, a call
 * waits for their number divided by how many are answered a second (Little's law). Calls of a method begin in
 * the order in which they arrived, so those that wait are the ones that were let in after the one that began
 * last had arrived. A call that never begins, because its client gave up, is so forgotten with those around
 * it.
 *
 * One gate for each method. It counts only while there is overload. No I/O and no clock: times are monotonic
 * microseconds. Any thread. */
#ifndef SKERRY_RPC_GATE_H
#define SKERRY_RPC_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { RPC_GATE_SLOTS = 256 /* of an eighth of the target each */ };

struct rpc_gate {
  int64_t target_us;
  pthread_mutex_t mutex; /* for the rest */
  /* Calls let in that have not begun, by the time at which they arrived. */
  uint32_t let_in[RPC_GATE_SLOTS];
  _Atomic uint32_t waiting;    /* all of them */
  int64_t newest_slot;         /* numbers count up; a place of `let_in` is a number modulo its size */
  int64_t head_slot;           /* calls that arrived before it have begun */
  int64_t begun_us, waited_us; /* the one that began last */
  _Atomic uint64_t refused;
  _Atomic int64_t watched_until_us; /* the runtime's: there was overload a moment ago */
};

void rpc_gate_init(struct rpc_gate *gate, int64_t target_us);
void rpc_gate_fini(struct rpc_gate *gate);

/* A call of the method begins at `now_us`, after it waited for so long. */
void rpc_gate_begun(struct rpc_gate *gate, int64_t now_us, int64_t waited_us);
/* Of a call that arrives now while there is overload, and `per_second` calls of the method are answered:
 * whether to turn it away. Otherwise it is let in, and counted. */
bool rpc_gate_turns_away(struct rpc_gate *gate, int64_t now_us, uint32_t per_second);

/* Whether it has let in calls that have not begun, as far as it knows: it has to be told when one does. */
bool rpc_gate_counts(const struct rpc_gate *gate);
uint64_t rpc_gate_refused(const struct rpc_gate *gate);

#endif
