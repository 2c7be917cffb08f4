#include "storage/rocksdb/recent.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
  BYTES_AN_ENTRY = 128,      /* of the whole window: 48 for entry and chain, 80 for the key */
  ENTRIES_MIN = 1024,        /* then the keys' ring holds several of the longest keys */
  KEY_BYTES_MAX = 16 * 1024, /* KV_KEY_MAX_BYTES */
};

status recent_init(struct recent *r, size_t bytes, int64_t version) {
  size_t entries = ENTRIES_MIN;
  while (entries * 2 * BYTES_AN_ENTRY <= bytes)
    entries *= 2;
  *r = (struct recent){.entry_capacity = entries,
                       .chain_count = entries,
                       .key_capacity = entries * 80,
                       .first = 1,
                       .next = 1,
                       .reaches = version};
  r->entries = calloc(entries, sizeof *r->entries);
  r->chains = calloc(entries, sizeof *r->chains);
  r->keys = malloc(r->key_capacity);
  if (r->entries != NULL && r->chains != NULL && r->keys != NULL)
    return status_ok();
  recent_fini(r);
  return status_default(STATUS_RESOURCE_EXHAUSTED);
}

void recent_fini(struct recent *r) {
  free(r->entries);
  free(r->chains);
  free(r->keys);
  *r = (struct recent){0};
}

static struct recent_entry *entry(const struct recent *r, uint64_t number) {
  return &r->entries[number & (r->entry_capacity - 1)];
}

static void drop_first(struct recent *r) {
  r->reaches = entry(r, r->first)->version;
  r->first++;
}

/* Room for a key in one piece. The oldest key lies at or after the place of the next one, or before all of
 * it: whatever lies in [at, at + len) belongs to the oldest entries. */
static size_t make_room(struct recent *r, size_t len) {
  if (r->next - r->first == r->entry_capacity)
    drop_first(r);
  size_t at = r->key_end;
  if (r->key_capacity - at < len) {
    /* From the start again. Keys that lie between here and the end are older than those at the start. */
    while (r->first < r->next && entry(r, r->first)->key_at >= at)
      drop_first(r);
    at = 0;
  }
  while (r->first < r->next) {
    const struct recent_entry *oldest = entry(r, r->first);
    bool overlaps = oldest->key_at < at + len && at < (size_t)oldest->key_at + oldest->key_len;
    if (!overlaps)
      break;
    drop_first(r);
  }
  return at;
}

void recent_add(struct recent *r, int64_t version, unsigned space, uint64_t hash, str key) {
  assert(key.len > 0 && key.len <= KEY_BYTES_MAX && version >= r->reaches);
  size_t at = make_room(r, key.len);
  memcpy(r->keys + at, key.ptr, key.len);
  r->key_end = at + key.len;
  uint64_t *chain = &r->chains[hash & (r->chain_count - 1)];
  *entry(r, r->next) = (struct recent_entry){.version = version,
                                             .hash = hash,
                                             .before = *chain,
                                             .key_at = (uint32_t)at,
                                             .key_len = (uint16_t)key.len,
                                             .space = (uint16_t)space};
  *chain = r->next++;
}

void recent_forget(struct recent *r, int64_t version) {
  r->first = r->next;
  r->key_end = 0;
  if (version > r->reaches)
    r->reaches = version;
}

/* The number of the first entry after `since`. */
static uint64_t first_after(const struct recent *r, int64_t since) {
  uint64_t low = r->first, high = r->next;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (entry(r, middle)->version > since)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

int64_t recent_count(const struct recent *r, int64_t since) {
  return since < r->reaches ? RECENT_UNKNOWN : (int64_t)(r->next - first_after(r, since));
}

bool recent_has_key(const struct recent *r, int64_t since, unsigned space, uint64_t hash) {
  uint64_t number = r->chains[hash & (r->chain_count - 1)];
  while (number >= r->first) { /* what is older was dropped, the rest of its chain too */
    const struct recent_entry *e = entry(r, number);
    if (e->version <= since)
      return false;
    if (e->hash == hash && e->space == space)
      return true;
    number = e->before;
  }
  return false;
}

bool recent_has_range(const struct recent *r, int64_t since, unsigned space, str lower, str upper) {
  for (uint64_t number = first_after(r, since); number < r->next; number++) {
    const struct recent_entry *e = entry(r, number);
    str key = str_make(r->keys + e->key_at, e->key_len);
    if (e->space == space && str_cmp(key, lower) >= 0 && (upper.len == 0 || str_cmp(key, upper) < 0))
      return true;
  }
  return false;
}
