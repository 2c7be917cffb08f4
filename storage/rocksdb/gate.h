/* Readers enter and leave; one thread may close the gate and wait until all have left. Entering is two atomic
 * operations on a line that few cores share. What enters on one thread may leave on another. */
#ifndef SKERRY_STORAGE_ROCKSDB_GATE_H
#define SKERRY_STORAGE_ROCKSDB_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* More than the cores of the machines that we are for. */
enum { GATE_SHARDS = 8 };

/* Zeroed memory is an open gate. */
struct gate {
  struct gate_shard {
    _Alignas(64) _Atomic int64_t inside; /* of this shard: may be negative, only the sum counts */
  } shards[GATE_SHARDS];
  _Atomic bool closed;
};

bool gate_enter(struct gate *gate); /* false: it is closed */
/* For one who is inside already: always lets in. */
void gate_enter_again(struct gate *gate);
void gate_leave(struct gate *gate);
bool gate_is_closed(const struct gate *gate);
void gate_close(struct gate *gate);
/* Waits until all have left a closed gate; false after timeout_ms. */
bool gate_wait_empty(struct gate *gate, int64_t timeout_ms);
void gate_open(struct gate *gate);

#endif
