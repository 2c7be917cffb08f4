/* Rules source to tokens. A path (`/users/$(uid)`) is no token: the parser knows where one may stand and
 * reads it segment by segment. */
#ifndef SKERRY_SERVER_RULES_LEXER_H
#define SKERRY_SERVER_RULES_LEXER_H

#include "server/rules/program.h"

enum rules_token_kind {
  TOKEN_END,
  TOKEN_NAME,
  TOKEN_INT,
  TOKEN_FLOAT,
  TOKEN_STRING,
  TOKEN_BYTES,
  TOKEN_SIGN,    /* one or two characters: `sign` */
  TOKEN_INVALID, /* was reported */
};

/* Two characters as one number. */
#define RULES_SIGN2(a, b) ((uint16_t)((unsigned)(a) | (unsigned)(b) << 8))

struct rules_token {
  enum rules_token_kind kind;
  uint16_t sign;
  uint32_t start, end; /* offsets in the source */
  str text;            /* TOKEN_NAME: the name; TOKEN_STRING, TOKEN_BYTES: what it says */
  int64_t integer; /* TOKEN_INT; INT64_MIN stands for 9223372036854775808, which only a minus makes valid */
  double number;   /* TOKEN_FLOAT */
};

struct rules_lexer {
  struct rules_compiler *compiler;
  str source;
  uint32_t at;
};

/* Steps over white space and comments. */
void rules_lexer_skip(struct rules_lexer *lexer);
struct rules_token rules_lexer_next(struct rules_lexer *lexer);

bool rules_is_name_start(char c);
bool rules_is_name_part(char c);
bool rules_is_segment_part(char c); /* of a literal segment of a path */

#endif
