/* First every document: each entry that it should have is looked up, and those that are there are counted.
 * No two documents have an entry in common, so if the store has as many entries as were found, it has no
 * others. Only where it has more, each entry is held against its document, to name them. */
#include "storage/index/verify.h"

#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/document/record.h"
#include "storage/index/entry_place.h"

enum { ARENA_BYTES = 64 * 1024 * 1024 };

struct verifying {
  kv_snapshot snapshot;
  const struct index_catalog *catalog;
  void (*report)(void *argument, str text);
  void *argument;
  struct index_verification result;
  uint64_t reports;
  struct arena arena; /* of what is looked at */

  const struct doc_path *document; /* whose entries are visited */
  str wanted;                      /* the entry that is searched for */
  bool found;
};

/* ---- Reports ---- */

static void put_index(const struct verifying *v, str key, struct buf *out) {
  struct arena arena;
  struct index_place place;
  arena_init(&arena, NULL, 0, ARENA_BYTES);
  status s = index_place_parse(key, v->catalog, &arena, &place);
  if (!status_is_ok(&s))
    buf_append_str(out, STR("no index that is known"));
  else if (place.shape.kind == INDEX_GROUP_NAMES)
    buf_append_str(out, STR("the index of names"));
  else if (place.shape.kind == INDEX_COMPOSITE)
    buf_printf(out, "composite index %u", (unsigned)place.shape.number);
  else
    buf_printf(out, "the index of %s of field %.*s%s", place.column.elements ? "array elements" : "values",
               STR_ARG(doc_field_path_format(&place.column.field, &arena)),
               place.shape.kind == INDEX_GROUP_FIELD ? " in the collection group" : "");
  arena_fini(&arena);
}

static void tell(struct verifying *v, str document, str key, const char *what) {
  if (v->report == NULL || v->reports++ >= INDEX_VERIFY_REPORTS)
    return;
  struct buf text = {0};
  buf_append_str(&text, STR("index entry of "));
  buf_append_str(&text, document);
  buf_append_str(&text, STR(" in "));
  put_index(v, key, &text);
  buf_printf(&text, ": %s", what);
  v->report(v->argument, text.failed ? STR("an index entry (no memory to say which)") : buf_str(&text));
  buf_fini(&text);
}

/* ---- Documents: do they have their entries? ---- */

/* Whether an index is whole, so that an entry must be there. */
static bool is_whole(const struct verifying *v, str key) {
  const struct index_ledger *ledger = &v->catalog->ledger;
  if (!index_ledger_is_building(ledger) && !index_ledger_is_retiring(ledger))
    return true;
  struct arena arena;
  struct index_place place;
  bool whole = false;
  arena_init(&arena, NULL, 0, ARENA_BYTES);
  status s = index_place_parse(key, v->catalog, &arena, &place);
  if (!status_is_ok(&s)) {
    whole = true;
  } else if (place.shape.kind == INDEX_COMPOSITE) {
    for (size_t i = 0; i < v->catalog->composite_count; i++)
      whole |= v->catalog->composites[i].shape.number == place.shape.number &&
               v->catalog->composites[i].state == INDEX_READY;
  } else if (place.shape.kind == INDEX_GROUP_NAMES) {
    whole = ledger->automatic_ready != INDEX_NOT_READY;
  } else {
    whole = (index_catalog_field_usable(v->catalog, place.collection_id, &place.column.field,
                                        INDEX_NOT_READY - 1) &
             index_place_has(&place)) != 0;
  }
  arena_fini(&arena);
  return whole;
}

static status look_up(void *argument, str key, str value) {
  struct verifying *v = argument;
  struct kv_value stored = {0};
  STATUS_TRY(kv_get(v->snapshot, KV_INDEX, key, &stored));
  if (stored.found) {
    v->result.entries++;
    if (!str_eq(stored.bytes, value)) {
      v->result.wrong++;
      tell(v, v->document->name, key, "its value is not what the document gives it");
    }
  } else if (is_whole(v, key)) {
    v->result.missing++;
    tell(v, v->document->name, key, "it is missing");
  }
  kv_value_release(&stored);
  return status_ok();
}

static bool is_of_document(const status *s) {
  return s->code == STATUS_DATA_LOSS || s->code == STATUS_INVALID_ARGUMENT;
}

static status check_document(struct verifying *v, str key, str stored) {
  struct doc_path path;
  struct doc_record record = {0};
  status s = doc_key_to_path(key, &v->arena, &path);
  if (status_is_ok(&s))
    s = doc_record_decode(stored, &record);
  v->document = &path;
  if (status_is_ok(&s))
    s = index_visit(v->catalog, NULL, &path, record.fields, &v->arena, look_up, v);
  v->document = NULL;
  if (!is_of_document(&s))
    return s;
  v->result.unreadable++;
  return status_ok();
}

static status check_documents(struct verifying *v) {
  struct kv_iter *iter;
  status s = status_ok();
  STATUS_TRY(kv_iter_open(v->snapshot, KV_DOCUMENTS, (str){NULL, 0}, (str){NULL, 0}, false, &iter));
  while (status_is_ok(&s) && kv_iter_next(iter)) {
    v->result.documents++;
    s = check_document(v, kv_iter_key(iter), kv_iter_value(iter));
    arena_reset(&v->arena);
  }
  if (status_is_ok(&s))
    s = kv_iter_status(iter);
  kv_iter_close(iter);
  return s;
}

/* ---- Entries: do their documents have them? ---- */

/* What a sweep still has to delete says nothing. */
static bool is_left_over(const struct verifying *v, const struct index_place *place) {
  return v->catalog->ledger.sweep && !index_place_is_maintained(place, v->catalog);
}

static status compare_key(void *argument, str key, str value) {
  (void)value;
  struct verifying *v = argument;
  v->found |= str_eq(key, v->wanted);
  return status_ok();
}

/* *ret_wrong is what is wrong with an entry, or NULL; the document's name is in the arena. */
static status judge_entry(struct verifying *v, str key, struct buf *document_key, str *ret_name,
                          const char **ret_wrong) {
  struct index_place place;
  struct kv_value stored = {0};
  struct doc_path path;
  struct doc_record record;
  *ret_name = STR("(no document)");
  *ret_wrong = "its key is damaged";
  STATUS_TRY(index_place_parse(key, v->catalog, &v->arena, &place));
  if (is_left_over(v, &place)) {
    *ret_wrong = NULL;
    return status_ok();
  }
  if (!place.is_known || !index_place_is_maintained(&place, v->catalog)) {
    *ret_wrong = "no such index is defined";
    return status_ok();
  }
  STATUS_TRY(index_place_document_key(&place, key, document_key));
  STATUS_TRY(doc_key_to_path(buf_str(document_key), &v->arena, &path));
  *ret_name = path.name;
  STATUS_TRY(kv_get(v->snapshot, KV_DOCUMENTS, buf_str(document_key), &stored));
  *ret_wrong = stored.found ? "the document does not have it" : "the document does not exist";
  v->wanted = key;
  v->found = false;
  status s = stored.found ? doc_record_decode(stored.bytes, &record) : status_ok();
  if (status_is_ok(&s) && stored.found)
    s = index_visit(v->catalog, NULL, &path, record.fields, &v->arena, compare_key, v);
  kv_value_release(&stored);
  if (v->found)
    *ret_wrong = NULL;
  return s;
}

static status judge_entries(struct verifying *v) {
  struct kv_iter *iter;
  struct buf document_key = {0};
  status s = status_ok();
  STATUS_TRY(kv_iter_open(v->snapshot, KV_INDEX, (str){NULL, 0}, (str){NULL, 0}, false, &iter));
  while (status_is_ok(&s) && kv_iter_next(iter)) {
    str name;
    const char *wrong;
    s = judge_entry(v, kv_iter_key(iter), &document_key, &name, &wrong);
    if (is_of_document(&s))
      s = status_ok();
    if (status_is_ok(&s) && wrong != NULL) {
      v->result.superfluous++;
      tell(v, name, kv_iter_key(iter), wrong);
    }
    arena_reset(&v->arena);
  }
  if (status_is_ok(&s))
    s = kv_iter_status(iter);
  kv_iter_close(iter);
  buf_fini(&document_key);
  return s;
}

static status count_entries(struct verifying *v, uint64_t *ret) {
  struct kv_iter *iter;
  STATUS_TRY(kv_iter_open(v->snapshot, KV_INDEX, (str){NULL, 0}, (str){NULL, 0}, false, &iter));
  *ret = 0;
  while (kv_iter_next(iter)) {
    struct index_place place;
    bool counts = true;
    if (v->catalog->ledger.sweep) {
      status s = index_place_parse(kv_iter_key(iter), v->catalog, &v->arena, &place);
      counts = !status_is_ok(&s) || !is_left_over(v, &place);
      arena_reset(&v->arena);
    }
    *ret += counts;
  }
  status s = kv_iter_status(iter);
  kv_iter_close(iter);
  return s;
}

status index_verify(struct kv_store *store, const struct index_catalog *catalog,
                    void (*report)(void *argument, str text), void *argument,
                    struct index_verification *ret) {
  struct verifying v = {.catalog = catalog, .report = report, .argument = argument};
  uint64_t entries;
  STATUS_TRY(kv_snapshot_at(store, KV_LATEST, &v.snapshot));
  arena_init(&v.arena, NULL, 0, ARENA_BYTES);
  status s = check_documents(&v);
  if (status_is_ok(&s))
    s = count_entries(&v, &entries);
  if (status_is_ok(&s) && entries != v.result.entries) {
    s = judge_entries(&v);
    v.result.entries = entries;
  }
  arena_fini(&v.arena);
  if (status_is_ok(&s))
    *ret = v.result;
  return s;
}
