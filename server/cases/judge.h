/* What rules say of a case, as the server would ask them: a commit goes through storage/document/write.h and
 * server/rules/commit.h, a query is proven. */
#ifndef SKERRY_SERVER_CASES_JUDGE_H
#define SKERRY_SERVER_CASES_JUDGE_H

#include "server/cases/cases.h"

enum { CASES_DEBUG_MAX = 100, CASES_JUDGE_BYTES = 64 * 1024 * 1024 /* of one case's arena: as of a call */ };

/* A line that debug() wrote. */
struct cases_debug {
  uint32_t line;
  str text;
  struct cases_debug *next;
};

/* One document, or the query, before the rules. */
struct cases_judgement {
  enum rules_operation operation;
  str path; /* relative: the document, or the collection */
  struct rules_decision decision;
  struct rules_trace trace;
  struct cases_debug *debug; /* in their order, at most CASES_DEBUG_MAX */
  struct cases_judgement *next;
};

enum cases_outcome {
  CASES_ALLOWED,
  CASES_DENIED,
  CASES_IMPOSSIBLE, /* there is no verdict: `failure` says why */
};

struct cases_result {
  enum cases_outcome outcome;
  status failure;
  struct cases_judgement *judgements; /* a commit has one for each document, up to the first that is denied */
  struct cases_judgement *deciding;   /* the last of them; NULL if impossible before any */
};

/* Judges one case; *ret is in the arena. `last` has room for rules_expression_count() counts: those of the
 * deciding judgement alone; `total` as many, which the case's are added to. */
void cases_judge(const struct cases *cases, const struct cases_case *one, const struct rules *rules,
                 struct rules_coverage *last, struct rules_coverage *total, struct arena *arena,
                 struct cases_result *ret);

/* "get", "list", "create", ... */
const char *cases_operation_name(enum rules_operation operation);

#endif
