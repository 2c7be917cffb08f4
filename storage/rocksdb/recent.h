/* What was written lately, in memory: a window over the newest writes, so that validating a transaction costs
 * as much as was written since its snapshot, and not as much as it read.
 *
 * A ring of entries in the order of their versions, the bytes of their keys in a ring beside it, and chains
 * by the key's hash. When one of the rings is full, the oldest entries go; the window then says that it does
 * not reach so far back. Keys are told apart by their hash (64 bits, seeded): at worst a transaction is
 * refused that need not be. One thread (the commit thread). */
#ifndef SKERRY_STORAGE_ROCKSDB_RECENT_H
#define SKERRY_STORAGE_ROCKSDB_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

struct recent_entry {
  int64_t version;
  uint64_t hash;
  uint64_t before; /* the entry before this one in its chain, by number */
  uint32_t key_at;
  uint16_t key_len;
  uint16_t space;
};

/* Entries are numbered from 1; number n is at n modulo the capacity. */
struct recent {
  struct recent_entry *entries;
  uint64_t *chains; /* the newest entry of each */
  char *keys;
  size_t entry_capacity, chain_count; /* powers of two */
  size_t key_capacity;
  uint64_t first, next; /* the entries that are there: first <= n < next */
  size_t key_end;       /* where the next key goes */
  int64_t reaches;      /* all writes after this version are there */
};

/* About `bytes` of memory, of which only what was used once becomes resident. Nothing was written after
 * `version`. */
STATUS_MUST_USE status recent_init(struct recent *recent, size_t bytes, int64_t version);
void recent_fini(struct recent *recent); /* of zeroed memory: does nothing */

/* Versions never go back. */
void recent_add(struct recent *recent, int64_t version, unsigned space, uint64_t hash, str key);
/* Forgets everything: there may have been other writes up to `version`. */
void recent_forget(struct recent *recent, int64_t version);

enum { RECENT_UNKNOWN = -1 };
/* How many writes there were after `since`; RECENT_UNKNOWN: the window does not reach so far back. */
int64_t recent_count(const struct recent *recent, int64_t since);
/* Both only if recent_count knows. The first takes a moment, the second looks at each of those writes. */
bool recent_has_key(const struct recent *recent, int64_t since, unsigned space, uint64_t hash);
bool recent_has_range(const struct recent *recent, int64_t since, unsigned space, str lower, str upper);

#endif
