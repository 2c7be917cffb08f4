/* A call, as the handler of a service sees it.
 *
 * Owner. The runtime hands a call to the handler, which owns it until it finishes it, exactly once, by
 * rpc_call_reply or rpc_call_finish, at once or later, on this thread or another. After that the handler does
 * not touch it. Whatever happens to the client meanwhile (cancelled, deadline, connection gone), the call
 * stays valid until it is finished; finishing a cancelled call is needed and harmless. A call that is
 * finished twice, or sent to after that, ends the program with a line in the log, where it is noticed; one
 * that is never finished keeps the server from stopping (serve.c waits, then names its method).
 *
 * Threads. Handlers and events run on a completion-queue thread and do not block. The events of one call come
 * one at a time. The functions here may be called from any thread, by the one that owns the call at that
 * time; rpc_call_send, rpc_call_is_cancelled and rpc_call_finish may run while an event of the call runs on
 * another thread.
 *
 * Streams. For RPC_CLIENT_STREAM and RPC_BIDI the generated handlers are `open` (set the state here),
 * `message` (one at a time; the next comes after rpc_call_receive_next) and `half_close`. Responses go
 * through a bounded queue: a refused one is sent again after the `drained` event. */
#ifndef SKERRY_RPC_CALL_H
#define SKERRY_RPC_CALL_H

#ifdef __cplusplus
#error                                                                                                       \
    "Skerry's headers are C11. Write handlers in C files, and call C++ from them by functions that are extern \"C\"."
#endif

#include "base/arena.h"
#include "base/status.h"
#include "rpc/message.h"
#include "rpc/method.h"
#include "rpc/rich_status.h"

struct rpc_call;

/* Where a call came from. Lives as long as the call. Of connections that came through the HTTP/2 guard it is
 * certain whose call it is (rpc/connection.h), so the certificate is proof of identity; of others
 * (development, Unix sockets) the address is for display and limits, and there is no certificate. */
struct rpc_peer {
  char address[64]; /* "127.0.0.1:51234", "[::1]:51234", "unix:pid=12,uid=0" or "unknown" */
  bool is_local_socket;
  bool has_certificate; /* the client showed one, and it was verified */
  uint32_t uid, pid;    /* of the other end of a Unix socket */
  uint64_t connection_id;
  uint8_t certificate_sha256[32];
  char certificate_name[96]; /* its subject's common name, or its first DNS name or e-mail address; cut off */
};

/* ---- The request ---- */

const struct rpc_method *rpc_call_method(const struct rpc_call *call);
void *rpc_call_service(const struct rpc_call *call); /* the `service` given to rpc_server_add_service */
/* Memory for the time of the call; the request lives in it too. Capped: a NULL from it is RESOURCE_EXHAUSTED.
 */
struct arena *rpc_call_arena(struct rpc_call *call);
const struct rpc_peer *rpc_call_peer(const struct rpc_call *call);
/* The first value of a request header; names in lower case, values of "-bin" names decoded. False: there is
 * none. */
bool rpc_call_metadata(const struct rpc_call *call, const char *name, str *ret);
/* Header number `index` from 0, in the order of arrival. False past the end. */
bool rpc_call_metadata_at(const struct rpc_call *call, size_t index, str *ret_name, str *ret_value);
/* Monotonic microseconds (port clock) when the client gives up; INT64_MAX: never. */
int64_t rpc_call_deadline_us(const struct rpc_call *call);
/* The client has gone or its deadline passed: stop working and finish. */
bool rpc_call_is_cancelled(const struct rpc_call *call);
/* Something of the server's that belongs to the call: `release` is called when nobody uses the call any more.
 * Once a call; from the thread that owns it. */
void rpc_call_attach(struct rpc_call *call, void *attached, void (*release)(void *attached));
void *rpc_call_attached(const struct rpc_call *call); /* NULL: nothing */
uint64_t rpc_call_id(const struct rpc_call *call);    /* rpc/request_id.h */
/* It came to a server for administration (rpc_server_options.administration): the caller may do everything.
 */
bool rpc_call_administers(const struct rpc_call *call);
/* Whether the call has taken so long already that the log will tell of it (rpc_server_options.slow_call_ms).
 * A handler that knows why says so: one line of what it did, without contents of documents; in the call's
 * arena, or static. */
bool rpc_call_is_slow(const struct rpc_call *call);
void rpc_call_note(struct rpc_call *call, str note);

/* ---- The response ---- */

/* Response headers, before the first message or the end; trailers, before the end. Name and value are copied;
 * false if they are not valid metadata or there is no room. */
bool rpc_call_add_header(struct rpc_call *call, const char *name, str value);
bool rpc_call_add_trailer(struct rpc_call *call, const char *name, str value);

/* Finishes a unary or client-streaming call with its response. Takes the message. Generated `..._reply`
 * functions encode and call this. */
void rpc_call_reply(struct rpc_call *call, rpc_message *message);

/* Finishes any call; a stream of responses ends with OK or an error, a unary call only with an error. Queued
 * responses go out first if the status is OK. A DATA_LOSS or UNKNOWN of the server's should not reach here
 * for Commit and Write (docs/architecture.md). */
void rpc_call_finish(struct rpc_call *call, status result);
/* As rpc_call_finish of a stream of responses, but queued ones go out first whatever the status: the client
 * has to know how far it came before the error. */
void rpc_call_finish_in_order(struct rpc_call *call, status result);

/* The same with details for `grpc-status-details-bin`. */
void rpc_call_finish_with_details(struct rpc_call *call, status result, const struct rpc_detail *details,
                                  size_t count);

/* Encodes a protobuf-c message for sending. False: no memory. */
bool rpc_message_pack(const ProtobufCMessage *message, rpc_message *ret);

/* ---- Streams of responses ---- */

enum rpc_send {
  RPC_SEND_OK,    /* taken */
  RPC_SEND_FULL,  /* NOT taken: keep it, send it again after `drained` */
  RPC_SEND_CLOSED /* NOT taken, never will be: finish the call */
};

/* Takes the message only if RPC_SEND_OK. A message larger than the whole queue is taken when the queue is
 * empty. */
enum rpc_send rpc_call_send(struct rpc_call *call, rpc_message *message);
/* For a handler or an event, of a unary call or a stream of responses, that has more to do than others should
 * wait for: it returns after this, and `drained` is called once more when the other calls of the queue had
 * their turn: those that yielded before, and whatever has arrived meanwhile. So a thousand calls that yield
 * are slow for each other, not for the rest. Not again before that, nor after a send that found the queue
 * full. From the queue's thread. */
void rpc_call_yield(struct rpc_call *call);
/* Has `drained` called soon, on the queue's thread: for a call that waits for something, once it is there.
 * Any thread, of a call that others cannot finish meanwhile; not again before that. */
void rpc_call_wake(struct rpc_call *call);
/* Between the two, what is sent gathers, as it does while a handler runs: several messages that are made at
 * once by another thread go out in one write. Short, and before the finish. */
void rpc_call_cork(struct rpc_call *call);
void rpc_call_uncork(struct rpc_call *call);
/* Bytes that wait in the queue now. */
size_t rpc_call_send_queue_bytes(const struct rpc_call *call);

/* ---- Streams of requests ---- */

/* Asks for the next message; the one before, and its memory, end here. Called by the runtime once before the
 * first message. */
void rpc_call_receive_next(struct rpc_call *call);

/* ---- Events and state ---- */

struct rpc_call_events {
  /* The queue was full and is now at most half full, or the handler yielded, or somebody woke the call. */
  void (*drained)(struct rpc_call *call, void *state);
  void (*cancelled)(struct rpc_call *call,
                    void *state); /* once, also if it was cancelled before rpc_call_watch */
  void (*released)(void *state);  /* after the finish, when no event will touch `state`: free it here */
};

/* Any member may be NULL. At most once a call, before it is finished; `events` is static. */
void rpc_call_watch(struct rpc_call *call, const struct rpc_call_events *events, void *state);
void *rpc_call_state(const struct rpc_call *call); /* what rpc_call_watch got; NULL before */

#endif
