/* One request over HTTP and its answer, between libmicrohttpd's thread and whoever answers.
 *
 *   HEAD -> BODY -> WORKING -> ANSWERING -> over
 *
 * libmicrohttpd's thread reads; when the request is complete it is dispatched (gateway_inside.h), and the
 * connection sleeps until somebody answers, from any thread. An answer is whole, or a stream of pieces with
 * room for EXCHANGE_ROOM_BYTES; a stream that is complete before libmicrohttpd has begun with it goes out
 * whole.
 *
 * The mutex guards what follows it. libmicrohttpd's suspend and resume are called with it held. */
#ifndef SKERRY_SERVER_GATEWAY_EXCHANGE_H
#define SKERRY_SERVER_GATEWAY_EXCHANGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/memory_budget.h"
#include "rpc/call.h"

struct MHD_Connection;
struct rpc_deflater;
struct gateway;
struct connection;

enum { EXCHANGE_ROOM_BYTES = 256 * 1024, EXCHANGE_ARENA_BYTES = 64 * 1024, EXCHANGE_VERB_BYTES = 16 };

/* Who answers. */
struct exchange_owner {
  void (*room)(void *owner); /* of a stream that found none: there is again. Any thread */
  void (*over)(void *owner); /* once: the answer has gone out, or the client has gone. Not for owners that
                                were set after that */
};

struct exchange {
  struct gateway *gateway;
  struct connection
      *connection; /* libmicrohttpd's thread's: it may be closed while others have the exchange */
  _Atomic uint32_t refs;
  uint64_t id; /* rpc/request_id.h: the answer has it, and the log */
  struct rpc_peer peer;

  /* The request: libmicrohttpd's thread's, and its owner's. */
  str target; /* as it was sent, NUL-terminated, with the query */
  str path, query;
  char verb[EXCHANGE_VERB_BYTES];
  struct buf body;
  _Atomic size_t body_received;
  bool began, dispatched, body_too_large, body_no_memory, accepts_gzip, wants_close;
  bool is_lenient; /* for a service of gateway_options.lenient_services */
  bool is_form;    /* then its body may be one */
  struct arena arena;

  pthread_mutex_t mutex;
  struct MHD_Connection *mhd; /* NULL: over */
  const struct exchange_owner *owner;
  void *owner_state;
  unsigned http_status;
  const char *content_type; /* static */
  struct buf headers;       /* "Name\0value\0"... */
  struct buf out;
  size_t out_at;
  struct rpc_deflater *deflater; /* of a stream that is compressed; of who answers */
  bool answered;                 /* http_status and headers stand */
  bool is_stream;                /* more may come */
  bool aborted;                  /* the connection is to be cut */
  bool suspended;
  bool room_wanted;
  size_t charged; /* to the gateway's memory */
};

void exchange_ref(struct exchange *ex);
void exchange_unref(struct exchange *ex);

/* A request header, NULL: none. Before the dispatch has returned only. */
const char *exchange_header(const struct exchange *ex, const char *name);
void exchange_each_header(const struct exchange *ex, void (*visit)(void *argument, str name, str value),
                          void *argument);

/* Sets who answers, once, before anything is answered. False: it is over already, and nobody will hear. */
bool exchange_own(struct exchange *ex, const struct exchange_owner *owner, void *state);
/* The owner gives it back. False: it is over, and `over` was called or is about to be. */
bool exchange_disown(struct exchange *ex);

/* Before the answer; the name has no NUL, and characters that end lines are refused. */
void exchange_add_header(struct exchange *ex, str name, str value);
/* The whole answer. Takes the body's memory. */
void exchange_answer(struct exchange *ex, unsigned http_status, const char *content_type, struct buf *body);
void exchange_answer_text(struct exchange *ex, unsigned http_status, const char *content_type, str body);

void exchange_begin(struct exchange *ex, unsigned http_status, const char *content_type); /* of a stream */
/* False: no room, and `room` will be called. The bytes are taken in any case. */
bool exchange_put(struct exchange *ex, str bytes);
void exchange_end(struct exchange *ex);
/* Cuts the connection: what was said so far cannot be ended properly. */
void exchange_abort(struct exchange *ex);

#endif
