/* Regular expressions in RE2's syntax, which the language documents, on PCRE2. What RE2 has not (back
 * references, looking around, possessive and atomic groups, recursion) is refused; what means something else
 * in PCRE2 is refused or made to mean the same. Matching of a whole text goes back, as
 * Perl's does, up to a limit of steps; past it PCRE2's other algorithm answers, which reads the text once
 * with all possibilities side by side, as RE2 does, if the text is not too long and the possibilities are not
 * too many. Split and replace have the limit only. So a hostile text or pattern costs bounded time, and a
 * pattern that RE2 would answer is refused at worst. */
#ifndef SKERRY_SERVER_RULES_REGEX_H
#define SKERRY_SERVER_RULES_REGEX_H

#include "base/arena.h"
#include "server/rules/value.h"

struct rules_pattern;

enum {
  RULES_PATTERN_BYTES_MAX = 2048,
  RULES_PATTERN_STEPS_MAX = 50000,             /* PCRE2's match limit, of one search: a millisecond */
  RULES_PATTERN_PARALLEL_BYTES_MAX = 32 << 10, /* of a text for the other algorithm: 30 ms at worst */
};

/* A compiled pattern in the arena, immutable: any thread may use it. What is wrong, or NULL. */
const char *rules_pattern_compile(str text, struct arena *arena, struct rules_pattern **ret);

enum rules_match_result { RULES_MATCH_NO, RULES_MATCH_YES, RULES_MATCH_LIMIT };

/* Whether all of `text` matches. `scratch` has memory for the match. *ret_is_costly: it took the other
 * algorithm. */
enum rules_match_result rules_pattern_matches(const struct rules_pattern *pattern, str text,
                                              struct arena *scratch, bool *ret_is_costly);

/* The first match at or after `from`: where it begins and ends, and its groups (begin, end; SIZE_MAX if a
 * group did not take part), at most RULES_PATTERN_GROUPS. */
enum { RULES_PATTERN_GROUPS = 10 };
struct rules_found {
  size_t begin, end;
  size_t groups[2 * RULES_PATTERN_GROUPS];
  size_t group_count; /* the whole match is the first */
};
/* Searches of one text, one after the other; `scratch` has memory for all of them. */
struct rules_finder {
  const struct rules_pattern *pattern;
  void *context, *data;
};
bool rules_finder_init(struct rules_finder *finder, const struct rules_pattern *pattern,
                       struct arena *scratch);
enum rules_match_result rules_finder_next(struct rules_finder *finder, str text, size_t from,
                                          struct rules_found *ret);

#endif
