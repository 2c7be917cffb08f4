#include "server/rules/parse.h"

static const char *const keywords[] = {"allow", "match",  "function",      "service", "if",    "return",
                                       "let",   "import", "rules_version", "true",    "false", "null",
                                       "in",    "is"};

bool rules_is_keyword(str name) {
  for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
    if (str_eq(name, str_from_cstr(keywords[i])))
      return true;
  return false;
}

void rules_parser_advance(struct rules_parser *p) {
  p->previous_end = p->token.end;
  p->token = rules_lexer_next(&p->lexer);
}

void rules_parser_seek(struct rules_parser *p, uint32_t at) {
  p->lexer.at = at;
  p->previous_end = at;
  p->token = rules_lexer_next(&p->lexer);
}

bool rules_parser_is(const struct rules_parser *p, uint16_t sign) {
  return p->token.kind == TOKEN_SIGN && p->token.sign == sign;
}

bool rules_parser_is_name(const struct rules_parser *p, const char *name) {
  return p->token.kind == TOKEN_NAME && str_eq(p->token.text, str_from_cstr(name));
}

bool rules_parser_take(struct rules_parser *p, uint16_t sign) {
  if (!rules_parser_is(p, sign))
    return false;
  rules_parser_advance(p);
  return true;
}

void rules_parser_unexpected(struct rules_parser *p) {
  if (p->token.kind == TOKEN_INVALID)
    return; /* was reported */
  if (p->token.kind == TOKEN_END) {
    rules_report(p->compiler, p->token.start, false, "Unexpected end of the file.");
    return;
  }
  uint32_t len = p->token.end - p->token.start;
  rules_report(p->compiler, p->token.start, false, "Unexpected '%.*s'.", (int)(len > 40 ? 40 : len),
               p->lexer.source.ptr + p->token.start);
}

bool rules_parser_expect(struct rules_parser *p, uint16_t sign, const char *where) {
  if (rules_parser_take(p, sign))
    return true;
  if (p->token.kind != TOKEN_INVALID)
    rules_report(p->compiler, p->token.start, false, "Missing '%c' %s.", (char)sign, where);
  return false;
}

/* After an error: to where a statement may begin, or the end of its block. */
static void recover(struct rules_parser *p) {
  while (p->token.kind != TOKEN_END && !rules_parser_is(p, '}')) {
    if (rules_parser_take(p, ';'))
      return;
    if (rules_parser_is_name(p, "match") || rules_parser_is_name(p, "allow") ||
        rules_parser_is_name(p, "function") || rules_parser_is_name(p, "service"))
      return;
    rules_parser_advance(p);
  }
}

/* A name that is being given to something. */
static bool new_name(struct rules_parser *p, const char *what, str *ret) {
  if (p->token.kind != TOKEN_NAME || rules_is_keyword(p->token.text)) {
    if (p->token.kind != TOKEN_INVALID)
      rules_report(p->compiler, p->token.start, false, "Missing the name of a %s.", what);
    return false;
  }
  *ret = p->token.text;
  rules_parser_advance(p);
  return true;
}

/* ---- Functions ---- */

static bool parse_parameters(struct rules_parser *p, struct rules_function *function) {
  if (!rules_parser_expect(p, '(', "after the name of a function"))
    return false;
  while (!rules_parser_is(p, ')')) {
    str name;
    uint32_t start = p->token.start;
    if (!new_name(p, "parameter", &name))
      return false;
    if (function->parameter_count < RULES_PARAMETERS_MAX) {
      for (uint32_t i = 0; i < function->parameter_count; i++)
        if (str_eq(function->parameters[i], name))
          rules_report(p->compiler, start, false, "Parameter '" STR_FMT "' is there twice.", STR_ARG(name));
      function->parameters[function->parameter_count] = name;
    } else if (function->parameter_count == RULES_PARAMETERS_MAX) {
      rules_report(p->compiler, function->start, false,
                   "Maximum allowed function arguments of %d for function " STR_FMT " is reached.",
                   RULES_PARAMETERS_MAX, STR_ARG(function->name));
    }
    function->parameter_count++;
    if (!rules_parser_take(p, ','))
      break;
  }
  if (function->parameter_count > RULES_PARAMETERS_MAX)
    function->parameter_count = RULES_PARAMETERS_MAX;
  return rules_parser_expect(p, ')', "after the parameters of a function");
}

static bool parse_let(struct rules_parser *p, struct rules_function *function) {
  uint32_t start = p->token.start;
  rules_parser_advance(p);
  struct rules_let let = {.start = start};
  if (!new_name(p, "variable", &let.name) || !rules_parser_expect(p, '=', "after the name of a variable"))
    return false;
  let.value = rules_parse_expression(p);
  if (let.value == NULL || !rules_parser_expect(p, ';', "after a variable"))
    return false;
  if (p->compiler->rules->version < 2)
    rules_report(
        p->compiler, start, false,
        "Let bindings are not allowed in rules_version=\"1\"; begin the file with rules_version = '2';");
  for (uint32_t i = 0; i < function->parameter_count; i++)
    if (str_eq(function->parameters[i], let.name))
      rules_report(p->compiler, start, false,
                   "The identifier [" STR_FMT "] is already bound in the current scope.", STR_ARG(let.name));
  for (uint32_t i = 0; i < function->let_count; i++)
    if (str_eq(function->lets[i].name, let.name))
      rules_report(p->compiler, start, false,
                   "The identifier [" STR_FMT "] is already bound in the current scope.", STR_ARG(let.name));
  if (function->let_count == RULES_LETS_MAX) {
    rules_report(p->compiler, start, false, "A function may have %d variables at most.", RULES_LETS_MAX);
    return true;
  }
  function->lets[function->let_count++] = let;
  return true;
}

static bool parse_function_body(struct rules_parser *p, struct rules_function *function) {
  if (!parse_parameters(p, function) || !rules_parser_expect(p, '{', "before the body of a function"))
    return false;
  while (rules_parser_is_name(p, "let"))
    if (!parse_let(p, function))
      return false;
  if (!rules_parser_is_name(p, "return")) {
    if (p->token.kind != TOKEN_INVALID)
      rules_report(p->compiler, p->token.start, false,
                   "Missing 'return': a function is 'let' declarations and a 'return' with an expression.");
    return false;
  }
  rules_parser_advance(p);
  function->result = rules_parse_expression(p);
  if (function->result == NULL)
    return false;
  rules_parser_take(p, ';');
  return rules_parser_expect(p, '}', "after the body of a function");
}

static void parse_function(struct rules_parser *p, struct rules_function **list) {
  rules_parser_advance(p);
  struct rules_function *function = rules_allocate(p->compiler, 1, sizeof *function);
  if (function == NULL)
    return;
  function->start = p->token.start;
  if (!new_name(p, "function", &function->name)) {
    recover(p);
    return;
  }
  for (struct rules_function *other = *list; other != NULL; other = other->next)
    if (str_eq(other->name, function->name))
      rules_report(p->compiler, function->start, false, "Function " STR_FMT " is already defined.",
                   STR_ARG(function->name));
  if (!parse_function_body(p, function)) {
    recover(p);
    rules_parser_take(p, '}');
  }
  struct rules_function **last = list; /* in the order of the file */
  while (*last != NULL)
    last = &(*last)->next;
  *last = function;
}

/* ---- match and allow ---- */

static bool parse_wildcard(struct rules_parser *p, struct rules_segment *segment) {
  struct rules_lexer *lexer = &p->lexer;
  struct rules_token name = rules_lexer_next(lexer);
  if (name.kind != TOKEN_NAME || rules_is_keyword(name.text)) {
    rules_report(p->compiler, name.start, false, "A wildcard needs a name: '{name}'.");
    return false;
  }
  segment->kind = SEGMENT_WILDCARD;
  segment->text = name.text;
  struct rules_token next = rules_lexer_next(lexer);
  if (next.kind == TOKEN_SIGN && next.sign == '=') {
    next = rules_lexer_next(lexer);
    if (next.kind == TOKEN_SIGN && next.sign == '*') {
      next = rules_lexer_next(lexer);
      if (next.kind == TOKEN_SIGN && next.sign == '*') {
        segment->kind = SEGMENT_GLOB;
        next = rules_lexer_next(lexer);
      }
    }
  }
  if (next.kind != TOKEN_SIGN || next.sign != '}') {
    rules_report(p->compiler, next.start, false, "A wildcard is '{name}' or '{name=**}'.");
    return false;
  }
  return true;
}

/* One segment at lexer->at, after its '/'. */
static bool parse_segment(struct rules_parser *p, struct rules_segment *segment) {
  struct rules_lexer *lexer = &p->lexer;
  segment->start = lexer->at;
  char c = lexer->at < lexer->source.len ? lexer->source.ptr[lexer->at] : '\0';
  if (c == '{') {
    lexer->at++;
    return parse_wildcard(p, segment);
  }
  if (c == '(') { /* (default) */
    while (lexer->at < lexer->source.len && rules_is_name_part(lexer->source.ptr[++lexer->at])) {
    }
    if (lexer->at < lexer->source.len && lexer->source.ptr[lexer->at] == ')')
      lexer->at++;
  } else {
    while (lexer->at < lexer->source.len && rules_is_segment_part(lexer->source.ptr[lexer->at]))
      lexer->at++;
  }
  segment->kind = SEGMENT_LITERAL;
  segment->text = str_make(lexer->source.ptr + segment->start, lexer->at - segment->start);
  if (segment->text.len == 0)
    rules_report(p->compiler, segment->start, false, "A '/' in a path is followed by a name or a wildcard.");
  return segment->text.len > 0;
}

/* `token` is the first '/'. */
static bool parse_match_path(struct rules_parser *p, struct rules_match *match) {
  enum { SEGMENTS_MAX = 2 * RULES_CAPTURES_MAX };
  struct rules_segment *segments = rules_allocate(p->compiler, SEGMENTS_MAX, sizeof *segments);
  if (segments == NULL)
    return false;
  if (!rules_parser_is(p, '/')) {
    rules_report(p->compiler, p->token.start, false, "A path after 'match' begins with '/'.");
    return false;
  }
  struct rules_lexer *lexer = &p->lexer;
  lexer->at = p->token.start;
  while (lexer->at < lexer->source.len && lexer->source.ptr[lexer->at] == '/') {
    if (match->segment_count == SEGMENTS_MAX) {
      rules_report(p->compiler, match->start, false, "This path has more than %d segments.", SEGMENTS_MAX);
      return false;
    }
    lexer->at++;
    if (!parse_segment(p, &segments[match->segment_count]))
      return false;
    match->segment_count++;
  }
  struct rules_segment *exact = rules_allocate(p->compiler, match->segment_count, sizeof *exact);
  if (exact == NULL)
    return false;
  memcpy(exact, segments, match->segment_count * sizeof *exact);
  match->segments = exact;
  rules_parser_seek(p, lexer->at);
  return true;
}

static uint8_t method_bits(str name) {
  static const struct {
    const char *name;
    unsigned bits;
  } methods[] = {
      {"get", 1U << RULES_GET},
      {"list", 1U << RULES_LIST},
      {"create", 1U << RULES_CREATE},
      {"update", 1U << RULES_UPDATE},
      {"delete", 1U << RULES_DELETE},
      {"read", 1U << RULES_GET | 1U << RULES_LIST},
      {"write", 1U << RULES_CREATE | 1U << RULES_UPDATE | 1U << RULES_DELETE},
  };
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
    if (str_eq(name, str_from_cstr(methods[i].name)))
      return (uint8_t)methods[i].bits;
  return 0;
}

static bool parse_allow(struct rules_parser *p, struct rules_allow *allow) {
  rules_parser_advance(p);
  do {
    uint8_t bits = p->token.kind == TOKEN_NAME ? method_bits(p->token.text) : 0;
    if (bits == 0) {
      if (p->token.kind != TOKEN_INVALID)
        rules_report(
            p->compiler, p->token.start, false,
            "After 'allow' stands what is allowed: read, get, list, write, create, update or delete.");
      return false;
    }
    allow->methods |= bits;
    rules_parser_advance(p);
  } while (rules_parser_take(p, ','));
  if (rules_parser_take(p, ':')) {
    if (!rules_parser_is_name(p, "if")) {
      if (p->token.kind != TOKEN_INVALID)
        rules_report(p->compiler, p->token.start, false, "Missing 'if' before conditional expression.");
      return false;
    }
    rules_parser_advance(p);
    allow->condition = rules_parse_expression(p);
    if (allow->condition == NULL)
      return false;
  } else if (rules_parser_is_name(p, "if")) {
    rules_report(p->compiler, p->token.start, false, "Missing ':' before 'if' condition.");
    return false;
  }
  if (rules_parser_take(p, ';') || rules_parser_is(p, '}') ||
      (p->token.kind == TOKEN_NAME && rules_is_keyword(p->token.text)))
    return true;
  rules_parser_unexpected(p);
  return false;
}

static void parse_match(struct rules_parser *p, struct rules_match **list, uint32_t depth);

static void parse_match_body(struct rules_parser *p, struct rules_match *match, uint32_t depth) {
  struct rules_allow **last_allow = &match->allows;
  while (!rules_parser_is(p, '}') && p->token.kind != TOKEN_END) {
    if (rules_parser_is_name(p, "allow")) {
      struct rules_allow *allow = rules_allocate(p->compiler, 1, sizeof *allow);
      if (allow == NULL)
        return;
      allow->start = p->token.start;
      if (!parse_allow(p, allow)) {
        recover(p);
        continue;
      }
      *last_allow = allow;
      last_allow = &allow->next;
    } else if (rules_parser_is_name(p, "match")) {
      parse_match(p, &match->children, depth + 1);
    } else if (rules_parser_is_name(p, "function")) {
      parse_function(p, &match->functions);
    } else {
      rules_parser_unexpected(p);
      rules_parser_advance(p);
      recover(p);
    }
  }
  if (match->allows == NULL && match->children == NULL && match->functions == NULL &&
      p->compiler->problems->error_count == 0)
    rules_report(p->compiler, match->start, false, "The 'match' body must contain at least one declaration.");
  rules_parser_expect(p, '}', "at the end of a match block");
}

static void parse_match(struct rules_parser *p, struct rules_match **list, uint32_t depth) {
  struct rules_match *match = rules_allocate(p->compiler, 1, sizeof *match);
  if (match == NULL)
    return;
  match->start = p->token.start;
  if (depth > RULES_MATCH_DEPTH_MAX) {
    rules_report(p->compiler, match->start, false, "More than %d match blocks in each other.",
                 RULES_MATCH_DEPTH_MAX);
    rules_parser_seek(p, (uint32_t)p->lexer.source.len); /* the rest could be as deep as it likes */
    return;
  }
  rules_parser_advance(p);
  struct rules_match **last = list;
  while (*last != NULL)
    last = &(*last)->next;
  *last = match;
  if (!parse_match_path(p, match)) {
    match->segment_count = 0;
    while (p->token.kind != TOKEN_END && !rules_parser_is(p, '{') && !rules_parser_is(p, '}') &&
           !rules_parser_is(p, ';'))
      rules_parser_advance(p);
  }
  if (!rules_parser_expect(p, '{', "after the path of a match")) {
    recover(p);
    return;
  }
  parse_match_body(p, match, depth);
}

/* ---- Services and the file ---- */

static bool parse_service_name(struct rules_parser *p, struct rules_service *service) {
  uint32_t start = p->token.start;
  do {
    if (p->token.kind != TOKEN_NAME) {
      rules_parser_unexpected(p);
      return false;
    }
    rules_parser_advance(p);
  } while (rules_parser_take(p, '.'));
  service->name = str_make(p->lexer.source.ptr + start, p->previous_end - start);
  return rules_parser_expect(p, '{', "after the name of a service");
}

static void parse_service(struct rules_parser *p) {
  struct rules_service *service = rules_allocate(p->compiler, 1, sizeof *service);
  if (service == NULL)
    return;
  uint32_t start = p->token.start;
  rules_parser_advance(p);
  if (!parse_service_name(p, service)) {
    recover(p);
    return;
  }
  struct rules_service **last = &p->compiler->rules->services;
  for (; *last != NULL; last = &(*last)->next)
    if (str_eq((*last)->name, service->name))
      rules_report(p->compiler, start, false, "Service " STR_FMT " is already defined.",
                   STR_ARG(service->name));
  *last = service;
  while (!rules_parser_is(p, '}') && p->token.kind != TOKEN_END) {
    if (rules_parser_is_name(p, "match")) {
      parse_match(p, &service->matches, 1);
    } else if (rules_parser_is_name(p, "function")) {
      parse_function(p, &service->functions);
    } else {
      rules_parser_unexpected(p);
      rules_parser_advance(p);
      recover(p);
    }
  }
  if (service->matches == NULL && service->functions == NULL && p->compiler->problems->error_count == 0)
    rules_report(p->compiler, p->token.start, false,
                 "The 'service' body must contain at least one declaration.");
  rules_parser_expect(p, '}', "at the end of a service");
}

static void parse_version(struct rules_parser *p) {
  rules_parser_advance(p);
  if (!rules_parser_expect(p, '=', "after rules_version"))
    return;
  struct rules *rules = p->compiler->rules;
  if (p->token.kind != TOKEN_STRING) {
    rules_report(p->compiler, p->token.start, false, "The version is a text: rules_version = '2';");
    return;
  }
  if (str_eq(p->token.text, STR("1")))
    rules->version = 1;
  else if (str_eq(p->token.text, STR("2")))
    rules->version = 2;
  else
    rules_report(p->compiler, p->token.start, false,
                 "Unsupported rules version " STR_FMT ". There are '1' and '2'.", STR_ARG(p->token.text));
  rules_parser_advance(p);
  rules_parser_take(p, ';');
}

void rules_parse(struct rules_compiler *c) {
  struct rules_parser p = {.compiler = c, .lexer = {.compiler = c, .source = c->rules->source}};
  rules_parser_advance(&p);
  c->rules->version = 1;
  if (p.token.kind == TOKEN_END && c->problems->error_count == 0)
    rules_report(c, 0, false, "The file is empty.");
  if (rules_parser_is_name(&p, "rules_version"))
    parse_version(&p);
  else
    rules_report(
        c, 0, true,
        "Ruleset uses old version (version [1]). Please update to the latest version (version [2]).");
  while (p.token.kind != TOKEN_END && !c->out_of_memory) {
    if (rules_parser_is_name(&p, "service")) {
      parse_service(&p);
    } else if (rules_parser_is_name(&p, "function")) {
      parse_function(&p, &c->rules->functions);
    } else {
      rules_parser_unexpected(&p);
      rules_parser_advance(&p);
      recover(&p);
    }
  }
}
