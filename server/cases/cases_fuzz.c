/* A file of cases is refused with a reason, or every case in it is judged, and explained, twice the same. */
#include <stdint.h>
#include <stdlib.h>

#include "server/cases/coverage.h"
#include "server/cases/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

static const char source[] =
    "rules_version = '2'; service cloud.firestore { match /databases/{database}/documents {\n"
    "match /rooms/{id} { allow get: if resource.data.public == true || request.auth.uid in "
    "resource.data.members;\n"
    "allow list: if resource.data.public == true && request.query.limit <= 10;\n"
    "allow write: if request.resource.data.diff(resource.data).affectedKeys().hasOnly(['title']) || "
    "debug(request.auth.token.admin) == true || request.resource.data.at == request.time;\n"
    "match /{rest=**} { allow read, write: if request.auth.uid in "
    "getAfter(/databases/$(database)/documents/rooms/$(id)).data.members; } } } }\n";

/* Compiled once; its memory is reachable to the end. */
static struct rules *rules;
static struct rules_coverage *counts;

static void compile(void) {
  static struct rules_problems problems;
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  status s = rules_compile(str_from_cstr(source), &arena, &problems, &rules);
  CHECK(s.code == STATUS_OK && problems.count == 0);
  arena_fini(&arena);
  counts = calloc(2 * rules_expression_count(rules), sizeof *counts);
  CHECK(counts != NULL);
}

static void judge(const struct cases *cases, const struct cases_case *one, struct arena *arena) {
  struct cases_result result, again;
  struct cases_outline outline;
  struct buf out = {0};
  size_t count = rules_expression_count(rules);
  status s = cases_outline_make(rules, STR("x.rules"), arena, &outline);
  CHECK(s.code == STATUS_OK);
  cases_judge(cases, one, rules, counts, counts + count, arena, &result);
  CHECK(result.outcome == CASES_IMPOSSIBLE ? result.failure.code != STATUS_OK : result.deciding != NULL);
  cases_report_failure(&outline, one, &result, counts, &out);
  cases_report_trace(&outline, &result, &out);
  CHECK(!out.failed && out.len > 0);
  buf_fini(&out);
  cases_judge(cases, one, rules, counts, counts + count, arena, &again);
  CHECK(again.outcome == result.outcome || arena->exhausted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena arena;
  struct cases cases;
  if (rules == NULL)
    compile();
  arena_init(&arena, NULL, 0, 64 << 20);
  status s = cases_read(str_make(data, size), INT64_C(1785585600000000), &arena, &cases);
  CHECK(s.code == STATUS_OK || s.message[0] != '\0');
  if (s.code == STATUS_OK)
    for (size_t i = 0; i < cases.count; i++) {
      struct arena own;
      arena_init(&own, NULL, 0, 16 << 20);
      judge(&cases, &cases.items[i], &own);
      arena_fini(&own);
    }
  arena_fini(&arena);
  return 0;
}
