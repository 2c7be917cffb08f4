/* Timestamps and durations. Days are counted in the proleptic Gregorian calendar, in UTC. */
#include "server/rules/builtin.h"
#include "server/rules/evaluation.h"

#define NANOS_PER_SECOND 1000000000LL
enum { SECONDS_PER_DAY = 86400 };
static const int64_t timestamp_seconds_min = -62135596800,
                     timestamp_seconds_max = 253402300799; /* years 1 to 9999 */
static const int64_t duration_seconds_max = 315576000000;

bool rules_time_make(enum rules_kind kind, int64_t seconds, int64_t nanos, struct rules_value *ret) {
  int64_t rest = nanos % NANOS_PER_SECOND;
  if (__builtin_add_overflow(seconds, nanos / NANOS_PER_SECOND, &seconds))
    return false;
  /* Of a timestamp nanos are never negative, of a duration both have the same sign. */
  if (rest < 0 && (kind == VALUE_TIMESTAMP || seconds > 0)) {
    rest += NANOS_PER_SECOND;
    if (__builtin_sub_overflow(seconds, 1, &seconds))
      return false;
  } else if (rest > 0 && kind == VALUE_DURATION && seconds < 0) {
    rest -= NANOS_PER_SECOND;
    seconds++;
  }
  *ret = (struct rules_value){.kind = (uint8_t)kind};
  ret->as.time.seconds = seconds;
  ret->as.time.nanos = (int32_t)rest;
  return kind == VALUE_TIMESTAMP ? seconds >= timestamp_seconds_min && seconds <= timestamp_seconds_max
                                 : seconds >= -duration_seconds_max && seconds <= duration_seconds_max;
}

static struct rules_value made(struct rules_evaluation *e, const struct rules_call *call,
                               enum rules_kind kind, int64_t seconds, int64_t nanos) {
  struct rules_value value;
  return rules_time_make(kind, seconds, nanos, &value) ? value
                                                       : rules_error_value(e, RULES_ERROR_TIME, call->node);
}

/* ---- Calendar ---- */

struct date {
  int64_t year;
  int month, day; /* from 1 */
};

static bool is_leap(int64_t year) {
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int64_t year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from 1 January of year 1 to that of `year`, a year from 1 on. */
static int64_t days_before_year(int64_t year) {
  int64_t past = year - 1;
  return past * 365 + past / 4 - past / 100 + past / 400;
}

enum { DAYS_TO_1970 = 719162 };

static int64_t days_from_date(struct date date) {
  int64_t days = days_before_year(date.year) - DAYS_TO_1970 + date.day - 1;
  for (int month = 1; month < date.month; month++)
    days += days_in_month(date.year, month);
  return days;
}

static int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b < 0);
}

static struct date date_from_days(int64_t days, int *ret_day_of_year) {
  int64_t from_year_1 = days + DAYS_TO_1970;
  int64_t year = from_year_1 / 366 + 1; /* not too late; a few steps to the right one */
  while (from_year_1 >= days_before_year(year + 1))
    year += (from_year_1 - days_before_year(year + 1)) / 366 + 1;
  int rest = (int)(from_year_1 - days_before_year(year));
  *ret_day_of_year = rest + 1;
  struct date date = {year, 1, 1};
  while (rest >= days_in_month(year, date.month))
    rest -= days_in_month(year, date.month++);
  date.day = rest + 1;
  return date;
}

/* ---- Timestamps ---- */

static bool call_on_timestamp(struct rules_evaluation *e, const struct rules_call *call,
                              struct rules_value *ret) {
  int64_t seconds = call->target->as.time.seconds;
  int64_t days = floor_div(seconds, SECONDS_PER_DAY), in_day = seconds - days * SECONDS_PER_DAY;
  int day_of_year;
  struct date date = date_from_days(days, &day_of_year);
  switch ((unsigned)call->node->number) {
  case METHOD_DATE:
    *ret = made(e, call, VALUE_TIMESTAMP, days * SECONDS_PER_DAY, 0);
    return true;
  case METHOD_TIME:
    *ret = made(e, call, VALUE_DURATION, in_day, call->target->as.time.nanos);
    return true;
  case METHOD_YEAR:
    *ret = rules_int(date.year);
    return true;
  case METHOD_MONTH:
    *ret = rules_int(date.month);
    return true;
  case METHOD_DAY:
    *ret = rules_int(date.day);
    return true;
  case METHOD_DAY_OF_WEEK: /* Monday is 1; 1 January 1970 was a Thursday */
    *ret = rules_int(((days + 3) % 7 + 7) % 7 + 1);
    return true;
  case METHOD_DAY_OF_YEAR:
    *ret = rules_int(day_of_year);
    return true;
  case METHOD_HOURS:
    *ret = rules_int(in_day / 3600);
    return true;
  case METHOD_MINUTES:
    *ret = rules_int(in_day / 60 % 60);
    return true;
  case METHOD_SECONDS:
    *ret = rules_int(in_day % 60);
    return true;
  case METHOD_NANOS:
    *ret = rules_int(call->target->as.time.nanos);
    return true;
  case METHOD_TO_MILLIS:
    *ret = rules_int(seconds * 1000 + call->target->as.time.nanos / 1000000);
    return true;
  default:
    return false;
  }
}

static bool call_on_duration(const struct rules_call *call, struct rules_value *ret) {
  if (call->node->number == METHOD_SECONDS)
    *ret = rules_int(call->target->as.time.seconds);
  else if (call->node->number == METHOD_NANOS)
    *ret = rules_int(call->target->as.time.nanos);
  else
    return false;
  return true;
}

/* ---- timestamp. and duration. ---- */

static bool all_integers(const struct rules_call *call) {
  for (uint32_t i = 0; i < call->argument_count; i++)
    if (call->arguments[i].kind != VALUE_INT)
      return false;
  return true;
}

static struct rules_value make_date(struct rules_evaluation *e, const struct rules_call *call) {
  int64_t year = call->arguments[0].as.integer, month = call->arguments[1].as.integer,
          day = call->arguments[2].as.integer;
  if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, (int)month))
    return rules_error_value(e, RULES_ERROR_TIME, call->node);
  struct date date = {year, (int)month, (int)day};
  return made(e, call, VALUE_TIMESTAMP, days_from_date(date) * SECONDS_PER_DAY, 0);
}

static struct rules_value make_duration(struct rules_evaluation *e, const struct rules_call *call) {
  static const struct {
    const char *name;
    int64_t seconds, per_second; /* in one unit; units in one second */
  } units[] = {
      {"w", 604800, 1},           {"d", 86400, 1}, {"h", 3600, 1}, {"m", 60, 1}, {"s", 1, 1}, {"ms", 0, 1000},
      {"ns", 0, NANOS_PER_SECOND}};
  int64_t amount = call->arguments[0].as.integer, seconds;
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    if (!str_eq(call->arguments[1].as.bytes, str_from_cstr(units[i].name)))
      continue;
    if (units[i].seconds == 0)
      return made(e, call, VALUE_DURATION, amount / units[i].per_second,
                  amount % units[i].per_second * (NANOS_PER_SECOND / units[i].per_second));
    if (__builtin_mul_overflow(amount, units[i].seconds, &seconds))
      break;
    return made(e, call, VALUE_DURATION, seconds, 0);
  }
  return rules_error_value(e, RULES_ERROR_TIME, call->node);
}

/* Hours, minutes, seconds, nanoseconds. */
static struct rules_value make_duration_of_parts(struct rules_evaluation *e, const struct rules_call *call) {
  const struct rules_value *parts = call->arguments;
  int64_t hours, minutes, seconds;
  if (__builtin_mul_overflow(parts[0].as.integer, (int64_t)3600, &hours) ||
      __builtin_mul_overflow(parts[1].as.integer, (int64_t)60, &minutes) ||
      __builtin_add_overflow(hours, minutes, &seconds) ||
      __builtin_add_overflow(seconds, parts[2].as.integer, &seconds))
    return rules_error_value(e, RULES_ERROR_TIME, call->node);
  return made(e, call, VALUE_DURATION, seconds, parts[3].as.integer);
}

static struct rules_value duration_abs(struct rules_value duration) {
  if (duration.as.time.seconds < 0 || duration.as.time.nanos < 0) {
    duration.as.time.seconds = -duration.as.time.seconds;
    duration.as.time.nanos = -duration.as.time.nanos;
  }
  return duration;
}

bool rules_call_time(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret) {
  const struct rules_value *arguments = call->arguments;
  if (call->target != NULL && call->target->kind == VALUE_TIMESTAMP)
    return call_on_timestamp(e, call, ret);
  if (call->target != NULL)
    return call->target->kind == VALUE_DURATION && call_on_duration(call, ret);
  switch ((unsigned)call->node->number) {
  case TIMESTAMP_DATE:
    if (!all_integers(call))
      return false;
    *ret = make_date(e, call);
    return true;
  case TIMESTAMP_VALUE:
    if (!all_integers(call))
      return false;
    *ret = made(e, call, VALUE_TIMESTAMP, arguments[0].as.integer / 1000,
                arguments[0].as.integer % 1000 * 1000000);
    return true;
  case DURATION_TIME:
    if (!all_integers(call))
      return false;
    *ret = make_duration_of_parts(e, call);
    return true;
  case DURATION_VALUE:
    if (arguments[0].kind != VALUE_INT || arguments[1].kind != VALUE_STRING)
      return false;
    *ret = make_duration(e, call);
    return true;
  case DURATION_ABS:
    if (arguments[0].kind != VALUE_DURATION)
      return false;
    *ret = duration_abs(arguments[0]);
    return true;
  default:
    return false;
  }
}
