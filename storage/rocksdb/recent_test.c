/* The window against a plain list of all writes, small enough that it wraps often. */
#include <stdio.h>
#include <stdlib.h>

#include "storage/rocksdb/recent.h"
#include "tests/support/unit.h"

enum { WRITES = 40000, SPACES = 3, KEY_MAX = 300 };

struct write {
  int64_t version;
  unsigned space;
  size_t len;
  char key[KEY_MAX];
};

static uint64_t hash_of(unsigned space, str key) {
  uint64_t hash = space * UINT64_C(0x9e3779b97f4a7c15);
  for (size_t i = 0; i < key.len; i++)
    hash = (hash ^ (uint8_t)key.ptr[i]) * UINT64_C(0x100000001b3);
  return hash;
}

static str key_of(const struct write *w) {
  return str_make(w->key, w->len);
}

static void random_key(unsigned *seed, struct write *w) {
  int n = snprintf(w->key, sizeof w->key, "%05d", rand_r(seed) % 20000);
  w->len = (size_t)n;
  if (rand_r(seed) % 4 == 0) { /* some are long */
    size_t more = (size_t)rand_r(seed) % (KEY_MAX - 10);
    memset(w->key + w->len, 'x', more);
    w->len += more;
  }
}

static bool list_has(const struct write *writes, size_t count, int64_t since, unsigned space, str lower,
                     str upper) {
  for (size_t i = count; i > 0 && writes[i - 1].version > since; i--) {
    const struct write *w = &writes[i - 1];
    if (w->space == space && str_cmp(key_of(w), lower) >= 0 &&
        (upper.len == 0 || str_cmp(key_of(w), upper) < 0))
      return true;
  }
  return false;
}

static bool list_has_key(const struct write *writes, size_t count, int64_t since, unsigned space, str key) {
  for (size_t i = count; i > 0 && writes[i - 1].version > since; i--)
    if (writes[i - 1].space == space && str_eq(key_of(&writes[i - 1]), key))
      return true;
  return false;
}

static void check(const struct recent *r, const struct write *writes, size_t count, unsigned *seed,
                  int64_t newest, int64_t *ret_reached) {
  int64_t since = newest - rand_r(seed) % 3000;
  int64_t known = recent_count(r, since);
  if (known == RECENT_UNKNOWN)
    return;
  int64_t wanted = 0;
  for (size_t i = count; i > 0 && writes[i - 1].version > since; i--)
    wanted++;
  assert_int_equal(known, wanted);
  if (known > *ret_reached)
    *ret_reached = known;
  struct write a, b;
  random_key(seed, &a);
  random_key(seed, &b);
  unsigned space = (unsigned)rand_r(seed) % SPACES;
  const struct write *some = rand_r(seed) % 2 == 0 ? &a : &writes[count - 1 - (size_t)rand_r(seed) % 50];
  assert_int_equal(recent_has_key(r, since, space, hash_of(space, key_of(some))),
                   list_has_key(writes, count, since, space, key_of(some)));
  str lower = key_of(&a), upper = rand_r(seed) % 8 == 0 ? (str){0} : key_of(&b);
  assert_int_equal(recent_has_range(r, since, space, lower, upper),
                   list_has(writes, count, since, space, lower, upper));
}

static void test_against_a_list(void **state) {
  (void)state;
  struct write *writes = calloc(WRITES, sizeof *writes);
  unsigned seed = 20260801;
  int64_t version = 1000, reached = 0;
  struct recent r;
  assert_status_ok(recent_init(&r, 0, version));
  assert_int_equal(recent_count(&r, version), 0);
  assert_int_equal(recent_count(&r, version - 1), RECENT_UNKNOWN);
  for (size_t i = 0; i < WRITES; i++) {
    struct write *w = &writes[i];
    version += rand_r(&seed) % 3 == 0 || i == 0; /* several of one commit */
    w->version = version;
    w->space = (unsigned)rand_r(&seed) % SPACES;
    random_key(&seed, w);
    recent_add(&r, version, w->space, hash_of(w->space, key_of(w)), key_of(w));
    if (i > 100)
      check(&r, writes, i + 1, &seed, version, &reached);
  }
  assert_in_range(reached, 400, 1024); /* it is a window of some size, and not more */
  recent_fini(&r);
  free(writes);
}

static void test_forget(void **state) {
  (void)state;
  struct recent r;
  assert_status_ok(recent_init(&r, 1 << 20, 10));
  recent_add(&r, 11, 0, hash_of(0, STR("a")), STR("a"));
  assert_true(recent_has_key(&r, 10, 0, hash_of(0, STR("a"))));
  assert_false(recent_has_key(&r, 11, 0, hash_of(0, STR("a"))));
  recent_forget(&r, 15);
  assert_int_equal(recent_count(&r, 14), RECENT_UNKNOWN);
  assert_int_equal(recent_count(&r, 15), 0);
  assert_false(recent_has_key(&r, 15, 0, hash_of(0, STR("a"))));
  assert_false(recent_has_range(&r, 15, 0, STR("a"), (str){0}));
  recent_add(&r, 16, 0, hash_of(0, STR("a")), STR("a"));
  assert_true(recent_has_range(&r, 15, 0, (str){0}, (str){0}));
  assert_false(recent_has_range(&r, 15, 1, (str){0}, (str){0}));
  recent_fini(&r);
}

/* The longest keys, of which few fit. */
static void test_long_keys(void **state) {
  (void)state;
  struct recent r;
  assert_status_ok(recent_init(&r, 0, 0));
  static char key[16 * 1024];
  memset(key, 'k', sizeof key);
  for (int64_t version = 1; version < 100; version++) {
    key[0] = (char)version;
    str bytes = str_make(key, sizeof key - (size_t)version % 7);
    recent_add(&r, version, 0, hash_of(0, bytes), bytes);
    int64_t since = version > 3 ? version - 3 : 0;
    assert_int_equal(recent_count(&r, since), version - since);
    char lower = (char)version;
    assert_true(recent_has_range(&r, version - 1, 0, str_make(&lower, 1), (str){0}));
    assert_false(recent_has_range(&r, since, 0, str_make(&(char){100}, 1), (str){0}));
  }
  recent_fini(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_against_a_list),
      cmocka_unit_test(test_forget),
      cmocka_unit_test(test_long_keys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
