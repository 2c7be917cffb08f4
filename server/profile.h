/* Hardware profiles: budgets that fit together, for boxes of about 256 MB, 1 GB, 4 GB and more. One table
 * (profile.c); `skerry help profiles` prints it. A setting that the operator gives wins over the profile. */
#ifndef SKERRY_SERVER_PROFILE_H
#define SKERRY_SERVER_PROFILE_H

#include <stdint.h>
#include <stdio.h>

#include "base/status.h"
#include "ports/port.h"
#include "server/memory_plan.h"
#include "storage/rocksdb/tuning.h"

/* In the order of enum profile_choice, less one. */
enum { PROFILE_COUNT = 4 };
/* Values of the setting `profile`. */
enum profile_choice { PROFILE_AUTO, PROFILE_TINY, PROFILE_SMALL, PROFILE_MEDIUM, PROFILE_LARGE };

struct profile {
  const char *name;
  /* What `auto` asks of a machine: memory (the control group's limit counts) and processors. */
  uint64_t memory_from_bytes;
  unsigned cores_from;

  /* Where memory_limit is not given: this, or a quarter of the machine's memory if that is less. */
  uint64_t memory_limit_bytes;
  unsigned memory_floor_mib; /* of that quarter */
  unsigned cores_max;        /* threads are made for so many cores at most; 0: for all */
  uint64_t stack_bytes;      /* of each thread, whoever starts it */

  /* Defaults of settings, in their units. */
  int64_t query_memory_max, send_queue_max;
  int64_t calls_max, connections_max, handshakes_max;

  bool costly_passwords; /* scrypt with 32 MiB instead of 16 for new hashes of passwords */

  struct kv_rocksdb_tuning store;
};

/* The profile that the machine's memory and processors call for. A control group with a limit stands for the
 * machine, unless there is room for the machine's own profile in it: MemoryMax of the package's is set by the
 * profile, so it must not lead to a smaller one. `memory_limit_bytes` is the setting, 0: not given. */
const struct profile *profile_for_machine(struct port *port, uint64_t memory_limit_bytes);
/* The one chosen; for PROFILE_AUTO that of the machine. */
const struct profile *profile_choose(enum profile_choice choice, struct port *port,
                                     uint64_t memory_limit_bytes);
/* Number 0 .. PROFILE_COUNT - 1, from the smallest. */
const struct profile *profile_at(unsigned index);

/* memory_limit on this machine, or in its control group, where the setting is not given. */
uint64_t profile_memory_limit(const struct profile *profile, struct port *port);
/* Where the wall of the service manager (MemoryMax) should be for a limit: with room for what is not counted.
 */
uint64_t profile_memory_max(uint64_t memory_limit_bytes);

/* The table, for people. */
void profile_print_help(FILE *out);

#endif
