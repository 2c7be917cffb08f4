/* From names to what they mean, and the limits that a file as a whole has. Recursion is bounded: by the depth
 * of expressions, of match blocks, and of calls. */
#include "server/rules/builtin.h"
#include "server/rules/regex.h"

/* What is visible at a place, innermost first. */
struct scope {
  const struct scope *outer;
  struct rules_function *functions;
  const struct rules_match *match;       /* its wildcards */
  const struct rules_function *function; /* its parameters and variables up to visible_lets */
  uint32_t visible_lets;
};

static void check_node(struct rules_compiler *c, struct rules_node *node, const struct scope *scope);

static bool find_local(const struct rules_function *function, uint32_t visible_lets, str name,
                       uint16_t *ret) {
  for (uint32_t i = 0; i < visible_lets; i++)
    if (str_eq(function->lets[i].name, name)) {
      *ret = (uint16_t)(function->parameter_count + i);
      return true;
    }
  for (uint32_t i = 0; i < function->parameter_count; i++)
    if (str_eq(function->parameters[i], name)) {
      *ret = (uint16_t)i;
      return true;
    }
  return false;
}

static bool find_capture(const struct rules_match *match, str name, uint16_t *ret) {
  uint32_t number = match->first_capture;
  for (uint32_t i = 0; i < match->segment_count; i++) {
    if (match->segments[i].kind == SEGMENT_LITERAL)
      continue;
    if (str_eq(match->segments[i].text, name)) {
      *ret = (uint16_t)number;
      return true;
    }
    number++;
  }
  return false;
}

static bool find_variable(const struct scope *scope, str name, enum rules_node_kind *ret_kind,
                          uint16_t *ret) {
  for (; scope != NULL; scope = scope->outer) {
    *ret_kind = NODE_LOCAL;
    if (scope->function != NULL && find_local(scope->function, scope->visible_lets, name, ret))
      return true;
    *ret_kind = NODE_CAPTURE;
    if (scope->match != NULL && find_capture(scope->match, name, ret))
      return true;
  }
  return false;
}

static void check_name(struct rules_compiler *c, struct rules_node *node, const struct scope *scope) {
  enum rules_node_kind kind;
  if (find_variable(scope, node->text, &kind, &node->number))
    node->kind = (uint8_t)kind;
  else if (str_eq(node->text, STR("request")))
    node->kind = NODE_REQUEST;
  else if (str_eq(node->text, STR("resource")))
    node->kind = NODE_RESOURCE;
  else
    rules_report(c, node->start, true, "Invalid variable name: " STR_FMT ".", STR_ARG(node->text));
}

static struct rules_function *find_function(const struct rules_compiler *c, const struct scope *scope,
                                            str name) {
  for (; scope != NULL; scope = scope->outer)
    for (struct rules_function *f = scope->functions; f != NULL; f = f->next)
      if (str_eq(f->name, name))
        return f;
  for (struct rules_function *f = c->rules->functions; f != NULL; f = f->next)
    if (str_eq(f->name, name))
      return f;
  return NULL;
}

static void check_argument_count(struct rules_compiler *c, const struct rules_node *node, size_t count,
                                 size_t least, size_t most) {
  if (count < least || count > most)
    rules_report(c, node->start, true, "Incorrect number of arguments supplied to function: " STR_FMT ".",
                 STR_ARG(node->text));
}

static void check_call(struct rules_compiler *c, struct rules_node *node, const struct scope *scope) {
  struct rules_function *function = find_function(c, scope, node->text);
  if (function != NULL) {
    function->is_used = true;
    check_argument_count(c, node, node->child_count, function->parameter_count, function->parameter_count);
    if (node->child_count == function->parameter_count) {
      node->kind = NODE_FUNCTION;
      node->as.function = function;
    }
    return;
  }
  enum rules_builtin id = rules_builtin_find(STR("*"), node->text);
  if (id == RULES_BUILTIN_COUNT) {
    rules_report(c, node->start, true, "Invalid function name: " STR_FMT ".", STR_ARG(node->text));
    return;
  }
  const struct rules_builtin_info *info = rules_builtin_info(id);
  check_argument_count(c, node, node->child_count, info->least, info->most);
  node->kind = NODE_BUILTIN;
  node->number = (uint16_t)id;
}

/* math.abs(x): the name before the point is no variable. */
static bool check_space_call(struct rules_compiler *c, struct rules_node *node, const struct scope *scope) {
  const struct rules_node *target = node->children[0];
  enum rules_node_kind kind;
  uint16_t number;
  if (target->kind != NODE_NAME || !rules_builtin_is_space(target->text) ||
      find_variable(scope, target->text, &kind, &number))
    return false;
  enum rules_builtin id = rules_builtin_find(target->text, node->text);
  node->children++;
  node->child_count--;
  if (id == RULES_BUILTIN_COUNT) {
    node->kind = NODE_CALL;
    rules_report(c, node->start, true, "Invalid function name: " STR_FMT "." STR_FMT ".",
                 STR_ARG(target->text), STR_ARG(node->text));
    return true;
  }
  const struct rules_builtin_info *info = rules_builtin_info(id);
  check_argument_count(c, node, node->child_count, info->least, info->most);
  node->kind = NODE_BUILTIN;
  node->number = (uint16_t)id;
  return true;
}

/* A pattern that is written out is compiled once. */
static void check_pattern(struct rules_compiler *c, struct rules_node *node) {
  const struct rules_node *argument = node->children[1];
  if (argument->kind != NODE_LITERAL || argument->as.literal.kind != VALUE_STRING)
    return;
  const char *why = rules_pattern_compile(argument->as.literal.as.bytes, &c->rules->arena, &node->as.pattern);
  if (why != NULL) /* of replace() production takes the file all the same */
    rules_report(c, argument->start, node->number == METHOD_REPLACE,
                 "Invalid regular expression pattern. Pattern: " STR_FMT ". (%s)",
                 STR_ARG(argument->as.literal.as.bytes), why);
}

static void check_method(struct rules_compiler *c, struct rules_node *node) {
  enum rules_builtin id = rules_builtin_find(STR(""), node->text);
  if (id == RULES_BUILTIN_COUNT) {
    node->kind = NODE_CALL;
    rules_report(c, node->start, true, "Invalid function name: " STR_FMT ".", STR_ARG(node->text));
    return;
  }
  const struct rules_builtin_info *info = rules_builtin_info(id);
  check_argument_count(c, node, node->child_count - 1, info->least, info->most);
  node->number = (uint16_t)id;
  bool takes_pattern = id == METHOD_MATCHES || id == METHOD_SPLIT || id == METHOD_REPLACE;
  if (takes_pattern && node->child_count >= 2)
    check_pattern(c, node);
}

static void check_node(struct rules_compiler *c, struct rules_node *node, const struct scope *scope) {
  node->index = c->rules->expression_count++;
  bool is_space_call = node->kind == NODE_METHOD && check_space_call(c, node, scope);
  for (uint32_t i = 0; i < node->child_count; i++)
    check_node(c, node->children[i], scope);
  if (is_space_call)
    return;
  if (node->kind == NODE_NAME)
    check_name(c, node, scope);
  else if (node->kind == NODE_CALL)
    check_call(c, node, scope);
  else if (node->kind == NODE_METHOD)
    check_method(c, node);
}

static void check_functions(struct rules_compiler *c, struct rules_function *functions,
                            const struct scope *outer) {
  for (struct rules_function *f = functions; f != NULL; f = f->next) {
    struct scope scope = {.outer = outer, .function = f};
    for (uint32_t i = 0; i < f->let_count; i++) {
      scope.visible_lets = i;
      check_node(c, f->lets[i].value, &scope);
    }
    scope.visible_lets = f->let_count;
    if (f->result != NULL)
      check_node(c, f->result, &scope);
  }
}

/* ---- Paths of match blocks ---- */

struct chain { /* of match blocks in each other */
  const struct chain *outer;
  const struct rules_match *match;
  bool has_glob;
};

static void check_segments(struct rules_compiler *c, struct rules_match *match, struct chain *chain) {
  for (uint32_t i = 0; i < match->segment_count; i++) {
    const struct rules_segment *segment = &match->segments[i];
    if (segment->kind == SEGMENT_LITERAL)
      continue;
    match->capture_count++;
    for (uint32_t before = 0; before < i; before++)
      if (match->segments[before].kind != SEGMENT_LITERAL &&
          str_eq(match->segments[before].text, segment->text))
        rules_report(c, segment->start, false, "Variable " STR_FMT " already exists in the PathTemplate.",
                     STR_ARG(segment->text));
    if (segment->kind != SEGMENT_GLOB)
      continue;
    if (c->rules->version < 2 && i + 1 < match->segment_count)
      rules_report(c, segment->start, false,
                   "Invalid glob match expression. Glob matches are permitted as the last segment in a match "
                   "declaration path.");
    if (chain->has_glob)
      rules_report(
          c, segment->start, false,
          "Invalid glob match expression. Only one glob match is permitted in a match declaration path.");
    chain->has_glob = true;
  }
  if (match->first_capture + match->capture_count > RULES_CAPTURES_MAX)
    rules_report(c, match->start, false, "More than %d wildcards in match blocks in each other.",
                 RULES_CAPTURES_MAX);
}

static void check_match(struct rules_compiler *c, struct rules_match *match, const struct scope *outer,
                        const struct chain *outer_chain, uint32_t first_capture) {
  struct chain chain = {
      .outer = outer_chain, .match = match, .has_glob = outer_chain != NULL && outer_chain->has_glob};
  match->first_capture = first_capture;
  check_segments(c, match, &chain);
  struct scope scope = {.outer = outer, .functions = match->functions, .match = match};
  check_functions(c, match->functions, &scope);
  for (struct rules_allow *allow = match->allows; allow != NULL; allow = allow->next)
    if (allow->condition != NULL)
      check_node(c, allow->condition, &scope);
  for (struct rules_match *child = match->children; child != NULL; child = child->next)
    check_match(c, child, &scope, &chain, first_capture + match->capture_count);
}

/* ---- Calls ---- */

enum { UNSEEN, UNDER_WAY, DONE };

static uint8_t call_depth(struct rules_compiler *c, struct rules_function *function, uint32_t depth);

/* The deepest chain of calls that evaluating `node` makes. */
static uint8_t deepest_call(struct rules_compiler *c, const struct rules_node *node, uint32_t depth) {
  uint8_t deepest = 0;
  for (uint32_t i = 0; i < node->child_count; i++) {
    uint8_t below = deepest_call(c, node->children[i], depth);
    deepest = below > deepest ? below : deepest;
  }
  if (node->kind != NODE_FUNCTION)
    return deepest;
  struct rules_function *called =
      (struct rules_function *)(uintptr_t)node->as.function; /* its marks are ours */
  if (called->check_state == UNDER_WAY) {
    rules_report(c, node->start, false, "Recursive call is not allowed: " STR_FMT ".", STR_ARG(called->name));
    return deepest;
  }
  uint8_t below = call_depth(c, called, depth + 1);
  return below > deepest ? below : deepest;
}

static uint8_t call_depth(struct rules_compiler *c, struct rules_function *function, uint32_t depth) {
  if (function->check_state == DONE)
    return function->call_depth;
  if (depth > RULES_CALL_DEPTH_MAX) {
    rules_report(c, function->start, false, "Maximum allowed call depth of %d is reached in " STR_FMT ".",
                 RULES_CALL_DEPTH_MAX, STR_ARG(function->name));
    return 0; /* and not DONE: nothing is run that has errors */
  }
  function->check_state = UNDER_WAY;
  uint8_t deepest = 0;
  for (uint32_t i = 0; i <= function->let_count; i++) {
    const struct rules_node *node = i < function->let_count ? function->lets[i].value : function->result;
    uint8_t below = node == NULL ? 0 : deepest_call(c, node, depth);
    deepest = below > deepest ? below : deepest;
  }
  function->check_state = DONE;
  function->call_depth = (uint8_t)(deepest + 1);
  if (function->call_depth > RULES_CALL_DEPTH_MAX && depth <= 1)
    rules_report(c, function->start, false, "Maximum allowed call depth of %d is reached in " STR_FMT ".",
                 RULES_CALL_DEPTH_MAX, STR_ARG(function->name));
  return function->call_depth;
}

static void check_calls(struct rules_compiler *c, struct rules_function *functions) {
  for (struct rules_function *f = functions; f != NULL && c->problems->error_count < RULES_PROBLEMS_MAX;
       f = f->next)
    call_depth(c, f, 1);
}

static void check_calls_of_matches(struct rules_compiler *c, const struct rules_match *matches) {
  for (; matches != NULL; matches = matches->next) {
    check_calls(c, matches->functions);
    check_calls_of_matches(c, matches->children);
  }
}

static void warn_of_unused(struct rules_compiler *c, const struct rules_function *functions) {
  for (const struct rules_function *f = functions; f != NULL; f = f->next)
    if (!f->is_used)
      rules_report(c, f->start, true, "Unused function: " STR_FMT ".", STR_ARG(f->name));
}

static void warn_of_unused_in(struct rules_compiler *c, const struct rules_match *matches) {
  for (; matches != NULL; matches = matches->next) {
    warn_of_unused(c, matches->functions);
    warn_of_unused_in(c, matches->children);
  }
}

/* ---- Expressions by number ---- */

static void number_nodes(struct rules *rules, struct rules_node *node) {
  rules->expressions[node->index] = node;
  for (uint32_t i = 0; i < node->child_count; i++)
    number_nodes(rules, node->children[i]);
}

static void number_functions(struct rules *rules, const struct rules_function *functions) {
  for (; functions != NULL; functions = functions->next) {
    for (uint32_t i = 0; i < functions->let_count; i++)
      number_nodes(rules, functions->lets[i].value);
    if (functions->result != NULL)
      number_nodes(rules, functions->result);
  }
}

static void number_matches(struct rules *rules, const struct rules_match *matches) {
  for (; matches != NULL; matches = matches->next) {
    number_functions(rules, matches->functions);
    for (struct rules_allow *allow = matches->allows; allow != NULL; allow = allow->next)
      if (allow->condition != NULL)
        number_nodes(rules, allow->condition);
    number_matches(rules, matches->children);
  }
}

void rules_check(struct rules_compiler *c) {
  struct rules *rules = c->rules;
  check_functions(c, rules->functions, NULL);
  for (struct rules_service *service = rules->services; service != NULL; service = service->next) {
    struct scope scope = {.functions = service->functions};
    check_functions(c, service->functions, &scope);
    for (struct rules_match *match = service->matches; match != NULL; match = match->next)
      check_match(c, match, &scope, NULL, 0);
  }
  check_calls(c, rules->functions);
  warn_of_unused(c, rules->functions);
  for (struct rules_service *service = rules->services; service != NULL; service = service->next) {
    check_calls(c, service->functions);
    check_calls_of_matches(c, service->matches);
    warn_of_unused(c, service->functions);
    warn_of_unused_in(c, service->matches);
  }
  rules->expressions = rules_allocate(c, rules->expression_count + 1, sizeof(struct rules_node *));
  if (rules->expressions == NULL)
    return;
  number_functions(rules, rules->functions);
  for (struct rules_service *service = rules->services; service != NULL; service = service->next) {
    number_functions(rules, service->functions);
    number_matches(rules, service->matches);
  }
}
