#include "server/relief.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/tokens/tokens.h"

enum {
  WAIT_MS = 1000,
  /* Of the limit, in sixteenths: from here on it is tight, and from there the kernel is about to kill. Below
   * the third there is ease. */
  TIGHT = 15,
  EASE = 13,
  SIXTEENTHS = 16,
  CRITICAL_PARTS = 32, /* less than such a part is left */
  STEP_DOWN_US = 500 * 1000,
  STEP_UP_US = 30 * 1000 * 1000, /* of ease */
  LEVEL_WITHOUT_TOKENS = 2,
};

int relief_judge(struct relief_state *state, const struct port_pressure *pressure, int64_t now_us) {
  uint64_t limit = pressure->limit_bytes, used = pressure->used_bytes;
  bool known = limit > 0;
  bool critical = known && used > limit - limit / CRITICAL_PARTS;
  bool tight = pressure->stalled || (known && used > limit / SIXTEENTHS * TIGHT);
  bool at_ease = !pressure->stalled && (!known || used < limit / SIXTEENTHS * EASE);
  if (!at_ease)
    state->uneasy_us = now_us;
  if (critical && state->level < RELIEF_LEVEL_MAX) {
    state->level = RELIEF_LEVEL_MAX;
    state->changed_us = now_us;
    return -1;
  }
  if (tight && state->level < RELIEF_LEVEL_MAX &&
      (state->level == 0 || now_us - state->changed_us >= STEP_DOWN_US)) {
    state->level++;
    state->changed_us = now_us;
    return -1;
  }
  if (state->level > 0 && now_us - state->uneasy_us >= STEP_UP_US &&
      now_us - state->changed_us >= STEP_UP_US) {
    state->level--;
    state->changed_us = now_us;
    return 1;
  }
  return 0;
}

unsigned relief_sixteenths(unsigned level) {
  static const unsigned sixteenths[RELIEF_LEVEL_MAX + 1] = {16, 8, 4, 1};
  return sixteenths[level];
}

struct relief {
  struct relief_options options;
  struct relief_state state; /* the thread's */
  pthread_t thread;
  _Atomic bool stop;
  _Atomic unsigned level;
  _Atomic uint64_t steps_down, used_bytes, limit_bytes;
};

static void act(struct relief *relief, int step, const struct port_pressure *pressure) {
  unsigned level = relief->state.level, sixteenths = relief_sixteenths(level);
  kv_caches_limit(relief->options.store, sixteenths);
  if (step < 0) {
    if (level >= LEVEL_WITHOUT_TOKENS && relief->options.tokens != NULL)
      tokens_cache_clear(relief->options.tokens);
    port_memory_trim();
    atomic_fetch_add(&relief->steps_down, 1);
  }
  atomic_store(&relief->level, level);
  log_event(step < 0 ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
            step < 0 ? "memory is short: caches shrink" : "memory is at ease: caches grow",
            LOG_INT("caches_sixteenths", sixteenths), LOG_INT("used_bytes", pressure->used_bytes),
            LOG_INT("limit_bytes", pressure->limit_bytes), LOG_INT("stalled", pressure->stalled));
}

static void *run(void *argument) {
  struct relief *relief = argument;
  struct port *port = relief->options.port;
  pthread_setname_np(pthread_self(), "relief");
  while (!atomic_load(&relief->stop)) {
    struct port_pressure pressure = port->pressure(port, WAIT_MS);
    atomic_store(&relief->used_bytes, pressure.used_bytes);
    atomic_store(&relief->limit_bytes, pressure.limit_bytes);
    int step = relief_judge(&relief->state, &pressure, port->monotonic_us(port));
    if (step != 0)
      act(relief, step, &pressure);
  }
  return NULL;
}

status relief_start(const struct relief_options *options, struct relief **ret) {
  struct relief *relief = calloc(1, sizeof *relief);
  if (relief == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  relief->options = *options;
  if (pthread_create(&relief->thread, NULL, run, relief) != 0) {
    free(relief);
    return status_make(STATUS_RESOURCE_EXHAUSTED, "The thread that watches memory cannot be started.");
  }
  *ret = relief;
  return status_ok();
}

void relief_stop(struct relief *relief) {
  if (relief == NULL)
    return;
  atomic_store(&relief->stop, true);
  pthread_join(relief->thread, NULL);
  free(relief);
}

void relief_info(struct relief *relief, struct relief_info *ret) {
  *ret = (struct relief_info){.level = atomic_load(&relief->level),
                              .steps_down = atomic_load(&relief->steps_down),
                              .used_bytes = atomic_load(&relief->used_bytes),
                              .limit_bytes = atomic_load(&relief->limit_bytes)};
}
