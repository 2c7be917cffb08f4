/* What hostile and unlucky clients send, to a server that goes on. */
#include <grpc/grpc.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/limits.h"
#include "base/wire.h"
#include "ports/port.h"
#include "rpc/server.h"
#include "tests/support/runtime_fixture.h"

enum { MIB = 1 << 20 };

static void expect_refused(struct runtime_fixture *f, str request, enum status_code code, const char *part) {
  status result = raw_unary(&f->channel, UNARY, NULL, request, NULL);
  if (result.code != code || strstr(result.message, part) == NULL)
    fail_msg("%s: \"%s\"", status_code_name((int)result.code), result.message);
}

static void expect_alive(struct runtime_fixture *f) {
  echo_request request = runtime_request("still here");
  assert_status_ok(runtime_unary(f, NULL, &request, NULL));
}

/* The sanitizers' allocators keep what was freed, and under qemu the memory is qemu's: there the scenario
 * runs and nothing is measured. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(TEST_UNDER_QEMU)
enum { MEASURES = 0 };
#else
enum { MEASURES = 1 };
#endif

/* An emulated processor takes minutes to compress a gigabyte. */
#ifdef TEST_UNDER_QEMU
enum { BOMB_BYTES = 1 << 26 };
#else
enum { BOMB_BYTES = 1 << 30 };
#endif

static uint64_t resident_bytes(void) {
  port_memory_trim();
  return port_linux()->memory(port_linux()).resident_bytes;
}

/* ---- Malformed ---- */

static void test_malformed(void **state) {
  struct runtime_fixture *f = *state;
  expect_refused(f, STR("\x0a\x05zz"), STATUS_INVALID_ARGUMENT, "malformed");
  expect_refused(f, STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), STATUS_INVALID_ARGUMENT,
                 "malformed");
  expect_refused(f, STR("\x0a\x02\xc3\x28"), STATUS_INVALID_ARGUMENT,
                 "field \"text\" of skerry.test.v1.EchoRequest is not valid UTF-8");
  expect_refused(f, STR("\x0a\x03x\0y"), STATUS_INVALID_ARGUMENT, "U+0000");
  expect_refused(f, STR("\x42\x04\x0a\x02\xc3\x28"), STATUS_INVALID_ARGUMENT, "field \"key\"");
  expect_refused(f, STR("\x08\x01"), STATUS_INVALID_ARGUMENT, "field \"text\"");
  expect_alive(f);
}

static void test_nesting(void **state) {
  struct runtime_fixture *f = *state;
  for (int depth = 90; depth <= 10000; depth = depth < 105 ? depth + 1 : depth * 3) {
    size_t size = 0, room = (size_t)depth * 4 + 16;
    uint8_t *bytes = malloc(room), *end = bytes + room;
    assert_non_null(bytes);
    for (int i = 1; i < depth; i++) { /* from the inside out */
      uint8_t head[16], *at = wire_put_bytes_head(head, 7, size);
      memcpy(end - size - (at - head), head, (size_t)(at - head));
      size += (size_t)(at - head);
    }
    status result = raw_unary(&f->channel, UNARY, NULL, str_make(end - size, size), NULL);
    assert_int_equal(result.code, depth <= LIMIT_MESSAGE_DEPTH ? STATUS_OK : STATUS_INVALID_ARGUMENT);
    free(bytes);
  }
  expect_alive(f);
}

/* ---- Sizes ---- */

static void test_message_limit(void **state) {
  struct runtime_fixture *f = *state;
  char *text = malloc(2 * MIB);
  assert_non_null(text);
  memset(text, 'x', 2 * MIB);
  text[MIB - 10] = '\0';
  echo_request request = runtime_request(text);
  assert_status_ok(runtime_unary(f, NULL, &request, NULL));
  text[MIB - 10] = 'x';
  text[MIB + 10] = '\0';
  assert_status_code(runtime_unary(f, NULL, &request, NULL), STATUS_RESOURCE_EXHAUSTED);
  free(text);
  expect_alive(f);
}

/* A small message that takes many times its size when decoded: names of one byte are three on the wire, and a
 * pointer and a string in memory. */
static void test_decodes_too_large(void **state) {
  struct runtime_fixture *f = *state;
  struct buf bytes = {0};
  for (int i = 0; i < 150000; i++)
    buf_append_str(&bytes, STR("\x3a\x02\x3a\x00"));
  expect_refused(f, buf_str(&bytes), STATUS_RESOURCE_EXHAUSTED, "4194304 bytes");
  uint64_t before = resident_bytes();
  for (int i = 0; i < 5; i++)
    expect_refused(f, buf_str(&bytes), STATUS_RESOURCE_EXHAUSTED, "4194304 bytes");
  buf_fini(&bytes);
  eventually(!MEASURES || resident_bytes() <= before + 2 * MIB); /* the server frees after its answer */
  expect_alive(f);
}

static void test_metadata_limit(void **state) {
  struct runtime_fixture *f = *state;
  char value[9000];
  memset(value, 'v', sizeof value);
  const struct raw_header header = {"x-long", {value, sizeof value}};
  const struct raw_options options = {.headers = &header, .header_count = 1};
  echo_request request = runtime_request("x");
  expect_alive(f); /* gRPC core's limit holds once the client has acknowledged its settings */
  /* gRPC core ends the whole connection over it, and either word may come first. */
  status result = runtime_unary(f, &options, &request, NULL);
  assert_true(result.code == STATUS_RESOURCE_EXHAUSTED || result.code == STATUS_UNAVAILABLE);
  raw_channel_close(&f->channel);
  f->channel = raw_channel_open(f->server, "192.0.2.7:1235");
  expect_alive(f);
}

/* ---- Compression ---- */

/* `len` zero bytes, or of `from` if it is given, compressed. */
static struct buf deflated(const uint8_t *from, size_t len, bool gzip) {
  static uint8_t zeros[65536];
  struct buf out = {0};
  z_stream z = {0};
  assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + (gzip ? 16 : 0), 9, Z_DEFAULT_STRATEGY), Z_OK);
  size_t left = len;
  int result;
  do {
    if (z.avail_in == 0 && left > 0) {
      z.next_in = from != NULL ? (uint8_t *)(uintptr_t)from + (len - left) : zeros;
      z.avail_in = (uInt)(left < sizeof zeros ? left : sizeof zeros);
      left -= z.avail_in;
    }
    assert_true(buf_reserve(&out, 65536));
    z.next_out = out.data + out.len;
    z.avail_out = 65536;
    result = deflate(&z, left == 0 && z.avail_in == 0 ? Z_FINISH : Z_NO_FLUSH);
    out.len += 65536 - z.avail_out;
  } while (result != Z_STREAM_END);
  deflateEnd(&z);
  return out;
}

static void test_gzip_bomb(void **state) {
  struct runtime_fixture *f = *state;
  struct buf bomb = deflated(NULL, BOMB_BYTES, true);
  assert_true(bomb.len < MIB);
  const struct raw_options options = {.compressed_as = GRPC_COMPRESS_GZIP};
  expect_alive(f);
  status result =
      raw_unary(&f->channel, UNARY, &options, buf_str(&bomb), NULL); /* warms caches of gRPC's up */
  assert_int_equal(result.code, STATUS_RESOURCE_EXHAUSTED);
  assert_non_null(
      strstr(result.message, "1048576 bytes")); /* stopped while inflating, not by the arena later */
  uint64_t before = resident_bytes(), peak = before;
  for (int i = 0; i < 5; i++) {
    result = raw_unary(&f->channel, UNARY, &options, buf_str(&bomb), NULL);
    assert_int_equal(result.code, STATUS_RESOURCE_EXHAUSTED);
    uint64_t now = port_linux()->memory(port_linux()).resident_bytes;
    peak = now > peak ? now : peak;
  }
  assert_true(!MEASURES || peak <= before + 8 * MIB); /* the message itself, in the client and the server */
  eventually(!MEASURES || resident_bytes() <= before + 2 * MIB); /* the server frees after its answer */
  buf_fini(&bomb);
  expect_alive(f);
}

static void test_inflates(void **state) {
  struct runtime_fixture *f = *state;
  char text[5001];
  memset(text, 'z', 5000);
  text[5000] = '\0';
  echo_request request = runtime_request(text);
  struct buf bytes = {0};
  runtime_pack(&request, &bytes);
  for (int gzip = 0; gzip < 2; gzip++) {
    struct buf small = deflated(bytes.data, bytes.len, gzip != 0);
    grpc_compression_algorithm algorithm = gzip ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_DEFLATE, answered;
    const struct raw_options options = {.compressed_as = algorithm};
    struct raw_call *call = raw_call_open(&f->channel, UNARY, &options);
    assert_true(raw_call_send(call, buf_str(&small)));
    raw_call_half_close(call);
    str response;
    assert_true(raw_call_receive(call, &response, &answered));
    assert_int_equal(answered, algorithm); /* who compresses the request gets a compressed response */
    assert_true(response.len < 200);
    assert_status_ok(raw_call_finish(call));
    raw_call_free(call);
    buf_fini(&small);
  }
  buf_fini(&bytes);
}

/* The bytes would decode as a message; their framing says that they are compressed, in a way nobody here
 * knows. */
static void test_unknown_compression(void **state) {
  struct runtime_fixture *f = *state;
  const char *encodings[] = {"identity", "zstd", "zstd"};
  for (size_t i = 0; i < UNIT_COUNT(encodings); i++) {
    const struct raw_options options = {.compressed_as = GRPC_COMPRESS_GZIP, .encoding = encodings[i]};
    struct raw_call *call = raw_call_open(&f->channel, i == 2 ? BIDI : UNARY, &options);
    assert_true(raw_call_send(call, STR("\x0a\x02hi")));
    raw_call_half_close(call);
    assert_status_code(raw_call_finish(call), STATUS_UNIMPLEMENTED);
    raw_call_free(call);
  }
  expect_alive(f);
}

static void test_damaged_compression(void **state) {
  struct runtime_fixture *f = *state;
  echo_request request = runtime_request("some text to compress");
  struct buf bytes = {0};
  runtime_pack(&request, &bytes);
  struct buf whole = deflated(bytes.data, bytes.len, true);
  const struct raw_options options = {.compressed_as = GRPC_COMPRESS_GZIP};
  for (size_t len = 0; len < whole.len; len++)
    assert_status_code(raw_unary(&f->channel, UNARY, &options, str_make(whole.data, len), NULL),
                       STATUS_INVALID_ARGUMENT);
  buf_append_byte(&whole, 'x');
  assert_status_code(raw_unary(&f->channel, UNARY, &options, buf_str(&whole), NULL), STATUS_INVALID_ARGUMENT);
  whole.data[12] ^= 0xff;
  whole.len--;
  assert_status_code(raw_unary(&f->channel, UNARY, &options, buf_str(&whole), NULL), STATUS_INVALID_ARGUMENT);
  buf_fini(&whole);
  buf_fini(&bytes);
  expect_alive(f);
}

/* ---- Many ---- */

static void test_calls_max(void **state) {
  const struct rpc_server_options options = {.threads = 1, .calls_max = 16};
  runtime_start_with(state, &options);
  struct runtime_fixture *f = *state;
  struct raw_call *calls[16];
  for (int i = 0; i < 16; i++) {
    calls[i] = raw_call_open(&f->channel, BIDI, NULL);
    echo_request request = runtime_request("x");
    assert_true(runtime_send(calls[i], &request));
    runtime_expect(calls[i], "x", 0);
  }
  echo_request request = runtime_request("x");
  assert_status_code(runtime_unary(f, NULL, &request, NULL), STATUS_RESOURCE_EXHAUSTED);
  for (int i = 0; i < 16; i++)
    raw_call_free(calls[i]);
  eventually(runtime_unary(f, NULL, &request, NULL).code == STATUS_OK);
  runtime_stop(state);
}

/* Each call is within its own limits, but not all of them together. */
static void test_calls_memory(void **state) {
  const struct rpc_server_options options = {.threads = 1, .calls_memory_bytes_max = 16 * MIB};
  runtime_start_with(state, &options);
  struct runtime_fixture *f = *state;
  echo_request large = runtime_request("large"), small = runtime_request("small");
  large.payload.len = 7 * MIB / 2; /* several times that with its copies */
  large.payload.data = calloc(1, large.payload.len);
  assert_non_null(large.payload.data);
  large.delay_us = 300000;
  struct raw_call *call = raw_call_open(&f->channel, UNARY, NULL);
  assert_true(runtime_send(call, &large));
  raw_call_half_close(call);
  struct rpc_server_stats stats;
  eventually((rpc_server_stats(f->server, &stats), stats.calls_active == 1));
  status result = runtime_unary(f, NULL, &large, NULL);
  assert_int_equal(result.code, STATUS_RESOURCE_EXHAUSTED);
  assert_string_equal(result.message, "This server has no memory for the request now. Try again.");
  assert_status_ok(runtime_unary(f, NULL, &small, NULL)); /* there is some left */
  runtime_expect(call, "large", 0);
  assert_status_ok(raw_call_finish(call));
  raw_call_free(call);
  for (int i = 0; i < 5; i++) /* all of it came back */
    assert_status_ok(runtime_unary(f, NULL, &large, NULL));
  free(large.payload.data);
  runtime_stop(state);
}

/* However much one connection wants, there is something left for another. */
static void test_connections_share(void **state) {
  const struct rpc_server_options options = {.threads = 1, .calls_memory_bytes_max = 16 * MIB};
  runtime_start_with(state, &options);
  struct runtime_fixture *f = *state;
  echo_request large = runtime_request("large"), small = runtime_request("small");
  large.payload.len = MIB;
  large.payload.data = calloc(1, large.payload.len);
  assert_non_null(large.payload.data);
  large.delay_us = 4000000; /* on a slow machine, too, several are under way together */
  struct raw_call *calls[40];
  for (size_t i = 0; i < UNIT_COUNT(calls); i++) {
    calls[i] = raw_call_open(&f->channel, UNARY, NULL);
    if (runtime_send(calls[i], &large))
      raw_call_half_close(calls[i]);
  }
  large.delay_us = 0;
  struct rpc_server_stats stats;
  eventually((rpc_server_stats(f->server, &stats), stats.calls_memory_bytes > 10 * MIB));
  struct raw_channel greedy = f->channel;
  f->channel = raw_channel_open(f->server, "198.51.100.2:1");
  for (int i = 0; i < 20; i++) {
    assert_status_ok(runtime_unary(f, NULL, &small, NULL));
    assert_status_ok(runtime_unary(f, NULL, &large, NULL));
  }
  raw_channel_close(&f->channel);
  f->channel = greedy;
  for (size_t i = 0; i < UNIT_COUNT(calls); i++)
    raw_call_free(calls[i]);
  eventually(runtime_unary(f, NULL, &small, NULL).code == STATUS_OK);
  free(large.payload.data);
  runtime_stop(state);
}

static void test_many_connections(void **state) {
  struct runtime_fixture *f = *state;
  echo_request request = runtime_request("short");
  for (int i = 0; i < 300; i++) {
    struct raw_channel kept = f->channel;
    f->channel = raw_channel_open(f->server, "198.51.100.1:1");
    assert_status_ok(runtime_unary(f, NULL, &request, NULL));
    raw_channel_close(&f->channel);
    f->channel = kept;
  }
  struct rpc_server_stats stats;
  eventually((rpc_server_stats(f->server, &stats), stats.connections_open == 1));
  assert_int_equal(stats.connections_total, 301);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_malformed, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_nesting, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_message_limit, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_decodes_too_large, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_metadata_limit, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_gzip_bomb, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_inflates, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_unknown_compression, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_damaged_compression, runtime_start, runtime_stop),
      cmocka_unit_test(test_calls_max),
      cmocka_unit_test(test_calls_memory),
      cmocka_unit_test(test_connections_share),
      cmocka_unit_test_setup_teardown(test_many_connections, runtime_start, runtime_stop),
  };
  port_memory_configure();
  grpc_init();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
