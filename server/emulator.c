#include "server/emulator.h"

#include <stdio.h>

#include "server/firestore/erase.h"
#include "server/json/json_write.h"
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

/* ---- Accounts ---- */

static void delete_accounts(void *argument, struct gateway_request *request) {
  const struct emulator *emulator = argument;
  str project = gateway_request_variable(request, "project");
  status result = identity_service_delete_all(emulator->identity, project);
  mail_seen_clear(emulator->mail, project);
  if (status_is_ok(&result))
    gateway_answer(request, 200, JSON_TYPE, STR("{}\n"));
  else
    gateway_answer_status(request, result);
}

static void put_field(struct buf *out, const char *name, str value) {
  buf_printf(out, ",\"%s\":", name);
  json_write_string(value, out);
}

static void put_code(void *argument, const struct mail_seen_view *view) {
  static const char *const types[MAIL_KINDS] = {[MAIL_VERIFY_EMAIL] = "VERIFY_EMAIL",
                                                [MAIL_RESET_PASSWORD] = "PASSWORD_RESET",
                                                [MAIL_EMAIL_LINK] = "EMAIL_SIGNIN",
                                                [MAIL_CHANGE_EMAIL] = "VERIFY_AND_CHANGE_EMAIL",
                                                [MAIL_EMAIL_CHANGED] = "RECOVER_EMAIL"};
  struct buf *out = argument;
  if (out->data[out->len - 1] == '}')
    buf_append_byte(out, ',');
  buf_printf(out, "{\"requestType\":\"%s\"", types[view->kind]);
  put_field(out, "email", view->email);
  put_field(out, "oobCode", view->code);
  put_field(out, "oobLink", view->link);
  if (view->new_email.len > 0)
    put_field(out, "newEmail", view->new_email);
  buf_append_byte(out, '}');
}

static void list_codes(void *argument, struct gateway_request *request) {
  const struct emulator *emulator = argument;
  struct buf out = {0};
  buf_append_str(&out, STR("{\"oobCodes\":["));
  if (!out.failed)
    mail_seen_list(emulator->mail, gateway_request_variable(request, "project"), put_code, &out);
  buf_append_str(&out, STR("]}\n"));
  if (out.failed)
    gateway_answer_status(request, status_default(STATUS_RESOURCE_EXHAUSTED));
  else
    gateway_answer(request, 200, JSON_TYPE, buf_str(&out));
  buf_fini(&out);
}

static status register_accounts(struct gateway *gateway, struct emulator *emulator) {
  STATUS_TRY(gateway_route(gateway, "DELETE", "/emulator/v1/projects/{project}/accounts", delete_accounts,
                           emulator));
  return gateway_route(gateway, "GET", "/emulator/v1/projects/{project}/oobCodes", list_codes, emulator);
}

status emulator_register(struct gateway *gateway, struct emulator *emulator) {
  if (emulator->identity != NULL)
    STATUS_TRY(register_accounts(gateway, emulator));
  STATUS_TRY(
      gateway_route(gateway, "PUT", "/emulator/v1/projects/{project}:securityRules", put_rules, emulator));
  return gateway_route(gateway, "DELETE", "/emulator/v1/projects/{project}/databases/{database}/documents",
                       erase, emulator);
}
