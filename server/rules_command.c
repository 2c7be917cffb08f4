/* `skerry rules deploy FILE | check FILE | test RULES CASES | show`: the security rules of a running server.
 * `test` has a file of its own. */
#include <stdio.h>
#include <string.h>

#include "server/client.h"
#include "server/commands.h"
#include "server/rules_file.h"
#include "skerry/admin/v1/admin.skerry.h"

static const struct rpc_client_options call_options = {.timeout_us = 30000000};

struct rules_words {
  const char *data, *verb, *file;
};

static bool read_words(int argc, char **argv, struct rules_words *ret) {
  *ret = (struct rules_words){.data = client_default_data()};
  for (int i = 0; i < argc; i++) {
    if (client_take_flag("--data", argc, argv, &i, &ret->data))
      continue;
    if (argv[i][0] == '-' || ret->file != NULL)
      return false;
    if (ret->verb == NULL)
      ret->verb = argv[i];
    else
      ret->file = argv[i];
  }
  if (ret->verb == NULL)
    return false;
  if (strcmp(ret->verb, "show") == 0)
    return ret->file == NULL;
  return (strcmp(ret->verb, "deploy") == 0 || strcmp(ret->verb, "check") == 0) && ret->file != NULL;
}

static status deploy(struct rpc_client *client, const char *file, str source, struct arena *arena) {
  Skerry__Admin__V1__DeployRulesRequest request = SKERRY__ADMIN__V1__DEPLOY_RULES_REQUEST__INIT;
  const Skerry__Admin__V1__DeployRulesResponse *response;
  str copy = arena_str_copy(arena, source);
  if (copy.ptr == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  if (memchr(copy.ptr, 0, copy.len) != NULL)
    return status_make(STATUS_INVALID_ARGUMENT, "%s is not a text: it has a zero byte", file);
  request.source = (char *)(uintptr_t)copy.ptr;
  STATUS_TRY(skerry_admin_v1_admin_deploy_rules_call(client, &call_options, &request, arena, &response));
  for (size_t i = 0; i < response->n_problems; i++) {
    const Skerry__Admin__V1__RulesProblem *problem = response->problems[i];
    rules_file_print_problem(file, (uint32_t)problem->line, (uint32_t)problem->column, problem->is_warning,
                             str_from_cstr(problem->text));
  }
  if (!response->ok)
    return status_make(STATUS_INVALID_ARGUMENT, "the rules have errors; those before stay in force");
  puts("Deployed.");
  return status_ok();
}

static status show(struct rpc_client *client, struct arena *arena) {
  Skerry__Admin__V1__GetRulesRequest request = SKERRY__ADMIN__V1__GET_RULES_REQUEST__INIT;
  const Skerry__Admin__V1__GetRulesResponse *response;
  STATUS_TRY(skerry_admin_v1_admin_get_rules_call(client, &call_options, &request, arena, &response));
  fputs(response->source, stdout);
  return status_ok();
}

/* Without a server. */
static int check(const char *file, str source, struct arena *arena) {
  static struct rules_problems problems;
  struct rules *rules = NULL;
  status result = rules_compile(source, arena, &problems, &rules);
  rules_unref(rules);
  rules_file_print_problems(file, &problems);
  if (status_is_ok(&result))
    puts("No errors.");
  else if (result.code != STATUS_INVALID_ARGUMENT || problems.count == 0)
    return client_failed("rules", &result);
  return status_is_ok(&result) ? 0 : 1;
}

static int on_server(const struct rules_words *words, const char *file, str source, struct arena *arena) {
  struct rpc_client *client;
  if (!client_open_admin("rules", words->data, &client))
    return 1;
  status result =
      strcmp(words->verb, "show") == 0 ? show(client, arena) : deploy(client, file, source, arena);
  rpc_client_close(client);
  return status_is_ok(&result) ? 0 : client_failed("rules", &result);
}

int command_rules(int argc, char **argv) {
  struct rules_words words;
  if (argc > 0 && strcmp(argv[0], "test") == 0)
    return command_rules_test(argc - 1, argv + 1);
  if (!read_words(argc, argv, &words)) {
    fputs("skerry rules: say one of\n"
          "  skerry rules deploy FILE  make FILE the security rules of the server, at once\n"
          "  skerry rules check FILE   what is wrong with FILE; needs no server\n"
          "  skerry rules test RULES CASES [--coverage FILE] [--verbose]\n"
          "                            whether RULES decide the cases in CASES as expected; needs no server\n"
          "  skerry rules show         the rules that are in force\n"
          "deploy and show with --data DIR, if the server's data is not in ./data. FILE and RULES may be a\n"
          "firebase.json that names the rules.\n",
          stderr);
    return 2;
  }
  struct buf source = {0}, name = {0};
  status result = words.file == NULL ? status_ok() : rules_file_read(words.file, &source, &name);
  const char *file = (const char *)name.data;
  struct arena arena;
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  int code = !status_is_ok(&result)             ? client_failed("rules", &result)
             : strcmp(words.verb, "check") == 0 ? check(file, buf_str(&source), &arena)
                                                : on_server(&words, file, buf_str(&source), &arena);
  arena_fini(&arena);
  buf_fini(&source);
  buf_fini(&name);
  return code;
}
