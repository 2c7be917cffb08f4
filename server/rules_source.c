#include "server/rules_source.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/rules_file.h"
#include "server/tokens/file.h"

enum { PROBLEM_BYTES = 256 * 1024 };

struct rules_source {
  struct rules_source_options options;
  char *deployed;        /* path of what was deployed */
  pthread_mutex_t mutex; /* one change at a time */
};

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
  struct buf text = {0}, name = {0};
  struct rules *rules = NULL;
  status result = rules_file_read(path, &text, &name);
  if (status_is_ok(&result))
    result = compile(buf_str(&text), (const char *)name.data, &rules);
  buf_fini(&text);
  buf_fini(&name);
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
