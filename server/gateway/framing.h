/* How a request's headers frame its body (RFC 9112, section 6), so strictly that whoever stands in front of
 * this server and read them before cannot have read them otherwise: libmicrohttpd takes the first of two
 * lengths, and chunks before a length. No I/O. */
#ifndef SKERRY_SERVER_GATEWAY_FRAMING_H
#define SKERRY_SERVER_GATEWAY_FRAMING_H

#include "base/str.h"

struct framing {
  uint64_t length; /* 0: none is given */
  bool accepts_gzip;
  bool has_length, has_chunks, is_http_1_0;
  unsigned hosts;
  const char *wrong;
};

void framing_init(struct framing *framing, const char *version);
/* For each header; `argument` is the framing. */
void framing_header(void *argument, str name, str value);
/* After all: what cannot be, as a sentence; NULL: all is well. */
const char *framing_wrong(const struct framing *framing);

#endif
