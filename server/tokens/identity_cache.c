#include "server/tokens/identity_cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/crypto.h"

enum { SHARDS = 16, WAYS = 4, CACHE_LINE_BYTES = 64 };

struct slot {
  uint64_t hash;
  uint64_t used; /* the shard's tick of the last hit */
  char *token;   /* owned; NULL: the slot is free */
  size_t token_len;
  struct identity *identity;
};

/* The mutex guards everything behind it. */
struct shard {
  _Alignas(CACHE_LINE_BYTES) pthread_mutex_t mutex;
  struct slot *slots; /* set_count sets of WAYS */
  size_t entries, bytes, hand;
  uint64_t tick, hits, misses;
};

struct identity_cache {
  uint64_t key[2];
  size_t set_count, shard_bytes_max;
  struct shard shards[SHARDS];
};

struct identity_cache *identity_cache_new(size_t entries_max, size_t bytes_max) {
  struct identity_cache *cache = aligned_alloc(CACHE_LINE_BYTES, sizeof *cache);
  if (cache == NULL)
    return NULL;
  memset(cache, 0, sizeof *cache);
  crypto_random(cache->key, sizeof cache->key);
  cache->set_count = entries_max / (SHARDS * WAYS) == 0 ? 1 : entries_max / (SHARDS * WAYS);
  cache->shard_bytes_max = bytes_max / SHARDS;
  bool good = true;
  for (size_t i = 0; i < SHARDS; i++) {
    pthread_mutex_init(&cache->shards[i].mutex, NULL);
    cache->shards[i].slots = calloc(cache->set_count * WAYS, sizeof(struct slot));
    good = good && cache->shards[i].slots != NULL;
  }
  if (good)
    return cache;
  identity_cache_free(cache);
  return NULL;
}

static size_t slot_bytes(const struct slot *slot) {
  return slot->token_len + identity_size(slot->identity);
}

static void empty(struct shard *shard, struct slot *slot) {
  if (slot->token == NULL)
    return;
  assert(shard->entries > 0 && shard->bytes >= slot_bytes(slot));
  shard->entries--;
  shard->bytes -= slot_bytes(slot);
  free(slot->token);
  identity_unref(slot->identity);
  *slot = (struct slot){0};
}

void identity_cache_clear(struct identity_cache *cache) {
  for (size_t i = 0; i < SHARDS; i++) {
    struct shard *shard = &cache->shards[i];
    pthread_mutex_lock(&shard->mutex);
    for (size_t j = 0; j < cache->set_count * WAYS; j++)
      empty(shard, &shard->slots[j]);
    pthread_mutex_unlock(&shard->mutex);
  }
}

void identity_cache_free(struct identity_cache *cache) {
  if (cache == NULL)
    return;
  for (size_t i = 0; i < SHARDS; i++) {
    struct shard *shard = &cache->shards[i];
    for (size_t j = 0; shard->slots != NULL && j < cache->set_count * WAYS; j++)
      empty(shard, &shard->slots[j]);
    free(shard->slots);
    pthread_mutex_destroy(&shard->mutex);
  }
  free(cache);
}

static struct shard *shard_of(struct identity_cache *cache, uint64_t hash) {
  return &cache->shards[hash % SHARDS];
}
static struct slot *set_of(const struct identity_cache *cache, const struct shard *shard, uint64_t hash) {
  return &shard->slots[(hash / SHARDS) % cache->set_count * WAYS];
}

static bool slot_is(const struct slot *slot, uint64_t hash, str token) {
  return slot->token != NULL && slot->hash == hash && str_eq(str_make(slot->token, slot->token_len), token);
}

static bool is_good(const struct identity *identity, const struct generations *generations, int64_t now_us) {
  return identity->generation == generations_at(generations, identity->generation_slot) &&
         now_us < identity->expires_us;
}

struct identity *identity_cache_get(struct identity_cache *cache, str token,
                                    const struct generations *generations, int64_t now_us) {
  uint64_t hash = crypto_siphash(cache->key, token);
  struct shard *shard = shard_of(cache, hash);
  struct slot *set = set_of(cache, shard, hash);
  struct identity *found = NULL;
  pthread_mutex_lock(&shard->mutex);
  for (size_t i = 0; i < WAYS && found == NULL; i++) {
    if (!slot_is(&set[i], hash, token))
      continue;
    if (!is_good(set[i].identity, generations, now_us)) {
      empty(shard, &set[i]);
      break;
    }
    set[i].used = ++shard->tick;
    found = identity_ref(set[i].identity);
  }
  if (found != NULL)
    shard->hits++;
  else
    shard->misses++;
  pthread_mutex_unlock(&shard->mutex);
  return found;
}

/* Goes around until `bytes` more fit. */
static void make_room(const struct identity_cache *cache, struct shard *shard, size_t bytes) {
  for (size_t i = 0; i < cache->set_count * WAYS && shard->bytes + bytes > cache->shard_bytes_max; i++) {
    shard->hand = (shard->hand + 1) % (cache->set_count * WAYS);
    empty(shard, &shard->slots[shard->hand]);
  }
}

void identity_cache_put(struct identity_cache *cache, str token, struct identity *identity) {
  struct slot fresh = {.hash = crypto_siphash(cache->key, token), .token_len = token.len};
  size_t bytes = token.len + identity_size(identity);
  if (token.len == 0 || bytes > cache->shard_bytes_max)
    return;
  fresh.token = malloc(token.len);
  if (fresh.token == NULL)
    return;
  memcpy(fresh.token, token.ptr, token.len);
  fresh.identity = identity_ref(identity);
  struct shard *shard = shard_of(cache, fresh.hash);
  struct slot *set = set_of(cache, shard, fresh.hash), *place = set;
  pthread_mutex_lock(&shard->mutex);
  for (size_t i = 0; i < WAYS; i++) {
    if (slot_is(&set[i], fresh.hash, token)) { /* another thread was here first */
      place = &set[i];
      break;
    }
    if (set[i].token == NULL || (place->token != NULL && set[i].used < place->used))
      place = &set[i];
  }
  empty(shard, place);
  make_room(cache, shard, bytes);
  fresh.used = ++shard->tick;
  *place = fresh;
  shard->entries++;
  shard->bytes += bytes;
  pthread_mutex_unlock(&shard->mutex);
}

void identity_cache_stats(struct identity_cache *cache, struct identity_cache_stats *ret) {
  *ret = (struct identity_cache_stats){0};
  for (size_t i = 0; i < SHARDS; i++) {
    struct shard *shard = &cache->shards[i];
    pthread_mutex_lock(&shard->mutex);
    ret->hits += shard->hits;
    ret->misses += shard->misses;
    ret->entries += shard->entries;
    ret->bytes += shard->bytes;
    pthread_mutex_unlock(&shard->mutex);
  }
}
