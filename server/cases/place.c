#include <stdarg.h>
#include <stdio.h>

#include "server/cases/reader.h"

/* No place is deeper: the JSON is bounded. */
enum { PLACES_MAX = CASES_JSON_DEPTH_MAX + 8 };

static void put_place(struct buf *out, const struct cases_place *at) {
  const struct cases_place *down[PLACES_MAX];
  size_t depth = 0;
  for (; at != NULL && depth < PLACES_MAX; at = at->up)
    down[depth++] = at;
  bool is_first = true;
  for (size_t i = depth; i-- > 0;) {
    if (down[i]->is_case) {
      buf_printf(out, "case \"" STR_FMT "\": ", STR_ARG(down[i]->name));
      continue;
    }
    if (down[i]->name.len > 0)
      buf_printf(out, "%s%.*s", is_first ? "" : ".", (int)(down[i]->name.len > 80 ? 80 : down[i]->name.len),
                 down[i]->name.ptr);
    if (down[i]->index != CASES_NO_INDEX)
      buf_printf(out, "[%zu]", down[i]->index);
    is_first = false;
  }
}

status(cases_wrong)(const struct cases_place *at, const char *format, ...) {
  char text[STATUS_MESSAGE_MAX + 1];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  struct buf out = {0};
  put_place(&out, at);
  bool has_separator = out.len == 0 || out.data[out.len - 1] == ' ';
  status result = status_make(STATUS_INVALID_ARGUMENT, STR_FMT "%s%s", STR_ARG(buf_str(&out)),
                              has_separator ? "" : ": ", text);
  buf_fini(&out);
  return result;
}

status(cases_wrong_status)(const struct cases_place *at, status failure) {
  return failure.code == STATUS_RESOURCE_EXHAUSTED ? failure : cases_wrong(at, "%s", failure.message);
}

/* ---- Pieces of JSON ---- */

status cases_check_object(const json_t *json, const struct cases_place *at, const char *const *known) {
  if (!json_is_object(json))
    return cases_wrong(at, "it must be an object, {...}");
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)json, key, value) {
    const char *const *name = known;
    while (*name != NULL && strcmp(*name, key) != 0)
      name++;
    if (*name == NULL)
      return cases_wrong(at, "\"%.64s\" is not known here", key);
  }
  return status_ok();
}

status cases_check_array(const json_t *json, const struct cases_place *at, size_t most) {
  if (!json_is_array(json))
    return cases_wrong(at, "it must be an array, [...]");
  if (json_array_size(json) > most)
    return cases_wrong(at, "%zu of them are more than the %zu that are allowed", json_array_size(json), most);
  return status_ok();
}

status cases_read_text(struct cases_reader *reader, const json_t *json, const struct cases_place *at,
                       str *ret) {
  if (!json_is_string(json))
    return cases_wrong(at, "it must be a text, \"...\"");
  *ret = arena_str_copy(reader->arena, str_make(json_string_value(json), json_string_length(json)));
  return ret->ptr == NULL ? cases_no_memory() : status_ok();
}

status cases_read_path(struct cases_reader *reader, str relative, const struct cases_place *at,
                       struct doc_path *ret) {
  str name = arena_printf(reader->arena, STR_FMT "/" STR_FMT, STR_ARG(reader->root.name), STR_ARG(relative));
  if (name.ptr == NULL)
    return cases_no_memory();
  status result = doc_path_parse_document(name, ret);
  return status_is_ok(&result) ? result : cases_wrong_status(at, result);
}
