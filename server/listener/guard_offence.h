/* Offences: their names (guard_offence_name in guard.h), and how the client is told. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_OFFENCE_H
#define SKERRY_SERVER_LISTENER_GUARD_OFFENCE_H

#include "server/listener/guard.h"

/* What a judge says. `why` is a static text, NULL without an offence. */
struct guard_verdict {
  enum guard_offence offence;
  const char *why;
};

static inline struct guard_verdict guard_innocent(void) {
  return (struct guard_verdict){GUARD_NO_OFFENCE, NULL};
}

/* Writes a GOAWAY with the offence's error code and its text, and an empty SETTINGS before it if the server
 * has sent nothing yet. Returns its length. */
size_t guard_offence_goaway(struct guard_verdict verdict, uint32_t stream_last, bool with_settings,
                            uint8_t ret[GUARD_GOAWAY_BYTES_MAX]);

#endif
