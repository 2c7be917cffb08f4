/* A client made of the input's bytes, the guard, and behind it nghttp2 as the server.
 *
 *  - Nothing that the guard lets through makes nghttp2 end the connection.
 *  - The headers that come out, and that nghttp2 sees, are the client's; at the end of those of requests
 *    stands RPC_CONNECTION_HEADER.
 *  - Cut into single bytes, the client's bytes come to the same output and verdict.
 *  - Nothing comes out after an offence.
 *
 * The first byte chooses: the rest is either a list of what to do, with frames and headers made as it says,
 * or the client's bytes as they are. What the server sends is what the nghttp2 session sends.
 *
 * nghttp2 is stricter where gRPC core takes no harm, and that is left so: windows of single streams past 2^31
 * - 1 (FLOW_CONTROL_ERROR), the last stream id in a client's GOAWAY, the values of settings 8 and 9, `host`,
 * `content-length`, and requests without :authority. */
#include <stdio.h>
#include <stdlib.h>

#include "server/listener/guard.h"
#include "server/listener/guard_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
  STREAMS_MAX = 6,

  BLOCKS_MAX = 1024,
  CLIENT_BYTES_MAX = 200000, /* about: so that a run takes no longer than a moment */
  NOW_US = 1000000,
  MODES = 6,
};

static const struct rpc_connection_key KEY = {"abcdefghijklmnopqrstuvwx"};

/* Stays on where the tests' assertions may be off. */
static void must(bool condition, const char *what) {
  if (!condition) {
    fprintf(stderr, "%s\n", what);
    abort();
  }
}

/* What went in, in order: the client's bytes of one go, or the server's. */
struct event {
  bool by_server;
  size_t from, len; /* in `bytes` */
  int64_t now_us;
};

/* A header block as nghttp2 saw it. */
struct block {
  uint32_t id;
  bool is_request;
  struct buf lines;
};

struct fuzz {
  const uint8_t *input;
  size_t input_len;
  struct guard_options options;
  struct memory_budget incomplete;
  struct guard *guard;
  struct guard_output *output;
  int64_t now_us;
  nghttp2_session *server;
  nghttp2_hd_deflater *deflater;
  struct buf out, bytes;
  struct event *events;
  size_t event_count, event_capacity;
  struct block blocks[BLOCKS_MAX];
  size_t block_count;
  uint32_t next_id, known; /* the client's next stream; the last one that the server saw */
  bool is_lenient;         /* the client did what nghttp2 alone minds */
};

/* ---- The input ---- */

static uint8_t next(struct fuzz *f) {
  if (f->input_len == 0)
    return 0;
  f->input_len--;
  return *f->input++;
}

static str next_bytes(struct fuzz *f, size_t len) {
  str bytes = str_make(f->input, len < f->input_len ? len : f->input_len);
  f->input += bytes.len;
  f->input_len -= bytes.len;
  return bytes;
}

/* ---- The server ---- */

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t len, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
  (void)session, (void)id, (void)user;
  size_t bytes = (size_t)source->fd < len ? (size_t)source->fd : len;
  memset(to, 'r', bytes);
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)bytes;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  struct fuzz *f = user;
  (void)session;
  must(f->block_count < BLOCKS_MAX, "too many header blocks");
  f->blocks[f->block_count++] = (struct block){.id = (uint32_t)frame->hd.stream_id,
                                               .is_request = frame->headers.cat == NGHTTP2_HCAT_REQUEST};
  f->known = (uint32_t)frame->hd.stream_id;
  return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user) {
  struct fuzz *f = user;
  (void)session, (void)flags;
  struct block *block = &f->blocks[f->block_count - 1];
  must(f->block_count > 0 && block->id == (uint32_t)frame->hd.stream_id, "a header of another stream");
  buf_append(&block->lines, name, name_len);
  buf_append_str(&block->lines, STR(": "));
  buf_append(&block->lines, value, value_len);
  buf_append_byte(&block->lines, '\n');
  return 0;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                             void *user) {
  struct fuzz *f = user;
  must(f->is_lenient, "nghttp2 does not like a header");
  return on_header(session, frame, name, name_len, value, value_len, flags, user);
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user) {
  struct fuzz *f = user;
  (void)session;
  bool is_fine = f->is_lenient || error == NGHTTP2_ERR_REFUSED_STREAM || error == NGHTTP2_ERR_FLOW_CONTROL;
  if (!is_fine)
    fprintf(stderr, "frame %d: %s\n", frame->hd.type, nghttp2_strerror(error));
  must(is_fine, "nghttp2 does not like a frame");
  return 0;
}

static void open_server(struct fuzz *f) {
  nghttp2_session_callbacks *callbacks = NULL;
  nghttp2_option *option = NULL;
  must(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0, "no memory");
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
  nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1); /* the guard keeps none either: it counts strays */
  must(nghttp2_session_server_new2(&f->server, callbacks, f, option) == 0, "no memory");
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(option);
  nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX};
  nghttp2_submit_settings(f->server, NGHTTP2_FLAG_NONE, &entry, 1);
}

static void log_event(struct fuzz *f, bool by_server, str bytes) {
  if (f->event_count == f->event_capacity) {
    f->event_capacity = f->event_capacity == 0 ? 256 : 2 * f->event_capacity;
    f->events = realloc(f->events, f->event_capacity * sizeof *f->events);
    must(f->events != NULL, "no memory");
  }
  f->events[f->event_count++] =
      (struct event){.by_server = by_server, .from = f->bytes.len, .len = bytes.len, .now_us = f->now_us};
  buf_append_str(&f->bytes, bytes);
  must(!f->bytes.failed, "no memory");
  if (f->bytes.len > CLIENT_BYTES_MAX)
    f->input_len = 0;
}

/* GOAWAY with an error: nghttp2 ended the connection. */
static void check_sent(const struct fuzz *f, str sent) {
  struct guard_frame frame;
  str payload;
  for (size_t at = 0; wire_next(sent, &at, &frame, &payload);)
    if (frame.type == FRAME_GOAWAY) {
      uint32_t code = guard_frame_u32((const uint8_t *)payload.ptr + 4);
      bool is_fine = code == NGHTTP2_NO_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR || f->is_lenient;
      if (!is_fine)
        fprintf(stderr, "GOAWAY %u: " STR_FMT "\n", code, STR_ARG(str_from(payload, 8)));
      must(is_fine, "nghttp2 ended the connection");
    }
}

static void server_sends(struct fuzz *f) {
  const uint8_t *bytes;
  ssize_t len;
  struct buf all = {0};
  while ((len = nghttp2_session_mem_send(f->server, &bytes)) > 0)
    buf_append(&all, bytes, (size_t)len);
  check_sent(f, buf_str(&all));
  if (all.len > 0) {
    log_event(f, true, buf_str(&all));
    guard_from_server(f->guard, f->now_us, all.data, all.len);
  }
  buf_fini(&all);
}

static void server_acts(struct fuzz *f, uint8_t what, uint8_t which) {
  const nghttp2_nv status = {(uint8_t[]){":status"}, (uint8_t[]){"200"}, 7, 3, NGHTTP2_NV_FLAG_NONE};
  const nghttp2_nv trailer = {(uint8_t[]){"grpc-status"}, (uint8_t[]){"0"}, 11, 1, NGHTTP2_NV_FLAG_NONE};
  nghttp2_data_provider body = {.source.fd = which * 40, .read_callback = read_body};
  int32_t id = (int32_t)f->known - 2 * (which % 8);
  switch (what % 8) {
  case 0:
    nghttp2_submit_response(f->server, id, &status, 1, &body);
    break;
  case 1:
    nghttp2_submit_response(f->server, id, &status, 1, NULL);
    break;
  case 2:
    nghttp2_submit_headers(f->server, NGHTTP2_FLAG_NONE, id, NULL, &status, 1, NULL);
    break;
  case 3:
    nghttp2_submit_trailer(f->server, id, &trailer, 1);
    break;
  case 4:
    nghttp2_submit_rst_stream(f->server, NGHTTP2_FLAG_NONE, id, which % 14);
    break;
  case 5:
    nghttp2_submit_ping(f->server, NGHTTP2_FLAG_NONE, NULL);
    break;
  case 6: {
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535U + which};
    nghttp2_submit_settings(f->server, NGHTTP2_FLAG_NONE, &entry, 1);
    break;
  }
  default:
    nghttp2_submit_window_update(f->server, NGHTTP2_FLAG_NONE, 0, which);
  }
}

/* ---- The client's bytes ---- */

static void collect(struct guard_output *output, struct buf *out) {
  for (unsigned i = 0; i < output->count; i++)
    buf_append(out, output->ranges[i].iov_base, output->ranges[i].iov_len);
}

static void server_takes(struct fuzz *f, const uint8_t *bytes, size_t len) {
  ssize_t read = nghttp2_session_mem_recv(f->server, bytes, len);
  if (read < 0)
    fprintf(stderr, "%s\n", nghttp2_strerror((int)read));
  must(read == (ssize_t)len, "nghttp2 takes no more");
}

static void client_sends(struct fuzz *f, str bytes) {
  while (bytes.len > 0 && guard_offence(f->guard) == GUARD_NO_OFFENCE) {
    size_t taken = guard_from_client(f->guard, f->now_us, (const uint8_t *)bytes.ptr, bytes.len, f->output);
    must(taken > 0 || guard_offence(f->guard) != GUARD_NO_OFFENCE, "nothing was taken");
    bool is_over = guard_offence(f->guard) != GUARD_NO_OFFENCE;
    log_event(f, false,
              is_over ? bytes : str_make(bytes.ptr, taken)); /* the server sees it before the rest */
    size_t before = f->out.len;
    collect(f->output, &f->out);
    must(f->out.len - before == f->output->bytes, "the sum of the ranges");
    if (f->output->bytes > 0)
      server_takes(f, f->out.data + before, f->out.len - before);
    server_sends(f);
    bytes = str_from(bytes, taken);
  }
}

/* In pieces, between which the server may act. */
static void client_sends_pieces(struct fuzz *f, str bytes, uint8_t seed) {
  uint32_t state = seed;
  while (bytes.len > 0) {
    state = state * 1664525U + 1013904223U;
    size_t piece = (state >> 16) % (seed < 128 ? 2000 : 20) + 1;
    piece = piece < bytes.len ? piece : bytes.len;
    client_sends(f, str_make(bytes.ptr, piece));
    if (seed % 4 == 3 && state >> 30 == 0) {
      server_acts(f, (uint8_t)(state >> 24), (uint8_t)(state >> 18));
      server_sends(f);
    }
    bytes = str_from(bytes, piece);
  }
}

/* ---- Frames as the input says ---- */

static const struct wire_field FIELDS[] = {
    WIRE_FIELD(":method", "POST"),
    WIRE_FIELD(":scheme", "http"),
    WIRE_FIELD(":path", "/a.B/C"),
    WIRE_FIELD(":authority", "box"),
    WIRE_FIELD("te", "trailers"),
    WIRE_FIELD("content-type", "application/grpc"),
    WIRE_FIELD("x-bin", "AAECAw=="),
    WIRE_FIELD("x-some", "a longer value that goes into the table of headers"),
    WIRE_FIELD("x-some", " spaces around "),
    WIRE_FIELD("x-empty", ""),
    /* From here on: perhaps not. */
    WIRE_FIELD(":scheme", "ftp"),
    WIRE_FIELD(":method", "GET"),
    WIRE_FIELD("te", "gzip"),
    WIRE_FIELD("x-bin", "A"),
    WIRE_FIELD("connection", "close"),
    WIRE_FIELD("skerry-connection", "me"),
    WIRE_FIELD("grpclb_client_stats", ""),
    WIRE_FIELD("X-Upper", "x"),
    WIRE_FIELD("x-control", "a\nb"),
};
enum { PSEUDO_FIELDS = 4, GOOD_FIELDS = 10, FIELDS_MAX = 24 };

/* 8000 characters that Huffman's code does not shorten. */
static const char *long_text(void) {
  static char text[8000];
  memset(text, '~', sizeof text);
  return text;
}

static void make_block(struct fuzz *f, bool is_request, struct buf *out) {
  uint8_t how = next(f);
  if (how == 255) { /* any bytes */
    f->is_lenient = true;
    buf_append_str(out, next_bytes(f, next(f)));
    return;
  }
  if (how % 16 == 15) /* a size of the table, now or never */
    nghttp2_hd_deflate_change_table_size(f->deflater, (size_t)next(f) * 16);
  struct wire_field fields[FIELDS_MAX];
  size_t count = 0;
  for (size_t i = 0; is_request && i < PSEUDO_FIELDS; i++)
    fields[count++] = FIELDS[i];
  for (uint8_t i = how / 16; i > 0; i--) {
    uint8_t which = next(f);
    size_t limit = which >= 230 ? sizeof FIELDS / sizeof FIELDS[0] : GOOD_FIELDS;
    size_t at = which % limit < PSEUDO_FIELDS && which < 230 ? PSEUDO_FIELDS : which % limit;
    fields[count++] = FIELDS[at];
  }
  if (how % 16 == 13) { /* long ones, up to past what a block may have */
    fields[count++] = (struct wire_field){STR("x-long"), str_make(long_text(), next(f) * 31U)};
    fields[count++] = (struct wire_field){STR("x-longer"), str_make(long_text(), next(f) * 31U)};
    fields[count++] = (struct wire_field){STR("x-long"), str_make(long_text(), next(f) * 31U)};
  } else if (how % 16 == 14) { /* one of any text */
    str name = next_bytes(f, next(f) % 16), value = next_bytes(f, next(f));
    f->is_lenient |= str_eq(name, STR("host")) || str_eq(name, STR("content-length"));
    fields[count++] = (struct wire_field){name, value};
  }
  wire_block(out, f->deflater, fields, count);
}

/* Bytes after the header are a block; `how` says in how many frames, with padding, with priority. */
static void frame_block(struct buf *out, uint8_t how, uint8_t flags, uint32_t id, str block) {
  struct buf payload = {0};
  size_t first = (how & 3) == 0 ? block.len : block.len * (how & 3) / 4;
  uint8_t padding = (how & 4) != 0 ? how >> 3 : 0;
  if ((how & 4) != 0)
    buf_append_byte(&payload, padding);
  if ((how & 64) != 0)
    buf_append(&payload, "\0\0\0\0\x10", FRAME_PRIORITY_BYTES);
  buf_append_str(&payload, str_make(block.ptr, first));
  for (uint8_t i = 0; i < padding; i++)
    buf_append_byte(&payload, 0);
  flags |= (uint8_t)(((how & 4) != 0 ? FLAG_PADDED : 0) | ((how & 64) != 0 ? FLAG_PRIORITY : 0));
  wire_frame(out, FRAME_HEADERS, (uint8_t)(flags | ((how & 3) == 0 ? FLAG_END_HEADERS : 0)), id,
             buf_str(&payload));
  if ((how & 3) != 0)
    wire_frame(out, FRAME_CONTINUATION, FLAG_END_HEADERS, id, str_from(block, first));
  buf_fini(&payload);
}

static void make_headers(struct fuzz *f, bool is_request, struct buf *out) {
  struct buf block = {0};
  uint8_t how = next(f), which = next(f);
  uint32_t id = f->next_id;
  if (is_request)
    f->next_id += which < 240 ? 2 : 2 * (which - 239U);
  else
    id = f->known - 2U * (which % 8);
  make_block(f, is_request, &block);
  uint8_t flags = is_request ? (which & 1 ? FLAG_END_STREAM : 0) : (which == 255 ? 0 : FLAG_END_STREAM);
  frame_block(out, how, flags, id & 0x7fffffffU, buf_str(&block));
  buf_fini(&block);
}

/* A stream that is probably known, sometimes another. */
static uint32_t some_id(struct fuzz *f) {
  uint8_t which = next(f);
  return which < 200 ? f->known - 2U * (which % 8) : which < 230 ? 0 : which;
}

static void make_data(struct fuzz *f, struct buf *out) {
  static char payload[16384]; /* zeros, but for the length of the padding */
  uint8_t how = next(f), len = next(f);
  uint8_t flags = (uint8_t)(((how & 1) != 0 ? FLAG_END_STREAM : 0) | ((how & 6) == 6 ? FLAG_PADDED : 0));
  size_t bytes = how >= 250 ? sizeof payload : how >= 128 ? len * 20U : len;
  payload[0] = (char)((flags & FLAG_PADDED) != 0 ? next(f) : 0);
  wire_frame(out, FRAME_DATA, flags, some_id(f), str_make(payload, bytes));
}

static void make_settings(struct fuzz *f, struct buf *out) {
  uint8_t payload[8 * FRAME_SETTING_BYTES];
  size_t count = next(f) % 9;
  for (size_t i = 0; i < count; i++) {
    uint8_t *at = payload + i * FRAME_SETTING_BYTES;
    at[0] = 0;
    at[1] = next(f) % 8; /* not 8 and 9 */
    guard_frame_write_u32((uint32_t)next(f) << (next(f) % 25), at + 2);
  }
  wire_frame(out, FRAME_SETTINGS, 0, 0, str_make(payload, count * FRAME_SETTING_BYTES));
}

static void make_frame(struct fuzz *f, struct buf *out) {
  uint8_t number[4];
  switch (next(f) % 16) {
  case 0:
  case 1:
  case 2:
    make_headers(f, true, out);
    break;
  case 3:
    make_headers(f, false, out);
    break;
  case 4:
  case 5:
    make_data(f, out);
    break;
  case 6:
    make_settings(f, out);
    break;
  case 7:
    wire_frame(out, FRAME_SETTINGS, FLAG_ACK, 0, STR(""));
    break;
  case 8:
    wire_frame(out, FRAME_PING, next(f) & FLAG_ACK, 0, STR("12345678"));
    break;
  case 9:
    guard_frame_write_u32((uint32_t)next(f) << (next(f) % 25), number);
    wire_frame(out, FRAME_WINDOW_UPDATE, 0, some_id(f), str_make(number, 4));
    break;
  case 10:
    wire_frame(out, FRAME_RST_STREAM, 0, some_id(f), STR("\0\0\0\x8"));
    break;
  case 11:
    guard_frame_write_u32(some_id(f), number);
    buf_append(out, "\0\0\5\2\0", 5);
    buf_append(out, "\0\0\0", 3);
    buf_append_byte(out, next(f));
    buf_append(out, number, 4);
    buf_append_byte(out, 7);
    break;
  case 12:
    wire_frame(out, FRAME_GOAWAY, 0, 0, STR("\0\0\0\0\0\0\0\0"));
    break;
  case 13: { /* any frame */
    f->is_lenient = true;
    uint8_t type = next(f), flags = next(f);
    wire_frame(out, type % 12, flags, some_id(f), next_bytes(f, next(f)));
    break;
  }
  case 14: /* a kind that nobody knows */
    wire_frame(out, 0xf0, next(f), some_id(f), next_bytes(f, next(f) % 32));
    break;
  default:
    f->now_us += (int64_t)next(f) * 10000;
  }
}

static void act_as_told(struct fuzz *f) {
  client_sends(f, WIRE_PREFACE);
  struct buf out = {0};
  wire_frame(&out, FRAME_SETTINGS, 0, 0, STR(""));
  while (f->input_len > 0) {
    uint8_t what = next(f);
    if (what < 200) {
      make_frame(f, &out);
    } else if (what < 216) {
      client_sends_pieces(f, buf_str(&out), next(f));
      buf_clear(&out);
    } else {
      client_sends(f, buf_str(&out));
      buf_clear(&out);
      server_acts(f, what, next(f));
      server_sends(f);
    }
  }
  client_sends_pieces(f, buf_str(&out), 77);
  buf_fini(&out);
}

static void act_raw(struct fuzz *f, uint8_t mode) {
  f->is_lenient = true;
  uint8_t seed = next(f);
  if (mode == 1) {
    client_sends(f, WIRE_PREFACE);
    client_sends(f, STR("\0\0\0\4\0\0\0\0\0"));
    client_sends(f, STR("\0\0\0\4\1\0\0\0\0"));
  }
  client_sends_pieces(f, next_bytes(f, f->input_len), seed);
}

/* ---- Afterwards ---- */

static void replay(struct fuzz *f) {
  struct guard *guard = guard_new(&f->options, &KEY, NOW_US);
  must(guard != NULL, "no memory");
  struct buf out = {0};
  for (size_t i = 0; i < f->event_count; i++) {
    const struct event *event = &f->events[i];
    const uint8_t *bytes = f->bytes.data + event->from;
    if (event->by_server && event->len > 0)
      guard_from_server(guard, event->now_us, bytes, event->len);
    for (size_t at = 0; !event->by_server && at < event->len; at++) {
      bool was_over = guard_offence(guard) != GUARD_NO_OFFENCE;
      size_t taken = guard_from_client(guard, event->now_us, bytes + at, 1, f->output);
      must(!was_over || (taken == 0 && f->output->bytes == 0), "output after an offence");
      collect(f->output, &out);
    }
  }
  must(guard_offence(guard) == guard_offence(f->guard), "another verdict, byte by byte");
  must(str_eq(buf_str(&out), buf_str(&f->out)), "another output, byte by byte");
  must(guard_streams_open(guard) == guard_streams_open(f->guard), "other streams, byte by byte");
  buf_fini(&out);
  guard_free(guard);
}

/* The client's next header block from *at on, gathered and decoded here. */
static bool next_block(str client, size_t *at, nghttp2_hd_inflater *inflater, struct block *ret) {
  struct guard_frame frame;
  str payload;
  struct buf block = {0};
  *ret = (struct block){0};
  while (wire_next(client, at, &frame, &payload)) {
    if (frame.type != FRAME_HEADERS && frame.type != FRAME_CONTINUATION)
      continue;
    if (frame.type == FRAME_HEADERS) {
      ret->id = frame.stream_id;
      size_t padding = (frame.flags & FLAG_PADDED) != 0 && payload.len > 0 ? (uint8_t)payload.ptr[0] : 0;
      size_t before =
          ((frame.flags & FLAG_PADDED) != 0 ? 1U : 0U) + ((frame.flags & FLAG_PRIORITY) != 0 ? 5U : 0U);
      if (before + padding > payload.len)
        break;
      payload = str_make(payload.ptr + before, payload.len - before - padding);
    }
    buf_append_str(&block, payload);
    if ((frame.flags & FLAG_END_HEADERS) != 0) {
      bool is_whole = wire_fields(inflater, buf_str(&block), &ret->lines);
      buf_fini(&block);
      return is_whole;
    }
  }
  buf_fini(&block);
  return false;
}

/* `seen` is `sent`, and behind it the guard's field if it is a request's. */
static void check_lines(str sent, str seen, bool is_request) {
  must(str_has_prefix(seen, sent), "other headers than the client's");
  str rest = str_from(seen, sent.len);
  if (is_request)
    must(str_has_prefix(rest, STR("skerry-connection: abcdefghijklmnopqrstuvwx")) && rest.len == 19 + 33,
         "not one header more");
  else
    must(rest.len == 0, "more headers than the client's");
}

static nghttp2_hd_inflater *open_inflater(void) {
  nghttp2_hd_inflater *inflater = NULL;
  must(nghttp2_hd_inflate_new(&inflater) == 0, "no memory");
  return inflater;
}

/* nghttp2 sees the blocks that come out, but for those of streams that it refused or that are closed. */
static void check_seen(const struct fuzz *f, const struct block *out, bool is_request, size_t *seen) {
  const struct block *block = *seen < f->block_count ? &f->blocks[*seen] : NULL;
  if (block == NULL || block->id != out->id || block->is_request != is_request)
    return;
  must(f->is_lenient || str_eq(buf_str(&block->lines), buf_str(&out->lines)), "nghttp2 saw other headers");
  ++*seen;
}

/* Each block that came out is the next that the client sent. */
static void check_blocks(const struct fuzz *f) {
  nghttp2_hd_inflater *of_client = open_inflater(), *of_output = open_inflater();
  struct buf client = {0};
  for (size_t i = 0; i < f->event_count; i++)
    if (!f->events[i].by_server)
      buf_append(&client, f->bytes.data + f->events[i].from, f->events[i].len);
  size_t client_at = WIRE_PREFACE.len, output_at = WIRE_PREFACE.len, seen = 0;
  uint32_t last = 0;
  struct block sent, out = {0};
  while (f->out.len >= WIRE_PREFACE.len && next_block(buf_str(&f->out), &output_at, of_output, &out)) {
    must(next_block(buf_str(&client), &client_at, of_client, &sent) && sent.id == out.id,
         "a header block that the client did not send");
    bool is_request = out.id > last;
    last = is_request ? out.id : last;
    check_lines(buf_str(&sent.lines), buf_str(&out.lines), is_request);
    check_seen(f, &out, is_request, &seen);
    buf_fini(&sent.lines);
    buf_fini(&out.lines);
  }
  buf_fini(&out.lines);
  must(seen == f->block_count, "nghttp2 saw a header block that did not come out");
  buf_fini(&client);
  nghttp2_hd_inflate_del(of_client);
  nghttp2_hd_inflate_del(of_output);
}

static void check_goaway(const struct fuzz *f) {
  uint8_t goaway[GUARD_GOAWAY_BYTES_MAX];
  size_t len = guard_goaway(f->guard, goaway), at = 0;
  must(len <= sizeof goaway && (len == 0) == (guard_offence(f->guard) == GUARD_NO_OFFENCE), "GOAWAY or not");
  struct guard_frame frame;
  str payload;
  while (at < len)
    must(wire_next(str_make(goaway, len), &at, &frame, &payload), "a GOAWAY that is not whole");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0 || size > 4096)
    return 0;
  struct fuzz *f = calloc(1, sizeof *f);
  must(f != NULL, "no memory");
  f->output = malloc(sizeof *f->output);
  f->input = data;
  f->input_len = size;
  uint8_t mode = next(f) % MODES;
  memory_budget_init(&f->incomplete, SIZE_MAX / 2); /* counted, never spent */
  f->options = (struct guard_options){.streams_max = STREAMS_MAX,
                                      .incomplete = &f->incomplete,
                                      .metadata_bytes_max = mode >= 4 ? 100000 : 4096,
                                      .patience_us = 1000000000000};
  f->guard = guard_new(&f->options, &KEY, NOW_US);
  must(f->output != NULL && f->guard != NULL && nghttp2_hd_deflate_new(&f->deflater, 4096) == 0, "no memory");
  f->now_us = NOW_US;
  f->next_id = f->known = 1;
  open_server(f);
  server_sends(f);
  if (mode < 2)
    act_raw(f, mode);
  else
    act_as_told(f);
  replay(f);
  check_blocks(f);
  check_goaway(f);
  for (size_t i = 0; i < f->block_count; i++)
    buf_fini(&f->blocks[i].lines);
  buf_fini(&f->out);
  buf_fini(&f->bytes);
  free(f->events);
  nghttp2_session_del(f->server);
  nghttp2_hd_deflate_del(f->deflater);
  guard_free(f->guard);
  free(f->output);
  free(f);
  return 0;
}
