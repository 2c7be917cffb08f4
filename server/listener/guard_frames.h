/* The judge of the client's frames. Each function moves the state on, writes what goes to the server, and
 * leaves STATE_OVER after an offence. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_FRAMES_H
#define SKERRY_SERVER_LISTENER_GUARD_FRAMES_H

#include "server/listener/guard_state.h"

/* A frame's header is here. Goes on to HELD, BLOCK or PASS, also if the payload is empty. */
void guard_frames_begin(struct guard *guard, int64_t now_us, struct guard_output *output);

/* The bytes that HELD wanted are here, at `payload`. */
void guard_frames_end_held(struct guard *guard, int64_t now_us, const uint8_t *payload,
                           struct guard_output *output);

/* The payload of a HEADERS or CONTINUATION frame is whole, at `payload`, or if that is NULL kept by the
 * block. */
void guard_frames_end_block(struct guard *guard, int64_t now_us, const uint8_t *payload,
                            struct guard_output *output);

#endif
