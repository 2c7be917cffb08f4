/* The parts of entries' keys, for what makes many keys that begin alike (update.c). All append to `out`; out
 * of memory: out->failed. */
#ifndef SKERRY_STORAGE_INDEX_ENTRY_PARTS_H
#define SKERRY_STORAGE_INDEX_ENTRY_PARTS_H

#include "storage/index/entry.h"

/* Kind, database and place: where the field path begins, or the values of a composite index. `where` is as
 * for index_prefix, `group` whether the index is over all collections with one id. */
void index_put_place(enum index_kind kind, uint32_t number, bool group, const struct doc_path *where,
                     str group_id, struct buf *out);

/* One name of a field path; at its end comes the mode. */
void index_put_field_name(str name, struct buf *out);
void index_put_mode(bool elements, struct buf *out);

#endif
