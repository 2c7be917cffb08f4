/* A reader adds itself first and looks at `closed` afterwards; the closer sets `closed` first and sums
 * afterwards. In the one order of these sequentially consistent operations either the reader sees `closed`
 * and takes itself away again, or the closer sees the reader. A sum that is read while readers leave can only
 * be too large. */
#include "storage/rocksdb/gate.h"

#include <time.h>

static struct gate_shard *shard_of_thread(struct gate *gate) {
  static _Atomic unsigned threads;
  static _Thread_local unsigned mine; /* number + 1 */
  if (mine == 0)
    mine = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % GATE_SHARDS + 1;
  return &gate->shards[mine - 1];
}

bool gate_enter(struct gate *gate) {
  struct gate_shard *shard = shard_of_thread(gate);
  atomic_fetch_add(&shard->inside, 1);
  if (!atomic_load(&gate->closed))
    return true;
  atomic_fetch_sub(&shard->inside, 1);
  return false;
}

void gate_enter_again(struct gate *gate) {
  atomic_fetch_add(&shard_of_thread(gate)->inside, 1);
}

void gate_leave(struct gate *gate) {
  atomic_fetch_sub(&shard_of_thread(gate)->inside, 1);
}

bool gate_is_closed(const struct gate *gate) {
  return atomic_load_explicit(&gate->closed, memory_order_relaxed);
}

void gate_close(struct gate *gate) {
  atomic_store(&gate->closed, true);
}

bool gate_wait_empty(struct gate *gate, int64_t timeout_ms) {
  for (int64_t waited_ms = 0;; waited_ms++) {
    int64_t inside = 0;
    for (int i = 0; i < GATE_SHARDS; i++)
      inside += atomic_load(&gate->shards[i].inside);
    if (inside == 0)
      return true;
    if (waited_ms >= timeout_ms)
      return false;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
}

void gate_open(struct gate *gate) {
  atomic_store(&gate->closed, false);
}
