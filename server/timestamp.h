/* Times in messages. */
#ifndef SKERRY_SERVER_TIMESTAMP_H
#define SKERRY_SERVER_TIMESTAMP_H

#include "base/arena.h"
#include "base/wire.h"
#include "google/protobuf/timestamp.pb-c.h"

/* Microseconds since 1970 as a message in the arena. NULL: no memory. */
static inline Google__Protobuf__Timestamp *timestamp_new(struct arena *arena, int64_t time_us) {
  Google__Protobuf__Timestamp *made = ARENA_NEW(arena, Google__Protobuf__Timestamp);
  if (made == NULL)
    return NULL;
  struct wire_timestamp parts = wire_timestamp_from_us(time_us);
  google__protobuf__timestamp__init(made);
  made->seconds = parts.seconds;
  made->nanos = parts.nanos;
  return made;
}

#endif
