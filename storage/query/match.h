/* Whether a document is in a query's answer, and where: the meaning of queries, without indexes. The executor
 * uses it for what an index does not answer, listeners for each change, and the tests as the truth.
 *
 * `query` is prepared (query.h). Documents are decoded trees (storage/document/codec.h). Nothing allocates or
 * blocks. Any thread.
 *
 * No filter matches a document without its field. Equality is doc_value_equal: 1 and 1.0 are equal, and NaN
 * and NaN in arrays, maps and for is-nan. Ranges match values of the operand's type only (integers and
 * doubles together, without NaN; vectors and maps apart). `!=`, not-in and the operators is-not leave out
 * null. array-contains looks at the elements of an array, not of a vector. `__name__` is compared as a
 * reference. https://firebase.google.com/docs/firestore/query-data/queries */
#ifndef SKERRY_STORAGE_QUERY_MATCH_H
#define SKERRY_STORAGE_QUERY_MATCH_H

#include "storage/query/query.h"

/* The value of a field, or NULL. A vector is one value: there are no fields in it. Not for __name__. */
const struct doc_value *query_field_get(struct doc_map fields, const struct doc_field_path *path);

/* One filter of any kind, with its sub-filters (their depth is bounded by query_prepare). */
bool query_filter_matches(const struct query_filter *filter, const struct doc_path *path,
                          struct doc_map fields);

/* All filters of one conjunction. */
bool query_conjunction_matches(const struct query_conjunction *conjunction, const struct doc_path *path,
                               struct doc_map fields);

/* The query's place: is the document one of the collections meant? */
bool query_covers(const struct query *query, const struct doc_path *path);

/* Place, filters, and that all fields of the orders exist. Not cursors, offset, limit, nearest. */
bool query_matches(const struct query *query, const struct doc_path *path, struct doc_map fields);

/* Where the document stands to the cursors: true if it lies between them. */
bool query_within_cursors(const struct query *query, const struct doc_path *path, struct doc_map fields);

/* By the query's orders; never 0 for two documents. Both match the query. */
int query_compare(const struct query *query, const struct doc_path *a_path, struct doc_map a_fields,
                  const struct doc_path *b_path, struct doc_map b_fields);

/* Of query->nearest: the distance of the document's vector. False: it has none of that dimension, or lies
 * past the threshold. NaN where the measure has no value, as the cosine of a vector of zeros. */
bool query_distance_to(const struct query_nearest *nearest, struct doc_map fields, double *ret);

/* <0: a is nearer, by the measure. NaN is the farthest. */
int query_distance_compare(enum query_distance measure, double a, double b);

#endif
