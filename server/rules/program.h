/* What a file of rules is compiled to: a tree of match blocks with conditions that are trees of expressions,
 * in one arena, never changed after it was checked. Names are resolved: a variable is a number, a function a
 * pointer. */
#ifndef SKERRY_SERVER_RULES_PROGRAM_H
#define SKERRY_SERVER_RULES_PROGRAM_H

#include <stdatomic.h>

#include "server/rules/rules.h"
#include "server/rules/value.h"

struct rules_pattern;

enum rules_node_kind {
  NODE_LITERAL, /* literal */
  NODE_NAME,    /* text: not resolved yet; after the check: a name that means nothing */
  NODE_LOCAL,   /* number: a parameter or let of the function */
  NODE_CAPTURE, /* number: a wildcard */
  NODE_REQUEST,
  NODE_RESOURCE,
  NODE_MEMBER, /* children[0].text */
  NODE_INDEX,  /* children[0][children[1]] */
  NODE_SLICE,  /* children[0][children[1]:children[2]] */
  NODE_CALL,   /* text(children...): before the check; after it, a function that does not exist */
  NODE_METHOD, /* children[0].text(children[1...]): before the check likewise; then number: enum rules_builtin
                */
  NODE_BUILTIN,  /* number: enum rules_builtin, of no object */
  NODE_FUNCTION, /* function(children...) */
  NODE_LIST,
  NODE_MAP,  /* children: key, value, key, value */
  NODE_PATH, /* children: segments */
  NODE_NOT,
  NODE_NEGATE,
  NODE_AND, /* two or more children */
  NODE_OR,
  NODE_TERNARY,
  NODE_IN,
  NODE_IS, /* number: enum rules_type */
  NODE_EQUAL,
  NODE_NOT_EQUAL,
  NODE_LESS,
  NODE_LESS_OR_EQUAL,
  NODE_GREATER,
  NODE_GREATER_OR_EQUAL,
  NODE_ADD,
  NODE_SUBTRACT,
  NODE_MULTIPLY,
  NODE_DIVIDE,
  NODE_MODULO,
};

/* What stands after `is`. The first have the numbers of enum rules_kind. */
enum rules_type { TYPE_NUMBER = 100, TYPE_CONSTRAINT };

struct rules_node {
  uint8_t kind;   /* enum rules_node_kind */
  uint8_t height; /* of the tree below, at most RULES_EXPRESSION_DEPTH_MAX */
  uint16_t number;
  uint32_t index;      /* of the expression, for coverage */
  uint32_t start, end; /* in the source */
  uint32_t child_count;
  struct rules_node **children;
  str text;
  union {
    struct rules_value literal;
    const struct rules_function *function;
    struct rules_pattern *pattern; /* NODE_METHOD whose first argument is a literal pattern */
  } as;
};

struct rules_let {
  str name;
  struct rules_node *value;
  uint32_t start;
};

struct rules_function {
  str name;
  uint32_t start;
  str parameters[RULES_PARAMETERS_MAX];
  uint32_t parameter_count;
  struct rules_let lets[RULES_LETS_MAX];
  uint32_t let_count;
  struct rules_node *result;
  struct rules_function *next; /* of the same scope */
  bool is_used;
  uint8_t check_state; /* while call depths are computed */
  uint8_t call_depth;  /* calls in each other, this one included */
};

enum rules_segment_kind { SEGMENT_LITERAL, SEGMENT_WILDCARD, SEGMENT_GLOB };
struct rules_segment {
  enum rules_segment_kind kind;
  str text; /* the literal, or the wildcard's name */
  uint32_t start;
};

struct rules_allow {
  uint32_t start;
  uint8_t methods;              /* 1 << enum rules_operation */
  struct rules_node *condition; /* NULL: true */
  struct rules_allow *next;
};

struct rules_match {
  struct rules_segment *segments;
  uint32_t segment_count;
  uint32_t first_capture; /* the number of its first wildcard */
  uint32_t capture_count;
  uint32_t start;
  struct rules_allow *allows;
  struct rules_function *functions;
  struct rules_match *children, *next;
};

struct rules_service {
  str name;
  struct rules_function *functions;
  struct rules_match *matches;
  struct rules_service *next;
};

struct rules {
  _Atomic size_t references;
  struct arena arena; /* everything but this struct */
  str source;
  uint32_t *line_starts; /* offsets */
  uint32_t line_count;
  int version;
  struct rules_function *functions; /* outside of services */
  struct rules_service *services;
  struct rules_node **expressions; /* by index */
  uint32_t expression_count;
};

/* ---- Compiling, step by step ---- */

struct rules_compiler {
  struct rules *rules;
  struct arena *arena; /* for the problems' texts */
  struct rules_problems *problems;
  bool out_of_memory;
};

void rules_report(struct rules_compiler *c, uint32_t offset, bool is_warning, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void *rules_allocate(struct rules_compiler *c, size_t count, size_t size);

/* Source to trees with names (parse.c). */
void rules_parse(struct rules_compiler *c);
/* Resolves names and checks limits (check.c). */
void rules_check(struct rules_compiler *c);

struct rules_position rules_position_of(const struct rules *rules, uint32_t start, uint32_t end);

#endif
