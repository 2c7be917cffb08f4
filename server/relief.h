/* Gives memory back before the kernel kills: while the control group or the machine is short of memory,
 * caches shrink in steps, and what is free goes back to the system; when it has been at ease for a while they
 * grow again, likewise in steps. Nothing is refused for it and nothing is lost: reads get slower. */
#ifndef SKERRY_SERVER_RELIEF_H
#define SKERRY_SERVER_RELIEF_H

#include "base/status.h"
#include "ports/port.h"
#include "storage/kv.h"

struct tokens;

/* ---- When: without I/O, for tests ---- */

enum { RELIEF_LEVEL_MAX = 3 };
struct relief_state {
  unsigned level;                /* 0: caches have all of theirs */
  int64_t changed_us, uneasy_us; /* monotonic: the last step, the last time without ease */
};
/* What to do at `now_us`, seeing `pressure`: -1 a step down (level has risen), 1 a step up, 0 nothing. */
int relief_judge(struct relief_state *state, const struct port_pressure *pressure, int64_t now_us);
/* What caches keep at a level, in sixteenths. */
unsigned relief_sixteenths(unsigned level);

/* ---- The thread ---- */

struct relief;
struct relief_options {
  struct port *port;
  struct kv_store *store;
  struct tokens *tokens; /* NULL: none */
};

/* RESOURCE_EXHAUSTED: no thread. */
STATUS_MUST_USE status relief_start(const struct relief_options *options, struct relief **ret);
void relief_stop(struct relief *relief); /* within about a second; NULL allowed */

struct relief_info {
  unsigned level;
  uint64_t steps_down;              /* ever */
  uint64_t used_bytes, limit_bytes; /* of the control group or machine that is fullest; 0: not told */
};
/* Any thread. */
void relief_info(struct relief *relief, struct relief_info *ret);

#endif
