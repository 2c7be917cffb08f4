#include <stdlib.h>
#include <time.h>

#include "ports/simulated.h"
#include "server/backup/schedule.h"
#include "tests/support/unit.h"

#define MINUTE_US INT64_C(60000000)
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)

/* A server on a simulated clock, which looks every minute. */
struct box {
  struct port_simulated *simulated;
  struct port *port;
  struct schedule schedule;
  struct schedule_last last;
  int64_t started_us;
};

static void start(struct box *box) {
  box->started_us = box->port->monotonic_us(box->port);
  box->last.is_of_this_run = false; /* only the time of the newest backup is known, from its directory */
}

static struct box box_new(const char *text) {
  struct box box = {.simulated = port_simulated_new()};
  box.port = port_simulated_port(box.simulated);
  assert_status_ok(schedule_parse(text, &box.schedule));
  start(&box);
  return box;
}

static bool is_due(const struct box *box) {
  struct schedule_now now = {box->port->wall_us(box->port), box->port->monotonic_us(box->port),
                             box->started_us};
  return schedule_is_due(&box->schedule, &box->last, &now);
}

/* The backups of so long a time. */
static int run(struct box *box, int64_t us) {
  int count = 0;
  for (int64_t passed = 0; passed < us; passed += MINUTE_US) {
    port_simulated_advance(box->simulated, MINUTE_US);
    if (!is_due(box))
      continue;
    count++;
    box->last =
        (struct schedule_last){box->port->wall_us(box->port), true, box->port->monotonic_us(box->port)};
  }
  return count;
}

static void schedules_are_read(void **state) {
  (void)state;
  static const char *const wrong[] = {
      "",          "every",       "every 6",     "every 0h",    "every 6x",     "every -1h",  "every 6h ",
      "daily",     "daily 24:00", "daily 12:60", "daily 3",     "daily 03:00x", "every 400d", "every +6h",
      "every  6h", "daily +3:00", "daily 03:+1", "daily 3:000", "hourly",       "every 6hh"};
  struct schedule schedule;
  for (size_t i = 0; i < UNIT_COUNT(wrong); i++)
    assert_status_code(schedule_parse(wrong[i], &schedule), STATUS_INVALID_ARGUMENT);
  assert_status_ok(schedule_parse("off", &schedule));
  assert_int_equal(schedule.kind, SCHEDULE_OFF);
  assert_status_ok(schedule_parse("every 90m", &schedule));
  assert_int_equal(schedule.every_us, 90 * MINUTE_US);
  assert_status_ok(schedule_parse("daily 23:59", &schedule));
  assert_int_equal(schedule.hour * 60 + schedule.minute, 23 * 60 + 59);
}

static void off_is_never(void **state) {
  (void)state;
  struct box box = box_new("off");
  assert_int_equal(run(&box, 3 * DAY_US), 0);
  port_simulated_free(box.simulated);
}

static void every_so_often(void **state) {
  (void)state;
  struct box box = box_new("every 6h");
  assert_int_equal(run(&box, MINUTE_US), 1); /* the first at once */
  assert_int_equal(run(&box, 5 * HOUR_US), 0);
  assert_int_equal(run(&box, HOUR_US), 1);
  assert_int_equal(run(&box, 10 * DAY_US), 40);
  port_simulated_free(box.simulated);
}

static void daily_at_its_time(void **state) {
  (void)state;
  struct box box = box_new("daily 03:00"); /* it is midnight */
  assert_int_equal(run(&box, MINUTE_US), 1);
  assert_int_equal(run(&box, 2 * HOUR_US + 58 * MINUTE_US), 0);
  assert_int_equal(run(&box, MINUTE_US), 1); /* 03:00 */
  assert_int_equal(run(&box, 30 * DAY_US), 30);
  port_simulated_free(box.simulated);
}

static void what_was_missed_is_due_at_the_start(void **state) {
  (void)state;
  struct box daily = box_new("daily 03:00"), every = box_new("every 6h");
  run(&daily, 4 * HOUR_US);
  run(&every, 4 * HOUR_US);
  start(&daily);
  start(&every);
  assert_false(is_due(&daily)); /* a restart alone is no reason */
  assert_false(is_due(&every));
  port_simulated_advance(daily.simulated, 2 * DAY_US); /* the box is off */
  port_simulated_advance(every.simulated, 2 * DAY_US);
  start(&daily);
  start(&every);
  assert_int_equal(run(&daily, HOUR_US), 1); /* one, not two */
  assert_int_equal(run(&every, HOUR_US), 1);
  port_simulated_free(daily.simulated);
  port_simulated_free(every.simulated);
}

static void a_clock_that_jumps(void **state) {
  (void)state;
  static const char *const texts[] = {"daily 03:00", "every 6h"};
  for (size_t i = 0; i < UNIT_COUNT(texts); i++) {
    struct box box = box_new(texts[i]);
    run(&box, DAY_US);
    int64_t wall_us = box.port->wall_us(box.port);
    port_simulated_set_wall(box.simulated, 0); /* 1970, and it stays so wrong */
    int a_day = run(&box, 2 * DAY_US);
    assert_in_range(a_day, 1, 8); /* not none, and not one a minute */
    start(&box);
    assert_in_range(run(&box, 3 * DAY_US), 2, 12);
    port_simulated_set_wall(box.simulated, wall_us + 400 * DAY_US);
    assert_in_range(run(&box, HOUR_US), 0, 1);
    assert_in_range(run(&box, 3 * DAY_US), 3, 12);
    port_simulated_free(box.simulated);
  }
}

static void a_new_run_with_the_last_in_the_future(void **state) {
  (void)state;
  struct box box = box_new("every 6h");
  run(&box, HOUR_US);
  port_simulated_set_wall(box.simulated, 1000);
  start(&box);
  assert_int_equal(run(&box, 5 * HOUR_US), 0);
  assert_int_equal(run(&box, 2 * HOUR_US), 1); /* six hours after the start at the latest */
  port_simulated_free(box.simulated);
}

static void failures_are_tried_again(void **state) {
  (void)state;
  assert_int_equal(schedule_retry_us(1), 5 * MINUTE_US);
  assert_int_equal(schedule_retry_us(2), 10 * MINUTE_US);
  assert_int_equal(schedule_retry_us(5), HOUR_US);
  assert_int_equal(schedule_retry_us(1000000), HOUR_US);
}

int main(void) {
  setenv("TZ", "UTC", 1);
  tzset();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(schedules_are_read),
      cmocka_unit_test(off_is_never),
      cmocka_unit_test(every_so_often),
      cmocka_unit_test(daily_at_its_time),
      cmocka_unit_test(what_was_missed_is_due_at_the_start),
      cmocka_unit_test(a_clock_that_jumps),
      cmocka_unit_test(a_new_run_with_the_last_in_the_future),
      cmocka_unit_test(failures_are_tried_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
