/* What happened to accounts since the start, for metrics. Nothing of it was chosen by a client. Any thread.
 */
#ifndef SKERRY_SERVER_IDENTITY_COUNTS_H
#define SKERRY_SERVER_IDENTITY_COUNTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* How somebody came to an account, or to another token. */
enum identity_way {
  IDENTITY_NO_WAY,
  IDENTITY_ANONYMOUS,
  IDENTITY_PASSWORD,
  IDENTITY_EMAIL_LINK,
  IDENTITY_CUSTOM_TOKEN,
  IDENTITY_PROVIDER,
  IDENTITY_SECOND_FACTOR,
  IDENTITY_REFRESH,
  IDENTITY_ADMINISTRATOR,
  IDENTITY_WAYS
};
enum identity_result {
  IDENTITY_OK,
  IDENTITY_HALF,    /* a second factor is needed */
  IDENTITY_AGAIN,   /* a refresh whose answer was perhaps lost */
  IDENTITY_WRONG,   /* credentials */
  IDENTITY_REUSED,  /* a spent refresh token: the session ended */
  IDENTITY_LIMITED, /* too many attempts, or the server has too much to do */
  IDENTITY_REFUSED, /* a disabled account, or what the settings do not allow */
  IDENTITY_FAILED,  /* the server's fault, or the client went away */
  IDENTITY_RESULTS
};
enum identity_end { IDENTITY_BY_OWNER, IDENTITY_BY_ADMINISTRATOR, IDENTITY_BY_AGE, IDENTITY_ENDS };

const char *identity_way_name(enum identity_way way);
const char *identity_result_name(enum identity_result result);
const char *identity_end_name(enum identity_end end);
/* What a call that fails so comes to. */
enum identity_result identity_result_of(enum status_code code);
/* Whether calls of that way can end so. */
bool identity_result_occurs(enum identity_way way, enum identity_result result);

struct identity_counts {
  _Atomic uint64_t calls[IDENTITY_WAYS][IDENTITY_RESULTS]; /* sign-ins and refreshes */
  _Atomic uint64_t made[IDENTITY_WAYS];                    /* accounts */
  _Atomic uint64_t deleted[IDENTITY_ENDS];
};

static inline void identity_count(_Atomic uint64_t *count, uint64_t more) {
  atomic_fetch_add_explicit(count, more, memory_order_relaxed);
}

#endif
