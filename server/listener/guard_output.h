/* What the guard writes into struct guard_output (guard.h): ranges of what came in, and copies of what is
 * short or its own. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_OUTPUT_H
#define SKERRY_SERVER_LISTENER_GUARD_OUTPUT_H

#include "server/listener/guard.h"
#include "server/listener/guard_frame.h"

void guard_output_clear(struct guard_output *output);
/* For one more step of the guard: at most GUARD_BLOCK_BYTES_MAX and some headers copied, a few ranges, and
 * one answer. */
bool guard_output_has_room(const struct guard_output *output);

void guard_output_copy(struct guard_output *output, const void *bytes, size_t len); /* nothing if 0 */
/* Bytes of what the caller gave: referred to, or copied if they are few. */
void guard_output_pass(struct guard_output *output, const uint8_t *bytes, size_t len);
void guard_output_frame(struct guard_output *output, struct guard_frame frame); /* its header */
/* Where one answer may be written; its length is added to answers_len. NULL: the client takes none. */
uint8_t *guard_output_answer(struct guard_output *output);

#endif
