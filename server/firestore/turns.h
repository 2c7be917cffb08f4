/* Turns on contended documents: help for transactions that lost a race, and nothing that correctness rests
 * on.
 *
 * Transactions lock nothing, so of many that read one document at once all but one are refused at commit;
 * SDKs try again only a few times, and wait for seconds in between. So a transaction that lost before opens a
 * queue on the document that it reads first, and whoever reads that document first while the queue lasts
 * stands in line: each reads when the one before it is over, and does not lose. Without contention there is
 * no queue and nobody waits.
 *
 * Nothing can lock up: a transaction stands in line at most once, before it has read anything, and so holds
 * nothing while it waits; a turn lasts TURN_HELD_MS at most and a wait TURN_WAIT_MS, to the next turns_tick.
 * A queue is known by a hash of its key: two documents in one queue cost time only. Any thread; callbacks run
 * with no lock held. */
#ifndef SKERRY_SERVER_FIRESTORE_TURNS_H
#define SKERRY_SERVER_FIRESTORE_TURNS_H

#include "base/status.h"
#include "base/str.h"
#include "ports/port.h"

enum {
  TURN_HELD_MS = 1000, /* from a read to the commit: a slow phone's round trip, and something to spare */
  TURN_WAIT_MS = 2000, /* well under the deadlines that SDKs set */
};

struct turns;
struct turn_queue;

/* A transaction's place, in its memory. Zeroed: it has none. Private. */
struct turn {
  enum { TURN_NONE, TURN_WAITING, TURN_HELD } state;
  struct turn_queue *queue;
  struct turn *prev, *next;
  int64_t since_us;
  void (*came)(void *argument);
  void *argument;
};

STATUS_MUST_USE status turns_new(struct port *port, struct turns **ret);
void turns_free(struct turns *turns); /* with nobody in it; NULL is allowed */

/* False: go on at once. True: `came(argument)` is called once, when it is the turn's turn or the wait was
 * long enough (perhaps before this returns). Stands in line for the first in order of the keys that have a
 * queue; without one, `opens` makes a queue for the first key, whose turn it is at once. */
bool turns_enter(struct turns *turns, struct turn *turn, const str *keys, size_t count, bool opens,
                 void (*came)(void *argument), void *argument);
/* True: it was waiting, and `came` will not be called. */
bool turns_give_up(struct turns *turns, struct turn *turn);
/* Ends a turn. Does nothing if there is none; one that waits must give up first. */
void turns_leave(struct turns *turns, struct turn *turn);
/* Ends what has lasted too long. To be called about once a second. */
void turns_tick(struct turns *turns);

#endif
