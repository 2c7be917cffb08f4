#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "rpc/peers.h"
#include "tests/support/unit.h"

static struct memory_budget memory = {.max_bytes = 1 << 20};

static struct rpc_peer named(const char *address) {
  struct rpc_peer peer = {0};
  snprintf(peer.address, sizeof peer.address, "%s", address);
  return peer;
}

/* One end of a new socketpair, entered; the other end is closed. */
static int enter(struct rpc_peers *peers, const char *address) {
  int pair[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  close(pair[1]);
  struct rpc_peer peer = named(address);
  int fd = rpc_peers_enter(peers, pair[0], &peer);
  assert_true(fd >= 0);
  return fd;
}

static const struct rpc_peer *find(struct rpc_peers *peers, int fd) {
  char name[32];
  snprintf(name, sizeof name, "fd:%d", fd);
  return rpc_peers_find(peers, name);
}

static void test_finds(void **state) {
  (void)state;
  struct rpc_peers *peers = rpc_peers_new(4096, &memory);
  int first = enter(peers, "a"), second = enter(peers, "b");
  assert_int_not_equal(first, second);
  assert_true((fcntl(first, F_GETFD) & FD_CLOEXEC) != 0);
  const struct rpc_peer *peer = find(peers, first);
  assert_string_equal(peer->address, "a");
  assert_int_equal(peer->connection_id, 1);
  const char *unknown[] = {"",        "fd:",           "fd:x", "fd:1", "fd:-1", "fd:99999999999999999999",
                           "fd:4096", "ipv4:1.2.3.4:5"};
  for (size_t i = 0; i < UNIT_COUNT(unknown); i++)
    assert_string_equal(rpc_peers_find(peers, unknown[i])->address, "unknown");
  assert_string_equal(rpc_peers_find(peers, NULL)->address, "unknown");
  assert_int_equal(rpc_peers_count(peers), 2);
  close(first);
  assert_int_equal(rpc_peers_count(peers), 1);
  assert_string_equal(peer->address, "a"); /* as long as a call holds it */
  rpc_peers_release(peers, peer);
  assert_string_equal(find(peers, first)->address, "unknown");
  close(second);
  assert_int_equal(rpc_peers_count(peers), 0);
  assert_int_equal(rpc_peers_total(peers), 2);
  rpc_peers_free(peers);
}

/* A number does not come back until the whole range went by. */
static void test_rotates(void **state) {
  (void)state;
  struct rpc_peers *peers = rpc_peers_new(1024 + 50, &memory);
  int first = enter(peers, "x"), fd = first;
  close(fd);
  for (int i = 1; i < 50; i++) {
    fd = enter(peers, "x");
    assert_int_not_equal(fd, first);
    close(fd);
  }
  fd = enter(peers, "y");
  assert_int_equal(fd, first);
  const struct rpc_peer *peer = find(peers, fd);
  assert_string_equal(peer->address, "y");
  rpc_peers_release(peers, peer);
  close(fd);
  rpc_peers_free(peers);
}

/* Without numbers in the range the socket keeps its own. */
static void test_no_range(void **state) {
  (void)state;
  struct rpc_peers *peers = rpc_peers_new(256, &memory);
  int fd = enter(peers, "low");
  assert_true(fd < 256);
  const struct rpc_peer *peer = find(peers, fd);
  assert_string_equal(peer->address, "low");
  rpc_peers_release(peers, peer);
  close(fd);
  rpc_peers_free(peers);
}

struct race {
  struct rpc_peers *peers;
  _Atomic int fd;
  _Atomic bool stop;
};

static void *read_all_the_time(void *argument) {
  struct race *race = argument;
  while (!atomic_load(&race->stop)) {
    const struct rpc_peer *peer = find(race->peers, atomic_load(&race->fd));
    assert_true(peer->address[0] == 'u' || peer->address[0] == 'r');
    rpc_peers_release(race->peers, peer);
  }
  return NULL;
}

static void test_finding_while_it_changes(void **state) {
  (void)state;
  struct race race = {.peers = rpc_peers_new(1024 + 4, &memory)};
  race.fd = enter(race.peers, "r");
  pthread_t threads[2];
  for (size_t i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, read_all_the_time, &race), 0);
  for (int i = 0; i < 2000; i++) {
    int old = atomic_load(&race.fd);
    atomic_store(&race.fd, enter(race.peers, "r"));
    close(old);
    if (i % 16 == 0)
      rpc_peers_count(race.peers);
  }
  atomic_store(&race.stop, true);
  for (size_t i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
  close(race.fd);
  rpc_peers_free(race.peers);
}

/* ---- By key ---- */

static struct rpc_connection_key enter_guarded(struct rpc_peers *peers, const char *address) {
  struct rpc_peer peer = named(address);
  struct rpc_connection_key key;
  assert_true(rpc_peers_enter_guarded(peers, -1, &peer, &key));
  return key;
}

static const struct rpc_peer *find_key(struct rpc_peers *peers, const struct rpc_connection_key *key) {
  struct rpc_connection_id id;
  assert_true(rpc_connection_key_read(key, &id));
  return rpc_peers_find_key(peers, &id);
}

static uint32_t slot_of(const struct rpc_connection_key *key) {
  struct rpc_connection_id id;
  assert_true(rpc_connection_key_read(key, &id));
  return id.slot;
}

static void test_finds_by_key(void **state) {
  (void)state;
  struct rpc_peers *peers = rpc_peers_new(4096, &memory);
  struct rpc_connection_key first = enter_guarded(peers, "a"), second = enter_guarded(peers, "b");
  const struct rpc_peer *peer = find_key(peers, &first);
  assert_string_equal(peer->address, "a");
  assert_int_equal(peer->connection_id, 1);
  const struct rpc_peer *other = find_key(peers, &second);
  assert_string_equal(other->address, "b");
  rpc_peers_release(peers, other);
  int fd = enter(peers, "c");
  assert_int_equal(rpc_peers_count(peers), 3);
  assert_int_equal(rpc_peers_total(peers), 3);
  rpc_peers_forget(peers, &first);
  rpc_peers_forget(peers, &first); /* harmless */
  assert_null(find_key(peers, &first));
  assert_string_equal(peer->address, "a"); /* as long as a call holds it */
  assert_int_equal(rpc_peers_count(peers), 2);
  rpc_peers_release(peers, peer);
  rpc_peers_forget(peers, &second);
  close(fd);
  assert_int_equal(rpc_peers_count(peers), 0);
  rpc_peers_free(peers);
}

/* Each bit of the key matters, and a place that was never used has nobody. */
static void test_other_keys(void **state) {
  (void)state;
  struct rpc_peers *peers = rpc_peers_new(4096, &memory);
  struct rpc_connection_key key = enter_guarded(peers, "a");
  struct rpc_connection_id id, wrong;
  assert_true(rpc_connection_key_read(&key, &id));
  for (size_t bit = 0; bit < sizeof id.secret * 8; bit++) {
    wrong = id;
    wrong.secret[bit / 8] ^= (uint8_t)(1U << bit % 8);
    assert_null(rpc_peers_find_key(peers, &wrong));
  }
  const uint32_t slots[] = {id.slot ^ 1, id.slot + 128, 1U << 20, UINT32_MAX};
  for (size_t i = 0; i < UNIT_COUNT(slots); i++) {
    wrong = id;
    wrong.slot = slots[i];
    assert_null(rpc_peers_find_key(peers, &wrong));
  }
  const struct rpc_connection_key none = {{0}};
  rpc_peers_forget(peers, &none);
  /* An entry without a key is not found by its place and no bytes either. */
  memset(wrong.secret, 0, sizeof wrong.secret);
  int fd = enter(peers, "b");
  for (wrong.slot = 0; wrong.slot < 128; wrong.slot++)
    assert_null(rpc_peers_find_key(peers, &wrong));
  close(fd);
  rpc_peers_free(peers);
}

static void test_place_used_again(void **state) {
  (void)state;
  struct rpc_peers *peers = rpc_peers_new(4096, &memory);
  struct rpc_connection_key old = enter_guarded(peers, "old");
  rpc_peers_forget(peers, &old);
  struct rpc_connection_key new = enter_guarded(peers, "new");
  assert_int_equal(slot_of(&old), slot_of(&new));
  assert_null(find_key(peers, &old));
  rpc_peers_forget(peers, &old); /* not somebody else */
  const struct rpc_peer *peer = find_key(peers, &new);
  assert_string_equal(peer->address, "new");
  rpc_peers_forget(peers, &new);
  /* A call holds the place: the next connection gets another. */
  struct rpc_connection_key third = enter_guarded(peers, "third");
  assert_int_not_equal(slot_of(&new), slot_of(&third));
  rpc_peers_release(peers, peer);
  int fd = enter(peers, "bare"); /* on the place of a key */
  assert_null(find_key(peers, &new));
  close(fd);
  rpc_peers_free(peers);
}

/* A guarded connection on the number of an earlier one does not look like that one. */
static void test_guarded_number_names_nobody(void **state) {
  (void)state;
  struct rpc_peers *peers = rpc_peers_new(4096, &memory);
  int fd = enter(peers, "earlier");
  struct rpc_peer peer = named("guarded");
  struct rpc_connection_key key;
  assert_true(rpc_peers_enter_guarded(peers, fd, &peer, &key));
  assert_string_equal(find(peers, fd)->address, "unknown");
  assert_int_equal(rpc_peers_count(peers), 1);
  close(fd);
  rpc_peers_free(peers);
}

static void test_many_keys(void **state) {
  (void)state;
  enum { COUNT = 1000 };
  struct rpc_peers *peers = rpc_peers_new(4096, &memory);
  static struct rpc_connection_key keys[COUNT];
  for (int i = 0; i < COUNT; i++) {
    char address[16];
    snprintf(address, sizeof address, "%d", i);
    keys[i] = enter_guarded(peers, address);
  }
  for (int i = 0; i < COUNT; i++) {
    const struct rpc_peer *peer = find_key(peers, &keys[i]);
    assert_int_equal(atoi(peer->address), i);
    rpc_peers_release(peers, peer);
    rpc_peers_forget(peers, &keys[i]);
    assert_null(find_key(peers, &keys[i]));
  }
  assert_int_equal(rpc_peers_count(peers), 0);
  rpc_peers_free(peers);
}

enum { RACE_WRITERS = 2, RACE_READERS = 2, RACE_KEYS = 8, RACE_ROUNDS = 4000 };

/* Keys that writers show to readers; each is for one address. */
struct key_race {
  struct rpc_peers *peers;
  pthread_mutex_t mutex;
  struct shown {
    struct rpc_connection_key key;
    char address[16];
    bool is_set;
  } shown[RACE_KEYS];
  _Atomic bool stop;
  _Atomic uint64_t found;
};

static void *enter_and_forget(void *argument) {
  struct key_race *race = argument;
  static _Atomic int serial;
  for (int i = 0; i < RACE_ROUNDS; i++) {
    struct shown mine = {.is_set = true};
    snprintf(mine.address, sizeof mine.address, "%d", atomic_fetch_add(&serial, 1));
    mine.key = enter_guarded(race->peers, mine.address);
    pthread_mutex_lock(&race->mutex);
    race->shown[i % RACE_KEYS] = mine; /* what was there stays with readers, forgotten by now or not */
    pthread_mutex_unlock(&race->mutex);
    const struct rpc_peer *peer = find_key(race->peers, &mine.key);
    assert_string_equal(peer->address, mine.address);
    rpc_peers_forget(race->peers, &mine.key);
    assert_null(find_key(race->peers, &mine.key));
    rpc_peers_release(race->peers, peer);
  }
  return NULL;
}

static void *find_all_the_time(void *argument) {
  struct key_race *race = argument;
  for (unsigned i = 0; !atomic_load(&race->stop); i++) {
    pthread_mutex_lock(&race->mutex);
    struct shown wanted = race->shown[i % RACE_KEYS];
    pthread_mutex_unlock(&race->mutex);
    const struct rpc_peer *peer = wanted.is_set ? find_key(race->peers, &wanted.key) : NULL;
    if (peer == NULL)
      continue;
    assert_string_equal(peer->address, wanted.address);
    atomic_fetch_add(&race->found, 1);
    rpc_peers_release(race->peers, peer);
  }
  return NULL;
}

static void test_keys_while_they_change(void **state) {
  (void)state;
  struct key_race race = {.peers = rpc_peers_new(4096, &memory), .mutex = PTHREAD_MUTEX_INITIALIZER};
  pthread_t writers[RACE_WRITERS], readers[RACE_READERS];
  struct rpc_connection_key kept = enter_guarded(race.peers, "kept");
  for (size_t i = 0; i < RACE_READERS; i++)
    assert_int_equal(pthread_create(&readers[i], NULL, find_all_the_time, &race), 0);
  for (size_t i = 0; i < RACE_WRITERS; i++)
    assert_int_equal(pthread_create(&writers[i], NULL, enter_and_forget, &race), 0);
  for (int i = 0; i < RACE_ROUNDS; i++) {
    const struct rpc_peer *peer = find_key(race.peers, &kept);
    assert_string_equal(peer->address, "kept");
    rpc_peers_release(race.peers, peer);
  }
  for (size_t i = 0; i < RACE_WRITERS; i++)
    pthread_join(writers[i], NULL);
  atomic_store(&race.stop, true);
  for (size_t i = 0; i < RACE_READERS; i++)
    pthread_join(readers[i], NULL);
  assert_int_equal(rpc_peers_count(race.peers), 1);
  rpc_peers_free(race.peers);
}

/* How long a look-up takes; printed, and only what is absurd fails. */
static void test_cost_of_finding(void **state) {
  (void)state;
  enum { ROUNDS = 1000000 };
  struct rpc_peers *peers = rpc_peers_new(4096, &memory);
  struct rpc_connection_key key = enter_guarded(peers, "a");
  char value[RPC_CONNECTION_VALUE_CHARS];
  memcpy(value, key.text, sizeof key.text);
  rpc_connection_time(1000, value + sizeof key.text);
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int i = 0; i < ROUNDS; i++) {
    struct rpc_connection_id id;
    int64_t waited_us;
    assert_true(rpc_connection_value_read(str_make(value, sizeof value), 2000, &id, &waited_us));
    rpc_peers_release(peers, rpc_peers_find_key(peers, &id));
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  double ns = ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / ROUNDS;
  print_message("reading a key, finding and releasing its peer: %.0f ns\n", ns);
  assert_true(ns < 20000);
  rpc_peers_free(peers);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_finds),
      cmocka_unit_test(test_rotates),
      cmocka_unit_test(test_no_range),
      cmocka_unit_test(test_finding_while_it_changes),
      cmocka_unit_test(test_finds_by_key),
      cmocka_unit_test(test_other_keys),
      cmocka_unit_test(test_place_used_again),
      cmocka_unit_test(test_guarded_number_names_nobody),
      cmocka_unit_test(test_many_keys),
      cmocka_unit_test(test_keys_while_they_change),
      cmocka_unit_test(test_cost_of_finding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
