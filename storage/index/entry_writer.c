#include "storage/index/entry_writer.h"

#include <assert.h>

#include "storage/document/key.h"
#include "storage/index/entry_parts.h"

bool index_writer_out_of_memory(struct index_writer *w) {
  w->failure = status_make(STATUS_RESOURCE_EXHAUSTED,
                           "The index entries of a document need more memory than a call may take.");
  return false;
}

/* The bytes that stand in `key`, kept in the arena. */
static bool keep(struct index_writer *w, str *ret) {
  *ret = w->key.failed ? (str){NULL, 0} : arena_str_copy(w->arena, buf_str(&w->key));
  w->key.len = 0;
  return ret->ptr != NULL || index_writer_out_of_memory(w);
}

bool index_writer_init(struct index_writer *w, const struct doc_path *document, struct arena *arena) {
  *w = (struct index_writer){.document = document,
                             .collection = doc_path_parent(document),
                             .collection_id = doc_path_collection_id(document),
                             .arena = arena};
  doc_key_put_segment(doc_path_id(document), &w->key);
  return keep(w, &w->id);
}

void index_writer_fini(struct index_writer *w) {
  buf_fini(&w->key);
}

str index_writer_place(struct index_writer *w, enum index_kind kind) {
  assert(kind != INDEX_COMPOSITE);
  if (w->places[kind].ptr != NULL)
    return w->places[kind];
  w->key.len = 0;
  index_put_place(kind, 0, kind != INDEX_FIELD, &w->collection, w->collection_id, &w->key);
  str place;
  if (!keep(w, &place))
    return (str){NULL, 0};
  if (kind != INDEX_FIELD && w->path.ptr == NULL) {
    doc_key_put_relative(w->document, &w->key);
    if (!keep(w, &w->path))
      return (str){NULL, 0};
  }
  w->places[kind] = place;
  return place;
}

/* ---- One entry ---- */

static bool refuse(struct index_writer *w, const char *what) {
  w->failure =
      status_make(STATUS_INVALID_ARGUMENT, "%s Document: " STR_FMT, what, STR_ARG(w->document->name));
  return false;
}

static bool make_key(struct index_writer *w, const struct index_frame *frame, str item) {
  struct buf *key = &w->key;
  key->len = 0;
  if (!buf_reserve(key, frame->head.len + item.len + frame->rest.len))
    return index_writer_out_of_memory(w);
  buf_append_str(key, frame->head);
  buf_append_str(key, item);
  buf_append_str(key, frame->rest);
  return true;
}

/* The value of an entry, in `room` or without bytes. */
static str make_value(const struct index_frame *frame, uint8_t item_flags, uint8_t *room) {
  assert(frame->column_count <= LIMIT_INDEX_COLUMNS);
  uint8_t any = 0;
  for (size_t i = 0; i < frame->column_count; i++) {
    room[i] = i == frame->item_column ? item_flags : frame->flags[i];
    any |= room[i];
  }
  return str_make(room, any == 0 ? 0 : frame->column_count);
}

static bool delete_entry(struct index_writer *w, const struct index_frame *frame,
                         const struct index_item *item) {
  if (w->batch == NULL)
    return true;
  if (!make_key(w, frame, item->bytes))
    return false;
  if (w->key.len <= KV_KEY_MAX_BYTES) /* others were never put */
    kv_batch_delete(w->batch, KV_INDEX, buf_str(&w->key));
  return true;
}

static bool check_limits(struct index_writer *w, const struct index_frame *frame,
                         const struct index_item *item) {
  size_t value =
      item->bytes.len < LIMIT_INDEXED_VALUE_BYTES ? item->bytes.len : (size_t)LIMIT_INDEXED_VALUE_BYTES;
  if (frame->size_bytes + value > LIMIT_INDEX_ENTRY_BYTES || w->key.len > KV_KEY_MAX_BYTES)
    return refuse(w, "An index entry would be longer than 7680 bytes: its fields and the document's name are "
                     "too long for the index together.");
  w->entries++;
  w->entries_bytes += w->key.len;
  if (w->entries > LIMIT_INDEX_ENTRIES)
    return refuse(w, "Too many index entries: a document may have at most 40000. Exempt large arrays and "
                     "maps from indexing.");
  if (w->entries_bytes > LIMIT_INDEX_ENTRIES_BYTES)
    return refuse(w, "The index entries are too large: those of a document may have at most 8 MiB together. "
                     "Exempt large fields from indexing.");
  return true;
}

static bool put_entry(struct index_writer *w, const struct index_frame *frame,
                      const struct index_item *item) {
  if (!make_key(w, frame, item->bytes) || !check_limits(w, frame, item))
    return false;
  uint8_t room[LIMIT_INDEX_COLUMNS];
  str value = make_value(frame, item->flags, room);
  if (w->batch != NULL) {
    kv_batch_put(w->batch, KV_INDEX, buf_str(&w->key), value);
  } else if (w->visit != NULL) {
    w->failure = w->visit(w->argument, buf_str(&w->key), value);
    return status_is_ok(&w->failure);
  }
  return true;
}

/* ---- Sets ---- */

static_assert(LIMIT_NAME_BYTES + LIMIT_INDEXED_VALUE_BYTES + INDEX_ENTRY_EXTRA_BYTES <=
                  LIMIT_INDEX_ENTRY_BYTES,
              "every document has entries of its single fields");

static bool same_frame(const struct index_frame *a, const struct index_frame *b) {
  return a == b || (str_eq(a->head, b->head) && str_eq(a->rest, b->rest));
}

static bool same_value(const struct index_frame *a, uint8_t a_flags, const struct index_frame *b,
                       uint8_t b_flags) {
  if (a == b)
    return a_flags == b_flags || a->item_column >= a->column_count;
  uint8_t a_room[LIMIT_INDEX_COLUMNS], b_room[LIMIT_INDEX_COLUMNS];
  return str_eq(make_value(a, a_flags, a_room), make_value(b, b_flags, b_room));
}

bool index_writer_change(struct index_writer *w, const struct index_frame *old_frame, struct index_items olds,
                         const struct index_frame *new_frame, struct index_items news) {
  bool same = olds.count > 0 && news.count > 0 && same_frame(old_frame, new_frame);
  size_t at_old = 0, at_new = 0;
  while (at_old < olds.count || at_new < news.count) {
    int order = at_old == olds.count   ? 1
                : at_new == news.count ? -1
                : same                 ? str_cmp(olds.items[at_old].bytes, news.items[at_new].bytes)
                                       : -1;
    if (order < 0 && !delete_entry(w, old_frame, &olds.items[at_old]))
      return false;
    bool stays =
        order == 0 && same_value(old_frame, olds.items[at_old].flags, new_frame, news.items[at_new].flags);
    if (order >= 0 && !stays && !put_entry(w, new_frame, &news.items[at_new]))
      return false;
    at_old += order <= 0;
    at_new += order >= 0;
  }
  return true;
}
