/* The indexes of a store: their state in KV_SYSTEM, and the catalog of it that is current. */
#include "storage/index/set.h"

#include <stdlib.h>

#include "base/limits.h"

enum { LEDGER_ARENA_BYTES = 128 * 1024 * 1024 };

/* ---- Reading ---- */

static status has_documents(kv_snapshot snapshot, bool *ret) {
  struct kv_iter *iter;
  STATUS_TRY(kv_iter_open(snapshot, KV_DOCUMENTS, (str){NULL, 0}, (str){NULL, 0}, false, &iter));
  *ret = kv_iter_next(iter);
  status s = kv_iter_status(iter);
  kv_iter_close(iter);
  return s;
}

/* `stored` is released by the caller. Without a state in the store: whether documents are there decides. */
static status load(struct kv_store *store, struct kv_value *stored, kv_version *ret_automatic_ready) {
  kv_snapshot snapshot;
  bool is_older = false;
  *stored = (struct kv_value){0};
  STATUS_TRY(kv_snapshot_at(store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_get(snapshot, KV_SYSTEM, INDEX_LEDGER_KEY, stored));
  if (!stored->found)
    STATUS_TRY(has_documents(snapshot, &is_older));
  *ret_automatic_ready = is_older ? INDEX_NOT_READY : 0;
  return status_ok();
}

status index_catalog_load(struct kv_store *store, struct index_catalog **ret) {
  struct kv_value stored;
  kv_version automatic_ready;
  status s = load(store, &stored, &automatic_ready);
  if (status_is_ok(&s))
    s = index_catalog_make(stored.bytes, automatic_ready, ret);
  kv_value_release(&stored);
  return s;
}

/* ---- Changing ---- */

/* A change on its way through the pipeline. */
struct changing {
  const struct index_change *change;
  struct buf text;
  struct index_catalog *next; /* made in resolve, so that nothing can fail once the commit is durable */
};

static status resolve_change(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  struct changing *changing = argument;
  struct arena arena;
  struct kv_value stored = {0};
  struct index_ledger ledger = index_ledger_default(INDEX_NOT_READY);
  bool changed = false;
  buf_clear(&changing->text);
  index_catalog_unref(changing->next);
  changing->next = NULL;
  arena_init(&arena, NULL, 0, LEDGER_ARENA_BYTES);
  status s = kv_reader_get(reader, KV_SYSTEM, INDEX_LEDGER_KEY, &stored);
  if (status_is_ok(&s) && stored.found)
    s = index_ledger_decode(stored.bytes, &arena, &ledger);
  if (status_is_ok(&s))
    s = changing->change->make(changing->change->argument, &ledger, version, &arena, &changed);
  if (status_is_ok(&s) && changed)
    s = index_ledger_encode(&ledger, &changing->text);
  if (status_is_ok(&s) && changed)
    s = index_catalog_make(buf_str(&changing->text), 0, &changing->next);
  if (status_is_ok(&s) && changed)
    kv_batch_put(batch, KV_SYSTEM, INDEX_LEDGER_KEY, buf_str(&changing->text));
  kv_value_release(&stored);
  arena_fini(&arena);
  return s;
}

static void publish(struct index_set *set, struct index_catalog *next) {
  pthread_mutex_lock(&set->lock);
  struct index_catalog *old = set->current;
  set->current = next;
  pthread_mutex_unlock(&set->lock);
  index_catalog_unref(old);
}

status index_set_change(struct index_set *set, const struct index_change *change) {
  struct changing changing = {.change = change};
  struct kv_txn txn = {.resolve = resolve_change, .argument = &changing};
  kv_version version;
  pthread_mutex_lock(&set->change_lock);
  status s = kv_commit_wait(set->store, &txn, &version);
  if (status_is_ok(&s) && changing.next != NULL) {
    publish(set, changing.next);
    changing.next = NULL;
  }
  pthread_mutex_unlock(&set->change_lock);
  index_catalog_unref(changing.next);
  buf_fini(&changing.text);
  return s;
}

static status begin(void *argument, struct index_ledger *ledger, kv_version version, struct arena *arena,
                    bool *ret_changed) {
  (void)version, (void)arena;
  *ledger = index_ledger_default(*(const kv_version *)argument);
  *ret_changed = true;
  return status_ok();
}

struct defining {
  const struct index_definitions *definitions;
  kv_version oldest;
};

static status define(void *argument, struct index_ledger *ledger, kv_version version, struct arena *arena,
                     bool *ret_changed) {
  (void)version;
  const struct defining *defining = argument;
  *ret_changed = true;
  return index_ledger_define(ledger, defining->definitions, defining->oldest, arena);
}

/* Whether the definitions are those that hold already: then nothing needs to be written or walked again. */
static status is_the_same(struct index_set *set, const struct index_definitions *definitions, bool *ret) {
  struct buf held = {0}, given = {0};
  status s = index_set_format(set, &held);
  if (status_is_ok(&s))
    s = index_definitions_format(definitions, &given);
  *ret = status_is_ok(&s) && str_eq(buf_str(&held), buf_str(&given));
  buf_fini(&held);
  buf_fini(&given);
  return s;
}

status index_set_apply(struct index_set *set, const struct index_definitions *definitions) {
  bool same;
  STATUS_TRY(is_the_same(set, definitions, &same));
  if (same)
    return status_ok();
  struct defining defining = {definitions, kv_oldest_version(set->store)};
  struct index_change change = {define, &defining};
  return index_set_change(set, &change);
}

/* ---- Life ---- */

status index_set_open(struct kv_store *store, struct index_set **ret) {
  struct index_set *set = calloc(1, sizeof *set);
  if (set == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  set->store = store;
  pthread_mutex_init(&set->lock, NULL);
  pthread_mutex_init(&set->change_lock, NULL);
  struct kv_value stored;
  kv_version automatic_ready;
  status s = load(store, &stored, &automatic_ready);
  if (status_is_ok(&s))
    s = index_catalog_make(stored.bytes, automatic_ready, &set->current);
  if (status_is_ok(&s) && !stored.found) {
    struct index_change change = {begin, &automatic_ready};
    s = index_set_change(set, &change);
    /* A full disk must not keep the server from serving reads; nothing can be written until it is said. */
    if (s.code == STATUS_RESOURCE_EXHAUSTED)
      s = status_ok();
  }
  kv_value_release(&stored);
  if (!status_is_ok(&s)) {
    index_set_close(set);
    return s;
  }
  *ret = set;
  return s;
}

void index_set_close(struct index_set *set) {
  if (set == NULL)
    return;
  index_catalog_unref(set->current);
  pthread_mutex_destroy(&set->lock);
  pthread_mutex_destroy(&set->change_lock);
  free(set);
}

struct index_catalog *index_set_current(struct index_set *set) {
  pthread_mutex_lock(&set->lock);
  struct index_catalog *catalog = index_catalog_ref(set->current);
  pthread_mutex_unlock(&set->lock);
  return catalog;
}

/* ---- For people ---- */

status index_set_format(struct index_set *set, struct buf *out) {
  struct index_catalog *catalog = index_set_current(set);
  struct arena arena;
  struct index_definitions definitions;
  arena_init(&arena, NULL, 0, LEDGER_ARENA_BYTES);
  status s = index_ledger_definitions(&catalog->ledger, &arena, &definitions);
  if (status_is_ok(&s))
    s = index_definitions_format(&definitions, out);
  arena_fini(&arena);
  index_catalog_unref(catalog);
  return s;
}

const char *index_progress_text(enum index_progress progress) {
  static const char *const texts[] = {"ready", "building", "waiting", "dropping"};
  return texts[progress];
}

static enum index_progress progress_of(bool ready, bool blocked, bool retiring) {
  return retiring  ? INDEX_IS_DROPPING
         : blocked ? INDEX_IS_WAITING
         : ready   ? INDEX_IS_READY
                   : INDEX_IS_BUILDING;
}

struct visiting {
  void (*visit)(void *argument, const struct index_info *info);
  void *argument;
  struct buf text;
  bool failed;
};

static void visit_text(struct visiting *v, enum index_progress progress) {
  struct index_info info = {progress, buf_str(&v->text)};
  v->failed |= v->text.failed;
  if (!v->failed)
    v->visit(v->argument, &info);
  buf_clear(&v->text);
}

static void put_has(unsigned has, struct buf *out) {
  static const char *const names[INDEX_HAS_COUNT] = {"values", "array elements", "group values",
                                                     "group array elements"};
  for (unsigned i = 0; i < INDEX_HAS_COUNT; i++)
    if ((has & 1u << i) != 0)
      buf_printf(out, " %s%s", names[i], (has >> (i + 1)) != 0 ? "," : "");
  if (has == 0)
    buf_append_str(out, STR(" not indexed"));
}

static void visit_rule(struct visiting *v, const struct index_ledger_rule *rule,
                       const struct doc_field_path *ttl, struct arena *arena) {
  buf_append_str(&v->text, rule->collection_id);
  buf_append_str(&v->text, STR(" field "));
  buf_append_str(&v->text, rule->field.count == 0 ? STR("*") : doc_field_path_format(&rule->field, arena));
  buf_append_byte(&v->text, ':');
  put_has(rule->wanted, &v->text);
  if (ttl != NULL && doc_field_path_compare(ttl, &rule->field) == 0)
    buf_append_str(&v->text, STR("; TTL"));
  visit_text(v, progress_of(!index_rule_is_building(rule), rule->blocked != 0, rule->retiring != 0));
}

static void visit_catalog(struct visiting *v, const struct index_catalog *catalog, struct arena *arena) {
  const struct index_ledger *ledger = &catalog->ledger;
  buf_append_str(&v->text, STR("every field, automatically"));
  visit_text(v, progress_of(ledger->automatic_ready != INDEX_NOT_READY, false, false));
  for (size_t i = 0, k = 0; i < ledger->composite_count; i++) {
    const struct index_ledger_composite *one = &ledger->composites[i];
    if (one->number == 0)
      continue; /* nothing on disk */
    buf_append_str(&v->text, catalog->composites[k++].text);
    visit_text(v, progress_of(one->ready != INDEX_NOT_READY, false, one->retiring));
  }
  for (size_t i = 0; i < ledger->rule_count; i++)
    visit_rule(v, &ledger->rules[i], index_catalog_ttl(catalog, ledger->rules[i].collection_id), arena);
}

status index_set_visit(struct index_set *set, void (*visit)(void *argument, const struct index_info *info),
                       void *argument, struct index_work_info *ret) {
  struct index_catalog *catalog = index_set_current(set);
  struct visiting v = {.visit = visit, .argument = argument};
  struct arena arena;
  arena_init(&arena, NULL, 0, LEDGER_ARENA_BYTES);
  visit_catalog(&v, catalog, &arena);
  uint64_t built = atomic_load(&set->built), to_build = atomic_load(&set->to_build);
  *ret = (struct index_work_info){.building = index_ledger_is_building(&catalog->ledger),
                                  .sweeping = catalog->ledger.sweep,
                                  .documents_built = built,
                                  .documents_to_build = to_build > built ? to_build : built};
  arena_fini(&arena);
  buf_fini(&v.text);
  index_catalog_unref(catalog);
  return v.failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}

static void put_line(void *argument, const struct index_info *info) {
  buf_printf(argument, "%-9s ", index_progress_text(info->progress));
  buf_append_str(argument, info->text);
  buf_append_byte(argument, '\n');
}

status index_set_describe(struct index_set *set, struct buf *out) {
  struct index_work_info work;
  STATUS_TRY(index_set_visit(set, put_line, out, &work));
  if (work.building)
    buf_printf(out, "building: %llu of about %llu documents done\n", (unsigned long long)work.documents_built,
               (unsigned long long)work.documents_to_build);
  if (work.sweeping)
    buf_append_str(out, STR("deleting the entries of indexes that were dropped\n"));
  return out->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}
