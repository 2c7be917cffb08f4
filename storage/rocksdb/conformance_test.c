/* The suite of every driver, over RocksDB: with flushes, compactions, and history that is trimmed under a
 * clock that the test moves. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/kv_conformance.h"
#include "storage/rocksdb/store_internal.h"
#include "storage/rocksdb/test_support.h"

struct fixture {
  char directory[64];
  struct port_simulated *clock; /* NULL: the real one */
  int64_t history_us;
};

static status fixture_open(void *argument, int test, struct kv_store **ret) {
  struct fixture *f = argument;
  char path[128];
  snprintf(path, sizeof path, "%s/%d", f->directory, test);
  struct kv_rocksdb_options options = {.directory = path,
                                       .port = f->clock != NULL ? port_simulated_port(f->clock) : NULL,
                                       .sync = KV_SYNC_RELAXED, /* durability has its own tests */
                                       .memory_bytes = 1 << 20,
                                       .history_us = f->history_us,
                                       .clock_trusted = true};
  return kv_rocksdb_open(&options, ret);
}

static void fixture_disturb(void *argument, struct kv_store *base, unsigned kind) {
  struct fixture *f = argument;
  struct rocks_store *store = rocks_of(base);
  status s = status_ok();
  if (kind % 4 == 0)
    s = engine_flush(store->engine);
  else if (kind % 4 == 1)
    s = engine_compact(store->engine);
  else if (f->clock != NULL && kind % 4 == 2)
    port_simulated_advance(f->clock, (int64_t)kind * 100);
  else
    keeper_round(store);
  if (!status_is_ok(&s)) {
    fprintf(stderr, "disturb: %s\n", s.message);
    abort();
  }
}

int main(void) {
  struct fixture f = {.history_us = 0};
  test_directory_make(f.directory);
  struct kv_conformance suite = {"rocksdb", fixture_open, fixture_disturb, &f, 3};
  int failed = kv_conformance_run(&suite);
  test_directory_remove(f.directory);

  f.clock = test_port_new();
  f.history_us = 400000; /* the disturbances move the clock by up to a quarter of it */
  test_directory_make(f.directory);
  suite = (struct kv_conformance){"rocksdb, history trimmed", fixture_open, fixture_disturb, &f, 6};
  failed += kv_conformance_run(&suite);
  test_directory_remove(f.directory);
  port_simulated_free(f.clock);
  return failed;
}
