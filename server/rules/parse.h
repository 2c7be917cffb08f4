/* The two halves of the parser: blocks (parse.c) and expressions (parse_expression.c). One token ahead. */
#ifndef SKERRY_SERVER_RULES_PARSE_H
#define SKERRY_SERVER_RULES_PARSE_H

#include "server/rules/lexer.h"

struct rules_parser {
  struct rules_compiler *compiler;
  struct rules_lexer lexer;
  struct rules_token token; /* the next */
  uint32_t previous_end;    /* of the token before it */
  uint32_t depth;           /* of the expression that is being read */
};

void rules_parser_advance(struct rules_parser *p);
bool rules_parser_is(const struct rules_parser *p, uint16_t sign);
bool rules_parser_is_name(const struct rules_parser *p, const char *name);
/* Takes the sign if it is the next token. */
bool rules_parser_take(struct rules_parser *p, uint16_t sign);
/* The same, or says that it is missing. */
bool rules_parser_expect(struct rules_parser *p, uint16_t sign, const char *where);
void rules_parser_unexpected(struct rules_parser *p);
/* Goes on reading at this offset. */
void rules_parser_seek(struct rules_parser *p, uint32_t at);
/* Whether the next token begins the file's next statement or block. */
bool rules_is_keyword(str name);

/* An expression, or NULL after reporting what is wrong. */
struct rules_node *rules_parse_expression(struct rules_parser *p);

#endif
