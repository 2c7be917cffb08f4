/* What a client may send of each kind of frame that costs the server more than it: a burst, then a rate, and
 * some more for each frame that the server sends. One thread at a time; time is monotonic microseconds. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_RATES_H
#define SKERRY_SERVER_LISTENER_GUARD_RATES_H

#include "server/listener/guard.h"

enum guard_rate {
  GUARD_RATE_RESETS,
  GUARD_RATE_PINGS,
  GUARD_RATE_SETTINGS,
  GUARD_RATE_WINDOW_UPDATES,
  GUARD_RATE_PRIORITIES,
  GUARD_RATE_EMPTY,
  GUARD_RATE_STRAY,
  GUARD_RATE_UNKNOWN,
  GUARD_RATE_COUNT
};

struct guard_rates {
  int32_t left[GUARD_RATE_COUNT];
  int64_t refilled_us;
};

void guard_rates_init(struct guard_rates *rates, int64_t now_us);

/* Whether one more of the kind is left. */
bool guard_rates_has(struct guard_rates *rates, enum guard_rate rate, int64_t now_us);
/* One frame of the kind. GUARD_NO_OFFENCE, or the kind's offence and nothing spent. */
enum guard_offence guard_rates_spend(struct guard_rates *rates, enum guard_rate rate, int64_t now_us);
/* One that the server paid for already: takes from what is left, and is no offence yet. */
void guard_rates_take(struct guard_rates *rates, enum guard_rate rate);
/* The server sent a frame of an answer. */
void guard_rates_earn(struct guard_rates *rates);

#endif
