/* The indexes of a store: their state in KV_SYSTEM, and the catalog of it that is current. */
#include "storage/index/set.h"

#include <stdlib.h>

#include "base/limits.h"

enum { STATE_ARENA_BYTES = 128 * 1024 * 1024 };

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
  arena_init(&arena, NULL, 0, STATE_ARENA_BYTES);
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
  arena_init(&arena, NULL, 0, STATE_ARENA_BYTES);
  status s = index_ledger_definitions(&catalog->ledger, &arena, &definitions);
  if (status_is_ok(&s))
    s = index_definitions_format(&definitions, out);
  arena_fini(&arena);
  index_catalog_unref(catalog);
  return s;
}

static const char *state_text(bool retiring, bool ready, bool blocked) {
  return retiring ? "dropping" : blocked ? "waiting" : ready ? "ready" : "building";
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

static void describe_rule(const struct index_ledger_rule *rule, const struct doc_field_path *ttl,
                          struct arena *arena, struct buf *out) {
  bool is_ttl = ttl != NULL && doc_field_path_compare(ttl, &rule->field) == 0;
  buf_printf(out, "%-9s %.*s field ",
             state_text(rule->retiring != 0, !index_rule_is_building(rule), rule->blocked != 0),
             STR_ARG(rule->collection_id));
  buf_append_str(out, rule->field.count == 0 ? STR("*") : doc_field_path_format(&rule->field, arena));
  buf_append_byte(out, ':');
  put_has(rule->wanted, out);
  buf_append_str(out, is_ttl ? STR("; TTL\n") : STR("\n"));
}

status index_set_describe(struct index_set *set, struct buf *out) {
  struct index_catalog *catalog = index_set_current(set);
  const struct index_ledger *ledger = &catalog->ledger;
  struct arena arena;
  arena_init(&arena, NULL, 0, STATE_ARENA_BYTES);
  buf_printf(out, "%-9s automatic indexes of every field\n",
             state_text(false, ledger->automatic_ready != INDEX_NOT_READY, false));
  for (size_t i = 0; i < catalog->composite_count; i++) {
    const struct index_composite *one = &catalog->composites[i];
    bool retiring = false;
    for (size_t k = 0; k < ledger->composite_count; k++)
      retiring |= ledger->composites[k].number == one->shape.number && ledger->composites[k].retiring;
    buf_printf(out, "%-9s ", state_text(retiring, one->state == INDEX_READY, false));
    buf_append_str(out, one->text);
    buf_append_byte(out, '\n');
  }
  for (size_t i = 0; i < ledger->rule_count; i++)
    describe_rule(&ledger->rules[i], index_catalog_ttl(catalog, ledger->rules[i].collection_id), &arena, out);
  uint64_t built = atomic_load(&set->built), to_build = atomic_load(&set->to_build);
  if (index_ledger_is_building(ledger))
    buf_printf(out, "building: %llu of about %llu documents done\n", (unsigned long long)built,
               (unsigned long long)(to_build > built ? to_build : built));
  if (ledger->sweep)
    buf_append_str(out, STR("deleting the entries of indexes that were dropped\n"));
  arena_fini(&arena);
  index_catalog_unref(catalog);
  return out->failed ? status_default(STATUS_RESOURCE_EXHAUSTED) : status_ok();
}
