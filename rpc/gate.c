#include "rpc/gate.h"

#include <string.h>

enum {
  SLOTS_A_TARGET = 8,
  WAITING_MIN = 2, /* that may always be: a thread must not run dry */
};

void rpc_gate_init(struct rpc_gate *gate, int64_t target_us) {
  memset(gate, 0, sizeof *gate);
  gate->target_us = target_us;
  pthread_mutex_init(&gate->mutex, NULL);
}

void rpc_gate_fini(struct rpc_gate *gate) {
  pthread_mutex_destroy(&gate->mutex);
}

static int64_t slot_of(const struct rpc_gate *gate, int64_t us) {
  int64_t width_us = gate->target_us / SLOTS_A_TARGET;
  return us / (width_us > 0 ? width_us : 1);
}

/* Atomic for rpc_gate_counts. */
static uint32_t waiting(const struct rpc_gate *gate) {
  return atomic_load_explicit(&gate->waiting, memory_order_relaxed);
}

static void set_waiting(struct rpc_gate *gate, uint32_t count) {
  atomic_store_explicit(&gate->waiting, count, memory_order_relaxed);
}

static void empty(struct rpc_gate *gate, int64_t slot) {
  uint32_t *let_in = &gate->let_in[slot % RPC_GATE_SLOTS];
  set_waiting(gate, waiting(gate) - *let_in);
  *let_in = 0;
}

/* Makes room for the slot `newest`; what is older than all slots is forgotten. */
static void move_on(struct rpc_gate *gate, int64_t newest) {
  if (newest - gate->newest_slot >= RPC_GATE_SLOTS)
    gate->newest_slot = newest - RPC_GATE_SLOTS;
  while (gate->newest_slot < newest)
    empty(gate, ++gate->newest_slot);
}

void rpc_gate_begun(struct rpc_gate *gate, int64_t now_us, int64_t waited_us) {
  pthread_mutex_lock(&gate->mutex);
  move_on(gate, slot_of(gate, now_us));
  int64_t head = slot_of(gate, now_us - waited_us), oldest = gate->newest_slot - RPC_GATE_SLOTS + 1;
  for (int64_t slot = gate->head_slot > oldest ? gate->head_slot : oldest; slot < head; slot++)
    empty(gate, slot);
  if (head >= oldest && gate->let_in[head % RPC_GATE_SLOTS] > 0) { /* this one */
    gate->let_in[head % RPC_GATE_SLOTS]--;
    set_waiting(gate, waiting(gate) - 1);
  }
  if (head > gate->head_slot)
    gate->head_slot = head;
  gate->begun_us = now_us;
  gate->waited_us = waited_us;
  pthread_mutex_unlock(&gate->mutex);
}

/* Calls that arrived before the overload was seen were not counted. While they begin, nobody would wait for
 * less long than they did. */
static bool old_ones_begin(const struct rpc_gate *gate, int64_t now_us) {
  return gate->waited_us > 2 * gate->target_us && now_us - gate->begun_us < gate->target_us;
}

bool rpc_gate_turns_away(struct rpc_gate *gate, int64_t now_us, uint32_t per_second) {
  pthread_mutex_lock(&gate->mutex);
  int64_t slot = slot_of(gate, now_us);
  move_on(gate, slot);
  int64_t most = per_second * gate->target_us / 1000000;
  bool refuses = waiting(gate) >= (most > WAITING_MIN ? most : WAITING_MIN) || old_ones_begin(gate, now_us);
  if (!refuses) {
    gate->let_in[gate->newest_slot % RPC_GATE_SLOTS]++;
    set_waiting(gate, waiting(gate) + 1);
  }
  pthread_mutex_unlock(&gate->mutex);
  if (refuses)
    atomic_fetch_add_explicit(&gate->refused, 1, memory_order_relaxed);
  return refuses;
}

bool rpc_gate_counts(const struct rpc_gate *gate) {
  return waiting(gate) > 0;
}

uint64_t rpc_gate_refused(const struct rpc_gate *gate) {
  return atomic_load_explicit(&gate->refused, memory_order_relaxed);
}
