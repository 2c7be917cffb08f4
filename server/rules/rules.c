/* Compiling: the steps one after the other, problems in the order of the file, and the life of the result. */
#include "server/rules/rules.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "server/rules/program.h"

enum { COMPILED_BYTES_MAX = 64 * 1024 * 1024 };

void *rules_allocate(struct rules_compiler *c, size_t count, size_t size) {
  void *memory = arena_calloc(&c->rules->arena, count, size);
  if (memory == NULL)
    c->out_of_memory = true;
  return memory;
}

/* ---- Positions ---- */

static bool index_lines(struct rules_compiler *c) {
  struct rules *rules = c->rules;
  uint32_t count = 1;
  for (size_t i = 0; i < rules->source.len; i++)
    count += rules->source.ptr[i] == '\n';
  rules->line_starts = rules_allocate(c, count, sizeof *rules->line_starts);
  if (rules->line_starts == NULL)
    return false;
  for (size_t i = 0; i < rules->source.len; i++)
    if (rules->source.ptr[i] == '\n')
      rules->line_starts[++rules->line_count] = (uint32_t)i + 1;
  rules->line_count++;
  return true;
}

static uint32_t line_of(const struct rules *rules, uint32_t offset) {
  uint32_t low = 0, high = rules->line_count;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (rules->line_starts[middle] <= offset)
      low = middle;
    else
      high = middle;
  }
  return low;
}

struct rules_position rules_position_of(const struct rules *rules, uint32_t start, uint32_t end) {
  uint32_t first = line_of(rules, start), last = line_of(rules, end);
  return (struct rules_position){first + 1, start - rules->line_starts[first] + 1, last + 1,
                                 end - rules->line_starts[last] + 1};
}

/* ---- Problems ---- */

static bool is_before(const struct rules_problem *a, const struct rules_problem *b) {
  return a->line != b->line ? a->line < b->line : a->column < b->column;
}

/* Errors push warnings out where there is no room. */
static bool make_room(struct rules_problems *problems, bool is_warning) {
  if (problems->count < RULES_PROBLEMS_MAX)
    return true;
  problems->has_more = true;
  for (size_t i = problems->count; !is_warning && i-- > 0;)
    if (problems->items[i].is_warning) {
      memmove(&problems->items[i], &problems->items[i + 1],
              (problems->count - i - 1) * sizeof *problems->items);
      problems->count--;
      return true;
    }
  return false;
}

void rules_report(struct rules_compiler *c, uint32_t offset, bool is_warning, const char *format, ...) {
  char text[512], clean[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  utf8_repair(text, strlen(text), false, clean, sizeof clean);
  struct rules_position position = rules_position_of(c->rules, offset, offset);
  struct rules_problems *problems = c->problems;
  problems->error_count += !is_warning;
  if (!make_room(problems, is_warning))
    return;
  struct rules_problem problem = {position.line, position.column, is_warning,
                                  arena_str_copy(c->arena, str_from_cstr(clean))};
  if (problem.text.ptr == NULL) {
    c->out_of_memory = true;
    return;
  }
  size_t at = problems->count;
  while (at > 0 && is_before(&problem, &problems->items[at - 1]))
    at--;
  if (at > 0 && problems->items[at - 1].line == problem.line &&
      problems->items[at - 1].column == problem.column && str_eq(problems->items[at - 1].text, problem.text))
    return; /* seen twice: a function that two calls lead to */
  memmove(&problems->items[at + 1], &problems->items[at], (problems->count - at) * sizeof *problems->items);
  problems->items[at] = problem;
  problems->count++;
}

static status first_error(const struct rules_problems *problems) {
  for (size_t i = 0; i < problems->count; i++)
    if (!problems->items[i].is_warning)
      return status_make(STATUS_INVALID_ARGUMENT, "%u:%u: " STR_FMT, problems->items[i].line,
                         problems->items[i].column, STR_ARG(problems->items[i].text));
  return status_make(STATUS_INVALID_ARGUMENT, "The rules have errors.");
}

/* ---- Compiling ---- */

static status compile_into(struct rules_compiler *c, str source) {
  struct rules *rules = c->rules;
  rules->source = arena_str_copy(&rules->arena, source);
  if (rules->source.ptr == NULL || !index_lines(c))
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  if (!utf8_is_valid(source.ptr, source.len))
    rules_report(c, 0, false, "The file is not valid UTF-8.");
  else
    rules_parse(c);
  if (c->problems->error_count == 0 && !c->out_of_memory)
    rules_check(c);
  if (c->out_of_memory)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is not enough memory to compile the rules.");
  return c->problems->error_count > 0 ? first_error(c->problems) : status_ok();
}

status rules_compile(str source, struct arena *arena, struct rules_problems *ret_problems,
                     struct rules **ret) {
  ret_problems->count = ret_problems->error_count = 0;
  ret_problems->has_more = false;
  if (source.len > RULES_SOURCE_BYTES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "The rules are larger than %d bytes.",
                       RULES_SOURCE_BYTES_MAX);
  struct rules *rules = calloc(1, sizeof *rules);
  if (rules == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  atomic_init(&rules->references, 1);
  arena_init(&rules->arena, NULL, 0, COMPILED_BYTES_MAX);
  struct rules_compiler compiler = {.rules = rules, .arena = arena, .problems = ret_problems};
  status result = compile_into(&compiler, source);
  if (status_is_ok(&result))
    *ret = rules;
  else
    rules_unref(rules);
  return result;
}

struct rules *rules_ref(struct rules *rules) {
  atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
  return rules;
}

void rules_unref(struct rules *rules) {
  if (rules == NULL || atomic_fetch_sub_explicit(&rules->references, 1, memory_order_acq_rel) != 1)
    return;
  arena_fini(&rules->arena);
  free(rules);
}

str rules_source(const struct rules *rules) {
  return rules->source;
}

size_t rules_expression_count(const struct rules *rules) {
  return rules->expression_count;
}

struct rules_position rules_expression_position(const struct rules *rules, size_t expression) {
  assert(expression < rules->expression_count);
  const struct rules_node *node = rules->expressions[expression];
  return rules_position_of(rules, node->start, node->end);
}
