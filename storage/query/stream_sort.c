/* Several streams, sorted. All of the input is read before the first item comes. */
#include <stdlib.h>

#include "storage/query/sorter.h"
#include "storage/query/stream.h"

struct sort_stream {
  struct stream base;
  struct stream_context *context;
  struct sorter *sorter;
  bool sorted, keeps_records;
  size_t at, count;
  struct stream *inputs[];
};

static struct sort_stream *self_of(struct stream *stream) {
  return (struct sort_stream *)stream;
}

/* Reads all inputs, or until the turn is over. */
static status gather(struct sort_stream *self, bool *ret_all) {
  *ret_all = false;
  while (self->at < self->count) {
    enum stream_step step;
    struct stream_item item;
    // cppcheck-suppress returnDanglingLifetime
    STATUS_TRY(stream_next(self->inputs[self->at], &step, &item));
    if (step == STREAM_TURN)
      return status_ok();
    if (step == STREAM_ITEM)
      STATUS_TRY(
          sorter_add(self->sorter, (struct sorter_item){item.sort_key, item.key,
                                                        self->keeps_records ? item.record : (str){0}}));
    else
      stream_pause(self->inputs[self->at++]); /* it is needed no more but for what it read */
  }
  *ret_all = true;
  return sorter_finish(self->sorter);
}

static status sort_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  struct sort_stream *self = self_of(stream);
  if (!self->sorted) {
    STATUS_TRY(gather(self, &self->sorted));
    if (!self->sorted) {
      *ret_step = STREAM_TURN;
      return status_ok();
    }
  }
  bool any;
  struct sorter_item item;
  STATUS_TRY(sorter_next(self->sorter, &any, &item));
  *ret_step = any ? STREAM_ITEM : STREAM_END;
  if (any)
    *ret = (struct stream_item){item.key, item.sort_key, item.record};
  return status_ok();
}

static void sort_pause(struct stream *stream) {
  struct sort_stream *self = self_of(stream);
  for (size_t i = 0; i < self->count; i++)
    stream_pause(self->inputs[i]);
}

static void sort_close(struct stream *stream) {
  struct sort_stream *self = self_of(stream);
  for (size_t i = 0; i < self->count; i++)
    stream_close(self->inputs[i]);
  sorter_free(self->sorter);
  free(self);
}

static const struct stream_type sort_type = {sort_next, sort_pause, sort_close};

status stream_sort_open(struct stream_context *context, struct stream **inputs, size_t count, uint64_t best,
                        bool keeps_records, struct stream **ret) {
  struct sort_stream *self = calloc(1, sizeof *self + count * sizeof(struct stream *));
  if (self == NULL) {
    for (size_t i = 0; i < count; i++)
      stream_close(inputs[i]);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  self->base.type = &sort_type;
  self->context = context;
  self->count = count;
  self->keeps_records = keeps_records;
  memcpy(self->inputs, inputs, count * sizeof *inputs);
  status result = sorter_new(context, best, &self->sorter);
  if (!status_is_ok(&result)) {
    sort_close(&self->base);
    return result;
  }
  *ret = &self->base;
  return result;
}
