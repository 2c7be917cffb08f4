/* What `skerry rules test` says of a case that went otherwise than expected, and why. */
#ifndef SKERRY_SERVER_CASES_REPORT_H
#define SKERRY_SERVER_CASES_REPORT_H

#include "server/cases/judge.h"
#include "server/cases/outline.h"

/* Whether the case went as it should. */
bool cases_is_expected(const struct cases_case *one, const struct cases_result *result);

/* One line:
 *   FAIL NAME: expected allow, got deny: update rooms/a: firestore.rules:9:22: REASON
 * `last` are the counts of the deciding judgement: of what was false in it, the innermost is shown. */
void cases_report_failure(const struct cases_outline *outline, const struct cases_case *one,
                          const struct cases_result *result, const struct rules_coverage *last,
                          struct buf *out);

/* Every document that was judged, every statement that was asked, and what debug() wrote; lines that are
 * indented. */
void cases_report_trace(const struct cases_outline *outline, const struct cases_result *result,
                        struct buf *out);

#endif
