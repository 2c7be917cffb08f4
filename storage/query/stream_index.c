/* Scans of indexes: one, or several joined.
 *
 * The first scan leads. For each of its entries the others are moved to the same suffix; where one stands
 * past it, the leader seeks there. All have the same suffix columns in the same order of bytes, so that every
 * step goes forward, and of long stretches that one of them does not have only the first entries are read. */
#include <assert.h>
#include <stdlib.h>

#include "base/limits.h"
#include "storage/query/stream.h"

/* A seek costs as much as some ten steps. Where steps did not reach, fewer are tried the next time. */
enum { STEPS_BEFORE_SEEK = 10 };

struct scan {
  const struct plan_scan *plan;
  struct kv_iter *iter; /* NULL before the first entry and after a pause */
  struct buf reached;   /* the key that it stood on when it was closed */
  bool has_reached, ended;
  unsigned steps; /* to try before a seek */
};

enum place {
  AT_START,     /* the leader has not moved */
  AT_CANDIDATE, /* it stands on an entry that is to be looked at */
  AT_GIVEN,     /* on one that was given or passed over */
  AT_END
};

struct index_stream {
  struct stream base;
  struct stream_context *context;
  const struct plan_branch *branch;
  const struct stream_value_source *sources; /* of the context's values, or NULL */
  enum place place;
  size_t range;        /* in which the leader is, counted in the scan's direction */
  struct buf position; /* the leader's suffix, while paused */
  struct buf seek_key, key, sort_key, values;
  str *column_values;
  size_t scan_count;
  struct scan scans[];
};

static struct index_stream *self_of(struct stream *stream) {
  return (struct index_stream *)stream;
}

static struct plan_range range_at(const struct index_stream *self, size_t at) {
  const struct plan_branch *branch = self->branch;
  return branch->ranges[branch->reverse ? branch->range_count - 1 - at : at];
}

/* a less b in the scan's direction. */
static int compare(const struct index_stream *self, str a, str b) {
  int order = str_cmp(a, b);
  return self->branch->reverse ? -order : order;
}

static str suffix_of(const struct scan *scan) {
  return str_from(kv_iter_key(scan->iter), scan->plan->prefix.len);
}

/* ---- Moving ---- */

static status append_bound(struct buf *out, str prefix, str bound, bool is_upper) {
  buf_append_str(out, prefix);
  buf_append_str(out, bound);
  if (is_upper && bound.len == 0 && !out->failed) { /* the end of the prefix; it begins with a kind's byte */
    while (out->data[out->len - 1] == 0xFF)
      out->len--;
    out->data[out->len - 1]++;
  }
  return out->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

static status bounds_of(const struct index_stream *self, const struct scan *scan, struct buf *lower,
                        struct buf *upper) {
  const struct plan_branch *branch = self->branch;
  STATUS_TRY(append_bound(lower, scan->plan->prefix, branch->ranges[0].lower, false));
  return append_bound(upper, scan->plan->prefix, branch->ranges[branch->range_count - 1].upper, true);
}

static status scan_open(struct index_stream *self, struct scan *scan) {
  struct buf lower = {0}, upper = {0};
  status result = bounds_of(self, scan, &lower, &upper);
  if (status_is_ok(&result))
    result = kv_iter_open(self->context->snapshot, KV_INDEX, buf_str(&lower), buf_str(&upper),
                          self->branch->reverse, &scan->iter);
  buf_fini(&lower);
  buf_fini(&upper);
  return result;
}

/* The end of a move: whether the scan stands on an entry. */
static status moved(struct index_stream *self, struct scan *scan, bool on_entry) {
  struct stream_context *context = self->context;
  stream_work(context, 0);
  scan->ended = !on_entry;
  if (!on_entry)
    return kv_iter_status(scan->iter);
  context->stats.index_entries++;
  return status_ok();
}

static status scan_next(struct index_stream *self, struct scan *scan) {
  return moved(self, scan, kv_iter_next(scan->iter));
}

static status scan_seek(struct index_stream *self, struct scan *scan, str suffix) {
  buf_clear(&self->seek_key);
  buf_append_str(&self->seek_key, scan->plan->prefix);
  buf_append_str(&self->seek_key, suffix);
  if (self->seek_key.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  return moved(self, scan, kv_iter_seek(scan->iter, buf_str(&self->seek_key)));
}

static bool is_there(const struct index_stream *self, const struct scan *scan, str suffix) {
  return scan->ended || compare(self, suffix_of(scan), suffix) >= 0;
}

/* Moves a scan to `suffix` or past it. */
static status follow(struct index_stream *self, struct scan *scan, str suffix) {
  if (scan->iter == NULL) {
    STATUS_TRY(scan_open(self, scan));
    return scan_seek(self, scan, suffix);
  }
  if (is_there(self, scan, suffix))
    return status_ok();
  for (unsigned i = 0; i < scan->steps; i++) {
    STATUS_TRY(scan_next(self, scan));
    if (is_there(self, scan, suffix)) {
      scan->steps = STEPS_BEFORE_SEEK;
      return status_ok();
    }
  }
  scan->steps = (scan->steps + 1) / 2;
  return scan_seek(self, scan, suffix);
}

/* The leader's next candidate, whatever its range. */
static status lead(struct index_stream *self) {
  struct scan *leader = &self->scans[0];
  bool was_closed = leader->iter == NULL;
  if (was_closed)
    STATUS_TRY(scan_open(self, leader));
  if (self->place == AT_START)
    return scan_next(self, leader); /* the iterator's bounds begin with the first range */
  if (was_closed) {
    STATUS_TRY(scan_seek(self, leader, buf_str(&self->position)));
    if (self->place == AT_CANDIDATE || leader->ended || !str_eq(suffix_of(leader), buf_str(&self->position)))
      return status_ok();
  }
  return self->place == AT_GIVEN ? scan_next(self, leader) : status_ok();
}

/* Moves the leader over the gaps between ranges. */
static status enter_range(struct index_stream *self) {
  struct scan *leader = &self->scans[0];
  while (!leader->ended && self->place != AT_END && self->branch->range_count > 1) {
    str suffix = suffix_of(leader);
    struct plan_range range = range_at(self, self->range);
    bool before = self->branch->reverse ? range.upper.len > 0 && str_cmp(suffix, range.upper) >= 0
                                        : str_cmp(suffix, range.lower) < 0;
    bool after = self->branch->reverse ? str_cmp(suffix, range.lower) < 0
                                       : range.upper.len > 0 && str_cmp(suffix, range.upper) >= 0;
    if (after) {
      if (++self->range == self->branch->range_count) {
        self->place = AT_END;
        return status_ok();
      }
    } else if (before) {
      /* Backwards the upper bound itself is outside, but a document's suffix is never equal to one. */
      STATUS_TRY(scan_seek(self, leader, self->branch->reverse ? range.upper : range.lower));
      if (!leader->ended && self->branch->reverse && str_eq(suffix_of(leader), range.upper))
        STATUS_TRY(scan_next(self, leader));
    } else {
      return status_ok();
    }
  }
  return status_ok();
}

/* Whether all stand on the leader's suffix; if not, the leader has moved to where it may be next. */
static status join(struct index_stream *self, bool *ret_all) {
  struct scan *leader = &self->scans[0];
  for (size_t i = 1; i < self->scan_count; i++) {
    struct scan *scan = &self->scans[i];
    str suffix = suffix_of(leader);
    STATUS_TRY(follow(self, scan, suffix));
    if (scan->ended) {
      self->place = AT_END;
    } else if (!str_eq(suffix_of(scan), suffix)) {
      STATUS_TRY(follow(self, leader, suffix_of(scan)));
    } else {
      continue;
    }
    *ret_all = false;
    return status_ok();
  }
  *ret_all = true;
  return status_ok();
}

/* ---- Items ---- */

static status damaged(void) {
  return status_make(STATUS_DATA_LOSS, "An index entry is damaged. Run `skerry verify`.");
}

/* Takes the leader's entry apart: the columns' values and the document's key. */
static status take_entry(struct index_stream *self) {
  const struct plan_branch *branch = self->branch;
  str rest = suffix_of(&self->scans[0]);
  for (size_t i = 0; i < branch->column_count; i++)
    if (!doc_order_take(&rest, branch->columns[i], &self->column_values[i]))
      return damaged();
  self->key.len = self->context->plan->where_key.len;
  index_document_key(branch->scans[0].shape, rest, &self->key);
  return self->key.failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

static bool key_passes(const struct plan_branch *branch, str key) {
  if (!branch->checks_keys)
    return true;
  if (str_cmp(key, branch->keys.lower) < 0 ||
      (branch->keys.upper.len > 0 && str_cmp(key, branch->keys.upper) >= 0))
    return false;
  for (size_t i = 0; i < branch->excluded_key_count; i++)
    if (str_eq(key, branch->excluded_keys[i]))
      return false;
  return true;
}

static void append_flipped(struct buf *out, str bytes, bool flip) {
  size_t start = out->len;
  buf_append_str(out, bytes);
  if (flip && !out->failed)
    for (size_t i = start; i < out->len; i++)
      out->data[i] = (uint8_t)~out->data[i];
}

static void make_sort_key(struct index_stream *self) {
  const struct query *query = self->context->plan->query;
  const struct plan_branch *branch = self->branch;
  buf_clear(&self->sort_key);
  size_t i = 0;
  for (; !query->orders[i].field.is_name; i++) {
    const struct plan_order_source *source = &branch->order_sources[i];
    if (source->is_constant)
      buf_append_str(&self->sort_key, source->constant);
    else
      append_flipped(&self->sort_key, self->column_values[source->column], branch->reverse);
  }
  plan_put_sort_name(buf_str(&self->key), query->orders[i].descending, &self->sort_key);
}

/* Equalities are known already; what their entries say of them is not. */
static void make_values(struct index_stream *self) {
  const struct plan_branch *branch = self->branch;
  struct query_value *values = self->context->values;
  buf_clear(&self->values);
  if (!buf_reserve(&self->values, kv_iter_key(self->scans[0].iter).len)) /* so that it does not move */
    return;
  for (size_t i = 0; i < self->context->value_count; i++) {
    struct stream_value_source source = self->sources[i];
    const struct scan *scan = &self->scans[source.scan];
    values[i].flags = index_entry_flags(kv_iter_value(scan->iter), source.column);
    if (source.column < scan->plan->equality_columns)
      continue;
    size_t column = source.column - scan->plan->equality_columns, start = self->values.len;
    append_flipped(&self->values, self->column_values[column], branch->columns[column] == DOC_DESCENDING);
    values[i].encoded = str_make(self->values.data + start, self->values.len - start);
  }
}

static status give(struct index_stream *self, bool *ret_passes, struct stream_item *ret) {
  STATUS_TRY(take_entry(self));
  *ret_passes = key_passes(self->branch, buf_str(&self->key));
  if (!*ret_passes)
    return status_ok();
  struct stream_item item = {.key = buf_str(&self->key)};
  if (self->context->sort_keys && self->branch->in_order) {
    make_sort_key(self);
    item.sort_key = buf_str(&self->sort_key);
  }
  if (self->sources != NULL)
    make_values(self);
  if (self->sort_key.failed || self->values.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  *ret = item;
  return status_ok();
}

/* Moves on to an entry on which all scans agree. False: this turn is over, or the stream is at its end. */
static status find(struct index_stream *self, bool *ret_found) {
  *ret_found = false;
  STATUS_TRY(lead(self));
  self->place = AT_CANDIDATE;
  for (;;) {
    if (!self->scans[0].ended)
      STATUS_TRY(enter_range(self));
    if (self->scans[0].ended)
      self->place = AT_END;
    if (self->place == AT_END)
      return status_ok();
    STATUS_TRY(join(self, ret_found));
    if (*ret_found || self->place == AT_END || self->context->work_left == 0)
      return status_ok();
  }
}

static status index_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  struct index_stream *self = self_of(stream);
  while (self->place != AT_END) {
    if (self->context->work_left == 0) {
      *ret_step = STREAM_TURN;
      return status_ok();
    }
    bool found, passes;
    STATUS_TRY(find(self, &found));
    if (!found)
      continue;
    self->place = AT_GIVEN;
    STATUS_TRY(give(self, &passes, ret));
    if (passes) {
      *ret_step = STREAM_ITEM;
      return status_ok();
    }
  }
  *ret_step = STREAM_END;
  return status_ok();
}

/* ---- Letting go ---- */

static bool is_on_entry(const struct scan *scan) {
  return scan->iter != NULL && !scan->ended;
}

static void index_pause(struct stream *stream) {
  struct index_stream *self = self_of(stream);
  if (is_on_entry(&self->scans[0])) {
    buf_clear(&self->position);
    buf_append_str(&self->position, suffix_of(&self->scans[0]));
  }
  for (size_t i = 0; i < self->scan_count; i++) {
    struct scan *scan = &self->scans[i];
    if (is_on_entry(scan)) {
      buf_clear(&scan->reached);
      buf_append_str(&scan->reached, kv_iter_key(scan->iter));
      scan->has_reached = true;
    }
    kv_iter_close(scan->iter);
    scan->iter = NULL;
  }
}

/* Tells a transaction what a scan has seen: from its beginning to where it stood, all of it after the end. */
static void tell_range(struct index_stream *self, const struct scan *scan) {
  if (!scan->ended && !scan->has_reached)
    return;
  struct buf lower = {0}, upper = {0};
  status made = bounds_of(self, scan, &lower, &upper);
  if (status_is_ok(&made) && !scan->ended) {
    struct buf *end = self->branch->reverse ? &lower : &upper;
    buf_clear(end);
    buf_append_str(end, buf_str(&scan->reached));
    if (!self->branch->reverse)
      buf_append_byte(end, 0);
  }
  /* Without memory for the bounds: everything, which can only abort what might have gone on. */
  bool failed = !status_is_ok(&made) || lower.failed || upper.failed || scan->reached.failed;
  const struct query_reads *reads = &self->context->reads;
  reads->range(reads->argument, KV_INDEX, failed ? (str){0} : buf_str(&lower),
               failed ? (str){0} : buf_str(&upper));
  buf_fini(&lower);
  buf_fini(&upper);
}

static void index_close(struct stream *stream) {
  struct index_stream *self = self_of(stream);
  index_pause(stream);
  for (size_t i = 0; i < self->scan_count; i++) {
    if (self->context->reads.range != NULL)
      tell_range(self, &self->scans[i]);
    buf_fini(&self->scans[i].reached);
  }
  buf_fini(&self->position);
  buf_fini(&self->seek_key);
  buf_fini(&self->key);
  buf_fini(&self->sort_key);
  buf_fini(&self->values);
  free(self->column_values);
  free(self);
}

static const struct stream_type index_type = {index_next, index_pause, index_close};

status stream_index_open(struct stream_context *context, const struct plan_branch *branch,
                         const struct stream_value_source *sources, struct stream **ret) {
  assert(branch->source == PLAN_INDEX && branch->scan_count > 0 && branch->range_count > 0);
  struct index_stream *self = calloc(1, sizeof *self + branch->scan_count * sizeof(struct scan));
  str *column_values = calloc(branch->column_count + 1, sizeof *column_values);
  if (self == NULL || column_values == NULL) {
    free(self);
    free(column_values);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  self->base.type = &index_type;
  self->context = context;
  self->branch = branch;
  self->sources = sources;
  self->column_values = column_values;
  self->scan_count = branch->scan_count;
  for (size_t i = 0; i < branch->scan_count; i++) {
    self->scans[i].plan = &branch->scans[i];
    self->scans[i].steps = STEPS_BEFORE_SEEK;
  }
  buf_append_str(&self->key, context->plan->where_key);
  *ret = &self->base;
  return status_ok();
}
