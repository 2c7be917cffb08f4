/* The expressions of a file of rules as they stand in each other, by their places in the source. */
#ifndef SKERRY_SERVER_CASES_OUTLINE_H
#define SKERRY_SERVER_CASES_OUTLINE_H

#include "server/rules/rules.h"

#define CASES_NO_EXPRESSION UINT32_MAX

struct cases_expression {
  uint32_t start, end; /* in the source */
  uint32_t number;     /* as rules.h counts them, and coverage */
  uint32_t outer;      /* the one around it, by its place in `items`, or CASES_NO_EXPRESSION */
  struct rules_position position;
};

struct cases_outline {
  str name, source;               /* of the file */
  struct cases_expression *items; /* in the order of the source, outer ones first */
  size_t count;
  const uint32_t *line_starts; /* offsets */
  size_t line_count;
};

/* In the arena; borrows the source. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status cases_outline_make(const struct rules *rules, str name, struct arena *arena,
                                          struct cases_outline *ret);

/* The text of an expression on one line, cut where it is long. */
void cases_outline_put(const struct cases_outline *outline, const struct cases_expression *expression,
                       struct buf *out);

static inline uint64_t cases_evaluations(const struct rules_coverage *counts) {
  return (uint64_t)counts->true_count + counts->false_count + counts->null_count + counts->error_count +
         counts->other_count + counts->unknown_count;
}

#endif
