/* The clock that versions come from: commit times in microseconds, strictly increasing.
 *
 * A wrong wall clock must not poison a store, since a version that lies far in the future can never be taken
 * back. So the wall clock counts only while it is trusted: by the kernel's word that it is synchronised, or
 * by the operator's. While it is not, versions advance from the last one by the time of the monotonic clock.
 * In no case does a version pass the last trusted time by more than the monotonic time since then plus
 * VERSION_CLOCK_SLACK_US. A trusted clock that lies behind the last version does not pull versions back: they
 * then advance by one.
 *
 * One thread at a time: the owner locks. */
#ifndef SKERRY_STORAGE_VERSION_CLOCK_H
#define SKERRY_STORAGE_VERSION_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "ports/port.h"

#define VERSION_CLOCK_SLACK_US (INT64_C(5) * 60 * 1000000)
/* How long the kernel's word is believed before it is asked again: asking is a system call. */
#define VERSION_CLOCK_TRUST_CHECK_US INT64_C(1000000)

struct version_clock {
  struct port *port;
  bool forced; /* the operator says that the wall clock is right */
  bool trusted;
  int64_t trust_checked_us; /* monotonic */
  bool has_anchor;
  int64_t anchor_wall_us, anchor_monotonic_us; /* the last trusted time, and when it was read */
  int64_t last;                                /* the newest version given out */
  int64_t base, base_monotonic_us; /* where the untrusted clock counts from: a version, and when */
};

/* `last` is the newest version of the store, 0 for an empty one, whose first version is the wall clock's time
 * if that is later than the build of this program, and the time of the build otherwise. */
void version_clock_init(struct version_clock *clock, struct port *port, bool trusted, int64_t last);

/* The time now: never before the last version, never past the rules above. Gives out nothing. */
int64_t version_clock_now(struct version_clock *clock);

/* Gives out the next version: later than every one before. */
int64_t version_clock_next(struct version_clock *clock);

/* No version up to `floor` will be given out any more. It must not lie past version_clock_now. */
void version_clock_raise(struct version_clock *clock, int64_t floor);

/* The operator's word that the wall clock is right. */
void version_clock_trust(struct version_clock *clock);

#endif
