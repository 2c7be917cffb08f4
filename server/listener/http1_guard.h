/* What a stranger sends as HTTP/1.1, looked at before the gateway's library sees it: where requests begin and
 * end, in one way only (RFC 9112). What another reader could take otherwise is refused, because somebody in
 * front of this server may be that reader: bare CR and LF, lines that go on in the next, NUL and other
 * controls, names with spaces, two lengths, a length and chunks, encodings other than "chunked".
 *
 * No I/O, no allocation. Bytes come in any pieces. */
#ifndef SKERRY_SERVER_LISTENER_HTTP1_GUARD_H
#define SKERRY_SERVER_LISTENER_HTTP1_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP1_LINE_KEPT = 48, HTTP1_TAIL_KEPT = 9, HTTP1_HEAD_BYTES_MAX = 128 * 1024 };

enum http1_state {
  HTTP1_REQUEST_LINE,
  HTTP1_HEADERS,
  HTTP1_BODY,
  HTTP1_CHUNK_LINE,
  HTTP1_CHUNK,
  HTTP1_CHUNK_END, /* the line end behind a chunk */
  HTTP1_TRAILERS
};

/* Zeroed memory is a connection that has said nothing. Read `requests`; the rest is private. */
struct http1_guard {
  enum http1_state state;
  uint64_t requests; /* whose head is complete */
  uint64_t left;     /* of the body or the chunk */
  size_t head_bytes, line_len;
  bool saw_cr, in_name, has_length, has_chunks;
  unsigned spaces;
  char line[HTTP1_LINE_KEPT]; /* its beginning */
  char tail[HTTP1_TAIL_KEPT]; /* its end: byte n at n % HTTP1_TAIL_KEPT */
};

/* Whether nothing of a request has come, or all of the last one. */
bool http1_guard_is_between(const struct http1_guard *guard);
/* NULL: all is well. Otherwise what is wrong, static; the connection must end. */
const char *http1_guard_take(struct http1_guard *guard, const uint8_t *bytes, size_t len);

#endif
