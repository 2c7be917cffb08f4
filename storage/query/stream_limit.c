/* The query's offset and limit. */
#include <stdlib.h>

#include "storage/query/stream.h"

struct limit_stream {
  struct stream base;
  struct stream_context *context;
  struct stream *input;
  uint64_t to_skip, left; /* left: UINT64_MAX without a limit */
};

static struct limit_stream *self_of(struct stream *stream) {
  return (void *)stream;
}

static status limit_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  struct limit_stream *self = self_of(stream);
  for (;;) {
    if (self->left == 0) {
      *ret_step = STREAM_END;
      return status_ok();
    }
    STATUS_TRY(stream_next(self->input, ret_step, ret));
    if (*ret_step != STREAM_ITEM)
      return status_ok();
    if (self->context->rows_wanted != UINT64_MAX)
      self->context->rows_wanted--;
    if (self->to_skip == 0)
      break;
    self->to_skip--;
    self->context->stats.skipped++;
  }
  if (self->left != UINT64_MAX)
    self->left--;
  return status_ok();
}

static void limit_pause(struct stream *stream) {
  stream_pause(self_of(stream)->input);
}

static void limit_close(struct stream *stream) {
  stream_close(self_of(stream)->input);
  free(self_of(stream));
}

static const struct stream_type limit_type = {limit_next, limit_pause, limit_close};

status stream_limit_open(struct stream_context *context, struct stream *input, struct stream **ret) {
  struct limit_stream *self = calloc(1, sizeof *self);
  if (self == NULL) {
    stream_close(input);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  const struct query *query = context->plan->query;
  self->base.type = &limit_type;
  self->context = context;
  self->input = input;
  self->to_skip = (uint64_t)query->offset;
  self->left = query->has_limit ? (uint64_t)query->limit : UINT64_MAX;
  *ret = &self->base;
  return status_ok();
}
