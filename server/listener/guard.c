/* The bytes of both directions, and time: guard_state.h has the states, guard_frames.c judges the frames.
 *
 * Bytes that are whole in what was given are looked at where they are; only pieces are kept. */
#include "server/listener/guard.h"

#include <stdlib.h>
#include <string.h>

#include "server/listener/guard_frames.h"
#include "server/listener/guard_output.h"

enum { WINDOW_FIRST = 65535 };

static uint32_t smaller(size_t a, size_t b) {
  return (uint32_t)(a < b ? a : b);
}

/* ---- Bytes from the client ---- */

static uint32_t take_preface(struct guard *guard, const uint8_t *bytes, uint32_t len,
                             struct guard_output *output) {
  uint32_t taken = smaller(HTTP2_PREFACE_BYTES - guard->header_len, len);
  if (memcmp(bytes, &HTTP2_PREFACE[guard->header_len], taken) != 0) {
    guard_state_offend(guard, GUARD_PREFACE, "not HTTP/2");
    return 0;
  }
  guard->header_len += taken;
  if (guard->header_len == HTTP2_PREFACE_BYTES) {
    guard_output_copy(output, HTTP2_PREFACE, HTTP2_PREFACE_BYTES);
    guard->header_len = 0;
    guard->state = STATE_FRAME;
  }
  return taken;
}

static void end_payload(struct guard *guard);

static uint32_t take_header(struct guard *guard, int64_t now_us, const uint8_t *bytes, uint32_t len,
                            struct guard_output *output) {
  uint32_t taken = smaller(FRAME_HEADER_BYTES - guard->header_len, len);
  memcpy(guard->header + guard->header_len, bytes, taken);
  guard->header_len += taken;
  if (guard->header_len < FRAME_HEADER_BYTES)
    return taken;
  guard_frames_begin(guard, now_us, output);
  if (guard->state == STATE_HELD && guard->held_wanted == 0)
    guard_frames_end_held(guard, now_us, NULL, output);
  else if (guard->state == STATE_BLOCK && guard->left == 0)
    guard_frames_end_block(guard, now_us, NULL, output);
  else if (guard->state == STATE_PASS && guard->left == 0)
    end_payload(guard);
  return taken;
}

static uint32_t take_held(struct guard *guard, int64_t now_us, const uint8_t *bytes, uint32_t len,
                          struct guard_output *output) {
  uint32_t taken = smaller(guard->held_wanted - guard->held_len, len);
  if (taken == guard->held_wanted) {
    guard_frames_end_held(guard, now_us, bytes, output);
    return taken;
  }
  memcpy(guard->held + guard->held_len, bytes, taken);
  guard->held_len += taken;
  if (guard->held_len == guard->held_wanted)
    guard_frames_end_held(guard, now_us, guard->held, output);
  return taken;
}

static uint32_t take_block(struct guard *guard, int64_t now_us, const uint8_t *bytes, uint32_t len,
                           struct guard_output *output) {
  uint32_t taken = smaller(guard->left, len), before = guard->frame.length - guard->left;
  guard->left -= taken;
  if (taken == guard->frame.length) {
    guard_frames_end_block(guard, now_us, bytes, output);
    return taken;
  }
  guard_state_judge(guard, guard_block_keep(&guard->block, before, bytes, taken));
  if (guard->left == 0 && !guard_state_is_over(guard))
    guard_frames_end_block(guard, now_us, NULL, output);
  return taken;
}

/* gRPC core held `before` bytes of the message that is under way, and holds messages.held now. */
static void account(struct guard *guard, uint32_t before) {
  uint32_t now = guard->messages.held;
  if (now < before)
    memory_budget_give(&guard->incomplete, before - now);
  if (now <= before)
    return;
  memory_budget_charge(&guard->incomplete, now - before);
  if (memory_budget_is_spent(&guard->incomplete) &&
      memory_budget_used(&guard->incomplete) > GUARD_INCOMPLETE_FREE)
    guard_state_offend(guard, GUARD_MESSAGES, "too much of messages that are not complete");
}

/* Of bytes of a payload, how many may go on: all, but for what lies about the length of a message. */
static uint32_t judge_messages(struct guard *guard, const uint8_t *bytes, uint32_t len) {
  uint32_t data = smaller(guard->data_left, len), held = guard->messages.held,
           good = guard_messages_pass(&guard->messages, bytes, data);
  if (good < data) {
    guard_state_offend(guard, GUARD_FRAME, "a message of 2 GiB or more");
    return good;
  }
  guard->data_left -= data;
  account(guard, held);
  return len;
}

static void end_payload(struct guard *guard) {
  guard->state = STATE_FRAME;
  if (guard->frame.type != FRAME_DATA)
    return;
  struct guard_stream *stream = guard_streams_find(&guard->streams, guard->frame.stream_id);
  if (stream != NULL)
    stream->messages = guard->messages;
  else if (guard->messages.held > 0)
    memory_budget_give(&guard->incomplete, guard->messages.held);
}

static uint32_t take_payload(struct guard *guard, const uint8_t *bytes, uint32_t len,
                             struct guard_output *output) {
  uint32_t taken = judge_messages(guard, bytes, smaller(guard->left, len));
  guard_output_pass(output, bytes, taken);
  guard->left -= taken;
  if (guard->left == 0 && !guard_state_is_over(guard))
    end_payload(guard);
  return taken;
}

size_t guard_from_client(struct guard *guard, int64_t now_us, const uint8_t *bytes, size_t len,
                         struct guard_output *output) {
  guard_output_clear(output);
  size_t at = 0;
  while (at < len && !guard_state_is_over(guard) && guard_output_has_room(output)) {
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

/* A stream that the server resets though it had not answered costs it as one that the client resets: RESETS
 * is looked at when the next stream is opened. */
static void end_by_server(struct guard *guard, uint32_t id) {
  const struct guard_stream *stream = guard_streams_find(&guard->streams, id);
  if (stream != NULL && (stream->ended & GUARD_ENDED_BY_SERVER) == 0)
    guard_rates_take(&guard->rates, GUARD_RATE_RESETS);
  guard_state_end_stream(guard, id, GUARD_ENDED);
}

static void server_frame(struct guard *guard, struct guard_frame frame, int64_t now_us) {
  if (frame.type == FRAME_DATA || frame.type == FRAME_HEADERS) {
    if (guard_streams_find(&guard->streams, frame.stream_id) != NULL)
      guard_rates_earn(&guard->rates);
    if ((frame.flags & FLAG_END_STREAM) != 0)
      guard_state_end_stream(guard, frame.stream_id, GUARD_ENDED_BY_SERVER);
    if (frame.type == FRAME_DATA)
      guard->window -= frame.length;
  } else if (frame.type == FRAME_RST_STREAM) {
    end_by_server(guard, frame.stream_id);
  } else if (frame.type == FRAME_PING && (frame.flags & FLAG_ACK) == 0) {
    guard->pings_owed++;
  } else if (frame.type == FRAME_SETTINGS && (frame.flags & FLAG_ACK) == 0) {
    if (guard->settings_owed++ == 0)
      guard->settings_since_us = now_us;
  }
}

void guard_from_server(struct guard *guard, int64_t now_us, const uint8_t *bytes, size_t len) {
  struct guard_frame frame;
  while (guard_server_next(&guard->server, &bytes, &len, &frame))
    server_frame(guard, frame, now_us);
}

/* ---- The end ---- */

size_t guard_goaway(const struct guard *guard, uint8_t ret[GUARD_GOAWAY_BYTES_MAX]) {
  if (guard->verdict.offence == GUARD_NO_OFFENCE || !guard_server_is_between_frames(&guard->server))
    return 0;
  return guard_offence_goaway(guard->verdict, guard->stream_last, !guard->server.began, ret);
}

bool guard_is_overdue(struct guard *guard, int64_t now_us) {
  if (guard_state_is_over(guard))
    return false;
  if (guard->block.is_open && now_us - guard->block.since_us > guard->options.patience_us)
    guard_state_offend(guard, GUARD_SLOW, "a header block that did not end in time");
  else if (guard->settings_owed > 0 && now_us - guard->settings_since_us > guard->options.patience_us)
    guard_state_offend(guard, GUARD_SLOW, "SETTINGS that were not acknowledged in time");
  return guard_state_is_over(guard);
}

enum guard_offence guard_offence(const struct guard *guard) {
  return guard->verdict.offence;
}

const char *guard_why(const struct guard *guard) {
  return guard->verdict.why;
}

unsigned guard_streams_open(const struct guard *guard) {
  return guard->streams.count;
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

struct guard *guard_new(const struct guard_options *options, const struct rpc_connection_key *key,
                        int64_t now_us) {
  struct guard *guard = calloc(1, sizeof *guard);
  if (guard == NULL || nghttp2_hd_inflate_new(&guard->inflater) != 0) {
    free(guard);
    return NULL;
  }
  guard->options = *options;
  if (options->incomplete != NULL)
    memory_budget_init_share(&guard->incomplete, options->incomplete);
  else
    memory_budget_init(&guard->incomplete, SIZE_MAX);
  guard->window = WINDOW_FIRST;
  guard_rates_init(&guard->rates, now_us);
  make_id_header(guard, key);
  return guard;
}

void guard_free(struct guard *guard) {
  if (guard == NULL)
    return;
  nghttp2_hd_inflate_del(guard->inflater);
  memory_budget_give(&guard->incomplete, memory_budget_used(&guard->incomplete));
  guard_streams_fini(&guard->streams);
  guard_block_fini(&guard->block);
  free(guard);
}
