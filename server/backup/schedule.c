#include "server/backup/schedule.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
#define HOUR_US (60 * MINUTE_US)
#define DAY_US (24 * HOUR_US)
/* Longer than any day, with a change of summer time in it. */
#define LONG_DAY_US (26 * HOUR_US)
/* Two daily backups are never closer than this, whatever the clock does. */
#define DAILY_LEAST_US (1 * HOUR_US)
#define RETRY_FIRST_US (5 * MINUTE_US)
#define RETRY_MAX_US HOUR_US

/* scanf takes signs and spaces where a number begins. */
static bool has_digit_at(const char *text, size_t at) {
  return strlen(text) > at && text[at] >= '0' && text[at] <= '9';
}

static bool parse_every(const char *text, struct schedule *ret) {
  unsigned number;
  char unit;
  int end = 0;
  // NOLINTNEXTLINE(cert-err34-c): six digits always fit
  if (sscanf(text, "every %6u%c%n", &number, &unit, &end) < 2 || !has_digit_at(text, strlen("every ")) ||
      text[end] != '\0')
    return false;
  int64_t factor = unit == 'm' ? MINUTE_US : unit == 'h' ? HOUR_US : unit == 'd' ? DAY_US : 0;
  ret->kind = SCHEDULE_EVERY;
  ret->every_us = (int64_t)number * factor;
  return ret->every_us >= MINUTE_US && ret->every_us <= 366 * DAY_US;
}

static bool parse_daily(const char *text, struct schedule *ret) {
  unsigned hour, minute;
  int end = 0;
  // NOLINTNEXTLINE(cert-err34-c): two digits always fit
  if (sscanf(text, "daily %2u:%2u%n", &hour, &minute, &end) < 2 || !has_digit_at(text, strlen("daily ")) ||
      !has_digit_at(text, strlen("daily 03:")) || strlen(text) != strlen("daily 03:00") || text[end] != '\0')
    return false;
  ret->kind = SCHEDULE_DAILY;
  ret->hour = (int)hour;
  ret->minute = (int)minute;
  return hour < 24 && minute < 60;
}

status schedule_parse(const char *text, struct schedule *ret) {
  struct schedule schedule = {.kind = SCHEDULE_OFF};
  if (strcmp(text, "off") != 0 && !parse_every(text, &schedule) && !parse_daily(text, &schedule))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "backup_schedule is \"%s\": say off, every 6h (30m, 1d, ...) or daily 03:00", text);
  *ret = schedule;
  return status_ok();
}

/* The last time at or before now that it was so late, local time. */
static int64_t latest_occurrence(const struct schedule *schedule, int64_t wall_us) {
  time_t now = (time_t)(wall_us / SECOND_US);
  struct tm at;
  if (localtime_r(&now, &at) == NULL)
    return 0;
  at.tm_hour = schedule->hour;
  at.tm_min = schedule->minute;
  at.tm_sec = 0;
  at.tm_isdst = -1;
  struct tm yesterday = at;
  time_t then = mktime(&at);
  if (then > now) {
    yesterday.tm_mday--;
    then = mktime(&yesterday);
  }
  return (int64_t)then * SECOND_US;
}

/* How long ago, by a clock that cannot jump. Of a backup of an earlier run it is at least as long. */
static int64_t surely_passed_us(const struct schedule_last *last, const struct schedule_now *now) {
  return now->monotonic_us - (last->is_of_this_run ? last->monotonic_us : now->started_monotonic_us);
}

bool schedule_is_due(const struct schedule *schedule, const struct schedule_last *last,
                     const struct schedule_now *now) {
  if (schedule->kind == SCHEDULE_OFF)
    return false;
  if (last->wall_us == 0)
    return true;
  int64_t passed_us = surely_passed_us(last, now);
  bool is_in_future = last->wall_us > now->wall_us;
  if (schedule->kind == SCHEDULE_EVERY) {
    if (passed_us >= schedule->every_us)
      return true;
    return !last->is_of_this_run && !is_in_future && now->wall_us - last->wall_us >= schedule->every_us;
  }
  if (passed_us >= LONG_DAY_US)
    return true;
  if (is_in_future || (last->is_of_this_run && passed_us < DAILY_LEAST_US))
    return false;
  return last->wall_us < latest_occurrence(schedule, now->wall_us);
}

int64_t schedule_retry_us(unsigned failures) {
  int64_t wait_us = RETRY_FIRST_US;
  while (failures-- > 1 && wait_us < RETRY_MAX_US)
    wait_us *= 2;
  return wait_us < RETRY_MAX_US ? wait_us : RETRY_MAX_US;
}
