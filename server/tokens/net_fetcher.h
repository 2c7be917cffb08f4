/* issuers_fetcher over skerry-net (net/client.h). */
#ifndef SKERRY_SERVER_TOKENS_NET_FETCHER_H
#define SKERRY_SERVER_TOKENS_NET_FETCHER_H

#include "net/client.h"
#include "server/tokens/issuers.h"

/* `client` outlives it. */
struct issuers_fetcher net_fetcher(struct net_client *client);

#endif
