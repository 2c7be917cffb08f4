/* What fetch.c and fetch_mail.c share: one transfer of libcurl's. */
#ifndef SKERRY_NET_FETCH_INSIDE_H
#define SKERRY_NET_FETCH_INSIDE_H

#include <curl/curl.h>

#include "net/fetch.h"

/* One request or mail under way. */
struct transfer {
  struct fetch *fetch;
  CURL *easy; /* NULL: the place is free */
  bool is_mail;
  struct curl_slist *headers; /* of a mail: the recipient */
  uint32_t id;
  size_t body_bytes_max;
  struct buf url, request_body, body;
  size_t request_sent;     /* of a mail's text */
  struct buf header_bytes; /* names and values, one after the other */
  size_t name_len[NET_HEADERS_MAX], value_len[NET_HEADERS_MAX], header_count;
  bool too_large;
  char problem[CURL_ERROR_SIZE];
};

/* What holds for every transfer: certificates are checked, and the proxy, if the URL's host is not this
 * machine. */
bool fetch_set_up_safety(const struct fetch_options *options, const struct url *url, CURL *easy);

/* Sets up a mail whose URL and TLS are allowed. False: no memory. */
bool fetch_mail_set_up(struct transfer *transfer, const struct net_mail *mail, const struct url *url);
/* What became of it, as protocol.h has it: a reply, or 0 and *ret_problem. */
uint16_t fetch_mail_outcome(const struct transfer *transfer, CURLcode result, const char **ret_problem);

#endif
