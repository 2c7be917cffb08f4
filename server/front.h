/* The front door: everything between the network and the runtime.
 *
 *   development, Unix sockets     listener ------------------------> gRPC core, or the gateway
 *   strangers                     listener -> pump (TLS, guard) ----> gRPC core, or the gateway
 *
 * Strangers are who come over TCP, unless this is development on this machine only. */
#ifndef SKERRY_SERVER_FRONT_H
#define SKERRY_SERVER_FRONT_H

#include "base/status.h"
#include "rpc/server.h"
#include "server/gateway/gateway.h"
#include "server/listener/listener.h"
#include "server/listener/pump.h"
#include "server/settings.h"

struct front;

/* Opens what the settings name (with their profile applied) and serves `rpc`, and through the gateway
 * HTTP/1.1. It closes the gateway, also when it fails; NULL: who speaks HTTP/1.1 is told that this is gRPC.
 * Statuses of listener_open and tls_open. The other pointers outlive it. */
STATUS_MUST_USE status front_open(const struct settings *settings, struct port *port, struct rpc_server *rpc,
                                  struct gateway *gateway, struct front **ret);

const char *front_address(const struct front *front, size_t index); /* as listener_address */

/* Reads the certificates again, and logs how that went. */
void front_reload(struct front *front);
void front_tick(struct front *front); /* about once a second */

struct front_stats {
  struct listener_stats listener;
  struct pump_stats pumps; /* added up */
  struct gateway_stats gateway;
};
void front_stats(struct front *front, struct front_stats *ret);
struct tls; /* NULL: no TLS */
struct tls *front_tls(const struct front *front);

void front_stop_accepting(struct front *front);
/* After the runtime was drained: what is on its way to clients goes out, then everything is closed. NULL
 * allowed. */
void front_close(struct front *front);

#endif
