/* A query of google.firestore.v1.StructuredQuery as the server thinks of it: parsed, checked, completed.
 *
 * A query is made by whoever has a request (server/firestore/query_request.h) in an arena, completed by
 * query_prepare, and then never changed. Everything borrows from the request or the arena. Any thread. */
#ifndef SKERRY_STORAGE_QUERY_QUERY_H
#define SKERRY_STORAGE_QUERY_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "storage/document/field_path.h"
#include "storage/document/path.h"
#include "storage/document/value.h"

/* A field, or the document's own name (`__name__`). */
struct query_field {
  bool is_name;
  struct doc_field_path path; /* count 0 if is_name */
};

/* What an operator means is in match.h. */
enum query_op {
  QUERY_EQUAL,
  QUERY_NOT_EQUAL,
  QUERY_LESS,
  QUERY_LESS_OR_EQUAL,
  QUERY_GREATER,
  QUERY_GREATER_OR_EQUAL,
  QUERY_IN,
  QUERY_NOT_IN,
  QUERY_ARRAY_CONTAINS,
  QUERY_ARRAY_CONTAINS_ANY,
  QUERY_IS_NULL,
  QUERY_IS_NOT_NULL,
  QUERY_IS_NAN,
  QUERY_IS_NOT_NAN,
};

/* "==", "array-contains": as SDKs write them. */
const char *query_op_name(enum query_op op);

enum query_filter_kind { QUERY_FIELD_FILTER, QUERY_AND, QUERY_OR };

struct query_filter {
  enum query_filter_kind kind;
  /* QUERY_FIELD_FILTER. With is_name the operand is a DOC_REFERENCE (an array of them for IN, NOT_IN) of a
   * document in the query's database; IN, NOT_IN and ARRAY_CONTAINS_ANY have a DOC_ARRAY. Unary operators
   * have none. */
  struct query_field field;
  enum query_op op;
  struct doc_value operand;
  /* QUERY_AND (of none: true), QUERY_OR (of none: false). Requests have at least one. */
  const struct query_filter *filters;
  size_t filter_count;
};

struct query_order {
  struct query_field field;
  bool descending;
};

/* A position in the order: before or after all documents whose order fields have these values. */
struct query_cursor {
  const struct doc_value *values; /* for the first `count` orders; for __name__ a DOC_REFERENCE */
  size_t count;                   /* 0: no cursor */
  bool before;
};

enum query_distance { QUERY_EUCLIDEAN, QUERY_COSINE, QUERY_DOT_PRODUCT };

struct query_nearest {
  struct doc_field_path field;
  struct doc_value vector; /* doc_value_is_vector */
  enum query_distance measure;
  int32_t limit;
  bool has_threshold;
  double threshold;                   /* at most it; for the dot product at least */
  struct doc_field_path result_field; /* count 0: none */
};

/* One way in which a document may satisfy the filters: all of these, which are field filters. */
struct query_conjunction {
  const struct query_filter *const *filters;
  size_t filter_count;
};

struct query {
  /* Where: documents of the collections `collection_id` (empty: of any id) directly under `parent`, or, with
   * all_descendants, anywhere below it. */
  struct doc_path parent; /* the root or a document */
  str collection_id;
  bool all_descendants;

  const struct query_filter *where; /* NULL: all; after query_prepare simplified, see there */
  const struct query_order *orders; /* as asked; after query_prepare completed, __name__ last */
  size_t order_count;
  struct query_cursor start, end; /* start.before: inclusive; !end.before: inclusive */
  int64_t offset;
  bool has_limit;
  int64_t limit;
  bool names_only;                     /* a projection of __name__ alone: documents need not be read */
  const struct query_nearest *nearest; /* or NULL */

  /* Set by query_prepare. */
  size_t explicit_order_count;
  /* The disjunctive normal form: documents that satisfy at least one. IN and ARRAY_CONTAINS_ANY are taken
   * apart into QUERY_EQUAL and QUERY_ARRAY_CONTAINS, IS_NULL and IS_NAN are QUERY_EQUAL with that value;
   * equal conjunctions are there once. One without filters if there is no `where`; none at all if no document
   * can match. */
  const struct query_conjunction *conjunctions;
  size_t conjunction_count;
};

/* Checks the query by the rules of production (INVALID_ARGUMENT, each with its reason: at most
 * LIMIT_QUERY_DISJUNCTIONS conjunctions, one `!=`, not-in and so on:
 * https://firebase.google.com/docs/firestore/query-data/queries) and completes it.
 *
 * `where` is replaced by an equal tree without what compares with null or NaN in another way than the unary
 * operators do. In a request such a comparison is never true (`== null`, `< NaN`, not-in with a null) or, for
 * `!=` and not-in with NaN, always, for values that are there and not null; SDKs ask with the unary operators
 * instead. So in a prepared query QUERY_EQUAL with null or NaN means that value. What is never true counts
 * for the rules all the same, but a range or an inequality in it does not make its field an order. */
STATUS_MUST_USE status query_prepare(struct query *query, struct arena *arena);

/* What a listening client may ask for: the same, but find_nearest is refused. */
STATUS_MUST_USE status query_check_listen(const struct query *query);

/* A canonical text of a prepared query: equal texts, equal queries. For logs, plans, the identity of listen
 * targets and tokens. It holds the clients' values, so it does not go to the log at the level info. */
STATUS_MUST_USE status query_format(const struct query *query, struct arena *arena, str *ret);

#endif
