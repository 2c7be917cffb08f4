#include "storage/rocksdb/hot.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "storage/kv_driver.h"
#include "storage/rocksdb/hash.h"

enum {
  WAYS = 8,
  SHARDS = 16,             /* a power of two */
  OFFERS = 4,              /* remembered in each set */
  ENTRY_BYTES_GUESS = 320, /* what sets are numbered for; the bound on bytes is exact */
};

/* The first member makes it a kv_pin: the value that is handed out is the entry itself. */
struct entry {
  const struct kv_driver *driver;
  _Atomic uint32_t refs; /* the set's, and one for each value handed out */
  uint32_t key_len, value_len;
  kv_version version;
  char bytes[]; /* the key, the value */
};

struct set {
  kv_version forgotten; /* the newest version that hot_forget named */
  struct entry *entries[WAYS];
  uint32_t tags[WAYS]; /* of the hash: whether to look at the entry at all */
  uint16_t offers[OFFERS];
  uint8_t next_offer, hand, used; /* used: a bit for each way, set by a hit */
};

/* Every SHARDS-th set, with an equal share of the bytes. */
struct shard {
  _Alignas(64) pthread_mutex_t mutex; /* of its sets, and of what follows */
  size_t bytes, bytes_max;
  uint64_t hits, misses;
  size_t hand; /* over all ways of its sets, for room */
};

struct hot {
  struct set *sets;
  size_t set_mask;
  uint64_t seed;
  struct shard shards[SHARDS];
};

static size_t entry_bytes(const struct entry *entry) {
  return sizeof *entry + entry->key_len + entry->value_len;
}

static void entry_unref(struct entry *entry) {
  uint32_t before = atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel);
  assert(before > 0);
  if (before == 1)
    free(entry);
}

static void value_release(void *pin) {
  entry_unref(pin);
}

static const struct kv_driver hot_driver = {.name = "rocksdb, hot", .value_release = value_release};

/* ---- A set, with its mutex held ---- */

static struct shard *shard_of(struct hot *hot, const struct set *set) {
  return &hot->shards[(size_t)(set - hot->sets) % SHARDS];
}

static struct set *set_lock(struct hot *hot, uint64_t hash) {
  struct set *set = &hot->sets[(size_t)(hash >> 32) & hot->set_mask];
  pthread_mutex_lock(&shard_of(hot, set)->mutex);
  return set;
}

static void set_unlock(struct hot *hot, const struct set *set) {
  pthread_mutex_unlock(&shard_of(hot, set)->mutex);
}

/* WAYS: it is not there. */
static unsigned set_find(const struct set *set, uint32_t tag, str key) {
  for (unsigned i = 0; i < WAYS; i++) {
    const struct entry *entry = set->entries[i];
    if (entry != NULL && set->tags[i] == tag && str_eq(str_make(entry->bytes, entry->key_len), key))
      return i;
  }
  return WAYS;
}

static void set_drop(struct hot *hot, struct set *set, unsigned way) {
  struct entry *entry = set->entries[way];
  if (entry == NULL)
    return;
  set->entries[way] = NULL;
  set->used &= (uint8_t) ~(1U << way);
  shard_of(hot, set)->bytes -= entry_bytes(entry);
  entry_unref(entry);
}

/* Whether the way was used since a hand came by; now one did. */
static bool set_pass(struct set *set, unsigned way) {
  bool was_used = (set->used & 1U << way) != 0;
  set->used &= (uint8_t) ~(1U << way);
  return was_used;
}

/* A free way, or the first one after the hand that was not used since the hand came by. */
static unsigned set_choose(struct set *set) {
  for (unsigned i = 0; i < WAYS; i++)
    if (set->entries[i] == NULL)
      return i;
  for (;;) {
    unsigned way = set->hand;
    set->hand = (uint8_t)((way + 1) % WAYS);
    if (!set_pass(set, way))
      return way;
  }
}

/* Likewise in all of the shard, until there are so many bytes free. */
static void shard_make_room(struct hot *hot, struct shard *shard, size_t bytes) {
  size_t ways = (hot->set_mask + 1) / SHARDS * WAYS, number = (size_t)(shard - hot->shards);
  assert(bytes <= shard->bytes_max);
  while (shard->bytes + bytes > shard->bytes_max) {
    struct set *set = &hot->sets[number + shard->hand / WAYS * SHARDS];
    unsigned way = (unsigned)(shard->hand % WAYS);
    shard->hand = (shard->hand + 1) % ways;
    if (!set_pass(set, way))
      set_drop(hot, set, way);
  }
}

/* Whether it was offered before; it is remembered. */
static bool set_was_offered(struct set *set, uint16_t tag) {
  for (unsigned i = 0; i < OFFERS; i++)
    if (set->offers[i] == tag)
      return true;
  set->offers[set->next_offer] = tag;
  set->next_offer = (uint8_t)((set->next_offer + 1) % OFFERS);
  return false;
}

static struct entry *entry_new(str key, str value, kv_version version) {
  struct entry *entry = malloc(sizeof *entry + key.len + value.len);
  if (entry == NULL)
    return NULL;
  entry->driver = &hot_driver;
  atomic_init(&entry->refs, 1);
  entry->key_len = (uint32_t)key.len;
  entry->value_len = (uint32_t)value.len;
  entry->version = version;
  memcpy(entry->bytes, key.ptr, key.len);
  if (value.len > 0)
    memcpy(entry->bytes + key.len, value.ptr, value.len);
  return entry;
}

static void set_put(struct hot *hot, struct set *set, uint32_t tag, struct entry *entry) {
  shard_make_room(hot, shard_of(hot, set), entry_bytes(entry));
  unsigned way = set_choose(set);
  set_drop(hot, set, way);
  set->entries[way] = entry;
  set->tags[way] = tag;
  shard_of(hot, set)->bytes += entry_bytes(entry);
}

/* ---- The whole ---- */

bool hot_find(struct hot *hot, str key, kv_version snapshot, struct kv_value *ret) {
  uint64_t hash = rocks_hash(hot->seed, key);
  struct set *set = set_lock(hot, hash);
  unsigned way = set_find(set, (uint32_t)hash, key);
  struct entry *entry = way < WAYS && set->entries[way]->version <= snapshot ? set->entries[way] : NULL;
  if (entry != NULL) {
    atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
    set->used |= (uint8_t)(1U << way);
    shard_of(hot, set)->hits++;
  } else {
    shard_of(hot, set)->misses++;
  }
  set_unlock(hot, set);
  if (entry == NULL)
    return false;
  *ret = (struct kv_value){.bytes = str_make(entry->bytes + entry->key_len, entry->value_len),
                           .found = true,
                           .version = entry->version,
                           .pin = entry};
  return true;
}

void hot_offer(struct hot *hot, str key, kv_version snapshot, str value, kv_version version) {
  if (value.len > HOT_VALUE_BYTES_MAX)
    return;
  assert(version <= snapshot);
  uint64_t hash = rocks_hash(hot->seed, key);
  struct set *set = set_lock(hot, hash);
  bool fits = sizeof(struct entry) + key.len + value.len <= shard_of(hot, set)->bytes_max;
  if (fits && set->forgotten <= snapshot && set_was_offered(set, (uint16_t)(hash >> 16)) &&
      set_find(set, (uint32_t)hash, key) == WAYS) {
    struct entry *entry = entry_new(key, value, version);
    if (entry != NULL)
      set_put(hot, set, (uint32_t)hash, entry);
  }
  set_unlock(hot, set);
}

void hot_forget(struct hot *hot, str key, kv_version version) {
  uint64_t hash = rocks_hash(hot->seed, key);
  struct set *set = set_lock(hot, hash);
  if (set->forgotten < version)
    set->forgotten = version;
  unsigned way = set_find(set, (uint32_t)hash, key);
  if (way < WAYS)
    set_drop(hot, set, way);
  set_unlock(hot, set);
}

status hot_new(size_t bytes, kv_version newest, struct hot **ret) {
  size_t sets = SHARDS;
  while (sets * WAYS * ENTRY_BYTES_GUESS < bytes)
    sets *= 2;
  struct hot *hot = aligned_alloc(64, sizeof *hot);
  struct set *all = calloc(sets, sizeof *all);
  if (hot == NULL || all == NULL) {
    free(hot);
    free(all);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  memset(hot, 0, sizeof *hot);
  hot->sets = all;
  for (size_t i = 0; i < sets; i++)
    all[i].forgotten = newest;
  hot->set_mask = sets - 1;
  crypto_random(&hot->seed, sizeof hot->seed);
  for (size_t i = 0; i < SHARDS; i++) {
    pthread_mutex_init(&hot->shards[i].mutex, NULL);
    hot->shards[i].bytes_max = bytes / SHARDS;
  }
  *ret = hot;
  return status_ok();
}

void hot_free(struct hot *hot) {
  if (hot == NULL)
    return;
  for (size_t i = 0; i <= hot->set_mask; i++)
    for (unsigned way = 0; way < WAYS; way++)
      set_drop(hot, &hot->sets[i], way);
  for (size_t i = 0; i < SHARDS; i++)
    pthread_mutex_destroy(&hot->shards[i].mutex);
  free(hot->sets);
  free(hot);
}

void hot_limit(struct hot *hot, size_t bytes) {
  for (size_t i = 0; i < SHARDS; i++) {
    struct shard *shard = &hot->shards[i];
    pthread_mutex_lock(&shard->mutex);
    shard->bytes_max = bytes / SHARDS;
    shard_make_room(hot, shard, 0);
    pthread_mutex_unlock(&shard->mutex);
  }
}

void hot_stats(struct hot *hot, struct hot_stats *ret) {
  *ret = (struct hot_stats){0};
  for (size_t i = 0; i < SHARDS; i++) {
    struct shard *shard = &hot->shards[i];
    pthread_mutex_lock(&shard->mutex);
    ret->hits += shard->hits;
    ret->misses += shard->misses;
    ret->bytes += shard->bytes;
    pthread_mutex_unlock(&shard->mutex);
  }
}
