#include "server/tokens/json.h"

/* Brackets outside of strings. Text that is not JSON may be counted wrong: jansson refuses it then. */
static bool depth_is_within(str text, unsigned depth_max) {
  unsigned depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    if (in_string) {
      if (c == '\\')
        i++;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > depth_max)
        return false;
    } else if ((c == '}' || c == ']') && depth > 0) {
      depth--;
    }
  }
  return true;
}

json_t *json_object_parse(str text, unsigned depth_max) {
  if (text.len == 0 || !depth_is_within(text, depth_max))
    return NULL;
  json_error_t error;
  json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
  if (json_is_object(json))
    return json;
  json_decref(json);
  return NULL;
}

bool json_object_get_str(const json_t *object, const char *name, str *ret) {
  const json_t *value = json_object_get(object, name);
  *ret =
      json_is_string(value) ? str_make(json_string_value(value), json_string_length(value)) : (str){NULL, 0};
  return json_is_string(value);
}
