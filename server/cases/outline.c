#include "server/cases/outline.h"

#include <stdlib.h>

#include "base/utf8.h"

enum { TEXT_BYTES_MAX = 72 };

static bool index_lines(struct cases_outline *outline, struct arena *arena) {
  size_t count = 1, at = 0;
  for (size_t i = 0; i < outline->source.len; i++)
    count += outline->source.ptr[i] == '\n';
  uint32_t *starts = ARENA_NEW_ARRAY(arena, uint32_t, count);
  if (starts == NULL)
    return false;
  for (size_t i = 0; i < outline->source.len; i++)
    if (outline->source.ptr[i] == '\n')
      starts[++at] = (uint32_t)i + 1;
  outline->line_starts = starts;
  outline->line_count = count;
  return true;
}

static int compare(const void *a, const void *b) {
  const struct cases_expression *left = a, *right = b;
  if (left->start != right->start)
    return left->start < right->start ? -1 : 1;
  if (left->end != right->end)
    return left->end > right->end ? -1 : 1;
  return left->number < right->number ? -1 : left->number > right->number;
}

/* What is around each: the nearest before it that has not ended. */
static void nest(struct cases_outline *outline) {
  uint32_t around = CASES_NO_EXPRESSION;
  for (size_t i = 0; i < outline->count; i++) {
    while (around != CASES_NO_EXPRESSION && outline->items[around].end <= outline->items[i].start)
      around = outline->items[around].outer;
    outline->items[i].outer = around;
    if (around != CASES_NO_EXPRESSION && outline->items[i].end > outline->items[around].end)
      outline->items[i].end = outline->items[around].end;
    around = (uint32_t)i;
  }
}

status cases_outline_make(const struct rules *rules, str name, struct arena *arena,
                          struct cases_outline *ret) {
  struct cases_outline outline = {.name = name, .source = rules_source(rules)};
  size_t count = rules_expression_count(rules);
  outline.items = ARENA_NEW_ARRAY(arena, struct cases_expression, count);
  if (outline.items == NULL || !index_lines(&outline, arena))
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < count; i++) {
    struct rules_position position = rules_expression_position(rules, i);
    outline.items[i] =
        (struct cases_expression){.start = outline.line_starts[position.line - 1] + position.column - 1,
                                  .end = outline.line_starts[position.end_line - 1] + position.end_column - 1,
                                  .number = (uint32_t)i,
                                  .outer = CASES_NO_EXPRESSION,
                                  .position = position};
  }
  outline.count = count;
  if (count > 1)
    qsort(outline.items, count, sizeof *outline.items, compare);
  nest(&outline);
  *ret = outline;
  return status_ok();
}

void cases_outline_put(const struct cases_outline *outline, const struct cases_expression *expression,
                       struct buf *out) {
  str text = str_from(outline->source, expression->start);
  text.len = expression->end - expression->start;
  size_t written = 0;
  bool was_space = false;
  for (size_t i = 0; i < text.len;) {
    size_t length = utf8_character_length(text.ptr + i, text.len - i);
    length = length == 0 ? 1 : length;
    bool is_space = (unsigned char)text.ptr[i] <= ' ';
    if (written + length > TEXT_BYTES_MAX) {
      buf_append_str(out, STR("..."));
      return;
    }
    if (is_space && !was_space)
      buf_append_byte(out, ' ');
    else if (!is_space)
      buf_append(out, text.ptr + i, length);
    written += is_space && was_space ? 0 : length;
    was_space = is_space;
    i += length;
  }
}
