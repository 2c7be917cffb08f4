/* The header block that is under way on a connection: gathered over HEADERS and CONTINUATION frames without
 * their padding and priority, and written for the server in frames of its own. One that comes in one piece is
 * not copied on its way in. One thread at a time. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_BLOCK_H
#define SKERRY_SERVER_LISTENER_GUARD_BLOCK_H

#include "server/listener/guard_frame.h"
#include "server/listener/guard_offence.h"

struct guard_block {
  bool is_open; /* CONTINUATION must follow, or more of the frame under way */
  uint8_t flags;
  uint32_t stream_id, len;
  int64_t since_us;
  uint8_t *bytes; /* what was gathered, and behind it the frame under way; while a block comes in pieces */
};

void guard_block_fini(struct guard_block *block);

/* HEADERS, with the frame's stream and flags. */
void guard_block_begin(struct guard_block *block, struct guard_frame frame, int64_t now_us);

/* Keeps a piece of the frame under way, which begins `offset` bytes after the frame's header.
 * GUARD_NO_OFFENCE or GUARD_NO_MEMORY. */
struct guard_verdict guard_block_keep(struct guard_block *block, uint32_t offset, const uint8_t *piece,
                                      uint32_t len);

/* The payload of HEADERS or CONTINUATION is whole (together at most GUARD_BLOCK_BYTES_MAX): at `payload`, or,
 * if that is NULL, kept. *ret (NULL if it is empty) of *ret_len bytes is the whole block once the frame ends
 * it; until the next call. */
struct guard_verdict guard_block_add(struct guard_block *block, struct guard_frame frame,
                                     const uint8_t *payload, const uint8_t **ret, uint32_t *ret_len);

/* Writes the block's frames: `last` (perhaps empty) is appended, in a CONTINUATION if one frame can't hold
 * both. */
void guard_block_write(const struct guard_block *block, const uint8_t *bytes, uint32_t len, str last,
                       struct guard_output *output);

/* The block was written. */
void guard_block_end(struct guard_block *block);

#endif
