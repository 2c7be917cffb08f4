/* `skerry rules test RULES CASES [--coverage FILE] [--verbose]`: whether rules decide as a file of cases
 * expects, without a server. */
#include <stdio.h>
#include <stdlib.h>

#include "ports/port.h"
#include "server/cases/coverage.h"
#include "server/cases/report.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/rules_file.h"
#include "server/tokens/file.h"

struct test_words {
  const char *rules, *cases, *coverage;
  bool is_verbose;
};

struct test {
  const struct test_words *words;
  struct arena arena;
  struct rules *rules;
  struct cases cases;
  struct cases_outline outline;
  struct rules_coverage *last, *total;
  size_t failures;
};

static bool read_words(int argc, char **argv, struct test_words *ret) {
  *ret = (struct test_words){0};
  for (int i = 0; i < argc; i++) {
    if (client_take_flag("--coverage", argc, argv, &i, &ret->coverage))
      continue;
    if (strcmp(argv[i], "--verbose") == 0)
      ret->is_verbose = true;
    else if (argv[i][0] == '-' || ret->cases != NULL)
      return false;
    else
      *(ret->rules == NULL ? &ret->rules : &ret->cases) = argv[i];
  }
  return ret->cases != NULL;
}

static status load_rules(struct test *test) {
  struct buf text = {0}, name = {0};
  struct rules_problems *problems = ARENA_NEW(&test->arena, struct rules_problems);
  status result = problems == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED)
                                   : rules_file_read(test->words->rules, &text, &name);
  if (status_is_ok(&result)) {
    result = rules_compile(buf_str(&text), &test->arena, problems, &test->rules);
    rules_file_print_problems((const char *)name.data, problems);
  }
  if (status_is_ok(&result)) {
    str kept = arena_str_copy(&test->arena, str_from_cstr((const char *)name.data));
    result = kept.ptr == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED)
                              : cases_outline_make(test->rules, kept, &test->arena, &test->outline);
  }
  buf_fini(&text);
  buf_fini(&name);
  return result;
}

static status load_cases(struct test *test) {
  struct port *port = port_linux();
  struct buf text = {0};
  status result = file_read(test->words->cases, CASES_FILE_BYTES_MAX, &text);
  if (status_is_ok(&result)) {
    result = cases_read(buf_str(&text), port->wall_us(port), &test->arena, &test->cases);
    if (!status_is_ok(&result))
      result = status_make(result.code, "%s: %s", test->words->cases, result.message);
  }
  buf_fini(&text);
  return result;
}

static status load(struct test *test) {
  STATUS_TRY(load_rules(test));
  STATUS_TRY(load_cases(test));
  size_t count = rules_expression_count(test->rules);
  test->last = ARENA_NEW_ARRAY(&test->arena, struct rules_coverage, count);
  test->total = ARENA_NEW_ARRAY(&test->arena, struct rules_coverage, count);
  return test->last == NULL || test->total == NULL ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

static void run_case(struct test *test, const struct cases_case *one, struct arena *arena) {
  struct cases_result result;
  struct buf out = {0};
  cases_judge(&test->cases, one, test->rules, test->last, test->total, arena, &result);
  bool is_expected = cases_is_expected(one, &result);
  test->failures += !is_expected;
  if (!is_expected)
    cases_report_failure(&test->outline, one, &result, test->last, &out);
  else if (test->words->is_verbose)
    buf_printf(&out, "ok   " STR_FMT ": %s\n", STR_ARG(one->name), one->expects_allow ? "allow" : "deny");
  if (test->words->is_verbose)
    cases_report_trace(&test->outline, &result, &out);
  client_print(&out);
}

static status write_coverage(const struct test *test) {
  const char *path = test->words->coverage;
  struct buf out = {0};
  if (str_has_suffix(str_from_cstr(path), STR(".html")))
    cases_coverage_html(&test->outline, test->total, &out);
  else
    cases_coverage_text(&test->outline, test->total, &out);
  status result = out.failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : file_replace(path, buf_str(&out));
  buf_fini(&out);
  return result;
}

static status run(struct test *test) {
  struct arena arena;
  struct buf out = {0};
  STATUS_TRY(load(test));
  arena_init(&arena, NULL, 0, CASES_JUDGE_BYTES);
  for (size_t i = 0; i < test->cases.count; i++) {
    run_case(test, &test->cases.items[i], &arena);
    arena_reset(&arena);
  }
  arena_fini(&arena);
  buf_printf(&out, "%zu cases: %zu as expected, %zu failed.\n", test->cases.count,
             test->cases.count - test->failures, test->failures);
  cases_coverage_summary(&test->outline, test->total, &out);
  client_print(&out);
  return test->words->coverage == NULL ? status_ok() : write_coverage(test);
}

int command_rules_test(int argc, char **argv) {
  struct test_words words;
  if (!read_words(argc, argv, &words)) {
    fputs(
        "skerry rules test RULES CASES [--coverage FILE] [--verbose]\n"
        "  RULES      a file of rules, or a firebase.json that names it\n"
        "  CASES      a file of cases (docs/rules.md)\n"
        "  --coverage write the rules with how often each expression was evaluated: a page if FILE ends in\n"
        "             .html, a text otherwise\n"
        "  --verbose  show every case, and the statements that were asked\n"
        "The exit code is 0 if all went as expected, 1 if not, 2 for a mistake in how it was called.\n",
        stderr);
    return 2;
  }
  struct test test = {.words = &words};
  arena_init(&test.arena, NULL, 0, CASES_ARENA_BYTES);
  status result = run(&test);
  rules_unref(test.rules);
  arena_fini(&test.arena);
  if (!status_is_ok(&result))
    return client_failed("rules test", &result);
  return test.failures == 0 ? 0 : 1;
}
