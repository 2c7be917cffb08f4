/* Tokens that were verified, and whose they are, until they expire: what makes a token that comes with every
 * call cost a hash and a comparison.
 *
 * Shards by the hash, each with a mutex of its own that is held for a look at four slots. The hash is keyed
 * (SipHash), so nobody outside can aim at a slot, and the whole token is compared: a hit is never somebody
 * else's. Entries of another generation and expired ones are misses. Both the number of entries and their
 * bytes are bounded; what is least recently used of four gives way, and past the bytes a hand that goes
 * around. Only good tokens are kept: bad ones cost their check each time and no memory. Any thread. */
#ifndef SKERRY_SERVER_TOKENS_IDENTITY_CACHE_H
#define SKERRY_SERVER_TOKENS_IDENTITY_CACHE_H

#include "base/str.h"
#include "server/tokens/generations.h"
#include "server/tokens/identity.h"

struct identity_cache;

/* Room for about entries_max entries (at least 64) in bytes_max bytes, tokens and identities together. NULL:
 * no memory. */
struct identity_cache *identity_cache_new(size_t entries_max, size_t bytes_max);
void identity_cache_free(struct identity_cache *cache); /* NULL is fine */

/* With a reference for the caller, or NULL. `generations`: as they are now. */
struct identity *identity_cache_get(struct identity_cache *cache, str token,
                                    const struct generations *generations, int64_t now_us);
/* Keeps it, with a reference of its own, if there is room and memory. */
void identity_cache_put(struct identity_cache *cache, str token, struct identity *identity);

/* Memory is short: forgets all. */
void identity_cache_clear(struct identity_cache *cache);

struct identity_cache_stats {
  uint64_t hits, misses;
  size_t entries, bytes;
};
void identity_cache_stats(struct identity_cache *cache, struct identity_cache_stats *ret);

#endif
