#include "server/emulator.h"

#include <stdio.h>

#include "server/firestore/erase.h"
#include "server/tokens/json.h"

enum { NAME_BYTES_MAX = 1024, JSON_DEPTH_MAX = 16, PROBLEM_BYTES_MAX = 256 * 1024 };
static const char JSON_TYPE[] = "application/json; charset=UTF-8";

static void erase(void *argument, struct gateway_request *request) {
  const struct emulator *emulator = argument;
  str project = gateway_request_variable(request, "project");
  str database = gateway_request_variable(request, "database");
  char name[NAME_BYTES_MAX];
  int len = snprintf(name, sizeof name, "projects/" STR_FMT "/databases/" STR_FMT, STR_ARG(project),
                     STR_ARG(database));
  status result = len > 0 && (size_t)len < sizeof name
                      ? firestore_erase_database(emulator->firestore, name)
                      : status_make(STATUS_INVALID_ARGUMENT, "The name of the database is too long.");
  if (status_is_ok(&result))
    gateway_answer(request, 200, JSON_TYPE, STR("{}\n"));
  else
    gateway_answer_status(request, result);
}

static bool find_content(const json_t *json, str *ret) {
  const json_t *files = json_object_get(json_object_get(json, "rules"), "files");
  return json_array_size(files) == 1 && json_object_get_str(json_array_get(files, 0), "content", ret);
}

static status use_rules(const struct emulator *emulator, str body, struct arena *arena) {
  str content;
  struct rules_problems *problems = ARENA_NEW(arena, struct rules_problems);
  if (problems == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  json_t *json = json_object_parse(body, JSON_DEPTH_MAX);
  status result = json != NULL && find_content(json, &content)
                      ? rules_source_use(emulator->rules, content, arena, problems)
                      : status_make(STATUS_INVALID_ARGUMENT,
                                    "The body is not {\"rules\": {\"files\": [{\"content\": \"...\"}]}}.");
  json_decref(json);
  return result;
}

static void put_rules(void *argument, struct gateway_request *request) {
  struct arena arena;
  arena_init(&arena, NULL, 0, PROBLEM_BYTES_MAX);
  status result = use_rules(argument, gateway_request_body(request), &arena);
  arena_fini(&arena);
  if (status_is_ok(&result))
    gateway_answer(request, 200, JSON_TYPE, STR("{}\n"));
  else
    gateway_answer_status(request, result);
}

status emulator_register(struct gateway *gateway, struct emulator *emulator) {
  STATUS_TRY(
      gateway_route(gateway, "PUT", "/emulator/v1/projects/{project}:securityRules", put_rules, emulator));
  return gateway_route(gateway, "DELETE", "/emulator/v1/projects/{project}/databases/{database}/documents",
                       erase, emulator);
}
