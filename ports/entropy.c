#include <time.h>

#include "ports/port.h"

enum { ASK_MS = 100 };

status port_entropy_await(struct port *port, int64_t most_ms, void (*waits)(void)) {
  if (port->entropy_is_ready(port))
    return status_ok();
  if (waits != NULL)
    waits();
  for (int64_t waited_ms = 0; waited_ms < most_ms; waited_ms += ASK_MS) {
    nanosleep(&(struct timespec){.tv_nsec = ASK_MS * 1000000L}, NULL);
    if (port->entropy_is_ready(port))
      return status_ok();
  }
  return status_make(
      STATUS_UNAVAILABLE,
      "The kernel has no random numbers yet (%lld s after they were asked for), and without them no key "
      "and no token is safe. Give the box a source: a hardware generator (rng-tools), or a seed that is "
      "kept over restarts (systemd-random-seed.service).",
      (long long)(most_ms / 1000));
}
