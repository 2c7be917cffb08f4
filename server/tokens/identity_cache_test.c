#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/tokens/identity_cache.h"
#include "tests/support/unit.h"

static struct identity *identity_of(const char *uid, uint64_t generation, int64_t expires_us) {
  struct identity facts = {
      .kind = IDENTITY_USER, .uid = str_from_cstr(uid), .generation = generation, .expires_us = expires_us};
  struct identity *made = identity_new(&facts);
  assert_non_null(made);
  return made;
}

static void put(struct identity_cache *cache, str token, const char *uid, uint64_t generation,
                int64_t expires_us) {
  struct identity *identity = identity_of(uid, generation, expires_us);
  identity_cache_put(cache, token, identity);
  identity_unref(identity);
}

static struct generations generations;

static bool has(struct identity_cache *cache, str token, const char *uid, uint64_t generation,
                int64_t now_us) {
  atomic_store(&generations.all, generation);
  struct identity *found = identity_cache_get(cache, token, &generations, now_us);
  if (found == NULL)
    return false;
  assert_str_is(found->uid, uid);
  identity_unref(found);
  return true;
}

static void what_was_put_comes_back(void **state) {
  (void)state;
  struct identity_cache *cache = identity_cache_new(1000, 1 << 20);
  assert_false(has(cache, STR("a"), "alice", 1, 0));
  put(cache, STR("a"), "alice", 1, 100);
  put(cache, STR("b"), "bob", 1, 100);
  put(cache, STR("b"), "bob", 1, 100);
  assert_true(has(cache, STR("a"), "alice", 1, 99));
  assert_true(has(cache, STR("b"), "bob", 1, 99));
  assert_false(has(cache, STR("aa"), "alice", 1, 99));
  assert_false(has(cache, STR(""), "alice", 1, 99));
  struct identity_cache_stats stats;
  identity_cache_stats(cache, &stats);
  assert_int_equal(stats.entries, 2);
  assert_int_equal(stats.hits, 2);
  identity_cache_free(cache);
}

static void all_is_forgotten_when_memory_is_short(void **state) {
  (void)state;
  struct identity_cache *cache = identity_cache_new(1000, 1 << 20);
  struct identity_cache_stats stats;
  put(cache, STR("a"), "alice", 1, 100);
  put(cache, STR("b"), "bob", 1, 100);
  identity_cache_clear(cache);
  assert_false(has(cache, STR("a"), "alice", 1, 0));
  identity_cache_stats(cache, &stats);
  assert_int_equal(stats.entries, 0);
  assert_int_equal(stats.bytes, 0);
  put(cache, STR("a"), "alice", 1, 100);
  assert_true(has(cache, STR("a"), "alice", 1, 0));
  identity_cache_free(cache);
}

static void expired_ones_and_other_generations_are_gone(void **state) {
  (void)state;
  struct identity_cache *cache = identity_cache_new(1000, 1 << 20);
  struct identity_cache_stats stats;
  put(cache, STR("a"), "alice", 1, 100);
  assert_false(has(cache, STR("a"), "alice", 1, 100));
  assert_false(has(cache, STR("a"), "alice", 1, 0)); /* it was thrown away */
  put(cache, STR("a"), "alice", 1, 100);
  generations_next_of(&generations, 1);
  assert_true(has(cache, STR("a"), "alice", 1, 0)); /* it was of somebody else */
  assert_false(has(cache, STR("a"), "alice", 2, 0));
  identity_cache_stats(cache, &stats);
  assert_int_equal(stats.entries, 0);
  assert_int_equal(stats.bytes, 0);
  identity_cache_free(cache);
}

static void entries_and_bytes_are_bounded(void **state) {
  (void)state;
  struct identity_cache *cache = identity_cache_new(256, 64 * 1024);
  struct identity_cache_stats stats;
  char token[1000];
  memset(token, 'x', sizeof token);
  for (unsigned i = 0; i < 20000; i++) {
    snprintf(token, 20, "%u", i);
    size_t len = i % 2 == 0 ? 32 : sizeof token;
    put(cache, str_make(token, len), "somebody", 1, 100);
    assert_true(i % 2 == 1 || has(cache, str_make(token, len), "somebody", 1, 0));
    identity_cache_stats(cache, &stats);
    assert_true(stats.entries <= 256 && stats.bytes <= 64 * 1024);
  }
  assert_true(stats.entries > 20);
  char *huge = calloc(1, 64 * 1024);
  put(cache, str_make(huge, 64 * 1024), "somebody", 1, 100); /* has no room, and takes nobody else's */
  identity_cache_stats(cache, &stats);
  assert_true(stats.entries > 20);
  free(huge);
  identity_cache_free(cache);
}

/* One that is used stays while others come and go. */
static void the_least_used_gives_way(void **state) {
  (void)state;
  struct identity_cache *cache = identity_cache_new(64, 1 << 20);
  unsigned misses = 0;
  put(cache, STR("hot"), "hot", 1, 100);
  for (unsigned i = 0; i < 5000; i++) {
    char token[20];
    snprintf(token, sizeof token, "%u", i);
    put(cache, str_from_cstr(token), "cold", 1, 100);
    misses += !has(cache, STR("hot"), "hot", 1, 0);
  }
  assert_int_equal(misses, 0);
  identity_cache_free(cache);
}

static struct identity_cache *shared;

static void *use(void *argument) {
  unsigned seed = (unsigned)(uintptr_t)argument;
  for (unsigned i = 0; i < 20000; i++) {
    char token[64];
    int len = snprintf(token, sizeof token, "token %u", (unsigned)rand_r(&seed) % 300);
    uint64_t now = generations_at(&generations, 0);
    struct identity *found = identity_cache_get(shared, str_make(token, (size_t)len), &generations, 0);
    if (found != NULL) {
      if (!str_eq(found->uid, str_make(token, (size_t)len)) || found->generation < now)
        abort();
      identity_unref(found);
    } else {
      struct identity facts = {.uid = str_make(token, (size_t)len), .generation = now, .expires_us = 100};
      struct identity *made = identity_new(&facts);
      identity_cache_put(shared, str_make(token, (size_t)len), made);
      identity_unref(made);
    }
    if (i % 5000 == 0)
      generations_next_of(&generations, 0);
  }
  return NULL;
}

static void many_threads_get_their_own(void **state) {
  (void)state;
  pthread_t threads[8];
  shared = identity_cache_new(256, 1 << 20);
  for (uintptr_t i = 0; i < UNIT_COUNT(threads); i++)
    assert_int_equal(pthread_create(&threads[i], NULL, use, (void *)(i + 1)), 0);
  for (size_t i = 0; i < UNIT_COUNT(threads); i++)
    pthread_join(threads[i], NULL);
  identity_cache_free(shared);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_put_comes_back),
      cmocka_unit_test(all_is_forgotten_when_memory_is_short),
      cmocka_unit_test(expired_ones_and_other_generations_are_gone),
      cmocka_unit_test(entries_and_bytes_are_bounded),
      cmocka_unit_test(the_least_used_gives_way),
      cmocka_unit_test(many_threads_get_their_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
