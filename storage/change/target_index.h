/* Where targets are found by a document that changed: a table from places to the targets that watch there. A
 * place is some bytes: a document's key, a collection, a collection group, or one of these with a field and
 * the value that it must equal (matcher.c makes them). One thread at a time. */
#ifndef SKERRY_STORAGE_CHANGE_TARGET_INDEX_H
#define SKERRY_STORAGE_CHANGE_TARGET_INDEX_H

#include <stdbool.h>

#include "base/str.h"
#include "storage/document/field_path.h"

struct change_target;
struct target_place;

/* A target at a place, in the target's memory. */
struct target_node {
  struct target_node *next, **link; /* `link` points here; NULL: at no place */
  struct target_place *place;
  struct change_target *target;
};

struct target_index {
  struct target_place **table; /* chained; a power of two */
  size_t capacity, count;
  uint64_t key[2]; /* of the hash */
};

void target_index_fini(struct target_index *index); /* of an index without nodes */

/* False: no memory. */
bool target_index_add(struct target_index *index, str place, struct target_node *node);
void target_index_remove(struct target_index *index, struct target_node *node);

/* The targets at a place; NULL: none. */
struct target_node *target_index_find(const struct target_index *index, str place);

/* ---- Fields that targets below a place are told apart by ---- */

struct target_field {
  struct target_field *next;
  size_t users;
  str text;                   /* the canonical field path */
  struct doc_field_path path; /* its own copy */
};

/* Counts one more user of the field at a place (which exists while it has users). False: no memory. */
bool target_index_add_field(struct target_index *index, str place, const struct doc_field_path *path,
                            str text);
void target_index_remove_field(struct target_index *index, str place, str text);
/* The fields at a place, or NULL. */
const struct target_field *target_index_fields(const struct target_index *index, str place);

#endif
