/* Reads documents, up to 20 at once, and gives those that pass a branch's filters. */
#include <assert.h>
#include <stdlib.h>

#include "storage/document/codec.h"
#include "storage/query/match.h"
#include "storage/query/stream.h"

enum {
  /* As many as a page of a list has: each batch costs as much as the reading of some documents. */
  BATCH = 20,
  /* A batch is pinned at once: where documents are large, a few; a run learns that from its first batch. */
  BATCH_BYTES = 512 * 1024,
  LARGE_BATCH = 4,
  SCRATCH_FIRST_BYTES = 8 * 1024,
  SCRATCH_MAX_BYTES = 32 * 1024 * 1024, /* the largest document as a tree */
};

struct fetch_stream {
  struct stream base;
  struct stream_context *context;
  struct stream *input;
  const struct plan_branch *branch; /* or NULL */
  bool sorts, input_ended;

  /* The batch: keys (and sort keys) one after the other in `bytes`. values[at..loaded) are read. */
  size_t batch_max, wanted;
  struct buf bytes;
  size_t key_ends[BATCH], sort_key_ends[BATCH];
  struct kv_value values[BATCH];
  size_t at, loaded, count, released;

  struct buf sort_key;
  struct arena scratch;
  char first[] __attribute__((aligned(16))); /* of the scratch memory, where documents are looked into */
};

static struct fetch_stream *self_of(struct stream *stream) {
  return (struct fetch_stream *)(void *)stream;
}

/* ---- What a document has to be ---- */

static status make_sort_key(struct fetch_stream *self, str key, struct doc_map fields, bool *ret_passes) {
  const struct query_plan *plan = self->context->plan;
  bool truncated;
  buf_clear(&self->sort_key);
  for (size_t i = 0; i < plan->query->order_count; i++) {
    const struct query_order *order = &plan->query->orders[i];
    if (order->field.is_name) {
      plan_put_sort_name(key, order->descending, &self->sort_key);
      break;
    }
    const struct doc_value *value = query_field_get(fields, &order->field.path);
    if (value == NULL) {
      *ret_passes = false;
      return status_ok();
    }
    doc_order_encode(value, order->descending ? DOC_DESCENDING : DOC_ASCENDING, &self->sort_key, &truncated);
  }
  if (self->sort_key.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  str made = buf_str(&self->sort_key);
  *ret_passes = str_cmp(made, plan->cursors.lower) >= 0 &&
                (plan->cursors.upper.len == 0 || str_cmp(made, plan->cursors.upper) < 0);
  return status_ok();
}

static bool decodes(const struct plan_branch *branch, bool sorts) {
  return branch != NULL && (branch->decoded_count > 0 || branch->filter_count > 0 || sorts);
}

static status passes(struct fetch_stream *self, str key, str record, bool *ret_passes) {
  const struct plan_branch *branch = self->branch;
  *ret_passes = true;
  if (!decodes(branch, self->sorts))
    return status_ok();
  struct doc_record decoded;
  struct doc_map fields;
  struct doc_path path = self->context->plan->where;
  arena_reset(&self->scratch);
  STATUS_TRY(doc_record_decode(record, &decoded));
  STATUS_TRY(doc_decode_some_fields(decoded.fields, branch->decoded, branch->decoded_count, &self->scratch,
                                    &fields));
  if (branch->filters_names)
    STATUS_TRY(doc_key_to_path(key, &self->scratch, &path));
  for (size_t i = 0; i < branch->existing_count && *ret_passes; i++)
    *ret_passes = query_field_get(fields, branch->existing[i]) != NULL;
  for (size_t i = 0; i < branch->filter_count && *ret_passes; i++)
    *ret_passes = query_filter_matches(branch->filters[i], &path, fields);
  if (*ret_passes && self->sorts)
    return make_sort_key(self, key, fields, ret_passes);
  return status_ok();
}

/* ---- Batches ---- */

static str batch_key(const struct fetch_stream *self, size_t i) {
  size_t start = i == 0 ? 0 : self->sort_key_ends[i - 1];
  return str_make(self->bytes.data + start, self->key_ends[i] - start);
}

static void release(struct fetch_stream *self, size_t until) {
  for (; self->released < until; self->released++)
    kv_value_release(&self->values[self->released]);
}

/* What is past the bound is let go of, and read again in its turn. */
static size_t bound_batch(struct fetch_stream *self, size_t count) {
  const struct kv_value *values = self->values + self->at;
  size_t total = 0, kept = 0;
  assert(count > 0);
  for (size_t i = 0; i < count; i++)
    total += values[i].bytes.len;
  self->batch_max = BATCH_BYTES / (total / count + 1);
  if (self->batch_max > BATCH)
    self->batch_max = BATCH;
  if (self->batch_max == 0)
    self->batch_max = 1;
  for (size_t bytes = 0; kept < count && (kept < LARGE_BATCH || bytes <= BATCH_BYTES); kept++)
    bytes += values[kept].bytes.len;
  return kept;
}

static status load(struct fetch_stream *self) {
  str keys[BATCH];
  struct stream_context *context = self->context;
  size_t count = self->count - self->at;
  if (count > self->batch_max)
    count = self->batch_max;
  for (size_t i = 0; i < count; i++)
    keys[i] = batch_key(self, self->at + i);
  self->released = self->at;
  STATUS_TRY(kv_get_many(context->snapshot, KV_DOCUMENTS, count, keys, self->values + self->at));
  size_t kept = bound_batch(self, count);
  while (count > kept)
    kv_value_release(&self->values[self->at + --count]);
  self->loaded = self->at + count;
  context->stats.documents += count;
  for (size_t i = 0; i < count; i++)
    stream_work(context, self->values[self->at + i].bytes.len);
  if (context->reads.document != NULL)
    for (size_t i = 0; i < count; i++)
      context->reads.document(context->reads.argument, keys[i]);
  return status_ok();
}

static void batch_clear(struct fetch_stream *self, size_t wanted) {
  buf_clear(&self->bytes);
  self->wanted = wanted;
  self->at = self->loaded = self->count = self->released = 0;
}

static void batch_add(struct fetch_stream *self, const struct stream_item *item) {
  /* The others are about as long. */
  if (self->count == 0)
    buf_reserve(&self->bytes, self->wanted * (item->key.len + item->sort_key.len + 4));
  buf_append_str(&self->bytes, item->key);
  self->key_ends[self->count] = self->bytes.len;
  buf_append_str(&self->bytes, item->sort_key);
  self->sort_key_ends[self->count++] = self->bytes.len;
}

/* Gathers the keys of the next batch. *ret_turn: the input has no more for this turn. */
static status gather(struct fetch_stream *self, bool *ret_turn) {
  bool is_few = !self->sorts && self->context->rows_wanted < self->batch_max;
  size_t wanted = is_few ? (size_t)self->context->rows_wanted : self->batch_max;
  batch_clear(self, wanted > 0 ? wanted : 1);
  *ret_turn = false;
  while (self->count < self->wanted && !self->input_ended && !*ret_turn) {
    enum stream_step step;
    struct stream_item item;
    // cppcheck-suppress returnDanglingLifetime
    STATUS_TRY(stream_next(self->input, &step, &item));
    self->input_ended = step == STREAM_END;
    *ret_turn = step == STREAM_TURN;
    if (step == STREAM_ITEM)
      batch_add(self, &item);
  }
  return self->bytes.failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

/* The next of the batch, if it passes. */
static status take(struct fetch_stream *self, bool *ret_passes, struct stream_item *ret) {
  if (self->at == self->loaded)
    STATUS_TRY(load(self));
  size_t i = self->at++;
  if (!self->values[i].found)
    return status_make(STATUS_DATA_LOSS,
                       "An index names a document that does not exist. Run `skerry verify`.");
  struct stream_item item = {.key = batch_key(self, i), .record = self->values[i].bytes};
  STATUS_TRY(passes(self, item.key, item.record, ret_passes));
  item.sort_key = self->sorts ? buf_str(&self->sort_key)
                              : str_make(self->bytes.data + self->key_ends[i],
                                         self->sort_key_ends[i] - self->key_ends[i]);
  *ret = item;
  return status_ok();
}

static status fetch_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  struct fetch_stream *self = self_of(stream);
  for (;;) {
    release(self, self->at);
    bool turn = false, does_pass;
    if (self->at == self->count) {
      if (self->input_ended) {
        *ret_step = STREAM_END;
        return status_ok();
      }
      STATUS_TRY(gather(self, &turn));
    }
    if (self->at < self->count) {
      STATUS_TRY(take(self, &does_pass, ret));
      if (does_pass) {
        *ret_step = STREAM_ITEM;
        return status_ok();
      }
    }
    if ((turn && self->at == self->count) || self->context->work_left == 0) {
      *ret_step = STREAM_TURN;
      return status_ok();
    }
  }
}

/* Reads one document where the input has none: those that are left out are large. */
static status complete_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  struct fetch_stream *self = self_of(stream);
  bool does_pass;
  release(self, self->at);
  STATUS_TRY(stream_next(self->input, ret_step, ret));
  if (*ret_step != STREAM_ITEM || ret->record.len > 0)
    return status_ok();
  batch_clear(self, 1);
  batch_add(self, ret);
  if (self->bytes.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  return take(self, &does_pass, ret);
}

/* The input has the documents already. */
static status filter_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  struct fetch_stream *self = self_of(stream);
  for (;;) {
    bool does_pass;
    STATUS_TRY(stream_next(self->input, ret_step, ret));
    if (*ret_step != STREAM_ITEM)
      return status_ok();
    STATUS_TRY(passes(self, ret->key, ret->record, &does_pass));
    if (self->sorts)
      ret->sort_key = buf_str(&self->sort_key);
    if (does_pass)
      return status_ok();
  }
}

static void fetch_pause(struct stream *stream) {
  struct fetch_stream *self = self_of(stream);
  stream_pause(self->input);
  release(self, self->loaded);
  self->loaded = self->at; /* what is left of the batch is read again */
}

static void fetch_close(struct stream *stream) {
  struct fetch_stream *self = self_of(stream);
  fetch_pause(stream);
  stream_close(self->input);
  buf_fini(&self->bytes);
  buf_fini(&self->sort_key);
  arena_fini(&self->scratch);
  free(self);
}

static const struct stream_type fetch_type = {fetch_next, fetch_pause, fetch_close};
static const struct stream_type complete_type = {complete_next, fetch_pause, fetch_close};
static const struct stream_type filter_type = {filter_next, fetch_pause, fetch_close};

status stream_fetch_open(struct stream_context *context, struct stream *input,
                         const struct plan_branch *branch, enum stream_records records, bool sorts,
                         struct stream **ret) {
  size_t scratch_bytes = decodes(branch, sorts) ? SCRATCH_FIRST_BYTES : 0;
  struct fetch_stream *self = malloc(sizeof *self + scratch_bytes);
  if (self == NULL) {
    stream_close(input);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  memset(self, 0, sizeof *self);
  self->base.type = records == STREAM_ALL_RECORDS    ? &filter_type
                    : records == STREAM_SOME_RECORDS ? &complete_type
                                                     : &fetch_type;
  assert(records != STREAM_SOME_RECORDS || branch == NULL);
  self->context = context;
  self->input = input;
  self->branch = branch;
  self->sorts = sorts;
  self->batch_max = BATCH;
  arena_init(&self->scratch, self->first, scratch_bytes, SCRATCH_MAX_BYTES);
  self->scratch.budget = context->budget;
  *ret = &self->base;
  return status_ok();
}
