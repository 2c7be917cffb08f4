/* What says that something which was good may not be any more: numbers that only grow. One is of all tokens
 * (keys), and there is one for each of GENERATIONS_SLOTS groups of users, so that the end of one's session
 * costs the others nothing. Who is in a group is said by a keyed hash of the uid, so nobody can choose whom
 * he shares one with. A generation is the sum of both: it changes when either does.
 *
 * Who checks something takes the generation first, looks then, and keeps it beside what he found: what
 * changes meanwhile is seen as a difference. Who makes a change tells of it after it was committed. Any
 * thread; nothing waits. */
#ifndef SKERRY_SERVER_TOKENS_GENERATIONS_H
#define SKERRY_SERVER_TOKENS_GENERATIONS_H

#include <stdatomic.h>

#include "base/str.h"

enum { GENERATIONS_SLOTS = 4096 }; /* 32 KiB; of a thousand users who are there one in four meets another */

struct generations {
  uint64_t key[2];
  _Atomic uint64_t all;
  _Atomic uint64_t slots[GENERATIONS_SLOTS];
};

void generations_init(struct generations *generations);
/* Which group the user is in. */
uint32_t generations_slot(const struct generations *generations, str uid);

static inline uint64_t generations_at(const struct generations *generations, uint32_t slot) {
  return atomic_load(&generations->all) + atomic_load(&generations->slots[slot]);
}
static inline void generations_next_of(struct generations *generations, uint32_t slot) {
  atomic_fetch_add(&generations->slots[slot], 1);
}
static inline void generations_next(struct generations *generations) {
  atomic_fetch_add(&generations->all, 1);
}

#endif
