#include "server/firestore/order_by.h"

#include <strings.h>

#include "base/limits.h"

static bool is_space(char c) {
  return c == ' ' || c == '\t';
}

static str trim(str text) {
  while (text.len > 0 && is_space(text.ptr[0]))
    text = str_from(text, 1);
  while (text.len > 0 && is_space(text.ptr[text.len - 1]))
    text.len--;
  return text;
}

/* What stands before the first comma (or space) outside of back quotes; *rest is what follows it, with a NULL
 * pointer if there is none. */
static str take_until(str text, bool space, str *rest) {
  bool quoted = false;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    if (quoted && c == '\\')
      i++;
    else if (c == '`')
      quoted = !quoted;
    else if (!quoted && (space ? is_space(c) : c == ',')) {
      *rest = str_from(text, i + 1);
      return str_make(text.ptr, i);
    }
  }
  *rest = (str){NULL, 0};
  return text;
}

static status parse_clause(str clause, struct arena *arena, struct query_order *ret) {
  str direction, field = take_until(trim(clause), true, &direction);
  direction = trim(direction);
  bool descending = direction.len == 4 && strncasecmp(direction.ptr, "desc", 4) == 0;
  bool ascending = direction.len == 0 || (direction.len == 3 && strncasecmp(direction.ptr, "asc", 3) == 0);
  *ret = (struct query_order){.descending = descending};
  ret->field.is_name = doc_field_path_is_name(field);
  status valid = ret->field.is_name ? status_ok() : doc_field_path_parse(field, arena, &ret->field.path);
  if (valid.code == STATUS_RESOURCE_EXHAUSTED)
    return valid;
  if (!status_is_ok(&valid) || !(ascending || descending))
    return status_make(STATUS_INVALID_ARGUMENT, "Invalid order by clause \"" STR_FMT "\".", STR_ARG(clause));
  return status_ok();
}

status order_by_parse(str order_by, struct arena *arena, struct query_order **ret, size_t *ret_count) {
  struct query_order *orders = ARENA_NEW_ARRAY(arena, struct query_order, LIMIT_QUERY_PARTS);
  size_t count = 0;
  if (orders == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  while (order_by.ptr != NULL && (order_by.len > 0 || count > 0)) {
    if (count == LIMIT_QUERY_PARTS)
      return status_make(STATUS_INVALID_ARGUMENT, "order_by has more than %d parts.", LIMIT_QUERY_PARTS);
    str clause = take_until(order_by, false, &order_by);
    STATUS_TRY(parse_clause(clause, arena, &orders[count++]));
  }
  *ret = orders;
  *ret_count = count;
  return status_ok();
}
