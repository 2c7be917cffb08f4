/* The life of a connection in the pump: how each phase ends, whoever ends it, and what the other side and the
 * counts see of it. */
#include <fcntl.h>
#include <openssl/aead.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/pump_fixture.h"
#include "tests/support/unit.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/* Preface, SETTINGS, and a request that goes on: POST, http, "/". */
static const uint8_t hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                               "\0\0\0\4\0\0\0\0\0"
                               "\0\0\3\1\4\0\0\0\1\x83\x86\x84";
static const uint8_t stray_push[] = "\0\0\4\5\4\0\0\0\1\0\0\0\2"; /* PUSH_PROMISE: an offence */
static const uint8_t ping[] = "\0\0\x8\6\0\0\0\0\0zzzzzzzz";
static const uint8_t settings[] = "\0\0\0\4\0\0\0\0\0";
static const uint8_t ack[] = "\0\0\0\4\1\0\0\0\0";
enum {
  PREFACE_BYTES = sizeof preface - 1,
  HELLO_BYTES = sizeof hello - 1,
  PLENTY = 1 << 22,
  STUFF_MAX = 1 << 25
};

static uint8_t scratch[PLENTY];

#define send_bytes(client, bytes) pump_client_send(client, bytes, sizeof(bytes) - 1)

/* A frame of DATA on stream 1, as large as they get. */
static const uint8_t *data_frame(void) {
  static uint8_t frame[9 + 16384] = {0, 0x40, 0, 0, 0, 0, 0, 0, 1};
  return frame;
}

/* A client that gRPC core knows; what it said is read away. */
static struct pump_client open_client(struct pump_fixture *f, struct pump_client_options options,
                                      struct pump_fixture_end **ret_end) {
  unsigned ends = pump_fixture_end_count(f);
  struct pump_client client = pump_client_open(f, options);
  pump_client_send(&client, hello, HELLO_BYTES);
  *ret_end = pump_fixture_end(f, ends);
  ptrdiff_t last;
  size_t all = HELLO_BYTES + 3 + sizeof RPC_CONNECTION_HEADER - 1 + RPC_CONNECTION_VALUE_CHARS;
  assert_int_equal(pump_end_receive(*ret_end, scratch, all, &last), all);
  return client;
}

/* Until nothing moves any more: every buffer on the way is full. Whole frames, but for the last. */
static size_t stuff_up(struct pump_client *client) {
  size_t sent = 0;
  for (int idle = 0; idle < 5 && sent < STUFF_MAX;) {
    ptrdiff_t moved =
        pump_client_write(client, data_frame() + sent % (9 + 16384), 9 + 16384 - sent % (9 + 16384));
    assert_int_not_equal(moved, PUMP_BROKEN);
    sent += moved > 0 ? (size_t)moved : 0;
    idle = moved > 0 ? 0 : idle + 1;
    if (moved < 0)
      pump_fixture_nap();
  }
  return sent;
}

static size_t stuff_down(const struct pump_fixture_end *end) {
  size_t sent = 0;
  for (int idle = 0; idle < 5;) {
    ptrdiff_t moved = pump_end_write(end, data_frame() + sent % (9 + 16384), 9 + 16384 - sent % (9 + 16384));
    assert_int_not_equal(moved, PUMP_BROKEN);
    sent += moved > 0 ? (size_t)moved : 0;
    idle = moved > 0 ? 0 : idle + 1;
    if (moved < 0)
      pump_fixture_nap();
  }
  return sent;
}

/* What the client gets until the end, or the connection breaks. */
static size_t drain(struct pump_client *client, ptrdiff_t *ret_last) {
  size_t got = pump_client_receive(client, scratch, sizeof scratch, ret_last);
  assert_int_not_equal(*ret_last, PUMP_AGAIN);
  return got;
}

static void assert_ends(struct pump_client *client, size_t wanted) {
  ptrdiff_t last;
  size_t got = drain(client, &last);
  assert_int_equal(last, 0);
  assert_int_equal(got, wanted);
  char byte; /* behind a close_notify there is the FIN */
  assert_true(poll(&(struct pollfd){.fd = client->fd, .events = POLLIN}, 1, 5000) == 1);
  assert_int_equal(recv(client->fd, &byte, 1, 0), 0);
}

/* Broken: the pump left something unread. To gRPC core it is the same. */
static void assert_end_is_over(const struct pump_fixture_end *end) {
  ptrdiff_t last;
  pump_end_receive(end, scratch, sizeof scratch, &last);
  assert_true(last == 0 || last == PUMP_BROKEN);
}

/* Over for everybody. */
static void assert_gone(struct pump_fixture *f, const struct pump_client *client,
                        const struct pump_fixture_end *end) {
  eventually(pump_fixture_ended(f, client->number) == 1);
  if (end != NULL)
    assert_int_equal(pump_fixture_closed(f, end), 1);
  eventually(pump_fixture_stats(f).open == 0);
}

static void with_both(void (*test)(struct pump_fixture *f), struct pump_options options) {
  for (int is_tls = 0; is_tls < 2; is_tls++) {
    struct pump_fixture f;
    pump_fixture_open(&f, is_tls, options);
    test(&f);
    pump_fixture_close(&f);
  }
}

/* ---- The beginning ---- */

static void preface_in_pieces(struct pump_fixture *f) {
  struct pump_client client = pump_client_open(f, (struct pump_client_options){0});
  for (unsigned i = 0; i < PREFACE_BYTES; i++) {
    assert_int_equal(pump_fixture_end_count(f), 0);
    pump_client_send(&client, preface + i, 1);
    if (i % 8 == 0)
      pump_fixture_nap();
  }
  struct pump_fixture_end *end = pump_fixture_end(f, 0);
  assert_string_equal(strchr(end->peer.address, ':') != NULL ? "port" : end->peer.address, "port");
  char got[PREFACE_BYTES];
  ptrdiff_t last;
  assert_int_equal(pump_end_receive(end, got, sizeof got, &last), sizeof got);
  assert_memory_equal(got, preface, PREFACE_BYTES);
  eventually(pump_fixture_stats(f).open == 1 && pump_fixture_stats(f).waiting == 0);
  pump_client_close(&client);
  assert_end_is_over(end);
  pump_fixture_end_close(end);
  assert_gone(f, &client, end);
}

static void test_preface_in_pieces(void **state) {
  (void)state;
  with_both(preface_in_pieces, (struct pump_options){0});
}

static void refused_by_grpc(struct pump_fixture *f) {
  f->refuses = true; /* before there is a connection */
  struct pump_client client = pump_client_open(f, (struct pump_client_options){0});
  send_bytes(&client, hello);
  ptrdiff_t last;
  assert_int_equal(drain(&client, &last), 0);
  pump_client_close(&client);
  assert_gone(f, &client, NULL);
}

static void test_refused_by_grpc(void **state) {
  (void)state;
  with_both(refused_by_grpc, (struct pump_options){0});
}

static void test_http1(void **state) {
  (void)state;
  static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  for (int kind = 0; kind < 3; kind++) { /* plaintext; over TLS; without TLS on a port that has it */
    struct pump_fixture f;
    pump_fixture_open(&f, kind > 0, (struct pump_options){0});
    const struct pump_client_options options = {.alpn = kind == 1 ? "h2,http/1.1" : NULL,
                                                .is_raw = kind == 2};
    struct pump_client client = pump_client_open(&f, options);
    send_bytes(&client, request);
    char answer[512] = {0};
    ptrdiff_t last;
    size_t got = pump_client_receive(&client, answer, sizeof answer - 1, &last);
    assert_int_equal(last, 0);
    assert_non_null(strstr(answer, kind == 2 ? "HTTP/1.1 400" : "HTTP/1.1 426"));
    const char *length = strstr(answer, "Content-Length: "), *body = strstr(answer, "\r\n\r\n");
    assert_true(length != NULL && body != NULL);
    assert_int_equal(strtol(length + 16, NULL, 10), answer + got - (body + 4));
    eventually(pump_fixture_stats(&f).foreign == 1);
    pump_client_close(&client);
    assert_gone(&f, &client, NULL);
    pump_fixture_close(&f);
  }
}

static void test_alpn(void **state) {
  (void)state;
  struct pump_fixture f;
  pump_fixture_open(&f, true, (struct pump_options){0});
  struct pump_fixture_end *end;
  struct pump_client client =
      open_client(&f, (struct pump_client_options){.alpn = "h2,http/1.1", .always_h2 = true}, &end);
  const uint8_t *name;
  unsigned len;
  SSL_get0_alpn_selected(client.ssl, &name, &len);
  assert_str_is(str_make(name, len), "h2");
  pump_fixture_end_close(end);
  assert_ends(&client, 0);
  pump_client_close(&client);
  pump_fixture_close(&f);
}

/* What TLS has to say after a handshake goes out although the first request came with its end: with TLS 1.2
 * by a client that does not wait for the server's end of it ("false start"). */
static void test_handshake_and_request_in_one_piece(void **state) {
  (void)state;
  struct pump_fixture f;
  pump_fixture_open(&f, true, (struct pump_options){0});
  const uint16_t versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
  for (unsigned i = 0; i < 2; i++) {
    struct pump_client client = pump_client_open(
        &f, (struct pump_client_options){.in_one_piece = true, .version = versions[i], .alpn = "h2"});
    assert_int_equal(SSL_in_false_start(client.ssl), versions[i] == TLS1_2_VERSION);
    pump_client_send(&client, hello, HELLO_BYTES);
    pump_client_release(&client);
    struct pump_fixture_end *end = pump_fixture_end(&f, i);
    pump_end_send(end, settings, sizeof settings - 1);
    pump_end_send(end, data_frame(), 9 + 16384);
    pump_fixture_end_close(end);
    assert_ends(&client, sizeof settings - 1 + 9 + 16384);
    pump_client_close(&client);
    assert_gone(&f, &client, end);
  }
  pump_fixture_close(&f);
}

static void test_neither(void **state) {
  (void)state;
  struct pump_fixture f;
  pump_fixture_open(&f, false, (struct pump_options){0});
  struct pump_client client = pump_client_open(&f, (struct pump_client_options){0});
  send_bytes(&client, "\x16\x03\x01\x00");
  ptrdiff_t last;
  assert_int_equal(drain(&client, &last), 0);
  pump_client_close(&client);
  assert_gone(&f, &client, NULL);
  eventually(pump_fixture_stats(&f).foreign == 1);
  pump_fixture_close(&f);

  pump_fixture_open(&f, true, (struct pump_options){0});
  client = pump_client_open(&f, (struct pump_client_options){.is_raw = true});
  send_bytes(&client, "\x16\x03\x01\x00\x05hello");
  size_t got = drain(&client, &last);
  assert_int_equal(last, 0);
  assert_int_equal(got, 7); /* an alert */
  assert_int_equal(scratch[0], 21);
  pump_client_close(&client);
  assert_gone(&f, &client, NULL);
  eventually(pump_fixture_stats(&f).handshakes_failed == 1);
  eventually(pump_fixture_stats(&f).handshakes == 0);
  pump_fixture_close(&f);
}

/* Clients that do not trust the certificate often just go. */
static void test_handshake_given_up(void **state) {
  (void)state;
  struct pump_fixture f;
  pump_fixture_open(&f, true, (struct pump_options){0});
  struct pump_client client = pump_client_open(&f, (struct pump_client_options){.is_raw = true});
  send_bytes(&client, "\x16\x03\x01\x01");
  pump_fixture_nap();
  pump_client_close(&client);
  eventually(pump_fixture_stats(&f).handshakes_failed == 1);
  client =
      pump_client_open(&f, (struct pump_client_options){.is_raw = true}); /* a probe of the port is none */
  pump_client_close(&client);
  assert_gone(&f, &client, NULL);
  assert_int_equal(pump_fixture_stats(&f).handshakes_failed, 1);
  pump_fixture_close(&f);
}

/* ---- gRPC core ends ---- */

/* Everything that it wrote arrives, however slowly it is read, and then the end. */
static void grpc_closes_on_slow_client(struct pump_fixture *f, bool with_unread) {
  struct pump_fixture_end *end;
  struct pump_client client = open_client(f, (struct pump_client_options){.buffer_bytes = 8192}, &end);
  if (with_unread) { /* the kernel says so with an error on the pump's end */
    pump_client_send(&client, data_frame(), 9 + 16384);
    assert_true(poll(&(struct pollfd){.fd = end->fd, .events = POLLIN}, 1, 5000) == 1);
  }
  size_t sent = stuff_down(end);
  assert_true(sent > 200000);
  pump_fixture_end_close(end);
  pump_fixture_advance(f, 1000000); /* a turn of the pump */
  size_t got = 0;
  while (got + 100000 < sent) {
    ptrdiff_t moved = pump_client_read(&client, scratch, 3000);
    assert_true(moved != 0 && moved != PUMP_BROKEN);
    if (moved == PUMP_AGAIN)
      pump_fixture_nap();
    got += moved > 0 ? (size_t)moved : 0;
  }
  assert_ends(&client, sent - got);
  pump_client_close(&client);
  assert_gone(f, &client, end);
}

static void grpc_closes(struct pump_fixture *f) {
  grpc_closes_on_slow_client(f, false);
  grpc_closes_on_slow_client(f, true);
}

static void test_grpc_closes_on_slow_client(void **state) {
  (void)state;
  with_both(grpc_closes, (struct pump_options){0});
}

/* What the kernel still holds for a slow client is not lost because the client sends something meanwhile and
 * then ends. */
static void client_speaks_after_the_end(struct pump_fixture *f) {
  struct pump_fixture_end *end;
  const struct pump_client_options options = {.buffer_bytes = 8192, .server_buffer_bytes = 1 << 20};
  struct pump_client client = open_client(f, options, &end);
  size_t sent = 0;
  for (int i = 0; i < 30; i++, sent += 9 + 16384)
    pump_end_send(end, data_frame(), 9 + 16384);
  pump_fixture_end_close(end);
  eventually(pump_fixture_closed(f, end) == 1); /* all is in the kernel's hands */
  for (int i = 0; i < 4; i++)
    send_bytes(&client, ping);
  pump_client_end(&client);
  for (int i = 0; i < 10; i++)
    pump_fixture_nap();
  assert_ends(&client, sent);
  pump_client_close(&client);
  assert_gone(f, &client, end);
}

static void test_client_speaks_after_the_end(void **state) {
  (void)state;
  with_both(client_speaks_after_the_end, (struct pump_options){0});
}

static void grpc_closes_with_bytes_for_it(struct pump_fixture *f) {
  struct pump_fixture_end *end;
  struct pump_client client = open_client(f, (struct pump_client_options){0}, &end);
  assert_true(stuff_up(&client) > 100000);
  pump_fixture_end_close(end);
  assert_ends(&client, 0);
  pump_client_close(&client);
  assert_gone(f, &client, end);

  client = open_client(f, (struct pump_client_options){.buffer_bytes = 8192}, &end);
  size_t down = stuff_down(end);
  stuff_up(&client);
  pump_fixture_end_close(end);
  assert_ends(&client, down);
  pump_client_close(&client);
  assert_gone(f, &client, end);

  client = open_client(f, (struct pump_client_options){0}, &end); /* after the client's end */
  pump_client_end(&client);
  assert_end_is_over(end);
  assert_int_equal(pump_fixture_ended(f, client.number), 0);
  pump_end_send(end, "bye", 3);
  pump_fixture_end_close(end);
  assert_ends(&client, 3);
  assert_gone(f, &client, end);
  pump_client_close(&client);
}

static void test_grpc_closes_with_bytes_for_it(void **state) {
  (void)state;
  with_both(grpc_closes_with_bytes_for_it, (struct pump_options){0});
}

/* ---- The client ends ---- */

enum phase_name {
  NOTHING,
  HALF_HANDSHAKE,
  HALF_PREFACE,
  IDLE,
  FULL,
  HALF_CLOSED,
  FLUSH,
  LINGER,
  PHASE_COUNT
};

/* A connection in a phase; `end` NULL: gRPC core does not know it. */
static struct pump_client bring_to(struct pump_fixture *f, enum phase_name phase,
                                   struct pump_fixture_end **ret_end) {
  const struct pump_client_options raw = {.is_raw = true}, small = {.buffer_bytes = 8192};
  *ret_end = NULL;
  struct pump_client client;
  if (phase <= HALF_HANDSHAKE) {
    client = pump_client_open(f, raw);
    if (phase == HALF_HANDSHAKE && f->is_tls)
      send_bytes(&client, "\x16\x03\x01\x01\x00\x01\x00\x00\xfc");
  } else if (phase == HALF_PREFACE) {
    client = pump_client_open(f, (struct pump_client_options){0});
    pump_client_send(&client, preface, 10);
  } else {
    client =
        open_client(f, phase == FULL || phase == FLUSH ? small : (struct pump_client_options){0}, ret_end);
  }
  if (phase == FULL || phase == FLUSH)
    stuff_down(*ret_end);
  if (phase == FULL)
    stuff_up(&client);
  if (phase == HALF_CLOSED) {
    pump_client_end(&client);
    assert_end_is_over(*ret_end);
  }
  if (phase == FLUSH || phase == LINGER)
    pump_fixture_end_close(*ret_end);
  if (phase == LINGER)
    assert_ends(&client, 0);
  for (int i = 0; i < 5; i++)
    pump_fixture_nap();
  return client;
}

static void client_resets(struct pump_fixture *f) {
  for (int phase = NOTHING; phase < PHASE_COUNT; phase++) {
    struct pump_fixture_end *end;
    struct pump_client client = bring_to(f, (enum phase_name)phase, &end);
    assert_int_equal(pump_fixture_ended(f, client.number), 0);
    pump_client_reset(&client);
    if (end != NULL && end->fd >= 0)
      assert_end_is_over(end);
    assert_gone(f, &client, end);
  }
}

static void test_client_resets(void **state) {
  (void)state;
  with_both(client_resets, (struct pump_options){0});
}

static void client_closes(struct pump_fixture *f) {
  for (int phase = NOTHING; phase < PHASE_COUNT; phase++) {
    struct pump_fixture_end *end;
    struct pump_client client = bring_to(f, (enum phase_name)phase, &end);
    pump_client_close(&client);
    if (end != NULL && end->fd >= 0) {
      assert_end_is_over(end);
      pump_fixture_end_close(end); /* as gRPC core does then */
    }
    assert_gone(f, &client, end);
  }
}

static void test_client_closes(void **state) {
  (void)state;
  with_both(client_closes, (struct pump_options){0});
}

/* Its end may come in one read with bytes that gRPC core does not take yet. */
static void client_ends_behind_bytes(struct pump_fixture *f) {
  for (unsigned frames = 4; frames < 24; frames++) {
    struct pump_fixture_end *end;
    struct pump_client client = open_client(f, (struct pump_client_options){0}, &end);
    for (unsigned i = 0; i < frames; i++)
      pump_client_send(&client, data_frame(), 9 + 16384);
    pump_client_end(&client);
    pump_fixture_nap();
    ptrdiff_t last;
    assert_int_equal(pump_end_receive(end, scratch, sizeof scratch, &last), frames * (9 + 16384));
    assert_int_equal(last, 0);
    pump_fixture_end_close(end);
    assert_ends(&client, 0);
    pump_client_close(&client);
    assert_gone(f, &client, end);
  }
}

static void test_client_ends_behind_bytes(void **state) {
  (void)state;
  with_both(client_ends_behind_bytes, (struct pump_options){0});
}

/* ---- The pump ends ---- */

static void pump_closes(struct pump_fixture *f) {
  struct pump_client clients[PHASE_COUNT], last_word;
  struct pump_fixture_end *end;
  for (int phase = NOTHING; phase < PHASE_COUNT; phase++)
    clients[phase] = bring_to(f, (enum phase_name)phase, &end);
  last_word = open_client(f, (struct pump_client_options){0}, &end);
  for (int i = 0; i < 4; i++)
    pump_end_send(end, data_frame(), 9 + 16384);
  pump_fixture_end_close(end);
  pump_close(f->pump);
  f->pump = NULL;
  assert_ends(&last_word, 4 * (9 + 16384)); /* what was said before still arrives */
  pump_client_close(&last_word);
  for (int phase = NOTHING; phase < PHASE_COUNT; phase++)
    pump_client_close(&clients[phase]);
}

static void test_pump_closes(void **state) {
  (void)state;
  with_both(pump_closes, (struct pump_options){.port = port_linux()});
}

struct reader {
  struct pump_client *client;
  size_t got;
  ptrdiff_t last;
};

static void *read_slowly(void *argument) {
  struct reader *reader = argument;
  uint8_t bytes[2000];
  do {
    reader->last = pump_client_read(reader->client, bytes, sizeof bytes);
    if (reader->last == PUMP_AGAIN)
      pump_fixture_nap();
    reader->got += reader->last > 0 ? (size_t)reader->last : 0;
  } while (reader->last > 0 || reader->last == PUMP_AGAIN);
  shutdown(reader->client->fd, SHUT_WR);
  return NULL;
}

/* The clock stands still, so there is time for it. */
static void pump_says_goodbye(struct pump_fixture *f) {
  struct pump_fixture_end *end;
  struct pump_client client = open_client(f, (struct pump_client_options){.buffer_bytes = 8192}, &end);
  size_t sent = stuff_down(end);
  pump_fixture_end_close(end);
  pthread_t thread;
  struct reader reader = {.client = &client};
  assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
  pump_close(f->pump);
  f->pump = NULL;
  assert_int_equal(pump_fixture_ended(f, client.number), 1);
  pthread_join(thread, NULL);
  assert_int_equal(reader.last, 0);
  assert_int_equal(reader.got, sent);
  pump_client_close(&client);
}

static void test_pump_says_goodbye(void **state) {
  (void)state;
  with_both(pump_says_goodbye, (struct pump_options){0});
}

/* ---- Offences ---- */

/* The last frame of what came, of `len` bytes: a GOAWAY. */
static void assert_goaway(size_t len) {
  size_t at = 0, last = 0;
  while (at < len) {
    last = at;
    at += 9 + ((size_t)scratch[at] << 16 | (size_t)scratch[at + 1] << 8 | scratch[at + 2]);
  }
  assert_int_equal(at, len);
  assert_int_equal(scratch[last + 3], 7);
}

static void offends(struct pump_fixture *f) {
  struct pump_fixture_end *end;
  ptrdiff_t last;
  struct pump_client client = open_client(f, (struct pump_client_options){0}, &end);
  pump_end_send(end, settings, sizeof settings - 1);
  for (int i = 0; i < 8; i++)
    pump_end_send(end, data_frame(), 9 + 16384);
  const size_t down = sizeof settings - 1 + 8 * (9 + 16384);
  assert_int_equal(pump_client_receive(&client, scratch, down, &last), down);
  send_bytes(&client, ack);
  pump_client_send(&client, data_frame(), 9 + 16384);
  send_bytes(&client, stray_push);
  for (int i = 0; i < 200; i++) /* 3 MB: it does not care, and nobody stops it */
    pump_client_send(&client, data_frame(), 9 + 16384);
  size_t got = drain(&client, &last);
  assert_int_equal(last, 0);
  assert_goaway(got);
  eventually(pump_fixture_stats(f).offences[GUARD_FRAME] == 1);
  got = pump_end_receive(end, scratch, sizeof scratch, &last); /* what came before it, and no more */
  assert_int_equal(last, 0);
  assert_int_equal(got, sizeof ack - 1 + 9 + 16384);
  pump_client_close(&client);
  assert_gone(f, &client, end);

  client = pump_client_open(f, (struct pump_client_options){0}); /* in the first read */
  pump_client_send(&client, preface, PREFACE_BYTES);
  send_bytes(&client, ping);
  got = drain(&client, &last);
  assert_int_equal(last, 0);
  assert_goaway(got);
  eventually(pump_fixture_stats(f).offences[GUARD_PREFACE] == 1);
  pump_client_close(&client);
  end = pump_fixture_end(f, 1);
  assert_gone(f, &client, end);

  client = open_client(f, (struct pump_client_options){0}, &end); /* with its own end behind it */
  send_bytes(&client, stray_push);
  pump_client_end(&client);
  got = drain(&client, &last);
  assert_int_equal(last, 0);
  assert_goaway(got);
  pump_client_close(&client);
  assert_gone(f, &client, end);
}

/* What it sends for nothing is not read for ever. */
static void offends_and_floods(struct pump_fixture *f) {
  struct pump_fixture_end *end;
  struct pump_client client = open_client(f, (struct pump_client_options){0}, &end);
  send_bytes(&client, stray_push);
  size_t sent = 0;
  for (ptrdiff_t moved = 0; moved != PUMP_BROKEN && sent<64 << 20; sent += moved> 0 ? (size_t)moved : 0)
    if ((moved = pump_client_write(&client, data_frame(), 9 + 16384)) == PUMP_AGAIN)
      pump_fixture_nap();
  assert_in_range(sent, 16 << 20, (64 << 20) - 1);
  pump_client_close(&client);
  assert_gone(f, &client, end);
}

static void test_offends_and_floods(void **state) {
  (void)state;
  with_both(offends_and_floods, (struct pump_options){0});
}

static void test_offends(void **state) {
  (void)state;
  with_both(offends, (struct pump_options){0});
}

/* The offender reads nothing: it gets what fits in between, and is let go in time. */
static void offends_and_does_not_read(struct pump_fixture *f) {
  struct pump_fixture_end *end;
  struct pump_client client = open_client(f, (struct pump_client_options){.buffer_bytes = 8192}, &end);
  stuff_down(end);
  send_bytes(&client, stray_push);
  assert_end_is_over(end);
  eventually(pump_fixture_closed(f, end) == 1);
  assert_int_equal(pump_fixture_ended(f, client.number), 0);
  for (int i = 0; i < 30 && pump_fixture_ended(f, client.number) == 0; i++)
    pump_fixture_advance(f, 1000000);
  assert_gone(f, &client, end);
  pump_client_close(&client);
}

static void test_offends_and_does_not_read(void **state) {
  (void)state;
  with_both(offends_and_does_not_read, (struct pump_options){0});
}

/* ---- TLS's own ---- */

/* A record of TLS 1.2 with the client's next number, by its keys: BoringSSL's client would not write it. */
static void send_record(struct pump_client *client, uint8_t type, const uint8_t *text, size_t len) {
  uint8_t keys[2 * (16 + 4)], record[256], associated[13], nonce[12];
  assert_int_equal(SSL_get_key_block_len(client->ssl), sizeof keys);
  assert_true(SSL_generate_key_block(client->ssl, keys, sizeof keys));
  uint64_t number = SSL_get_write_sequence(client->ssl);
  for (int i = 0; i < 8; i++)
    associated[i] = (uint8_t)(number >> (56 - 8 * i));
  const uint8_t rest[] = {type, 3, 3, (uint8_t)(len >> 8), (uint8_t)len};
  memcpy(associated + 8, rest, sizeof rest);
  memcpy(nonce, keys + 32, 4);
  memcpy(nonce + 4, associated, 8);
  EVP_AEAD_CTX *aead = EVP_AEAD_CTX_new(EVP_aead_aes_128_gcm(), keys, 16, 16);
  size_t sealed;
  assert_true(EVP_AEAD_CTX_seal(aead, record + 13, &sealed, sizeof record - 13, nonce, sizeof nonce, text,
                                len, associated, sizeof associated));
  EVP_AEAD_CTX_free(aead);
  const uint8_t header[] = {type, 3, 3, (uint8_t)((8 + sealed) >> 8), (uint8_t)(8 + sealed)};
  memcpy(record, header, sizeof header);
  memcpy(record + 5, associated, 8);
  assert_int_equal(send(client->fd, record, 13 + sealed, 0), 13 + sealed);
}

static void test_renegotiation(void **state) {
  (void)state;
  struct pump_fixture f;
  struct pump_fixture_end *end;
  pump_fixture_open(&f, true, (struct pump_options){0});
  struct pump_client client = open_client(&f, (struct pump_client_options){.version = TLS1_2_VERSION}, &end);
  assert_int_equal(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(client.ssl)), 0xc02b);
  static const uint8_t client_hello[] = {1, 0, 0, 41, 3, 3, 0, 0, 0, 0, 0, 0,    0,    0, 0,
                                         0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,    0,    0, 0,
                                         0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 2, 0xc0, 0x2b, 1, 0};
  send_record(&client, 22, client_hello, sizeof client_hello);
  ptrdiff_t last;
  assert_int_equal(drain(&client, &last), 0);
  assert_int_equal(last, PUMP_BROKEN); /* an alert */
  assert_end_is_over(end);
  pump_client_close(&client);
  assert_gone(&f, &client, end);
  eventually(pump_fixture_stats(&f).handshakes == 1);
  pump_fixture_close(&f);
}

/* The end of TCP alone is not the end of TLS, but here it ends the connection all the same. */
static void test_end_without_close_notify(void **state) {
  (void)state;
  struct pump_fixture f;
  struct pump_fixture_end *end;
  pump_fixture_open(&f, true, (struct pump_options){0});
  struct pump_client client = open_client(&f, (struct pump_client_options){0}, &end);
  shutdown(client.fd, SHUT_WR);
  assert_end_is_over(end);
  pump_end_send(end, "bye", 3);
  pump_fixture_end_close(end);
  assert_ends(&client, 3);
  pump_client_close(&client);
  assert_gone(&f, &client, end);
  pump_fixture_close(&f);
}

/* ---- Deadlines ---- */

static void waits_too_long(struct pump_fixture *f) {
  struct pump_client clients[3];
  struct pump_fixture_end *end;
  for (int phase = NOTHING; phase <= HALF_PREFACE; phase++)
    clients[phase] = bring_to(f, (enum phase_name)phase, &end);
  eventually(pump_fixture_stats(f).waiting == 3);
  pump_fixture_advance(f, 9900000);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pump_fixture_ended(f, clients[i].number), 0);
  pump_fixture_advance(f, 200000);
  for (int i = 0; i < 3; i++) {
    assert_gone(f, &clients[i], NULL);
    pump_client_close(&clients[i]);
  }
  eventually(pump_fixture_stats(f).silent == 3);
  assert_int_equal(pump_fixture_end_count(f), 0);
}

static void test_waits_too_long(void **state) {
  (void)state;
  with_both(waits_too_long, (struct pump_options){0});
}

static void test_real_time(void **state) {
  (void)state;
  struct pump_fixture f;
  pump_fixture_open(&f, false, (struct pump_options){.port = port_linux(), .handshake_timeout_ms = 60});
  int64_t before = pump_fixture_real_us();
  struct pump_client client = pump_client_open(&f, (struct pump_client_options){0});
  ptrdiff_t last;
  assert_int_equal(drain(&client, &last), 0);
  int64_t took = pump_fixture_real_us() - before;
  assert_true(took >= 59000 && took < 4000000);
  pump_client_close(&client);
  pump_fixture_close(&f);
}

static void oldest_gives_way(struct pump_fixture *f) {
  struct pump_client clients[6];
  for (int i = 0; i < 6; i++) {
    clients[i] = pump_client_open(f, (struct pump_client_options){.is_raw = true});
    eventually(pump_fixture_stats(f).waiting == (i < 3 ? (uint64_t)i + 1 : 3));
  }
  for (int i = 0; i < 6; i++) {
    eventually(pump_fixture_ended(f, clients[i].number) == (i < 3));
    pump_client_close(&clients[i]);
  }
  eventually(pump_fixture_stats(f).silent == 3);
}

static void test_oldest_gives_way(void **state) {
  (void)state;
  with_both(oldest_gives_way, (struct pump_options){.handshakes_max = 3});
}

static void slow_client(struct pump_fixture *f) {
  struct pump_fixture_end *ends[3];
  struct pump_client clients[3];
  for (int i = 0; i < 3; i++)
    clients[i] = open_client(f, (struct pump_client_options){0}, &ends[i]);
  send_bytes(&clients[0], "\0\0\x40\1\4\0\0\0\3\x83"); /* half of a header block */
  pump_end_send(ends[1], settings, sizeof settings - 1);
  pump_end_send(ends[2], settings, sizeof settings - 1);
  ptrdiff_t last;
  assert_int_equal(pump_client_receive(&clients[1], scratch, sizeof settings - 1, &last),
                   sizeof settings - 1);
  assert_int_equal(pump_client_receive(&clients[2], scratch, sizeof settings - 1, &last),
                   sizeof settings - 1);
  send_bytes(&clients[2], ack);
  assert_int_equal(pump_end_receive(ends[2], scratch, sizeof ack - 1, &last), sizeof ack - 1);
  for (int i = 0; i < 10; i++)
    pump_fixture_nap();
  pump_fixture_advance(f, 9000000);
  pump_fixture_advance(f, 900000);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pump_fixture_ended(f, clients[i].number), 0);
  pump_fixture_advance(f, 3000000);
  for (int i = 0; i < 2; i++) {
    size_t got = drain(&clients[i], &last);
    assert_int_equal(last, 0);
    assert_goaway(got);
    pump_client_close(&clients[i]);
  }
  eventually(pump_fixture_stats(f).offences[GUARD_SLOW] == 2);
  eventually(pump_fixture_stats(f).open == 1);
  pump_fixture_end_close(ends[2]);
  assert_ends(&clients[2], 0);
  pump_client_close(&clients[2]);
}

static void test_slow_client(void **state) {
  (void)state;
  with_both(slow_client, (struct pump_options){0});
}

/* What the client sent in time is not held against it while gRPC core does not take it. */
static void slow_grpc(struct pump_fixture *f) {
  struct pump_fixture_end *end;
  struct pump_client client = open_client(f, (struct pump_client_options){0}, &end);
  pump_end_send(end, settings, sizeof settings - 1);
  ptrdiff_t last;
  assert_int_equal(pump_client_receive(&client, scratch, sizeof settings - 1, &last), sizeof settings - 1);
  size_t sent = stuff_up(&client);
  pump_fixture_advance(f, 15000000);
  pump_fixture_advance(f, 15000000);
  assert_int_equal(pump_fixture_ended(f, client.number), 0);
  assert_int_equal(pump_fixture_closed(f, end), 0);
  size_t got = 0; /* and then the rest of the frame, and the acknowledgement */
  const size_t rest = 9 + 16384 - sent % (9 + 16384);
  while (got < sent)
    got += pump_end_receive(end, scratch, sent - got < 60000 ? sent - got : 60000, &last);
  pump_client_send(&client, data_frame() + (sent % (9 + 16384)), rest);
  send_bytes(&client, ack);
  assert_int_equal(pump_end_receive(end, scratch, rest + sizeof ack - 1, &last), rest + sizeof ack - 1);
  pump_fixture_end_close(end);
  assert_ends(&client, 0);
  pump_client_close(&client);
  assert_gone(f, &client, end);
}

static void test_slow_grpc(void **state) {
  (void)state;
  with_both(slow_grpc, (struct pump_options){0});
}

/* gRPC core has let go of it, and it neither reads nor leaves. */
static void never_reads(struct pump_fixture *f) {
  for (int phase = FLUSH; phase <= LINGER; phase++) {
    struct pump_fixture_end *end;
    struct pump_client client = bring_to(f, (enum phase_name)phase, &end);
    pump_fixture_advance(f, 1000000);
    assert_int_equal(pump_fixture_ended(f, client.number), 0);
    for (int i = 0; i < 60 && pump_fixture_ended(f, client.number) == 0; i++) {
      port_simulated_advance(f->tls.simulated, 1000000);
      pump_fixture_nap();
      if (i % 20 == 19)
        pump_fixture_advance(f, 0);
    }
    assert_gone(f, &client, end);
    pump_client_close(&client);
  }
}

static void test_never_reads(void **state) {
  (void)state;
  with_both(never_reads, (struct pump_options){0});
}

/* ---- Idleness ---- */

static void assert_idle(void) {
  int64_t before = pump_fixture_cpu_us();
  for (int i = 0; i < 25; i++)
    pump_fixture_nap();
  int64_t spent = pump_fixture_cpu_us() - before;
  if (spent > 5000)
    fail_msg("%lld us of CPU in 50 ms", (long long)spent);
}

/* Hang-ups are reported whatever is asked for, as long as the descriptor is in the set. */
static void does_not_spin(struct pump_fixture *f) {
  struct pump_fixture_end *end;
  for (int phase = IDLE; phase < PHASE_COUNT; phase++) {
    struct pump_client client = bring_to(f, (enum phase_name)phase, &end);
    assert_idle();
    pump_client_reset(&client);
    assert_gone(f, &client, end);
  }
  for (int kind = 0; kind < 6; kind++) {
    struct pump_client client = open_client(f, (struct pump_client_options){.buffer_bytes = 8192}, &end);
    if (kind == 0) { /* the client is through, gRPC core does not take what it said */
      stuff_up(&client);
      pump_client_close(&client);
    } else if (kind == 1) {
      stuff_up(&client);
      shutdown(client.fd, SHUT_WR);
    } else if (kind == 2) { /* ended on both sides, and full */
      stuff_down(end);
      pump_client_end(&client);
      assert_idle();
      shutdown(end->fd, SHUT_RDWR);
    } else if (kind == 3) {
      stuff_down(end);
      shutdown(end->fd, SHUT_WR);
    } else if (kind == 4) {
      stuff_down(end);
      stuff_up(&client);
      shutdown(end->fd, SHUT_RD);
    } else {
      stuff_down(end);
      pump_fixture_end_close(end);
      shutdown(client.fd, SHUT_WR);
    }
    assert_idle();
    if (client.fd >= 0)
      pump_client_reset(&client);
    pump_fixture_end_close(end);
    assert_gone(f, &client, end);
  }
}

static void test_does_not_spin(void **state) {
  (void)state;
  with_both(does_not_spin, (struct pump_options){0});
}

/* ---- Several ---- */

/* One that moves as much as it can does not keep others waiting. */
static void is_fair(struct pump_fixture *f) {
  struct pump_fixture_end *greedy_end, *modest_end;
  struct pump_client greedy = open_client(f, (struct pump_client_options){0}, &greedy_end);
  struct pump_client modest = open_client(f, (struct pump_client_options){0}, &modest_end);
  for (int i = 0; i < 10; i++) {
    int64_t before = pump_fixture_real_us();
    send_bytes(&modest, ping);
    bool answered = false;
    while (!answered) {
      while (pump_client_write(&greedy, data_frame(), 9 + 16384) == 9 + 16384)
        continue;
      pump_end_read(greedy_end, scratch, sizeof scratch);
      answered = pump_end_read(modest_end, scratch, sizeof scratch) > 0;
    }
    assert_true(pump_fixture_real_us() - before < 3000000);
  }
  pump_client_reset(&greedy);
  pump_client_reset(&modest);
}

static void test_is_fair(void **state) {
  (void)state;
  with_both(is_fair, (struct pump_options){0});
}

static void counts(struct pump_fixture *f) {
  struct pump_client clients[8];
  struct pump_fixture_end *ends[8];
  for (int i = 0; i < 8; i++)
    clients[i] = open_client(f, (struct pump_client_options){0}, &ends[i]);
  struct pump_client waiting = pump_client_open(f, (struct pump_client_options){.is_raw = true});
  eventually(pump_fixture_stats(f).open == 8 && pump_fixture_stats(f).waiting == 1);
  eventually(pump_fixture_stats(f).handshakes == (f->is_tls ? 8U : 0U));
  eventually(pump_fixture_stats(f).resumed == 0);
  for (int i = 0; i < 8; i++) /* each has its own end */
    for (int j = 0; j < 8; j++) {
      uint8_t frame[sizeof ping - 1];
      ptrdiff_t last;
      memcpy(frame, ping, sizeof frame);
      frame[9] = (uint8_t)(8 * i + j);
      pump_client_send(&clients[j], frame, sizeof frame);
      assert_int_equal(pump_end_receive(ends[j], scratch, sizeof frame, &last), sizeof frame);
      assert_memory_equal(scratch, frame, sizeof frame);
    }
  for (int i = 0; i < 8; i++)
    pump_client_close(&clients[i]);
  for (int i = 0; i < 8; i++) {
    assert_end_is_over(ends[i]);
    pump_fixture_end_close(ends[i]);
  }
  pump_client_close(&waiting);
  eventually(pump_fixture_stats(f).open == 0 && pump_fixture_stats(f).waiting == 0);
  struct pump_stats stats = pump_fixture_stats(f);
  assert_int_equal(stats.silent + stats.foreign + stats.handshakes_failed, 0);
}

static void test_counts(void **state) {
  (void)state;
  with_both(counts, (struct pump_options){0});
}

int main(void) {
  signal(SIGPIPE, SIG_IGN); /* BoringSSL's client writes to sockets that the other end has reset */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_preface_in_pieces),
      cmocka_unit_test(test_handshake_given_up),
      cmocka_unit_test(test_refused_by_grpc),
      cmocka_unit_test(test_http1),
      cmocka_unit_test(test_alpn),
      cmocka_unit_test(test_handshake_and_request_in_one_piece),
      cmocka_unit_test(test_neither),
      cmocka_unit_test(test_grpc_closes_on_slow_client),
      cmocka_unit_test(test_client_speaks_after_the_end),
      cmocka_unit_test(test_grpc_closes_with_bytes_for_it),
      cmocka_unit_test(test_client_resets),
      cmocka_unit_test(test_client_closes),
      cmocka_unit_test(test_client_ends_behind_bytes),
      cmocka_unit_test(test_pump_closes),
      cmocka_unit_test(test_pump_says_goodbye),
      cmocka_unit_test(test_offends),
      cmocka_unit_test(test_offends_and_floods),
      cmocka_unit_test(test_offends_and_does_not_read),
      cmocka_unit_test(test_renegotiation),
      cmocka_unit_test(test_end_without_close_notify),
      cmocka_unit_test(test_waits_too_long),
      cmocka_unit_test(test_real_time),
      cmocka_unit_test(test_oldest_gives_way),
      cmocka_unit_test(test_slow_client),
      cmocka_unit_test(test_slow_grpc),
      cmocka_unit_test(test_never_reads),
      cmocka_unit_test(test_does_not_spin),
      cmocka_unit_test(test_is_fair),
      cmocka_unit_test(test_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
