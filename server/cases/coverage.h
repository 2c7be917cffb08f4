/* How much of the rules the cases reached: in a few lines, and as a file that shows the source with counts.
 */
#ifndef SKERRY_SERVER_CASES_COVERAGE_H
#define SKERRY_SERVER_CASES_COVERAGE_H

#include "server/cases/outline.h"

/* `counts` as struct rules_request.coverage. Out of memory: out->failed. */
void cases_coverage_summary(const struct cases_outline *outline, const struct rules_coverage *counts,
                            struct buf *out);
/* Each line of the source with how often its outermost expression was evaluated, to true and to false; then
 * the conditions that were never evaluated, never true, never false. */
void cases_coverage_text(const struct cases_outline *outline, const struct rules_coverage *counts,
                         struct buf *out);
/* A page that needs nothing else; every expression says its counts when the mouse is over it. */
void cases_coverage_html(const struct cases_outline *outline, const struct rules_coverage *counts,
                         struct buf *out);

#endif
