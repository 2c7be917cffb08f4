/* Whether the server is really alive: every queue's thread runs what it is given, and the commit thread
 * commits. What a service manager's watchdog is fed by.
 *
 * From one thread, once a second or so, between the start of the runtimes and their drain. */
#ifndef SKERRY_SERVER_LIFE_H
#define SKERRY_SERVER_LIFE_H

#include <stdatomic.h>

#include "ports/port.h"
#include "rpc/server.h"
#include "storage/kv.h"

/* In the owner's memory, zeroed; stays where it is until the store is closed. */
struct life {
  struct port *port;
  struct rpc_server *rpc, *admin_rpc;
  struct kv_store *store;

  struct kv_txn txn;
  _Atomic int64_t commit_asked_us; /* monotonic; 0: it has answered */
  int64_t told_us;
};

/* Asks everybody for a sign of life who has given the last one. For how long, in microseconds, the one who
 * was asked first owes it, and who that is (static text); 0: nobody does. */
int64_t life_look(struct life *life, const char **ret_who);

/* Looks, and feeds the watchdog of the service manager if all have answered within half of its time;
 * otherwise the log says who has not, and the manager will end the process in its time. */
void life_tick(struct life *life);

/* How long to sleep between two ticks at most, in milliseconds. */
int64_t life_interval_ms(void);

#endif
