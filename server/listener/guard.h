/* The HTTP/2 guard: what strangers send is checked against the protocol (RFC 9113, RFC 7541) and our limits
 * before gRPC core sees it. One guard a connection; it sees the bytes of both directions.
 *
 * It does no I/O: bytes come in, and what is to be written comes out as ranges, most of them ranges of what
 * came in. It changes three things on the way to the server: a request's header block is sent on in frames of
 * its own without padding and priority, RPC_CONNECTION_HEADER is appended to it, and nothing after an offence
 * is sent on. To the client everything goes unchanged, with answers of the guard's own between
 * (Overload).
 *
 * Header blocks are gathered whole (at most GUARD_BLOCK_BYTES_MAX), decoded by nghttp2's inflater, judged,
 * and only then sent on. HPACK has a memory: withholding one block would make later requests decode as
 * something else. So an offence always ends the connection, with a GOAWAY where the way to the client stands
 * between two frames.
 *
 * Overload. Requests that the server would refuse (`turns_away`) are answered here, which costs a small part
 * of what it costs gRPC core. It still has to see their header blocks, for its table; it gets them as blocks
 * of a stream that no client can open, GUARD_SIDE_STREAM, which it decodes and drops. DATA that follows on
 * such a stream is of a stream unknown to it: it counts it against the connection's window and drops it.
 *
 * The lengths of gRPC's messages are looked at (guard_messages.h) for what cannot be, and for how much of
 * incomplete messages a connection makes gRPC core hold. Connections share a budget of that; who takes more
 * than a quarter of it when it runs low is the offender, where gRPC core would end any connection.
 *
 * Rates. What costs the server more than the client (resets, pings, settings, ...) may come in bursts that
 * honest clients send, then at a rate; and each HEADERS and DATA frame of the server's allows some more,
 * because clients answer traffic with pings and window updates.
 *
 * One thread at a time for each guard. Time is given: monotonic microseconds. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_H
#define SKERRY_SERVER_LISTENER_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/memory_budget.h"
#include "base/str.h"
#include "rpc/connection.h"

enum {
  GUARD_FRAME_BYTES_MAX = 16384, /* what our SETTINGS announce, and HTTP/2's smallest */
  GUARD_BLOCK_BYTES_MAX = 16384, /* a header block, compressed, all its frames together */
  /* RPC_CONNECTION_HEADER as HPACK, and what it counts as RFC 9113 counts headers. */
  GUARD_ID_HEADER_BYTES = 3 + sizeof RPC_CONNECTION_HEADER - 1 + RPC_CONNECTION_VALUE_CHARS,
  GUARD_ID_HEADER_COUNTED = GUARD_ID_HEADER_BYTES - 3 + 32,
  GUARD_OUTPUT_RANGES = 64,
  GUARD_OUTPUT_COPIED = 48 * 1024,
  GUARD_OUTPUT_ANSWERS = 16 * 1024,
  GUARD_SIDE_STREAM = 2,
  GUARD_INCOMPLETE_FREE = 65535, /* bytes that a connection may hold in any case: HTTP/2's first window */
};

/* Why a connection was ended. */
enum guard_offence {
  GUARD_NO_OFFENCE,
  GUARD_PREFACE,     /* not HTTP/2's preface, or no SETTINGS after it */
  GUARD_FRAME_SIZE,  /* a frame too large, or of a size that its type does not have */
  GUARD_FRAME,       /* a frame where it must not be, or with impossible contents */
  GUARD_STREAM,      /* a stream id that is even, goes back, or was never opened */
  GUARD_STREAMS,     /* more streams at once than were allowed */
  GUARD_HEADER_SIZE, /* a header block past its limits */
  GUARD_HEADER_CODE, /* a header block that cannot be decoded */
  GUARD_HEADER,      /* a header that must not be, is missing or malformed */
  GUARD_RESETS,      /* from here on: too many of these frames */
  GUARD_PINGS,
  GUARD_SETTINGS,
  GUARD_WINDOW_UPDATES,
  GUARD_PRIORITIES,
  GUARD_EMPTY_FRAMES,
  GUARD_STRAY_FRAMES, /* for streams that are closed */
  GUARD_UNKNOWN_FRAMES,
  GUARD_MESSAGES, /* too much of messages that are not complete */
  GUARD_SLOW,     /* a header block that did not end, or settings that were not acknowledged, in time */
  GUARD_NO_MEMORY,
  GUARD_OFFENCE_COUNT
};
const char *guard_offence_name(enum guard_offence offence); /* "resets": for logs and metrics */

struct guard_options {
  uint32_t streams_max; /* what the server's SETTINGS announce */
  /* Of a request's headers, decoded, as RFC 9113, section 6.5.2 counts them. At least GUARD_ID_HEADER_COUNTED
   * less than what gRPC core allows: past its own limit it closes the connection without a word. */
  uint32_t metadata_bytes_max;
  int64_t patience_us; /* for GUARD_SLOW */
  /* Whether to refuse a request for this path, that arrives now, for so many milliseconds; asked once for
   * each request. NULL: none is refused. */
  bool (*turns_away)(void *argument, str path, int64_t now_us, uint32_t *ret_retry_ms);
  void *argument;
  struct memory_budget *incomplete; /* what all guards may let gRPC core hold, or NULL; outlives them */
};

struct guard;

/* Options are copied. NULL: no memory. */
struct guard *guard_new(const struct guard_options *options, const struct rpc_connection_key *key,
                        int64_t now_us);
void guard_free(struct guard *guard); /* NULL allowed */

/* What is to be written, in order. Ranges point into the bytes that were given, or into `copied`; so it is
 * written, or kept elsewhere, before the next call. One of them serves all connections of a thread. */
struct guard_output {
  struct iovec ranges[GUARD_OUTPUT_RANGES];
  unsigned count;
  size_t bytes; /* of all ranges */
  size_t copied_len;
  uint8_t copied[GUARD_OUTPUT_COPIED];
  /* For the client, to be written before anything that the server sends later. Only if the caller says before
   * the call that the client takes bytes at once: one that reads nothing must not make us keep answers. */
  bool takes_answers;
  size_t answers_len;
  uint8_t answers[GUARD_OUTPUT_ANSWERS];
};

/* Takes bytes from the client and says what goes to the server; returns how many were taken: all, unless
 * `output` (emptied first) is full or there was an offence. After an offence nothing more is taken; what came
 * before it is in `output`. */
size_t guard_from_client(struct guard *guard, int64_t now_us, const uint8_t *bytes, size_t len,
                         struct guard_output *output);

/* Looks at bytes that the server sends; all of them go to the client as they are. */
void guard_from_server(struct guard *guard, int64_t now_us, const uint8_t *bytes, size_t len);

enum guard_offence guard_offence(const struct guard *guard);
const char *guard_why(const struct guard *guard); /* after an offence: a static text for people */
/* After an offence: the GOAWAY frame, with a text for developers, for the client, and before it SETTINGS if
 * the server has sent nothing yet. Returns its length; 0 if the server stands in the middle of a frame or of
 * a header block. Once nothing that the server sent is still on its way. */
enum { GUARD_GOAWAY_BYTES_MAX = 256 };
size_t guard_goaway(const struct guard *guard, uint8_t ret[GUARD_GOAWAY_BYTES_MAX]);

/* To be asked from time to time: true and GUARD_SLOW, if the client let pass what it had time for. */
bool guard_is_overdue(struct guard *guard, int64_t now_us);

unsigned guard_streams_open(const struct guard *guard);

#endif
