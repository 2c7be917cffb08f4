#include "server/rules_file.h"

#include <stdio.h>

#include "server/tokens/file.h"
#include "server/tokens/json.h"

enum { JSON_DEPTH_MAX = 32, JSON_BYTES_MAX = 1024 * 1024 };

/* firestore.rules of a firebase.json: for the default database, if there are several. */
static bool find_rules_name(const json_t *json, str *ret) {
  json_t *firestore = json_object_get(json, "firestore");
  if (!json_is_array(firestore))
    return json_object_get_str(firestore, "rules", ret);
  size_t index;
  json_t *one;
  json_array_foreach(firestore, index, one) {
    str database;
    bool is_default = !json_object_get_str(one, "database", &database) || str_eq(database, STR("(default)"));
    if (is_default && json_object_get_str(one, "rules", ret))
      return true;
  }
  return false;
}

/* Beside the file that names it. */
static void put_named(const char *path, str name, struct buf *ret) {
  const char *slash = strrchr(path, '/');
  size_t directory = slash == NULL || (name.len > 0 && name.ptr[0] == '/') ? 0 : (size_t)(slash - path) + 1;
  buf_append(ret, path, directory);
  buf_append_str(ret, name);
}

static status find_in_json(const char *path, struct buf *ret_name) {
  struct buf text = {0};
  str name = {NULL, 0};
  status result = file_read(path, JSON_BYTES_MAX, &text);
  json_t *json = status_is_ok(&result) ? json_object_parse(buf_str(&text), JSON_DEPTH_MAX) : NULL;
  if (status_is_ok(&result) && (json == NULL || !find_rules_name(json, &name)))
    result = status_make(STATUS_INVALID_ARGUMENT, "%s names no firestore.rules.", path);
  if (status_is_ok(&result))
    put_named(path, name, ret_name);
  json_decref(json);
  buf_fini(&text);
  return result;
}

status rules_file_read(const char *path, struct buf *ret_text, struct buf *ret_name) {
  if (str_has_suffix(str_from_cstr(path), STR(".json")))
    STATUS_TRY(find_in_json(path, ret_name));
  else
    buf_append_str(ret_name, str_from_cstr(path));
  buf_append_byte(ret_name, 0);
  if (ret_name->failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  return file_read((const char *)ret_name->data, RULES_SOURCE_BYTES_MAX, ret_text);
}

void rules_file_print_problem(const char *name, uint32_t line, uint32_t column, bool is_warning, str text) {
  fprintf(stderr, "%s:%u:%u: %s: " STR_FMT "\n", name, line, column, is_warning ? "warning" : "error",
          STR_ARG(text));
}

void rules_file_print_problems(const char *name, const struct rules_problems *problems) {
  for (size_t i = 0; i < problems->count; i++) {
    const struct rules_problem *problem = &problems->items[i];
    rules_file_print_problem(name, problem->line, problem->column, problem->is_warning, problem->text);
  }
  if (problems->has_more)
    fprintf(stderr, "%s: and more\n", name);
}
