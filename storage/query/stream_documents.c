/* A scan of documents in the order of their names, forwards or backwards.
 *
 * What is below a document follows it directly. Where only documents of one depth are wanted (a collection,
 * or all collections of one parent), a seek passes over what lies below each; where a whole tree is wanted,
 * every key is looked at. */
#include <assert.h>
#include <stdlib.h>

#include "storage/query/stream.h"

struct documents_stream {
  struct stream base;
  struct stream_context *context;
  const struct plan_branch *branch;
  size_t depth;     /* how many segments below the place's key; 0: any, of the collections meant */
  struct buf group; /* the segment of the collection group; empty: any collection */
  struct kv_iter *iter;
  bool ended, on_entry;
  bool is_new;         /* the entry was not looked at yet */
  struct buf position; /* the key that it stands on, while paused; the end of what was read */
  bool has_position;
  struct buf seek_key, sort_key;
};

static struct documents_stream *self_of(struct stream *stream) {
  return (struct documents_stream *)stream;
}

static status moved(struct documents_stream *self, bool on_entry) {
  struct stream_context *context = self->context;
  self->on_entry = on_entry;
  if (!on_entry) {
    self->ended = true;
    return kv_iter_status(self->iter);
  }
  stream_work(context, kv_iter_value(self->iter).len);
  context->stats.documents++;
  return status_ok();
}

/* To the next entry that was not looked at. */
static status move_on(struct documents_stream *self) {
  struct plan_range range = self->branch->ranges[0];
  if (self->iter == NULL) {
    STATUS_TRY(kv_iter_open(self->context->snapshot, KV_DOCUMENTS, range.lower, range.upper,
                            self->branch->reverse, &self->iter));
    if (self->has_position) {
      STATUS_TRY(moved(self, kv_iter_seek(self->iter, buf_str(&self->position))));
      if (!self->on_entry || self->is_new || !str_eq(kv_iter_key(self->iter), buf_str(&self->position)))
        return status_ok();
    }
  } else if (self->is_new) {
    return status_ok();
  }
  return moved(self, kv_iter_next(self->iter));
}

static status damaged(void) {
  return status_make(STATUS_DATA_LOSS, "The stored name of a document is damaged. Run `skerry verify`.");
}

/* At a fixed depth: the document's key that `key` is or lies below. */
static status at_depth(const struct documents_stream *self, str key, str *ret_document) {
  size_t above = self->context->plan->place_key.len;
  str rest = str_from(key, above), segment;
  for (size_t i = 0; i < self->depth; i++)
    if (!doc_key_take_segment(&rest, &segment))
      return damaged();
  *ret_document = str_make(key.ptr, key.len - rest.len);
  return status_ok();
}

/* From what lies below a document to where the next one may be. */
static status leave_below(struct documents_stream *self, str document) {
  buf_clear(&self->seek_key);
  buf_append_str(&self->seek_key, document);
  if (self->seek_key.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  if (!self->branch->reverse)
    self->seek_key.data[document.len - 1]++; /* key.h: the end of what lies below */
  return moved(self, kv_iter_seek(self->iter, buf_str(&self->seek_key)));
}

static status in_group(const struct documents_stream *self, str key, bool *ret) {
  str rest = str_from(key, self->context->plan->place_key.len), collection, document;
  *ret = false;
  while (rest.len > 0) {
    if (!doc_key_take_segment(&rest, &collection) || !doc_key_take_segment(&rest, &document))
      return damaged();
    *ret = self->group.len == 0 || str_eq(collection, buf_str(&self->group));
  }
  return status_ok();
}

/* Whether the iterator stands on a document that is wanted; what is around it may be passed over. */
static status look(struct documents_stream *self, bool *ret_wanted) {
  str key = kv_iter_key(self->iter), document;
  self->is_new = false;
  *ret_wanted = false;
  if (self->depth == 0)
    return in_group(self, key, ret_wanted);
  STATUS_TRY(at_depth(self, key, &document));
  *ret_wanted = document.len == key.len;
  if (*ret_wanted)
    return status_ok();
  STATUS_TRY(leave_below(self, document));
  self->is_new = true;
  return status_ok();
}

static bool is_excluded(const struct plan_branch *branch, str key) {
  for (size_t i = 0; i < branch->excluded_key_count; i++)
    if (str_eq(key, branch->excluded_keys[i]))
      return true;
  return false;
}

static status give(struct documents_stream *self, struct stream_item *ret) {
  const struct query *query = self->context->plan->query;
  struct stream_item item = {.key = kv_iter_key(self->iter), .record = kv_iter_value(self->iter)};
  if (self->context->sort_keys && self->branch->in_order) {
    buf_clear(&self->sort_key);
    size_t i = 0;
    for (; !query->orders[i].field.is_name; i++)
      buf_append_str(&self->sort_key, self->branch->order_sources[i].constant);
    plan_put_sort_name(item.key, query->orders[i].descending, &self->sort_key);
    if (self->sort_key.failed)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    item.sort_key = buf_str(&self->sort_key);
  }
  *ret = item;
  return status_ok();
}

static status documents_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  struct documents_stream *self = self_of(stream);
  while (!self->ended) {
    if (self->context->work_left == 0) {
      *ret_step = STREAM_TURN;
      return status_ok();
    }
    bool wanted;
    STATUS_TRY(move_on(self));
    if (self->ended)
      break;
    STATUS_TRY(look(self, &wanted));
    if (!wanted || is_excluded(self->branch, kv_iter_key(self->iter)))
      continue;
    *ret_step = STREAM_ITEM;
    return give(self, ret);
  }
  *ret_step = STREAM_END;
  return status_ok();
}

static void documents_pause(struct stream *stream) {
  struct documents_stream *self = self_of(stream);
  if (self->iter != NULL && self->on_entry && !self->ended) {
    buf_clear(&self->position);
    buf_append_str(&self->position, kv_iter_key(self->iter));
    self->has_position = true;
  }
  kv_iter_close(self->iter);
  self->iter = NULL;
}

static void documents_close(struct stream *stream) {
  struct documents_stream *self = self_of(stream);
  const struct query_reads *reads = &self->context->reads;
  documents_pause(stream);
  if (reads->range != NULL && (self->ended || self->has_position)) {
    struct plan_range range = self->branch->ranges[0];
    if (!self->ended && self->branch->reverse)
      range.lower = buf_str(&self->position);
    buf_append_byte(&self->position, 0);
    if (!self->ended && !self->branch->reverse && !self->position.failed)
      range.upper = buf_str(&self->position);
    reads->range(reads->argument, KV_DOCUMENTS, range.lower, range.upper);
  }
  buf_fini(&self->group);
  buf_fini(&self->position);
  buf_fini(&self->seek_key);
  buf_fini(&self->sort_key);
  free(self);
}

static const struct stream_type documents_type = {documents_next, documents_pause, documents_close};

/* The collection id as a segment of a key. */
static status group_segment(const struct stream_context *context, struct buf *out) {
  const struct query *query = context->plan->query;
  struct arena arena;
  arena_init(&arena, NULL, 0, (size_t)1024 * 64);
  struct doc_path collection;
  str key = {0};
  status result = doc_path_child(&context->plan->where, query->collection_id, (str){0}, &arena, &collection);
  if (status_is_ok(&result))
    result = doc_key_from_path(&collection, &arena, &key);
  if (status_is_ok(&result))
    buf_append_str(out, str_from(key, context->plan->where_key.len));
  arena_fini(&arena);
  return result;
}

status stream_documents_open(struct stream_context *context, const struct plan_branch *branch,
                             struct stream **ret) {
  const struct query *query = context->plan->query;
  assert(branch->source == PLAN_DOCUMENTS && branch->range_count == 1);
  struct documents_stream *self = calloc(1, sizeof *self);
  if (self == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  self->base.type = &documents_type;
  self->context = context;
  self->branch = branch;
  self->depth = query->all_descendants ? 0 : query->collection_id.len > 0 ? 1 : 2;
  status result = status_ok();
  if (query->all_descendants && query->collection_id.len > 0)
    result = group_segment(context, &self->group);
  if (status_is_ok(&result) && self->group.failed)
    result = status_default(STATUS_RESOURCE_EXHAUSTED);
  if (!status_is_ok(&result)) {
    documents_close(&self->base);
    return result;
  }
  *ret = &self->base;
  return result;
}
