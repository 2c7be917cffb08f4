/* Requests that the guard turns away: what their client gets, that the server's table of headers stays in
 * step, and when nobody is turned away. The client is nghttp2's session; the server is made here. */
#include <stdio.h>
#include <stdlib.h>

#include "rpc/rich_status.h"
#include "server/listener/guard.h"
#include "server/listener/guard_refusal.h"
#include "server/listener/guard_wire.h"
#include "tests/support/unit.h"

enum { CALLS_MAX = 400, RETRY_MS = 730 };

static const struct rpc_connection_key KEY = {"abcdefghijklmnopqrstuvwx"};

/* ---- The answer by itself ---- */

static size_t unbase64(str text, uint8_t *ret) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t len = 0;
  uint32_t bits = 0, count = 0;
  for (size_t i = 0; i < text.len; i++) {
    const char *digit = strchr(digits, text.ptr[i]);
    assert_non_null(digit);
    bits = bits << 6 | (uint32_t)(digit - digits);
    if ((count += 6) >= 8)
      ret[len++] = (uint8_t)(bits >> (count -= 8));
  }
  assert_int_equal(bits & ((1U << count) - 1), 0);
  return len;
}

static void test_the_answer(void **state) {
  (void)state;
  for (uint32_t retry_ms = 1; retry_ms < 5000; retry_ms += 333) {
    for (int has_ended = 0; has_ended < 2; has_ended++) {
      uint8_t bytes[GUARD_REFUSAL_BYTES_MAX], details[RPC_OVERLOADED_BYTES_MAX],
          got[RPC_OVERLOADED_BYTES_MAX];
      size_t len = guard_refusal_write(77, has_ended, retry_ms, bytes), at = 0;
      struct guard_frame frame;
      str payload;
      assert_true(wire_next(str_make(bytes, len), &at, &frame, &payload));
      assert_int_equal(frame.type, FRAME_HEADERS);
      assert_int_equal(frame.flags, FLAG_END_HEADERS | FLAG_END_STREAM);
      assert_int_equal(frame.stream_id, 77);
      nghttp2_hd_inflater *inflater;
      assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
      struct buf fields = {0};
      assert_true(wire_fields(inflater, payload, &fields));
      str wanted =
          STR(":status: 200\ncontent-type: application/grpc\ngrpc-status: 8\ngrpc-message: This server is "
              "overloaded. Try again after the time given.\ngrpc-status-details-bin: ");
      assert_true(str_has_prefix(buf_str(&fields), wanted));
      str base64 = str_from(buf_str(&fields), wanted.len);
      base64.len--; /* the line's end */
      size_t details_len = rpc_overloaded_write(retry_ms, details);
      assert_int_equal(unbase64(base64, got), details_len);
      assert_memory_equal(got, details, details_len);
      assert_int_equal(nghttp2_hd_inflate_get_dynamic_table_size(inflater), 0);
      nghttp2_hd_inflate_del(inflater);
      buf_fini(&fields);
      if (!has_ended) {
        assert_true(wire_next(str_make(bytes, len), &at, &frame, &payload));
        assert_int_equal(frame.type, FRAME_RST_STREAM);
        assert_int_equal(frame.stream_id, 77);
        assert_true(str_eq(payload, STR("\0\0\0\0")));
      }
      assert_int_equal(at, len);
    }
  }
}

/* ---- A client, the guard, and a server ---- */

enum fate { UNKNOWN, LET_IN, TURNED_AWAY };

struct world {
  uint64_t random;
  struct guard *guard;
  struct guard_output *output;
  nghttp2_session *client;
  nghttp2_hd_inflater *inflater; /* the server's */
  nghttp2_hd_deflater *deflater;
  struct buf to_server, to_client; /* what the server has not read; what the client has not */
  int asked;                       /* requests about which turns_away was asked */
  bool turns_all_away;
  enum fate fates[CALLS_MAX];       /* by the number of the call: the path says it */
  int32_t number_of[2 * CALLS_MAX]; /* by stream id */
  int status[CALLS_MAX], closed[CALLS_MAX];
  unsigned served, data_bytes;
};

static uint32_t below(struct world *w, uint32_t n) {
  w->random = w->random * 6364136223846793005U + 1442695040888963407U;
  return (uint32_t)(w->random >> 33) % n;
}

/* The number at the end of a path or field, which ends somewhere. */
static int number_at(str text) {
  int number = 0;
  for (size_t i = 0; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++)
    number = number * 10 + (text.ptr[i] - '0');
  assert_true(number < CALLS_MAX);
  return number;
}

static bool turns_away(void *argument, str path, int64_t now_us, uint32_t *ret_retry_ms) {
  struct world *w = argument;
  assert_int_equal(now_us, 5);
  assert_true(str_has_prefix(path, STR("/a.B/")));
  int number = number_at(str_from(path, 5));
  w->asked++;
  bool is = w->turns_all_away || below(w, 2) == 0;
  w->fates[number] = is ? TURNED_AWAY : LET_IN;
  *ret_retry_ms = RETRY_MS;
  return is;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data) {
  (void)session, (void)flags;
  struct world *w = data;
  if (str_eq(str_make(name, name_len), STR("grpc-status"))) {
    assert_int_equal(value_len, 1);
    w->status[w->number_of[frame->hd.stream_id]] = *value - '0';
  }
  return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *data) {
  (void)session;
  struct world *w = data;
  assert_int_equal(error, 0);
  w->closed[w->number_of[id]]++;
  return 0;
}

static void world_init(struct world *w, uint64_t seed) {
  *w = (struct world){.random = seed};
  struct guard_options options = {.streams_max = 1000,
                                  .metadata_bytes_max = 8192,
                                  .patience_us = 10000000,
                                  .turns_away = turns_away,
                                  .argument = w};
  w->guard = guard_new(&options, &KEY, 0);
  w->output = malloc(sizeof *w->output);
  nghttp2_session_callbacks *callbacks;
  assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  assert_int_equal(nghttp2_session_client_new(&w->client, callbacks, w), 0);
  nghttp2_session_callbacks_del(callbacks);
  assert_int_equal(nghttp2_hd_inflate_new(&w->inflater), 0);
  assert_int_equal(nghttp2_hd_deflate_new(&w->deflater, 4096), 0);
  assert_true(w->guard != NULL && w->output != NULL);
  w->output->takes_answers = true;
}

static void world_fini(struct world *w) {
  nghttp2_session_del(w->client);
  nghttp2_hd_inflate_del(w->inflater);
  nghttp2_hd_deflate_del(w->deflater);
  buf_fini(&w->to_server);
  buf_fini(&w->to_client);
  guard_free(w->guard);
  free(w->output);
}

/* The client's bytes through the guard, in pieces. */
static void client_sends(struct world *w, size_t piece_max) {
  const uint8_t *bytes;
  ssize_t len;
  while ((len = nghttp2_session_mem_send(w->client, &bytes)) > 0) {
    for (size_t at = 0; at < (size_t)len;) {
      size_t piece = 1 + below(w, (uint32_t)piece_max);
      piece = piece < (size_t)len - at ? piece : (size_t)len - at;
      size_t taken = guard_from_client(w->guard, 5, bytes + at, piece, w->output);
      assert_string_equal(guard_offence(w->guard) == GUARD_NO_OFFENCE ? "" : guard_why(w->guard), "");
      for (unsigned i = 0; i < w->output->count; i++)
        buf_append(&w->to_server, w->output->ranges[i].iov_base, w->output->ranges[i].iov_len);
      buf_append(&w->to_client, w->output->answers, w->output->answers_len);
      at += taken;
    }
  }
  assert_int_equal(len, 0);
}

static void server_sends(struct world *w, str bytes) {
  guard_from_server(w->guard, 5, (const uint8_t *)bytes.ptr, bytes.len);
  buf_append_str(&w->to_client, bytes);
}

static void server_sends_frame(struct world *w, uint8_t type, uint8_t flags, uint32_t id, str payload) {
  struct buf frame = {0};
  wire_frame(&frame, type, flags, id, payload);
  server_sends(w, buf_str(&frame));
  buf_fini(&frame);
}

/* Headers that go into the table, and status 0. */
static void server_answers(struct world *w, uint32_t id, int number) {
  char value[32];
  int len = snprintf(value, sizeof value, "answer %d", number % 7);
  const struct wire_field fields[] = {WIRE_FIELD(":status", "200"),
                                      WIRE_FIELD("content-type", "application/grpc"),
                                      {STR("x-answer"), str_make(value, (size_t)len)},
                                      WIRE_FIELD("grpc-status", "0")};
  struct buf block = {0};
  wire_block(&block, w->deflater, fields, UNIT_COUNT(fields));
  server_sends_frame(w, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, id, buf_str(&block));
  buf_fini(&block);
}

static void server_reads_block(struct world *w, struct guard_frame frame, str payload) {
  struct buf fields = {0};
  assert_true(wire_fields(w->inflater, payload, &fields));
  const char *path = memmem(fields.data, fields.len, ":path: /a.B/", 12);
  assert_non_null(path);
  int number = number_at(str_from(buf_str(&fields), (size_t)(path + 12 - (const char *)fields.data)));
  bool has_id = memmem(fields.data, fields.len, "skerry-connection: ", 19) != NULL;
  char wanted[64]; /* the field that this call has alone */
  snprintf(wanted, sizeof wanted, "\nx-number: number %d\n", number);
  assert_non_null(memmem(fields.data, fields.len, wanted, strlen(wanted)));
  assert_int_equal(has_id, w->fates[number] != TURNED_AWAY);
  if (w->fates[number] == TURNED_AWAY) {
    assert_int_equal(frame.stream_id, GUARD_SIDE_STREAM);
    assert_true((frame.flags & FLAG_END_STREAM) != 0);
  } else {
    assert_int_equal(w->number_of[frame.stream_id], number);
    w->served++;
    server_answers(w, frame.stream_id, number);
  }
  buf_fini(&fields);
}

static void server_reads(struct world *w) {
  struct guard_frame frame;
  str payload;
  size_t at = w->to_server.len >= 24 && memcmp(w->to_server.data, "PRI", 3) == 0 ? 24 : 0;
  while (wire_next(buf_str(&w->to_server), &at, &frame, &payload)) {
    if (frame.type == FRAME_HEADERS)
      server_reads_block(w, frame, payload);
    else if (frame.type == FRAME_SETTINGS && (frame.flags & FLAG_ACK) == 0)
      server_sends_frame(w, FRAME_SETTINGS, FLAG_ACK, 0, STR(""));
    else if (frame.type == FRAME_DATA)
      w->data_bytes += frame.length;
  }
  assert_int_equal(at, w->to_server.len); /* whole frames: all pieces are in */
  w->to_server.len = 0;
}

static void client_reads(struct world *w) {
  ssize_t read = nghttp2_session_mem_recv(w->client, w->to_client.data, w->to_client.len);
  assert_int_equal(read, w->to_client.len);
  w->to_client.len = 0;
}

static void hello(struct world *w, const nghttp2_settings_entry *settings, size_t count) {
  assert_int_equal(nghttp2_submit_settings(w->client, NGHTTP2_FLAG_NONE, settings, count), 0);
  client_sends(w, 100);
  server_sends_frame(w, FRAME_SETTINGS, 0, 0, STR(""));
  server_reads(w);
  client_reads(w);
  client_sends(w, 100);
  server_reads(w);
}

static ssize_t body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
                    nghttp2_data_source *source, void *data) {
  (void)session, (void)id, (void)source, (void)data;
  memset(buf, 0, 100);
  assert_true(length >= 100);
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  return 100;
}

static void submit(struct world *w, int number, bool has_body) {
  char path[32], text[32];
  snprintf(path, sizeof path, "/a.B/%d", number);
  snprintf(text, sizeof text, "number %d", number);
  const struct wire_field fields[] = {
      WIRE_FIELD(":method", "POST"),       WIRE_FIELD(":scheme", "http"),
      {STR(":path"), str_from_cstr(path)}, WIRE_FIELD(":authority", "box.local:443"),
      WIRE_FIELD("te", "trailers"),        {STR("x-number"), str_from_cstr(text)}};
  nghttp2_nv pairs[UNIT_COUNT(fields)];
  for (size_t i = 0; i < UNIT_COUNT(fields); i++)
    pairs[i] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)fields[i].name.ptr,
                            .namelen = fields[i].name.len,
                            .value = (uint8_t *)(uintptr_t)fields[i].value.ptr,
                            .valuelen = fields[i].value.len};
  const nghttp2_data_provider provider = {.read_callback = body};
  int32_t id =
      nghttp2_submit_request(w->client, NULL, pairs, UNIT_COUNT(pairs), has_body ? &provider : NULL, NULL);
  assert_true(id > 0);
  w->number_of[id] = number;
  w->status[number] = -1;
}

static void check_all(const struct world *w, int calls) {
  int turned_away = 0;
  for (int i = 0; i < calls; i++) {
    assert_int_equal(w->status[i], w->fates[i] == TURNED_AWAY ? 8 : 0);
    assert_int_equal(w->closed[i], 1);
    turned_away += w->fates[i] == TURNED_AWAY;
  }
  assert_int_equal(w->served, calls - turned_away);
  assert_int_equal(guard_streams_open(w->guard), 0);
}

/* Half of the requests are turned away; every block of both sides is decoded as it was meant. */
static void test_in_between(void **state) {
  (void)state;
  const size_t pieces[] = {1, 7, 300, 100000};
  for (size_t i = 0; i < UNIT_COUNT(pieces); i++) {
    struct world w;
    world_init(&w, 7 + i);
    hello(&w, NULL, 0);
    for (int number = 0; number < CALLS_MAX;) {
      for (uint32_t burst = 1 + below(&w, 60); burst > 0 && number < CALLS_MAX; burst--)
        submit(&w, number++, below(&w, 2) == 0);
      client_sends(&w, pieces[i]);
      server_reads(&w);
      client_reads(&w);
      client_sends(&w, pieces[i]); /* what it has to say to that */
      server_reads(&w);
    }
    assert_int_equal(w.asked, CALLS_MAX);
    assert_true(w.served > CALLS_MAX / 3 && w.served < CALLS_MAX * 2 / 3);
    check_all(&w, CALLS_MAX);
    /* DATA of those that were turned away went on, for the window of the connection. */
    assert_true(w.data_bytes > CALLS_MAX / 3 * 100);
    world_fini(&w);
  }
}

/* Nobody is asked, and everybody let in. */
static void check_nobody(struct world *w) {
  w->turns_all_away = true;
  for (int number = 0; number < 20; number++)
    submit(w, number, false);
  client_sends(w, 1000);
  assert_int_equal(w->asked, 0);
  assert_int_equal(w->output->answers_len, 0);
  assert_int_equal(guard_streams_open(w->guard), 20);
}

static void test_not_before_the_servers_settings(void **state) {
  (void)state;
  struct world w;
  world_init(&w, 1);
  assert_int_equal(nghttp2_submit_settings(w.client, NGHTTP2_FLAG_NONE, NULL, 0), 0);
  check_nobody(&w);
  world_fini(&w);
}

static void test_not_if_the_client_takes_nothing(void **state) {
  (void)state;
  struct world w;
  world_init(&w, 1);
  hello(&w, NULL, 0);
  w.output->takes_answers = false;
  check_nobody(&w);
  world_fini(&w);
}

static void test_not_within_a_frame_of_the_server(void **state) {
  (void)state;
  const str within[] = {
      STR("\0\0"),                                   /* a frame's header */
      STR("\0\0\2\0\0\0\0\0\1x"),                    /* its payload */
      STR("\0\0\0\1\0\0\0\0\1"),                     /* a header block without its end */
      STR("\0\0\0\1\0\0\0\0\1\0\0\1\x9\0\0\0\0\1x"), /* the same, continued */
  };
  for (size_t i = 0; i < UNIT_COUNT(within); i++) {
    struct world w;
    world_init(&w, 1);
    hello(&w, NULL, 0);
    server_sends(&w, within[i]);
    w.to_client.len = 0;
    check_nobody(&w);
    world_fini(&w);
  }
}

/* After a smaller table was asked for, the server's next block begins with its size; ours does not. */
static void test_not_with_a_small_table(void **state) {
  (void)state;
  for (uint32_t size = 4095; size <= 4097; size++) {
    const nghttp2_settings_entry small = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, size};
    struct world w;
    world_init(&w, 1);
    hello(&w, &small, 1);
    if (size < 4096) {
      check_nobody(&w);
    } else {
      submit(&w, 0, false);
      client_sends(&w, 1000);
      assert_int_equal(w.asked, 1);
    }
    world_fini(&w);
  }
}

/* More answers than fit at once: the rest of the bytes is taken in the next call. */
static void test_many_at_once(void **state) {
  (void)state;
  struct world w;
  world_init(&w, 1);
  hello(&w, NULL, 0);
  w.turns_all_away = true;
  for (int number = 0; number < CALLS_MAX; number++)
    submit(&w, number, false);
  client_sends(&w, 1 << 20);
  server_reads(&w);
  client_reads(&w);
  assert_int_equal(w.served, 0);
  check_all(&w, CALLS_MAX);
  world_fini(&w);
}

/* What the client still says about streams that were turned away breaks no rule. */
static void test_frames_for_streams_that_are_over(void **state) {
  (void)state;
  struct world w;
  world_init(&w, 1);
  hello(&w, NULL, 0);
  w.turns_all_away = true;
  submit(&w, 0, true);
  client_sends(&w, 1000);
  str after[] = {STR("\0\0\1\0\0\0\0\0\1x"), STR("\0\0\4\3\0\0\0\0\1\0\0\0\x8"),
                 STR("\0\0\4\x8\0\0\0\0\1\0\0\1\0"), STR("\0\0\0\1\5\0\0\0\1")};
  for (size_t i = 0; i < UNIT_COUNT(after); i++) {
    size_t taken = guard_from_client(w.guard, 5, (const uint8_t *)after[i].ptr, after[i].len, w.output);
    assert_int_equal(taken, after[i].len);
    assert_int_equal(guard_offence(w.guard), GUARD_NO_OFFENCE);
  }
  /* The same id again is no new request. */
  assert_int_equal(w.asked, 1);
  world_fini(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_answer),
      cmocka_unit_test(test_in_between),
      cmocka_unit_test(test_not_before_the_servers_settings),
      cmocka_unit_test(test_not_if_the_client_takes_nothing),
      cmocka_unit_test(test_not_within_a_frame_of_the_server),
      cmocka_unit_test(test_not_with_a_small_table),
      cmocka_unit_test(test_many_at_once),
      cmocka_unit_test(test_frames_for_streams_that_are_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
