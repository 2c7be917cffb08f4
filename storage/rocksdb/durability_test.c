/* What survives: kill -9, torn and damaged files, foreign and newer directories.
 *
 * A process that is to be killed is this program again, started with arguments, since RocksDB's threads do
 * not survive a fork. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "storage/rocksdb/store_internal.h"
#include "storage/rocksdb/test_support.h"
#include "tests/support/unit.h"

static struct kv_rocksdb_options options_for(const char *directory) {
  return (struct kv_rocksdb_options){.directory = directory, .memory_bytes = 4 << 20, .clock_trusted = true};
}

static struct kv_store *open_at(const char *directory) {
  struct kv_store *store = NULL;
  struct kv_rocksdb_options options = options_for(directory);
  assert_status_ok(kv_rocksdb_open(&options, &store));
  return store;
}

static status try_open(const char *directory) {
  struct kv_store *store = NULL;
  struct kv_rocksdb_options options = options_for(directory);
  status s = kv_rocksdb_open(&options, &store);
  if (status_is_ok(&s))
    kv_close(store);
  return s;
}

static void expect_stored(struct kv_store *store, const char *key, const char *value) {
  char got[64];
  bool found = false;
  assert_status_ok(test_get(store, str_from_cstr(key), got, sizeof got, &found));
  if (!found)
    fail_msg("%s is lost", key);
  assert_string_equal(got, value);
}

/* ---- The process that is killed ---- */

enum { KEYS_A_COMMIT = 3, CHILD_IN_FLIGHT = 32 };

struct child_txn {
  struct kv_store *store;
  struct kv_txn txn;
  char number[24];
};
static _Atomic long child_next;

static status child_resolve(void *argument, struct kv_reader *reader, kv_version version,
                            struct kv_batch *batch) {
  const struct child_txn *c = argument;
  (void)reader, (void)version;
  for (int i = 0; i < KEYS_A_COMMIT; i++) {
    char key[48];
    int len = snprintf(key, sizeof key, "%d/%s", i, c->number);
    kv_batch_put(batch, KV_DOCUMENTS, str_make(key, (size_t)len), str_from_cstr(c->number));
  }
  return status_ok();
}

static void child_done(void *argument, status result, kv_version version);

static void child_start(struct child_txn *c) {
  snprintf(c->number, sizeof c->number, "%ld", child_next++);
  c->txn = (struct kv_txn){.resolve = child_resolve, .done = child_done, .argument = c};
  kv_commit(c->store, &c->txn);
}

static void child_done(void *argument, status result, kv_version version) {
  struct child_txn *c = argument;
  char line[32];
  (void)version;
  if (!status_is_ok(&result))
    _exit(3);
  int len = snprintf(line, sizeof line, "%s\n", c->number);
  if (write(STDOUT_FILENO, line, (size_t)len) != len) /* one write: whole lines only */
    _exit(4);
  child_start(c);
}

/* Commits for ever, and tells each commit that was acknowledged. */
static int child_commit(const char *directory, long first) {
  struct kv_store *store = NULL;
  struct kv_rocksdb_options options = options_for(directory);
  status s = kv_rocksdb_open(&options, &store);
  if (!status_is_ok(&s))
    return 2;
  static struct child_txn txns[CHILD_IN_FLIGHT];
  child_next = first;
  for (int i = 0; i < CHILD_IN_FLIGHT; i++) {
    txns[i].store = store;
    child_start(&txns[i]);
  }
  for (;;)
    pause();
}

/* Commits k0=0 ... one by one and stops without closing. */
static int child_leave(const char *directory, long count) {
  struct kv_store *store = NULL;
  struct kv_rocksdb_options options = options_for(directory);
  status s = kv_rocksdb_open(&options, &store);
  for (long i = 0; i < count && status_is_ok(&s); i++) {
    char key[24], value[24];
    snprintf(key, sizeof key, "k%ld", i);
    snprintf(value, sizeof value, "%ld", i);
    s = test_put(store, str_from_cstr(key), str_from_cstr(value), NULL);
  }
  _exit(status_is_ok(&s) ? 0 : 2);
}

static pid_t child_spawn(const char *what, const char *directory, long number, int *ret_fd) {
  int fds[2];
  char text[24];
  assert_int_equal(pipe(fds), 0);
  snprintf(text, sizeof text, "%ld", number);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    dup2(fds[1], STDOUT_FILENO);
    close(fds[0]);
    close(fds[1]);
    char self[4096] = "";
    const char *emulator =
        getenv("SKERRY_EMULATOR"); /* where this machine cannot run our programs by itself */
    if (emulator != NULL && readlink("/proc/self/exe", self, sizeof self - 1) > 0)
      execl(emulator, "durability_test", self, what, directory, text, (char *)NULL);
    execl("/proc/self/exe", "durability_test", what, directory, text, (char *)NULL);
    _exit(5);
  }
  close(fds[1]);
  *ret_fd = fds[0];
  return pid;
}

static int leave_exit_code(const char *directory, long count) {
  int fd, result;
  pid_t pid = child_spawn("leave", directory, count, &fd);
  assert_int_equal(waitpid(pid, &result, 0), pid);
  close(fd);
  assert_true(WIFEXITED(result));
  return WEXITSTATUS(result);
}

static void leave_without_closing(const char *directory, long count) {
  assert_int_equal(leave_exit_code(directory, count), 0);
}

static long check_killed(struct kv_store *store, FILE *told, long first, long *ret_last) {
  long checked = 0, number;
  while (fscanf(told, "%ld", &number) == 1) {
    for (int i = 0; i < KEYS_A_COMMIT; i++) {
      char key[48], value[24];
      snprintf(key, sizeof key, "%d/%ld", i, number);
      snprintf(value, sizeof value, "%ld", number);
      expect_stored(store, key, value);
    }
    checked++;
    if (number > *ret_last)
      *ret_last = number;
  }
  /* What was on its way may be there or not, but never by half. */
  for (number = first; number <= *ret_last + 2 * CHILD_IN_FLIGHT; number++) {
    int there = 0;
    for (int i = 0; i < KEYS_A_COMMIT; i++) {
      char key[48], value[24];
      bool found = false;
      snprintf(key, sizeof key, "%d/%ld", i, number);
      assert_status_ok(test_get(store, str_from_cstr(key), value, sizeof value, &found));
      there += found;
    }
    assert_true(there == 0 || there == KEYS_A_COMMIT);
  }
  *ret_last += 2 * CHILD_IN_FLIGHT;
  return checked;
}

static void test_kill(void **state) {
  (void)state;
  char directory[64];
  test_directory_make(directory);
  const char *rounds_text = getenv("KV_KILL_ROUNDS");
  int rounds = rounds_text != NULL ? atoi(rounds_text) : 5;
  unsigned seed = (unsigned)getpid();
  printf("seed %u\n", seed);
  long first = 0, checked = 0;
  for (int round = 0; round < rounds; round++) {
    int fd;
    pid_t pid = child_spawn("commit", directory, first, &fd);
    struct pollfd first_told = {.fd = fd, .events = POLLIN}; /* a slow machine takes a while to begin */
    assert_int_equal(poll(&first_told, 1, 60000), 1);
    struct timespec wait = {.tv_nsec = (100 + rand_r(&seed) % 300) * 1000000L};
    nanosleep(&wait, NULL);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    struct kv_store *store = open_at(directory);
    FILE *told = fdopen(fd, "r");
    long last = first;
    checked += check_killed(store, told, first, &last);
    first = last + 1;
    fclose(told);
    uint64_t damages = 1;
    assert_status_ok(kv_verify(store, NULL, NULL, &damages));
    assert_int_equal(damages, 0);
    kv_close(store);
  }
  printf("%ld acknowledged commits checked in %d rounds\n", checked, rounds);
  assert_true(checked > 0);
  test_directory_remove(directory);
}

/* ---- Damage ---- */

/* The largest file under DIRECTORY/rocksdb whose name ends so. */
static off_t find_file(const char *directory, const char *end, char path[512]) {
  char folder[256];
  off_t largest = -1;
  snprintf(folder, sizeof folder, "%s/rocksdb", directory);
  DIR *d = opendir(folder);
  assert_non_null(d);
  for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
    struct stat s;
    char one[512];
    snprintf(one, sizeof one, "%.200s/%.250s", folder, entry->d_name);
    if (str_has_suffix(str_from_cstr(entry->d_name), str_from_cstr(end)) && stat(one, &s) == 0 &&
        s.st_size > largest) {
      largest = s.st_size;
      snprintf(path, 512, "%.500s", one);
    }
  }
  closedir(d);
  return largest;
}

static void flip(const char *path, off_t at, size_t count) {
  unsigned char bytes[64];
  int fd = open(path, O_RDWR | O_CLOEXEC);
  assert_true(fd >= 0 && count <= sizeof bytes);
  assert_int_equal(pread(fd, bytes, count, at), count);
  for (size_t i = 0; i < count; i++)
    bytes[i] ^= 0x55;
  assert_int_equal(pwrite(fd, bytes, count, at), count);
  close(fd);
}

static void test_log_is_replayed(void **state) {
  (void)state;
  char directory[64];
  test_directory_make(directory);
  leave_without_closing(directory, 50);
  struct kv_store *store = open_at(directory);
  expect_stored(store, "k0", "0");
  expect_stored(store, "k49", "49");
  kv_close(store);
  test_directory_remove(directory);
}

static void test_log_torn_at_its_end(void **state) {
  (void)state;
  char directory[64], path[512];
  test_directory_make(directory);
  leave_without_closing(directory, 50);
  off_t size = find_file(directory, ".log", path);
  assert_true(size > 0);
  /* The last record is as after a power cut in its middle: k49 was never acknowledged. */
  flip(path, size - 8, 4);
  struct kv_store *store = open_at(directory);
  expect_stored(store, "k48", "48");
  char value[8];
  bool found = true;
  assert_status_ok(test_get(store, STR("k49"), value, sizeof value, &found));
  assert_false(found);
  kv_version version = 0;
  assert_status_ok(test_put(store, STR("after"), STR("1"), &version));
  kv_close(store);
  store = open_at(directory);
  expect_stored(store, "after", "1");
  kv_close(store);
  test_directory_remove(directory);
}

static void test_log_damaged_in_its_middle(void **state) {
  (void)state;
  char directory[64], path[512];
  test_directory_make(directory);
  leave_without_closing(directory, 50);
  off_t size = find_file(directory, ".log", path);
  flip(path, size / 2, 4);
  for (int i = 0; i < 2; i++) /* nothing is repaired behind the operator's back */
    assert_status_code(try_open(directory), STATUS_DATA_LOSS);
  flip(path, size / 2, 4);
  struct kv_store *store = open_at(directory);
  expect_stored(store, "k49", "49");
  kv_close(store);
  test_directory_remove(directory);
}

static void count_damage(void *argument, str text) {
  (void)text;
  ++*(int *)argument;
}

static void test_table_damaged(void **state) {
  (void)state;
  char directory[64], path[512], value[4096];
  test_directory_make(directory);
  struct kv_store *store = open_at(directory);
  unsigned seed = 1;
  for (int i = 0; i < 200; i++) {
    char key[16];
    for (size_t k = 0; k < sizeof value; k++)
      value[k] = (char)rand_r(&seed);
    snprintf(key, sizeof key, "k%03d", i);
    assert_status_ok(test_put(store, str_from_cstr(key), str_make(value, sizeof value), NULL));
  }
  kv_close(store);
  off_t size = find_file(directory, ".sst", path);
  assert_true(size > 50 * 4096);
  flip(path, size / 2, 16);
  store = open_at(directory); /* damage far from everything that is needed to open */
  int lost = 0, read = 0;
  for (int i = 0; i < 200; i++) {
    char key[16];
    bool found = false;
    snprintf(key, sizeof key, "k%03d", i);
    status s = test_get(store, str_from_cstr(key), value, sizeof value, &found);
    if (status_is_ok(&s)) {
      assert_true(found); /* nothing is silently dropped */
      read++;
    } else {
      assert_status_code(s, STATUS_DATA_LOSS);
      lost++;
    }
  }
  assert_true(lost >= 1 && lost <= 3 && read >= 197);
  assert_status_code(test_put(store, STR("new"), STR("1"), NULL), STATUS_UNAVAILABLE);
  struct kv_info info;
  kv_info(store, &info);
  assert_int_equal(info.health, KV_DAMAGED);
  int reported = 0;
  uint64_t damages = 0;
  assert_status_ok(kv_verify(store, count_damage, &reported, &damages));
  assert_true(damages >= 1 && (uint64_t)reported == damages);
  kv_close(store);
  test_directory_remove(directory);
}

/* ---- Directories that are not to be opened ---- */

static void write_file(const char *directory, const char *name, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

/* A first start that was killed before FORMAT says that the store is whole: the next one says so.
 * tests/crash/accounts.test.mjs kills it at each of its writes. */
static void test_first_start_cut_off(void **state) {
  (void)state;
  char directory[64], path[512];
  test_directory_make(directory);
  kv_close(open_at(directory));
  write_file(directory, "FORMAT", "skerry store\nformat 1 new\n");
  struct kv_store *store = open_at(directory);
  assert_status_ok(test_put(store, STR("k"), STR("1"), NULL));
  kv_close(store);
  snprintf(path, sizeof path, "%s/rocksdb/CURRENT", directory);
  assert_int_equal(unlink(path), 0);
  assert_status_code(try_open(directory), STATUS_DATA_LOSS); /* not taken for a new one any more */
  test_directory_remove(directory);
}

static void test_refused_directories(void **state) {
  (void)state;
  char directory[64], path[512];
  test_directory_make(directory);
  struct kv_store *store = open_at(directory);
  assert_status_ok(test_put(store, STR("k"), STR("1"), NULL));
  assert_status_code(try_open(directory), STATUS_FAILED_PRECONDITION); /* in use */
  kv_close(store);

  write_file(directory, "FORMAT", "skerry store\nformat 2 ready\n");
  status newer = try_open(directory);
  assert_status_code(newer, STATUS_FAILED_PRECONDITION);
  assert_non_null(strstr(newer.message, "format 2"));
  write_file(directory, "FORMAT", "something\n");
  assert_status_code(try_open(directory), STATUS_DATA_LOSS);
  write_file(directory, "FORMAT", "skerry store\nformat 1 ready\n");
  store = open_at(directory);
  expect_stored(store, "k", "1");
  kv_close(store);

  /* Files that are lost are not an empty store. */
  snprintf(path, sizeof path, "%s/rocksdb/CURRENT", directory);
  assert_int_equal(unlink(path), 0);
  assert_status_code(try_open(directory), STATUS_DATA_LOSS);
  test_directory_remove(directory);

  test_directory_make(directory);
  write_file(directory, "holiday.jpg", "x");
  assert_status_code(try_open(directory), STATUS_FAILED_PRECONDITION);
  snprintf(path, sizeof path, "%s/holiday.jpg", directory);
  assert_status_code(try_open(path), STATUS_FAILED_PRECONDITION); /* not a directory */
  test_directory_remove(directory);
}

static void test_read_only(void **state) {
  (void)state;
  char directory[64];
  struct kv_store *store = NULL;
  test_directory_make(directory);
  struct kv_rocksdb_options options = options_for(directory);
  options.read_only = true;
  assert_status_code(kv_rocksdb_open(&options, &store), STATUS_NOT_FOUND);
  leave_without_closing(directory, 5);
  assert_status_ok(kv_rocksdb_open(&options, &store));
  expect_stored(store, "k4", "4");
  assert_status_code(test_put(store, STR("k"), STR("1"), NULL), STATUS_UNAVAILABLE);
  struct kv_info info;
  kv_info(store, &info);
  /* A server that starts now, in another process, is refused... */
  assert_int_equal(leave_exit_code(directory, 0), 2);
  kv_close(store);
  /* ...and so are we while one runs. */
  int fd;
  char byte;
  pid_t pid = child_spawn("commit", directory, 0, &fd);
  assert_int_equal(read(fd, &byte, 1), 1); /* it has committed, so it has the store open */
  status in_use = kv_rocksdb_open(&options, &store);
  assert_int_equal(kill(pid, SIGKILL), 0);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  close(fd);
  assert_status_code(in_use, STATUS_FAILED_PRECONDITION);
  test_directory_remove(directory);
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "commit") == 0)
    return child_commit(argv[2], atol(argv[3]));
  if (argc == 4 && strcmp(argv[1], "leave") == 0)
    return child_leave(argv[2], atol(argv[3]));
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kill),
      cmocka_unit_test(test_log_is_replayed),
      cmocka_unit_test(test_log_torn_at_its_end),
      cmocka_unit_test(test_log_damaged_in_its_middle),
      cmocka_unit_test(test_table_damaged),
      cmocka_unit_test(test_first_start_cut_off),
      cmocka_unit_test(test_refused_directories),
      cmocka_unit_test(test_read_only),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
