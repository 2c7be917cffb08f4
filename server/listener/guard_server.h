/* The frames that the server sends: where one begins, and whether the way to the client stands between two.
 * One thread at a time. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_SERVER_H
#define SKERRY_SERVER_LISTENER_GUARD_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "server/listener/guard_frame.h"

/* Zeroed: nothing was sent yet. */
struct guard_server {
  uint8_t header[FRAME_HEADER_BYTES];
  uint32_t header_len,
      left; /* of the frame under way: what is here of its header, what is to come of its payload */
  bool began, in_block; /* sent a frame; sends CONTINUATION next */
};

/* Goes through the bytes to the end of the next frame's header, and moves *bytes and *len there; false if
 * there is none in them. */
bool guard_server_next(struct guard_server *server, const uint8_t **bytes, size_t *len,
                       struct guard_frame *ret);

/* Whether a frame of any type may be put here. */
bool guard_server_is_between_frames(const struct guard_server *server);

#endif
