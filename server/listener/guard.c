/* The state machine of one connection.
 *
 *   PREFACE -> FRAME -> (HELD | BLOCK | PASS) -> FRAME ...        offence: OVER, from anywhere
 *
 *   FRAME  the nine bytes of a frame's header, possibly in pieces
 *   HELD   a short payload that is judged whole: its bytes are kept until all are here
 *   BLOCK  a header block's bytes, gathered over HEADERS and CONTINUATION frames
 *   PASS   a payload that is sent on as it comes
 *
 * Bytes that are whole in what was given are looked at where they are; only pieces are kept. */
#include "server/listener/guard.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/listener/guard_headers.h"
#include "server/listener/guard_streams.h"

enum frame_type {
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
enum { SETTING_ENABLE_PUSH = 2, SETTING_INITIAL_WINDOW_SIZE = 4, SETTING_MAX_FRAME_SIZE = 5 };

enum {
  HEADER_BYTES = 9,
  SETTING_BYTES = 6,
  HELD_BYTES_MAX = 32 * SETTING_BYTES, /* settings of one frame; there are eight that we know */
  PRIORITY_BYTES = 5,
  GOAWAY_FIXED_BYTES = 8,
  WINDOW_FIRST = 65535,
  STREAMS_BEFORE_ACK = 100, /* more than streams_max, until the client has seen that number */
  COPY_BYTES_MAX = 1024,    /* shorter ranges are copied together: one range fewer to write */
  OUTPUT_RESERVE = GUARD_BLOCK_BYTES_MAX + 512, /* the most that one step copies */
};

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_BYTES = sizeof PREFACE - 1 };

/* ---- Rates ---- */

enum rate {
  RATE_RESETS,
  RATE_PINGS,
  RATE_SETTINGS,
  RATE_WINDOW_UPDATES,
  RATE_PRIORITIES,
  RATE_EMPTY,
  RATE_STRAY,
  RATE_UNKNOWN,
  RATE_COUNT
};

/* What is left of each kind, at most `burst`; more comes by the second and by frames that the server sends.
 * The numbers are far above what clients were seen to need (grpc-js, grpc++, h2load, nghttp, curl). */
static const struct {
  uint16_t burst, per_second, per_server_frame;
  enum guard_offence offence;
} RATES[RATE_COUNT] = {
    [RATE_RESETS] = {300, 50, 1, GUARD_RESETS}, /* every call of a connection given up at once, and again */
    [RATE_PINGS] = {50, 5, 1, GUARD_PINGS},     /* bandwidth probes come with DATA */
    [RATE_SETTINGS] = {20, 1, 0, GUARD_SETTINGS},
    [RATE_WINDOW_UPDATES] = {1000, 100, 2,
                             GUARD_WINDOW_UPDATES}, /* one for the stream, one for the connection */
    [RATE_PRIORITIES] = {200, 10, 1, GUARD_PRIORITIES},
    [RATE_EMPTY] = {100, 10, 1, GUARD_EMPTY_FRAMES},
    [RATE_STRAY] = {1000, 100, 1,
                    GUARD_STRAY_FRAMES}, /* a window's worth under way when the server ends a stream */
    [RATE_UNKNOWN] = {50, 5, 0, GUARD_UNKNOWN_FRAMES},
};

enum state { STATE_PREFACE, STATE_FRAME, STATE_HELD, STATE_BLOCK, STATE_PASS, STATE_OVER };

struct guard {
  struct guard_options options;
  enum state state;
  enum guard_offence offence;
  const char *why; /* static */
  bool had_settings;

  /* The frame from the client that is under way. */
  uint8_t header[HEADER_BYTES];
  uint32_t header_len; /* of `header`, or of the preface */
  uint32_t length, stream_id;
  uint8_t type, flags;
  uint32_t left; /* of its payload */
  uint32_t held_len, held_wanted;
  uint8_t held[HELD_BYTES_MAX];

  /* The header block under way. */
  bool in_block; /* CONTINUATION must follow */
  uint8_t block_flags;
  uint32_t block_stream, block_len;
  uint8_t *block; /* what was gathered, and behind it the frame under way; while one comes in pieces */
  int64_t block_since_us;

  struct guard_streams streams;
  uint32_t stream_last;
  int64_t window; /* of the connection, for the server's DATA */
  nghttp2_hd_inflater *inflater;

  int32_t left_of[RATE_COUNT];
  int64_t refilled_us;

  /* The server's side. */
  uint8_t server_header[HEADER_BYTES];
  uint32_t server_header_len, server_left;
  bool server_began, server_in_block; /* it sent a frame; CONTINUATION must follow */
  uint32_t pings_owed, settings_owed; /* acknowledgements */
  int64_t settings_since_us;          /* of the first one owed */
  bool settings_acknowledged;

  uint8_t id_header[3 + sizeof RPC_CONNECTION_HEADER - 1 + RPC_CONNECTION_VALUE_CHARS];
};

/* ---- Small things ---- */

static uint32_t read_u32(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t read_u24(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
}

static uint32_t smaller(size_t a, size_t b) {
  return (uint32_t)(a < b ? a : b);
}

static void offend(struct guard *guard, enum guard_offence offence, const char *why) {
  assert(guard->state != STATE_OVER);
  guard->state = STATE_OVER;
  guard->offence = offence;
  guard->why = why;
}

static bool is_over(const struct guard *guard) {
  return guard->state == STATE_OVER;
}

const char *guard_offence_name(enum guard_offence offence) {
  static const char *const names[GUARD_OFFENCE_COUNT] = {
      "none",         "preface",      "frame_size",     "frame", "stream",   "streams",        "header_size",
      "header_code",  "header",       "resets",         "pings", "settings", "window_updates", "priorities",
      "empty_frames", "stray_frames", "unknown_frames", "slow",  "no_memory"};
  assert(offence < GUARD_OFFENCE_COUNT);
  return names[offence];
}

/* By whole seconds, so that a kind that gains one a second gains it. */
static void refill(struct guard *guard, int64_t now_us) {
  int64_t seconds = (now_us - guard->refilled_us) / 1000000;
  if (seconds <= 0)
    return;
  guard->refilled_us += seconds * 1000000;
  for (int i = 0; i < RATE_COUNT; i++) {
    int64_t more = guard->left_of[i] + (seconds > 3600 ? 3600 : seconds) * RATES[i].per_second;
    guard->left_of[i] = more > RATES[i].burst ? RATES[i].burst : (int32_t)more;
  }
}

/* One frame of the kind. */
static void spend(struct guard *guard, enum rate rate, int64_t now_us) {
  if (guard->left_of[rate] <= 0)
    refill(guard, now_us);
  if (guard->left_of[rate] <= 0)
    offend(guard, RATES[rate].offence, "too many frames of one kind");
  else
    guard->left_of[rate]--;
}

static void earn(struct guard *guard) {
  for (int i = 0; i < RATE_COUNT; i++) {
    int32_t more = guard->left_of[i] + RATES[i].per_server_frame;
    guard->left_of[i] = more > RATES[i].burst ? RATES[i].burst : more;
  }
}

/* ---- Output ---- */

static bool has_room(const struct guard_output *output) {
  return output->count + 4 <= GUARD_OUTPUT_RANGES &&
         output->copied_len + OUTPUT_RESERVE <= GUARD_OUTPUT_COPIED;
}

static void put_copied(struct guard_output *output, const void *bytes, size_t len) {
  uint8_t *to = output->copied + output->copied_len;
  assert(output->copied_len + len <= GUARD_OUTPUT_COPIED && output->count < GUARD_OUTPUT_RANGES);
  memcpy(to, bytes, len);
  output->copied_len += len;
  output->bytes += len;
  struct iovec *last = output->count > 0 ? &output->ranges[output->count - 1] : NULL;
  if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == to)
    last->iov_len += len;
  else
    output->ranges[output->count++] = (struct iovec){.iov_base = to, .iov_len = len};
}

/* Bytes of what the caller gave. */
static void put(struct guard_output *output, const uint8_t *bytes, size_t len) {
  if (len <= COPY_BYTES_MAX) {
    if (len > 0)
      put_copied(output, bytes, len);
    return;
  }
  assert(output->count < GUARD_OUTPUT_RANGES);
  output->bytes += len;
  output->ranges[output->count++] = (struct iovec){.iov_base = (uint8_t *)(uintptr_t)bytes, .iov_len = len};
}

static void put_header(struct guard_output *output, uint32_t length, uint8_t type, uint8_t flags,
                       uint32_t id) {
  uint8_t header[HEADER_BYTES] = {
      (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length,    type,       flags,
      (uint8_t)(id >> 24),     (uint8_t)(id >> 16),    (uint8_t)(id >> 8), (uint8_t)id};
  put_copied(output, header, sizeof header);
}

/* ---- Header blocks ---- */

static void open_stream(struct guard *guard) {
  uint64_t most =
      (uint64_t)guard->options.streams_max + (guard->settings_acknowledged ? 0 : STREAMS_BEFORE_ACK);
  if (guard->streams.count >= most)
    offend(guard, GUARD_STREAMS, "more streams at once than SETTINGS_MAX_CONCURRENT_STREAMS");
  else if (!guard_streams_open_one(&guard->streams, guard->block_stream))
    offend(guard, GUARD_NO_MEMORY, "out of memory");
  else
    guard->stream_last = guard->block_stream;
}

/* A literal that no table keeps (RFC 7541, section 6.2.3), so HPACK's state stays the client's. */
static void make_id_header(struct guard *guard, const struct rpc_connection_key *key) {
  size_t name = sizeof RPC_CONNECTION_HEADER - 1;
  uint8_t *at = guard->id_header;
  *at++ = 0x10;
  *at++ = (uint8_t)name;
  memcpy(at, RPC_CONNECTION_HEADER, name);
  at += name;
  *at++ = RPC_CONNECTION_VALUE_CHARS;
  memcpy(at, key->text, sizeof key->text);
}

static void put_request(struct guard *guard, int64_t now_us, const uint8_t *block, uint32_t len,
                        struct guard_output *output) {
  char *time = (char *)guard->id_header + sizeof guard->id_header - RPC_CONNECTION_TIME_CHARS;
  rpc_connection_time(now_us, time);
  uint32_t id_len = sizeof guard->id_header, total = len + id_len;
  uint8_t end_stream = guard->block_flags & FLAG_END_STREAM;
  if (total <= GUARD_FRAME_BYTES_MAX) {
    put_header(output, total, FRAME_HEADERS, end_stream | FLAG_END_HEADERS, guard->block_stream);
    put_copied(output, block, len);
    put_copied(output, guard->id_header, id_len);
    return;
  }
  put_header(output, len, FRAME_HEADERS, end_stream, guard->block_stream);
  put_copied(output, block, len);
  put_header(output, id_len, FRAME_CONTINUATION, FLAG_END_HEADERS, guard->block_stream);
  put_copied(output, guard->id_header, id_len);
}

/* A block comes in pieces. False after an offence. */
static bool have_block(struct guard *guard) {
  if (guard->block == NULL)
    guard->block = malloc(GUARD_BLOCK_BYTES_MAX + GUARD_FRAME_BYTES_MAX);
  if (guard->block == NULL)
    offend(guard, GUARD_NO_MEMORY, "out of memory");
  return guard->block != NULL;
}

/* A block is whole, and is at `block`. */
static void end_block(struct guard *guard, int64_t now_us, const uint8_t *block, uint32_t len,
                      struct guard_output *output) {
  guard->in_block = false;
  bool is_request = guard->block_stream > guard->stream_last;
  struct guard_stream *stream = is_request ? NULL : guard_streams_find(&guard->streams, guard->block_stream);
  const char *why;
  enum guard_offence offence =
      guard_headers_judge(guard->inflater, is_request ? GUARD_REQUEST : GUARD_TRAILER, block, len,
                          guard->options.metadata_bytes_max, &why);
  if (offence != GUARD_NO_OFFENCE) {
    offend(guard, offence, why);
    return;
  }
  if (is_request)
    open_stream(guard);
  else if (stream == NULL)
    spend(guard, RATE_STRAY, now_us); /* the server has ended it, and the client does not know yet */
  else if ((stream->ended & GUARD_ENDED_BY_CLIENT) != 0)
    offend(guard, GUARD_STREAM, "headers after the client had ended the stream");
  if (!is_over(guard) && !is_request && (guard->block_flags & FLAG_END_STREAM) == 0)
    offend(guard, GUARD_FRAME, "trailers that do not end their stream");
  if (is_over(guard))
    return;
  if ((guard->block_flags & FLAG_END_STREAM) != 0)
    guard_streams_end(&guard->streams, guard->block_stream, GUARD_ENDED_BY_CLIENT);
  if (is_request) {
    put_request(guard, now_us, block, len, output);
  } else {
    put_header(output, len, FRAME_HEADERS, FLAG_END_STREAM | FLAG_END_HEADERS, guard->block_stream);
    if (len > 0)
      put_copied(output, block, len);
  }
  free(guard->block);
  guard->block = NULL;
}

/* Takes padding and priority off a HEADERS frame's payload. False after an offence. */
static bool strip(struct guard *guard, const uint8_t **payload, uint32_t *len) {
  uint32_t padding = 0, before = 0;
  if ((guard->flags & FLAG_PADDED) != 0)
    before = 1;
  if ((guard->flags & FLAG_PRIORITY) != 0)
    before += PRIORITY_BYTES;
  if (*len < before) {
    offend(guard, GUARD_FRAME_SIZE, "a HEADERS frame shorter than its fields");
    return false;
  }
  if ((guard->flags & FLAG_PADDED) != 0)
    padding = (*payload)[0];
  if (padding > *len - before) {
    offend(guard, GUARD_FRAME, "more padding than payload");
    return false;
  }
  if ((guard->flags & FLAG_PRIORITY) != 0 &&
      (read_u32(*payload + before - PRIORITY_BYTES) & 0x7fffffffU) == guard->stream_id) {
    offend(guard, GUARD_FRAME, "a stream that depends on itself");
    return false;
  }
  *payload = before > 0 ? *payload + before : *payload;
  *len -= before + padding;
  return true;
}

/* The payload of a HEADERS or CONTINUATION frame is whole, at `payload`: in what was given, or already in the
 * buffer behind what was gathered. */
static void end_block_frame(struct guard *guard, int64_t now_us, const uint8_t *payload, uint32_t len,
                            struct guard_output *output) {
  guard->state = STATE_FRAME;
  if (guard->type == FRAME_HEADERS && !strip(guard, &payload, &len))
    return;
  if (guard->block_len + len > GUARD_BLOCK_BYTES_MAX) {
    offend(guard, GUARD_HEADER_SIZE, "more than 16384 bytes of headers");
    return;
  }
  bool is_last = (guard->flags & FLAG_END_HEADERS) != 0;
  if (is_last && guard->block_len == 0) {
    end_block(guard, now_us, payload, len, output);
    return;
  }
  if (!have_block(guard))
    return;
  if (len > 0)
    memmove(guard->block + guard->block_len, payload, len);
  guard->block_len += len;
  if (is_last)
    end_block(guard, now_us, guard->block, guard->block_len, output);
}

/* ---- Frames from the client ---- */

static void begin_headers(struct guard *guard, int64_t now_us) {
  if (guard->stream_id % 2 == 0) {
    offend(guard, GUARD_STREAM, "a stream id that clients must not use");
    return;
  }
  guard->in_block = true;
  guard->block_stream = guard->stream_id;
  guard->block_flags = guard->flags;
  guard->block_len = 0;
  guard->block_since_us = now_us;
  guard->state = STATE_BLOCK;
}

static void begin_continuation(struct guard *guard, int64_t now_us) {
  if (guard->length == 0)
    spend(guard, RATE_EMPTY, now_us);
  else if (guard->block_len + guard->length > GUARD_BLOCK_BYTES_MAX)
    offend(guard, GUARD_HEADER_SIZE, "more than 16384 bytes of headers");
  if (!is_over(guard))
    guard->state = STATE_BLOCK;
}

static void begin_data(struct guard *guard, int64_t now_us, struct guard_output *output) {
  const struct guard_stream *stream = guard_streams_find(&guard->streams, guard->stream_id);
  if (guard->stream_id % 2 == 0 || guard->stream_id > guard->stream_last)
    offend(guard, GUARD_STREAM, "DATA on a stream that was not opened");
  else if (stream == NULL)
    spend(guard, RATE_STRAY, now_us);
  else if ((stream->ended & GUARD_ENDED_BY_CLIENT) != 0)
    offend(guard, GUARD_STREAM, "DATA after the client had ended the stream");
  else if (guard->length == 0 && (guard->flags & FLAG_END_STREAM) == 0)
    spend(guard, RATE_EMPTY, now_us);
  if (is_over(guard))
    return;
  if ((guard->flags & FLAG_PADDED) != 0) {
    if (guard->length == 0) {
      offend(guard, GUARD_FRAME_SIZE, "padding without payload");
      return;
    }
    guard->state = STATE_HELD;
    guard->held_wanted = 1;
    return;
  }
  put_copied(output, guard->header, HEADER_BYTES);
  guard->state = STATE_PASS;
  if ((guard->flags & FLAG_END_STREAM) != 0)
    guard_streams_end(&guard->streams, guard->stream_id, GUARD_ENDED_BY_CLIENT);
}

/* A frame that is short, of a known size, and judged whole. */
static void begin_held(struct guard *guard, uint32_t length, bool on_connection) {
  if (guard->length != length)
    offend(guard, GUARD_FRAME_SIZE, "a frame of a size that its type does not have");
  else if ((guard->stream_id == 0) != on_connection)
    offend(guard, GUARD_FRAME, "a frame on the wrong kind of stream");
  if (is_over(guard))
    return;
  guard->held_wanted = guard->length;
  guard->state = STATE_HELD;
}

static void begin_settings(struct guard *guard, int64_t now_us) {
  bool is_ack = (guard->flags & FLAG_ACK) != 0;
  guard->had_settings = true;
  if (guard->length % SETTING_BYTES != 0 || guard->length > HELD_BYTES_MAX || (is_ack && guard->length != 0))
    offend(guard, GUARD_FRAME_SIZE, "SETTINGS of an impossible size");
  else if (is_ack && guard->settings_owed == 0)
    offend(guard, GUARD_FRAME, "an acknowledgement of SETTINGS that were not sent");
  else if (!is_ack)
    spend(guard, RATE_SETTINGS, now_us);
  else
    guard->settings_since_us = now_us; /* of the next that is owed, if there is one */
  if (!is_over(guard))
    begin_held(guard, guard->length, true);
}

static void begin_ping(struct guard *guard, int64_t now_us) {
  if ((guard->flags & FLAG_ACK) != 0 && guard->pings_owed > 0)
    guard->pings_owed--;
  else
    spend(guard, RATE_PINGS, now_us);
  if (!is_over(guard))
    begin_held(guard, 8, true);
}

static void begin_unknown(struct guard *guard, int64_t now_us, struct guard_output *output) {
  spend(guard, RATE_UNKNOWN, now_us);
  if (is_over(guard))
    return;
  put_copied(output, guard->header, HEADER_BYTES);
  guard->state = STATE_PASS;
}

static void begin_goaway(struct guard *guard, int64_t now_us, struct guard_output *output) {
  if (guard->length < GOAWAY_FIXED_BYTES)
    offend(guard, GUARD_FRAME_SIZE, "a GOAWAY that is too short");
  else if (guard->stream_id != 0)
    offend(guard, GUARD_FRAME, "a GOAWAY on a stream");
  else
    begin_unknown(guard, now_us, output);
}

static void begin_of_type(struct guard *guard, int64_t now_us, struct guard_output *output) {
  switch (guard->type) {
  case FRAME_DATA:
    begin_data(guard, now_us, output);
    break;
  case FRAME_HEADERS:
    begin_headers(guard, now_us);
    break;
  case FRAME_PRIORITY:
    spend(guard, RATE_PRIORITIES, now_us);
    if (!is_over(guard))
      begin_held(guard, PRIORITY_BYTES, false);
    break;
  case FRAME_RST_STREAM:
    spend(guard, RATE_RESETS, now_us);
    if (!is_over(guard))
      begin_held(guard, 4, false);
    break;
  case FRAME_SETTINGS:
    begin_settings(guard, now_us);
    break;
  case FRAME_PUSH_PROMISE:
    offend(guard, GUARD_FRAME, "a PUSH_PROMISE from a client");
    break;
  case FRAME_PING:
    begin_ping(guard, now_us);
    break;
  case FRAME_GOAWAY:
    begin_goaway(guard, now_us, output);
    break;
  case FRAME_WINDOW_UPDATE:
    spend(guard, RATE_WINDOW_UPDATES, now_us);
    if (!is_over(guard))
      begin_held(guard, 4, guard->stream_id == 0);
    break;
  default:
    begin_unknown(guard, now_us, output);
  }
}

/* The nine bytes are here. */
static void begin_frame(struct guard *guard, int64_t now_us, struct guard_output *output) {
  guard->header_len = 0;
  guard->length = guard->left = read_u24(guard->header);
  guard->type = guard->header[3];
  guard->flags = guard->header[4];
  guard->stream_id = read_u32(guard->header + 5) & 0x7fffffffU; /* the first bit is reserved: ignored */
  guard->held_len = 0;
  bool continues =
      guard->type == FRAME_CONTINUATION && guard->in_block && guard->stream_id == guard->block_stream;
  if (guard->length > GUARD_FRAME_BYTES_MAX)
    offend(guard, GUARD_FRAME_SIZE, "a frame of more than 16384 bytes");
  else if (!guard->had_settings && (guard->type != FRAME_SETTINGS || (guard->flags & FLAG_ACK) != 0))
    offend(guard, GUARD_PREFACE, "a preface without SETTINGS");
  else if (continues)
    begin_continuation(guard, now_us);
  else if (guard->in_block || guard->type == FRAME_CONTINUATION)
    offend(guard, GUARD_FRAME, "a header block interrupted, or continued without a beginning");
  else
    begin_of_type(guard, now_us, output);
}

static void end_settings(struct guard *guard, const uint8_t *payload) {
  if ((guard->flags & FLAG_ACK) != 0) {
    guard->settings_owed--;
    guard->settings_acknowledged = true;
    return;
  }
  for (uint32_t at = 0; at < guard->length; at += SETTING_BYTES) {
    uint32_t id = (uint32_t)payload[at] << 8 | payload[at + 1], value = read_u32(payload + at + 2);
    if ((id == SETTING_ENABLE_PUSH && value > 1) ||
        (id == SETTING_INITIAL_WINDOW_SIZE && value > INT32_MAX) ||
        (id == SETTING_MAX_FRAME_SIZE && (value < 16384 || value > 16777215)))
      offend(guard, GUARD_FRAME, "a setting outside of its bounds");
    if (is_over(guard))
      return;
  }
}

static void end_window_update(struct guard *guard, const uint8_t *payload) {
  uint32_t increment = read_u32(payload) & 0x7fffffffU;
  if (increment == 0)
    offend(guard, GUARD_FRAME, "a WINDOW_UPDATE by nothing");
  else if (guard->stream_id > guard->stream_last || (guard->stream_id != 0 && guard->stream_id % 2 == 0))
    offend(guard, GUARD_STREAM, "a WINDOW_UPDATE for a stream that was not opened");
  else if (guard->stream_id == 0 && (guard->window += increment) > INT32_MAX)
    offend(guard, GUARD_FRAME, "a window past its bounds");
}

static void end_reset(struct guard *guard) {
  if (guard->stream_id > guard->stream_last || guard->stream_id % 2 == 0)
    offend(guard, GUARD_STREAM, "a RST_STREAM for a stream that was not opened");
  else
    guard_streams_end(&guard->streams, guard->stream_id, GUARD_ENDED);
}

/* Padding alone is as empty as nothing. */
static void end_padded_data(struct guard *guard, int64_t now_us, const uint8_t *padding) {
  if (*padding >= guard->length)
    offend(guard, GUARD_FRAME, "more padding than payload");
  else if ((guard->flags & FLAG_END_STREAM) != 0)
    guard_streams_end(&guard->streams, guard->stream_id, GUARD_ENDED_BY_CLIENT);
  else if (*padding == guard->length - 1)
    spend(guard, RATE_EMPTY, now_us);
}

/* What was held is whole, at `payload`. */
static void end_held(struct guard *guard, int64_t now_us, const uint8_t *payload,
                     struct guard_output *output) {
  guard->left = guard->length - guard->held_wanted;
  guard->state = guard->left > 0 ? STATE_PASS : STATE_FRAME;
  if (guard->type == FRAME_DATA)
    end_padded_data(guard, now_us, payload);
  else if (guard->type == FRAME_RST_STREAM)
    end_reset(guard);
  else if (guard->type == FRAME_SETTINGS)
    end_settings(guard, payload);
  else if (guard->type == FRAME_WINDOW_UPDATE)
    end_window_update(guard, payload);
  else if (guard->type == FRAME_PRIORITY && (read_u32(payload) & 0x7fffffffU) == guard->stream_id)
    offend(guard, GUARD_FRAME, "a stream that depends on itself");
  if (is_over(guard))
    return;
  put_copied(output, guard->header, HEADER_BYTES);
  if (guard->held_wanted > 0)
    put_copied(output, payload, guard->held_wanted);
}

/* ---- Bytes from the client ---- */

static uint32_t take_preface(struct guard *guard, const uint8_t *bytes, uint32_t len,
                             struct guard_output *output) {
  uint32_t taken = smaller(PREFACE_BYTES - guard->header_len, len);
  if (memcmp(bytes, PREFACE + guard->header_len, taken) != 0) {
    offend(guard, GUARD_PREFACE, "not HTTP/2");
    return 0;
  }
  guard->header_len += taken;
  if (guard->header_len == PREFACE_BYTES) {
    put_copied(output, PREFACE, PREFACE_BYTES);
    guard->header_len = 0;
    guard->state = STATE_FRAME;
  }
  return taken;
}

static uint32_t take_header(struct guard *guard, int64_t now_us, const uint8_t *bytes, uint32_t len,
                            struct guard_output *output) {
  uint32_t taken = smaller(HEADER_BYTES - guard->header_len, len);
  memcpy(guard->header + guard->header_len, bytes, taken);
  guard->header_len += taken;
  if (guard->header_len < HEADER_BYTES)
    return taken;
  begin_frame(guard, now_us, output);
  if (guard->state == STATE_HELD && guard->held_wanted == 0)
    end_held(guard, now_us, NULL, output);
  else if (guard->state == STATE_BLOCK && guard->left == 0)
    end_block_frame(guard, now_us, NULL, 0, output);
  else if (guard->state == STATE_PASS && guard->left == 0)
    guard->state = STATE_FRAME;
  return taken;
}

static uint32_t take_held(struct guard *guard, int64_t now_us, const uint8_t *bytes, uint32_t len,
                          struct guard_output *output) {
  uint32_t taken = smaller(guard->held_wanted - guard->held_len, len);
  if (taken == guard->held_wanted) {
    end_held(guard, now_us, bytes, output);
    return taken;
  }
  memcpy(guard->held + guard->held_len, bytes, taken);
  guard->held_len += taken;
  if (guard->held_len == guard->held_wanted)
    end_held(guard, now_us, guard->held, output);
  return taken;
}

static uint32_t take_block(struct guard *guard, int64_t now_us, const uint8_t *bytes, uint32_t len,
                           struct guard_output *output) {
  uint32_t taken = smaller(guard->left, len), before = guard->length - guard->left;
  guard->left -= taken;
  if (taken == guard->length) {
    end_block_frame(guard, now_us, bytes, taken, output);
    return taken;
  }
  if (!have_block(guard))
    return taken;
  memcpy(guard->block + guard->block_len + before, bytes, taken);
  if (guard->left == 0)
    end_block_frame(guard, now_us, guard->block + guard->block_len, guard->length, output);
  return taken;
}

static uint32_t take_payload(struct guard *guard, const uint8_t *bytes, uint32_t len,
                             struct guard_output *output) {
  uint32_t taken = smaller(guard->left, len);
  put(output, bytes, taken);
  guard->left -= taken;
  if (guard->left == 0)
    guard->state = STATE_FRAME;
  return taken;
}

size_t guard_from_client(struct guard *guard, int64_t now_us, const uint8_t *bytes, size_t len,
                         struct guard_output *output) {
  output->count = 0;
  output->bytes = output->copied_len = 0;
  size_t at = 0;
  while (at < len && !is_over(guard) && has_room(output)) {
    const uint8_t *from = bytes + at;
    uint32_t left = smaller(len - at, UINT32_MAX);
    switch (guard->state) {
    case STATE_PREFACE:
      at += take_preface(guard, from, left, output);
      break;
    case STATE_FRAME:
      at += take_header(guard, now_us, from, left, output);
      break;
    case STATE_HELD:
      at += take_held(guard, now_us, from, left, output);
      break;
    case STATE_BLOCK:
      at += take_block(guard, now_us, from, left, output);
      break;
    case STATE_PASS:
      at += take_payload(guard, from, left, output);
      break;
    case STATE_OVER:
      break;
    }
  }
  return at;
}

/* ---- Frames from the server ---- */

static void server_frame(struct guard *guard, int64_t now_us) {
  uint8_t type = guard->server_header[3], flags = guard->server_header[4];
  uint32_t id = read_u32(guard->server_header + 5) & 0x7fffffffU;
  guard->server_left = read_u24(guard->server_header);
  guard->server_began = true;
  if (type == FRAME_HEADERS || type == FRAME_CONTINUATION)
    guard->server_in_block = (flags & FLAG_END_HEADERS) == 0;
  if (type == FRAME_DATA || type == FRAME_HEADERS) {
    earn(guard);
    if ((flags & FLAG_END_STREAM) != 0)
      guard_streams_end(&guard->streams, id, GUARD_ENDED_BY_SERVER);
    if (type == FRAME_DATA)
      guard->window -= guard->server_left;
  } else if (type == FRAME_RST_STREAM) {
    guard_streams_end(&guard->streams, id, GUARD_ENDED);
  } else if (type == FRAME_PING && (flags & FLAG_ACK) == 0) {
    guard->pings_owed++;
  } else if (type == FRAME_SETTINGS && (flags & FLAG_ACK) == 0) {
    if (guard->settings_owed++ == 0)
      guard->settings_since_us = now_us;
  }
}

void guard_from_server(struct guard *guard, int64_t now_us, const uint8_t *bytes, size_t len) {
  while (len > 0) {
    uint32_t taken;
    if (guard->server_left > 0) {
      taken = smaller(guard->server_left, len);
      guard->server_left -= taken;
    } else {
      taken = smaller(HEADER_BYTES - guard->server_header_len, len);
      memcpy(guard->server_header + guard->server_header_len, bytes, taken);
      guard->server_header_len += taken;
      if (guard->server_header_len == HEADER_BYTES) {
        guard->server_header_len = 0;
        server_frame(guard, now_us);
      }
    }
    bytes += taken;
    len -= taken;
  }
}

/* ---- The end ---- */

/* RFC 9113, section 7. */
static uint32_t error_code(enum guard_offence offence) {
  enum {
    PROTOCOL_ERROR = 1,
    INTERNAL_ERROR = 2,
    STREAM_CLOSED = 5,
    FRAME_SIZE_ERROR = 6,
    COMPRESSION_ERROR = 9,
    ENHANCE_YOUR_CALM = 11
  };
  if (offence == GUARD_FRAME_SIZE)
    return FRAME_SIZE_ERROR;
  if (offence == GUARD_STREAM)
    return STREAM_CLOSED;
  if (offence == GUARD_HEADER_CODE)
    return COMPRESSION_ERROR;
  if (offence == GUARD_NO_MEMORY)
    return INTERNAL_ERROR;
  if (offence == GUARD_STREAMS || offence == GUARD_HEADER_SIZE || offence >= GUARD_RESETS)
    return ENHANCE_YOUR_CALM;
  return PROTOCOL_ERROR;
}

/* A frame's header, and behind it `count` numbers. */
static size_t write_frame(uint8_t *at, uint32_t length, uint8_t type, const uint32_t *numbers, size_t count) {
  const uint8_t header[HEADER_BYTES] = {(uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length,
                                        type};
  memcpy(at, header, sizeof header);
  for (size_t i = 0; i < count; i++) {
    const uint8_t number[4] = {(uint8_t)(numbers[i] >> 24), (uint8_t)(numbers[i] >> 16),
                               (uint8_t)(numbers[i] >> 8), (uint8_t)numbers[i]};
    memcpy(at + HEADER_BYTES + i * sizeof number, number, sizeof number);
  }
  return HEADER_BYTES + count * sizeof(uint32_t);
}

size_t guard_goaway(const struct guard *guard, uint8_t ret[GUARD_GOAWAY_BYTES_MAX]) {
  if (guard->offence == GUARD_NO_OFFENCE || guard->server_left > 0 || guard->server_header_len > 0 ||
      guard->server_in_block)
    return 0;
  size_t at = 0;
  if (!guard->server_began) /* a server's first frame is SETTINGS: RFC 9113, section 3.4 */
    at += write_frame(ret, 0, FRAME_SETTINGS, NULL, 0);
  const uint32_t fixed[] = {guard->stream_last, error_code(guard->offence)};
  uint32_t text = smaller(strlen(guard->why), GUARD_GOAWAY_BYTES_MAX - 2 * HEADER_BYTES - sizeof fixed);
  at += write_frame(ret + at, (uint32_t)sizeof fixed + text, FRAME_GOAWAY, fixed, 2);
  memcpy(ret + at, guard->why, text);
  return at + text;
}

bool guard_is_overdue(struct guard *guard, int64_t now_us) {
  if (is_over(guard))
    return false;
  if (guard->in_block && now_us - guard->block_since_us > guard->options.patience_us)
    offend(guard, GUARD_SLOW, "a header block that did not end in time");
  else if (guard->settings_owed > 0 && now_us - guard->settings_since_us > guard->options.patience_us)
    offend(guard, GUARD_SLOW, "SETTINGS that were not acknowledged in time");
  return is_over(guard);
}

enum guard_offence guard_offence(const struct guard *guard) {
  return guard->offence;
}

const char *guard_why(const struct guard *guard) {
  return guard->why;
}

unsigned guard_streams_open(const struct guard *guard) {
  return guard->streams.count;
}

struct guard *guard_new(const struct guard_options *options, const struct rpc_connection_key *key,
                        int64_t now_us) {
  struct guard *guard = calloc(1, sizeof *guard);
  if (guard == NULL || nghttp2_hd_inflate_new(&guard->inflater) != 0) {
    free(guard);
    return NULL;
  }
  guard->options = *options;
  guard->window = WINDOW_FIRST;
  guard->refilled_us = now_us;
  for (int i = 0; i < RATE_COUNT; i++)
    guard->left_of[i] = RATES[i].burst;
  make_id_header(guard, key);
  return guard;
}

void guard_free(struct guard *guard) {
  if (guard == NULL)
    return;
  nghttp2_hd_inflate_del(guard->inflater);
  guard_streams_fini(&guard->streams);
  free(guard->block);
  free(guard);
}
