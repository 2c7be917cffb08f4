#include "server/listener/guard_block.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/listener/guard_output.h"

void guard_block_fini(struct guard_block *block) {
  free(block->bytes);
  *block = (struct guard_block){0};
}

void guard_block_begin(struct guard_block *block, struct guard_frame frame, int64_t now_us) {
  assert(!block->is_open && block->bytes == NULL);
  *block = (struct guard_block){
      .is_open = true, .flags = frame.flags, .stream_id = frame.stream_id, .since_us = now_us};
}

struct guard_verdict guard_block_keep(struct guard_block *block, uint32_t offset, const uint8_t *piece,
                                      uint32_t len) {
  assert(piece != NULL || len == 0);
  assert(block->len + offset + len <= GUARD_BLOCK_BYTES_MAX + GUARD_FRAME_BYTES_MAX);
  if (block->bytes == NULL)
    block->bytes = malloc(GUARD_BLOCK_BYTES_MAX + GUARD_FRAME_BYTES_MAX);
  if (block->bytes == NULL)
    return (struct guard_verdict){GUARD_NO_MEMORY, "out of memory"};
  if (len > 0)
    memmove(block->bytes + block->len + offset, piece, len);
  return guard_innocent();
}

/* Takes padding and priority off the payload of HEADERS. */
static struct guard_verdict strip(struct guard_frame frame, const uint8_t **payload, uint32_t *len) {
  uint32_t before = ((frame.flags & FLAG_PADDED) != 0 ? 1U : 0U) +
                    ((frame.flags & FLAG_PRIORITY) != 0 ? (uint32_t)FRAME_PRIORITY_BYTES : 0U);
  if (before == 0)
    return guard_innocent();
  if (*len < before)
    return (struct guard_verdict){GUARD_FRAME_SIZE, "a HEADERS frame shorter than its fields"};
  uint32_t padding = (frame.flags & FLAG_PADDED) != 0 ? (*payload)[0] : 0;
  if (padding > *len - before)
    return (struct guard_verdict){GUARD_FRAME, "more padding than payload"};
  if ((frame.flags & FLAG_PRIORITY) != 0 &&
      guard_frame_u31(*payload + before - FRAME_PRIORITY_BYTES) == frame.stream_id)
    return (struct guard_verdict){GUARD_FRAME, "a stream that depends on itself"};
  *payload += before;
  *len -= before + padding;
  return guard_innocent();
}

struct guard_verdict guard_block_add(struct guard_block *block, struct guard_frame frame,
                                     const uint8_t *payload, const uint8_t **ret, uint32_t *ret_len) {
  assert(block->is_open && block->len + frame.length <= GUARD_BLOCK_BYTES_MAX);
  uint32_t len = frame.length;
  if (payload == NULL && len > 0)
    payload = block->bytes + block->len;
  struct guard_verdict verdict = guard_innocent();
  if (frame.type == FRAME_HEADERS)
    verdict = strip(frame, &payload, &len);
  if (verdict.offence != GUARD_NO_OFFENCE)
    return verdict;
  bool is_last = (frame.flags & FLAG_END_HEADERS) != 0;
  if (!is_last || block->len > 0) {
    verdict = guard_block_keep(block, 0, payload, len);
    if (verdict.offence != GUARD_NO_OFFENCE)
      return verdict;
    block->len += len;
    payload = block->bytes;
    len = block->len;
  }
  if (is_last) {
    block->is_open = false;
    *ret = payload;
    *ret_len = len;
  }
  return verdict;
}

void guard_block_write(const struct guard_block *block, const uint8_t *bytes, uint32_t len, str last,
                       struct guard_output *output) {
  uint32_t total = len + (uint32_t)last.len;
  bool in_one = total <= GUARD_FRAME_BYTES_MAX;
  struct guard_frame frame = {
      .length = in_one ? total : len, .type = FRAME_HEADERS, .stream_id = block->stream_id};
  frame.flags = (uint8_t)((block->flags & FLAG_END_STREAM) | (in_one ? FLAG_END_HEADERS : 0));
  guard_output_frame(output, frame);
  guard_output_copy(output, bytes, len);
  if (!in_one)
    guard_output_frame(output, (struct guard_frame){.length = (uint32_t)last.len,
                                                    .type = FRAME_CONTINUATION,
                                                    .flags = FLAG_END_HEADERS,
                                                    .stream_id = block->stream_id});
  guard_output_copy(output, last.ptr, last.len);
}

void guard_block_end(struct guard_block *block) {
  guard_block_fini(block);
}
