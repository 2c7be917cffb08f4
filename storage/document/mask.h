/* DocumentMask: which fields of a document are meant. A path covers everything below it: beside "e", "e.f"
 * says nothing more and is dropped.
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

struct doc_mask {
  const struct doc_field_path *paths; /* sorted, none the beginning of another */
  size_t count;                       /* 0: no field at all (a mask without paths) */
};

/* Reads DocumentMask.field_paths. For reads, `__name__` is allowed and says nothing (a document always comes
 * with its name); for writes it is INVALID_ARGUMENT like every path that doc_field_path_parse refuses. */
enum doc_mask_use { DOC_MASK_READ, DOC_MASK_WRITE };
STATUS_MUST_USE status doc_mask_parse(const str *paths, size_t count, enum doc_mask_use use,
                                      struct arena *arena, struct doc_mask *ret);

/* The fields of `map` that the mask means. A path that leads through something that is no map (a vector is
 * one value, not a map), or to nothing, gives nothing, not even the maps on the way. */
STATUS_MUST_USE status doc_mask_project(struct doc_map map, const struct doc_mask *mask, struct arena *arena,
                                        struct doc_map *ret);

/* Write.update with an update_mask: `old` with what the mask means taken from `new`. A path that `new` holds
 * is set, with maps made on the way and anything else in the way replaced; a path that it does not hold is
 * deleted, and nothing is made for that. A vector counts as no map. */
STATUS_MUST_USE status doc_mask_merge(struct doc_map old, struct doc_map new, const struct doc_mask *mask,
                                      struct arena *arena, struct doc_map *ret);

#endif
