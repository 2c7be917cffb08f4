/* For how long an answer may be kept (RFC 9111, sections 4.2 and 5.2.2), as far as documents of keys need it.
 */
#ifndef SKERRY_NET_FRESHNESS_H
#define SKERRY_NET_FRESHNESS_H

#include "net/protocol.h"

/* Seconds from its arrival on: max-age of Cache-Control, or Expires less Date; less Age. 0: not at all
 * (no-store, no-cache). -1: the answer does not say. */
int64_t net_response_lifetime_s(const struct net_response *response);

#endif
