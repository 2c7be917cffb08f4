/* One connection's state, shared by guard.c (bytes and time) and guard_frames.c (the judge of frames).
 *
 *   PREFACE -> FRAME -> (HELD | BLOCK | PASS) -> FRAME ...        offence: OVER, from anywhere
 *
 *   FRAME  the nine bytes of a frame's header, possibly in pieces
 *   HELD   a short payload that is judged whole: its bytes are kept until all are here
 *   BLOCK  a header block's bytes, gathered over HEADERS and CONTINUATION frames
 *   PASS   a payload that is sent on as it comes */
#ifndef SKERRY_SERVER_LISTENER_GUARD_STATE_H
#define SKERRY_SERVER_LISTENER_GUARD_STATE_H

#include <assert.h>
#include <nghttp2/nghttp2.h>

#include "server/listener/guard_block.h"
#include "server/listener/guard_rates.h"
#include "server/listener/guard_server.h"
#include "server/listener/guard_streams.h"
#include "server/listener/preface.h"

enum {
  GUARD_HELD_BYTES_MAX = 32 * FRAME_SETTING_BYTES, /* settings of one frame; there are eight that we know */
};

enum guard_state { STATE_PREFACE, STATE_FRAME, STATE_HELD, STATE_BLOCK, STATE_PASS, STATE_OVER };

struct guard {
  struct guard_options options;
  enum guard_state state;
  struct guard_verdict verdict;
  bool had_settings;

  /* The frame from the client that is under way. */
  uint8_t header[HTTP2_PREFACE_BYTES]; /* or the preface */
  uint32_t header_len;
  struct guard_frame frame;
  uint32_t left;                  /* of its payload */
  uint32_t data_left;             /* of that, bytes of gRPC's messages on a stream that is open */
  struct guard_messages messages; /* of that stream; kept here, because the frame may end it */
  uint32_t held_len, held_wanted;
  uint8_t held[GUARD_HELD_BYTES_MAX];
  struct guard_block block;

  struct memory_budget incomplete; /* a share of options.incomplete */
  struct guard_streams streams;
  uint32_t stream_last;
  int64_t window; /* of the connection, for the server's DATA */
  nghttp2_hd_inflater *inflater;
  struct guard_rates rates;

  struct guard_server server;
  uint32_t pings_owed, settings_owed; /* acknowledgements */
  int64_t settings_since_us;          /* of the first one owed */
  bool settings_acknowledged;
  bool has_small_table; /* the client wants less of HPACK's table: the server's next block has to say so */

  uint8_t id_header[GUARD_ID_HEADER_BYTES];
};

static inline void guard_state_judge(struct guard *guard, struct guard_verdict verdict) {
  assert(guard->state != STATE_OVER);
  if (verdict.offence == GUARD_NO_OFFENCE)
    return;
  guard->state = STATE_OVER;
  guard->verdict = verdict;
}

static inline void guard_state_offend(struct guard *guard, enum guard_offence offence, const char *why) {
  guard_state_judge(guard, (struct guard_verdict){offence, why});
}

static inline bool guard_state_is_over(const struct guard *guard) {
  return guard->state == STATE_OVER;
}

/* A stream's side ends. What gRPC core held of its message goes with the stream; while a frame of it is under
 * way that is known at the frame's end only. */
static inline void guard_state_end_stream(struct guard *guard, uint32_t id, uint32_t ended) {
  const struct guard_stream *stream = guard_streams_find(&guard->streams, id);
  uint32_t held = stream == NULL ? 0 : stream->messages.held;
  guard_streams_end(&guard->streams, id, ended);
  bool under_way = (guard->state == STATE_PASS || guard->state == STATE_HELD) &&
                   guard->frame.type == FRAME_DATA && guard->frame.stream_id == id;
  if (held > 0 && !under_way && guard_streams_find(&guard->streams, id) == NULL)
    memory_budget_give(&guard->incomplete, held);
}

/* One frame of the kind. */
static inline void guard_state_spend(struct guard *guard, enum guard_rate rate, int64_t now_us) {
  enum guard_offence offence = guard_rates_spend(&guard->rates, rate, now_us);
  if (offence != GUARD_NO_OFFENCE)
    guard_state_offend(guard, offence, "too many frames of one kind");
}

#endif
