/* Directories of backups: retention, whose they are, what else is saved. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "server/backup/archive.h"
#include "server/backup/backups.h"
#include "server/backup/files.h"
#include "server/tokens/file.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

#define DAY_US (INT64_C(86400) * 1000000)

struct box {
  char root[64], data[96], backups[96];
  struct port_simulated *simulated;
  struct kv_store *store;
};

static int setup(void **state) {
  struct box *box = calloc(1, sizeof *box);
  test_directory_make(box->root);
  snprintf(box->data, sizeof box->data, "%s/data", box->root);
  snprintf(box->backups, sizeof box->backups, "%s/backups", box->root);
  box->simulated = test_port_new();
  struct kv_rocksdb_options options = {
      .directory = box->data, .memory_bytes = 4 << 20, .port = port_simulated_port(box->simulated)};
  assert_status_ok(kv_rocksdb_open(&options, &box->store));
  *state = box;
  return 0;
}

static int teardown(void **state) {
  struct box *box = *state;
  kv_close(box->store);
  port_simulated_free(box->simulated);
  test_directory_remove(box->root);
  free(box);
  return 0;
}

static status make(struct box *box, struct archive_made *ret) {
  struct archive_job job = {.store = box->store,
                            .data = box->data,
                            .directory = box->backups,
                            .program = "1.2.3",
                            .port = port_simulated_port(box->simulated)};
  return archive_make(&job, ret);
}

struct listing {
  uint32_t ids[16];
  size_t count;
  struct archive_facts last;
};
static void gather(void *argument, const struct archive_facts *facts) {
  struct listing *listing = argument;
  listing->ids[listing->count++] = facts->id;
  listing->last = *facts;
}
static struct listing list(const struct box *box) {
  struct listing listing = {0};
  assert_status_ok(archive_visit(box->backups, gather, &listing));
  return listing;
}

static void put_file(const char *directory, const char *name, const char *content) {
  char path[FILES_PATH_MAX_BYTES];
  assert_status_ok(files_join(directory, name, path));
  assert_status_ok(file_replace(path, str_from_cstr(content)));
}

static void a_backup_says_what_it_is(void **state) {
  struct box *box = *state;
  struct archive_made made;
  kv_version version;
  assert_status_ok(test_put(box->store, STR("a"), STR("1"), &version));
  int64_t now_us = port_simulated_port(box->simulated)->wall_us(port_simulated_port(box->simulated));
  assert_status_ok(make(box, &made));
  assert_true(made.same_medium);
  struct listing listing = list(box);
  assert_int_equal(listing.count, 1);
  assert_int_equal(listing.last.id, made.id);
  assert_int_equal(listing.last.format, ARCHIVE_FORMAT);
  assert_int_equal(listing.last.time_us, now_us);
  assert_int_equal(listing.last.version, version);
  assert_string_equal(listing.last.program, "1.2.3");
  assert_true(listing.last.bytes > 0);
}

/* Ten, a day after the other. */
static void ten_days(struct box *box) {
  for (int i = 0; i < 10; i++) {
    struct archive_made made;
    assert_status_ok(make(box, &made));
    port_simulated_advance(box->simulated, DAY_US);
  }
}

static unsigned prune(const struct box *box, uint64_t keep, int64_t age_us) {
  struct port *port = port_simulated_port(box->simulated);
  unsigned deleted;
  assert_status_ok(archive_prune(box->backups, keep, age_us, port->wall_us(port), &deleted));
  return deleted;
}

static size_t directories_of_files(const struct box *box) {
  char command[160];
  size_t count = 0;
  snprintf(command, sizeof command, "ls %s/files | wc -l", box->backups);
  FILE *out = popen(command, "r");
  assert_non_null(out);
  assert_int_equal(fscanf(out, "%zu", &count), 1);
  pclose(out);
  return count;
}

static void old_ones_go(void **state) {
  struct box *box = *state;
  ten_days(box); /* ids 1 to 10, of 10 days ago to yesterday */
  assert_int_equal(prune(box, 0, 0), 0);
  assert_int_equal(prune(box, 8, 0), 2);
  assert_int_equal(list(box).ids[0], 3);
  assert_int_equal(directories_of_files(box), 8);
  assert_int_equal(prune(box, 8, 5 * DAY_US + 1), 3); /* number and age */
  assert_int_equal(list(box).ids[0], 6);
  assert_int_equal(list(box).count, 5);
  port_simulated_advance(box->simulated, 100 * DAY_US);
  assert_int_equal(prune(box, 0, DAY_US), 4); /* the last stays, however old it is */
  assert_int_equal(list(box).ids[0], 10);
  port_simulated_set_wall(box->simulated, 1000); /* a clock that went back deletes nothing */
  assert_int_equal(prune(box, 0, DAY_US), 0);
  assert_status_ok(archive_verify(box->backups, 10, 0, NULL));
}

static void other_files_come_along(void **state) {
  struct box *box = *state;
  struct archive_made made;
  struct archive_facts facts;
  char restored[96], path[FILES_PATH_MAX_BYTES];
  struct buf content = {0};
  snprintf(restored, sizeof restored, "%s/restored", box->root);
  assert_status_ok(files_join(box->data, "tokens", path));
  assert_int_equal(mkdir(path, 0700), 0);
  put_file(box->data, "tokens/accounts", "keys");
  put_file(box->data, "firestore.rules", "rules");
  put_file(box->data, "odd name", "");
  put_file(box->data, ".hidden", "x");
  assert_status_ok(make(box, &made));
  port_simulated_set_disk(box->simulated, (struct port_disk){UINT64_C(1) << 30, UINT64_C(1) << 31, false});
  assert_status_ok(archive_restore(box->backups, 0, restored, port_simulated_port(box->simulated), &facts));
  assert_status_ok(files_join(restored, "tokens/accounts", path));
  assert_status_ok(file_read(path, 100, &content));
  assert_str_is(buf_str(&content), "keys");
  buf_fini(&content);
  assert_status_ok(files_join(restored, "odd name", path));
  assert_int_equal(access(path, F_OK), 0);
  assert_status_ok(files_join(restored, ".hidden", path));
  assert_int_not_equal(access(path, F_OK), 0);
}

static void no_room_to_restore(void **state) {
  struct box *box = *state;
  struct archive_made made;
  struct archive_facts facts;
  char restored[96];
  snprintf(restored, sizeof restored, "%s/restored", box->root);
  assert_status_ok(make(box, &made));
  port_simulated_set_disk(box->simulated, (struct port_disk){1000, UINT64_C(1) << 31, false});
  assert_status_code(archive_restore(box->backups, 0, restored, port_simulated_port(box->simulated), &facts),
                     STATUS_RESOURCE_EXHAUSTED);
  assert_int_not_equal(access(restored, F_OK), 0);
}

static void a_list_that_points_elsewhere(void **state) {
  struct box *box = *state;
  static const char *const names[] = {"../outside", "/tmp/outside", ".", "a/../../b", ""};
  char from[96];
  snprintf(from, sizeof from, "%s/from", box->root);
  assert_int_equal(mkdir(from, 0700), 0);
  for (size_t i = 0; i < UNIT_COUNT(names); i++) {
    char text[128];
    snprintf(text, sizeof text, "00000000 0 %s\n", names[i]);
    put_file(from, "LIST", text);
    assert_status_code(files_check(from, crypto_crc32c(0, str_from_cstr(text)), box->data), STATUS_DATA_LOSS);
  }
}

static void one_writer_at_a_time(void **state) {
  struct box *box = *state;
  struct archive_made made;
  char path[FILES_PATH_MAX_BYTES];
  assert_status_ok(make(box, &made));
  assert_status_ok(files_join(box->backups, "LOCK", path));
  int fd = open(path, O_RDWR | O_CLOEXEC);
  assert_int_equal(flock(fd, LOCK_SH), 0);
  assert_status_code(make(box, &made), STATUS_FAILED_PRECONDITION);
  assert_status_ok(archive_verify(box->backups, 0, 0, NULL)); /* readers are welcome */
  assert_int_equal(flock(fd, LOCK_EX), 0);
  assert_status_code(archive_verify(box->backups, 0, 0, NULL), STATUS_FAILED_PRECONDITION);
  close(fd);
  assert_status_ok(make(box, &made));
}

/* ---- The thread of a server ---- */

struct waiting {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  unsigned done;
  status result;
};
static bool go_on(void *argument, const char *what, uint64_t done, uint64_t total) {
  (void)argument, (void)what, (void)done, (void)total;
  return true;
}
static void is_done(void *argument, const char *directory, status result, const struct archive_made *made) {
  (void)directory, (void)made;
  struct waiting *waiting = argument;
  pthread_mutex_lock(&waiting->mutex);
  waiting->done++;
  waiting->result = result;
  pthread_cond_signal(&waiting->changed);
  pthread_mutex_unlock(&waiting->mutex);
}

static struct backups *open_backups(struct box *box, const char *schedule, uint64_t keep) {
  struct backups_options options = {.store = box->store,
                                    .port = port_simulated_port(box->simulated),
                                    .data = box->data,
                                    .program = "1.2.3",
                                    .directory = box->backups,
                                    .keep = keep};
  struct backups *backups;
  assert_status_ok(schedule_parse(schedule, &options.schedule));
  assert_status_ok(backups_open(&options, &backups));
  return backups;
}

static void wait_for(struct backups *backups, uint64_t succeeded, uint64_t failed) {
  struct backups_facts facts;
  for (int i = 0; i < 3000; i++) {
    backups_facts(backups, &facts);
    if (facts.succeeded == succeeded && facts.failed == failed && !facts.is_running)
      return;
    usleep(10000);
  }
  fail_msg("%" PRIu64 " backups succeeded and %" PRIu64 " failed", facts.succeeded, facts.failed);
}

static void the_schedule_keeps_some(void **state) {
  struct box *box = *state;
  struct backups *backups = open_backups(box, "every 1d", 2);
  for (unsigned n = 1; n <= 4; n++) {
    wait_for(backups, n, 0);
    port_simulated_advance(box->simulated, DAY_US);
  }
  wait_for(backups, 5, 0);
  backups_close(backups);
  struct listing listing = list(box);
  assert_int_equal(listing.count, 2);
  assert_int_equal(listing.ids[1], 5);
}

static void failures_are_counted_and_tried_again(void **state) {
  struct box *box = *state;
  FILE *file = fopen(box->backups, "w"); /* in its place */
  assert_non_null(file);
  fclose(file);
  struct backups *backups = open_backups(box, "daily 03:00", 2);
  struct backups_facts facts;
  wait_for(backups, 0, 1);
  port_simulated_advance(box->simulated, schedule_retry_us(1));
  wait_for(backups, 0, 2);
  backups_facts(backups, &facts);
  assert_int_equal(facts.failures, 2);
  assert_true(facts.problem[0] != '\0');
  assert_int_equal(remove(box->backups), 0);
  port_simulated_advance(box->simulated, schedule_retry_us(2));
  wait_for(backups, 1, 2);
  backups_facts(backups, &facts);
  assert_int_equal(facts.failures, 0);
  assert_string_equal(facts.problem, "");
  backups_close(backups);
}

static void who_asks_is_answered_once(void **state) {
  struct box *box = *state;
  struct backups *backups = open_backups(box, "off", 0);
  struct waiting waiting = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  struct backups_request request = {
      .limit_bytes_per_second = -1, .progress = go_on, .done = is_done, .argument = &waiting};
  unsigned taken = 0;
  for (int i = 0; i < 20; i++) {
    status s = backups_start(backups, &request);
    taken += status_is_ok(&s);
    assert_true(status_is_ok(&s) || s.code == STATUS_FAILED_PRECONDITION);
  }
  assert_true(taken >= 1);
  backups_close(backups); /* in the middle of it */
  assert_int_equal(waiting.done, taken);
  struct listing listing = {0};
  status s = archive_visit(box->backups, gather, &listing);
  assert_true(status_is_ok(&s) || s.code == STATUS_NOT_FOUND);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_backup_says_what_it_is, setup, teardown),
      cmocka_unit_test_setup_teardown(old_ones_go, setup, teardown),
      cmocka_unit_test_setup_teardown(other_files_come_along, setup, teardown),
      cmocka_unit_test_setup_teardown(no_room_to_restore, setup, teardown),
      cmocka_unit_test_setup_teardown(a_list_that_points_elsewhere, setup, teardown),
      cmocka_unit_test_setup_teardown(one_writer_at_a_time, setup, teardown),
      cmocka_unit_test_setup_teardown(the_schedule_keeps_some, setup, teardown),
      cmocka_unit_test_setup_teardown(failures_are_counted_and_tried_again, setup, teardown),
      cmocka_unit_test_setup_teardown(who_asks_is_answered_once, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
