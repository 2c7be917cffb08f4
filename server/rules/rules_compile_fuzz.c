/* Bytes as a file of rules: refused with problems that have places in it, or compiled, and then every request
 * is judged within the bounds. */
#include <stdint.h>
#include <stdlib.h>

#include "server/rules/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

static void check_problems(const struct rules_problems *problems, size_t size, bool compiled) {
  CHECK(problems->count <= RULES_PROBLEMS_MAX && compiled == (problems->error_count == 0));
  for (size_t i = 0; i < problems->count; i++) {
    const struct rules_problem *problem = &problems->items[i];
    CHECK(problem->line >= 1 && problem->column >= 1 && problem->line <= size + 1 &&
          problem->column <= size + 1 && problem->text.len > 0);
  }
}

static void judge(const struct rules *rules, struct arena *arena) {
  static struct rules_trace trace;
  const struct rules_auth auth = {STR("alice"), {NULL, 0}};
  struct rules_document document = {STR("t/a"), {NULL, 0}};
  const struct rules_filter filter = {{(const str[]){STR("a")}, 1}, RULES_EXISTS, {NULL, 0}};
  const struct rules_conjunction conjunction = {.filters = &filter, .filter_count = 1};
  const struct rules_query query = {.conjunctions = &conjunction, .conjunction_count = 1};
  for (int operation = RULES_GET; operation <= RULES_DELETE; operation++) {
    struct rules_request request = {.operation = (enum rules_operation)operation,
                                    .project = STR("p"),
                                    .database = STR("(default)"),
                                    .path = STR("t/a"),
                                    .auth = &auth,
                                    .trace = &trace};
    trace.count = 0;
    request.resource = request.after = &document;
    if (operation == RULES_LIST) {
      request.path = STR("t");
      request.query = &query;
    }
    struct rules_decision decision = rules_decide(rules, &request, arena);
    CHECK(decision.outcome == RULES_ALLOW || decision.outcome == RULES_DENY ||
          decision.outcome == RULES_FAILED);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  struct rules_problems problems;
  struct rules *rules = NULL;
  if (size > 16384)
    return 0;
  arena_init(&arena, NULL, 0, 32 << 20);
  status s = rules_compile(str_make(data, size), &arena, &problems, &rules);
  if (s.code == STATUS_OK || s.code == STATUS_INVALID_ARGUMENT)
    check_problems(&problems, size, s.code == STATUS_OK);
  if (s.code == STATUS_OK) {
    for (size_t i = 0; i < rules_expression_count(rules); i++) {
      struct rules_position at = rules_expression_position(rules, i);
      CHECK(at.line < at.end_line || (at.line == at.end_line && at.column < at.end_column));
    }
    judge(rules, &arena);
  }
  rules_unref(rules);
  arena_fini(&arena);
  return 0;
}
