#include "server/admin/rules.h"

#include "base/log.h"

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The answer needs more memory than a call may take.");
}

static status list_problems(const struct rules_problems *problems, struct arena *arena,
                            Skerry__Admin__V1__DeployRulesResponse *ret) {
  Skerry__Admin__V1__RulesProblem *items =
      ARENA_NEW_ARRAY(arena, Skerry__Admin__V1__RulesProblem, problems->count);
  ret->problems = ARENA_NEW_ARRAY(arena, Skerry__Admin__V1__RulesProblem *, problems->count);
  if (items == NULL || ret->problems == NULL)
    return no_memory();
  for (size_t i = 0; i < problems->count; i++) {
    const struct rules_problem *problem = &problems->items[i];
    skerry__admin__v1__rules_problem__init(&items[i]);
    items[i].line = (int32_t)problem->line;
    items[i].column = (int32_t)problem->column;
    items[i].is_warning = problem->is_warning;
    items[i].text = (char *)(uintptr_t)arena_str_copy(arena, problem->text).ptr;
    if (items[i].text == NULL)
      return no_memory();
    ret->problems[i] = &items[i];
  }
  ret->n_problems = problems->count;
  return status_ok();
}

static status check(str source, struct arena *arena, struct rules_problems *problems) {
  struct rules *rules = NULL;
  status result = rules_compile(source, arena, problems, &rules);
  rules_unref(rules);
  return result;
}

static status deploy(const struct admin *admin, const Skerry__Admin__V1__DeployRulesRequest *request,
                     struct arena *arena, Skerry__Admin__V1__DeployRulesResponse *ret) {
  str source = str_from_cstr(request->source);
  struct rules_problems *problems = ARENA_NEW(arena, struct rules_problems);
  if (problems == NULL)
    return no_memory();
  status result = request->check_only ? check(source, arena, problems)
                                      : rules_source_deploy(admin->rules, source, arena, problems);
  bool has_errors = result.code == STATUS_INVALID_ARGUMENT;
  if (!has_errors)
    STATUS_TRY(result);
  ret->ok = !has_errors;
  if (ret->ok && !request->check_only)
    log_event(LOG_LEVEL_INFO, "security rules deployed", LOG_INT("bytes", source.len));
  return list_problems(problems, arena, ret);
}

void admin_deploy_rules(struct rpc_call *call, const Skerry__Admin__V1__DeployRulesRequest *request) {
  Skerry__Admin__V1__DeployRulesResponse response = SKERRY__ADMIN__V1__DEPLOY_RULES_RESPONSE__INIT;
  status result = deploy(rpc_call_service(call), request, rpc_call_arena(call), &response);
  if (status_is_ok(&result))
    skerry_admin_v1_admin_deploy_rules_reply(call, &response);
  else
    rpc_call_finish(call, result);
}

void admin_get_rules(struct rpc_call *call, const Skerry__Admin__V1__GetRulesRequest *request) {
  (void)request;
  const struct admin *admin = rpc_call_service(call);
  struct rules *rules = access_rules(admin->access);
  if (rules == NULL) {
    rpc_call_finish(call, status_make(STATUS_NOT_FOUND, "There are no security rules."));
    return;
  }
  Skerry__Admin__V1__GetRulesResponse response = SKERRY__ADMIN__V1__GET_RULES_RESPONSE__INIT;
  str copy = arena_str_copy(rpc_call_arena(call), rules_source(rules));
  rules_unref(rules);
  response.source = (char *)(uintptr_t)copy.ptr;
  if (copy.ptr != NULL)
    skerry_admin_v1_admin_get_rules_reply(call, &response);
  else
    rpc_call_finish(call, no_memory());
}
