/* grpc.health.v1: https://github.com/grpc/grpc/blob/master/doc/health-checking.md. Any thread. */
#ifndef SKERRY_RPC_HEALTH_H
#define SKERRY_RPC_HEALTH_H

#include "rpc/server.h"

struct rpc_health;

/* Adds the service to the server; health is known of "" and of the services named here, all NOT_SERVING. The
 * names live as long as the server. */
STATUS_MUST_USE status rpc_health_new(struct rpc_server *server, const struct rpc_service *const *services,
                                      size_t count, struct rpc_health **ret);
void rpc_health_free(struct rpc_health *health); /* after the last call; NULL allowed */

/* A name that is not known is ignored. */
void rpc_health_set(struct rpc_health *health, const char *service, bool serving);

bool rpc_health_get(struct rpc_health *health, const char *service);

/* Everything is NOT_SERVING from now on, watchers hear of it and their streams end. NULL allowed. */
void rpc_health_close(struct rpc_health *health);

#endif
