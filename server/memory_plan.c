#include "server/memory_plan.h"

#include <assert.h>

#define MIB (UINT64_C(1) << 20)

enum { PARTS = 32, STORE = 6, CALLS = 7, CONNECTIONS = 6, HTTP = 4, LISTEN = 2, TRANSACTIONS = 1 };

#define PROGRAM_BYTES (36 * MIB)
#define PASSWORDS_BYTES_LEAST (17 * MIB) /* one hash of 16 MiB, as Firebase has them too, and its buffers */
#define PASSWORDS_BYTES_MOST (64 * MIB)
#define STORE_BYTES_LEAST (4 * MIB)
/* Three quarters (the last one is for those that hold less) are a commit of the largest document: as gRPC has
 * it, as a message, in its canonical form, as a record. */
#define CALLS_BYTES_LEAST (5 * MIB + 3 * MIB / 4)
/* The largest document with its name and the transforms of a commit. */
#define MESSAGE_BYTES_LEAST (MIB + MIB / 4)
#define MESSAGE_BYTES_MOST (10 * MIB)
#define CALL_BYTES_MOST (64 * MIB)
#define BODY_BYTES_MOST (16 * MIB)
#define TRANSACTIONS_BYTES_MOST (32 * MIB)

static uint64_t within(uint64_t bytes, uint64_t least, uint64_t most) {
  return bytes < least ? least : bytes > most ? most : bytes;
}

struct memory_plan memory_plan_for(uint64_t limit_bytes, bool with_accounts) {
  assert(limit_bytes >=
         (uint64_t)(with_accounts ? MEMORY_PLAN_LIMIT_MIN_WITH_ACCOUNTS : MEMORY_PLAN_LIMIT_MIN));
  uint64_t passwords =
      with_accounts ? within(limit_bytes / 8, PASSWORDS_BYTES_LEAST, PASSWORDS_BYTES_MOST) : 0;
  uint64_t part = (limit_bytes - PROGRAM_BYTES - passwords) / PARTS;
  struct memory_plan plan = {
      .store = within(part * STORE, STORE_BYTES_LEAST, UINT64_MAX),
      .calls = within(part * CALLS, CALLS_BYTES_LEAST, UINT64_MAX),
      .connections = part * CONNECTIONS,
      .http = part * HTTP,
      .listen = part * LISTEN,
      .transactions = within(part * TRANSACTIONS, 0, TRANSACTIONS_BYTES_MOST),
      .passwords = passwords,
  };
  plan.message_max = (int64_t)within(plan.calls / 4, MESSAGE_BYTES_LEAST, MESSAGE_BYTES_MOST);
  plan.call_memory_max = (int64_t)within(plan.calls / 4 * 3, MIB, CALL_BYTES_MOST);
  plan.http_body_max = (int64_t)within(plan.http / 2, MESSAGE_BYTES_LEAST, BODY_BYTES_MOST);
  return plan;
}
