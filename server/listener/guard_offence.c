#include "server/listener/guard_offence.h"

#include <assert.h>
#include <string.h>

#include "server/listener/guard_frame.h"

/* RFC 9113, section 7. */
enum error_code {
  PROTOCOL_ERROR = 1,
  INTERNAL_ERROR = 2,
  STREAM_CLOSED = 5,
  FRAME_SIZE_ERROR = 6,
  COMPRESSION_ERROR = 9,
  ENHANCE_YOUR_CALM = 11
};

static const struct {
  const char *name;
  enum error_code code;
} OFFENCES[GUARD_OFFENCE_COUNT] = {
    [GUARD_NO_OFFENCE] = {"none", PROTOCOL_ERROR},
    [GUARD_PREFACE] = {"preface", PROTOCOL_ERROR},
    [GUARD_FRAME_SIZE] = {"frame_size", FRAME_SIZE_ERROR},
    [GUARD_FRAME] = {"frame", PROTOCOL_ERROR},
    [GUARD_STREAM] = {"stream", STREAM_CLOSED},
    [GUARD_STREAMS] = {"streams", ENHANCE_YOUR_CALM},
    [GUARD_HEADER_SIZE] = {"header_size", ENHANCE_YOUR_CALM},
    [GUARD_HEADER_CODE] = {"header_code", COMPRESSION_ERROR},
    [GUARD_HEADER] = {"header", PROTOCOL_ERROR},
    [GUARD_RESETS] = {"resets", ENHANCE_YOUR_CALM},
    [GUARD_PINGS] = {"pings", ENHANCE_YOUR_CALM},
    [GUARD_SETTINGS] = {"settings", ENHANCE_YOUR_CALM},
    [GUARD_WINDOW_UPDATES] = {"window_updates", ENHANCE_YOUR_CALM},
    [GUARD_PRIORITIES] = {"priorities", ENHANCE_YOUR_CALM},
    [GUARD_EMPTY_FRAMES] = {"empty_frames", ENHANCE_YOUR_CALM},
    [GUARD_STRAY_FRAMES] = {"stray_frames", ENHANCE_YOUR_CALM},
    [GUARD_UNKNOWN_FRAMES] = {"unknown_frames", ENHANCE_YOUR_CALM},
    [GUARD_MESSAGES] = {"messages", ENHANCE_YOUR_CALM},
    [GUARD_SLOW] = {"slow", ENHANCE_YOUR_CALM},
    [GUARD_NO_MEMORY] = {"no_memory", INTERNAL_ERROR},
};

const char *guard_offence_name(enum guard_offence offence) {
  assert(offence < GUARD_OFFENCE_COUNT);
  return OFFENCES[offence].name;
}

size_t guard_offence_goaway(struct guard_verdict verdict, uint32_t stream_last, bool with_settings,
                            uint8_t ret[GUARD_GOAWAY_BYTES_MAX]) {
  assert(verdict.offence != GUARD_NO_OFFENCE && verdict.why != NULL);
  size_t at = 0;
  if (with_settings) { /* a server's first frame: RFC 9113, section 3.4 */
    guard_frame_write((struct guard_frame){.type = FRAME_SETTINGS}, ret);
    at += FRAME_HEADER_BYTES;
  }
  size_t text = strlen(verdict.why),
         room = GUARD_GOAWAY_BYTES_MAX - 2 * FRAME_HEADER_BYTES - FRAME_GOAWAY_BYTES;
  text = text < room ? text : room;
  guard_frame_write(
      (struct guard_frame){.length = (uint32_t)(FRAME_GOAWAY_BYTES + text), .type = FRAME_GOAWAY}, ret + at);
  at += FRAME_HEADER_BYTES;
  guard_frame_write_u32(stream_last, ret + at);
  guard_frame_write_u32(OFFENCES[verdict.offence].code, ret + at + 4);
  at += FRAME_GOAWAY_BYTES;
  memcpy(ret + at, verdict.why, text);
  return at + text;
}
