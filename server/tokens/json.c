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

status json_object_read(str text, unsigned depth_max, json_t **ret) {
  if (text.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "it is empty");
  if (!depth_is_within(text, depth_max))
    return status_make(STATUS_INVALID_ARGUMENT, "it has more than %u objects and arrays in each other",
                       depth_max);
  json_error_t error;
  json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
  if (json_is_object(json)) {
    *ret = json;
    return status_ok();
  }
  if (json != NULL) {
    json_decref(json);
    return status_make(STATUS_INVALID_ARGUMENT, "it is no JSON object, {...}");
  }
  return json_error_code(&error) == json_error_out_of_memory
             ? status_default(STATUS_RESOURCE_EXHAUSTED)
             : status_make(STATUS_INVALID_ARGUMENT, "line %d, column %d: %s", error.line, error.column,
                           error.text);
}

json_t *json_object_parse(str text, unsigned depth_max) {
  json_t *json = NULL;
  status result = json_object_read(text, depth_max, &json);
  return status_is_ok(&result) ? json : NULL;
}

bool json_object_get_str(const json_t *object, const char *name, str *ret) {
  const json_t *value = json_object_get(object, name);
  *ret =
      json_is_string(value) ? str_make(json_string_value(value), json_string_length(value)) : (str){NULL, 0};
  return json_is_string(value);
}
