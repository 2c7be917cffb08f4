/* The judge of frames: impossible ones, streams, rates. */
#include "server/listener/guard_frames.h"
#include "server/listener/guard_script.h"
#include "tests/support/unit.h"

static const int64_t SECOND_US = 1000000;

static const char zeros[16385];

/* ---- Frames that must not be ---- */

struct frame_case {
  uint8_t type, flags;
  uint32_t id;
  str payload;
  enum guard_offence offence;
};

/* After script_hello and a request on stream 3. */
static void test_frames(void **state) {
  (void)state;
  const struct frame_case cases[] = {
      {FRAME_DATA, 0, 3, {zeros, 16385}, GUARD_FRAME_SIZE},
      {0xfa, 0, 3, {zeros, 16385}, GUARD_FRAME_SIZE},
      {FRAME_DATA, 0, 0, STR("x"), GUARD_STREAM},
      {FRAME_DATA, 0, 2, STR("x"), GUARD_STREAM},
      {FRAME_DATA, 0, 5, STR("x"), GUARD_STREAM},
      {FRAME_DATA, 0, 1, STR("x"), GUARD_NO_OFFENCE}, /* passed over: closed */
      {FRAME_DATA, FLAG_PADDED, 3, STR(""), GUARD_FRAME_SIZE},
      {FRAME_DATA, FLAG_PADDED, 3, STR("\1"), GUARD_FRAME},
      {FRAME_DATA, FLAG_PADDED, 3, STR("\3ab"), GUARD_FRAME},
      {FRAME_DATA, FLAG_PADDED, 3, STR("\2ab"), GUARD_NO_OFFENCE},
      {FRAME_HEADERS, FLAG_END_HEADERS, 0, STR(""), GUARD_STREAM},
      {FRAME_HEADERS, FLAG_END_HEADERS, 6, STR(""), GUARD_STREAM},
      {FRAME_HEADERS, FLAG_END_HEADERS | FLAG_PADDED, 5, STR(""), GUARD_FRAME_SIZE},
      {FRAME_HEADERS, FLAG_END_HEADERS | FLAG_PADDED, 5, STR("\1"), GUARD_FRAME},
      {FRAME_HEADERS, FLAG_END_HEADERS | FLAG_PRIORITY, 5, STR("\0\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_HEADERS, FLAG_END_HEADERS | FLAG_PRIORITY | FLAG_PADDED, 5, STR("\0\0\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_HEADERS, FLAG_END_HEADERS | FLAG_PRIORITY | FLAG_PADDED, 5, STR("\1\0\0\0\0\0"), GUARD_FRAME},
      {FRAME_HEADERS, FLAG_END_HEADERS | FLAG_PRIORITY, 5, STR("\x80\0\0\5\0\x83\x86\x84"), GUARD_FRAME},
      {FRAME_HEADERS, FLAG_END_HEADERS | FLAG_PRIORITY, 5, STR("\x80\0\0\3\0\x83\x86\x84"), GUARD_NO_OFFENCE},
      {FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM | FLAG_PADDED, 3, STR("\2\0\0"), GUARD_NO_OFFENCE},
      {FRAME_PRIORITY, 0, 3, STR("\0\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_PRIORITY, 0, 3, STR("\0\0\0\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_PRIORITY, 0, 0, STR("\0\0\0\1\0"), GUARD_FRAME},
      {FRAME_PRIORITY, 0, 3, STR("\0\0\0\3\0"), GUARD_FRAME},
      {FRAME_PRIORITY, 0, 3, STR("\x80\0\0\3\0"), GUARD_FRAME},
      {FRAME_RST_STREAM, 0, 3, STR("\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_RST_STREAM, 0, 3, STR("\0\0\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_RST_STREAM, 0, 0, STR("\0\0\0\0"), GUARD_FRAME},
      {FRAME_RST_STREAM, 0, 2, STR("\0\0\0\0"), GUARD_STREAM},
      {FRAME_RST_STREAM, 0, 5, STR("\0\0\0\0"), GUARD_STREAM},
      {FRAME_RST_STREAM, 0, 1, STR("\0\0\0\0"), GUARD_NO_OFFENCE},
      {FRAME_SETTINGS, 0, 0, STR("\0\0\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_SETTINGS, 0, 0, {zeros, 32 * 6}, GUARD_NO_OFFENCE},
      {FRAME_SETTINGS, 0, 0, {zeros, 33 * 6}, GUARD_FRAME_SIZE},
      {FRAME_SETTINGS, 0, 1, STR(""), GUARD_FRAME},
      {FRAME_SETTINGS, FLAG_ACK, 0, STR(""), GUARD_FRAME}, /* none is owed */
      {FRAME_SETTINGS, FLAG_ACK, 0, STR("\0\0\0\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_SETTINGS, 0, 0, STR("\0\2\0\0\0\2"), GUARD_FRAME},
      {FRAME_SETTINGS, 0, 0, STR("\0\4\x80\0\0\0"), GUARD_FRAME},
      {FRAME_SETTINGS, 0, 0, STR("\0\1\0\0\0\0\0\4\x80\0\0\0"), GUARD_FRAME},
      {FRAME_SETTINGS, 0, 0, STR("\0\5\0\0\x3f\xff"), GUARD_FRAME},
      {FRAME_SETTINGS, 0, 0, STR("\0\5\0\0\x40\0"), GUARD_NO_OFFENCE},
      {FRAME_SETTINGS, 0, 0, STR("\0\5\1\0\0\0"), GUARD_FRAME},
      {FRAME_PUSH_PROMISE, FLAG_END_HEADERS, 3, STR("\0\0\0\2\x82"), GUARD_FRAME},
      {FRAME_PING, 0, 0, STR("1234567"), GUARD_FRAME_SIZE},
      {FRAME_PING, 0, 0, STR("123456789"), GUARD_FRAME_SIZE},
      {FRAME_PING, 0, 3, STR("12345678"), GUARD_FRAME},
      {FRAME_GOAWAY, 0, 0, STR("\0\0\0\0\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_GOAWAY, 0, 3, STR("\0\0\0\0\0\0\0\0"), GUARD_FRAME},
      {FRAME_WINDOW_UPDATE, 0, 0, STR("\0\0\0"), GUARD_FRAME_SIZE},
      {FRAME_WINDOW_UPDATE, 0, 0, STR("\0\0\0\1\1"), GUARD_FRAME_SIZE},
      {FRAME_WINDOW_UPDATE, 0, 0, STR("\0\0\0\0"), GUARD_FRAME},
      {FRAME_WINDOW_UPDATE, 0, 3, STR("\x80\0\0\0"), GUARD_FRAME},
      {FRAME_WINDOW_UPDATE, 0, 5, STR("\0\0\0\1"), GUARD_STREAM},
      {FRAME_WINDOW_UPDATE, 0, 2, STR("\0\0\0\1"), GUARD_STREAM},
      {FRAME_WINDOW_UPDATE, 0, 1, STR("\0\0\0\1"), GUARD_NO_OFFENCE},
      {FRAME_WINDOW_UPDATE, 0, 0, STR("\x7f\xff\0\0"), GUARD_NO_OFFENCE}, /* 2^31 - 1 with what it was */
      {FRAME_WINDOW_UPDATE, 0, 0, STR("\x7f\xff\0\1"), GUARD_FRAME},
      {FRAME_CONTINUATION, FLAG_END_HEADERS, 3, STR(""), GUARD_FRAME},
      {FRAME_CONTINUATION, FLAG_END_HEADERS, 0, STR(""), GUARD_FRAME},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct script *script = script_greeted();
    script_request(script, 3, 0);
    script_client_frame(script, cases[i].type, cases[i].flags, cases[i].id, cases[i].payload);
    struct script_result result;
    script_run_cut(script, &result);
    if (result.offence != cases[i].offence)
      fail_msg("case %zu: %s instead of %s", i, guard_offence_name(result.offence),
               guard_offence_name(cases[i].offence));
    /* The last frame alone is missing after an offence. */
    struct buf wanted = {0};
    script_append_hello(&wanted);
    script_append_plain_request(&wanted, 3, 0);
    if (cases[i].offence != GUARD_NO_OFFENCE)
      assert_int_equal(result.out.len, wanted.len);
    else
      assert_true(result.out.len > wanted.len);
    assert_memory_equal(result.out.data, wanted.data, wanted.len);
    buf_fini(&wanted);
    buf_fini(&result.out);
    script_free(script);
  }
}

/* While a header block is under way nothing but its CONTINUATION may come. */
static void test_blocks_are_not_interrupted(void **state) {
  (void)state;
  for (uint8_t type = 0; type < 11; type++) {
    struct script *script = script_opened();
    script_client_frame(script, FRAME_HEADERS, 0, 3, STR("\x83"));
    script_client_frame(script, type, 0, type == FRAME_CONTINUATION ? 1 : 3, STR("\0\0\0\1"));
    script_expect(script, GUARD_FRAME);
  }
  struct script *script = script_opened();
  script_client_frame(script, FRAME_HEADERS, 0, 3, STR("\x83"));
  script_request(script, 5, 0);
  script_expect(script, GUARD_FRAME);
}

static void test_streams_go_up(void **state) {
  (void)state;
  struct script *script = script_greeted();
  script_request(script, 5, 0);
  script_request(script, 7, 0);
  script_request(script, 3, FLAG_END_STREAM); /* it can only be trailers, and has pseudo-headers */
  script_expect(script, GUARD_HEADER);
  script = script_greeted();
  script_request(script, 1, FLAG_END_STREAM);
  script_client_frame(script, FRAME_DATA, 0, 1, STR("x"));
  script_expect(script, GUARD_STREAM);
  script = script_greeted();
  script_request(script, 0x7fffffff, 0);
  script_expect(script, GUARD_NO_OFFENCE);
}

/* ---- Rates ---- */

struct rate_case {
  struct frame_case frame;
  int burst, per_second, per_server_frame;
};

static void send_times(struct script *script, const struct frame_case *frame, int times) {
  for (int i = 0; i < times; i++)
    script_client_frame(script, frame->type, frame->flags, frame->id, frame->payload);
}

/* Stream 1 is closed, 3 is open; before it went `burst` frames of the kind and what `more` says. */
static void check_rate(const struct rate_case *c, int server_frames, int64_t wait_us, int more,
                       enum guard_offence offence) {
  struct script *script = script_greeted();
  script_request(script, 3, 0);
  send_times(script, &c->frame, c->burst);
  for (int i = 0; i < server_frames; i++)
    script_server_frame(script, i % 2 == 0 ? FRAME_HEADERS : FRAME_DATA, FLAG_END_HEADERS, 3, STR(""));
  script_wait(script, wait_us);
  send_times(script, &c->frame, more);
  struct script_result result;
  script_run(script, (struct script_cuts){0}, &result);
  if (result.offence != offence)
    fail_msg("type %d: %s instead of %s after %d server frames, %lld us and %d more", c->frame.type,
             guard_offence_name(result.offence), guard_offence_name(offence), server_frames,
             (long long)wait_us, more);
  script_same(&result, script, (struct script_cuts){.piece = 1});
  buf_fini(&result.out);
  script_free(script);
}

static void test_rates(void **state) {
  (void)state;
  const struct rate_case cases[] = {
      {{FRAME_RST_STREAM, 0, 1, STR("\0\0\0\0"), GUARD_RESETS}, 150, 50, 1},
      {{FRAME_PING, 0, 0, STR("12345678"), GUARD_PINGS}, 50, 5, 1},
      {{FRAME_PING, FLAG_ACK, 0, STR("12345678"), GUARD_PINGS}, 50, 5, 1}, /* that were not asked for */
      {{FRAME_SETTINGS, 0, 0, STR(""), GUARD_SETTINGS}, 19, 1, 0},         /* one came already */
      {{FRAME_WINDOW_UPDATE, 0, 0, STR("\0\0\0\1"), GUARD_WINDOW_UPDATES}, 1000, 100, 2},
      {{FRAME_WINDOW_UPDATE, 0, 1, STR("\0\0\0\1"), GUARD_WINDOW_UPDATES}, 1000, 100, 2},
      {{FRAME_PRIORITY, 0, 3, STR("\0\0\0\0\1"), GUARD_PRIORITIES}, 200, 10, 1},
      {{FRAME_DATA, 0, 3, STR(""), GUARD_EMPTY_FRAMES}, 100, 10, 1},
      {{FRAME_DATA, FLAG_PADDED, 3, STR("\0"), GUARD_EMPTY_FRAMES}, 100, 10, 1},
      {{FRAME_DATA, FLAG_PADDED, 3, STR("\2\0\0"), GUARD_EMPTY_FRAMES}, 100, 10, 1},
      {{FRAME_DATA, 0, 1, STR("x"), GUARD_STRAY_FRAMES}, 1000, 100, 1},
      {{FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STR(""), GUARD_STRAY_FRAMES}, 1000, 100, 1},
      {{0xfa, 0, 0, STR("?"), GUARD_UNKNOWN_FRAMES}, 50, 5, 0},
      {{FRAME_GOAWAY, 0, 0, STR("\0\0\0\0\0\0\0\0"), GUARD_UNKNOWN_FRAMES}, 50, 5, 0},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    const struct rate_case *c = &cases[i];
    enum guard_offence offence = c->frame.offence;
    check_rate(c, 0, 0, 0, GUARD_NO_OFFENCE);
    check_rate(c, 0, 0, 1, offence);
    check_rate(c, 0, SECOND_US - 1, 1, offence);
    check_rate(c, 0, SECOND_US, c->per_second, GUARD_NO_OFFENCE);
    check_rate(c, 0, SECOND_US, c->per_second + 1, offence);
    check_rate(c, 0, 3 * SECOND_US + 1, 3 * c->per_second, GUARD_NO_OFFENCE);
    check_rate(c, 0, 3 * SECOND_US + 1, 3 * c->per_second + 1, offence);
    int full = c->frame.offence == GUARD_SETTINGS ? c->burst + 1 : c->burst; /* never more than a burst */
    check_rate(c, 0, 100000LL * SECOND_US, full, GUARD_NO_OFFENCE);
    check_rate(c, 0, 100000LL * SECOND_US, full + 1, offence);
    check_rate(c, 4, 0, 4 * c->per_server_frame, GUARD_NO_OFFENCE);
    check_rate(c, 4, 0, 4 * c->per_server_frame + 1, offence);
  }
}

static void test_frames_that_are_free(void **state) {
  (void)state;
  struct script *script = script_opened();
  for (int i = 0; i < 200; i++)
    script_server_frame(script, FRAME_PING, 0, 0, STR("abcdefgh"));
  for (int i = 0; i < 200; i++)
    script_client_frame(script, FRAME_PING, FLAG_ACK, 0, STR("abcdefgh"));
  for (int i = 0; i < 50; i++)
    script_client_frame(script, FRAME_PING, 0, 0, STR("abcdefgh"));
  script_server_frame(script, FRAME_PING, FLAG_ACK, 0, STR("abcdefgh")); /* an answer owes none */
  script_expect(script, GUARD_NO_OFFENCE);
  script = script_opened();
  for (int i = 0; i < 50; i++)
    script_client_frame(script, FRAME_PING, 0, 0, STR("abcdefgh"));
  script_server_frame(script, FRAME_PING, FLAG_ACK, 0, STR("abcdefgh"));
  script_client_frame(script, FRAME_PING, FLAG_ACK, 0, STR("abcdefgh"));
  script_expect(script, GUARD_PINGS);
  for (int over = 0; over < 2; over++) { /* each that was asked for is free once */
    script = script_opened();
    script_server_frame(script, FRAME_PING, 0, 0, STR("abcdefgh"));
    for (int i = 0; i < 51 + over; i++)
      script_client_frame(script, FRAME_PING, FLAG_ACK, 0, STR("abcdefgh"));
    script_expect(script, over == 0 ? GUARD_NO_OFFENCE : GUARD_PINGS);
  }
  script = script_greeted(); /* an end is no empty frame */
  for (uint32_t i = 0; i < 150; i++) {
    script_request(script, 2 * i + 1, 0);
    script_client_frame(script, FRAME_DATA, FLAG_END_STREAM, 2 * i + 1, STR(""));
    script_server_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 2 * i + 1, STR("\x88"));
  }
  script_expect(script, GUARD_NO_OFFENCE);
}

/* Streams that the server resets count like those that the client resets, unless they had been answered; and
 * what the server says about closed streams earns nothing. */
static void test_resets_by_the_server(void **state) {
  (void)state;
  for (int over = 0; over < 2; over++) {
    struct script *script = script_greeted();
    for (uint32_t i = 0; i < 150U + (uint32_t)over; i++) {
      script_request(script, 2 * i + 1, 0);
      script_server_frame(script, FRAME_RST_STREAM, 0, 2 * i + 1, STR("\0\0\0\2"));
      script_server_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 2 * i + 1, STR("\x88"));
    }
    script_expect(script, over == 0 ? GUARD_NO_OFFENCE : GUARD_RESETS);
  }
  struct script *script = script_greeted();
  for (uint32_t i = 0; i < 500; i++) {
    script_request(script, 2 * i + 1, 0);
    script_server_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 2 * i + 1, STR("\x88"));
    script_server_frame(script, FRAME_RST_STREAM, 0, 2 * i + 1, STR("\0\0\0\0"));
  }
  script_expect(script, GUARD_NO_OFFENCE);
  script = script_greeted(); /* and rapid resets by the client, which the server answers too late */
  for (uint32_t i = 0; i < 151; i++) {
    script_request(script, 2 * i + 1, 0);
    script_client_frame(script, FRAME_RST_STREAM, 0, 2 * i + 1, STR("\0\0\0\x8"));
    script_server_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 2 * i + 1, STR("\x88"));
  }
  script_expect(script, GUARD_RESETS);
}

/* ---- Streams at once ---- */

static void test_streams_before_the_limit_is_known(void **state) {
  (void)state;
  for (uint32_t over = 0; over < 2; over++) {
    struct script *script = script_new();
    script->options.streams_max = 10;
    script_client(script, WIRE_PREFACE);
    script_client_frame(script, FRAME_SETTINGS, 0, 0, STR(""));
    script_server_frame(script, FRAME_SETTINGS, 0, 0, STR(""));
    for (uint32_t i = 0; i < 110 + over; i++)
      script_request(script, 2 * i + 1, 0);
    script_expect(script, over == 0 ? GUARD_NO_OFFENCE : GUARD_STREAMS);
  }
}

static void test_streams_at_once(void **state) {
  (void)state;
  for (uint32_t over = 0; over < 2; over++) {
    struct script *script = script_greeted();
    script->options.streams_max = 10;
    for (uint32_t i = 0; i < 10 + over; i++)
      script_request(script, 2 * i + 1, FLAG_END_STREAM); /* half closed ones count */
    script_expect(script, over == 0 ? GUARD_NO_OFFENCE : GUARD_STREAMS);
  }
  struct script *script = script_greeted();
  script->options.streams_max = UINT32_MAX;
  script_request(script, 1, 0);
  script_expect(script, GUARD_NO_OFFENCE);
}

enum end {
  END_CLIENT_DATA,
  END_CLIENT_TRAILER,
  END_CLIENT_PADDED,
  END_CLIENT_RESET,
  END_SERVER_HEADERS,
  END_SERVER_DATA,
  END_SERVER_RESET,
  END_COUNT
};

static void send_end(struct script *script, enum end end, uint32_t id) {
  if (end == END_CLIENT_DATA)
    script_client_frame(script, FRAME_DATA, FLAG_END_STREAM, id, STR("x"));
  else if (end == END_CLIENT_TRAILER)
    script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, id, STR(""));
  else if (end == END_CLIENT_PADDED)
    script_client_frame(script, FRAME_DATA, FLAG_END_STREAM | FLAG_PADDED, id, STR("\1x\0"));
  else if (end == END_CLIENT_RESET)
    script_client_frame(script, FRAME_RST_STREAM, 0, id, STR("\0\0\0\x8"));
  else if (end == END_SERVER_HEADERS)
    script_server_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, id, STR("\x88"));
  else if (end == END_SERVER_DATA)
    script_server_frame(script, FRAME_DATA, FLAG_END_STREAM, id, STR("x"));
  else
    script_server_frame(script, FRAME_RST_STREAM, 0, id, STR("\0\0\0\0"));
}

static unsigned sides(enum end end) {
  return end == END_CLIENT_RESET || end == END_SERVER_RESET ? 3 : end <= END_CLIENT_PADDED ? 1 : 2;
}

/* Each end after each other one: open until both sides have ended. */
static void test_ends_of_streams(void **state) {
  (void)state;
  for (enum end first = 0; first < END_COUNT; first++)
    for (enum end second = 0; second < END_COUNT; second++) {
      struct script *script = script_greeted();
      script_request(script, 1, 0);
      script_request(script, 3, 0);
      send_end(script, first, 1);
      struct script_result result;
      script_run(script, (struct script_cuts){0}, &result);
      assert_int_equal(result.streams, sides(first) == 3 ? 1 : 2);
      buf_fini(&result.out);
      send_end(script, second, 1);
      script_run_cut(script, &result);
      bool is_twice =
          sides(first) == 1 && sides(second) == 1; /* by the client, on a stream that is half open */
      assert_string_equal(guard_offence_name(result.offence), is_twice ? "stream" : "none");
      assert_int_equal(result.streams, (sides(first) | sides(second)) == 3 ? 1 : 2);
      buf_fini(&result.out);
      script_free(script);
    }
}

static void test_strays_after_a_reset_by_the_server(void **state) {
  (void)state;
  struct script *script = script_opened();
  struct buf wanted = {0}, strays = {0};
  script_append_hello(&wanted);
  script_append_plain_request(&wanted, 1, 0);
  script_server_frame(script, FRAME_RST_STREAM, 0, 1, STR("\0\0\0\2"));
  wire_frame(&strays, FRAME_DATA, 0, 1, STR("abc"));
  wire_frame(&strays, FRAME_DATA, FLAG_PADDED, 1, STR("\1abc\0"));
  wire_frame(&strays, FRAME_WINDOW_UPDATE, 0, 1, STR("\0\0\0\1"));
  wire_frame(&strays, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STR("\x40\1x\1y"));
  wire_frame(&strays, FRAME_RST_STREAM, 0, 1, STR("\0\0\0\x8"));
  script_client(script, buf_str(&strays));
  buf_append_str(&wanted, buf_str(&strays));
  buf_fini(&strays);
  script_client_frame(script, FRAME_HEADERS, FLAG_END_HEADERS, 3,
                      STR(SCRIPT_PSEUDO "\xbe")); /* the table has it */
  script_append_request(&wanted, 3, 0, STR(SCRIPT_PSEUDO "\xbe"), SCRIPT_START_US);
  script_expect_out(script, &wanted);
}

/* What the server sends is taken from the window, and may be given again. */
static void test_window(void **state) {
  (void)state;
  for (int over = 0; over < 2; over++) {
    struct script *script = script_opened();
    script_client_frame(script, FRAME_WINDOW_UPDATE, 0, 0, STR("\x7f\xff\0\0"));
    script_server_frame(script, FRAME_DATA, 0, 1, str_make(zeros, 16384));
    script_server_frame(script, FRAME_DATA, 0, 99, str_make(zeros, 100));
    script_client_frame(script, FRAME_WINDOW_UPDATE, 0, 0,
                        over == 0 ? STR("\0\0\x40\x64") : STR("\0\0\x40\x65"));
    script_expect(script, over == 0 ? GUARD_NO_OFFENCE : GUARD_FRAME);
  }
}

/* ---- gRPC's messages ---- */

/* A message over frames, one of them padded; then one that lies, in the frame that ends the stream. */
static void test_lengths_of_messages(void **state) {
  (void)state;
  for (int lies = 0; lies < 2; lies++) {
    struct script *script = script_opened();
    script_client_frame(script, FRAME_DATA, 0, 1, STR("\0\0"));
    script_request(script, 3, 0);
    script_client_frame(script, FRAME_DATA, 0, 3, STR("\0\0\0\0\0"));
    script_client_frame(script, FRAME_DATA, FLAG_PADDED, 1, STR("\3\0\0\5\xff\xff\xff\xff\xff"));
    script_client_frame(script, FRAME_DATA, FLAG_PADDED, 1, STR("\2\xff\xff\xff\1\xff\xff"));
    script_client_frame(script, FRAME_DATA, FLAG_END_STREAM, 1, lies ? STR("\xff\0\0\0") : STR("\x7f\0\0\0"));
    script_expect(script, lies ? GUARD_FRAME : GUARD_NO_OFFENCE);
  }
}

/* Also where the server has ended the stream, so that the frame ends it for both. */
static void test_lengths_after_the_server_ended(void **state) {
  (void)state;
  struct script *script = script_opened();
  script_server_frame(script, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, STR(""));
  script_client_frame(script, FRAME_DATA, FLAG_END_STREAM, 1, STR("\0\xff\xff\xff\xff"));
  script_expect(script, GUARD_FRAME);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_frames),
      cmocka_unit_test(test_blocks_are_not_interrupted),
      cmocka_unit_test(test_streams_go_up),
      cmocka_unit_test(test_rates),
      cmocka_unit_test(test_frames_that_are_free),
      cmocka_unit_test(test_resets_by_the_server),
      cmocka_unit_test(test_streams_before_the_limit_is_known),
      cmocka_unit_test(test_streams_at_once),
      cmocka_unit_test(test_ends_of_streams),
      cmocka_unit_test(test_strays_after_a_reset_by_the_server),
      cmocka_unit_test(test_window),
      cmocka_unit_test(test_lengths_of_messages),
      cmocka_unit_test(test_lengths_after_the_server_ended),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
