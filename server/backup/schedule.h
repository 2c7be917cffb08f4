/* When the next backup is due. No I/O, no clock of its own.
 *
 *   off            never
 *   every 6h       30m, 6h, 1d: so long after the last one
 *   daily 03:00    at that time of each day, local time
 *
 * What was missed while the server did not run is due at once. The wall clock of a box may be wrong, or jump:
 * so it is not asked alone. If it says that the last backup lies in the future, or has stood still, the
 * monotonic clock decides; and if it jumps forwards, over many days, one backup is due and not many. */
#ifndef SKERRY_SERVER_BACKUP_SCHEDULE_H
#define SKERRY_SERVER_BACKUP_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct schedule {
  enum { SCHEDULE_OFF, SCHEDULE_EVERY, SCHEDULE_DAILY } kind;
  int64_t every_us; /* SCHEDULE_EVERY: 1 minute to 366 days */
  int hour, minute; /* SCHEDULE_DAILY */
};

/* INVALID_ARGUMENT. */
STATUS_MUST_USE status schedule_parse(const char *text, struct schedule *ret);

/* What is known of the last backup that succeeded. Zeroed memory: there is none. */
struct schedule_last {
  int64_t wall_us;     /* when it was made; 0: none */
  bool is_of_this_run; /* then this is known too: */
  int64_t monotonic_us;
};

struct schedule_now {
  int64_t wall_us, monotonic_us;
  int64_t started_monotonic_us; /* when the server started */
};

bool schedule_is_due(const struct schedule *schedule, const struct schedule_last *last,
                     const struct schedule_now *now);

/* How long to wait after so many failures in a row before it is tried again: 5 minutes, doubled up to an
 * hour. */
int64_t schedule_retry_us(unsigned failures);

#endif
