/* Several streams in the query's order as one, each document once. */
#include <stdlib.h>

#include "storage/query/stream.h"

struct head {
  struct stream *stream;
  enum { NEEDED, READY, ENDED } state;
  struct stream_item item;
  struct buf kept; /* the item's strings, while its stream is paused */
};

struct union_stream {
  struct stream base;
  struct stream_context *context;
  size_t count;
  struct head heads[];
};

static struct union_stream *self_of(struct stream *stream) {
  return (struct union_stream *)stream;
}

/* Has every head ready or ended. *ret_all false: this turn is over. */
static status fill(struct union_stream *self, bool *ret_all) {
  for (size_t i = 0; i < self->count; i++) {
    struct head *head = &self->heads[i];
    if (head->state != NEEDED)
      continue;
    enum stream_step step;
    // cppcheck-suppress returnDanglingLifetime
    STATUS_TRY(stream_next(head->stream, &step, &head->item));
    if (step == STREAM_TURN) {
      *ret_all = false;
      return status_ok();
    }
    head->state = step == STREAM_ITEM ? READY : ENDED;
  }
  *ret_all = true;
  return status_ok();
}

static status union_next(struct stream *stream, enum stream_step *ret_step, struct stream_item *ret) {
  struct union_stream *self = self_of(stream);
  bool all;
  STATUS_TRY(fill(self, &all));
  if (!all) {
    *ret_step = STREAM_TURN;
    return status_ok();
  }
  struct head *first = NULL;
  for (size_t i = 0; i < self->count; i++) {
    struct head *head = &self->heads[i];
    if (head->state == READY && (first == NULL || str_cmp(head->item.sort_key, first->item.sort_key) < 0))
      first = head;
  }
  if (first == NULL) {
    *ret_step = STREAM_END;
    return status_ok();
  }
  for (size_t i = 0; i < self->count; i++)
    if (self->heads[i].state == READY && str_eq(self->heads[i].item.sort_key, first->item.sort_key))
      self->heads[i].state = NEEDED; /* its item lives on until it is asked for the next */
  *ret_step = STREAM_ITEM;
  *ret = (struct stream_item){.key = first->item.key, .sort_key = first->item.sort_key};
  return status_ok();
}

static void union_pause(struct stream *stream) {
  struct union_stream *self = self_of(stream);
  for (size_t i = 0; i < self->count; i++) {
    struct head *head = &self->heads[i];
    if (head->state == READY && (const char *)head->kept.data != head->item.key.ptr) {
      size_t key_len = head->item.key.len;
      buf_clear(&head->kept);
      buf_append_str(&head->kept, head->item.key);
      buf_append_str(&head->kept, head->item.sort_key);
      str kept = buf_str(&head->kept);
      head->item.key = str_make(kept.ptr, key_len);
      head->item.sort_key = str_from(kept, key_len);
    }
    stream_pause(head->stream);
  }
}

static void union_close(struct stream *stream) {
  struct union_stream *self = self_of(stream);
  for (size_t i = 0; i < self->count; i++) {
    stream_close(self->heads[i].stream);
    buf_fini(&self->heads[i].kept);
  }
  free(self);
}

static const struct stream_type union_type = {union_next, union_pause, union_close};

status stream_union_open(struct stream_context *context, struct stream **inputs, size_t count,
                         struct stream **ret) {
  struct union_stream *self = calloc(1, sizeof *self + count * sizeof(struct head));
  if (self == NULL) {
    for (size_t i = 0; i < count; i++)
      stream_close(inputs[i]);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  self->base.type = &union_type;
  self->context = context;
  self->count = count;
  for (size_t i = 0; i < count; i++)
    self->heads[i].stream = inputs[i];
  *ret = &self->base;
  return status_ok();
}
