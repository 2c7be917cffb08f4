/* The table of streams against a plain model: random operations, with a seed that a failure shows. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/listener/guard_streams.h"
#include "tests/support/unit.h"

static uint64_t random_state;

static uint32_t random_below(uint32_t limit) {
  random_state = random_state * 6364136223846793005U + 1442695040888963407U;
  return (uint32_t)(random_state >> 33) % limit;
}

enum { IDS_MAX = 4000 };

/* ended[i] is of stream 2i + 1. */
struct model {
  uint8_t is_open[IDS_MAX], ended[IDS_MAX];
  uint32_t count, next;
};

static void open_next(struct guard_streams *streams, struct model *m) {
  if (m->next == IDS_MAX)
    return;
  assert_true(guard_streams_open_one(streams, m->next * 2 + 1));
  m->is_open[m->next++] = 1;
  m->count++;
}

static void end(struct guard_streams *streams, struct model *m, uint32_t at, uint32_t ended) {
  guard_streams_end(streams, at * 2 + 1, ended);
  if (!m->is_open[at])
    return;
  m->ended[at] |= (uint8_t)ended;
  if (m->ended[at] == GUARD_ENDED) {
    m->is_open[at] = 0;
    m->count--;
  }
}

static void check(const struct guard_streams *streams, const struct model *m, uint32_t at) {
  const struct guard_stream *stream = guard_streams_find(streams, at * 2 + 1);
  assert_int_equal(stream != NULL, m->is_open[at]);
  if (stream != NULL) {
    assert_int_equal(stream->id, at * 2 + 1);
    assert_int_equal(stream->ended, m->ended[at]);
  }
  assert_int_equal(streams->count, m->count);
}

/* Streams open while fewer than `level` are, or now and then; so the table stands near that level. */
static void run(uint32_t level) {
  struct guard_streams streams = {0};
  struct model m = {0};
  while (m.next < IDS_MAX) {
    if (m.count < level ? random_below(4) != 0 : random_below(8) == 0)
      open_next(&streams, &m);
    if (m.next == 0)
      continue;
    /* Mostly of the last ones, which are open. */
    uint32_t back = random_below(random_below(4) == 0 ? m.next : (m.next < 2 * level ? m.next : 2 * level));
    end(&streams, &m, m.next - 1 - back, 1 + random_below(3));
    check(&streams, &m, random_below(m.next));
    check(&streams, &m, m.next - 1 - back);
  }
  for (uint32_t at = 0; at < IDS_MAX; at++)
    check(&streams, &m, at);
  for (uint32_t at = 0; at < IDS_MAX; at++) {
    end(&streams, &m, at, GUARD_ENDED);
    check(&streams, &m, at / 2);
    check(&streams, &m, IDS_MAX - 1 - at / 2);
  }
  assert_int_equal(streams.count, 0);
  guard_streams_fini(&streams);
}

static void test_does_what_the_model_does(void **state) {
  (void)state;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t seed = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20;
  print_message("seed %llu\n", (unsigned long long)seed);
  random_state = seed;
  const uint32_t levels[] = {1, 2, 8, 11, 12, 13, 40, 100, 300, 1000};
  for (size_t i = 0; i < UNIT_COUNT(levels); i++)
    run(levels[i]);
}

/* Ids whose places are alike: neighbours in the table, so that gaps are closed over the table's end too. */
static void test_closes_gaps(void **state) {
  (void)state;
  struct guard_streams streams = {0};
  uint32_t ids[12], count = 0;
  for (uint32_t id = 1; count < UNIT_COUNT(ids); id += 2)
    if ((id * 0x9e3779b1U >> 16 & 15) >= 12) /* the last four of sixteen places */
      ids[count++] = id;
  for (uint32_t gone = 0; gone < count; gone++) {
    for (uint32_t i = 0; i < count; i++)
      assert_true(guard_streams_open_one(&streams, ids[i]));
    guard_streams_end(&streams, ids[gone], GUARD_ENDED);
    for (uint32_t i = 0; i < count; i++)
      assert_int_equal(guard_streams_find(&streams, ids[i]) != NULL, i != gone);
    for (uint32_t i = 0; i < count; i++)
      guard_streams_end(&streams, ids[i], GUARD_ENDED);
    assert_int_equal(streams.count, 0);
  }
  guard_streams_fini(&streams);
}

static void test_gives_memory_back(void **state) {
  (void)state;
  struct guard_streams streams = {0};
  assert_null(guard_streams_find(&streams, 1));
  guard_streams_end(&streams, 1, GUARD_ENDED);
  for (uint32_t i = 0; i < 1000; i++)
    assert_true(guard_streams_open_one(&streams, 2 * i + 1));
  assert_true(streams.capacity >= 1000);
  for (uint32_t i = 0; i < 1000; i++)
    guard_streams_end(&streams, 2 * i + 1, GUARD_ENDED);
  assert_null(streams.places);
  assert_true(guard_streams_open_one(&streams, 5001));
  guard_streams_end(&streams, 5001, GUARD_ENDED_BY_SERVER);
  assert_int_equal(guard_streams_find(&streams, 5001)->ended, GUARD_ENDED_BY_SERVER);
  guard_streams_end(&streams, 5001, GUARD_ENDED_BY_SERVER);
  assert_int_equal(streams.count, 1);
  guard_streams_end(&streams, 5001, GUARD_ENDED_BY_CLIENT);
  assert_int_equal(streams.count, 0);
  assert_int_equal(streams.capacity, 16); /* kept: the next stream is near */
  guard_streams_fini(&streams);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_does_what_the_model_does),
      cmocka_unit_test(test_closes_gaps),
      cmocka_unit_test(test_gives_memory_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
