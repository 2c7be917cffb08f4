/* get(), exists(), getAfter(), existsAfter(): a budget, and a cache so that a document is read once. */
#include "server/rules/evaluation.h"

struct rules_read_entry {
  struct rules_read_entry *next;
  str path;
  bool after;
  const struct rules_document *document; /* NULL: missing */
};

/* The part of a path below /databases/DATABASE/documents; false if it is not a document in this database. */
static bool relative_path(struct rules_evaluation *e, const struct rules_value *path, str *ret) {
  const struct rules_value *items = path->as.items;
  if (path->kind != VALUE_PATH || path->count < 5 || path->count % 2 == 0 ||
      !str_eq(items[0].as.bytes, STR("databases")) || !str_eq(items[1].as.bytes, e->request->database) ||
      !str_eq(items[2].as.bytes, STR("documents")))
    return false;
  for (uint32_t i = 3; i < path->count; i++) {
    str id = items[i].as.bytes;
    if (id.len == 0 || memchr(id.ptr, '/', id.len) != NULL || str_eq(id, STR(".")) || str_eq(id, STR("..")))
      return false;
  }
  struct rules_value below = rules_items(VALUE_PATH, items + 3, path->count - 3);
  str text = rules_path_text(e, &below);
  if (text.ptr == NULL)
    return false;
  *ret = str_from(text, 1);
  return true;
}

/* The entry of a path, read now if it is new; NULL with *ret_error. */
static const struct rules_read_entry *read_once(struct rules_evaluation *e, str path, bool after,
                                                enum rules_error *ret_error) {
  struct rules_reads *reads = e->request->reads;
  for (const struct rules_read_entry *entry = reads->entries; entry != NULL; entry = entry->next)
    if (entry->after == after && str_eq(entry->path, path))
      return entry;
  *ret_error = RULES_ERROR_READS;
  if (reads->budget == 0 || e->reads_left == 0)
    return NULL;
  struct rules_document document;
  enum rules_read got = e->request->reader->read(e->request->reader->argument, path, after, &document);
  *ret_error = got == RULES_READ_LATER ? RULES_ERROR_READ_LATER : RULES_ERROR_READ_FAILED;
  if (got == RULES_READ_LATER || got == RULES_READ_FAILED)
    return NULL;
  reads->budget--;
  e->reads_left--;
  struct rules_read_entry *entry = ARENA_NEW(reads->arena, struct rules_read_entry);
  struct rules_document *kept = ARENA_NEW(reads->arena, struct rules_document);
  str path_copy = arena_str_copy(reads->arena, path);
  *ret_error = RULES_ERROR_MEMORY;
  if (entry == NULL || kept == NULL || path_copy.ptr == NULL)
    return NULL;
  *kept = (struct rules_document){path_copy, got == RULES_READ_FOUND ? document.fields : (str){NULL, 0}};
  *entry = (struct rules_read_entry){reads->entries, path_copy, after, got == RULES_READ_FOUND ? kept : NULL};
  reads->entries = entry;
  return entry;
}

void rules_read_document(struct rules_evaluation *e, const struct rules_node *at,
                         const struct rules_value *path, bool after, bool wants_document,
                         struct rules_value *ret) {
  str relative;
  enum rules_error error;
  if (e->request->reader == NULL || e->request->reads == NULL) {
    *ret = rules_error_value(e, RULES_ERROR_NO_READER, at);
    return;
  }
  if (!relative_path(e, path, &relative)) {
    *ret = rules_error_value(e, RULES_ERROR_PATH, at);
    return;
  }
  const struct rules_read_entry *entry = read_once(e, relative, after, &error);
  if (entry == NULL)
    *ret = rules_error_value(e, error, at);
  else if (!wants_document)
    *ret = rules_bool(entry->document != NULL);
  else if (entry->document == NULL)
    *ret = rules_error_value(e, RULES_ERROR_MISSING, at);
  else
    *ret = rules_document_object(entry->document, RULES_OBJECT_AFTER);
}
