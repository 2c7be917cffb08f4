#include "server/cases/coverage.h"

/* ---- What there is to say of an expression ---- */

enum kind {
  NEVER,       /* evaluated */
  NEVER_TRUE,  /* a bool that was always false */
  NEVER_FALSE, /* a bool that was always true */
  ENOUGH,
};

static str text_of(const struct cases_outline *outline, const struct cases_expression *expression) {
  str text = str_from(outline->source, expression->start);
  text.len = expression->end - expression->start;
  return text;
}

static enum kind kind_of(const struct cases_outline *outline, const struct rules_coverage *counts,
                         const struct cases_expression *expression) {
  const struct rules_coverage *count = &counts[expression->number];
  str text = text_of(outline, expression);
  if (cases_evaluations(count) == 0)
    return NEVER;
  if (str_eq(text, STR("true")) || str_eq(text, STR("false")))
    return ENOUGH; /* it can be nothing else */
  if (count->false_count > 0 && count->true_count == 0)
    return NEVER_TRUE;
  return count->true_count > 0 && count->false_count == 0 ? NEVER_FALSE : ENOUGH;
}

/* Whether to name it: the outermost of its kind stands for those within it. */
static bool is_outermost(const struct cases_outline *outline, const struct rules_coverage *counts,
                         const struct cases_expression *expression) {
  enum kind kind = kind_of(outline, counts, expression);
  return expression->outer == CASES_NO_EXPRESSION ||
         kind_of(outline, counts, &outline->items[expression->outer]) != kind;
}

/* ---- Summary ---- */

/* "4, 7-9" */
static void put_lines(const struct cases_outline *outline, const struct rules_coverage *counts,
                      enum kind kind, struct buf *out) {
  uint32_t first = 0, last = 0;
  bool is_first = true;
  for (size_t i = 0; i <= outline->count; i++) {
    uint32_t line = 0;
    if (i < outline->count) {
      if (kind_of(outline, counts, &outline->items[i]) != kind)
        continue;
      line = outline->items[i].position.line;
      if (first > 0 && line <= last + 1) {
        last = line > last ? line : last;
        continue;
      }
    }
    if (first > 0) {
      buf_printf(out, first == last ? "%s%u" : "%s%u-%u", is_first ? "" : ", ", first, last);
      is_first = false;
    }
    first = last = line;
  }
}

void cases_coverage_summary(const struct cases_outline *outline, const struct rules_coverage *counts,
                            struct buf *out) {
  size_t evaluated = 0, was_true = 0, was_false = 0, never = 0;
  for (size_t i = 0; i < outline->count; i++) {
    evaluated += cases_evaluations(&counts[i]) > 0;
    was_true += counts[i].true_count > 0;
    was_false += counts[i].false_count > 0;
  }
  never = outline->count - evaluated;
  buf_printf(out, "Coverage: %zu of %zu expressions were evaluated, %zu to true, %zu to false.\n", evaluated,
             outline->count, was_true, was_false);
  if (never == 0)
    return;
  buf_printf(out, "Never evaluated: %zu, by line: ", never);
  put_lines(outline, counts, NEVER, out);
  buf_append_str(out, STR("\n"));
}

/* ---- Text ---- */

static void put_counts(const struct rules_coverage *count, struct buf *out) {
  if (count == NULL)
    buf_printf(out, "%10s %8s %8s", "", "", "");
  else if (cases_evaluations(count) == 0)
    buf_printf(out, "%10s %8s %8s", "never", "", "");
  else
    buf_printf(out, "%10llu %8u %8u", (unsigned long long)cases_evaluations(count), count->true_count,
               count->false_count);
}

static void put_list(const struct cases_outline *outline, const struct rules_coverage *counts, enum kind kind,
                     const char *title, struct buf *out) {
  bool is_first = true;
  for (size_t i = 0; i < outline->count; i++) {
    const struct cases_expression *expression = &outline->items[i];
    if (kind_of(outline, counts, expression) != kind || !is_outermost(outline, counts, expression))
      continue;
    if (is_first)
      buf_printf(out, "\n%s:\n", title);
    is_first = false;
    buf_printf(out, "  %u:%u ", expression->position.line, expression->position.column);
    cases_outline_put(outline, expression, out);
    buf_append_byte(out, '\n');
  }
}

static str line_at(const struct cases_outline *outline, size_t line) {
  str text = str_from(outline->source, outline->line_starts[line]);
  if (line + 1 < outline->line_count)
    text.len = outline->line_starts[line + 1] - outline->line_starts[line] - 1;
  return text;
}

void cases_coverage_text(const struct cases_outline *outline, const struct rules_coverage *counts,
                         struct buf *out) {
  size_t next = 0;
  buf_printf(out, STR_FMT "\n", STR_ARG(outline->name));
  cases_coverage_summary(outline, counts, out);
  buf_printf(out, "\n%10s %8s %8s\n", "evaluated", "true", "false");
  for (size_t line = 0; line < outline->line_count; line++) {
    const struct rules_coverage *count = NULL;
    while (next < outline->count && outline->items[next].position.line <= line + 1) {
      if (count == NULL)
        count = &counts[outline->items[next].number];
      next++;
    }
    put_counts(count, out);
    buf_printf(out, " | %4zu  ", line + 1);
    buf_append_str(out, line_at(outline, line));
    buf_append_byte(out, '\n');
  }
  put_list(outline, counts, NEVER, "Never evaluated", out);
  put_list(outline, counts, NEVER_TRUE, "Never true", out);
  put_list(outline, counts, NEVER_FALSE, "Never false", out);
}

/* ---- HTML ---- */

static void put_html(str text, struct buf *out) {
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    if (c == '<')
      buf_append_str(out, STR("&lt;"));
    else if (c == '>')
      buf_append_str(out, STR("&gt;"));
    else if (c == '&')
      buf_append_str(out, STR("&amp;"));
    else if (c == '"')
      buf_append_str(out, STR("&quot;"));
    else
      buf_append_byte(out, (uint8_t)c);
  }
}

static void open_span(const struct cases_outline *outline, const struct rules_coverage *counts,
                      const struct cases_expression *expression, struct buf *out) {
  static const char *const classes[] = {"never", "never-true", "never-false", "enough"};
  const struct rules_coverage *count = &counts[expression->number];
  buf_printf(out, "<span class=\"%s\" title=\"", classes[kind_of(outline, counts, expression)]);
  if (cases_evaluations(count) == 0)
    buf_append_str(out, STR("never evaluated"));
  else
    buf_printf(out, "evaluated %llu: true %u, false %u, null %u, error %u, not known %u, other %u",
               (unsigned long long)cases_evaluations(count), count->true_count, count->false_count,
               count->null_count, count->error_count, count->unknown_count, count->other_count);
  buf_append_str(out, STR("\">"));
}

static void put_source(const struct cases_outline *outline, uint32_t from, uint32_t to, struct buf *out) {
  if (to > from)
    put_html(str_make(outline->source.ptr + from, to - from), out);
}

/* The source, with an element around each expression. */
static void put_spans(const struct cases_outline *outline, const struct rules_coverage *counts,
                      struct buf *out) {
  uint32_t open = CASES_NO_EXPRESSION, at = 0;
  for (size_t i = 0; i <= outline->count; i++) {
    uint32_t start = i < outline->count ? outline->items[i].start : (uint32_t)outline->source.len;
    uint32_t outer = i < outline->count ? outline->items[i].outer : CASES_NO_EXPRESSION;
    for (; open != outer && open != CASES_NO_EXPRESSION; open = outline->items[open].outer) {
      put_source(outline, at, outline->items[open].end, out);
      at = outline->items[open].end > at ? outline->items[open].end : at;
      buf_append_str(out, STR("</span>"));
    }
    put_source(outline, at, start, out);
    at = start > at ? start : at;
    if (i < outline->count) {
      open_span(outline, counts, &outline->items[i], out);
      open = (uint32_t)i;
    }
  }
}

void cases_coverage_html(const struct cases_outline *outline, const struct rules_coverage *counts,
                         struct buf *out) {
  buf_append_str(out,
                 STR("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Coverage of "));
  put_html(outline->name, out);
  buf_append_str(out, STR("</title>\n<style>\n"
                          "body { font-family: sans-serif; }\n"
                          ".never { background: #fcc; } .never-true, .never-false { background: #ffc; }\n"
                          ".enough { background: #dfd; }\n"
                          "</style></head><body>\n<h1>"));
  put_html(outline->name, out);
  buf_append_str(out, STR("</h1>\n<p>"));
  struct buf summary = {0};
  cases_coverage_summary(outline, counts, &summary);
  put_html(buf_str(&summary), out);
  out->failed = out->failed || summary.failed;
  buf_fini(&summary);
  buf_append_str(out,
                 STR("</p>\n<p>Red: never evaluated. Yellow: always true, or always false. Counts are shown "
                     "with the mouse over an expression.</p>\n<pre>"));
  put_spans(outline, counts, out);
  buf_append_str(out, STR("</pre></body></html>\n"));
}
