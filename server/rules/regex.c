#define PCRE2_CODE_UNIT_WIDTH 8
#include "server/rules/regex.h"

#include <pcre2.h>

struct rules_pattern {
  pcre2_code *code; /* in the arena, never freed by itself */
};

enum {
  WORKSPACE_ITEMS = 2048, /* of the algorithm that does not go back: some 300 possibilities */
  REPEAT_MAX = 1000,      /* RE2's */
  GROUPS_MAX = 250,       /* parentheses in each other */
};

/* ---- What RE2 knows ---- */

struct scan {
  str text;
  size_t at;
};

static char scan_peek(const struct scan *s, size_t ahead) {
  return s->at + ahead < s->text.len ? s->text.ptr[s->at + ahead] : '\0';
}

/* After "(": the kinds of groups that RE2 has. */
static const char *check_group(struct scan *s) {
  if (scan_peek(s, 0) == '*')
    return "RE2 has no (*verbs)";
  if (scan_peek(s, 0) != '?')
    return NULL;
  s->at++;
  if (scan_peek(s, 0) == 'P' && scan_peek(s, 1) == '<')
    return NULL;
  if (scan_peek(s, 0) == ':')
    return NULL;
  for (;; s->at++) { /* flags */
    char c = scan_peek(s, 0);
    if (c == ')' || c == ':')
      return NULL;
    if (c != 'i' && c != 'm' && c != 's' && c != 'U' && c != '-')
      return "RE2 has no groups of this kind, such as (?=...) and (?>...)";
  }
}

/* After a backslash. */
static const char *check_escape(struct scan *s, bool in_class) {
  char c = scan_peek(s, 0);
  if (s->at >= s->text.len)
    return "it ends in a backslash";
  if (c >= '1' && c <= '9')
    return "RE2 has no back references";
  if (c == 'Q') { /* up to \E, all of it literal */
    while (s->at < s->text.len && !(scan_peek(s, 0) == '\\' && scan_peek(s, 1) == 'E'))
      s->at++;
    return NULL;
  }
  bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  if (is_letter && strchr(in_class ? "afnrtxdDsSwWpP" : "afnrtxdDsSwWpPbBAzE", c) == NULL)
    return "RE2 has no such escape";
  return NULL;
}

/* "{2,5}" at the brace: whether it is a repetition, and of how many. */
static bool read_repetition(const struct scan *s, size_t *ret_len, unsigned long *ret_most) {
  size_t i = 1;
  unsigned long numbers[2] = {0, 0};
  unsigned count = 0;
  for (; count < 2; count++) {
    size_t digits = 0;
    while (scan_peek(s, i) >= '0' && scan_peek(s, i) <= '9') {
      if (numbers[count] <= REPEAT_MAX)
        numbers[count] = numbers[count] * 10 + (unsigned long)(scan_peek(s, i) - '0');
      i++;
      digits++;
    }
    if (count == 0 && digits == 0)
      return false;
    if (scan_peek(s, i) == '}') {
      *ret_len = i + 1;
      *ret_most = numbers[0] > numbers[1] ? numbers[0] : numbers[1];
      return true;
    }
    if (scan_peek(s, i) != ',')
      return false;
    i++;
  }
  return false;
}

static const char *check_class(struct scan *s) {
  s->at++;
  if (scan_peek(s, 0) == '^')
    s->at++;
  for (bool first = true; s->at < s->text.len; first = false) {
    char c = scan_peek(s, 0);
    s->at++;
    if (c == ']' && !first)
      return NULL;
    if (c == '[' && scan_peek(s, 0) == ':') {
      while (s->at < s->text.len && !(scan_peek(s, 0) == ':' && scan_peek(s, 1) == ']'))
        s->at++;
      s->at += 2;
    } else if (c == '[' && (scan_peek(s, 0) == '.' || scan_peek(s, 0) == '=')) {
      return "RE2 has no collating elements";
    } else if (c == '\\') {
      const char *why = check_escape(s, true);
      if (why != NULL)
        return why;
      s->at++;
    }
  }
  return "a ']' is missing";
}

static const char *check_syntax(str text) {
  struct scan s = {text, 0};
  bool after_repeat = false; /* "a**" and "a*+" are errors in RE2, "a*?" is not */
  while (s.at < text.len) {
    char c = scan_peek(&s, 0);
    size_t len = 1;
    unsigned long most = 0;
    bool is_repeat = c == '*' || c == '+' || c == '?' || (c == '{' && read_repetition(&s, &len, &most));
    const char *why = NULL;
    if (is_repeat) {
      if (after_repeat)
        return "a repetition of a repetition";
      if (most > REPEAT_MAX)
        return "more than 1000 repetitions";
      s.at += len;
      if (scan_peek(&s, 0) == '?')
        s.at++;
    } else if (c == '[') {
      why = check_class(&s);
    } else if (c == '\\') {
      s.at++;
      why = check_escape(&s, false);
      s.at++;
    } else if (c == '(') {
      s.at++;
      why = check_group(&s);
    } else {
      s.at++;
    }
    if (why != NULL)
      return why;
    after_repeat = is_repeat;
  }
  return NULL;
}

/* ---- Memory: all of PCRE2's is in an arena ---- */

static void *arena_malloc(size_t size, void *arena) {
  return arena_alloc(arena, size);
}
static void arena_free(void *memory, void *arena) {
  (void)memory;
  (void)arena;
}

/* PCRE2's \s has the vertical tab, RE2's has not: written out. Everything else is copied. */
static bool rewrite(str text, struct buf *out) {
  bool in_class = false, quoted = false;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i], next = i + 1 < text.len ? text.ptr[i + 1] : '\0';
    if (c == '\\' && i + 1 < text.len) {
      if (quoted || next == 'Q' || next == 'E') {
        quoted = next == 'Q' || (quoted && next != 'E');
      } else if (next == 's' || next == 'S') {
        if (next == 'S' && in_class) /* not the complement of one thing any more */
          return false;
        buf_append_str(out, in_class      ? STR("\\t\\n\\f\\r ")
                            : next == 's' ? STR("[\\t\\n\\f\\r ]")
                                          : STR("[^\\t\\n\\f\\r ]"));
        i++;
        continue;
      }
      buf_append_byte(out, (uint8_t)c);
      buf_append_byte(out, (uint8_t)next);
      i++;
      continue;
    }
    if (!quoted && c == '[' && !in_class) {
      in_class = true;
      buf_append_byte(out, (uint8_t)c);
      if (i + 1 < text.len && text.ptr[i + 1] == '^')
        buf_append_byte(out, (uint8_t)text.ptr[++i]);
      if (i + 1 < text.len && text.ptr[i + 1] == ']') {
        buf_append_str(out, STR("\\]")); /* a ']' that stands first is one of the characters */
        i++;
      }
      continue;
    }
    if (!quoted && c == '[' && in_class && next == ':') { /* [:alpha:] */
      while (i < text.len && !(text.ptr[i] == ':' && i + 1 < text.len && text.ptr[i + 1] == ']'))
        buf_append_byte(out, (uint8_t)text.ptr[i++]);
      buf_append_str(out, STR(":]"));
      i++;
      continue;
    }
    if (!quoted && c == ']')
      in_class = false;
    buf_append_byte(out, (uint8_t)c);
  }
  return !out->failed;
}

const char *rules_pattern_compile(str text, struct arena *arena, struct rules_pattern **ret) {
  if (text.len > RULES_PATTERN_BYTES_MAX)
    return "it is longer than 2048 bytes";
  const char *why = check_syntax(text);
  if (why != NULL)
    return why;
  struct buf plain = {0};
  if (!rewrite(text, &plain)) {
    bool failed = plain.failed;
    buf_fini(&plain);
    return failed ? "no memory" : "\\S within brackets is not supported";
  }
  pcre2_general_context *general = pcre2_general_context_create(arena_malloc, arena_free, arena);
  pcre2_compile_context *context = general == NULL ? NULL : pcre2_compile_context_create(general);
  struct rules_pattern *pattern = ARENA_NEW(arena, struct rules_pattern);
  if (context == NULL || pattern == NULL) {
    buf_fini(&plain);
    return "no memory";
  }
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context, GROUPS_MAX);
  int code;
  PCRE2_SIZE offset;
  uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_POSSESS |
                     PCRE2_NO_START_OPTIMIZE;
  pattern->code = pcre2_compile((PCRE2_SPTR)(plain.data == NULL ? (const uint8_t *)"" : plain.data),
                                plain.len, options, &code, &offset, context);
  buf_fini(&plain);
  if (pattern->code == NULL)
    return arena->exhausted ? "no memory" : "its syntax is wrong";
  *ret = pattern;
  return NULL;
}

/* pcre2_match writes to its match data and frees what it took by itself; both come from the scratch arena. */
static pcre2_match_context *make_context(pcre2_general_context *general) {
  pcre2_match_context *context = pcre2_match_context_create(general);
  if (context == NULL)
    return NULL;
  pcre2_set_match_limit(context, RULES_PATTERN_STEPS_MAX);
  pcre2_set_depth_limit(context, RULES_PATTERN_STEPS_MAX);
  pcre2_set_heap_limit(context, 1024); /* KiB */
  return context;
}

enum rules_match_result rules_pattern_matches(const struct rules_pattern *pattern, str text,
                                              struct arena *scratch, bool *ret_is_costly) {
  pcre2_general_context *general = pcre2_general_context_create(arena_malloc, arena_free, scratch);
  pcre2_match_context *context = general == NULL ? NULL : make_context(general);
  pcre2_match_data *data = context == NULL ? NULL : pcre2_match_data_create(1, general);
  PCRE2_SPTR subject = (PCRE2_SPTR)(text.ptr == NULL ? "" : text.ptr);
  const uint32_t options = PCRE2_ANCHORED | PCRE2_ENDANCHORED;
  *ret_is_costly = false;
  if (data == NULL)
    return RULES_MATCH_LIMIT;
  int found = pcre2_match(pattern->code, subject, text.len, 0, options, data, context);
  if ((found == PCRE2_ERROR_MATCHLIMIT || found == PCRE2_ERROR_DEPTHLIMIT ||
       found == PCRE2_ERROR_HEAPLIMIT) &&
      text.len <= RULES_PATTERN_PARALLEL_BYTES_MAX) {
    int *workspace = arena_calloc(scratch, WORKSPACE_ITEMS, sizeof *workspace);
    *ret_is_costly = true;
    if (workspace != NULL)
      found = pcre2_dfa_match(pattern->code, subject, text.len, 0, options, data, context, workspace,
                              WORKSPACE_ITEMS);
  }
  return found >= 0 ? RULES_MATCH_YES : found == PCRE2_ERROR_NOMATCH ? RULES_MATCH_NO : RULES_MATCH_LIMIT;
}

bool rules_finder_init(struct rules_finder *finder, const struct rules_pattern *pattern,
                       struct arena *scratch) {
  pcre2_general_context *general = pcre2_general_context_create(arena_malloc, arena_free, scratch);
  finder->pattern = pattern;
  finder->context = general == NULL ? NULL : make_context(general);
  finder->data = finder->context == NULL ? NULL : pcre2_match_data_create(RULES_PATTERN_GROUPS, general);
  return finder->data != NULL;
}

enum rules_match_result rules_finder_next(struct rules_finder *finder, str text, size_t from,
                                          struct rules_found *ret) {
  int found = pcre2_match(finder->pattern->code, (PCRE2_SPTR)(text.ptr == NULL ? "" : text.ptr), text.len,
                          from, from > 0 ? PCRE2_NO_UTF_CHECK : 0, finder->data, finder->context);
  if (found < 0)
    return found == PCRE2_ERROR_NOMATCH ? RULES_MATCH_NO : RULES_MATCH_LIMIT;
  const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(finder->data);
  ret->group_count = found == 0 ? RULES_PATTERN_GROUPS : (size_t)found;
  for (size_t i = 0; i < 2 * ret->group_count; i++)
    ret->groups[i] = offsets[i] == PCRE2_UNSET ? SIZE_MAX : offsets[i];
  ret->begin = offsets[0];
  ret->end = offsets[1];
  return RULES_MATCH_YES;
}
