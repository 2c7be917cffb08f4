#include "storage/query/sorter.h"

#include <assert.h>
#include <stdlib.h>

#include "storage/query/spill.h"

/* One document; the bytes follow. */
struct item {
  uint32_t sort_key_len, key_len, record_len, capacity;
  char bytes[];
};

/* Memory for items comes in blocks, and goes all at once. */
struct block {
  struct block *next;
  size_t len, capacity;
  char bytes[] __attribute__((aligned(8)));
};

enum { BLOCK_BYTES = 64 * 1024, ITEM_OVERHEAD_BYTES = 24 };

struct sorter {
  struct stream_context *context;
  size_t best;         /* 0: all */
  struct item **items; /* with `best` always sorted */
  size_t count, capacity;
  struct block *blocks;
  size_t taken_bytes; /* of the run's memory */
  struct spill *spill;
  bool finished;
  size_t at;
  struct buf last; /* the sort key given last, when merging */
  bool has_last;
};

static str sort_key_of(const struct item *item) {
  return str_make(item->bytes, item->sort_key_len);
}

static struct sorter_item content_of(const struct item *item) {
  const char *key = item->bytes + item->sort_key_len;
  return (struct sorter_item){sort_key_of(item), str_make(key, item->key_len),
                              str_make(key + item->key_len, item->record_len)};
}

static size_t len_of(struct sorter_item item) {
  return item.sort_key.len + item.key.len + item.record.len;
}

static int compare_items(const void *a, const void *b) {
  return str_cmp(sort_key_of(*(struct item *const *)a), sort_key_of(*(struct item *const *)b));
}

status sorter_new(struct stream_context *context, uint64_t best, struct sorter **ret) {
  struct sorter *sorter = calloc(1, sizeof *sorter);
  if (sorter == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  sorter->context = context;
  sorter->best = best <= SORTER_BEST_MAX ? (size_t)best : 0;
  *ret = sorter;
  return status_ok();
}

/* ---- Memory ---- */

/* Each sorter of a run has the same share, so that the last one finds something. */
static size_t memory_left(const struct sorter *sorter) {
  return sorter->context->memory_max / sorter->context->sorters - sorter->taken_bytes;
}

static bool take(struct sorter *sorter, size_t bytes) {
  if (bytes > memory_left(sorter) || !stream_memory_take(sorter->context, bytes))
    return false;
  sorter->taken_bytes += bytes;
  return true;
}

static void drop_items(struct sorter *sorter) {
  for (struct block *block = sorter->blocks, *next; block != NULL; block = next) {
    next = block->next;
    free(block);
  }
  sorter->blocks = NULL;
  free(sorter->items);
  sorter->items = NULL;
  sorter->count = sorter->capacity = 0;
  stream_memory_give(sorter->context, sorter->taken_bytes);
  sorter->taken_bytes = 0;
}

/* NULL: the memory is used up. */
static struct item *item_new(struct sorter *sorter, size_t len) {
  size_t size = (sizeof(struct item) + len + 7) & ~(size_t)7;
  if (sorter->blocks == NULL || sorter->blocks->capacity - sorter->blocks->len < size) {
    size_t capacity = size > BLOCK_BYTES ? size : BLOCK_BYTES;
    size_t left = memory_left(sorter);
    if (capacity > left / 4 && size < capacity) /* little is left, or there never was much */
      capacity = left / 4 > size ? left / 4 : size;
    if (!take(sorter, sizeof(struct block) + capacity))
      return NULL;
    struct block *block = malloc(sizeof *block + capacity);
    if (block == NULL)
      return NULL;
    block->next = sorter->blocks;
    block->len = 0;
    block->capacity = capacity;
    sorter->blocks = block;
  }
  struct item *item = (struct item *)(void *)(sorter->blocks->bytes + sorter->blocks->len);
  sorter->blocks->len += size;
  item->capacity = (uint32_t)(size - sizeof *item);
  return item;
}

static bool make_room(struct sorter *sorter) {
  if (sorter->count < sorter->capacity)
    return true;
  size_t capacity = sorter->capacity == 0 ? 64 : 2 * sorter->capacity;
  if (!take(sorter, (capacity - sorter->capacity) * sizeof(struct item *)))
    return false;
  struct item **items = realloc(sorter->items, capacity * sizeof *items);
  if (items == NULL)
    return false;
  sorter->items = items;
  sorter->capacity = capacity;
  return true;
}

static void fill(struct item *into, struct sorter_item item) {
  into->sort_key_len = (uint32_t)item.sort_key.len;
  into->key_len = (uint32_t)item.key.len;
  into->record_len = (uint32_t)item.record.len;
  memcpy(into->bytes, item.sort_key.ptr, item.sort_key.len);
  memcpy(into->bytes + item.sort_key.len, item.key.ptr, item.key.len);
  if (item.record.len > 0)
    memcpy(into->bytes + item.sort_key.len + item.key.len, item.record.ptr, item.record.len);
}

/* ---- Everything ---- */

static status spill_items(struct sorter *sorter) {
  if (sorter->spill == NULL)
    STATUS_TRY(spill_new(sorter->context, &sorter->spill));
  if (sorter->count > 1)
    qsort(sorter->items, sorter->count, sizeof *sorter->items, compare_items);
  STATUS_TRY(spill_begin(sorter->spill));
  for (size_t i = 0; i < sorter->count; i++)
    STATUS_TRY(spill_put(sorter->spill, content_of(sorter->items[i])));
  STATUS_TRY(spill_end(sorter->spill));
  drop_items(sorter);
  return status_ok();
}

static status add_to_all(struct sorter *sorter, struct sorter_item item) {
  struct item *room = make_room(sorter) ? item_new(sorter, len_of(item)) : NULL;
  if (room == NULL && (sorter->count > 0 || sorter->spill == NULL)) {
    STATUS_TRY(spill_items(sorter));
    room = make_room(sorter) ? item_new(sorter, len_of(item)) : NULL;
  }
  if (room == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED,
                       "Sorting this query's results takes more memory than a call may use.");
  fill(room, item);
  sorter->items[sorter->count++] = room;
  return status_ok();
}

/* ---- The best few ---- */

/* The first item that is not before `sort_key`. */
static size_t place_of(const struct sorter *sorter, str sort_key) {
  size_t low = 0, high = sorter->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (str_cmp(sort_key_of(sorter->items[middle]), sort_key) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* An item for new bytes: when it is full that of the last one, if it is large enough. */
static struct item *item_for_best(struct sorter *sorter, size_t len) {
  if (sorter->count == sorter->best) {
    struct item *last = sorter->items[--sorter->count];
    if (last->capacity >= len)
      return last;
  }
  return make_room(sorter) ? item_new(sorter, len) : NULL;
}

static status add_to_best(struct sorter *sorter, struct sorter_item item) {
  if (sorter->count == sorter->best &&
      str_cmp(item.sort_key, sort_key_of(sorter->items[sorter->count - 1])) >= 0)
    return status_ok();
  size_t place = place_of(sorter, item.sort_key);
  if (place < sorter->count && str_eq(sort_key_of(sorter->items[place]), item.sort_key))
    return status_ok();
  struct item *room = item_for_best(sorter, len_of(item));
  if (room == NULL) { /* they do not fit: from here on as if there were no bound */
    sorter->best = 0;
    return add_to_all(sorter, item);
  }
  fill(room, item);
  memmove(sorter->items + place + 1, sorter->items + place, (sorter->count - place) * sizeof *sorter->items);
  sorter->items[place] = room;
  sorter->count++;
  return status_ok();
}

status sorter_add(struct sorter *sorter, struct sorter_item item) {
  assert(!sorter->finished && item.key.len > 0);
  if (item.record.len > SORTER_RECORD_MAX)
    item.record = (str){0};
  return sorter->best > 0 ? add_to_best(sorter, item) : add_to_all(sorter, item);
}

/* ---- The end ---- */

status sorter_finish(struct sorter *sorter) {
  assert(!sorter->finished);
  sorter->finished = true;
  if (sorter->spill == NULL) {
    if (sorter->best == 0 && sorter->count > 1)
      qsort(sorter->items, sorter->count, sizeof *sorter->items, compare_items);
    return status_ok();
  }
  if (sorter->count > 0)
    STATUS_TRY(spill_items(sorter));
  return spill_merge(sorter->spill, memory_left(sorter) / 2);
}

static status next_merged(struct sorter *sorter, bool *ret_any, struct sorter_item *ret) {
  do {
    STATUS_TRY(spill_next(sorter->spill, ret_any, ret));
    if (!*ret_any)
      return status_ok();
  } while (sorter->has_last && str_eq(ret->sort_key, buf_str(&sorter->last)));
  buf_clear(&sorter->last);
  buf_append_str(&sorter->last, ret->sort_key);
  sorter->has_last = true;
  return sorter->last.failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

status sorter_next(struct sorter *sorter, bool *ret_any, struct sorter_item *ret) {
  assert(sorter->finished);
  if (sorter->spill != NULL)
    return next_merged(sorter, ret_any, ret);
  while (sorter->at > 0 && sorter->at < sorter->count &&
         compare_items(&sorter->items[sorter->at - 1], &sorter->items[sorter->at]) == 0)
    sorter->at++;
  *ret_any = sorter->at < sorter->count;
  if (*ret_any)
    *ret = content_of(sorter->items[sorter->at++]);
  return status_ok();
}

void sorter_free(struct sorter *sorter) {
  if (sorter == NULL)
    return;
  drop_items(sorter);
  spill_free(sorter->spill);
  buf_fini(&sorter->last);
  free(sorter);
}
