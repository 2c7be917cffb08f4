/* The guard's header: its form, and what the runtime makes of it on calls. */

#include <fcntl.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/support/runtime_fixture.h"

static const struct rpc_peer PHONE = {.address = "192.0.2.7:5555",
                                      .has_certificate = true,
                                      .certificate_sha256 = {1, 2, 3},
                                      .certificate_name = "phone-7"};

struct value {
  char text[RPC_CONNECTION_VALUE_CHARS];
};

static struct value value_of(const struct rpc_connection_key *key, int64_t arrived_us) {
  struct value value;
  memcpy(value.text, key->text, sizeof key->text);
  rpc_connection_time(arrived_us, value.text + sizeof key->text);
  return value;
}

static struct raw_header header_of(const struct value *value) {
  return (struct raw_header){RPC_CONNECTION_HEADER, str_make(value->text, sizeof value->text)};
}

/* ---- The form ---- */

static void test_round_trip(void **state) {
  (void)state;
  for (unsigned i = 0; i < 1000; i++) {
    struct rpc_connection_id id = {.slot = i * 2654435761U}, read;
    for (size_t k = 0; k < sizeof id.secret; k++)
      id.secret[k] = (uint8_t)(i * 31 + k * 77);
    struct rpc_connection_key key;
    rpc_connection_key_write(&id, &key);
    assert_true(rpc_connection_key_read(&key, &read));
    assert_int_equal(read.slot, id.slot);
    assert_memory_equal(read.secret, id.secret, sizeof id.secret);
    struct value value = value_of(&key, (int64_t)i * 123456789);
    int64_t waited_us;
    assert_true(rpc_connection_value_read(str_make(value.text, sizeof value.text), (int64_t)i * 123456789 + i,
                                          &read, &waited_us));
    assert_int_equal(read.slot, id.slot);
    assert_int_equal(waited_us, i);
  }
}

/* As RFC 4648 has it: both digits outside of letters and numbers, and the order of the bytes. */
static void test_is_base64url(void **state) {
  (void)state;
  struct rpc_connection_id id = {.slot = 0xfbff0010, .secret = {0x83, 0x10}};
  struct rpc_connection_key key;
  rpc_connection_key_write(&id, &key);
  assert_memory_equal(key.text, "-_8AEIMQAAAAAAAAAAAAAAAA", sizeof key.text);
  char time[RPC_CONNECTION_TIME_CHARS];
  rpc_connection_time(1, time);
  assert_memory_equal(time, "AAAAAAAB", sizeof time);
}

static void test_strict(void **state) {
  (void)state;
  struct rpc_connection_id id = {.slot = 7};
  struct rpc_connection_key key;
  rpc_connection_key_write(&id, &key);
  struct value value = value_of(&key, 5);
  int64_t waited_us;
  for (size_t at = 0; at < sizeof value.text; at++)
    for (int c = 0; c < 256; c++) {
      struct value changed = value;
      changed.text[at] = (char)c;
      bool is_digit =
          (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
      assert_int_equal(is_digit, rpc_connection_value_read(str_make(changed.text, sizeof changed.text), 5,
                                                           &id, &waited_us));
    }
  for (size_t len = 0; len < sizeof value.text; len++)
    assert_false(rpc_connection_value_read(str_make(value.text, len), 5, &id, &waited_us));
  assert_false(rpc_connection_value_read((str){NULL, 0}, 5, &id, &waited_us));
  const char longer[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  assert_false(rpc_connection_value_read(str_from_cstr(longer), 5, &id, &waited_us));
  const struct rpc_connection_key none = {{0}};
  assert_false(rpc_connection_key_read(&none, &id));
}

static void test_times(void **state) {
  (void)state;
  struct rpc_connection_key key;
  struct rpc_connection_id id = {0};
  rpc_connection_key_write(&id, &key);
  const struct {
    int64_t arrived_us, now_us, waited_us;
  } rows[] = {
      {1000, 1000, 0},
      {1000, 3500, 2500},
      {3500, 1000, 0}, /* another thread's clock was ahead */
      {((int64_t)1 << 48) - 10, ((int64_t)1 << 48) + 10, 20},
      {-50, -20, 30},
  };
  for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
    struct value value = value_of(&key, rows[i].arrived_us);
    int64_t waited_us = -1;
    assert_true(
        rpc_connection_value_read(str_make(value.text, sizeof value.text), rows[i].now_us, &id, &waited_us));
    assert_int_equal(waited_us, rows[i].waited_us);
  }
}

/* ---- Calls ---- */

/* What the handler saw of the last call. */
struct seen {
  struct rpc_peer peer;
  size_t headers, reserved, calls;
};

struct guarded {
  struct runtime_fixture f; /* its channel is guarded */
  struct seen seen;         /* the test's copy, once a call is done */
  struct seen by_handler;
  pthread_mutex_t mutex; /* by_handler: the sanitizer does not see that gRPC orders the threads */
};

static void look(struct rpc_call *call, const Skerry__Test__V1__EchoRequest *request) {
  (void)request;
  struct guarded *g = rpc_call_service(call);
  struct seen seen = {.peer = *rpc_call_peer(call)};
  str name, value;
  while (rpc_call_metadata_at(call, seen.headers, &name, &value)) {
    seen.headers++;
    seen.reserved += str_eq(name, STR(RPC_CONNECTION_HEADER));
  }
  seen.reserved += rpc_call_metadata(call, RPC_CONNECTION_HEADER, &value);
  pthread_mutex_lock(&g->mutex);
  seen.calls = g->by_handler.calls + 1;
  g->by_handler = seen;
  pthread_mutex_unlock(&g->mutex);
  echo_response response = SKERRY__TEST__V1__ECHO_RESPONSE__INIT;
  skerry_test_v1_echo_unary_reply(call, &response);
}

static const struct skerry_test_v1_echo_handlers looking = {.unary = look};

static void guarded_start(struct guarded *g, struct rpc_connection_key *ret_key) {
  const struct rpc_server_options options = {.threads = 1};
  *g = (struct guarded){.mutex = PTHREAD_MUTEX_INITIALIZER};
  assert_status_ok(rpc_server_new(&options, &g->f.server));
  assert_status_ok(rpc_server_add_service(g->f.server, &skerry_test_v1_echo_service, &looking, g));
  assert_status_ok(rpc_server_start(g->f.server));
  g->f.channel = raw_channel_open_guarded(g->f.server, &PHONE, ret_key);
}

static void guarded_stop(struct guarded *g) {
  raw_channel_close(&g->f.channel);
  rpc_server_drain(g->f.server, runtime_now_us() + 2000000);
  rpc_server_free(g->f.server);
}

static status call_with(struct guarded *g, const struct raw_header *headers, size_t count) {
  const struct raw_options options = {.headers = headers, .header_count = count};
  echo_request request = runtime_request("x");
  status result = runtime_unary(&g->f, &options, &request, NULL);
  pthread_mutex_lock(&g->mutex);
  g->seen = g->by_handler;
  pthread_mutex_unlock(&g->mutex);
  return result;
}

static void expect_refused(struct guarded *g, const struct raw_header *headers, size_t count,
                           enum status_code code, const char *text) {
  size_t before = g->seen.calls;
  status result = call_with(g, headers, count);
  assert_status_code(result, code);
  assert_string_equal(result.message, text);
  assert_int_equal(g->seen.calls, before); /* no handler saw it */
}

static void test_peer_by_header(void **state) {
  (void)state;
  struct guarded g;
  struct rpc_connection_key key;
  guarded_start(&g, &key);
  struct value value = value_of(&key, runtime_now_us());
  const struct raw_header headers[] = {{"x-one", STR("1")}, {"x-two", STR("2")}, header_of(&value)};
  /* A descriptor alone is nobody's name. */
  expect_refused(&g, headers, 2, STATUS_UNAVAILABLE, "This server does not know the connection of the call.");
  assert_status_ok(call_with(&g, headers + 2, 1));
  size_t without = g.seen.headers + 2; /* the other two */
  assert_status_ok(call_with(&g, headers, 3));
  assert_string_equal(g.seen.peer.address, PHONE.address);
  assert_true(g.seen.peer.has_certificate);
  assert_string_equal(g.seen.peer.certificate_name, "phone-7");
  assert_memory_equal(g.seen.peer.certificate_sha256, PHONE.certificate_sha256,
                      sizeof g.seen.peer.certificate_sha256);
  assert_int_equal(g.seen.peer.connection_id, 1);
  assert_int_equal(g.seen.headers, without);
  assert_int_equal(g.seen.reserved, 0);
  const struct raw_header first[] = {headers[2], headers[0], headers[1]}; /* wherever gRPC puts it */
  assert_status_ok(call_with(&g, first, 3));
  assert_string_equal(g.seen.peer.address, PHONE.address);
  assert_int_equal(g.seen.headers, without);
  assert_int_equal(g.seen.reserved, 0);
  guarded_stop(&g);
}

#define CLOSED "The connection of this call is closed."
#define RESERVED "The request header \"skerry-connection\" is reserved for the server."

static void test_refused(void **state) {
  (void)state;
  struct guarded g;
  struct rpc_connection_key key;
  guarded_start(&g, &key);
  struct value value = value_of(&key, runtime_now_us()), other = value;
  other.text[10] = other.text[10] == 'A' ? 'B' : 'A';
  const struct raw_header right = header_of(&value), unknown = header_of(&other);
  expect_refused(&g, &unknown, 1, STATUS_UNAVAILABLE, CLOSED);
  const struct raw_header malformed[] = {
      {RPC_CONNECTION_HEADER, STR("")},
      {RPC_CONNECTION_HEADER, STR("short")},
      {RPC_CONNECTION_HEADER, {right.value.ptr, right.value.len - 1}},
      {RPC_CONNECTION_HEADER, STR("AAAAAAAAAAAAAAAAAAAAAAAA+/AAAAAA")},
  };
  for (size_t i = 0; i < UNIT_COUNT(malformed); i++)
    expect_refused(&g, &malformed[i], 1, STATUS_INVALID_ARGUMENT, RESERVED);
  /* What a client slipped in before the guard's own. */
  const struct raw_header twice[] = {right, {"x-one", STR("1")}, right}, mixed[] = {unknown, right},
                          short_one[] = {malformed[1], right};
  expect_refused(&g, twice, 3, STATUS_INVALID_ARGUMENT, RESERVED);
  expect_refused(&g, mixed, 2, STATUS_INVALID_ARGUMENT, RESERVED);
  expect_refused(&g, short_one, 2, STATUS_INVALID_ARGUMENT, RESERVED);
  assert_status_ok(call_with(&g, &right, 1));
  guarded_stop(&g);
}

static void test_forgotten(void **state) {
  (void)state;
  struct guarded g;
  struct rpc_connection_key key;
  guarded_start(&g, &key);
  struct value value = value_of(&key, runtime_now_us());
  const struct raw_header header = header_of(&value);
  assert_status_ok(call_with(&g, &header, 1));
  struct rpc_server_stats stats;
  rpc_server_stats(g.f.server, &stats);
  assert_int_equal(stats.connections_open, 1);
  rpc_server_forget(g.f.server, &key);
  rpc_server_stats(g.f.server, &stats);
  assert_int_equal(stats.connections_open, 0);
  assert_int_equal(stats.connections_total, 1);
  expect_refused(&g, &header, 1, STATUS_UNAVAILABLE, CLOSED);
  guarded_stop(&g);
}

/* A bare connection's client may send the header; there it is a key like any other, which it cannot know. */
static void test_bare_connection(void **state) {
  struct runtime_fixture *f = *state;
  const struct raw_header header = {RPC_CONNECTION_HEADER, STR("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")};
  const struct raw_options options = {.headers = &header, .header_count = 1};
  echo_request request = runtime_request("x");
  const char *paths[] = {UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI, "/no.such/Method"};
  for (size_t i = 0; i < UNIT_COUNT(paths); i++) {
    struct buf bytes = {0};
    runtime_pack(&request, &bytes);
    assert_status_code(raw_unary(&f->channel, paths[i], &options, buf_str(&bytes), NULL), STATUS_UNAVAILABLE);
    buf_fini(&bytes);
  }
  assert_status_ok(runtime_unary(f, NULL, &request, NULL));
}

/* A call under way keeps its peer, on a stream whose connection the guard has forgotten. */
static void test_forgotten_under_way(void **state) {
  struct runtime_fixture *f = *state;
  struct rpc_connection_key key;
  struct raw_channel channel = raw_channel_open_guarded(f->server, &PHONE, &key);
  struct value value = value_of(&key, runtime_now_us());
  const struct raw_header header = header_of(&value);
  const struct raw_options options = {.headers = &header, .header_count = 1};
  struct raw_call *call = raw_call_open(&channel, BIDI, &options);
  echo_request request = runtime_request("x");
  request.echo_metadata = true;
  for (int i = 0; i < 2; i++) {
    assert_true(runtime_send(call, &request));
    echo_response *response = runtime_receive(call);
    assert_non_null(response);
    assert_string_equal(response->peer, PHONE.address);
    for (size_t k = 0; k < response->n_metadata; k++)
      assert_string_not_equal(response->metadata[k]->key, RPC_CONNECTION_HEADER);
    runtime_free(response);
    if (i == 0)
      rpc_server_forget(f->server, &key);
  }
  raw_call_free(call);
  raw_channel_close(&channel);
}

static void test_refused_when_not_started(void **state) {
  (void)state;
  struct rpc_server *server;
  assert_status_ok(rpc_server_new(NULL, &server));
  struct rpc_connection_key key;
  int fd = dup(0);
  assert_true(fd >= 0);
  assert_false(rpc_server_adopt_guarded(server, fd, &PHONE, &key));
  assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed */
  rpc_server_free(server);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_is_base64url),
      cmocka_unit_test(test_strict),
      cmocka_unit_test(test_times),
      cmocka_unit_test(test_peer_by_header),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_forgotten),
      cmocka_unit_test_setup_teardown(test_bare_connection, runtime_start, runtime_stop),
      cmocka_unit_test_setup_teardown(test_forgotten_under_way, runtime_start, runtime_stop),
      cmocka_unit_test(test_refused_when_not_started),
  };
  grpc_init();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  grpc_shutdown();
  return failed;
}
