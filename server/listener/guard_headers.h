/* The judge of header blocks: decodes one whole block and says whether gRPC core may see it.
 *
 * A request has :method POST, :scheme http or https, a :path that begins with "/", perhaps :authority, each
 * once, before everything else, and no other pseudo-header (RFC 9113, section 8.3). A trailer has none. Names
 * are lower-case tokens, values hold no control
 * characters (spaces around them are allowed: gRPC lets servers strip them); what concerns a connection (RFC
 * 9113, section 8.2.2) must not be there, `te` says trailers, values of "-bin" names are base64.
 * RPC_CONNECTION_HEADER is ours, and some names are internal to gRPC core
 * (CVE-2023-1428). */
#ifndef SKERRY_SERVER_LISTENER_GUARD_HEADERS_H
#define SKERRY_SERVER_LISTENER_GUARD_HEADERS_H

#include <nghttp2/nghttp2.h>

#include "server/listener/guard_offence.h"

enum guard_headers { GUARD_REQUEST, GUARD_TRAILER };

/* The :path of a request, if it is short enough to be that of a method; otherwise empty. */
enum { GUARD_PATH_BYTES_MAX = 160 };
struct guard_path {
  uint32_t len;
  char bytes[GUARD_PATH_BYTES_MAX];
};

/* `inflater` is the connection's and moves on by this block. GUARD_NO_OFFENCE, GUARD_HEADER_SIZE,
 * GUARD_HEADER_CODE, GUARD_HEADER or GUARD_NO_MEMORY. *ret_path: of a request without offence. */
struct guard_verdict guard_headers_judge(nghttp2_hd_inflater *inflater, enum guard_headers kind,
                                         const uint8_t *block, size_t len, uint32_t bytes_max,
                                         struct guard_path *ret_path);

#endif
