/* The lengths of gRPC's messages in a stream's DATA: each message has five bytes before it, a flag and 32
 * bits of length (gRPC over HTTP/2, "Length-Prefixed-Message"). gRPC core 1.51 adds those five to the length
 * in a size_t before it looks at any limit; where that has 32 bits, a length just below 4 GiB wraps, and an
 * assertion ends the whole process. So lengths that no message has do not reach it; the limit of messages is
 * the runtime's. And it tells how much gRPC core holds of messages that are not complete. One thread at a
 * time. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_MESSAGES_H
#define SKERRY_SERVER_LISTENER_GUARD_MESSAGES_H

#include <stdint.h>

/* Zeroed: a message begins. */
struct guard_messages {
  uint32_t left;        /* bytes of the message; within a prefix, its length as far as it is known */
  uint32_t held;        /* bytes of it that were there: gRPC core holds them until all are */
  uint8_t prefix_bytes; /* 1-4: so many of a prefix were there */
};

/* Goes over the next bytes of a stream, in pieces of any size. Returns how many of them are good: all, unless
 * the first byte of a length says 2 GiB or more. */
uint32_t guard_messages_pass(struct guard_messages *messages, const uint8_t *bytes, uint32_t len);

#endif
