#include "net/freshness.h"

#include <ctype.h>
#include <strings.h>
#include <time.h>

static str trim(str text) {
  while (text.len > 0 && isspace((unsigned char)text.ptr[0]))
    text = str_from(text, 1);
  while (text.len > 0 && isspace((unsigned char)text.ptr[text.len - 1]))
    text.len--;
  return text;
}

static bool is_nocase(str text, const char *wanted) {
  return text.len == strlen(wanted) && strncasecmp(text.ptr, wanted, text.len) == 0;
}

static int64_t cache_control_s(str value) {
  int64_t lifetime_s = -1;
  while (value.ptr != NULL) {
    str argument, directive = str_split(str_split(value, ',', &value), '=', &argument);
    uint64_t seconds;
    directive = trim(directive);
    argument = trim(argument);
    if (argument.len >= 2 && argument.ptr[0] == '"' && argument.ptr[argument.len - 1] == '"')
      argument = str_make(argument.ptr + 1, argument.len - 2);
    if (is_nocase(directive, "no-store") || is_nocase(directive, "no-cache"))
      return 0;
    if (is_nocase(directive, "max-age") && str_to_u64(argument, &seconds))
      lifetime_s = seconds > INT32_MAX ? INT32_MAX : (int64_t)seconds;
  }
  return lifetime_s;
}

/* IMF-fixdate, the form that is sent today: "Sun, 06 Nov 1994 08:49:37 GMT". */
static bool parse_date(str text, int64_t *ret) {
  char copy[40];
  struct tm parts = {0};
  if (text.len == 0 || text.len >= sizeof copy)
    return false;
  memcpy(copy, text.ptr, text.len);
  copy[text.len] = '\0';
  const char *end = strptime(copy, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == NULL || *end != '\0')
    return false;
  *ret = (int64_t)timegm(&parts);
  return true;
}

int64_t net_response_lifetime_s(const struct net_response *response) {
  int64_t lifetime_s = cache_control_s(net_response_header(response, STR("cache-control")));
  int64_t expires_s, date_s;
  uint64_t age_s;
  str expires = net_response_header(response, STR("expires"));
  if (lifetime_s < 0 && expires.len > 0) { /* one that is no date has passed */
    bool dated =
        parse_date(expires, &expires_s) && parse_date(net_response_header(response, STR("date")), &date_s);
    lifetime_s = dated && expires_s > date_s ? expires_s - date_s : 0;
  }
  if (lifetime_s > 0 && str_to_u64(net_response_header(response, STR("age")), &age_s))
    lifetime_s = age_s >= (uint64_t)lifetime_s ? 0 : lifetime_s - (int64_t)age_s;
  return lifetime_s;
}
