#include "server/listener/guard_streams.h"

#include <assert.h>
#include <stdlib.h>

enum { CAPACITY_FIRST = 16, CAPACITY_KEPT = 64 /* while no stream is open */ };

/* Ids go up by two; the multiplication spreads them over the places. */
static uint32_t home(const struct guard_streams *streams, uint32_t id) {
  return (id * 0x9e3779b1U >> 16) & (streams->capacity - 1);
}

/* The stream's place, or the free one where it would stand. There is always a free one. */
static uint32_t place_of(const struct guard_streams *streams, uint32_t id) {
  uint32_t at = home(streams, id);
  while (streams->places[at].id != 0 && streams->places[at].id != id)
    at = (at + 1) & (streams->capacity - 1);
  return at;
}

void guard_streams_fini(struct guard_streams *streams) {
  free(streams->places);
  *streams = (struct guard_streams){0};
}

static bool grow(struct guard_streams *streams) {
  struct guard_streams grown = {.capacity = streams->capacity == 0 ? CAPACITY_FIRST : streams->capacity * 2,
                                .count = streams->count};
  grown.places = calloc(grown.capacity, sizeof *grown.places);
  if (grown.places == NULL)
    return false;
  for (uint32_t i = 0; i < streams->capacity; i++)
    if (streams->places[i].id != 0)
      grown.places[place_of(&grown, streams->places[i].id)] = streams->places[i];
  free(streams->places);
  *streams = grown;
  return true;
}

bool guard_streams_open_one(struct guard_streams *streams, uint32_t id) {
  assert(id != 0 && guard_streams_find(streams, id) == NULL);
  if ((streams->count + 1) * 4 > streams->capacity * 3 && !grow(streams))
    return false;
  streams->places[place_of(streams, id)] = (struct guard_stream){.id = id};
  streams->count++;
  return true;
}

struct guard_stream *guard_streams_find(const struct guard_streams *streams, uint32_t id) {
  if (streams->count == 0)
    return NULL;
  struct guard_stream *stream = &streams->places[place_of(streams, id)];
  return stream->id == id ? stream : NULL;
}

/* Those behind the gap move up if it lies between their home and them, so that searches still reach them. */
static void take_out(struct guard_streams *streams, uint32_t gap) {
  uint32_t mask = streams->capacity - 1;
  for (uint32_t at = (gap + 1) & mask; streams->places[at].id != 0; at = (at + 1) & mask) {
    uint32_t from_home = (at - home(streams, streams->places[at].id)) & mask;
    if (from_home >= ((at - gap) & mask)) {
      streams->places[gap] = streams->places[at];
      gap = at;
    }
  }
  streams->places[gap] = (struct guard_stream){0};
  streams->count--;
}

void guard_streams_end(struct guard_streams *streams, uint32_t id, uint32_t ended) {
  struct guard_stream *stream = guard_streams_find(streams, id);
  if (stream == NULL)
    return;
  stream->ended |= ended;
  if (stream->ended != GUARD_ENDED)
    return;
  take_out(streams, (uint32_t)(stream - streams->places));
  if (streams->count == 0 && streams->capacity > CAPACITY_KEPT)
    guard_streams_fini(streams);
}
