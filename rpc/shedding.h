/* Whether calls wait too long for their turn, and which of them to turn away. No I/O and no clock: times come
 * in, in microseconds.
 *
 * The idea is controlled delay (CoDel, RFC 8289), as others use it for requests in servers. A burst makes a
 * queue that goes away by itself; refusing helps nobody. A standing queue, one in which even the luckiest
 * call waited, makes every call late and no more calls done. So the shortest wait of an interval decides:
 *
 *   - It was above the target: the method is overloaded, and a call that waited for more than twice the
 *     target is refused. That is cheaper than most answers, so the queue shrinks to about that, and stays
 * above the target for as long as more calls come than can be answered. So the two differ: with one number
 * for both the state would flap, and in each interval of calm the queue would grow long. Where calls take
 * about as long as the target, a lucky one is likely even so: an interval in which most calls waited for more
 *     than twice the target does not end the overload either.
 *   - The HTTP/2 guard turned calls away meanwhile (rpc/gate.h), more than a few: the overload stands.
 * Without them the wait would be what it was.
 *   - Otherwise nobody is refused. There is no limit for calm times: what waited because the process was
 *     stopped, or for one slow handler, is answered best by answering it. If it is more than can be answered
 *     in an interval, the interval says so.
 *
 * The HTTP/2 guard refuses most of them, before gRPC core sees them (rpc/gate.h). Refusals here may take a
 * third of the thread's time and no more: in gRPC core one costs about one and a half times what the answer
 * of an empty call does, and a server that only refuses is of no use. Past that calls are answered although
 * they waited.
 *
 * Each method has a state of its own on each queue's thread. gRPC core keeps the calls that nobody asked for
 * yet in a list for each method: a call of a rare method overtakes the others, and its short wait says
 * nothing about theirs. Only that thread writes; any may ask whether there is overload, and how many calls
 * were refused. */
#ifndef SKERRY_RPC_SHEDDING_H
#define SKERRY_RPC_SHEDDING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
  RPC_SHEDDING_INTERVAL_US = 100000,
  RPC_SHEDDING_CALLS_MIN = 16, /* an interval goes on until it has seen so many */
  RPC_SHEDDING_LEVEL_MAX = 9,
  RPC_SHEDDING_RETRY_MS_MIN = 100, /* and so much more for each level */
};

struct rpc_shedding {
  int64_t target_us;
  int64_t interval_ends_us, shortest_us;
  uint32_t calls, calls_refused; /* of this interval; refused: or would have been */
  uint32_t busy_answered;        /* likewise: calls that were answered while another waited, */
  int64_t busy_us;               /* and the time in which one waited */
  uint32_t random;
  bool refused_last;
  int64_t refusing_us, answering_us; /* until the next call began, lately */
  _Atomic int64_t last_us;           /* when the last call began */
  _Atomic uint32_t level; /* intervals of overload in a row, up to RPC_SHEDDING_LEVEL_MAX; 0: no overload */
  _Atomic uint32_t per_second; /* that can be answered, by the last interval in which calls waited */
  _Atomic uint64_t refused;
  const _Atomic uint64_t *turned_away; /* calls of the method that the gate refused; NULL: there is no gate */
  uint64_t turned_away_before;         /* this interval */
};

/* `seed` makes the states of a process different. `turned_away` may be NULL. */
void rpc_shedding_init(struct rpc_shedding *shedding, int64_t target_us, const _Atomic uint64_t *turned_away,
                       uint32_t seed);
/* A call begins at `now_us`, which does not go back, after it waited for so long. */
void rpc_shedding_note(struct rpc_shedding *shedding, int64_t now_us, int64_t waited_us);
/* Whether to refuse that call; counts it then. Once after each note, at most. */
bool rpc_shedding_refuses(struct rpc_shedding *shedding, int64_t waited_us);
/* How long there has been overload: intervals in a row, up to RPC_SHEDDING_LEVEL_MAX; 0: there is none. */
uint32_t rpc_shedding_level(const struct rpc_shedding *shedding);
/* When a refused client should come back: at random from RPC_SHEDDING_RETRY_MS_MIN on, up to 1000 ms with an
 * overload of RPC_SHEDDING_LEVEL_MAX. */
uint32_t rpc_shedding_retry_ms(struct rpc_shedding *shedding, uint32_t overload);

/* The same from any 32 bits, which need not look random; any thread. */
uint32_t rpc_shedding_spread_ms(uint32_t bits, uint32_t overload);

/* Any thread. A method that nobody calls any more is not overloaded. */
bool rpc_shedding_is_overloaded(const struct rpc_shedding *shedding, int64_t now_us);
/* Calls a second that the thread answers while others wait, as the last interval had it; 0: not known. */
uint32_t rpc_shedding_per_second(const struct rpc_shedding *shedding);
uint64_t rpc_shedding_refused(const struct rpc_shedding *shedding);

#endif
