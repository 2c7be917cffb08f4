/* Expressions, by precedence: each level of the table below binds stronger than the one before it. */
#include "server/rules/parse.h"

static struct rules_node *make_node(struct rules_parser *p, enum rules_node_kind kind, uint32_t start) {
  struct rules_node *node = rules_allocate(p->compiler, 1, sizeof *node);
  if (node == NULL)
    return NULL;
  node->kind = (uint8_t)kind;
  node->height = 1;
  node->start = start;
  node->end = p->previous_end;
  return node;
}

/* Capacities are powers of two: no need to keep them. */
static bool add_child(struct rules_parser *p, struct rules_node *parent, struct rules_node *child) {
  if (child == NULL)
    return false;
  uint32_t count = parent->child_count;
  if ((count & (count - 1)) == 0) {
    struct rules_node **more = rules_allocate(p->compiler, count == 0 ? 1 : 2 * (size_t)count, sizeof *more);
    if (more == NULL)
      return false;
    if (count > 0)
      memcpy(more, parent->children, count * sizeof *more);
    parent->children = more;
  }
  parent->children[parent->child_count++] = child;
  if (child->height >= RULES_EXPRESSION_DEPTH_MAX) {
    rules_report(p->compiler, parent->start, false,
                 "Expression is too complex to evaluate safely: more than %d levels.",
                 RULES_EXPRESSION_DEPTH_MAX);
    return false;
  }
  if (child->height >= parent->height)
    parent->height = (uint8_t)(child->height + 1);
  parent->end = p->previous_end;
  return true;
}

static struct rules_node *literal(struct rules_parser *p, uint32_t start, struct rules_value value) {
  struct rules_node *node = make_node(p, NODE_LITERAL, start);
  if (node != NULL)
    node->as.literal = value;
  return node;
}

static struct rules_node *missing(struct rules_parser *p, const char *text) {
  if (p->token.kind != TOKEN_INVALID)
    rules_report(p->compiler, p->token.start, false, "%s", text);
  return NULL;
}

/* Comma-separated expressions up to `close`; a comma may stand last. */
static bool parse_items(struct rules_parser *p, struct rules_node *parent, uint16_t close,
                        const char *where) {
  while (!rules_parser_is(p, close)) {
    if (!add_child(p, parent, rules_parse_expression(p)))
      return false;
    if (!rules_parser_take(p, ','))
      break;
  }
  if (!rules_parser_expect(p, close, where))
    return false;
  parent->end = p->previous_end;
  return true;
}

static struct rules_node *parse_map(struct rules_parser *p, uint32_t start) {
  struct rules_node *node = make_node(p, NODE_MAP, start);
  while (node != NULL && !rules_parser_is(p, '}')) {
    if (!add_child(p, node, rules_parse_expression(p)) ||
        !rules_parser_expect(p, ':', "after a key of a map") ||
        !add_child(p, node, rules_parse_expression(p)))
      return NULL;
    if (!rules_parser_take(p, ','))
      break;
  }
  if (node == NULL || !rules_parser_expect(p, '}', "at the end of a map"))
    return NULL;
  node->end = p->previous_end;
  return node;
}

/* The segment at lexer->at, after its '/'. */
static struct rules_node *parse_path_segment(struct rules_parser *p) {
  struct rules_lexer *lexer = &p->lexer;
  uint32_t start = lexer->at;
  str source = lexer->source;
  if (start + 1 < source.len && source.ptr[start] == '$' && source.ptr[start + 1] == '(') {
    rules_parser_seek(p, start + 2);
    struct rules_node *node = rules_parse_expression(p);
    if (node == NULL || !rules_parser_is(p, ')'))
      return node == NULL ? NULL : missing(p, "Missing ')' after '$('.");
    lexer->at = p->token.end; /* the path goes on directly */
    return node;
  }
  if (start < source.len && source.ptr[start] == '(') { /* (default) */
    while (++lexer->at < source.len && rules_is_name_part(source.ptr[lexer->at])) {
    }
    if (lexer->at < source.len && source.ptr[lexer->at] == ')')
      lexer->at++;
  }
  while (lexer->at < source.len &&
         (rules_is_segment_part(source.ptr[lexer->at]) || source.ptr[lexer->at] == '$'))
    lexer->at++;
  if (lexer->at == start) {
    rules_report(p->compiler, start, false, "A '/' in a path is followed by a name or $(expression).");
    return NULL;
  }
  p->previous_end = lexer->at;
  return literal(p, start, rules_string(str_make(source.ptr + start, lexer->at - start)));
}

static struct rules_node *parse_path(struct rules_parser *p, uint32_t start) {
  struct rules_node *node = make_node(p, NODE_PATH, start);
  struct rules_lexer *lexer = &p->lexer;
  lexer->at = start;
  while (node != NULL && lexer->at < lexer->source.len && lexer->source.ptr[lexer->at] == '/') {
    if (lexer->at + 1 < lexer->source.len &&
        (lexer->source.ptr[lexer->at + 1] == '/' || lexer->source.ptr[lexer->at + 1] == '*'))
      break; /* a comment */
    lexer->at++;
    if (!add_child(p, node, parse_path_segment(p)))
      return NULL;
  }
  if (node != NULL) {
    node->end = lexer->at;
    rules_parser_seek(p, lexer->at);
  }
  return node;
}

static struct rules_node *parse_name(struct rules_parser *p, struct rules_token token) {
  if (str_eq(token.text, STR("true")) || str_eq(token.text, STR("false")))
    return literal(p, token.start, rules_bool(token.text.len == 4));
  if (str_eq(token.text, STR("null")))
    return literal(p, token.start, rules_null());
  struct rules_node *node = make_node(p, NODE_NAME, token.start);
  if (node == NULL)
    return NULL;
  node->text = token.text;
  if (!rules_parser_take(p, '('))
    return node;
  node->kind = NODE_CALL;
  return parse_items(p, node, ')', "after the arguments of a call") ? node : NULL;
}

static struct rules_node *parse_primary(struct rules_parser *p) {
  struct rules_token token = p->token;
  if (token.kind == TOKEN_END || token.kind == TOKEN_INVALID)
    return missing(p, "Missing an expression at the end of the file.");
  if (token.kind == TOKEN_SIGN && token.sign == '/')
    return parse_path(p, token.start);
  if (token.kind == TOKEN_NAME && rules_is_keyword(token.text) && !str_eq(token.text, STR("true")) &&
      !str_eq(token.text, STR("false")) && !str_eq(token.text, STR("null"))) {
    rules_parser_unexpected(p);
    return NULL;
  }
  if (token.kind == TOKEN_SIGN && token.sign != '(' && token.sign != '[' && token.sign != '{') {
    rules_parser_unexpected(p);
    return NULL;
  }
  rules_parser_advance(p);
  struct rules_node *node;
  switch (token.kind) {
  case TOKEN_NAME:
    return parse_name(p, token);
  case TOKEN_INT:
    if (token.integer == INT64_MIN) {
      rules_report(p->compiler, token.start, false, "Invalid number literal 9223372036854775808.");
      return NULL;
    }
    return literal(p, token.start, rules_int(token.integer));
  case TOKEN_FLOAT:
    return literal(p, token.start, rules_float(token.number));
  case TOKEN_STRING:
    return literal(p, token.start, rules_string(token.text));
  case TOKEN_BYTES:
    return literal(p, token.start, (struct rules_value){.kind = VALUE_BYTES, .as.bytes = token.text});
  case TOKEN_SIGN:
  case TOKEN_END:
  case TOKEN_INVALID:
    break;
  }
  if (token.sign == '{')
    return parse_map(p, token.start);
  if (token.sign == '[') {
    node = make_node(p, NODE_LIST, token.start);
    return node != NULL && parse_items(p, node, ']', "at the end of a list") ? node : NULL;
  }
  node = rules_parse_expression(p);
  return node != NULL && rules_parser_expect(p, ')', "after an expression in parentheses") ? node : NULL;
}

static struct rules_node *parse_index(struct rules_parser *p, struct rules_node *target) {
  struct rules_node *node = make_node(p, NODE_INDEX, target->start);
  if (node == NULL || !add_child(p, node, target) || !add_child(p, node, rules_parse_expression(p)))
    return NULL;
  if (rules_parser_take(p, ':')) {
    node->kind = NODE_SLICE;
    if (!add_child(p, node, rules_parse_expression(p)))
      return NULL;
  }
  if (!rules_parser_expect(p, ']', "after an index"))
    return NULL;
  node->end = p->previous_end;
  return node;
}

static struct rules_node *parse_member(struct rules_parser *p, struct rules_node *target) {
  if (p->token.kind != TOKEN_NAME)
    return missing(p, "Missing a name after '.'.");
  struct rules_node *node = make_node(p, NODE_MEMBER, target->start);
  if (node == NULL)
    return NULL;
  node->text = p->token.text;
  rules_parser_advance(p);
  if (!add_child(p, node, target))
    return NULL;
  if (!rules_parser_take(p, '('))
    return node;
  node->kind = NODE_METHOD;
  return parse_items(p, node, ')', "after the arguments of a call") ? node : NULL;
}

static struct rules_node *parse_postfix(struct rules_parser *p) {
  struct rules_node *node = parse_primary(p);
  while (node != NULL) {
    if (rules_parser_take(p, '.'))
      node = parse_member(p, node);
    else if (rules_parser_take(p, '['))
      node = parse_index(p, node);
    else
      break;
  }
  return node;
}

static struct rules_node *parse_unary(struct rules_parser *p) {
  uint32_t start = p->token.start;
  if (!rules_parser_is(p, '!') && !rules_parser_is(p, '-'))
    return parse_postfix(p);
  bool is_not = rules_parser_is(p, '!');
  rules_parser_advance(p);
  if (!is_not && p->token.kind == TOKEN_INT && p->token.integer == INT64_MIN) {
    rules_parser_advance(p);
    return literal(p, start, rules_int(INT64_MIN));
  }
  struct rules_node *node = make_node(p, is_not ? NODE_NOT : NODE_NEGATE, start);
  if (node == NULL || ++p->depth > RULES_EXPRESSION_DEPTH_MAX)
    return missing(p, "Expression is too complex to evaluate safely.");
  struct rules_node *operand = parse_unary(p);
  p->depth--;
  return add_child(p, node, operand) ? node : NULL;
}

/* ---- Binary operators ---- */

enum level {
  LEVEL_OR,
  LEVEL_AND,
  LEVEL_EQUALITY,
  LEVEL_IN_IS,
  LEVEL_RELATION,
  LEVEL_ADDITIVE,
  LEVEL_MULTIPLICATIVE,
  LEVEL_UNARY
};

static const struct {
  enum level level;
  uint16_t sign;
  enum rules_node_kind kind;
} operators[] = {
    {LEVEL_OR, RULES_SIGN2('|', '|'), NODE_OR},
    {LEVEL_AND, RULES_SIGN2('&', '&'), NODE_AND},
    {LEVEL_EQUALITY, RULES_SIGN2('=', '='), NODE_EQUAL},
    {LEVEL_EQUALITY, RULES_SIGN2('!', '='), NODE_NOT_EQUAL},
    {LEVEL_RELATION, '<', NODE_LESS},
    {LEVEL_RELATION, '>', NODE_GREATER},
    {LEVEL_RELATION, RULES_SIGN2('<', '='), NODE_LESS_OR_EQUAL},
    {LEVEL_RELATION, RULES_SIGN2('>', '='), NODE_GREATER_OR_EQUAL},
    {LEVEL_ADDITIVE, '+', NODE_ADD},
    {LEVEL_ADDITIVE, '-', NODE_SUBTRACT},
    {LEVEL_MULTIPLICATIVE, '*', NODE_MULTIPLY},
    {LEVEL_MULTIPLICATIVE, '/', NODE_DIVIDE},
    {LEVEL_MULTIPLICATIVE, '%', NODE_MODULO},
};

static bool next_operator(const struct rules_parser *p, enum level level, enum rules_node_kind *ret) {
  if (level == LEVEL_IN_IS) {
    *ret = rules_parser_is_name(p, "in") ? NODE_IN : NODE_IS;
    return rules_parser_is_name(p, "in") || rules_parser_is_name(p, "is");
  }
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
    if (operators[i].level == level && rules_parser_is(p, operators[i].sign)) {
      *ret = operators[i].kind;
      return true;
    }
  return false;
}

static struct rules_node *parse_type(struct rules_parser *p, struct rules_node *value) {
  struct rules_node *node = make_node(p, NODE_IS, value->start);
  if (node == NULL)
    return NULL;
  if (p->token.kind != TOKEN_NAME)
    return missing(p, "Missing a type after 'is'.");
  static const char *const names[] = {"bool",   "bytes",     "duration", "float",   "int",
                                      "latlng", "list",      "vector",   "set",     "map",
                                      "string", "timestamp", "path",     "map_diff"};
  static const uint16_t types[] = {VALUE_BOOL,   VALUE_BYTES,     VALUE_DURATION, VALUE_FLOAT,   VALUE_INT,
                                   VALUE_LATLNG, VALUE_LIST,      VALUE_VECTOR,   VALUE_SET,     VALUE_MAP,
                                   VALUE_STRING, VALUE_TIMESTAMP, VALUE_PATH,     VALUE_MAP_DIFF};
  str name = p->token.text;
  node->number = str_eq(name, STR("number"))       ? TYPE_NUMBER
                 : str_eq(name, STR("constraint")) ? TYPE_CONSTRAINT
                                                   : 0;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (str_eq(name, str_from_cstr(names[i])))
      node->number = types[i];
  if (node->number == 0) {
    rules_report(p->compiler, p->token.start, false,
                 "An unsupported type identifier was used with the 'is' operator. Received " STR_FMT
                 ". Expected one of "
                 "bool,bytes,constraint,duration,float,int,latlng,list,vector,set,number,map,string,"
                 "timestamp,path,map_diff",
                 STR_ARG(name));
    return NULL;
  }
  rules_parser_advance(p);
  return add_child(p, node, value) ? node : NULL;
}

static struct rules_node *parse_binary(struct rules_parser *p, enum level level) {
  if (level == LEVEL_UNARY)
    return parse_unary(p);
  struct rules_node *left = parse_binary(p, level + 1);
  enum rules_node_kind kind;
  bool extends = false; /* `left` was made here, so another operand of the same kind may be added to it */
  while (left != NULL && next_operator(p, level, &kind)) {
    rules_parser_advance(p);
    if (kind == NODE_IS) {
      left = parse_type(p, left);
      continue;
    }
    struct rules_node *right = parse_binary(p, level + 1);
    if (extends && (kind == NODE_AND || kind == NODE_OR)) {
      if (!add_child(p, left, right))
        return NULL;
      continue;
    }
    struct rules_node *node = make_node(p, kind, left->start);
    if (node == NULL || !add_child(p, node, left) || !add_child(p, node, right))
      return NULL;
    left = node;
    extends = true;
  }
  return left;
}

struct rules_node *rules_parse_expression(struct rules_parser *p) {
  if (++p->depth > RULES_EXPRESSION_DEPTH_MAX) {
    rules_report(p->compiler, p->token.start, false,
                 "Expression is too complex to evaluate safely: more than %d levels.",
                 RULES_EXPRESSION_DEPTH_MAX);
    rules_parser_seek(p, (uint32_t)p->lexer.source.len);
    p->depth--;
    return NULL;
  }
  struct rules_node *node = parse_binary(p, LEVEL_OR);
  if (node != NULL && rules_parser_take(p, '?')) {
    struct rules_node *ternary = make_node(p, NODE_TERNARY, node->start);
    bool good = ternary != NULL && add_child(p, ternary, node) &&
                add_child(p, ternary, rules_parse_expression(p)) &&
                rules_parser_expect(p, ':', "in 'condition ? a : b'") &&
                add_child(p, ternary, rules_parse_expression(p));
    node = good ? ternary : NULL;
  }
  p->depth--;
  return node;
}
