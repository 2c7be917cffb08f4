#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/peers.h"
#include "tests/support/unit.h"

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
  struct rpc_peers *peers = rpc_peers_new(4096);
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
  struct rpc_peers *peers = rpc_peers_new(1024 + 50);
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
  struct rpc_peers *peers = rpc_peers_new(256);
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
  struct race race = {.peers = rpc_peers_new(1024 + 4)};
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_finds),
      cmocka_unit_test(test_rotates),
      cmocka_unit_test(test_no_range),
      cmocka_unit_test(test_finding_while_it_changes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
