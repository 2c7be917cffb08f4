/* How a query will be answered: which scans, with which bounds, and what is still to be checked or sorted.
 *
 * Coordinates. The order of a query is expressed in bytes: the sort key of a document is the encodings
 * (value_order.h) of its order fields, each in its direction, then its key in KV_DOCUMENTS and one byte 0x00,
 * inverted as a whole if the order of names is descending. Sort keys compare as the query orders, and none is
 * the beginning of another. An entry of an index consists of a prefix (index, place, values of equality
 * columns) and a suffix (values of the columns that are left, and the document). A branch whose suffix
 * columns are the query's orders gives documents in the query's order, forwards or backwards; several indexes
 * with the same suffix columns can be joined by seeking from suffix to suffix. Bounds of the first suffix
 * column, of names and of cursors are ranges of suffixes.
 *
 * Values longer than LIMIT_INDEXED_VALUE_BYTES are ordered and compared with cursors by their encodings, so
 * by what is indexed of them and then by name; filters see the whole value.
 *
 * Choice, for each conjunction, by rules alone, since there are no statistics:
 *   1. indexes that cover all equalities and have the query's order as their suffix (direct);
 *   2. with a limit: indexes with that suffix that cover some of the equalities, the rest checked on
 * documents;
 *   3. the join of what covers most equalities, in the order of names, sorted;
 *   4. the index of the first order's field in the query's order, the rest checked on documents;
 *   5. the index of a field with an inequality, checked and sorted;
 *   6. the names of the collection group, or the documents themselves, checked and sorted.
 * Equalities come before order (3 before 4): what has one value of a field is usually few, and top-k makes
 * sorting it cheap, while an ordered scan that seldom finds a match reads everything.
 *
 * A plan is in an arena and never changes. It borrows from the query and from the catalog. */
#ifndef SKERRY_STORAGE_QUERY_PLAN_H
#define SKERRY_STORAGE_QUERY_PLAN_H

#include "storage/document/key.h"
#include "storage/query/query.h"
#include "storage/query/run.h"

/* lower <= bytes < upper. upper empty: without end (within the prefix). */
struct plan_range {
  str lower, upper;
};

/* One index in a branch. */
struct plan_scan {
  const struct index_shape *shape;
  str prefix; /* what its entries begin with, values of equalities included */
  size_t equality_columns;
};

/* Where one value of the sort key comes from in an entry. */
struct plan_order_source {
  bool is_constant; /* an equality: the bytes are known */
  str constant;
  size_t column; /* of the suffix */
};

enum plan_source {
  PLAN_NOTHING, /* bounds that exclude each other */
  PLAN_INDEX,   /* one or more indexes */
  PLAN_DOCUMENTS,
};

/* One conjunction, or all of them together. */
struct plan_branch {
  enum plan_source source;
  bool reverse;
  bool in_order; /* it gives documents in the query's order */
  bool direct;   /* as far as production is concerned, no index is missing */

  /* PLAN_INDEX */
  const struct plan_scan *scans;
  size_t scan_count;
  const enum doc_order *columns; /* of the suffix, as stored; the same for all scans */
  size_t column_count;
  const struct plan_order_source *order_sources; /* for all orders but __name__, if in_order */

  /* Of suffixes (PLAN_INDEX) or keys (PLAN_DOCUMENTS), disjoint, in the order of bytes; at least one. */
  const struct plan_range *ranges;
  size_t range_count;

  /* To be checked on a document's key. */
  struct plan_range keys;
  const str *excluded_keys;
  size_t excluded_key_count;
  bool checks_keys; /* not all of that is in `ranges` */

  /* To be checked on the document. */
  const struct query_filter *const *filters;
  size_t filter_count;
  bool filters_names;                           /* among them some on __name__ */
  const struct doc_field_path *const *existing; /* fields that it must have */
  size_t existing_count;
  /* The top-level fields that all of that looks at, and the orders' if the plan sorts; sorted, unique. */
  const str *decoded;
  size_t decoded_count;
};

struct query_plan {
  const struct query *query;
  const struct plan_branch *branches; /* none: nothing is in the answer */
  size_t branch_count;
  bool sorts; /* not all branches are in order */

  struct doc_path where;      /* the collection, or the database's root for the other kinds of places */
  str where_key;              /* its key: what an entry's document continues */
  struct doc_key_range place; /* in KV_DOCUMENTS */
  str place_key;              /* of the collection, or of the parent: what `place` lies below */

  /* Cursors as ranges of sort keys, for what is sorted. */
  struct plan_range cursors;

  const struct query_used_index *used;
  size_t used_count;
  str missing; /* run.h: query_run_missing_index */
};

struct plan_options {
  const struct index_catalog *catalog; /* lives as long as the plan */
  kv_version version;
  enum query_index_mode mode;
  bool any_order; /* the order of results says nothing (aggregations without limit) */
};

/* FAILED_PRECONDITION in QUERY_STRICT; RESOURCE_EXHAUSTED past the arena's cap. */
STATUS_MUST_USE status query_plan_make(const struct query *query, const struct plan_options *options,
                                       struct arena *arena, struct query_plan **ret);

/* A plan in one line for tests and logs, without values: "index orders(customer =, time DESC) backwards;
 * filter 1; sort". */
STATUS_MUST_USE status query_plan_format(const struct query_plan *plan, struct arena *arena, str *ret);

/* Appends the name's part of a sort key. */
void plan_put_sort_name(str key, bool descending, struct buf *out);

#endif
