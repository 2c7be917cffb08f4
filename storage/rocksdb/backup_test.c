/* Backups of a store: what is in one, what one adds, damage, space, and being stopped. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/rocksdb/backup.h"
#include "storage/rocksdb/store_internal.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

struct place {
  char root[64], data[128], backups[128], restored[128];
  struct port_simulated *port;
  struct kv_store *store;
};

static int setup(void **state) {
  struct place *p = calloc(1, sizeof *p);
  test_directory_make(p->root);
  snprintf(p->data, sizeof p->data, "%s/data", p->root);
  snprintf(p->backups, sizeof p->backups, "%s/backups", p->root);
  snprintf(p->restored, sizeof p->restored, "%s/restored", p->root);
  p->port = test_port_new();
  struct kv_rocksdb_options options = {
      .directory = p->data, .memory_bytes = 4 << 20, .port = port_simulated_port(p->port)};
  assert_status_ok(kv_rocksdb_open(&options, &p->store));
  *state = p;
  return 0;
}

static int teardown(void **state) {
  struct place *p = *state;
  if (p->store != NULL)
    kv_close(p->store);
  port_simulated_free(p->port);
  test_directory_remove(p->root);
  free(p);
  return 0;
}

/* Values that do not compress. */
static void fill(struct kv_store *store, int from, int to, size_t size) {
  char *value = malloc(size), key[32];
  uint32_t noise = (uint32_t)from + 1;
  assert_non_null(value);
  for (int i = from; i < to; i++) {
    kv_version version;
    for (size_t k = 0; k < size; k++)
      value[k] = (char)((noise = noise * 1664525 + 1013904223) >> 24);
    snprintf(key, sizeof key, "key-%06d", i);
    assert_status_ok(test_put(store, str_from_cstr(key), str_make(value, size), &version));
  }
  free(value);
}

static struct kv_backup_options options_for(const struct place *p) {
  return (struct kv_backup_options){.directory = p->backups, .note = STR("a note")};
}

static struct kv_backup_made back_up(struct place *p) {
  struct kv_backup_options options = options_for(p);
  struct kv_backup_made made;
  assert_status_ok(kv_rocksdb_backup(p->store, &options, &made));
  return made;
}

struct listing {
  unsigned count, damaged;
  uint32_t last;
};
static void count_one(void *argument, const struct backup_facts *facts) {
  struct listing *listing = argument;
  listing->count++;
  listing->damaged += facts->damage != NULL;
  listing->last = facts->id;
  if (facts->damage == NULL)
    assert_true(str_eq(facts->note, STR("a note")));
}
static struct listing list(const struct place *p) {
  struct listing listing = {0};
  assert_status_ok(backup_engine_visit(p->backups, count_one, &listing));
  return listing;
}

/* Opens what a backup has, and looks for the keys before `count`, and none after. */
static void expect_restored(struct place *p, uint32_t id, int count) {
  struct layout layout;
  assert_status_ok(layout_begin_restore(p->restored, &layout));
  struct kv_rocksdb_options options = {
      .directory = p->restored, .memory_bytes = 4 << 20, .port = port_simulated_port(p->port)};
  struct kv_store *store;
  assert_status_code(kv_rocksdb_open(&options, &store), STATUS_FAILED_PRECONDITION); /* half of one */
  assert_status_ok(backup_engine_restore(p->backups, id, layout.engine_path));
  assert_status_code(kv_rocksdb_open(&options, &store), STATUS_FAILED_PRECONDITION);
  assert_status_ok(layout_mark_ready(p->restored));
  assert_status_ok(kv_rocksdb_open(&options, &store));
  for (int i = 0; i <= count; i++) {
    char key[32], value[8];
    bool found;
    snprintf(key, sizeof key, "key-%06d", i);
    assert_status_ok(test_get(store, str_from_cstr(key), value, sizeof value, &found));
    assert_int_equal(found, i < count);
  }
  kv_close(store);
  test_directory_remove(p->restored);
}

static void each_backup_has_its_moment(void **state) {
  struct place *p = *state;
  fill(p->store, 0, 100, 100);
  struct kv_backup_made first = back_up(p);
  fill(p->store, 100, 150, 100);
  struct kv_backup_made second = back_up(p);
  fill(p->store, 150, 200, 100);
  assert_true(second.id > first.id);
  assert_int_equal(list(p).count, 2);
  assert_status_ok(backup_engine_verify(p->backups, first.id, 0, NULL, NULL));
  assert_status_ok(backup_engine_verify(p->backups, second.id, 0, NULL, NULL));
  expect_restored(p, first.id, 100);
  expect_restored(p, second.id, 150);
}

static void a_second_backup_copies_what_is_new(void **state) {
  struct place *p = *state;
  fill(p->store, 0, 2000, 4096);
  struct kv_backup_made first = back_up(p);
  assert_true(first.copied_bytes > 8000000);
  fill(p->store, 2000, 2010, 4096);
  struct kv_backup_made second = back_up(p);
  assert_true(second.copied_bytes < 1000000);
  uint32_t ids[] = {first.id};
  assert_status_ok(backup_engine_delete(p->backups, ids, 1));
  assert_int_equal(list(p).count, 1);
  expect_restored(p, second.id, 2010); /* the shared files are still there */
}

/* The first file of a directory: damages it, or cuts it. */
static void damage_file(const char *directory, bool cut, char *name, size_t capacity) {
  DIR *d = opendir(directory);
  assert_non_null(d);
  struct dirent *entry;
  do
    entry = readdir(d);
  while (entry != NULL && entry->d_name[0] == '.');
  assert_non_null(entry);
  snprintf(name, capacity, "%s", entry->d_name);
  int fd = openat(dirfd(d), name, O_RDWR);
  assert_true(fd >= 0);
  char byte;
  assert_int_equal(pread(fd, &byte, 1, 100), 1);
  byte = (char)~byte;
  assert_int_equal(pwrite(fd, &byte, 1, 100), 1);
  if (cut)
    assert_int_equal(ftruncate(fd, 50), 0);
  close(fd);
  closedir(d);
}

static void damage_is_found_and_named(void **state) {
  struct place *p = *state;
  char shared[512], name[256];
  fill(p->store, 0, 100, 100);
  struct kv_backup_made made = back_up(p);
  snprintf(shared, sizeof shared, "%s/shared_checksum", p->backups);
  damage_file(shared, false, name, sizeof name);
  status s = backup_engine_verify(p->backups, made.id, 0, NULL, NULL);
  assert_int_equal(s.code, STATUS_DATA_LOSS);
  assert_non_null(strstr(s.message, name));
  struct layout layout;
  assert_status_ok(layout_begin_restore(p->restored, &layout));
  assert_status_code(backup_engine_restore(p->backups, made.id, layout.engine_path), STATUS_DATA_LOSS);
  test_directory_remove(p->restored);
  damage_file(shared, true, name, sizeof name);
  s = backup_engine_verify(p->backups, made.id, 0, NULL, NULL);
  assert_int_equal(s.code, STATUS_DATA_LOSS);
  assert_non_null(strstr(s.message, name));
  snprintf(shared, sizeof shared, "%s/shared_checksum/%s", p->backups, name);
  assert_int_equal(list(p).damaged, 0);
  assert_int_equal(unlink(shared), 0);
  assert_int_equal(list(p).damaged, 1); /* this is seen without reading */
  s = backup_engine_verify(p->backups, made.id, 0, NULL, NULL);
  assert_int_equal(s.code, STATUS_DATA_LOSS);
  assert_non_null(strstr(s.message, name));
}

struct stopper {
  uint64_t stop_at, seen;
  struct port_simulated *fills; /* at that byte */
  struct port_disk full;
};
static bool goes_on(void *argument, uint64_t bytes_done, uint64_t bytes_total) {
  struct stopper *stopper = argument;
  assert_true(bytes_done <= bytes_total);
  stopper->seen = bytes_done;
  if (bytes_done < stopper->stop_at)
    return true;
  if (stopper->fills == NULL)
    return false;
  port_simulated_set_disk(stopper->fills, stopper->full);
  return true;
}

static uint64_t bytes_below(const char *path) {
  char command[256];
  snprintf(command, sizeof command,
           "find %s -type f -printf '%%s\\n' | awk '{ n += $1 } END { print n + 0 }'", path);
  FILE *out = popen(command, "r");
  uint64_t bytes = 0;
  assert_non_null(out);
  assert_int_equal(fscanf(out, "%" SCNu64, &bytes), 1);
  pclose(out);
  return bytes;
}

static void a_stopped_backup_leaves_nothing(void **state) {
  struct place *p = *state;
  fill(p->store, 0, 1000, 4096);
  struct stopper stopper = {.stop_at = 1000000};
  struct kv_backup_options options = options_for(p);
  struct kv_backup_made made;
  options.goes_on = goes_on;
  options.argument = &stopper;
  assert_status_code(kv_rocksdb_backup(p->store, &options, &made), STATUS_CANCELLED);
  assert_true(stopper.seen >= 1000000 && stopper.seen < 2000000);
  assert_int_equal(list(p).count, 0);
  assert_int_equal(bytes_below(p->backups), 0);
  expect_restored(p, back_up(p).id, 1000);
}

static void space_is_looked_at_first_and_all_the_time(void **state) {
  struct place *p = *state;
  struct port_disk roomy = {.free_bytes = UINT64_C(50) << 30, .total_bytes = UINT64_C(100) << 30};
  fill(p->store, 0, 1000, 4096);
  struct stopper stopper = {.stop_at = 0};
  struct kv_backup_options options = options_for(p);
  struct kv_backup_made made;
  options.goes_on = goes_on;
  options.argument = &stopper;
  options.free_space_min_bytes = 10 << 20;
  port_simulated_set_disk(p->port, (struct port_disk){.free_bytes = 12 << 20, .total_bytes = 100 << 20});
  assert_status_code(kv_rocksdb_backup(p->store, &options, &made), STATUS_RESOURCE_EXHAUSTED);
  assert_int_equal(stopper.seen, 0); /* nothing was copied */
  port_simulated_set_disk(p->port, roomy);
  stopper = (struct stopper){
      .stop_at = 500000, .fills = p->port, .full = {.free_bytes = 9 << 20, .total_bytes = 100 << 20}};
  assert_status_code(kv_rocksdb_backup(p->store, &options, &made), STATUS_RESOURCE_EXHAUSTED);
  assert_true(stopper.seen > 0 && stopper.seen < 2000000);
  assert_int_equal(bytes_below(p->backups), 0);
  port_simulated_set_disk(p->port, roomy);
}

/* Whatever the machine does meanwhile, it cannot be faster than this. */
static void a_limited_backup_takes_its_time(void **state) {
  struct place *p = *state;
  fill(p->store, 0, 1000, 4096);
  struct kv_backup_options options = options_for(p);
  struct kv_backup_made made;
  options.bytes_per_second = 4 << 20;
  struct port *clock = port_linux();
  int64_t begin = clock->monotonic_us(clock);
  assert_status_ok(kv_rocksdb_backup(p->store, &options, &made));
  int64_t took_us = clock->monotonic_us(clock) - begin;
  assert_true(made.copied_bytes > 4000000);
  assert_true(took_us > 700000);
  begin = clock->monotonic_us(clock);
  assert_status_ok(backup_engine_verify(p->backups, made.id, 4 << 20, NULL, NULL));
  assert_true(clock->monotonic_us(clock) - begin > 700000);
}

/* ---- Commits meanwhile ---- */

struct writer {
  struct kv_store *store;
  _Atomic int acknowledged;
  _Atomic bool stop;
};
static void *write_on(void *argument) {
  struct writer *writer = argument;
  for (int i = 0; !atomic_load(&writer->stop); i++) {
    fill(writer->store, i, i + 1, 500);
    atomic_store(&writer->acknowledged, i + 1);
  }
  return NULL;
}

/* What a restored store has, in the order in which it was written. */
static int restored_prefix(struct place *p, uint32_t id) {
  assert_status_ok(kv_rocksdb_restore(p->backups, id, p->restored));
  assert_status_ok(kv_rocksdb_restore_end(p->restored));
  struct kv_rocksdb_options options = {
      .directory = p->restored, .memory_bytes = 4 << 20, .port = port_simulated_port(p->port)};
  struct kv_store *store;
  kv_snapshot snapshot;
  struct kv_iter *iter;
  assert_status_ok(kv_rocksdb_open(&options, &store));
  assert_status_ok(kv_snapshot_at(store, KV_LATEST, &snapshot));
  assert_status_ok(kv_iter_open(snapshot, KV_DOCUMENTS, (str){0}, (str){0}, false, &iter));
  int count = 0;
  for (; kv_iter_next(iter); count++) {
    char key[32];
    snprintf(key, sizeof key, "key-%06d", count);
    assert_true(str_eq(kv_iter_key(iter), str_from_cstr(key))); /* no gap */
  }
  kv_iter_close(iter);
  kv_close(store);
  test_directory_remove(p->restored);
  return count;
}

static void a_backup_under_commits_is_a_prefix(void **state) {
  struct place *p = *state;
  struct writer writer = {.store = p->store};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, write_on, &writer), 0);
  for (int round = 0; round < 5; round++) {
    while (atomic_load(&writer.acknowledged) < 200 * (round + 1))
      usleep(1000);
    int before = atomic_load(&writer.acknowledged);
    struct kv_backup_made made = back_up(p);
    int after = atomic_load(&writer.acknowledged);
    int found = restored_prefix(p, made.id);
    assert_true(found >= before);
    assert_true(found <= after + 1); /* one is on its way */
  }
  atomic_store(&writer.stop, true);
  pthread_join(thread, NULL);
}

static void forgetting_the_past(void **state) {
  struct place *p = *state;
  kv_version before, after;
  kv_snapshot snapshot;
  struct kv_changes *changes;
  assert_status_ok(test_put(p->store, STR("a"), STR("1"), &before));
  port_simulated_advance(p->port, 1000000);
  assert_status_ok(test_put(p->store, STR("a"), STR("2"), &after));
  assert_status_ok(kv_rocksdb_forget_past(p->store));
  assert_status_code(kv_snapshot_at(p->store, before, &snapshot), STATUS_FAILED_PRECONDITION);
  assert_status_code(kv_changes_open(p->store, before, KV_LATEST, &changes), STATUS_OUT_OF_RANGE);
  kv_close(p->store);
  struct kv_rocksdb_options options = {
      .directory = p->data, .memory_bytes = 4 << 20, .port = port_simulated_port(p->port)};
  assert_status_ok(kv_rocksdb_open(&options, &p->store)); /* and after a restart */
  assert_status_code(kv_snapshot_at(p->store, before, &snapshot), STATUS_FAILED_PRECONDITION);
  assert_status_ok(kv_snapshot_at(p->store, after, &snapshot));
  assert_status_code(kv_changes_open(p->store, before, KV_LATEST, &changes), STATUS_OUT_OF_RANGE);
}

static void a_restore_wants_an_empty_directory(void **state) {
  struct place *p = *state;
  struct layout layout;
  assert_status_code(layout_begin_restore(p->data, &layout), STATUS_FAILED_PRECONDITION);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(each_backup_has_its_moment, setup, teardown),
      cmocka_unit_test_setup_teardown(a_second_backup_copies_what_is_new, setup, teardown),
      cmocka_unit_test_setup_teardown(damage_is_found_and_named, setup, teardown),
      cmocka_unit_test_setup_teardown(a_stopped_backup_leaves_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(space_is_looked_at_first_and_all_the_time, setup, teardown),
      cmocka_unit_test_setup_teardown(a_limited_backup_takes_its_time, setup, teardown),
      cmocka_unit_test_setup_teardown(a_backup_under_commits_is_a_prefix, setup, teardown),
      cmocka_unit_test_setup_teardown(forgetting_the_past, setup, teardown),
      cmocka_unit_test_setup_teardown(a_restore_wants_an_empty_directory, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
