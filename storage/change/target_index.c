#include "storage/change/target_index.h"

#include <assert.h>
#include <stdlib.h>

#include "base/crypto.h"

enum { TABLE_MIN = 64 };

struct target_place {
  struct target_place *next;
  uint64_t hash;
  struct target_node *nodes;
  struct target_field *fields;
  size_t len;
  char bytes[];
};

/* Names are the clients' to choose, so the hash has a key of its own, or they could choose names that all
 * fall into one chain. */
static uint64_t mix(uint64_t a, uint64_t odd) {
  a *= odd;
  a ^= a >> 29;
  a *= odd;
  return a ^ a >> 32;
}

static uint64_t hash_of(const struct target_index *index, str bytes) {
  uint64_t hash = index->key[0] ^ bytes.len;
  for (size_t at = 0; at < bytes.len; at += 8) {
    uint64_t chunk = 0;
    memcpy(&chunk, bytes.ptr + at, bytes.len - at < 8 ? bytes.len - at : 8);
    hash = mix(hash ^ chunk, index->key[1]);
  }
  return mix(hash, index->key[1]);
}

static struct target_place **slot_of(const struct target_index *index, uint64_t hash) {
  return &index->table[hash & (index->capacity - 1)];
}

static struct target_place *find(const struct target_index *index, str bytes) {
  if (index->count == 0)
    return NULL;
  uint64_t hash = hash_of(index, bytes);
  struct target_place *place = *slot_of(index, hash);
  while (place != NULL && (place->hash != hash || !str_eq(str_make(place->bytes, place->len), bytes)))
    place = place->next;
  return place;
}

/* The old table stays if there is no memory for another. */
static bool resize(struct target_index *index, size_t capacity) {
  struct target_place **old = index->table;
  size_t old_capacity = index->capacity;
  struct target_place **table = calloc(capacity, sizeof(struct target_place *));
  if (table == NULL)
    return old != NULL;
  index->table = table;
  index->capacity = capacity;
  for (size_t i = 0; i < old_capacity; i++) {
    for (struct target_place *place = old[i], *next; place != NULL; place = next) {
      struct target_place **slot = slot_of(index, place->hash);
      next = place->next;
      place->next = *slot;
      *slot = place;
    }
  }
  free(old);
  return true;
}

static struct target_place *find_or_make(struct target_index *index, str bytes) {
  struct target_place *place = find(index, bytes);
  if (place != NULL)
    return place;
  if (index->table == NULL)
    crypto_random(index->key, sizeof index->key);
  index->key[1] |= 1;
  if (index->count >= index->capacity &&
      !resize(index, index->capacity == 0 ? TABLE_MIN : index->capacity * 2))
    return NULL;
  place = malloc(sizeof *place + bytes.len);
  if (place == NULL)
    return NULL;
  *place = (struct target_place){.hash = hash_of(index, bytes), .len = bytes.len};
  memcpy(place->bytes, bytes.ptr, bytes.len);
  struct target_place **slot = slot_of(index, place->hash);
  place->next = *slot;
  *slot = place;
  index->count++;
  return place;
}

static void drop_if_unused(struct target_index *index, struct target_place *place) {
  if (place->nodes != NULL || place->fields != NULL)
    return;
  struct target_place **at = slot_of(index, place->hash);
  while (*at != place)
    at = &(*at)->next;
  *at = place->next;
  free(place);
  index->count--;
  if (index->capacity > TABLE_MIN && index->count < index->capacity / 8)
    resize(index, index->capacity / 2);
}

void target_index_fini(struct target_index *index) {
  assert(index->count == 0);
  free(index->table);
  index->table = NULL;
  index->capacity = 0;
}

bool target_index_add(struct target_index *index, str bytes, struct target_node *node) {
  struct target_place *place = find_or_make(index, bytes);
  if (place == NULL)
    return false;
  node->place = place;
  node->next = place->nodes;
  node->link = &place->nodes;
  if (node->next != NULL)
    node->next->link = &node->next;
  place->nodes = node;
  return true;
}

void target_index_remove(struct target_index *index, struct target_node *node) {
  if (node->link == NULL)
    return;
  *node->link = node->next;
  if (node->next != NULL)
    node->next->link = node->link;
  node->link = NULL;
  drop_if_unused(index, node->place);
}

struct target_node *target_index_find(const struct target_index *index, str bytes) {
  const struct target_place *place = find(index, bytes);
  return place == NULL ? NULL : place->nodes;
}

/* ---- Fields ---- */

static struct target_field *new_field(const struct doc_field_path *path, str text) {
  size_t bytes = 0;
  for (size_t i = 0; i < path->count; i++)
    bytes += path->segments[i].len;
  struct target_field *field = malloc(sizeof *field + path->count * sizeof(str) + bytes + text.len);
  if (field == NULL)
    return NULL;
  str *segments = (str *)(void *)(field + 1);
  char *at = (char *)(segments + path->count);
  for (size_t i = 0; i < path->count; i++) {
    segments[i] = str_make(at, path->segments[i].len);
    memcpy(at, path->segments[i].ptr, path->segments[i].len);
    at += path->segments[i].len;
  }
  memcpy(at, text.ptr, text.len);
  *field = (struct target_field){.text = str_make(at, text.len), .path = {segments, path->count}};
  return field;
}

static struct target_field **field_at(struct target_place *place, str text) {
  struct target_field **at = &place->fields;
  while (*at != NULL && !str_eq((*at)->text, text))
    at = &(*at)->next;
  return at;
}

bool target_index_add_field(struct target_index *index, str bytes, const struct doc_field_path *path,
                            str text) {
  struct target_place *place = find_or_make(index, bytes);
  if (place == NULL)
    return false;
  struct target_field **at = field_at(place, text);
  if (*at == NULL)
    *at = new_field(path, text);
  if (*at == NULL) {
    drop_if_unused(index, place);
    return false;
  }
  (*at)->users++;
  return true;
}

void target_index_remove_field(struct target_index *index, str bytes, str text) {
  struct target_place *place = find(index, bytes);
  assert(place != NULL);
  struct target_field **at = field_at(place, text), *field = *at;
  assert(field != NULL && field->users > 0);
  if (--field->users > 0)
    return;
  *at = field->next;
  free(field);
  drop_if_unused(index, place);
}

const struct target_field *target_index_fields(const struct target_index *index, str bytes) {
  const struct target_place *place = find(index, bytes);
  return place == NULL ? NULL : place->fields;
}
