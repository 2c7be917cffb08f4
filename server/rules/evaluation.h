/* One request under judgement: what the evaluator's parts share. */
#ifndef SKERRY_SERVER_RULES_EVALUATION_H
#define SKERRY_SERVER_RULES_EVALUATION_H

#include "server/rules/program.h"
#include "server/rules/rules.h"
#include "server/rules/value.h"

/* A parameter or variable: evaluated when it is asked for the first time, in the frame that it was written
 * in. */
struct rules_frame;
struct rules_slot {
  const struct rules_node *node;
  struct rules_frame *frame;
  bool is_done;
  struct rules_value value;
};
struct rules_frame {
  struct rules_slot slots[RULES_PARAMETERS_MAX + RULES_LETS_MAX];
};

struct rules_evaluation {
  const struct rules *rules;
  const struct rules_request *request;
  struct arena *arena;
  const struct rules_value *captures;          /* of the match block whose condition is evaluated */
  const struct rules_conjunction *conjunction; /* of a query; NULL otherwise */
  const struct rules_document *resource;
  bool resource_is_partial; /* a query: what is known of it are the filters */
  uint32_t evaluations, depth;
  uint32_t reads_left; /* of RULES_READS_SINGLE */
  size_t work;
  enum rules_error fatal;
};

/* Evaluates; the result may be an error or unknown. `frame` is that of the function that `node` is in, or
 * NULL. */
void rules_evaluate(struct rules_evaluation *e, const struct rules_node *node, struct rules_frame *frame,
                    struct rules_value *ret);

/* A value that is an error at `at`. */
struct rules_value rules_error_value(struct rules_evaluation *e, enum rules_error error,
                                     const struct rules_node *at);
struct rules_value rules_operand_error(struct rules_evaluation *e, const struct rules_node *at,
                                       const struct rules_value *left, const struct rules_value *right);
/* Ends the evaluation; the result of everything is an error from now on. */
void rules_fail(struct rules_evaluation *e, enum rules_error error);
/* Counts work; false (and fatal) past RULES_WORK_MAX. */
bool rules_work(struct rules_evaluation *e, size_t units);
/* Memory, or NULL (and fatal). */
void *rules_memory(struct rules_evaluation *e, size_t count, size_t size);

/* What the error value `error` says, in the arena. */
str rules_error_text(struct rules_evaluation *e, const struct rules_value *error);

static inline struct rules_value rules_unknown(const struct rules_node *at) {
  return (struct rules_value){.kind = VALUE_UNKNOWN, .as.where.at = at};
}

/* ---- Parts ---- */

/* Nodes of these kinds (members.c, operators.c). */
void rules_evaluate_member(struct rules_evaluation *e, const struct rules_node *node,
                           struct rules_frame *frame, struct rules_value *ret);
void rules_evaluate_index(struct rules_evaluation *e, const struct rules_node *node,
                          struct rules_frame *frame, struct rules_value *ret);
void rules_evaluate_slice(struct rules_evaluation *e, const struct rules_node *node,
                          struct rules_frame *frame, struct rules_value *ret);
void rules_evaluate_unary(struct rules_evaluation *e, const struct rules_node *node,
                          struct rules_frame *frame, struct rules_value *ret);
void rules_evaluate_binary(struct rules_evaluation *e, const struct rules_node *node,
                           struct rules_frame *frame, struct rules_value *ret);
void rules_evaluate_is(struct rules_evaluation *e, const struct rules_node *node, struct rules_frame *frame,
                       struct rules_value *ret);

/* node->number with its object (NULL for a function) and arguments, none of which is an error or unknown
 * (methods.c). */
struct rules_call {
  const struct rules_node *node;
  const struct rules_value *target;
  const struct rules_value *arguments;
  uint32_t argument_count;
};
void rules_call_builtin(struct rules_evaluation *e, const struct rules_call *call, struct rules_value *ret);
bool rules_call_text(struct rules_evaluation *e, const struct rules_call *call,
                     struct rules_value *ret); /* methods_text.c */
bool rules_call_collection(struct rules_evaluation *e, const struct rules_call *call,
                           struct rules_value *ret); /* methods_collection.c */
bool rules_call_map(struct rules_evaluation *e, const struct rules_call *call,
                    struct rules_value *ret); /* methods_map.c */
bool rules_call_time(struct rules_evaluation *e, const struct rules_call *call,
                     struct rules_value *ret); /* methods_time.c */
bool rules_call_number(struct rules_evaluation *e, const struct rules_call *call,
                       struct rules_value *ret); /* methods_number.c */

/* get(), exists() and the like of a path (reads.c). */
void rules_read_document(struct rules_evaluation *e, const struct rules_node *at,
                         const struct rules_value *path, bool after, bool wants_document,
                         struct rules_value *ret);

/* request, resource and what is in them (objects.c). */
struct rules_value rules_request_object(void);
struct rules_value rules_resource_value(struct rules_evaluation *e);
struct rules_value rules_document_object(const struct rules_document *document, enum rules_object kind);
bool rules_object_find(struct rules_evaluation *e, const struct rules_value *object, str key,
                       struct rules_value *ret);
struct rules_value rules_object_to_map(struct rules_evaluation *e, const struct rules_value *object);
struct rules_value rules_document_path(struct rules_evaluation *e, str relative);

/* Seconds and nanoseconds of any sign, |nanos| up to some 10^18, as a valid duration or timestamp; false: out
 * of range (methods_time.c). */
bool rules_time_make(enum rules_kind kind, int64_t seconds, int64_t nanos, struct rules_value *ret);

/* ---- What a query's filters prove (prove.c) ---- */

/* A field of the results, by its path from resource.data. */
struct rules_partial {
  const struct rules_partial *outer; /* NULL: this is resource.data itself */
  str key;
  uint32_t depth;
};
struct rules_value rules_partial_root(struct rules_evaluation *e);
/* The member `key`: a known value, or a partial. */
struct rules_value rules_partial_member(struct rules_evaluation *e, const struct rules_value *partial,
                                        str key);
/* Whether all results have the field. */
bool rules_partial_exists(struct rules_evaluation *e, const struct rules_partial *partial);
/* `partial OP known`, OP as of NODE_EQUAL and so on. */
enum rules_truth rules_prove_comparison(struct rules_evaluation *e, const struct rules_partial *partial,
                                        enum rules_node_kind operation, const struct rules_value *known);
/* Whether it is a list with this item. */
enum rules_truth rules_prove_item(struct rules_evaluation *e, const struct rules_partial *partial,
                                  const struct rules_value *value);
/* `value in partial`: a list or a map. */
enum rules_truth rules_prove_contains(struct rules_evaluation *e, const struct rules_value *partial,
                                      const struct rules_value *value);
enum rules_truth rules_prove_type(struct rules_evaluation *e, const struct rules_partial *partial,
                                  uint16_t type);

#endif
