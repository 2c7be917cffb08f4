/* skerry.test.v1.Echo over the runtime, for tests and the bench: what tests/proto says, in all four kinds of
 * method. Requests without delay_us are answered on the queue's thread; others by a thread of their own,
 * which is how tests reach the paths of calls that are finished from elsewhere. */
#ifndef SKERRY_TESTS_SUPPORT_ECHO_SERVICE_H
#define SKERRY_TESTS_SUPPORT_ECHO_SERVICE_H

#include <stdatomic.h>
#include <stdint.h>

#include "rpc/server.h"

/* Unary calls with `repeat` take so many turns (rpc_call_yield) before they are answered.
 *
 * Zeroed memory is ready. Outlives the server; wait with echo_service_fini before it goes. */
struct echo_service {
  _Atomic int64_t turn_us;    /* how long a turn keeps its thread busy */
  _Atomic uint64_t turns;     /* taken */
  _Atomic uint32_t threads;   /* under way */
  _Atomic uint64_t cancelled; /* `cancelled` events of streams */
  _Atomic uint64_t released;  /* `released` events of streams */
  _Atomic uint64_t refused;   /* sends that found the queue full */
};

status echo_service_add(struct echo_service *echo, struct rpc_server *server);
void echo_service_fini(struct echo_service *echo); /* waits for the threads */

#endif
