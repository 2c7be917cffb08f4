#include "server/rules_source.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/tokens/file.h"
#include "server/tokens/json.h"

enum { JSON_DEPTH_MAX = 32, JSON_BYTES_MAX = 1024 * 1024, PROBLEM_BYTES = 256 * 1024 };

struct rules_source {
  struct rules_source_options options;
  char *deployed;        /* path of what was deployed */
  pthread_mutex_t mutex; /* one change at a time */
};

/* ---- Files ---- */

static bool is_json(const char *path) {
  return str_has_suffix(str_from_cstr(path), STR(".json"));
}

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
static status read_named(const char *path, str name, struct buf *ret) {
  const char *slash = strrchr(path, '/');
  size_t directory = slash == NULL || (name.len > 0 && name.ptr[0] == '/') ? 0 : (size_t)(slash - path) + 1;
  struct buf other = {0};
  buf_append(&other, path, directory);
  buf_append_str(&other, name);
  buf_append_byte(&other, 0);
  status result = !other.failed ? file_read((const char *)other.data, RULES_SOURCE_BYTES_MAX, ret)
                                : status_default(STATUS_RESOURCE_EXHAUSTED);
  buf_fini(&other);
  return result;
}

static status read_json(const char *path, struct buf *ret) {
  struct buf text = {0};
  str name = {NULL, 0};
  status result = file_read(path, JSON_BYTES_MAX, &text);
  json_t *json = status_is_ok(&result) ? json_object_parse(buf_str(&text), JSON_DEPTH_MAX) : NULL;
  if (status_is_ok(&result) && (json == NULL || !find_rules_name(json, &name)))
    result = status_make(STATUS_INVALID_ARGUMENT, "%s names no firestore.rules.", path);
  if (status_is_ok(&result))
    result = read_named(path, name, ret);
  json_decref(json);
  buf_fini(&text);
  return result;
}

/* ---- Compiling ---- */

static void log_problems(const struct rules_problems *problems, const char *origin) {
  for (size_t i = 0; i < problems->count; i++) {
    const struct rules_problem *problem = &problems->items[i];
    log_event(problem->is_warning ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, "security rules",
              LOG_CSTR("file", origin), LOG_INT("line", problem->line), LOG_INT("column", problem->column),
              LOG_STR("problem", problem->text));
  }
}

static status compile(str text, const char *origin, struct rules **ret) {
  struct arena arena;
  struct rules_problems *problems = calloc(1, sizeof *problems);
  if (problems == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  arena_init(&arena, NULL, 0, PROBLEM_BYTES);
  status result = rules_compile(text, &arena, problems, ret);
  log_problems(problems, origin);
  arena_fini(&arena);
  free(problems);
  if (result.code == STATUS_INVALID_ARGUMENT)
    return status_make(STATUS_INVALID_ARGUMENT, "%s:%s", origin, result.message);
  return result;
}

static status load(struct rules_source *source, const char *path) {
  struct buf text = {0};
  struct rules *rules = NULL;
  status result = is_json(path) ? read_json(path, &text) : file_read(path, RULES_SOURCE_BYTES_MAX, &text);
  if (status_is_ok(&result))
    result = compile(buf_str(&text), path, &rules);
  buf_fini(&text);
  if (status_is_ok(&result))
    access_set_rules(source->options.access, rules);
  return result;
}

status rules_source_reload(struct rules_source *source) {
  if (source->options.file == NULL)
    return status_ok();
  pthread_mutex_lock(&source->mutex);
  status result = load(source, source->options.file);
  pthread_mutex_unlock(&source->mutex);
  return result;
}

/* ---- Deploying ---- */

static status use(struct rules_source *source, str text, bool keep, struct arena *arena,
                  struct rules_problems *ret) {
  struct rules *rules = NULL;
  STATUS_TRY(rules_compile(text, arena, ret, &rules));
  pthread_mutex_lock(&source->mutex);
  status result = keep ? file_replace(source->deployed, text) : status_ok();
  if (status_is_ok(&result))
    access_set_rules(source->options.access, rules);
  else
    rules_unref(rules);
  pthread_mutex_unlock(&source->mutex);
  return result;
}

status rules_source_deploy(struct rules_source *source, str text, struct arena *arena,
                           struct rules_problems *ret) {
  if (source->options.file != NULL)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "The setting rules says that they come from %s: change that file and send SIGHUP.",
                       source->options.file);
  return use(source, text, true, arena, ret);
}

status rules_source_use(struct rules_source *source, str text, struct arena *arena,
                        struct rules_problems *ret) {
  return use(source, text, false, arena, ret);
}

/* ---- The source ---- */

static char *path_in(const char *directory, const char *name) {
  size_t size = strlen(directory) + 1 + strlen(name) + 1;
  char *path = malloc(size);
  if (path != NULL)
    snprintf(path, size, "%s/%s", directory, name);
  return path;
}

status rules_source_open(const struct rules_source_options *options, struct rules_source **ret) {
  struct rules_source *source = calloc(1, sizeof *source);
  if (source == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  source->options = *options;
  pthread_mutex_init(&source->mutex, NULL);
  source->deployed = path_in(options->directory, "firestore.rules");
  status result = source->deployed == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED)
                  : options->file != NULL  ? load(source, options->file)
                                           : load(source, source->deployed);
  if (result.code == STATUS_NOT_FOUND && options->file == NULL)
    result = status_ok(); /* nothing was deployed */
  if (status_is_ok(&result))
    *ret = source;
  else
    rules_source_close(source);
  return result;
}

void rules_source_close(struct rules_source *source) {
  if (source == NULL)
    return;
  pthread_mutex_destroy(&source->mutex);
  free(source->deployed);
  free(source);
}
