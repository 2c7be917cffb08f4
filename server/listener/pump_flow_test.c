/* Bytes through the pump: in both directions at once, in pieces of any size, through small buffers and past
 * slow readers; none is lost, doubled or invented, up to the end of each direction. */
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/support/pump_fixture.h"
#include "tests/support/unit.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum {
  PREFACE_BYTES = sizeof preface - 1,
  HEADER_BYTES = 9,
  FRAME_BYTES_MAX = 16384,
  REQUESTS_MAX = 60,
#ifdef TEST_UNDER_QEMU
  REAL_TIME_MAX_US = 200000000,
#else
  REAL_TIME_MAX_US = 20000000,
#endif
};
enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE };

static uint32_t draw(uint64_t *seed, uint32_t below) {
  *seed = *seed * 6364136223846793005U + 1442695040888963407U;
  return (uint32_t)(*seed >> 33) % below;
}

/* What DATA holds from a place on, for a frame at most. The period is prime, so that no buffer's size is one
 * of its multiples; no byte begins the length of a message that the guard refuses. */
static const uint8_t *pattern(uint64_t place) {
  enum { PERIOD = 65521 };
  static uint8_t bytes[PERIOD + FRAME_BYTES_MAX];
  static bool is_made;
  for (uint64_t i = 0; !is_made && i < sizeof bytes; i++)
    bytes[i] = (uint8_t)(((i % PERIOD) * 0x9e3779b97f4a7c15U) >> 57);
  is_made = true;
  return bytes + place % PERIOD;
}

/* ---- Where bytes come from ---- */

struct source {
  bool is_client;
  uint64_t total, place, seed; /* of DATA */
  uint32_t frame_bytes_max;
  unsigned requests, updates;
  uint8_t bytes[HEADER_BYTES + FRAME_BYTES_MAX + 256];
  size_t at, len;
};

static uint8_t *put_frame(struct source *source, uint32_t length, uint8_t type, uint8_t flags, uint32_t id) {
  uint8_t *at = source->bytes + source->len;
  const uint8_t header[HEADER_BYTES] = {(uint8_t)(length >> 16),
                                        (uint8_t)(length >> 8),
                                        (uint8_t)length,
                                        type,
                                        flags,
                                        0,
                                        0,
                                        (uint8_t)(id >> 8),
                                        (uint8_t)id};
  memcpy(at, header, sizeof header);
  source->len += HEADER_BYTES + length;
  return at + HEADER_BYTES;
}

/* The first stays open for DATA. */
static void put_request(struct source *source) {
  static const uint8_t post_http_root[] = {0x83, 0x86, 0x84};
  uint32_t id = 1 + 2 * source->requests;
  uint8_t *block = put_frame(source, sizeof post_http_root, HEADERS, id == 1 ? 4 : 5, id);
  memcpy(block, post_http_root, sizeof post_http_root);
  source->requests++;
}

static void put_data(struct source *source) {
  uint64_t left = source->total - source->place;
  uint32_t length = 1 + draw(&source->seed, draw(&source->seed, 4) == 0 ? 100 : source->frame_bytes_max);
  length = length > left ? (uint32_t)left : length;
  memcpy(put_frame(source, length, DATA, 0, 1), pattern(source->place), length);
  source->place += length;
}

static void fill(struct source *source) {
  source->at = source->len = 0;
  if (source->is_client && source->requests == 0) {
    memcpy(source->bytes, preface, PREFACE_BYTES);
    source->len = PREFACE_BYTES;
    put_frame(source, 0, SETTINGS, 0, 0);
    put_request(source);
  } else if (source->place < source->total) {
    put_data(source);
    if (source->is_client && source->requests < REQUESTS_MAX && draw(&source->seed, 8) == 0)
      put_request(source);
    if (source->is_client && source->updates < 200 && draw(&source->seed, 8) == 0) {
      memcpy(put_frame(source, 4, WINDOW_UPDATE, 0, 0), "\0\0\0\1", 4);
      source->updates++;
    }
  }
}

static bool has_more(struct source *source) {
  if (source->at == source->len)
    fill(source);
  return source->at < source->len;
}

/* ---- Where they go ---- */

struct sink {
  size_t preface_left; /* of what a client begins with */
  uint8_t header[HEADER_BYTES];
  uint32_t header_len, left, block_len;
  uint64_t place; /* of DATA */
  unsigned requests, updates;
  uint8_t block[256];
  const struct rpc_connection_key *key; /* that each request names; NULL: no requests come */
};

static void begin_frame(struct sink *sink) {
  sink->header_len = 0;
  sink->left = (uint32_t)sink->header[0] << 16 | (uint32_t)sink->header[1] << 8 | sink->header[2];
  sink->block_len = 0;
  uint8_t type = sink->header[3];
  assert_true(sink->left <= FRAME_BYTES_MAX);
  if (sink->key == NULL)
    assert_int_equal(type, DATA);
  else
    assert_true(type == DATA || type == HEADERS || type == SETTINGS || type == WINDOW_UPDATE);
  sink->updates += type == WINDOW_UPDATE;
  if (type == HEADERS)
    assert_true(sink->left > 0 && sink->left < sizeof sink->block);
}

static size_t take_payload(struct sink *sink, const uint8_t *bytes, size_t len) {
  size_t taken = len < sink->left ? len : sink->left;
  sink->left -= (uint32_t)taken;
  if (sink->header[3] == DATA) {
    if (memcmp(bytes, pattern(sink->place), taken) != 0)
      fail_msg("DATA differs after %llu bytes", (unsigned long long)sink->place);
    sink->place += taken;
  } else if (sink->header[3] == HEADERS) {
    memcpy(sink->block + sink->block_len, bytes, taken);
    sink->block_len += (uint32_t)taken;
    if (sink->left == 0 && sink->key != NULL) {
      assert_non_null(memmem(sink->block, sink->block_len, sink->key->text, sizeof sink->key->text));
      sink->requests++;
    }
  }
  return taken;
}

static void take(struct sink *sink, const uint8_t *bytes, size_t len) {
  while (len > 0) {
    size_t taken;
    if (sink->preface_left > 0) {
      taken = len < sink->preface_left ? len : sink->preface_left;
      assert_memory_equal(bytes, preface + PREFACE_BYTES - sink->preface_left, taken);
      sink->preface_left -= taken;
    } else if (sink->left > 0) {
      taken = take_payload(sink, bytes, len);
    } else {
      taken = len < HEADER_BYTES - sink->header_len ? len : HEADER_BYTES - sink->header_len;
      memcpy(sink->header + sink->header_len, bytes, taken);
      sink->header_len += (uint32_t)taken;
      if (sink->header_len == HEADER_BYTES)
        begin_frame(sink);
    }
    bytes += taken;
    len -= taken;
  }
}

/* ---- Both ways ---- */

struct flow {
  uint64_t up_bytes, down_bytes;
  uint32_t frame_bytes_max;     /* 0: all sizes */
  uint32_t write_max, read_max; /* of one call; 0: 64 KiB */
  bool slow_client, slow_grpc;  /* reads seldom, and little */
  bool client_ends_first;       /* says that it sends no more as soon as it has sent all */
  bool key_updates;             /* TLS: asks for new keys now and then */
  struct pump_client_options client;
  uint64_t seed;
};

struct exchange {
  const struct flow *flow;
  struct pump_client client;
  struct pump_fixture_end *grpc;
  struct source up, down;
  struct sink at_grpc, at_client;
  bool up_sent, up_over, down_sent, down_over;
  uint64_t seed;
  unsigned turn;
};

static size_t piece(struct exchange *x, uint32_t max) {
  max = max == 0 ? 65536 : max;
  return draw(&x->seed, 3) == 0 ? 1 + draw(&x->seed, max) : max;
}

static bool send_up(struct exchange *x) {
  if (x->up_sent)
    return false;
  if (!has_more(&x->up)) {
    x->up_sent = true;
    if (x->flow->client_ends_first)
      pump_client_end(&x->client);
    return true;
  }
  size_t len = piece(x, x->flow->write_max), have = x->up.len - x->up.at;
  ptrdiff_t moved = pump_client_write(&x->client, x->up.bytes + x->up.at, len < have ? len : have);
  assert_int_not_equal(moved, PUMP_BROKEN);
  x->up.at += moved > 0 ? (size_t)moved : 0;
  if (moved > 0 && x->flow->key_updates && draw(&x->seed, 50) == 0)
    assert_true(SSL_key_update(x->client.ssl, SSL_KEY_UPDATE_REQUESTED));
  return moved > 0;
}

static bool send_down(struct exchange *x) {
  if (x->down_sent)
    return false;
  if (!has_more(&x->down)) {
    if (!x->up_over && !x->flow->client_ends_first)
      return false; /* closing is the end of both directions */
    if (x->flow->client_ends_first && !x->up_over)
      return false;
    x->down_sent = true;
    pump_fixture_end_close(x->grpc);
    return true;
  }
  size_t len = piece(x, x->flow->write_max), have = x->down.len - x->down.at;
  ptrdiff_t moved = pump_end_write(x->grpc, x->down.bytes + x->down.at, len < have ? len : have);
  assert_int_not_equal(moved, PUMP_BROKEN);
  x->down.at += moved > 0 ? (size_t)moved : 0;
  return moved > 0;
}

/* With a slow reader most turns pass without reading. */
static size_t may_read(struct exchange *x, bool is_slow) {
  if (is_slow)
    return draw(&x->seed, 4) == 0 ? 1 + draw(&x->seed, 20000) : 0;
  return piece(x, x->flow->read_max);
}

static bool receive_up(struct exchange *x) {
  static uint8_t bytes[65536 + 1];
  size_t len = may_read(x, x->flow->slow_grpc);
  if (x->up_over || x->down_sent || len == 0)
    return len == 0;
  ptrdiff_t moved = pump_end_read(x->grpc, bytes, len);
  assert_int_not_equal(moved, PUMP_BROKEN);
  if (moved > 0)
    take(&x->at_grpc, bytes, (size_t)moved);
  bool all = x->up_sent && x->at_grpc.place == x->up.total && x->at_grpc.requests == x->up.requests &&
             x->at_grpc.updates == x->up.updates && x->at_grpc.left == 0;
  if (moved == 0)
    assert_true(all);
  x->up_over = moved == 0 || (all && !x->flow->client_ends_first);
  return moved >= 0;
}

static bool receive_down(struct exchange *x) {
  static uint8_t bytes[65536 + 1];
  size_t len = may_read(x, x->flow->slow_client);
  if (x->down_over || len == 0)
    return len == 0;
  ptrdiff_t moved = pump_client_read(&x->client, bytes, len);
  assert_int_not_equal(moved, PUMP_BROKEN);
  if (moved > 0)
    take(&x->at_client, bytes, (size_t)moved);
  if (moved == 0) { /* all of it, and not before the other end said so */
    assert_true(x->down_sent);
    assert_int_equal(x->at_client.place, x->down.total);
    assert_int_equal(x->at_client.left, 0);
    x->down_over = true;
  }
  return moved >= 0;
}

static void run_exchange(struct exchange *x) {
  int64_t limit_us = pump_fixture_real_us() + REAL_TIME_MAX_US;
  while (!x->up_over || !x->down_over) {
    bool moved = send_up(x);
    moved = send_down(x) || moved;
    moved = receive_up(x) || moved;
    moved = receive_down(x) || moved;
    if (!moved) {
      struct pollfd both[] = {{.fd = x->client.fd, .events = POLLIN}, {.fd = x->grpc->fd, .events = POLLIN}};
      poll(both, 2, 1);
    }
    if (pump_fixture_real_us() > limit_us)
      fail_msg("up %llu of %llu, down %llu of %llu", (unsigned long long)x->at_grpc.place,
               (unsigned long long)x->up.total, (unsigned long long)x->at_client.place,
               (unsigned long long)x->down.total);
  }
}

static void exchange(struct pump_fixture *f, struct flow flow) {
  static struct exchange x;
  uint32_t frames = flow.frame_bytes_max == 0 ? FRAME_BYTES_MAX : flow.frame_bytes_max;
  unsigned ends = pump_fixture_end_count(f);
  x = (struct exchange){
      .flow = &flow,
      .client = pump_client_open(f, flow.client),
      .up = {.is_client = true, .total = flow.up_bytes, .seed = flow.seed, .frame_bytes_max = frames},
      .down = {.total = flow.down_bytes, .seed = flow.seed + 1, .frame_bytes_max = frames},
      .at_grpc = {.preface_left = PREFACE_BYTES},
      .seed = flow.seed + 2,
  };
  assert_true(has_more(&x.up));
  pump_client_send(&x.client, x.up.bytes, PREFACE_BYTES);
  x.up.at = PREFACE_BYTES;
  x.grpc = pump_fixture_end(f, ends);
  x.at_grpc.key = &x.grpc->key;
  run_exchange(&x);
  pump_client_close(&x.client);
  eventually(pump_fixture_ended(f, x.client.number) == 1);
  assert_int_equal(pump_fixture_closed(f, x.grpc), 1);
}

static void test_flows(bool is_tls) {
  const struct pump_client_options small = {.buffer_bytes = 4096};
  const struct flow flows[] = {
      {.up_bytes = 4 << 20, .down_bytes = 4 << 20},
      {.up_bytes = 100000, .down_bytes = 100000, .write_max = 7, .read_max = 11, .frame_bytes_max = 50},
      {.up_bytes = 500000, .down_bytes = 500000, .client = small},
      {.up_bytes = 500000, .down_bytes = 500000, .client = small, .slow_client = true},
      {.up_bytes = 3 << 20, .down_bytes = 1 << 20, .slow_grpc = true},
      {.up_bytes = 2 << 20, .down_bytes = 2 << 20, .slow_client = true, .slow_grpc = true},
      {.up_bytes = 500000,
       .down_bytes = 500000,
       .client = small,
       .slow_client = true,
       .slow_grpc = true,
       .frame_bytes_max = 1500},
      {.up_bytes = 300000, .down_bytes = 300000, .frame_bytes_max = 3, .slow_grpc = true},
      {.up_bytes = 1 << 20, .down_bytes = 1000, .client_ends_first = true, .slow_grpc = true},
      {.up_bytes = 1000, .down_bytes = 4 << 20, .client_ends_first = true, .slow_client = true},
      {.up_bytes = 1 << 20,
       .down_bytes = 1 << 20,
       .client_ends_first = true,
       .client = small,
       .slow_grpc = true},
      {.up_bytes = 1 << 20,
       .down_bytes = 1 << 20,
       .client_ends_first = true,
       .client = small,
       .slow_client = true},
  };
  struct pump_fixture f;
  pump_fixture_open(&f, is_tls, (struct pump_options){0});
  for (size_t i = 0; i < UNIT_COUNT(flows); i++) {
    struct flow flow = flows[i];
    flow.seed = 1000 * i;
    exchange(&f, flow);
    eventually(pump_fixture_stats(&f).open == 0);
  }
  pump_fixture_close(&f);
}

static void test_plaintext(void **state) {
  (void)state;
  test_flows(false);
}

static void test_tls(void **state) {
  (void)state;
  test_flows(true);
}

static void test_tls_1_2(void **state) {
  (void)state;
  struct pump_fixture f;
  pump_fixture_open(&f, true, (struct pump_options){0});
  exchange(&f, (struct flow){.up_bytes = 1 << 20,
                             .down_bytes = 1 << 20,
                             .slow_client = true,
                             .client = {.version = TLS1_2_VERSION}});
  pump_fixture_close(&f);
}

static void test_key_updates(void **state) {
  (void)state;
  struct pump_fixture f;
  pump_fixture_open(&f, true, (struct pump_options){0});
  exchange(&f, (struct flow){.up_bytes = 3 << 20, .down_bytes = 3 << 20, .key_updates = true});
  exchange(&f, (struct flow){.up_bytes = 3 << 20,
                             .down_bytes = 1 << 20,
                             .key_updates = true,
                             .slow_client = true,
                             .client = {.buffer_bytes = 4096}});
  pump_fixture_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plaintext),
      cmocka_unit_test(test_tls),
      cmocka_unit_test(test_tls_1_2),
      cmocka_unit_test(test_key_updates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
