#include "server/listener/guard_output.h"

#include <assert.h>
#include <string.h>

#include "server/listener/guard_refusal.h"

enum {
  STEP_BYTES_MAX = GUARD_BLOCK_BYTES_MAX + 512, /* that one step copies at most */
  STEP_RANGES_MAX = 4,
  COPY_BYTES_MAX = 1024, /* shorter ranges are copied together: one range fewer to write */
};

void guard_output_clear(struct guard_output *output) {
  output->count = 0;
  output->bytes = output->copied_len = output->answers_len = 0;
}

static bool has_room_for_answer(const struct guard_output *output) {
  return output->answers_len + GUARD_REFUSAL_BYTES_MAX <= GUARD_OUTPUT_ANSWERS;
}

bool guard_output_has_room(const struct guard_output *output) {
  return has_room_for_answer(output) && output->count + STEP_RANGES_MAX <= GUARD_OUTPUT_RANGES &&
         output->copied_len + STEP_BYTES_MAX <= GUARD_OUTPUT_COPIED;
}

static void add_range(struct guard_output *output, const uint8_t *bytes, size_t len) {
  assert(output->count < GUARD_OUTPUT_RANGES);
  output->ranges[output->count++] = (struct iovec){.iov_base = (uint8_t *)(uintptr_t)bytes, .iov_len = len};
}

void guard_output_copy(struct guard_output *output, const void *bytes, size_t len) {
  if (len == 0)
    return;
  uint8_t *to = output->copied + output->copied_len;
  assert(output->copied_len + len <= GUARD_OUTPUT_COPIED);
  memcpy(to, bytes, len);
  output->copied_len += len;
  output->bytes += len;
  struct iovec *last = output->count > 0 ? &output->ranges[output->count - 1] : NULL;
  if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == to)
    last->iov_len += len;
  else
    add_range(output, to, len);
}

void guard_output_pass(struct guard_output *output, const uint8_t *bytes, size_t len) {
  if (len <= COPY_BYTES_MAX) {
    guard_output_copy(output, bytes, len);
    return;
  }
  output->bytes += len;
  add_range(output, bytes, len);
}

uint8_t *guard_output_answer(struct guard_output *output) {
  assert(has_room_for_answer(output));
  return output->takes_answers ? output->answers + output->answers_len : NULL;
}

void guard_output_frame(struct guard_output *output, struct guard_frame frame) {
  uint8_t header[FRAME_HEADER_BYTES];
  guard_frame_write(frame, header);
  guard_output_copy(output, header, sizeof header);
}
