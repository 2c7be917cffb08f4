/* DocumentMask: which fields of a document are meant, as a tree of names.
 *
 *   {"a.b", "a.c.d", "e"}       a          A path covers everything below it: beside "e", "e.f" says nothing
 *                              / \    e    more and is dropped.
 *                             b   c
 *                                 |
 *                                 d
 *
 * A mask is not changed after it was parsed. No function here changes a map: results share what did not
 * change. All fail with RESOURCE_EXHAUSTED past the arena's cap. Any thread. */
#ifndef SKERRY_STORAGE_DOCUMENT_MASK_H
#define SKERRY_STORAGE_DOCUMENT_MASK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "storage/document/field_path.h"
#include "storage/document/value.h"

/* A name in the tree: siblings are sorted by name. A node without children is the end of a path. */
struct doc_mask_node {
  str name;
  const struct doc_mask_node *children; /* the first, or NULL */
  const struct doc_mask_node *next;     /* sibling, or NULL */
};

struct doc_mask {
  const struct doc_mask_node *fields; /* NULL: no field at all (a mask without paths) */
};

/* Reads DocumentMask.field_paths. For reads, `__name__` is allowed and says nothing (a document always comes
 * with its name); for writes it is INVALID_ARGUMENT like every path that doc_field_path_parse refuses. */
enum doc_mask_use { DOC_MASK_READ, DOC_MASK_WRITE };
STATUS_MUST_USE status doc_mask_parse(const str *paths, size_t count, enum doc_mask_use use,
                                      struct arena *arena, struct doc_mask *ret);

/* The fields of `map` that the mask means. A path that leads through something that is no map, or to nothing,
 * gives nothing; a map on the way to a path that leads to nothing stays as an empty map. */
STATUS_MUST_USE status doc_mask_project(struct doc_map map, const struct doc_mask *mask, struct arena *arena,
                                        struct doc_map *ret);

/* Write.update with an update_mask: `old` with what the mask means taken from `new`. A path that `new` holds
 * is set, with maps made on the way and anything else on the way replaced; a path that it does not hold is
 * deleted. A vector counts as no map. The result may break the limits of a document: doc_document_check. */
STATUS_MUST_USE status doc_mask_merge(struct doc_map old, struct doc_map new, const struct doc_mask *mask,
                                      struct arena *arena, struct doc_map *ret);

#endif
