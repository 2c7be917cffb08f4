/* Where targets are found. A place is a letter and a beginning of a document's key (storage/document/key.h):
 *
 *   N  a document                                    its key
 *   C  the documents of one collection               the collection's
 *   P  those of any collection under one parent      the parent's
 *   G  those of a collection group in a database     the database's, and the collection id
 *   D  all of a database                             the database's
 *   E  those of one of the places before that have a value in a field: that place, the canonical field path,
 * a byte 0, the ascending encoding of the value (value_order.h; equal values have equal encodings)
 *
 * A document that changed is looked for at five places, and for each field that some target at one of them is
 * told apart by, at the values that it had and has. */
#include <stdlib.h>

#include "storage/change/matcher_internal.h"
#include "storage/document/key.h"
#include "storage/document/value_order.h"
#include "storage/query/match.h"

static void put_place(struct buf *place, char letter, str key, str rest) {
  buf_clear(place);
  buf_append_byte(place, (uint8_t)letter);
  buf_append_str(place, key);
  buf_append_str(place, rest);
}

static void put_equality(struct buf *place, str base, str field_text, const struct doc_value *value) {
  bool truncated;
  buf_clear(place);
  buf_append_byte(place, 'E');
  buf_append_str(place, base);
  buf_append_str(place, field_text);
  buf_append_byte(place, 0);
  doc_order_encode(value, DOC_ASCENDING, place, &truncated);
}

/* ---- Targets ---- */

static status query_place(const struct query *query, struct arena *arena, struct buf *ret) {
  str key;
  bool named = query->collection_id.len > 0;
  struct doc_path where = query->parent;
  if (query->all_descendants) {
    where.relative = (str){0};
    where.segment_count = 0;
  } else if (named) {
    STATUS_TRY(doc_path_child(&query->parent, query->collection_id, (str){0}, arena, &where));
  }
  STATUS_TRY(doc_key_from_path(&where, arena, &key));
  if (query->all_descendants)
    put_place(ret, named ? 'G' : 'D', key, query->collection_id);
  else
    put_place(ret, named ? 'C' : 'P', key, (str){0});
  return status_ok();
}

/* An equality that every document of the query satisfies, or NULL. */
static const struct query_filter *equality_of(const struct query *query) {
  if (query->conjunction_count != 1)
    return NULL;
  const struct query_conjunction *all = &query->conjunctions[0];
  for (size_t i = 0; i < all->filter_count; i++)
    if (all->filters[i]->op == QUERY_EQUAL && !all->filters[i]->field.is_name)
      return all->filters[i];
  return NULL;
}

static str keep(const struct buf *bytes) {
  char *copy = bytes->failed ? NULL : malloc(bytes->len);
  if (copy == NULL)
    return (str){0};
  memcpy(copy, bytes->data, bytes->len);
  return str_make(copy, bytes->len);
}

static void drop(str *kept) {
  free((void *)(uintptr_t)kept->ptr);
  *kept = (str){0};
}

static bool add_by_field(struct target_index *index, struct change_target *target,
                         const struct query_filter *equality, struct arena *arena, struct buf *place) {
  str text = doc_field_path_format(&equality->field.path, arena);
  struct buf text_bytes = {.data = (uint8_t *)(uintptr_t)text.ptr, .len = text.len};
  target->place = keep(place);
  target->field_text = text.ptr == NULL ? text : keep(&text_bytes);
  bool added = target->place.ptr != NULL && target->field_text.ptr != NULL &&
               target_index_add_field(index, target->place, &equality->field.path, text);
  if (added) {
    put_equality(place, target->place, text, &equality->operand);
    target->by_field = !place->failed && target_index_add(index, buf_str(place), &target->one);
    if (!target->by_field)
      target_index_remove_field(index, target->place, target->field_text);
  }
  if (!target->by_field) {
    drop(&target->place);
    drop(&target->field_text);
  }
  return target->by_field;
}

static bool add_query(struct target_index *index, struct change_target *target) {
  struct arena arena;
  struct buf place = {0};
  arena_init(&arena, NULL, 0, 1 << 20);
  status placed = query_place(target->query, &arena, &place);
  const struct query_filter *equality = equality_of(target->query);
  bool added = status_is_ok(&placed) && !place.failed;
  if (added && equality != NULL)
    added = add_by_field(index, target, equality, &arena, &place);
  else if (added)
    added = target_index_add(index, buf_str(&place), &target->one);
  buf_fini(&place);
  arena_fini(&arena);
  return added;
}

static bool add_documents(struct target_index *index, struct change_target *target) {
  struct buf place = {0};
  size_t added = 0;
  target->nodes = target->key_count == 1 ? &target->one : calloc(target->key_count, sizeof *target->nodes);
  while (target->nodes != NULL && added < target->key_count) {
    target->nodes[added].target = target;
    put_place(&place, 'N', target->keys[added], (str){0});
    if (place.failed || !target_index_add(index, buf_str(&place), &target->nodes[added]))
      break;
    added++;
  }
  buf_fini(&place);
  return added > 0 && added == target->key_count;
}

bool change_index_add(struct target_index *index, struct change_target *target) {
  target->nodes = NULL;
  target->one = (struct target_node){.target = target};
  target->by_field = false;
  target->windowed = target->query != NULL && change_target_is_windowed(target->query);
  bool added = target->query != NULL ? add_query(index, target) : add_documents(index, target);
  if (!added)
    change_index_remove(index, target);
  return added;
}

void change_index_remove(struct target_index *index, struct change_target *target) {
  for (size_t i = 0; target->nodes != NULL && i < target->key_count; i++)
    target_index_remove(index, &target->nodes[i]);
  if (target->nodes != &target->one)
    free(target->nodes);
  target->nodes = NULL;
  target_index_remove(index, &target->one);
  if (target->by_field) {
    target_index_remove_field(index, target->place, target->field_text);
    drop(&target->place);
    drop(&target->field_text);
    target->by_field = false;
  }
}

/* ---- Documents ---- */

enum { PLACES = 5 };

static status put_document_place(const struct change_step *step, unsigned which, struct buf *place) {
  static const char letters[PLACES] = {'N', 'C', 'P', 'G', 'D'};
  size_t depth = step->path.segment_count;
  const size_t kept[PLACES] = {depth, depth - 1, depth - 2, 0, 0};
  str key;
  STATUS_TRY(doc_key_ancestor(step->key, kept[which], &key));
  put_place(place, letters[which], key,
            letters[which] == 'G' ? doc_path_collection_id(&step->path) : (str){0});
  return place->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

status change_index_wants(const struct target_index *index, struct change_step *step, struct buf *scratch) {
  for (unsigned i = 0; i < PLACES; i++) {
    STATUS_TRY(put_document_place(step, i, scratch));
    bool has_fields = target_index_fields(index, buf_str(scratch)) != NULL;
    bool has_targets = target_index_find(index, buf_str(scratch)) != NULL;
    step->wanted = step->wanted || has_fields || has_targets;
    step->wanted_fields = step->wanted_fields || has_fields || (has_targets && i > 0);
  }
  return status_ok();
}

static bool is_in(const struct query *query, const struct change_step *step, bool exists,
                  struct doc_map fields) {
  return exists && query_matches(query, &step->path, fields) &&
         query_within_cursors(query, &step->path, fields);
}

static void deliver_one(struct change_target *target, const struct change_step *step, kv_version version) {
  struct change_document *document = step->document;
  if (target->since >= version)
    return;
  bool was = step->existed, is = document->exists;
  if (target->query != NULL) {
    was = is_in(target->query, step, step->existed, step->old_fields);
    is = is_in(target->query, step, document->exists, step->new_fields);
  }
  if (!was && !is)
    return;
  if (target->windowed && target->touched == version)
    return;
  if (target->windowed) {
    target->touched = version;
    change_push(target->listener, CHANGE_TOUCHED, target, NULL, version);
  } else {
    change_push(target->listener, is ? CHANGE_MATCHED : CHANGE_LEFT, target, document, version);
  }
}

static void deliver_all(const struct target_index *index, str place, const struct change_step *step,
                        kv_version version) {
  for (struct target_node *node = target_index_find(index, place); node != NULL; node = node->next)
    deliver_one(node->target, step, version);
}

/* Targets that are told apart by a field: those of the value that was, and those of the value that is. */
static status deliver_by_field(const struct target_index *index, str base, const struct change_step *step,
                               kv_version version) {
  struct buf old_place = {0}, new_place = {0};
  for (const struct target_field *field = target_index_fields(index, base); field != NULL;
       field = field->next) {
    const struct doc_value *old_value =
        step->existed ? query_field_get(step->old_fields, &field->path) : NULL;
    const struct doc_value *new_value =
        step->document->exists ? query_field_get(step->new_fields, &field->path) : NULL;
    buf_clear(&old_place);
    if (old_value != NULL)
      put_equality(&old_place, base, field->text, old_value);
    if (old_value != NULL && !old_place.failed)
      deliver_all(index, buf_str(&old_place), step, version);
    if (new_value != NULL)
      put_equality(&new_place, base, field->text, new_value);
    if (new_value != NULL && !new_place.failed && !str_eq(buf_str(&old_place), buf_str(&new_place)))
      deliver_all(index, buf_str(&new_place), step, version);
  }
  bool failed = old_place.failed || new_place.failed;
  buf_fini(&old_place);
  buf_fini(&new_place);
  return failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

status change_index_deliver(const struct target_index *index, const struct change_step *step,
                            kv_version version, struct buf *scratch) {
  for (unsigned i = 0; i < PLACES; i++) {
    STATUS_TRY(put_document_place(step, i, scratch));
    deliver_all(index, buf_str(scratch), step, version);
    if (target_index_fields(index, buf_str(scratch)) != NULL)
      STATUS_TRY(deliver_by_field(index, buf_str(scratch), step, version));
  }
  return status_ok();
}
