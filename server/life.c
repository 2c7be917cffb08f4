#include "server/life.h"

#include "base/log.h"

enum {
  TICK_MS = 1000,
  TICKS_A_WATCHDOG = 8,
  PATIENCE_PARTS = 2,     /* of the watchdog's time */
  TELL_US = 10 * 1000000, /* between two lines of the log */
};

static status commit_nothing(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  (void)argument;
  (void)reader;
  (void)version;
  (void)batch;
  return status_ok();
}

/* Any answer is one: a full disk is no reason to be killed. */
static void commit_answered(void *argument, status result, kv_version version) {
  struct life *life = argument;
  (void)result;
  (void)version;
  atomic_store(&life->commit_asked_us, 0);
}

static int64_t look_at_commits(struct life *life, int64_t now_us) {
  int64_t asked_us = atomic_load(&life->commit_asked_us);
  if (asked_us != 0)
    return now_us - asked_us;
  atomic_store(&life->commit_asked_us, now_us);
  life->txn = (struct kv_txn){.resolve = commit_nothing, .done = commit_answered, .argument = life};
  kv_commit(life->store, &life->txn);
  return 0;
}

int64_t life_look(struct life *life, const char **ret_who) {
  const struct {
    const char *who;
    int64_t owes_us;
  } all[] = {
      {"a queue of calls", rpc_server_pulse(life->rpc)},
      {"the administration's queue", rpc_server_pulse(life->admin_rpc)},
      {"the commit thread", look_at_commits(life, life->port->monotonic_us(life->port))},
  };
  int64_t longest_us = 0;
  *ret_who = "";
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i].owes_us > longest_us) {
      longest_us = all[i].owes_us;
      *ret_who = all[i].who;
    }
  return longest_us;
}

int64_t life_interval_ms(void) {
  uint64_t part_ms = port_watchdog_us() / 1000 / TICKS_A_WATCHDOG;
  return part_ms == 0 || part_ms > TICK_MS ? TICK_MS : (int64_t)part_ms;
}

void life_tick(struct life *life) {
  int64_t watchdog_us = (int64_t)port_watchdog_us();
  if (watchdog_us == 0)
    return;
  const char *who;
  int64_t owes_us = life_look(life, &who), now_us = life->port->monotonic_us(life->port);
  if (owes_us <= watchdog_us / PATIENCE_PARTS) {
    port_notify("WATCHDOG=1");
    return;
  }
  if (life->told_us != 0 && now_us - life->told_us < TELL_US)
    return;
  life->told_us = now_us;
  log_event(LOG_LEVEL_ERROR, "no sign of life: the service manager's watchdog gets none either",
            LOG_CSTR("of", who), LOG_INT("for_ms", owes_us / 1000));
}
