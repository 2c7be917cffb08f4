/* What `skerry` and `skerry-net` say to each other over a socket pair: requests and mails one way, responses
 * the other, in any order, told apart by their ids. No I/O.
 *
 *   frame     length (4 bytes, of the rest), payload
 *   request   kind 1, id (4), timeout_ms (4), body_bytes_max (4), method, url, headers, body
 *   response  kind 2, id (4), http_status (2; 0: there was none), problem, headers, body
 *   mail      kind 3, id (4), timeout_ms (4), tls (1), url, user, password, hello, from, to, message
 *
 * where a text is its length (4 bytes) and its bytes, headers are their number (2 bytes) and name and value
 * of each, and all numbers are big-endian. Both sides trust each other little: everything is bounded, and
 * what is not exactly of this form ends the connection. */
#ifndef SKERRY_NET_PROTOCOL_H
#define SKERRY_NET_PROTOCOL_H

#include "base/str.h"

enum {
  NET_BODY_BYTES_MAX = 256 * 1024,
  NET_HEADERS_MAX = 32,
  NET_HEADER_BYTES_MAX = 8 * 1024, /* name and value of one */
  NET_PROBLEM_BYTES_MAX = 512,
  NET_FRAME_BYTES_MAX = NET_BODY_BYTES_MAX + 128 * 1024, /* without the length */
  NET_FRAME_HEAD_BYTES = 4,
  NET_TIMEOUT_MS_MAX = 60 * 1000,
  NET_MAIL_WORD_BYTES_MAX = 1024, /* user, password, names and addresses, each */
};

struct net_header {
  str name, value;
};

struct net_request {
  uint32_t id;
  uint32_t timeout_ms;     /* 1 to NET_TIMEOUT_MS_MAX, for everything together */
  uint32_t body_bytes_max; /* of the response, at most NET_BODY_BYTES_MAX */
  str method;              /* GET, POST, PUT, PATCH or DELETE */
  str url;
  struct net_header headers[NET_HEADERS_MAX];
  size_t header_count;
  str body;
};

/* What is done about TLS where a mail server does not offer it. */
enum net_tls { NET_TLS_REQUIRED, NET_TLS_IF_OFFERED, NET_TLS_NONE };

/* One mail to one recipient, by SMTP. */
struct net_mail {
  uint32_t id;
  uint32_t timeout_ms; /* as above */
  enum net_tls tls;    /* of smtp; but for NET_TLS_REQUIRED the host has to be allowed so */
  str url;             /* smtp://host:port or smtps://host:port */
  str user, password;  /* empty: it does not sign in */
  str hello;           /* the name that it gives itself */
  str from, to;        /* addresses without brackets; printable ASCII, as all but the next */
  str message;         /* RFC 5322, lines ending in CRLF; at most NET_BODY_BYTES_MAX */
};

struct net_response {
  uint32_t id;
  /* Of a mail: 250, it was taken; 400 to 599, the server refused it with this reply. 0: there was no answer
   * (or one that is not about this mail: the server does not let us in), and `problem` says why. */
  uint16_t http_status;
  str problem;
  struct net_header headers[NET_HEADERS_MAX]; /* names in lower case; further ones are left out */
  size_t header_count;
  str body;
};

/* Appends a whole frame. False: something is too long, or not what a header may be, or there is no memory;
 * then `out` is as before or failed. */
bool net_request_encode(const struct net_request *request, struct buf *out);
bool net_response_encode(const struct net_response *response, struct buf *out);
bool net_mail_encode(const struct net_mail *mail, struct buf *out);

/* Takes the next frame's payload off the front of `bytes`. NET_FRAME_BROKEN: it is longer than frames are. */
enum net_frame { NET_FRAME_INCOMPLETE, NET_FRAME_WHOLE, NET_FRAME_BROKEN };
enum net_frame net_frame_take(str *bytes, str *ret_payload);

/* What they hold borrows from the payload. False: it is not of this form. */
bool net_request_decode(str payload, struct net_request *ret);
bool net_response_decode(str payload, struct net_response *ret);
bool net_mail_decode(str payload, struct net_mail *ret);

/* The first header of that name (lower case); empty: none. */
str net_response_header(const struct net_response *response, str name);

#endif
