#include "server/cases/report.h"

#include <stdlib.h>

enum { FALSE_SHOWN_MAX = 3 };

bool cases_is_expected(const struct cases_case *one, const struct cases_result *result) {
  return result->outcome == (one->expects_allow ? CASES_ALLOWED : CASES_DENIED);
}

static void put_place(const struct cases_outline *outline, uint32_t line, uint32_t column, struct buf *out) {
  buf_printf(out, STR_FMT ":%u:%u", STR_ARG(outline->name), line, column);
}

/* On one line. */
static void put_text(str text, struct buf *out) {
  for (size_t i = 0; i < text.len; i++)
    buf_append_byte(out, text.ptr[i] == '\n' || text.ptr[i] == '\r' ? ' ' : (uint8_t)text.ptr[i]);
}

/* ---- What was false ---- */

struct false_state {
  bool is_candidate; /* false, and so was all around it that is a bool */
  bool is_spoiled;   /* it or something around it was true, or is compared: another says more */
  bool has_inner;    /* a candidate is within it */
};

/* Whether it is a side of == or !=: what explains then is the comparison. */
static bool is_compared(str source, const struct cases_expression *expression) {
  size_t before = expression->start, after = expression->end;
  while (before > 0 && source.ptr[before - 1] == ' ')
    before--;
  while (after < source.len && source.ptr[after] == ' ')
    after++;
  str follows = str_from(source, after);
  return (before > 0 && source.ptr[before - 1] == '=') || str_has_prefix(follows, STR("==")) ||
         str_has_prefix(follows, STR("!="));
}

/* The innermost expressions that explain why a condition was false. */
static void put_false(const struct cases_outline *outline, const struct rules_coverage *counts,
                      struct buf *out) {
  struct false_state *states = calloc(outline->count == 0 ? 1 : outline->count, sizeof *states);
  size_t shown = 0;
  if (states == NULL)
    return;
  for (size_t i = 0; i < outline->count; i++) {
    const struct cases_expression *expression = &outline->items[i];
    const struct rules_coverage *count = &counts[expression->number];
    bool is_spoiled = expression->outer != CASES_NO_EXPRESSION && states[expression->outer].is_spoiled;
    is_spoiled = is_spoiled || count->true_count > 0 || is_compared(outline->source, expression);
    states[i].is_candidate = count->false_count > 0 && !is_spoiled;
    states[i].is_spoiled = is_spoiled;
  }
  for (size_t i = outline->count; i-- > 0;) {
    uint32_t outer = outline->items[i].outer;
    if (outer != CASES_NO_EXPRESSION && (states[i].is_candidate || states[i].has_inner))
      states[outer].has_inner = true;
  }
  for (size_t i = 0; i < outline->count && shown < FALSE_SHOWN_MAX; i++) {
    const struct cases_expression *expression = &outline->items[i];
    if (!states[i].is_candidate || states[i].has_inner)
      continue;
    buf_printf(out, "%s%u:%u ", shown++ == 0 ? ", namely " : " and ", expression->position.line,
               expression->position.column);
    cases_outline_put(outline, expression, out);
  }
  free(states);
}

/* ---- Lines ---- */

static void put_decision(const struct cases_outline *outline, const struct cases_judgement *judgement,
                         const struct rules_coverage *last, struct buf *out) {
  const struct rules_decision *decision = &judgement->decision;
  buf_printf(out, "%s ", cases_operation_name(judgement->operation));
  put_text(judgement->path, out);
  buf_append_str(out, STR(": "));
  if (decision->line == 0) {
    put_place(outline, 1, 1, out);
    buf_append_str(out, STR(": no allow statement is for this"));
    return;
  }
  put_place(outline, decision->line, decision->column, out);
  buf_append_str(out, STR(": "));
  if (decision->outcome == RULES_ALLOW) {
    buf_append_str(out, STR("this allows it"));
  } else if (str_eq(decision->reason, STR("false")) || decision->reason.len == 0) {
    buf_append_str(out, STR("false"));
    put_false(outline, last, out);
  } else {
    put_text(decision->reason, out);
  }
}

void cases_report_failure(const struct cases_outline *outline, const struct cases_case *one,
                          const struct cases_result *result, const struct rules_coverage *last,
                          struct buf *out) {
  const char *expected = one->expects_allow ? "allow" : "deny";
  buf_printf(out, "FAIL " STR_FMT ": expected %s, ", STR_ARG(one->name), expected);
  if (result->outcome == CASES_IMPOSSIBLE) {
    buf_printf(out, "got no verdict: ");
    put_text(str_from_cstr(result->failure.message), out);
  } else {
    buf_printf(out, "got %s: ", result->outcome == CASES_ALLOWED ? "allow" : "deny");
    put_decision(outline, result->deciding, last, out);
  }
  buf_append_byte(out, '\n');
}

static void put_judgement(const struct cases_outline *outline, const struct cases_judgement *judgement,
                          struct buf *out) {
  const struct rules_trace *trace = &judgement->trace;
  buf_printf(out, "    %s ", cases_operation_name(judgement->operation));
  put_text(judgement->path, out);
  buf_append_str(out, trace->count == 0 ? STR(": no allow statement is for this\n") : STR("\n"));
  for (size_t i = 0; i < trace->count; i++) {
    const struct rules_trace_entry *entry = &trace->entries[i];
    buf_append_str(out, STR("      "));
    put_place(outline, entry->line, entry->column, out);
    buf_printf(out, ": %s", entry->outcome == RULES_ALLOW ? "allows" : "does not allow");
    if (entry->reason.len > 0) {
      buf_append_str(out, STR(": "));
      put_text(entry->reason, out);
    }
    buf_append_byte(out, '\n');
  }
  if (trace->has_more)
    buf_append_str(out, STR("      and more statements\n"));
  for (const struct cases_debug *debug = judgement->debug; debug != NULL; debug = debug->next) {
    buf_printf(out, "      " STR_FMT ":%u: debug: ", STR_ARG(outline->name), debug->line);
    put_text(debug->text, out);
    buf_append_byte(out, '\n');
  }
}

void cases_report_trace(const struct cases_outline *outline, const struct cases_result *result,
                        struct buf *out) {
  for (const struct cases_judgement *judgement = result->judgements; judgement != NULL;
       judgement = judgement->next)
    put_judgement(outline, judgement, out);
}
