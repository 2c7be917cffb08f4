/* find_nearest: of all documents that come, those whose vectors are nearest. Every vector is looked at. */
#include <math.h>
#include <stdlib.h>

#include "storage/document/codec.h"
#include "storage/query/match.h"
#include "storage/query/nearest.h"
#include "storage/query/sorter.h"
#include "storage/query/stream.h"

enum { SCRATCH_FIRST_BYTES = 32 * 1024, SCRATCH_MAX_BYTES = 32 * 1024 * 1024 };

struct nearest_stream {
  struct stream base;
  struct stream_context *context;
  struct stream *input;
  struct sorter *sorter;
  bool sorted;
  int32_t left; /* of the limit: the sorter gives more if it could not keep just the best */
  struct buf sort_key;
  struct arena scratch;
  char first[SCRATCH_FIRST_BYTES] __attribute__((aligned(16)));
};

static struct nearest_stream *self_of(struct stream *stream) {
  return (struct nearest_stream *)(void *)stream;
}

void nearest_put_distance(const struct query_nearest *nearest, double distance, struct buf *out) {
  uint64_t bits = UINT64_MAX; /* NaN comes last */
  if (!isnan(distance)) {
    double number = (nearest->measure == QUERY_DOT_PRODUCT ? -distance : distance) + 0.0;
    memcpy(&bits, &number, sizeof bits);
    bits ^= bits >> 63 != 0 ? UINT64_MAX : UINT64_C(1) << 63;
  }
  uint8_t bytes[NEAREST_DISTANCE_BYTES];
  for (unsigned i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(bits >> 8 * (7 - i));
  buf_append(out, bytes, sizeof bytes);
}

double nearest_take_distance(const struct query_nearest *nearest, str sort_key) {
  uint64_t bits = 0;
  for (size_t i = 0; i < NEAREST_DISTANCE_BYTES; i++)
    bits = bits << 8 | (uint8_t)sort_key.ptr[i];
  if (bits == UINT64_MAX)
    return NAN;
  bits ^= bits >> 63 != 0 ? UINT64_C(1) << 63 : UINT64_MAX;
  double number;
  memcpy(&number, &bits, sizeof number);
  return (nearest->measure == QUERY_DOT_PRODUCT ? -number : number) + 0.0;
}

static status look(struct nearest_stream *self, const struct stream_item *item) {
  const struct query_nearest *nearest = self->context->plan->query->nearest;
  struct doc_record record;
  struct doc_map fields;
  double distance;
  arena_reset(&self->scratch);
  STATUS_TRY(doc_record_decode(item->record, &record));
  STATUS_TRY(doc_decode_some_fields(record.fields, &nearest->field.segments[0], 1, &self->scratch, &fields));
  if (!query_distance_to(nearest, fields, &distance))
    return status_ok();
  buf_clear(&self->sort_key);
  nearest_put_distance(nearest, distance, &self->sort_key);
  buf_append_str(&self->sort_key, item->key);
  if (self->sort_key.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  return sorter_add(self->sorter, (struct sorter_item){buf_str(&self->sort_key), item->key, item->record});
}

static status nearest_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  struct nearest_stream *self = self_of(stream);
  struct stream_item item = {.record = {0}};
  while (!self->sorted) {
    STATUS_TRY(stream_next(self->input, ret_step, &item));
    if (*ret_step == STREAM_TURN)
      return status_ok();
    if (*ret_step == STREAM_ITEM) {
      STATUS_TRY(look(self, &item));
      continue;
    }
    self->sorted = true;
    stream_pause(self->input);
    STATUS_TRY(sorter_finish(self->sorter));
  }
  bool any = false;
  struct sorter_item sorted;
  if (self->left > 0)
    STATUS_TRY(sorter_next(self->sorter, &any, &sorted));
  self->left -= any;
  *ret_step = any ? STREAM_ITEM : STREAM_END;
  if (any)
    *ret = (struct stream_item){sorted.key, sorted.sort_key, sorted.record};
  return status_ok();
}

static void nearest_pause(struct stream *stream) {
  stream_pause(self_of(stream)->input);
}

static void nearest_close(struct stream *stream) {
  struct nearest_stream *self = self_of(stream);
  stream_close(self->input);
  sorter_free(self->sorter);
  buf_fini(&self->sort_key);
  arena_fini(&self->scratch);
  free(self);
}

static const struct stream_type nearest_type = {nearest_next, nearest_pause, nearest_close};

status stream_nearest_open(struct stream_context *context, struct stream *input, struct stream **ret) {
  struct nearest_stream *self = calloc(1, sizeof *self);
  if (self == NULL) {
    stream_close(input);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  self->base.type = &nearest_type;
  self->context = context;
  self->input = input;
  self->left = context->plan->query->nearest->limit;
  arena_init(&self->scratch, self->first, sizeof self->first, SCRATCH_MAX_BYTES);
  self->scratch.budget = context->budget;
  status result = sorter_new(context, (uint64_t)context->plan->query->nearest->limit, &self->sorter);
  if (!status_is_ok(&result)) {
    nearest_close(&self->base);
    return result;
  }
  *ret = &self->base;
  return result;
}
