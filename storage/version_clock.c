#include "storage/version_clock.h"

#include <assert.h>

/* Microseconds since 1970 at the time of the build (SOURCE_DATE_EPOCH if that is set), from CMake. */
#ifndef VERSION_CLOCK_BUILD_SECONDS
#error "VERSION_CLOCK_BUILD_SECONDS is not defined"
#endif
static const int64_t build_us = (int64_t)VERSION_CLOCK_BUILD_SECONDS * 1000000;

static int64_t max_of(int64_t a, int64_t b) {
  return a > b ? a : b;
}

void version_clock_init(struct version_clock *clock, struct port *port, bool trusted, int64_t last) {
  assert(last >= 0);
  *clock = (struct version_clock){.port = port, .forced = trusted, .last = last};
  int64_t monotonic_us = port->monotonic_us(port);
  clock->trusted = trusted || port->clock_is_synchronised(port);
  clock->trust_checked_us = monotonic_us;
  if (last == 0)
    clock->last = max_of(port->wall_us(port), build_us);
  clock->base = clock->last;
  clock->base_monotonic_us = monotonic_us;
}

static void trust_refresh(struct version_clock *clock, int64_t monotonic_us) {
  if (monotonic_us - clock->trust_checked_us < VERSION_CLOCK_TRUST_CHECK_US)
    return;
  bool was_trusted = clock->trusted;
  clock->trusted = clock->forced || clock->port->clock_is_synchronised(clock->port);
  clock->trust_checked_us = monotonic_us;
  if (was_trusted && !clock->trusted && clock->has_anchor) {
    clock->base = clock->anchor_wall_us;
    clock->base_monotonic_us = clock->anchor_monotonic_us;
  }
}

int64_t version_clock_now(struct version_clock *clock) {
  int64_t monotonic_us = clock->port->monotonic_us(clock->port);
  trust_refresh(clock, monotonic_us);
  int64_t now;
  if (clock->trusted) {
    now = clock->port->wall_us(clock->port);
    clock->has_anchor = true;
    clock->anchor_wall_us = now;
    clock->anchor_monotonic_us = monotonic_us;
  } else {
    now = clock->base + (monotonic_us - clock->base_monotonic_us);
    if (clock->has_anchor) {
      int64_t limit =
          clock->anchor_wall_us + (monotonic_us - clock->anchor_monotonic_us) + VERSION_CLOCK_SLACK_US;
      if (now > limit)
        now = limit;
    }
  }
  return max_of(now, clock->last);
}

int64_t version_clock_next(struct version_clock *clock) {
  int64_t now = version_clock_now(clock);
  clock->last = max_of(now, clock->last + 1);
  return clock->last;
}

void version_clock_raise(struct version_clock *clock, int64_t floor) {
  clock->last = max_of(clock->last, floor);
}

void version_clock_trust(struct version_clock *clock) {
  clock->forced = true;
  clock->trusted = true;
}
