/* HTTP/2's frames (RFC 9113, sections 4 and 6): numbers, and how a frame's header is read and written. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_FRAME_H
#define SKERRY_SERVER_LISTENER_GUARD_FRAME_H

#include <stdint.h>

enum guard_frame_type {
  FRAME_DATA,
  FRAME_HEADERS,
  FRAME_PRIORITY,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_PUSH_PROMISE,
  FRAME_PING,
  FRAME_GOAWAY,
  FRAME_WINDOW_UPDATE,
  FRAME_CONTINUATION
};

enum { FLAG_ACK = 1, FLAG_END_STREAM = 1, FLAG_END_HEADERS = 4, FLAG_PADDED = 8, FLAG_PRIORITY = 32 };

enum {
  FRAME_HEADER_BYTES = 9,
  FRAME_PRIORITY_BYTES = 5,
  FRAME_SETTING_BYTES = 6,
  FRAME_RST_STREAM_BYTES = 4,
  FRAME_GOAWAY_BYTES = 8
};

struct guard_frame {
  uint32_t length, stream_id;
  uint8_t type, flags;
};

static inline uint32_t guard_frame_u32(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* 31 bits: the first one of a stream id or a window is reserved, and ignored. */
static inline uint32_t guard_frame_u31(const uint8_t *bytes) {
  return guard_frame_u32(bytes) & 0x7fffffffU;
}

static inline struct guard_frame guard_frame_read(const uint8_t header[FRAME_HEADER_BYTES]) {
  return (struct guard_frame){.length = guard_frame_u32(header) >> 8,
                              .type = header[3],
                              .flags = header[4],
                              .stream_id = guard_frame_u31(header + 5)};
}

static inline void guard_frame_write_u32(uint32_t number, uint8_t ret[4]) {
  ret[0] = (uint8_t)(number >> 24);
  ret[1] = (uint8_t)(number >> 16);
  ret[2] = (uint8_t)(number >> 8);
  ret[3] = (uint8_t)number;
}

static inline void guard_frame_write(struct guard_frame frame, uint8_t ret[FRAME_HEADER_BYTES]) {
  guard_frame_write_u32(frame.length << 8 | frame.type, ret);
  ret[4] = frame.flags;
  guard_frame_write_u32(frame.stream_id, ret + 5);
}

#endif
