#include "rpc/shedding.h"

#include "rpc/stats.h"

enum { TURNED_AWAY_FEW = 20 /* one for so many calls says nothing */ };

/* Atomic for those who ask; this thread alone writes. */
static int64_t last_us(const struct rpc_shedding *shedding) {
  return atomic_load_explicit(&shedding->last_us, memory_order_relaxed);
}

uint32_t rpc_shedding_level(const struct rpc_shedding *shedding) {
  return atomic_load_explicit(&shedding->level, memory_order_relaxed);
}

void rpc_shedding_init(struct rpc_shedding *shedding, int64_t target_us, const _Atomic uint64_t *turned_away,
                       uint32_t seed) {
  *shedding = (struct rpc_shedding){
      .target_us = target_us,
      .turned_away = turned_away,
      .last_us = INT64_MIN / 2,
      .random = seed * 2654435761U | 1, /* xorshift stays at 0 */
  };
}

static uint64_t turned_away(const struct rpc_shedding *shedding) {
  return shedding->turned_away == NULL ? 0
                                       : atomic_load_explicit(shedding->turned_away, memory_order_relaxed);
}

/* Whether a queue stood in the interval that ends, or would have. */
static bool queue_stood(const struct rpc_shedding *shedding) {
  return shedding->shortest_us > shedding->target_us || shedding->calls_refused > shedding->calls / 2 ||
         turned_away(shedding) - shedding->turned_away_before > shedding->calls / TURNED_AWAY_FEW;
}

static void begin_interval(struct rpc_shedding *shedding, int64_t now_us) {
  shedding->turned_away_before = turned_away(shedding);
  shedding->shortest_us = INT64_MAX;
  shedding->calls = shedding->calls_refused = shedding->busy_answered = 0;
  shedding->busy_us = 0;
  shedding->interval_ends_us = now_us + RPC_SHEDDING_INTERVAL_US;
}

static void set_level(struct rpc_shedding *shedding, uint32_t level) {
  atomic_store_explicit(&shedding->level, level, memory_order_relaxed);
}

static void end_interval(struct rpc_shedding *shedding) {
  if (shedding->busy_us > 0)
    atomic_store_explicit(&shedding->per_second,
                          (uint32_t)(shedding->busy_answered * 1000000LL / shedding->busy_us),
                          memory_order_relaxed);
  uint32_t level = rpc_shedding_level(shedding), higher = level < RPC_SHEDDING_LEVEL_MAX ? level + 1 : level;
  set_level(shedding, queue_stood(shedding) ? higher : 0);
}

/* What the call before took. While a queue stands the thread does not rest, so that is about right; if this
 * call had arrived before that one began, it is certain. */
static void account(struct rpc_shedding *shedding, int64_t now_us, int64_t waited_us) {
  int64_t took_us = now_us - last_us(shedding);
  if (waited_us >= took_us) {
    shedding->busy_us += took_us;
    shedding->busy_answered += shedding->refused_last ? 0 : 1;
  }
  if (shedding->refused_last)
    shedding->refusing_us += took_us;
  else
    shedding->answering_us += took_us;
  shedding->refused_last = false;
  if (shedding->refusing_us + shedding->answering_us > 2 * RPC_SHEDDING_INTERVAL_US) {
    shedding->refusing_us /= 2;
    shedding->answering_us /= 2;
  }
}

void rpc_shedding_note(struct rpc_shedding *shedding, int64_t now_us, int64_t waited_us) {
  /* Nobody came for a whole interval: what was measured before says nothing about now. (Those that came while
   * the process was stopped did come: their wait tells when.) */
  bool was_idle = now_us - waited_us - last_us(shedding) > RPC_SHEDDING_INTERVAL_US;
  if (!was_idle)
    account(shedding, now_us, waited_us);
  atomic_store_explicit(&shedding->last_us, now_us, memory_order_relaxed);
  if (was_idle) {
    shedding->refused_last = false;
    shedding->refusing_us = shedding->answering_us = 0;
    set_level(shedding, 0);
    begin_interval(shedding, now_us);
  } else if (now_us >= shedding->interval_ends_us && shedding->calls >= RPC_SHEDDING_CALLS_MIN) {
    end_interval(shedding);
    begin_interval(shedding, now_us);
  }
  if (waited_us < shedding->shortest_us)
    shedding->shortest_us = waited_us;
  shedding->calls++;
}

bool rpc_shedding_refuses(struct rpc_shedding *shedding, int64_t waited_us) {
  if (rpc_shedding_level(shedding) == 0 || waited_us <= 2 * shedding->target_us)
    return false;
  shedding->calls_refused++; /* or would have been */
  if (shedding->refusing_us > shedding->answering_us / 2)
    return false;
  shedding->refused_last = true;
  counter_add(&shedding->refused, 1);
  return true;
}

uint32_t rpc_shedding_spread_ms(uint32_t bits, uint32_t overload) {
  return RPC_SHEDDING_RETRY_MS_MIN + (bits * 2654435761U >> 8) % (overload * RPC_SHEDDING_RETRY_MS_MIN + 1);
}

uint32_t rpc_shedding_retry_ms(struct rpc_shedding *shedding, uint32_t overload) {
  uint32_t r = shedding->random; /* xorshift32 (Marsaglia): it has to spread, not to surprise */
  r ^= r << 13;
  r ^= r >> 17;
  r ^= r << 5;
  shedding->random = r;
  return rpc_shedding_spread_ms(r, overload);
}

bool rpc_shedding_is_overloaded(const struct rpc_shedding *shedding, int64_t now_us) {
  return rpc_shedding_level(shedding) > 0 && now_us - last_us(shedding) <= RPC_SHEDDING_INTERVAL_US;
}

uint32_t rpc_shedding_per_second(const struct rpc_shedding *shedding) {
  return atomic_load_explicit(&shedding->per_second, memory_order_relaxed);
}

uint64_t rpc_shedding_refused(const struct rpc_shedding *shedding) {
  return atomic_load_explicit(&shedding->refused, memory_order_relaxed);
}
