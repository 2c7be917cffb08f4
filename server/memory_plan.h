/* What memory_limit is divided into. One number is the operator's; the parts are ours, and their sum with the
 * program itself stays below it, so that the limit is a ceiling of the resident set (tests/integration/
 * ceiling.test.mjs holds it against everything at once).
 *
 *   the program, and some connections          36 MiB (with the libraries linked in 10 less)
 *   checks of passwords (accounts = on)        an eighth of the limit, from 17 MiB to 64 MiB
 *   of the rest: the store                     6/32   caches, write buffers
 *                calls                         7/32   arenas, requests, answers; the largest document's at
 * least connections                   6/32   what gRPC core holds: requests that are not complete HTTP/1.1
 * 4/32   bodies and answers; connections live queries                  2/32   targets, documents on their way
 *                transactions                  1/32   read sets
 *                not counted by anybody        6/32   TLS, compaction, stacks, what malloc keeps
 *
 * Sizes that clients may ask for follow from the parts: a message that nobody else leaves room for is no
 * message that this box can take. */
#ifndef SKERRY_SERVER_MEMORY_PLAN_H
#define SKERRY_SERVER_MEMORY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

/* Less leaves no room for a document of 1 MiB beside the program. Near it parts have their least sizes, which
 * together are more than is left: the program's own pages give way then (port_memory_settle). */
#define MEMORY_PLAN_LIMIT_MIN (INT64_C(48) * 1024 * 1024)
#define MEMORY_PLAN_LIMIT_MIN_WITH_ACCOUNTS (INT64_C(64) * 1024 * 1024)

/* Below it new hashes of passwords take half of the memory. */
#define MEMORY_PLAN_TIGHT (INT64_C(128) * 1024 * 1024)

struct memory_plan {
  uint64_t store, calls, connections, http, listen, transactions, passwords; /* bytes */
  /* Defaults of settings. */
  int64_t message_max, call_memory_max, http_body_max;
};

/* limit_bytes is the least at least. Without accounts `passwords` is 0. */
struct memory_plan memory_plan_for(uint64_t limit_bytes, bool with_accounts);

#endif
