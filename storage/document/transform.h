/* Field transforms: what Write.update_transforms and DocumentTransform do to fields at commit time.
 * (google/firestore/v1/write.proto, DocumentTransform.FieldTransform.)
 *
 * SERVER_TIME      the commit's time, cut to milliseconds. Result: the value.
 * INCREMENT        adds a number. Two integers give an integer that stops at the ends of 64 bits, otherwise
 *                  doubles by IEEE 754. What is no number, or missing, becomes the operand. Result: the
 * value. MAXIMUM, MINIMUM the greater or smaller, in its own type; of equals (3 and 3.0, 0 and -0.0) the
 *                  stored one; with NaN, NaN. What is no number, or missing, becomes the operand. Result:
 *                  the value.
 * APPEND_MISSING   appends, in order, the elements that the array does not hold (doc_value_equal).
 * REMOVE_ALL       removes every element that equals one of the operand's. For both, what is no array, or
 *                  missing, counts as an empty array first; result: null.
 *
 * Used in two steps, so that the commit thread does little: a plan is made and checked when the request is
 * read, and applied inside `resolve`, as often as that runs. Any thread. */
#ifndef SKERRY_STORAGE_DOCUMENT_TRANSFORM_H
#define SKERRY_STORAGE_DOCUMENT_TRANSFORM_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "storage/document/field_path.h"
#include "storage/document/value.h"

enum doc_transform_kind {
  DOC_TRANSFORM_SERVER_TIME,
  DOC_TRANSFORM_INCREMENT,
  DOC_TRANSFORM_MAXIMUM,
  DOC_TRANSFORM_MINIMUM,
  DOC_TRANSFORM_APPEND_MISSING,
  DOC_TRANSFORM_REMOVE_ALL,
};

struct doc_transform {
  struct doc_field_path path;
  enum doc_transform_kind kind;
  /* A number for INCREMENT, MAXIMUM and MINIMUM; a DOC_ARRAY for the array transforms, its items decoded with
   * DOC_USE_ELEMENT; not looked at for SERVER_TIME. */
  struct doc_value operand;
};

struct doc_transform_step;

/* Zeroed: no transforms. Refers to the transforms that it was made from. */
struct doc_transform_plan {
  const struct doc_transform_step *steps;
  size_t count;
};

/* INVALID_ARGUMENT: more than LIMIT_TRANSFORMS_PER_DOCUMENT (of one write: the service counts over a commit),
 * an operand of the wrong type, a path deeper than a document may be, a path below another's ("a" and "a.b").
 * The same path several times is applied in the given order. */
STATUS_MUST_USE status doc_transform_plan_make(const struct doc_transform *transforms, size_t count,
                                               struct arena *arena, struct doc_transform_plan *ret);

/* `map` with the transforms applied, and results[0, count) in the order of the transforms. Maps are made on
 * the way to a path, and what is in the way (a vector too) is replaced. `map` is not changed; the result
 * shares with it and with the operands. It may break the limits of a document: doc_document_check.
 * The time is that of copying the maps on the way and, for arrays, of items * log(operands) comparisons of
 * items with operands. These, each counted as the largest of the operands, are taken from
 * *comparisons_left (LIMIT_COMMIT_COMPARISONS for a commit), and INVALID_ARGUMENT if that is not enough.
 * RESOURCE_EXHAUSTED past the arena's cap. */
STATUS_MUST_USE status doc_transform_apply(struct doc_map map, const struct doc_transform_plan *plan,
                                           int64_t time_us, size_t *comparisons_left, struct arena *arena,
                                           struct doc_map *ret, struct doc_value *results);

#endif
