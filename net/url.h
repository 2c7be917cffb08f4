/* Absolute http and https URLs (RFC 3986), as far as outgoing requests need them, and smtp and smtps in the
 * same form: strictly taken apart, so that what is checked here and what libcurl connects to are the same. */
#ifndef SKERRY_NET_URL_H
#define SKERRY_NET_URL_H

#include "base/str.h"

enum { URL_BYTES_MAX = 2048, URL_HOST_BYTES_MAX = 253 };

/* SMTP: with STARTTLS; SMTPS: with TLS from the first byte. */
enum url_scheme { URL_HTTP, URL_HTTPS, URL_SMTP, URL_SMTPS };

/* Borrows from the text. */
struct url {
  enum url_scheme scheme;
  str host;      /* a DNS name, an IPv4 address, or an IPv6 address in its brackets */
  uint16_t port; /* 443, 80, 587 or 465 if the text has none */
  str target;    /* path and query, empty or from the "/" on */
};

/* False: it is not http or https, has a user, a fragment, a character that is not printable ASCII, a host
 * that is no name and no address, or it is longer than URL_BYTES_MAX. */
bool url_parse(str text, struct url *ret);
/* The same for smtp and smtps, without a target. */
bool url_parse_mail(str text, struct url *ret);

/* Scheme, host (in any case of letters) and port are the same. */
bool url_same_origin(const struct url *a, const struct url *b);

/* Whether the host is this machine: "localhost", 127.0.0.0/8 or [::1]. */
bool url_is_loopback(const struct url *url);

/* "https://host:port", in lower case. */
void url_append_origin(const struct url *url, struct buf *out);

#endif
