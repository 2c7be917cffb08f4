#include "server/listener/guard_frames.h"

#include "server/listener/guard_headers.h"
#include "server/listener/guard_output.h"
#include "server/listener/guard_refusal.h"

enum { STREAMS_BEFORE_ACK = 100 /* more than streams_max, until the client has seen that number */ };
enum { HEADER_TABLE_BYTES = 4096 /* that a client's table has if it says nothing */ };
enum {
  SETTING_HEADER_TABLE_SIZE = 1,
  SETTING_ENABLE_PUSH = 2,
  SETTING_INITIAL_WINDOW_SIZE = 4,
  SETTING_MAX_FRAME_SIZE = 5
};

/* ---- Header blocks ---- */

static str id_header(struct guard *guard, int64_t now_us) {
  char *time = (char *)guard->id_header + sizeof guard->id_header - RPC_CONNECTION_TIME_CHARS;
  rpc_connection_time(now_us, time);
  return str_make(guard->id_header, sizeof guard->id_header);
}

/* Whether a stream may be opened, as far as the rules of the connection go. */
static void admit_stream(struct guard *guard, int64_t now_us) {
  uint64_t most =
      (uint64_t)guard->options.streams_max + (guard->settings_acknowledged ? 0 : STREAMS_BEFORE_ACK);
  if (guard->streams.count >= most)
    guard_state_offend(guard, GUARD_STREAMS, "more streams at once than SETTINGS_MAX_CONCURRENT_STREAMS");
  else if (!guard_rates_has(&guard->rates, GUARD_RATE_RESETS, now_us))
    guard_state_offend(guard, GUARD_RESETS, "too many streams that ended in RST_STREAM");
  else
    guard->stream_last = guard->block.stream_id;
}

static void open_stream(struct guard *guard) {
  if (!guard_streams_open_one(&guard->streams, guard->block.stream_id))
    guard_state_offend(guard, GUARD_NO_MEMORY, "out of memory");
  else if ((guard->block.flags & FLAG_END_STREAM) != 0)
    guard_state_end_stream(guard, guard->block.stream_id, GUARD_ENDED_BY_CLIENT);
}

/* An answer has to stand between two frames of the server's, and none comes before its SETTINGS. */
static bool can_answer(const struct guard *guard) {
  return guard->server.began && !guard->has_small_table && guard_server_is_between_frames(&guard->server);
}

/* The request is answered here if it is to be refused; gRPC core then gets its block beside all streams. */
static bool turn_away(struct guard *guard, const struct guard_path *path, int64_t now_us,
                      struct guard_output *output) {
  const struct guard_options *options = &guard->options;
  uint8_t *answer = options->turns_away != NULL && can_answer(guard) ? guard_output_answer(output) : NULL;
  uint32_t retry_ms;
  if (answer == NULL ||
      !options->turns_away(options->argument, str_make(path->bytes, path->len), now_us, &retry_ms))
    return false;
  bool has_ended = (guard->block.flags & FLAG_END_STREAM) != 0;
  output->answers_len += guard_refusal_write(guard->block.stream_id, has_ended, retry_ms, answer);
  guard_rates_earn(&guard->rates);
  guard->block.stream_id = GUARD_SIDE_STREAM;
  guard->block.flags |= FLAG_END_STREAM;
  return true;
}

static void take_trailer(struct guard *guard, int64_t now_us) {
  const struct guard_stream *stream = guard_streams_find(&guard->streams, guard->block.stream_id);
  if ((guard->block.flags & FLAG_END_STREAM) == 0)
    guard_state_offend(guard, GUARD_FRAME, "trailers that do not end their stream");
  else if (stream == NULL)
    guard_state_spend(guard, GUARD_RATE_STRAY,
                      now_us); /* the server has ended it, and the client does not know yet */
  else if ((stream->ended & GUARD_ENDED_BY_CLIENT) != 0)
    guard_state_offend(guard, GUARD_STREAM, "headers after the client had ended the stream");
  else
    guard_state_end_stream(guard, guard->block.stream_id, GUARD_ENDED_BY_CLIENT);
}

/* A block is whole, and is at `bytes`. */
static void end_block(struct guard *guard, int64_t now_us, const uint8_t *bytes, uint32_t len,
                      struct guard_output *output) {
  bool is_request = guard->block.stream_id > guard->stream_last;
  struct guard_path path;
  guard_state_judge(guard, guard_headers_judge(guard->inflater, is_request ? GUARD_REQUEST : GUARD_TRAILER,
                                               bytes, len, guard->options.metadata_bytes_max, &path));
  if (guard_state_is_over(guard))
    return;
  if (is_request)
    admit_stream(guard, now_us);
  else
    take_trailer(guard, now_us);
  if (guard_state_is_over(guard))
    return;
  bool goes_on = is_request && !turn_away(guard, &path, now_us, output);
  if (goes_on)
    open_stream(guard);
  if (guard_state_is_over(guard))
    return;
  guard_block_write(&guard->block, bytes, len, goes_on ? id_header(guard, now_us) : STR(""), output);
  guard_block_end(&guard->block);
}

/* The payload of a HEADERS or CONTINUATION frame is whole, at `payload`, or if that is NULL kept by the
 * block. */
void guard_frames_end_block(struct guard *guard, int64_t now_us, const uint8_t *payload,
                            struct guard_output *output) {
  const uint8_t *bytes = NULL;
  uint32_t len = 0;
  guard->state = STATE_FRAME;
  guard_state_judge(guard, guard_block_add(&guard->block, guard->frame, payload, &bytes, &len));
  if (!guard_state_is_over(guard) && !guard->block.is_open)
    end_block(guard, now_us, bytes, len, output);
}

/* ---- Frames from the client ---- */

static void begin_headers(struct guard *guard, int64_t now_us) {
  if (guard->frame.stream_id % 2 == 0) {
    guard_state_offend(guard, GUARD_STREAM, "a stream id that clients must not use");
    return;
  }
  guard_block_begin(&guard->block, guard->frame, now_us);
  guard->state = STATE_BLOCK;
}

static void begin_continuation(struct guard *guard, int64_t now_us) {
  if (guard->frame.length == 0)
    guard_state_spend(guard, GUARD_RATE_EMPTY, now_us);
  else if (guard->block.len + guard->frame.length > GUARD_BLOCK_BYTES_MAX)
    guard_state_offend(guard, GUARD_HEADER_SIZE, "more than 16384 bytes of headers");
  if (!guard_state_is_over(guard))
    guard->state = STATE_BLOCK;
}

static void begin_data(struct guard *guard, int64_t now_us, struct guard_output *output) {
  const struct guard_stream *stream = guard_streams_find(&guard->streams, guard->frame.stream_id);
  guard->messages = stream == NULL ? (struct guard_messages){0} : stream->messages;
  if (stream != NULL)
    guard->data_left = guard->frame.length;
  if (guard->frame.stream_id % 2 == 0 || guard->frame.stream_id > guard->stream_last)
    guard_state_offend(guard, GUARD_STREAM, "DATA on a stream that was not opened");
  else if (stream == NULL)
    guard_state_spend(guard, GUARD_RATE_STRAY, now_us);
  else if ((stream->ended & GUARD_ENDED_BY_CLIENT) != 0)
    guard_state_offend(guard, GUARD_STREAM, "DATA after the client had ended the stream");
  else if (guard->frame.length == 0 && (guard->frame.flags & FLAG_END_STREAM) == 0)
    guard_state_spend(guard, GUARD_RATE_EMPTY, now_us);
  if (guard_state_is_over(guard))
    return;
  if ((guard->frame.flags & FLAG_PADDED) != 0) {
    if (guard->frame.length == 0) {
      guard_state_offend(guard, GUARD_FRAME_SIZE, "padding without payload");
      return;
    }
    guard->state = STATE_HELD;
    guard->held_wanted = 1;
    return;
  }
  guard_output_copy(output, guard->header, FRAME_HEADER_BYTES);
  guard->state = STATE_PASS;
  if ((guard->frame.flags & FLAG_END_STREAM) != 0)
    guard_state_end_stream(guard, guard->frame.stream_id, GUARD_ENDED_BY_CLIENT);
}

/* A frame that is short, of a known size, and judged whole. */
static void begin_held(struct guard *guard, uint32_t length, bool on_connection) {
  if (guard->frame.length != length)
    guard_state_offend(guard, GUARD_FRAME_SIZE, "a frame of a size that its type does not have");
  else if ((guard->frame.stream_id == 0) != on_connection)
    guard_state_offend(guard, GUARD_FRAME, "a frame on the wrong kind of stream");
  if (guard_state_is_over(guard))
    return;
  guard->held_wanted = guard->frame.length;
  guard->state = STATE_HELD;
}

static void begin_settings(struct guard *guard, int64_t now_us) {
  bool is_ack = (guard->frame.flags & FLAG_ACK) != 0;
  guard->had_settings = true;
  if (guard->frame.length % FRAME_SETTING_BYTES != 0 || guard->frame.length > GUARD_HELD_BYTES_MAX ||
      (is_ack && guard->frame.length != 0))
    guard_state_offend(guard, GUARD_FRAME_SIZE, "SETTINGS of an impossible size");
  else if (is_ack && guard->settings_owed == 0)
    guard_state_offend(guard, GUARD_FRAME, "an acknowledgement of SETTINGS that were not sent");
  else if (!is_ack)
    guard_state_spend(guard, GUARD_RATE_SETTINGS, now_us);
  else
    guard->settings_since_us = now_us; /* of the next that is owed, if there is one */
  if (!guard_state_is_over(guard))
    begin_held(guard, guard->frame.length, true);
}

static void begin_ping(struct guard *guard, int64_t now_us) {
  if ((guard->frame.flags & FLAG_ACK) != 0 && guard->pings_owed > 0)
    guard->pings_owed--;
  else
    guard_state_spend(guard, GUARD_RATE_PINGS, now_us);
  if (!guard_state_is_over(guard))
    begin_held(guard, 8, true);
}

static void begin_unknown(struct guard *guard, int64_t now_us, struct guard_output *output) {
  guard_state_spend(guard, GUARD_RATE_UNKNOWN, now_us);
  if (guard_state_is_over(guard))
    return;
  guard_output_copy(output, guard->header, FRAME_HEADER_BYTES);
  guard->state = STATE_PASS;
}

static void begin_goaway(struct guard *guard, int64_t now_us, struct guard_output *output) {
  if (guard->frame.length < FRAME_GOAWAY_BYTES)
    guard_state_offend(guard, GUARD_FRAME_SIZE, "a GOAWAY that is too short");
  else if (guard->frame.stream_id != 0)
    guard_state_offend(guard, GUARD_FRAME, "a GOAWAY on a stream");
  else
    begin_unknown(guard, now_us, output);
}

static void begin_of_type(struct guard *guard, int64_t now_us, struct guard_output *output) {
  switch (guard->frame.type) {
  case FRAME_DATA:
    begin_data(guard, now_us, output);
    break;
  case FRAME_HEADERS:
    begin_headers(guard, now_us);
    break;
  case FRAME_PRIORITY:
    guard_state_spend(guard, GUARD_RATE_PRIORITIES, now_us);
    if (!guard_state_is_over(guard))
      begin_held(guard, FRAME_PRIORITY_BYTES, false);
    break;
  case FRAME_RST_STREAM:
    guard_state_spend(guard, GUARD_RATE_RESETS, now_us);
    if (!guard_state_is_over(guard))
      begin_held(guard, FRAME_RST_STREAM_BYTES, false);
    break;
  case FRAME_SETTINGS:
    begin_settings(guard, now_us);
    break;
  case FRAME_PUSH_PROMISE:
    guard_state_offend(guard, GUARD_FRAME, "a PUSH_PROMISE from a client");
    break;
  case FRAME_PING:
    begin_ping(guard, now_us);
    break;
  case FRAME_GOAWAY:
    begin_goaway(guard, now_us, output);
    break;
  case FRAME_WINDOW_UPDATE:
    guard_state_spend(guard, GUARD_RATE_WINDOW_UPDATES, now_us);
    if (!guard_state_is_over(guard))
      begin_held(guard, 4, guard->frame.stream_id == 0);
    break;
  default:
    begin_unknown(guard, now_us, output);
  }
}

void guard_frames_begin(struct guard *guard, int64_t now_us, struct guard_output *output) {
  guard->header_len = 0;
  guard->frame = guard_frame_read(guard->header);
  guard->left = guard->frame.length;
  guard->data_left = 0;
  guard->held_len = 0;
  bool continues = guard->frame.type == FRAME_CONTINUATION && guard->block.is_open &&
                   guard->frame.stream_id == guard->block.stream_id;
  if (guard->frame.length > GUARD_FRAME_BYTES_MAX)
    guard_state_offend(guard, GUARD_FRAME_SIZE, "a frame of more than 16384 bytes");
  else if (!guard->had_settings &&
           (guard->frame.type != FRAME_SETTINGS || (guard->frame.flags & FLAG_ACK) != 0))
    guard_state_offend(guard, GUARD_PREFACE, "a preface without SETTINGS");
  else if (continues)
    begin_continuation(guard, now_us);
  else if (guard->block.is_open || guard->frame.type == FRAME_CONTINUATION)
    guard_state_offend(guard, GUARD_FRAME, "a header block interrupted, or continued without a beginning");
  else
    begin_of_type(guard, now_us, output);
}

static void end_settings(struct guard *guard, const uint8_t *payload) {
  if ((guard->frame.flags & FLAG_ACK) != 0) {
    guard->settings_owed--;
    guard->settings_acknowledged = true;
    return;
  }
  for (uint32_t at = 0; at < guard->frame.length; at += FRAME_SETTING_BYTES) {
    uint32_t id = (uint32_t)payload[at] << 8 | payload[at + 1], value = guard_frame_u32(payload + at + 2);
    if (id == SETTING_HEADER_TABLE_SIZE && value < HEADER_TABLE_BYTES)
      guard->has_small_table = true;
    if ((id == SETTING_ENABLE_PUSH && value > 1) ||
        (id == SETTING_INITIAL_WINDOW_SIZE && value > INT32_MAX) ||
        (id == SETTING_MAX_FRAME_SIZE && (value < 16384 || value > 16777215)))
      guard_state_offend(guard, GUARD_FRAME, "a setting outside of its bounds");
    if (guard_state_is_over(guard))
      return;
  }
}

static void end_window_update(struct guard *guard, const uint8_t *payload) {
  uint32_t increment = guard_frame_u31(payload);
  if (increment == 0)
    guard_state_offend(guard, GUARD_FRAME, "a WINDOW_UPDATE by nothing");
  else if (guard->frame.stream_id > guard->stream_last ||
           (guard->frame.stream_id != 0 && guard->frame.stream_id % 2 == 0))
    guard_state_offend(guard, GUARD_STREAM, "a WINDOW_UPDATE for a stream that was not opened");
  else if (guard->frame.stream_id == 0 && (guard->window += increment) > INT32_MAX)
    guard_state_offend(guard, GUARD_FRAME, "a window past its bounds");
}

static void end_reset(struct guard *guard) {
  if (guard->frame.stream_id > guard->stream_last || guard->frame.stream_id % 2 == 0)
    guard_state_offend(guard, GUARD_STREAM, "a RST_STREAM for a stream that was not opened");
  else
    guard_state_end_stream(guard, guard->frame.stream_id, GUARD_ENDED);
}

/* Padding alone is as empty as nothing. */
static void end_padded_data(struct guard *guard, int64_t now_us, const uint8_t *padding) {
  if (*padding >= guard->frame.length)
    guard_state_offend(guard, GUARD_FRAME, "more padding than payload");
  else if ((guard->frame.flags & FLAG_END_STREAM) != 0)
    guard_state_end_stream(guard, guard->frame.stream_id, GUARD_ENDED_BY_CLIENT);
  else if (*padding == guard->frame.length - 1)
    guard_state_spend(guard, GUARD_RATE_EMPTY, now_us);
  if (guard->data_left > 0 && !guard_state_is_over(guard))
    guard->data_left = guard->frame.length - 1 - *padding;
}

void guard_frames_end_held(struct guard *guard, int64_t now_us, const uint8_t *payload,
                           struct guard_output *output) {
  guard->left = guard->frame.length - guard->held_wanted;
  guard->state = guard->left > 0 ? STATE_PASS : STATE_FRAME;
  if (guard->frame.type == FRAME_DATA)
    end_padded_data(guard, now_us, payload);
  else if (guard->frame.type == FRAME_RST_STREAM)
    end_reset(guard);
  else if (guard->frame.type == FRAME_SETTINGS)
    end_settings(guard, payload);
  else if (guard->frame.type == FRAME_WINDOW_UPDATE)
    end_window_update(guard, payload);
  else if (guard->frame.type == FRAME_PRIORITY && guard_frame_u31(payload) == guard->frame.stream_id)
    guard_state_offend(guard, GUARD_FRAME, "a stream that depends on itself");
  if (guard_state_is_over(guard))
    return;
  guard_output_copy(output, guard->header, FRAME_HEADER_BYTES);
  guard_output_copy(output, payload, guard->held_wanted);
}
