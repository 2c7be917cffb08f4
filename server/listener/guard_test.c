/* The HTTP/2 guard: what it lets through and how, that neither depends on how the bytes are cut, and its end.
 */
#include <stdlib.h>

#include "server/listener/guard.h"
#include "server/listener/guard_script.h"
#include "tests/support/unit.h"

static const int64_t SECOND_US = 1000000;

static const char zeros[16385];

/* ---- What goes through unchanged ---- */

static void test_passes_frames_as_they_are(void **state) {
  (void)state;
  struct script *script = script_opened();
  struct buf wanted = {0}, frames = {0};
  script_append_hello(&wanted);
  script_append_plain_request(&wanted, 1, 0);
  char big[16384];
  memset(big, 'd', sizeof big);
  wire_frame(&frames, FRAME_DATA, 0, 1, STR("\0\0\0\0\2hi"));
  wire_frame(&frames, FRAME_SETTINGS, 0, 0,
             STR("\0\4\x7f\xff\xff\xff\0\2\0\0\0\1\0\5\0\xff\xff\xff\xfe\3\0\0\0\1"));
  wire_frame(&frames, FRAME_WINDOW_UPDATE, 0, 0, STR("\0\0\1\0"));
  wire_frame(&frames, FRAME_WINDOW_UPDATE, 0, 1, STR("\x80\0\0\1")); /* a reserved bit */
  wire_frame(&frames, FRAME_PING, 0, 0, STR("12345678"));
  wire_frame(&frames, FRAME_PING, FLAG_ACK, 0, STR("12345678"));
  wire_frame(&frames, FRAME_PRIORITY, 0, 1, STR("\0\0\0\3\xff"));
  wire_frame(&frames, FRAME_PRIORITY, 0, 77, STR("\x80\0\0\0\1"));
  wire_frame(&frames, FRAME_DATA, 0, 1, str_make(big, sizeof big));
  wire_frame(&frames, FRAME_DATA, 0, 0x80000001U, str_make(big, 1025)); /* a reserved bit */
  wire_frame(&frames, FRAME_DATA, FLAG_PADDED, 1, STR("\2ab\0\0"));
  wire_frame(&frames, FRAME_DATA, FLAG_PADDED, 1, STR("\0a"));
  wire_frame(&frames, FRAME_DATA, 0, 1, STR(""));
  wire_frame(&frames, 0xfa, 0xff, 1, STR("whatever"));
  wire_frame(&frames, 0xfa, 0, 0, str_make(big, sizeof big));
  wire_frame(&frames, FRAME_DATA, FLAG_END_STREAM, 1, STR(""));
  wire_frame(&frames, FRAME_RST_STREAM, 0, 1, STR("\0\0\0\x8"));
  wire_frame(&frames, FRAME_RST_STREAM, 0, 1, STR("\0\0\0\x8")); /* again: it is no stream that never was */
  wire_frame(&frames, FRAME_GOAWAY, 0, 0, STR("\0\0\0\0\0\0\0\0bye"));
  buf_append_str(&wanted, buf_str(&frames));
  script_client(script, buf_str(&frames));
  buf_fini(&frames);
  script_expect_out(script, &wanted);
}

/* ---- Requests ---- */

static void check_block(nghttp2_hd_inflater *inflater, struct script_result *result, size_t *at, str wanted) {
  struct guard_frame frame;
  str payload;
  do
    assert_true(wire_next(buf_str(&result->out), at, &frame, &payload));
  while (frame.type != FRAME_HEADERS);
  struct buf block = {0}, fields = {0};
  buf_append_str(&block, payload);
  while ((frame.flags & FLAG_END_HEADERS) == 0) {
    assert_true(wire_next(buf_str(&result->out), at, &frame, &payload));
    assert_int_equal(frame.type, FRAME_CONTINUATION);
    buf_append_str(&block, payload);
  }
  assert_true(wire_fields(inflater, buf_str(&block), &fields));
  assert_true(str_has_prefix(buf_str(&fields), wanted));
  str rest = str_from(buf_str(&fields), wanted.len);
  assert_true(str_has_prefix(rest, STR("skerry-connection: abcdefghijklmnopqrstuvwx")));
  assert_int_equal(rest.len, 19 + 32 + 1);
  buf_fini(&block);
  buf_fini(&fields);
}

/* Requests that build on each other's table, as a client's own deflater makes them. */
static void test_keeps_the_table_of_headers(void **state) {
  (void)state;
  const struct wire_field fields[] = {
      WIRE_FIELD(":method", "POST"),         WIRE_FIELD(":scheme", "https"),
      WIRE_FIELD(":path", "/a.B/C"),         WIRE_FIELD(":authority", "box.local:443"),
      WIRE_FIELD("te", "trailers"),          WIRE_FIELD("content-type", "application/grpc"),
      WIRE_FIELD("grpc-timeout", "10S"),     WIRE_FIELD("x-some-bin", "AAEC"),
      WIRE_FIELD("x-some-bin", "AAECAw"),    WIRE_FIELD("authorization", "Bearer abc.def"),
      WIRE_FIELD("x-words", " some words "), WIRE_FIELD("x-empty", "")};
  static const char lines[] = ":method: POST\n:scheme: https\n:path: /a.B/C\n:authority: box.local:443\n"
                              "te: trailers\ncontent-type: application/grpc\ngrpc-timeout: 10S\n"
                              "x-some-bin: AAEC\nx-some-bin: AAECAw\nauthorization: Bearer abc.def\n"
                              "x-words:  some words \nx-empty: \n";
  nghttp2_hd_deflater *deflater;
  nghttp2_hd_inflater *inflater;
  assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
  assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
  struct script *script = script_greeted();
  for (uint32_t i = 0; i < 40; i++) {
    if (i == 20)
      nghttp2_hd_deflate_change_table_size(deflater, 100); /* an update within the next block */
    struct buf block = {0};
    wire_block(&block, deflater, fields, UNIT_COUNT(fields) - i % 3);
    script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 2 * i + 1,
                        buf_str(&block));
    buf_fini(&block);
  }
  struct script_result result;
  script_run_cut(script, &result);
  assert_string_equal(guard_offence_name(result.offence), "none");
  assert_int_equal(result.streams, 40);
  size_t at = WIRE_PREFACE.len;
  const size_t without[] = {sizeof lines - 1, sizeof lines - 1 - 10, sizeof lines - 1 - 10 - 22};
  for (uint32_t i = 0; i < 40; i++)
    check_block(inflater, &result, &at, str_make(lines, without[i % 3]));
  assert_int_equal(at, result.out.len);
  buf_fini(&result.out);
  script_free(script);
  nghttp2_hd_deflate_del(deflater);
  nghttp2_hd_inflate_del(inflater);
}

static void test_takes_padding_and_priority_off(void **state) {
  (void)state;
  struct buf block = {0}, payload = {0}, wanted = {0};
  wire_pseudo(&block);
  struct script *script = script_greeted();
  script_append_hello(&wanted);
  buf_append(&payload, "\3\x80\0\0\7\x10", 6);
  buf_append_str(&payload, buf_str(&block));
  buf_append(&payload, "\0\0\0", 3);
  script_client_frame(script, FRAME_HEADERS,
                      FLAG_END_HEADERS | FLAG_END_STREAM | FLAG_PADDED | FLAG_PRIORITY | 0xd2, 1,
                      buf_str(&payload));
  script_append_plain_request(&wanted, 1, FLAG_END_STREAM);
  buf_clear(&payload);
  buf_append(&payload, "\0\0\0\0\x10", 5);
  buf_append_str(&payload, buf_str(&block));
  script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_PRIORITY, 3, buf_str(&payload));
  script_append_plain_request(&wanted, 3, 0);
  buf_clear(&payload);
  buf_append_byte(&payload, 200);
  buf_append_str(&payload, buf_str(&block));
  for (int i = 0; i < 200; i++)
    buf_append_byte(&payload, 'p');
  script_client_frame(script, FRAME_HEADERS, FLAG_PADDED, 7, buf_str(&payload));
  script_client_frame(script, FRAME_CONTINUATION, FLAG_END_HEADERS, 7, STR(""));
  script_append_plain_request(&wanted, 7, 0);
  buf_fini(&block);
  buf_fini(&payload);
  script_expect_out(script, &wanted);
}

static void test_says_when_a_request_came(void **state) {
  (void)state;
  struct buf block = {0}, wanted = {0};
  wire_pseudo(&block);
  struct script *script = script_greeted();
  script_client_frame(script, FRAME_HEADERS, 0, 1, buf_str(&block));
  script_wait(script, 1234567);
  script_client_frame(script, FRAME_CONTINUATION, FLAG_END_HEADERS, 1, STR("")); /* whole only now */
  script_append_hello(&wanted);
  script_append_request(&wanted, 1, 0, buf_str(&block), SCRIPT_START_US + 1234567);
  buf_fini(&block);
  script_expect_out(script, &wanted);
}

/* A block of exactly this many bytes, of which most is one value. */
static void block_of(struct buf *out, size_t bytes) {
  wire_pseudo(out);
  size_t fixed = out->len + 3 + (bytes < 300 ? 2 : 3); /* a literal of one letter, and its value's length */
  char *value = malloc(bytes);
  assert_non_null(value);
  memset(value, 'v', bytes);
  wire_literal(out, STR("x"), str_make(value, bytes - fixed), false);
  free(value);
  assert_int_equal(out->len, bytes);
}

/* Cut into frames of `piece` bytes each. */
static void send_block(struct script *script, uint32_t id, str block, size_t piece) {
  for (size_t at = 0; at < block.len; at += piece) {
    size_t len = block.len - at < piece ? block.len - at : piece;
    script_client_frame(script, at == 0 ? FRAME_HEADERS : FRAME_CONTINUATION,
                        at + len == block.len ? FLAG_END_HEADERS : 0, id, str_make(block.ptr + at, len));
  }
}

static void test_gathers_blocks(void **state) {
  (void)state;
  /* The whole that fits into one frame with the header, one byte more, and the longest there may be. */
  const size_t lengths[] = {200, 16384 - 52, 16384 - 51, 16384};
  const size_t pieces[] = {16384, 9000, 5000, 100};
  for (size_t i = 0; i < UNIT_COUNT(lengths); i++)
    for (size_t p = 0; p < UNIT_COUNT(pieces); p++) {
      struct buf block = {0}, wanted = {0}, id = {0};
      block_of(&block, lengths[i]);
      struct script *script = script_greeted();
      script->options.metadata_bytes_max = 1 << 20;
      send_block(script, 1, buf_str(&block), pieces[p]);
      script_append_hello(&wanted);
      script_append_id(&id, SCRIPT_START_US);
      if (lengths[i] + id.len <= 16384) {
        script_append_request(&wanted, 1, 0, buf_str(&block), SCRIPT_START_US);
      } else {
        wire_frame(&wanted, FRAME_HEADERS, 0, 1, buf_str(&block));
        wire_frame(&wanted, FRAME_CONTINUATION, FLAG_END_HEADERS, 1, buf_str(&id));
      }
      assert_int_equal(id.len, GUARD_ID_HEADER_BYTES);
      buf_fini(&id);
      buf_fini(&block);
      script_expect_out(script, &wanted);
    }
}

static void test_takes_no_longer_blocks(void **state) {
  (void)state;
  const size_t pieces[] = {16384, 9000, 100};
  for (size_t p = 0; p < UNIT_COUNT(pieces); p++) {
    struct buf block = {0};
    block_of(&block, 16385);
    struct script *script = script_greeted();
    script->options.metadata_bytes_max = 1 << 20;
    send_block(script, 1, buf_str(&block), pieces[p]);
    buf_fini(&block);
    script_expect(script, GUARD_HEADER_SIZE);
  }
}

static void test_trailers(void **state) {
  (void)state;
  struct script *script = script_opened();
  struct buf wanted = {0}, block = {0};
  script_append_hello(&wanted);
  script_append_plain_request(&wanted, 1, 0);
  wire_literal(&block, STR("x-end"), STR("yes"), true);
  wire_frame(&wanted, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, buf_str(&block));
  script_client_frame(script, FRAME_HEADERS, FLAG_END_STREAM, 1, str_make(block.data, 3));
  script_client_frame(script, FRAME_CONTINUATION, FLAG_END_HEADERS, 1,
                      str_make(block.data + 3, block.len - 3));
  /* The table has it: it goes on for the next request. */
  buf_clear(&block);
  wire_pseudo(&block);
  buf_append_byte(&block, 0x80 | 62);
  script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS, 3, buf_str(&block));
  script_append_request(&wanted, 3, 0, buf_str(&block), SCRIPT_START_US);
  script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 3, STR("")); /* empty ones */
  wire_frame(&wanted, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 3, STR(""));
  buf_fini(&block);
  script_expect_out(script, &wanted);

  script = script_opened();
  script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS, 1, STR("\0\1x\1y")); /* does not end it */
  script_expect(script, GUARD_FRAME);
  script = script_opened();
  script_request(script, 1, FLAG_END_STREAM); /* pseudo-headers in them */
  script_expect(script, GUARD_HEADER);
  script = script_greeted();
  script_request(script, 1, FLAG_END_STREAM);
  script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STR(""));
  script_expect(script, GUARD_STREAM);
}

/* ---- The preface ---- */

static void test_preface(void **state) {
  (void)state;
  for (size_t wrong = 0; wrong < WIRE_PREFACE.len; wrong++) {
    char bytes[24];
    memcpy(bytes, WIRE_PREFACE.ptr, sizeof bytes);
    bytes[wrong] ^= 0x20;
    struct script *script = script_new();
    script_client(script, str_make(bytes, sizeof bytes));
    script_expect(script, GUARD_PREFACE);
  }
  struct script *script = script_new();
  script_client(script, WIRE_PREFACE);
  script_client_frame(script, FRAME_PING, 0, 0, STR("12345678"));
  script_expect(script, GUARD_PREFACE);
  script = script_new();
  script_server_frame(script, FRAME_SETTINGS, 0, 0, STR(""));
  script_client(script, WIRE_PREFACE);
  script_client_frame(script, FRAME_SETTINGS, FLAG_ACK, 0, STR(""));
  script_expect(script, GUARD_PREFACE);
  script = script_new(); /* part of it: nothing comes out, no offence yet */
  script_client(script, str_make(WIRE_PREFACE.ptr, 23));
  script_expect_out(script, &(struct buf){0});
}

/* ---- Output ---- */

/* Far more than one output holds, of short and long frames. */
static void test_goes_on_after_a_full_output(void **state) {
  (void)state;
  struct script *script = script_opened();
  struct buf wanted = {0}, frames = {0};
  script_append_hello(&wanted);
  script_append_plain_request(&wanted, 1, 0);
  for (int i = 0; i < 200; i++) {
    wire_frame(&frames, FRAME_DATA, 0, 1, str_make(zeros, 1500));
    wire_frame(&frames, FRAME_DATA, 0, 1, str_make(zeros, 1000));
  }
  for (uint32_t i = 1; i < 60; i++) { /* and requests, which are always copied */
    struct buf block = {0};
    block_of(&block, 5000);
    wire_frame(&frames, FRAME_HEADERS, FLAG_END_HEADERS, 2 * i + 1, buf_str(&block));
    buf_fini(&block);
  }
  for (int i = 0; i < 200; i++) {
    wire_frame(&wanted, FRAME_DATA, 0, 1, str_make(zeros, 1500));
    wire_frame(&wanted, FRAME_DATA, 0, 1, str_make(zeros, 1000));
  }
  for (uint32_t i = 1; i < 60; i++) {
    struct buf block = {0};
    block_of(&block, 5000);
    script_append_request(&wanted, 2 * i + 1, 0, buf_str(&block), SCRIPT_START_US);
    buf_fini(&block);
  }
  script_client(script, buf_str(&frames));
  buf_fini(&frames);
  struct script_result result;
  script_run(script, (struct script_cuts){0}, &result);
  assert_true(result.was_full);
  buf_fini(&result.out);
  script_expect_out(script, &wanted);
}

static void test_long_payloads_are_not_copied(void **state) {
  (void)state;
  struct guard_options options = {.streams_max = 1, .metadata_bytes_max = 8192, .patience_us = 1};
  struct guard *guard = guard_new(&options, &SCRIPT_KEY, 0);
  struct guard_output *output = malloc(sizeof *output);
  assert_true(guard != NULL && output != NULL);
  struct script *script = script_opened();
  script_client_frame(script, FRAME_DATA, 0, 1, str_make(zeros, 16384));
  const uint8_t ack[] = {0, 0, 0, FRAME_SETTINGS, 0, 0, 0, 0, 0};
  guard_from_server(guard, 0, ack, sizeof ack);
  size_t len = 0; /* of the client's bytes alone */
  uint8_t *bytes = malloc(script->bytes.len);
  assert_non_null(bytes);
  for (size_t i = 0; i < script->count; i++)
    if (!script->steps[i].by_server) {
      memcpy(bytes + len, script->bytes.data + script->steps[i].from, script->steps[i].len);
      len += script->steps[i].len;
    }
  assert_int_equal(guard_from_client(guard, 0, bytes, len, output), len);
  assert_int_equal(guard_offence(guard), GUARD_NO_OFFENCE);
  assert_int_equal(output->count, 2);
  assert_ptr_equal(output->ranges[1].iov_base, bytes + len - 16384);
  assert_int_equal(output->ranges[1].iov_len, 16384);
  free(bytes);
  free(output);
  guard_free(guard);
  script_free(script);
}

/* ---- GOAWAY ---- */

struct live {
  struct guard *guard;
  struct guard_output *output;
};

static struct live live_with(struct memory_budget *incomplete) {
  struct guard_options options = {.streams_max = 100,
                                  .metadata_bytes_max = 8192,
                                  .patience_us = 10 * SECOND_US,
                                  .incomplete = incomplete};
  struct live live = {guard_new(&options, &SCRIPT_KEY, 0), malloc(sizeof *live.output)};
  assert_true(live.guard != NULL && live.output != NULL);
  return live;
}

static struct live live_new(void) {
  return live_with(NULL);
}

static void live_free(struct live live) {
  guard_free(live.guard);
  free(live.output);
}

static void live_client(struct live live, int64_t now_us, str bytes) {
  guard_from_client(live.guard, now_us, (const uint8_t *)bytes.ptr, bytes.len, live.output);
}

static void live_server(struct live live, int64_t now_us, str bytes) {
  guard_from_server(live.guard, now_us, (const uint8_t *)bytes.ptr, bytes.len);
}

#define FRAME_OF(length, type, flags, id) "\0\0" length type flags "\0\0\0" id
#define SETTINGS_EMPTY FRAME_OF("\0", "\4", "\0", "\0")
#define SETTINGS_ACK FRAME_OF("\0", "\4", "\1", "\0")
#define REQUEST(id) FRAME_OF("\3", "\1", "\4", id) SCRIPT_PSEUDO

/* A request, and the beginning of a message that announces 16 MiB. */
static void live_begin_message(struct live live, uint8_t id) {
  uint8_t request[] = REQUEST("\0"), prefix[] = FRAME_OF("\5", "\0", "\0", "\0") "\0\1\0\0\0";
  request[8] = prefix[8] = id;
  live_client(live, 0, str_make(request, sizeof request - 1));
  live_client(live, 0, str_make(prefix, sizeof prefix - 1));
}

static void live_send(struct live live, uint8_t id, size_t bytes) {
  for (size_t sent = 0; sent < bytes && guard_offence(live.guard) == GUARD_NO_OFFENCE; sent += 16384) {
    const uint8_t header[] = {0, 0x40, 0, FRAME_DATA, 0, 0, 0, 0, id};
    live_client(live, 0, str_make(header, sizeof header));
    live_client(live, 0, str_make(zeros, 16384));
  }
}

/* gRPC core holds what has come of a message until all of it is there. */
static void test_incomplete_messages(void **state) {
  (void)state;
  struct memory_budget incomplete;
  memory_budget_init(&incomplete, 1 << 20);
  struct live greedy = live_with(&incomplete), other = live_with(&incomplete);
  struct live both[] = {greedy, other};
  for (size_t i = 0; i < UNIT_COUNT(both); i++) {
    live_client(both[i], 0, WIRE_PREFACE);
    live_client(both[i], 0, STR(SETTINGS_EMPTY));
    live_server(both[i], 0, STR(SETTINGS_EMPTY SETTINGS_ACK));
  }
  live_begin_message(greedy, 1);
  live_begin_message(greedy, 3);
  live_send(greedy, 1, 256 * 1024);
  live_send(greedy, 3, 128 * 1024);
  assert_int_equal(memory_budget_used(&incomplete), 384 * 1024);

  /* It goes with the stream: reset by the client, ended by both, in the middle of a frame too. */
  live_client(greedy, 0, STR(FRAME_OF("\4", "\3", "\0", "\1") "\0\0\0\10"));
  assert_int_equal(memory_budget_used(&incomplete), 128 * 1024);
  live_client(greedy, 0, STR(FRAME_OF("\3", "\0", "\1", "\3") "ab"));
  live_server(greedy, 0, STR(FRAME_OF("\4", "\3", "\0", "\3") "\0\0\0\10"));
  assert_int_equal(memory_budget_used(&incomplete), 128 * 1024 + 2);
  live_client(greedy, 0, STR("c"));
  assert_int_equal(memory_budget_used(&incomplete), 0);

  /* A message that is complete is the runtime's. */
  live_begin_message(greedy, 5);
  live_send(greedy, 5, 16384);
  live_client(greedy, 0, STR(FRAME_OF("\4", "\3", "\0", "\5") "\0\0\0\10"));
  live_client(greedy, 0, STR(REQUEST("\7") FRAME_OF("\7", "\0", "\0", "\7") "\0\0\0\0\3ab"));
  assert_int_equal(memory_budget_used(&incomplete), 2);
  live_client(greedy, 0, STR(FRAME_OF("\1", "\0", "\0", "\7") "c"));
  assert_int_equal(memory_budget_used(&incomplete), 0);

  /* The last quarter is for those that have little. */
  live_begin_message(greedy, 9);
  live_begin_message(other, 1);
  live_send(greedy, 9, 700 * 1024);
  live_send(other, 1, 128 * 1024);
  assert_int_equal(guard_offence(other.guard), GUARD_NO_OFFENCE);
  live_send(greedy, 9, 16384);
  assert_int_equal(guard_offence(greedy.guard), GUARD_MESSAGES);
  live_send(other, 1, 16384);
  assert_int_equal(guard_offence(other.guard), GUARD_NO_OFFENCE);
  live_free(greedy);
  assert_int_equal(memory_budget_used(&incomplete), 144 * 1024);
  live_free(other);
  assert_int_equal(memory_budget_used(&incomplete), 0);
}

static void test_goaway(void **state) {
  (void)state;
  uint8_t goaway[GUARD_GOAWAY_BYTES_MAX];
  struct live live = live_new();
  assert_int_equal(guard_goaway(live.guard, goaway), 0); /* no offence */
  live_client(live, 0, WIRE_PREFACE);
  live_client(live, 0, STR(SETTINGS_EMPTY REQUEST("\1") REQUEST("\5")));
  live_client(live, 0, STR(FRAME_OF("\0", "\0", "\0", "\7"))); /* DATA on a stream that was not opened */
  assert_int_equal(guard_offence(live.guard), GUARD_STREAM);
  const char *why = guard_why(live.guard);
  assert_string_equal(why, "DATA on a stream that was not opened");

  /* The server has sent nothing: SETTINGS come first. */
  size_t len = guard_goaway(live.guard, goaway), at = 0;
  struct guard_frame frame;
  str payload;
  assert_true(wire_next(str_make(goaway, len), &at, &frame, &payload));
  assert_int_equal(frame.type, FRAME_SETTINGS);
  assert_true(frame.flags == 0 && frame.stream_id == 0 && frame.length == 0);
  assert_true(wire_next(str_make(goaway, len), &at, &frame, &payload));
  assert_int_equal(at, len);
  assert_int_equal(frame.type, FRAME_GOAWAY);
  assert_true(frame.flags == 0 && frame.stream_id == 0);
  assert_memory_equal(payload.ptr, "\0\0\0\5\0\0\0\5", 8); /* the last stream; STREAM_CLOSED */
  assert_true(str_eq(str_from(payload, 8), str_from_cstr(why)));

  /* At each byte of what the server sends: only between frames, and not before CONTINUATION. */
  const str sent = STR(SETTINGS_EMPTY FRAME_OF("\1", "\1", "\0", "\1") "\x88" FRAME_OF(
      "\0", "\x9", "\4", "\1") FRAME_OF("\2", "\0", "\1", "\1") "ab");
  const size_t free_at[] = {0, 9, 28, 39};
  size_t next = 1;
  for (size_t i = 0; i < sent.len; i++) {
    live_server(live, 0, str_make(sent.ptr + i, 1));
    len = guard_goaway(live.guard, goaway);
    bool is_free = next < UNIT_COUNT(free_at) && free_at[next] == i + 1;
    assert_int_equal(len > 0, is_free);
    if (is_free) {
      next++;
      assert_int_equal(goaway[3], FRAME_GOAWAY); /* SETTINGS were sent */
    }
  }
  assert_int_equal(next, UNIT_COUNT(free_at));
  live_free(live);
}

/* A stream that was refused is not in it: the client may send the request again, elsewhere. */
static void test_goaway_leaves_out_what_was_refused(void **state) {
  (void)state;
  struct live live = live_new();
  live_client(live, 0, WIRE_PREFACE);
  live_client(live, 0, STR(SETTINGS_EMPTY));
  struct buf all = {0};
  for (uint32_t i = 0; i < 201; i++)
    wire_frame(&all, FRAME_HEADERS, FLAG_END_HEADERS, 2 * i + 1, STR(SCRIPT_PSEUDO));
  live_client(live, 0, buf_str(&all));
  buf_fini(&all);
  assert_int_equal(guard_offence(live.guard), GUARD_STREAMS);
  live_server(live, 0, STR(SETTINGS_EMPTY));
  uint8_t goaway[GUARD_GOAWAY_BYTES_MAX];
  assert_true(guard_goaway(live.guard, goaway) > 17);
  assert_memory_equal(goaway + 9, "\0\0\1\x8f\0\0\0\xb", 8); /* 399; ENHANCE_YOUR_CALM */
  live_free(live);
}

static void test_error_codes(void **state) {
  (void)state;
  const struct {
    str bytes;
    enum guard_offence offence;
    uint8_t code;
  } cases[] = {
      {STR("GET "), GUARD_PREFACE, 1},
      {STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\x40\1\0\0\0\0\0\0"), GUARD_FRAME_SIZE, 6},
      {STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" SETTINGS_EMPTY "\0\0\0\5\0\0\0\0\1"), GUARD_FRAME, 1},
      {STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" SETTINGS_EMPTY "\0\0\0\1\4\0\0\0\2"), GUARD_STREAM, 5},
      {STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" SETTINGS_EMPTY "\0\0\1\1\4\0\0\0\1\x80"), GUARD_HEADER_CODE, 9},
      {STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" SETTINGS_EMPTY "\0\0\1\1\4\0\0\0\1\x83"), GUARD_HEADER, 1},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct live live = live_new();
    live_client(live, 0, cases[i].bytes);
    assert_int_equal(guard_offence(live.guard), cases[i].offence);
    live_server(live, 0, STR(SETTINGS_EMPTY));
    uint8_t goaway[GUARD_GOAWAY_BYTES_MAX];
    assert_true(guard_goaway(live.guard, goaway) > 17);
    assert_int_equal(goaway[16], cases[i].code);
    live_free(live);
  }
  for (enum guard_offence a = 0; a < GUARD_OFFENCE_COUNT; a++)
    for (enum guard_offence b = 0; b < a; b++)
      assert_string_not_equal(guard_offence_name(a), guard_offence_name(b));
}

/* ---- Patience ---- */

static void test_waits_for_settings_only_so_long(void **state) {
  (void)state;
  struct live live = live_new();
  assert_false(guard_is_overdue(live.guard, 1000 * SECOND_US)); /* nothing is owed */
  live_server(live, SECOND_US, STR(SETTINGS_EMPTY));
  live_server(live, 5 * SECOND_US, STR(SETTINGS_EMPTY));
  live_client(live, SECOND_US, WIRE_PREFACE);
  live_client(live, SECOND_US, STR(SETTINGS_EMPTY));
  assert_false(guard_is_overdue(live.guard, 11 * SECOND_US));
  live_client(live, 11 * SECOND_US, STR(SETTINGS_ACK));
  assert_false(guard_is_overdue(live.guard, 21 * SECOND_US)); /* the second one's time began there */
  live_client(live, 21 * SECOND_US, STR(SETTINGS_ACK));
  assert_false(guard_is_overdue(live.guard, 1000 * SECOND_US));
  live_server(live, 1000 * SECOND_US, STR(SETTINGS_ACK)); /* asks for nothing */
  assert_false(guard_is_overdue(live.guard, 2000 * SECOND_US));
  live_server(live, 2000 * SECOND_US, STR(SETTINGS_EMPTY));
  assert_true(guard_is_overdue(live.guard, 2010 * SECOND_US + 1));
  assert_int_equal(guard_offence(live.guard), GUARD_SLOW);
  assert_false(guard_is_overdue(live.guard, 3000 * SECOND_US)); /* once */
  assert_int_equal(guard_offence(live.guard), GUARD_SLOW);
  live_free(live);
}

/* Further SETTINGS do not give time for the first ones. */
static void test_waits_from_the_first_settings_on(void **state) {
  (void)state;
  struct live live = live_new();
  live_server(live, SECOND_US, STR(SETTINGS_EMPTY));
  live_server(live, 9 * SECOND_US, STR(SETTINGS_EMPTY));
  assert_false(guard_is_overdue(live.guard, 11 * SECOND_US));
  assert_true(guard_is_overdue(live.guard, 11 * SECOND_US + 1));
  live_free(live);
}

static void test_waits_for_blocks_only_so_long(void **state) {
  (void)state;
  struct live live = live_new();
  live_client(live, 0, WIRE_PREFACE);
  live_client(live, 0, STR(SETTINGS_EMPTY "\0\0\3\1\0\0\0\0\1\x83"));
  assert_false(guard_is_overdue(live.guard, 10 * SECOND_US));
  live_client(live, 10 * SECOND_US, STR("\x86\x84" FRAME_OF("\0", "\x9", "\4", "\1")));
  assert_false(guard_is_overdue(live.guard, 100 * SECOND_US));
  live_client(live, 100 * SECOND_US, STR("\0\0\3\1\4\0\0\0\3"));
  live_client(live, 105 * SECOND_US, STR("\x83")); /* a byte now and then does not help */
  assert_false(guard_is_overdue(live.guard, 110 * SECOND_US));
  assert_true(guard_is_overdue(live.guard, 110 * SECOND_US + 1));
  assert_string_equal(guard_why(live.guard), "a header block that did not end in time");
  live_free(live);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_passes_frames_as_they_are),
      cmocka_unit_test(test_keeps_the_table_of_headers),
      cmocka_unit_test(test_takes_padding_and_priority_off),
      cmocka_unit_test(test_says_when_a_request_came),
      cmocka_unit_test(test_gathers_blocks),
      cmocka_unit_test(test_takes_no_longer_blocks),
      cmocka_unit_test(test_trailers),
      cmocka_unit_test(test_preface),
      cmocka_unit_test(test_goes_on_after_a_full_output),
      cmocka_unit_test(test_long_payloads_are_not_copied),
      cmocka_unit_test(test_incomplete_messages),
      cmocka_unit_test(test_goaway),
      cmocka_unit_test(test_goaway_leaves_out_what_was_refused),
      cmocka_unit_test(test_error_codes),
      cmocka_unit_test(test_waits_for_settings_only_so_long),
      cmocka_unit_test(test_waits_from_the_first_settings_on),
      cmocka_unit_test(test_waits_for_blocks_only_so_long),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
