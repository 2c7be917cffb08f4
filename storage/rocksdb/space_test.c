/* A disk that fills up: by the watermark, and for real on a small tmpfs, in the log and in a table file. The
 * real ones run with a port that claims endless space, so that nothing stops them before RocksDB fails. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "storage/rocksdb/store_internal.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

static struct port_simulated *port;

static struct kv_store *open_at(const char *directory) {
  struct kv_store *store = NULL;
  struct kv_rocksdb_options options = {.directory = directory,
                                       .memory_bytes = 8 << 20,
                                       .free_space_min_bytes = 1 << 20,
                                       .port = port_simulated_port(port)};
  assert_status_ok(kv_rocksdb_open(&options, &store));
  return store;
}

static status put_number(struct kv_store *store, int number, size_t value_bytes) {
  static char value[65536];
  char key[16];
  unsigned seed = (unsigned)number;
  for (size_t i = 0; i < value_bytes; i++)
    value[i] = (char)rand_r(&seed); /* does not compress */
  snprintf(key, sizeof key, "k%d", number);
  return test_put(store, str_from_cstr(key), str_make(value, value_bytes), NULL);
}

static void expect_numbers(struct kv_store *store, int count) {
  char value[64], key[16];
  for (int i = 0; i < count; i++) {
    bool found = false;
    snprintf(key, sizeof key, "k%d", i);
    assert_status_ok(test_get(store, str_from_cstr(key), value, sizeof value, &found));
    if (!found)
      fail_msg("%s is lost", key);
  }
}

static enum kv_health health(struct kv_store *store) {
  struct kv_info info;
  kv_info(store, &info);
  assert_int_equal(info.health == KV_HEALTHY, info.health_text[0] == '\0');
  return info.health;
}

static void test_watermark(void **state) {
  (void)state;
  char directory[64];
  test_directory_make(directory);
  struct kv_store *store = open_at(directory);
  assert_status_ok(put_number(store, 0, 100));
  port_simulated_set_disk(port, (struct port_disk){1 << 19, UINT64_C(100) << 30, false});
  assert_status_code(put_number(store, 1, 100), STATUS_RESOURCE_EXHAUSTED);
  assert_int_equal(health(store), KV_NO_SPACE);
  expect_numbers(store, 1);
  port_simulated_set_disk(port, (struct port_disk){UINT64_C(50) << 30, UINT64_C(100) << 30, false});
  assert_status_ok(put_number(store, 1, 100));
  assert_int_equal(health(store), KV_HEALTHY);
  expect_numbers(store, 2);
  kv_close(store);
  test_directory_remove(directory);
}

static void test_medium_that_can_only_be_read(void **state) {
  (void)state;
  char directory[64];
  test_directory_make(directory);
  struct kv_store *store = open_at(directory);
  struct port_disk disk = {UINT64_C(50) << 30, UINT64_C(100) << 30, false};
  assert_status_ok(put_number(store, 0, 100));
  for (int round = 1; round <= 2; round++) {
    disk.read_only = true;
    port_simulated_set_disk(port, disk);
    assert_status_code(put_number(store, round, 100), STATUS_UNAVAILABLE);
    assert_int_equal(health(store), KV_READ_ONLY);
    expect_numbers(store, round);
    disk.read_only = false;
    port_simulated_set_disk(port, disk);
    assert_status_ok(put_number(store, round, 100));
    assert_int_equal(health(store), KV_HEALTHY);
  }
  kv_close(store);
  test_directory_remove(directory);
}

static bool mount_small(char directory[64]) {
  test_directory_make(directory);
  if (mount("skerry-test", directory, "tmpfs", 0, "size=24m") == 0)
    return true;
  test_directory_remove(directory);
  return false;
}

static void unmount(const char *directory) {
  assert_int_equal(umount(directory), 0);
  rmdir(directory);
}

/* Takes all space of the file system but `leave`. */
static void fill(const char *directory, uint64_t leave) {
  char path[96];
  struct statvfs s;
  assert_int_equal(statvfs(directory, &s), 0);
  uint64_t free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
  assert_true(free_bytes > leave);
  snprintf(path, sizeof path, "%s/filler", directory);
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(posix_fallocate(fd, 0, (off_t)(free_bytes - leave)), 0);
  close(fd);
}

static void unfill(const char *directory) {
  char path[96];
  snprintf(path, sizeof path, "%s/filler", directory);
  assert_int_equal(unlink(path), 0);
}

/* Writes come back by themselves. */
static void wait_for_writes(struct kv_store *store, int number) {
  for (int i = 0; i < 300; i++) {
    status s = put_number(store, number, 1000);
    if (status_is_ok(&s))
      return;
    assert_true(s.code == STATUS_RESOURCE_EXHAUSTED || s.code == STATUS_UNAVAILABLE);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
  }
  fail_msg("writes did not come back");
}

/* Reads go on; while the store is opened again they may be told to come back. */
static void read_through(struct kv_store *store, int count) {
  for (int i = 0; i < 40; i++) {
    char value[64], key[16];
    bool found = false;
    snprintf(key, sizeof key, "k%d", i % count);
    status s = test_get(store, str_from_cstr(key), value, sizeof value, &found);
    if (s.code == STATUS_UNAVAILABLE)
      continue;
    assert_status_ok(s);
    assert_true(found);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
  }
}

static void test_log_fills(void **state) {
  (void)state;
  char root[64], directory[80];
  if (!mount_small(root)) {
    print_message("skipped: mounting a tmpfs is not permitted\n");
    skip();
  }
  snprintf(directory, sizeof directory, "%s/store", root);
  struct kv_store *store = open_at(directory);
  assert_status_ok(put_number(store, 0, 1000));
  fill(root, 512 * 1024);
  int count = 1;
  status s;
  while (s = put_number(store, count, 16384), status_is_ok(&s) && count < 1000)
    count++;
  assert_status_code(s, STATUS_RESOURCE_EXHAUSTED);
  assert_int_equal(health(store), KV_NO_SPACE);
  read_through(store, count);
  unfill(root);
  wait_for_writes(store, 2000);
  expect_numbers(store, count); /* every acknowledged one */
  assert_int_equal(health(store), KV_HEALTHY);
  kv_close(store);
  store = open_at(directory);
  expect_numbers(store, count);
  kv_close(store);
  unmount(root);
}

static void test_table_fills(void **state) {
  (void)state;
  char root[64], directory[80];
  if (!mount_small(root)) {
    print_message("skipped: mounting a tmpfs is not permitted\n");
    skip();
  }
  snprintf(directory, sizeof directory, "%s/store", root);
  struct kv_store *store = open_at(directory);
  int count = 0;
  for (; count < 20; count++)
    assert_status_ok(put_number(store, count, 60000));
  fill(root, 600 * 1024); /* a log of small writes fits; a table of what is in memory does not */
  port_simulated_set_disk(port, (struct port_disk){600 << 10, 24 << 20, false});
  struct rocks_store *rocks = rocks_of(store);
  assert_status_ok(rocks_enter(rocks));
  assert_status_code(engine_flush(rocks->engine), STATUS_RESOURCE_EXHAUSTED);
  rocks_leave(rocks);
  assert_status_code(put_number(store, 1000, 100), STATUS_RESOURCE_EXHAUSTED);
  read_through(store, count);
  unfill(root);
  port_simulated_set_disk(port, (struct port_disk){20 << 20, 24 << 20, false});
  wait_for_writes(store, 2000);
  expect_numbers(store, count);
  kv_close(store);
  store = open_at(directory);
  expect_numbers(store, count);
  kv_close(store);
  unmount(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_watermark),
      cmocka_unit_test(test_medium_that_can_only_be_read),
      cmocka_unit_test(test_log_fills),
      cmocka_unit_test(test_table_fills),
  };
  port = test_port_new();
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  port_simulated_free(port);
  return failed;
}
