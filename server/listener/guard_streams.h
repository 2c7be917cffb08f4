/* Which streams of a connection are open, and which side has ended. Client's ids only: odd, never 0. Small
 * while few are open. One thread at a time. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_STREAMS_H
#define SKERRY_SERVER_LISTENER_GUARD_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/listener/guard_messages.h"

enum { GUARD_ENDED_BY_CLIENT = 1, GUARD_ENDED_BY_SERVER = 2, GUARD_ENDED = 3 };

struct guard_stream {
  uint32_t id; /* 0: a free place */
  uint32_t ended;
  struct guard_messages messages; /* from the client */
};

/* Zeroed: none are open. */
struct guard_streams {
  struct guard_stream *places; /* open addressing; a power of two */
  uint32_t capacity, count;
};

void guard_streams_fini(struct guard_streams *streams);

/* `id` is not open yet. False: no memory. */
bool guard_streams_open_one(struct guard_streams *streams, uint32_t id);
/* NULL: it is not open. Until the next change of the table. */
struct guard_stream *guard_streams_find(const struct guard_streams *streams, uint32_t id);
/* One side ended, or both. Once both have, the stream is not open any more. Nothing if it is not open. */
void guard_streams_end(struct guard_streams *streams, uint32_t id, uint32_t ended);

#endif
