/* Where the entries of one document go: into a commit's batch, to a visitor, or they are only counted. It
 * keeps what all of a document's keys have in common and puts keys together in one buffer.
 *
 * Entries come as sets. Those of a frame differ in one part of their keys, the items: of a field one value,
 * or the elements of its array; of a composite index without elements one item without bytes. A change of a
 * document is then the difference of an old and a new set in an old and a new frame. One thread. */
#ifndef SKERRY_STORAGE_INDEX_ENTRY_WRITER_H
#define SKERRY_STORAGE_INDEX_ENTRY_WRITER_H

#include "base/arena.h"
#include "base/limits.h"
#include "storage/index/entry.h"

struct index_item {
  str bytes;
  uint8_t flags; /* INDEX_TRUNCATED, INDEX_INTEGER */
};

/* Sorted by their bytes, unique. */
struct index_items {
  const struct index_item *items;
  size_t count;
};

/* Counts for the size of an entry, beside the document's name and the values: the documented formula. */
enum { INDEX_ENTRY_EXTRA_BYTES = 32 };

struct index_frame {
  str head, rest;       /* what is in a key before and after an item */
  const uint8_t *flags; /* of all columns; NULL: none */
  size_t column_count;
  size_t item_column; /* the one that the item is; >= column_count: none */
  size_t size_bytes;  /* what counts for LIMIT_INDEX_ENTRY_BYTES, beside the item */
};

struct index_writer {
  const struct doc_path *document;
  struct doc_path collection;
  str collection_id;
  struct arena *arena;

  struct kv_batch *batch;                              /* or */
  status (*visit)(void *argument, str key, str value); /* or NULL: only count */
  void *argument;
  size_t entries, entries_bytes; /* put so far */

  str places[INDEX_GROUP_NAMES + 1]; /* by kind, made when needed; not of composites */
  str id, path;                      /* the ends of ascending keys */
  struct buf key;
  status failure; /* why a function returned false */
};

/* Zeroes the writer but for what is given. `arena` must outlive it. False as below. */
bool index_writer_init(struct index_writer *writer, const struct doc_path *document, struct arena *arena);
void index_writer_fini(struct index_writer *writer);

/* The beginning of keys of a kind (not INDEX_COMPOSITE), up to the field path. {NULL, 0}: false as below. */
str index_writer_place(struct index_writer *writer, enum index_kind kind);

/* Deletes, puts or leaves each entry. Without an old or a new set its count is 0. All these functions return
 * false with writer->failure set: INVALID_ARGUMENT past a limit, RESOURCE_EXHAUSTED, or the visitor's. */
bool index_writer_change(struct index_writer *writer, const struct index_frame *old_frame,
                         struct index_items old_items, const struct index_frame *new_frame,
                         struct index_items new_items);

bool index_writer_out_of_memory(struct index_writer *writer); /* always false */

#endif
