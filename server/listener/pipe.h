/* One stranger's connection: a socket, perhaps TLS on it, the guard, and a socketpair whose other end is gRPC
 * core's. Of HTTP/1.1 the other end is the gateway's, which stands for gRPC core in what follows, and the
 * guard is http1_guard.h.
 *
 *   HANDSHAKE -> PREFACE -> OPEN -> FLUSH -> LINGER -> CLOSED        CLOSED: from anywhere, when the client
 * is gone
 *
 *   HANDSHAKE  TLS only
 *   PREFACE    the first bytes say what is spoken; nothing of the connection exists in gRPC core yet
 *   OPEN       bytes go both ways
 *   FLUSH      gRPC core closed its end, or we ended the connection; the client gets what is left for it
 *   LINGER     the client was told that nothing more comes
 *
 * Of HTTP/1.1 a connection may be OPEN without the socketpair: when everything is answered and nothing more
 * comes for a while, or others need the place, it ends (pipe_rest), and the client's next byte brings
 * another. If there is no place for that, what the client sent waits in line (in_line, pipe_admit).
 *
 * In FLUSH and LINGER what the client still sends is read away: unread, it would make the kernel answer with
 * a reset when we close, and the client might not see what we said.
 *
 * Each direction holds at most one read's worth of bytes that could not be written yet; as long as it does,
 * no more is read for it. So a slow side stops the other one, and a connection without traffic has no
 * buffers.
 *
 * Everything runs on the pump's thread; readiness is level-triggered. */
#ifndef SKERRY_SERVER_LISTENER_PIPE_H
#define SKERRY_SERVER_LISTENER_PIPE_H

#include <openssl/base.h>

#include "server/listener/guard.h"
#include "server/listener/http1_guard.h"
#include "server/listener/preface.h"
#include "server/listener/pump.h"
#include "server/listener/tls.h"

enum {
  PIPE_READ_BYTES = 64 * 1024,
  PIPE_PLAIN_BYTES = PIPE_READ_BYTES + 32 * 1024, /* and what BoringSSL still had of a record */
  PIPE_CIPHER_BYTES = PIPE_READ_BYTES + 64 * 1024,
};

enum pipe_phase { PIPE_HANDSHAKE, PIPE_PREFACE, PIPE_OPEN, PIPE_FLUSH, PIPE_LINGER, PIPE_CLOSED };

/* What the connections of one thread share: used within one event, empty between events. */
struct pipe_thread {
  const struct pump_options *options;
  int epoll;
  size_t line_bytes; /* what those in line hold; how many they are: stats.http_line */
  bool is_ending;    /* those that rest are ended */
  BIO_METHOD *bio_method;
  BIO *bio; /* of all of them: it reads and writes the buffers below */
  struct pump_stats stats;
  const uint8_t *cipher_in; /* for BoringSSL to read */
  size_t cipher_in_len;
  size_t cipher_out_len; /* what BoringSSL wrote, for the client of this event */
  struct guard_output output;
  uint8_t received[PIPE_READ_BYTES];
  uint8_t plain[PIPE_PLAIN_BYTES];
  uint8_t cipher_out[PIPE_CIPHER_BYTES];
};

STATUS_MUST_USE status pipe_thread_init(struct pipe_thread *thread, const struct pump_options *options,
                                        int epoll);
void pipe_thread_fini(struct pipe_thread *thread); /* of a zeroed one: nothing */

struct pipe_pending {
  uint8_t *bytes;
  size_t start, len;
};

struct pipe;
/* What an epoll event points at. */
struct pipe_side {
  struct pipe *pipe;
  int fd; /* -1: closed */
  uint32_t interest;
  bool is_watched; /* in the epoll set */
};

struct pipe {
  struct pipe_thread *thread;
  enum pipe_phase phase;
  struct pipe_side client, grpc;
  struct pipe_pending to_client, to_grpc;
  SSL *ssl;                    /* until nothing more comes for the client */
  struct guard *guard;         /* from OPEN on, as long; NULL if is_http */
  bool is_http, http_answered; /* the gateway has said something */
  struct http1_guard http1;
  void *http;             /* what open_http gave; NULL: it rests, or is not of HTTP/1.1 */
  uint64_t http_requests; /* that were complete when it rested last: they are not the gateway's any more */
  bool http_leaves;       /* it is about to rest: the end of the socketpair is on its way */
  bool in_line;           /* OPEN, without a socketpair, and to_grpc waits for one */
  int64_t http_moved_us;  /* when bytes went last */
  struct rpc_connection_key key;
  bool client_ended; /* it sends no more */
  uint8_t preface[HTTP2_PREFACE_BYTES];
  uint8_t preface_len;
  bool has_spoken;           /* at all */
  const uint8_t *stalled_at; /* the first byte that waited for the client at the last check; NULL: none */
  int64_t stalled_since_us;
  size_t ignored_bytes; /* read in FLUSH and LINGER */
  void *ticket;
  struct rpc_peer peer;
  /* The pump's: */
  int64_t deadline_us;
  int list; /* the one that it stands in */
  struct pipe *previous, *next;
};

/* Takes the descriptor. NULL: no memory; `fd` is closed. */
struct pipe *pipe_new(struct pipe_thread *thread, int fd, const struct rpc_peer *peer, bool always_h2,
                      void *ticket);
/* Does what the events of one side allow. Afterwards look at `phase`. */
void pipe_run(struct pipe *pipe, struct pipe_side *side, uint32_t events, int64_t now_us);
/* Ends it as the guard would have: for connections that wait too long. */
void pipe_check(struct pipe *pipe, int64_t now_us);
/* Ends the socketpair of one that speaks HTTP/1.1 and has nothing under way. False: it cannot. */
bool pipe_rest(struct pipe *pipe);
/* One in line: a place that is free or, `at_any_cost`, that of one who is slow to say what he wants. False:
 * there is none, it stays in line. */
bool pipe_admit(struct pipe *pipe, bool at_any_cost);
/* One in line: is told to try again later, and ends. */
void pipe_turn_away(struct pipe *pipe, int64_t now_us);
/* At once; into CLOSED. `why` NULL: nothing to log. */
void pipe_close(struct pipe *pipe, const char *why);
void pipe_free(struct pipe *pipe); /* closed */

#endif
