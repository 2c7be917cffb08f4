#include "server/json/json_time.h"

enum {
  NANOS = 1000000000,
  FRACTION_DIGITS = 9,
};
static const int64_t SECONDS_MIN = -62135596800; /* 0001-01-01T00:00:00Z */
static const int64_t SECONDS_MAX = 253402300799; /* 9999-12-31T23:59:59Z */
static const int64_t DURATION_MAX = 315576000000;

/* ---- Calendar: days since 1970-01-01 of the proleptic Gregorian calendar ---- */

static int64_t days_from_date(int year, int month, int day) {
  int64_t y = month <= 2 ? year - 1 : year;
  int64_t era = y / 400, of_era = y - era * 400; /* years are positive here */
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_from_days(int64_t days, int *year, int *month, int *day) {
  int64_t z = days + 719468, era = z / 146097, of_era = z - era * 146097; /* from the year 0 on: positive */
  int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
  *day = (int)(of_year - (153 * m + 2) / 5 + 1);
  *month = (int)(m < 10 ? m + 3 : m - 9);
  *year = (int)(y + era * 400 + (*month <= 2));
}

static int days_in(int year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return days[month - 1] + (month == 2 && is_leap);
}

/* ---- Reading ---- */

/* Takes exactly `digits` digits. */
static bool take_number(str *rest, size_t digits, int *ret) {
  if (rest->len < digits)
    return false;
  int value = 0;
  for (size_t i = 0; i < digits; i++) {
    if (rest->ptr[i] < '0' || rest->ptr[i] > '9')
      return false;
    value = value * 10 + (rest->ptr[i] - '0');
  }
  *rest = str_from(*rest, digits);
  *ret = value;
  return true;
}

static bool take_char(str *rest, char a, char b) {
  if (rest->len == 0 || (rest->ptr[0] != a && rest->ptr[0] != b))
    return false;
  *rest = str_from(*rest, 1);
  return true;
}

/* ".5" and the like; nothing is 0. */
static bool take_fraction(str *rest, int32_t *ret_nanos) {
  *ret_nanos = 0;
  if (!take_char(rest, '.', '.'))
    return true;
  size_t digits = 0;
  int32_t nanos = 0;
  while (digits < rest->len && rest->ptr[digits] >= '0' && rest->ptr[digits] <= '9') {
    if (digits == FRACTION_DIGITS)
      return false;
    nanos = nanos * 10 + (rest->ptr[digits++] - '0');
  }
  if (digits == 0)
    return false;
  *rest = str_from(*rest, digits);
  for (size_t i = digits; i < FRACTION_DIGITS; i++)
    nanos *= 10;
  *ret_nanos = nanos;
  return true;
}

static bool take_offset(str *rest, int *ret_seconds) {
  int hours, minutes;
  if (take_char(rest, 'Z', 'z')) {
    *ret_seconds = 0;
    return true;
  }
  bool is_behind = rest->len > 0 && rest->ptr[0] == '-';
  if (!take_char(rest, '+', '-') || !take_number(rest, 2, &hours) || !take_char(rest, ':', ':') ||
      !take_number(rest, 2, &minutes) || hours > 23 || minutes > 59)
    return false;
  *ret_seconds = (hours * 60 + minutes) * (is_behind ? -60 : 60);
  return true;
}

bool json_timestamp_read(str text, int64_t *ret_seconds, int32_t *ret_nanos) {
  int year, month, day, hour, minute, second, offset;
  int32_t nanos;
  if (!take_number(&text, 4, &year) || !take_char(&text, '-', '-') || !take_number(&text, 2, &month) ||
      !take_char(&text, '-', '-') || !take_number(&text, 2, &day) || !take_char(&text, 'T', 't') ||
      !take_number(&text, 2, &hour) || !take_char(&text, ':', ':') || !take_number(&text, 2, &minute) ||
      !take_char(&text, ':', ':') || !take_number(&text, 2, &second) || !take_fraction(&text, &nanos) ||
      !take_offset(&text, &offset) || text.len > 0)
    return false;
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 ||
      minute > 59 || second > 59)
    return false;
  int64_t seconds =
      days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - (int64_t)offset;
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX)
    return false;
  *ret_seconds = seconds;
  *ret_nanos = nanos;
  return true;
}

bool json_duration_read(str text, int64_t *ret_seconds, int32_t *ret_nanos) {
  bool is_negative = take_char(&text, '-', '-');
  size_t digits = 0;
  int64_t seconds = 0;
  int32_t nanos;
  while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
    seconds = seconds * 10 + (text.ptr[digits++] - '0');
    if (seconds > DURATION_MAX)
      return false;
  }
  if (digits == 0)
    return false;
  text = str_from(text, digits);
  if (!take_fraction(&text, &nanos) || !take_char(&text, 's', 's') || text.len > 0 ||
      (seconds == DURATION_MAX && nanos > 0))
    return false;
  *ret_seconds = is_negative ? -seconds : seconds;
  *ret_nanos = is_negative ? -nanos : nanos;
  return true;
}

/* ---- Writing ---- */

static void write_fraction(int32_t nanos, struct buf *out) {
  if (nanos == 0)
    return;
  if (nanos % 1000000 == 0)
    buf_printf(out, ".%03d", nanos / 1000000);
  else if (nanos % 1000 == 0)
    buf_printf(out, ".%06d", nanos / 1000);
  else
    buf_printf(out, ".%09d", nanos);
}

bool json_timestamp_write(int64_t seconds, int32_t nanos, struct buf *out) {
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0 || nanos >= NANOS)
    return false;
  int64_t days = seconds / 86400, rest = seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    days--;
  }
  int year, month, day;
  date_from_days(days, &year, &month, &day);
  buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d", year, month, day, (int)(rest / 3600),
             (int)(rest / 60 % 60), (int)(rest % 60));
  write_fraction(nanos, out);
  buf_append_byte(out, 'Z');
  return true;
}

bool json_duration_write(int64_t seconds, int32_t nanos, struct buf *out) {
  bool is_negative = seconds < 0 || nanos < 0;
  if (seconds < -DURATION_MAX || seconds > DURATION_MAX || nanos <= -NANOS || nanos >= NANOS ||
      (is_negative && (seconds > 0 || nanos > 0)))
    return false;
  buf_printf(out, "%s%lld", is_negative ? "-" : "", (long long)(is_negative ? -seconds : seconds));
  write_fraction(is_negative ? -nanos : nanos, out);
  buf_append_byte(out, 's');
  return true;
}
