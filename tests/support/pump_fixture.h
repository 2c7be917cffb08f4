/* For tests of the pump: it runs on a simulated clock between strangers over real TCP, with TLS or without,
 * and ends of socketpairs that a test holds in gRPC core's place, or the gateway's. One thread drives both.
 * Whatever fails here fails the test. */
#ifndef SKERRY_TESTS_SUPPORT_PUMP_FIXTURE_H
#define SKERRY_TESTS_SUPPORT_PUMP_FIXTURE_H

#include <openssl/base.h>
#include <pthread.h>

#include "server/listener/pump.h"
#include "tests/support/tls_fixture.h"

enum { PUMP_FIXTURE_MAX = 64 };

struct pump_fixture_end {
  int fd; /* -1: the test closed it */
  struct rpc_connection_key key;
  struct rpc_peer peer;
  unsigned closed; /* how often the pump said so */
};

struct pump_fixture {
  struct tls_fixture tls; /* the clock and the log in any case */
  bool is_tls;
  struct pump *pump; /* NULL: the test closed it */
  int listening, descriptors;
  pthread_mutex_t mutex; /* for what the pump's thread writes: */
  struct pump_fixture_end ends[PUMP_FIXTURE_MAX];
  unsigned end_count;
  unsigned ended[PUMP_FIXTURE_MAX]; /* how often, by the number of the client */
  bool refuses;                     /* the next connections */
  unsigned places; /* of HTTP/1.1: at the gateway; 0: it has none, and the port speaks gRPC only */
  bool makes_room; /* past `places`, by ending somebody */
  bool rests;      /* who speaks HTTP/1.1 and is asked */
  unsigned client_count;
};

/* Zeroed options have defaults that suit a test: patience of 10 s, 100 streams. */
void pump_fixture_open(struct pump_fixture *f, bool is_tls, struct pump_options options);
void pump_fixture_open_http(struct pump_fixture *f, bool is_tls, struct pump_options options,
                            unsigned places);
void pump_fixture_set_http(struct pump_fixture *f, bool makes_room, bool rests);
/* Closes the pump, asserts that every client was said to have ended once, each of gRPC core's connections
 * likewise, and that no descriptor is left. Clients are closed before. */
void pump_fixture_close(struct pump_fixture *f);

struct pump_stats pump_fixture_stats(struct pump_fixture *f);
unsigned pump_fixture_ended(struct pump_fixture *f, unsigned client);
/* Time passes, and the pump looks at the clock. */
void pump_fixture_advance(struct pump_fixture *f, int64_t us);
/* CPU time that the pump's thread has used. */
int64_t pump_fixture_cpu_us(void);
int64_t pump_fixture_real_us(void);
void pump_fixture_nap(void); /* two milliseconds */

/* Waits until `condition` holds, five seconds at most. */
#define eventually(condition)                                                                                \
  do {                                                                                                       \
    for (int eventually_ = 0; eventually_ < 2500 && !(condition); eventually_++)                             \
      pump_fixture_nap();                                                                                    \
    assert_true(condition);                                                                                  \
  } while (0)

/* ---- gRPC core's ends: non-blocking ---- */

/* Number `index`, once it is there. */
struct pump_fixture_end *pump_fixture_end(struct pump_fixture *f, unsigned index);
unsigned pump_fixture_end_count(struct pump_fixture *f);
void pump_fixture_end_close(struct pump_fixture_end *end);
unsigned pump_fixture_closed(struct pump_fixture *f, const struct pump_fixture_end *end);

/* ---- Strangers ---- */

struct pump_client {
  int fd;
  SSL *ssl;         /* NULL: plaintext, or no handshake yet */
  unsigned number;  /* of the ticket */
  size_t retry_len; /* TLS wants to be asked for as much again */
};

/* Zeroed: none of it. */
struct pump_client_options {
  int buffer_bytes; /* of the kernel, on the client's side and on the server's */
  int server_buffer_bytes;
  bool is_raw; /* no TLS handshake, whatever the port speaks */
  bool always_h2;
  const char *alpn;  /* one protocol, or two: "h2", "http/1.1", "h2,http/1.1" */
  uint16_t version;  /* of TLS; 0: any */
  bool in_one_piece; /* the end of the handshake waits for what the test sends (pump_client_release) */
};
struct pump_client pump_client_open(struct pump_fixture *f, struct pump_client_options options);
void pump_client_release(struct pump_client *client);
void pump_client_close(struct pump_client *client);
void pump_client_reset(struct pump_client *client); /* closed with an RST */
/* Says that it sends no more: close_notify and FIN, or FIN. */
void pump_client_end(struct pump_client *client);

/* Of an end of anything that does not block: bytes, 0 at the end of what the other one sends (with TLS only
 * after its close_notify), or one of: */
enum { PUMP_AGAIN = -1, PUMP_BROKEN = -2 };
ptrdiff_t pump_client_write(struct pump_client *client, const void *bytes, size_t len);
ptrdiff_t pump_client_read(struct pump_client *client, void *bytes, size_t len);
ptrdiff_t pump_end_write(const struct pump_fixture_end *end, const void *bytes, size_t len);
ptrdiff_t pump_end_read(const struct pump_fixture_end *end, void *bytes, size_t len);

/* All of it, waiting. */
void pump_client_send(struct pump_client *client, const void *bytes, size_t len);
void pump_end_send(const struct pump_fixture_end *end, const void *bytes, size_t len);
/* Up to `len` bytes, waiting for as many or the end; how many came. *ret_last: of what came after them, as
 * read says. */
size_t pump_client_receive(struct pump_client *client, void *bytes, size_t len, ptrdiff_t *ret_last);
size_t pump_end_receive(const struct pump_fixture_end *end, void *bytes, size_t len, ptrdiff_t *ret_last);

#endif
