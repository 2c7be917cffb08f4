/* Catalogs and what is asked of them. The questions come for every changed field on the commit thread, so a
 * collection id's definitions are one probe of a hash table away, and a catalog without definitions answers
 * at once. */
#include <assert.h>
#include <stdlib.h>

#include "storage/index/catalog_internal.h"

enum { CATALOG_BYTES_MAX = 128 * 1024 * 1024 /* far over what the limits of definitions allow */ };

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The catalog of indexes needs too much memory.");
}

/* ---- The table of collection ids ---- */

static uint64_t hash_of(str id) {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < id.len; i++)
    h = (h ^ (unsigned char)id.ptr[i]) * 0x100000001b3u;
  return h ^ h >> 32;
}

static struct index_group **slot_of(const struct index_catalog *catalog, str id) {
  size_t at = (size_t)hash_of(id) & (catalog->table_size - 1);
  while (catalog->table[at] != NULL && !str_eq(catalog->table[at]->collection_id, id))
    at = (at + 1) & (catalog->table_size - 1);
  return &catalog->table[at];
}

static const struct index_group *find_group(const struct index_catalog *catalog, str id) {
  return catalog->table_size == 0 ? NULL : *slot_of(catalog, id);
}

/* The group of that id, made if it is not there yet; NULL without memory. */
static struct index_group *take_group(struct index_catalog *catalog, str id) {
  struct index_group **slot = slot_of(catalog, id);
  if (*slot == NULL && (*slot = ARENA_NEW(&catalog->arena, struct index_group)) != NULL)
    (*slot)->collection_id = id;
  return *slot;
}

/* ---- Making one ---- */

/* "orders COLLECTION customer ASC, time DESC" */
static str text_of(struct index_catalog *catalog, const struct index_composite_definition *index) {
  struct buf out = {0};
  buf_append_str(&out, index->collection_id);
  buf_append_str(&out, index->group ? STR(" COLLECTION_GROUP ") : STR(" COLLECTION "));
  for (size_t i = 0; i < index->column_count; i++) {
    const struct index_column *column = &index->columns[i];
    if (i > 0)
      buf_append_str(&out, STR(", "));
    buf_append_str(&out, doc_field_path_format(&column->field, &catalog->arena));
    buf_append_str(&out, column->elements                  ? STR(" CONTAINS")
                         : column->order == DOC_DESCENDING ? STR(" DESC")
                                                           : STR(" ASC"));
  }
  if (index->column_count > 0 && index->name_order != index->columns[index->column_count - 1].order)
    buf_append_str(&out,
                   index->name_order == DOC_DESCENDING ? STR(", __name__ DESC") : STR(", __name__ ASC"));
  str text = arena_str_copy(&catalog->arena, out.failed ? STR("") : buf_str(&out));
  buf_fini(&out);
  return text;
}

static status add_composites(struct index_catalog *catalog) {
  const struct index_ledger *ledger = &catalog->ledger;
  catalog->composites = ARENA_NEW_ARRAY(&catalog->arena, struct index_composite, ledger->composite_count);
  if (catalog->composites == NULL)
    return no_memory();
  for (size_t i = 0; i < ledger->composite_count; i++) {
    const struct index_ledger_composite *from = &ledger->composites[i];
    const struct index_composite_definition *index = &from->definition;
    if (from->number == 0)
      continue;
    bool ready = !from->retiring && from->ready != INDEX_NOT_READY;
    struct index_group *group = take_group(catalog, index->collection_id);
    if (group == NULL)
      return no_memory();
    group->composite_count++;
    catalog->composites[catalog->composite_count++] = (struct index_composite){
        .shape = {.kind = INDEX_COMPOSITE,
                  .group = index->group,
                  .number = from->number,
                  .columns = index->columns,
                  .column_count = index->column_count,
                  .name_order = index->name_order},
        .collection_id = index->collection_id,
        .state = ready ? INDEX_READY : INDEX_BUILDING,
        .ready_version = ready ? from->ready : INDEX_NOT_READY,
        .text = text_of(catalog, index),
    };
  }
  for (size_t i = 0; i < catalog->composite_count; i++) {
    struct index_composite *one = &catalog->composites[i];
    struct index_group *group = take_group(catalog, one->collection_id);
    if (group->composites == NULL) {
      group->composites =
          ARENA_NEW_ARRAY(&catalog->arena, const struct index_composite *, group->composite_count);
      if (group->composites == NULL)
        return no_memory();
      group->composite_count = 0;
    }
    group->composites[group->composite_count++] = one;
  }
  return status_ok();
}

static status add_rules(struct index_catalog *catalog) {
  const struct index_ledger *ledger = &catalog->ledger;
  for (size_t i = 0; i < ledger->rule_count; i++) {
    struct index_group *group = take_group(catalog, ledger->rules[i].collection_id);
    if (group == NULL)
      return no_memory();
    if (group->rules.count++ == 0)
      group->rules.items = &ledger->rules[i];
  }
  return status_ok();
}

static status add_ttls(struct index_catalog *catalog) {
  const struct index_ledger *ledger = &catalog->ledger;
  catalog->ttls = ARENA_NEW_ARRAY(&catalog->arena, struct index_ttl, ledger->override_count);
  if (catalog->ttls == NULL)
    return no_memory();
  for (size_t i = 0; i < ledger->override_count; i++) {
    const struct index_override *one = &ledger->overrides[i];
    if (!one->ttl)
      continue;
    struct index_group *group = take_group(catalog, one->collection_id);
    if (group == NULL)
      return no_memory();
    struct index_ttl *ttl = &catalog->ttls[catalog->ttl_count++];
    *ttl = (struct index_ttl){one->collection_id, one->field};
    group->ttl = ttl;
  }
  return status_ok();
}

static status fill(struct index_catalog *catalog) {
  const struct index_ledger *ledger = &catalog->ledger;
  size_t most = ledger->composite_count + ledger->rule_count + ledger->override_count;
  if (most > 0) {
    catalog->table_size = 4;
    while (catalog->table_size < most * 2)
      catalog->table_size *= 2;
    catalog->table = ARENA_NEW_ARRAY(&catalog->arena, struct index_group *, catalog->table_size);
    if (catalog->table == NULL)
      return no_memory();
  }
  STATUS_TRY(add_composites(catalog));
  STATUS_TRY(add_rules(catalog));
  return add_ttls(catalog);
}

status index_catalog_make(str state_text, kv_version automatic_ready, struct index_catalog **ret) {
  struct index_catalog *catalog = calloc(1, sizeof *catalog);
  if (catalog == NULL)
    return no_memory();
  atomic_init(&catalog->refs, 1);
  arena_init(&catalog->arena, NULL, 0, CATALOG_BYTES_MAX);
  catalog->ledger = index_ledger_default(automatic_ready);
  status s = str_is_empty(state_text) ? status_ok()
                                      : index_ledger_decode(state_text, &catalog->arena, &catalog->ledger);
  if (status_is_ok(&s))
    s = fill(catalog);
  if (!status_is_ok(&s)) {
    index_catalog_unref(catalog);
    return s;
  }
  *ret = catalog;
  return s;
}

struct index_catalog *index_catalog_default(void) {
  struct index_catalog *catalog;
  status s = index_catalog_make((str){NULL, 0}, 0, &catalog);
  return status_is_ok(&s) ? catalog : NULL;
}

struct index_catalog *index_catalog_ref(struct index_catalog *catalog) {
  atomic_fetch_add_explicit(&catalog->refs, 1, memory_order_relaxed);
  return catalog;
}

void index_catalog_unref(struct index_catalog *catalog) {
  if (catalog == NULL || atomic_fetch_sub_explicit(&catalog->refs, 1, memory_order_acq_rel) > 1)
    return;
  arena_fini(&catalog->arena);
  free(catalog);
}

/* ---- Questions ---- */

size_t index_catalog_composites(const struct index_catalog *catalog, str collection_id,
                                const struct index_composite *const **ret) {
  const struct index_group *group = find_group(catalog, collection_id);
  *ret = group == NULL ? NULL : (const struct index_composite *const *)group->composites;
  return group == NULL ? 0 : group->composite_count;
}

static const struct index_ledger_rule *find_rule(const struct index_catalog *catalog, str collection_id,
                                                 const struct doc_field_path *field) {
  const struct index_group *group = find_group(catalog, collection_id);
  return group == NULL ? NULL : index_rules_find(group->rules, field);
}

unsigned index_catalog_field_maintained(const struct index_catalog *catalog, str collection_id,
                                        const struct doc_field_path *field) {
  const struct index_ledger_rule *rule = find_rule(catalog, collection_id, field);
  return rule == NULL ? (unsigned)INDEX_HAS_AUTOMATIC : index_rule_maintained(rule);
}

unsigned index_catalog_field_usable(const struct index_catalog *catalog, str collection_id,
                                    const struct doc_field_path *field, kv_version version) {
  const struct index_ledger_rule *rule = find_rule(catalog, collection_id, field);
  if (rule == NULL)
    return index_catalog_names_usable(catalog, version) ? (unsigned)INDEX_HAS_AUTOMATIC : 0;
  unsigned usable = 0;
  for (unsigned i = 0; i < INDEX_HAS_COUNT; i++)
    if (rule->ready[i] != INDEX_NOT_READY && rule->ready[i] <= version)
      usable |= 1u << i;
  return usable & rule->wanted & ~rule->blocked;
}

bool index_catalog_names_usable(const struct index_catalog *catalog, kv_version version) {
  kv_version ready = catalog->ledger.automatic_ready;
  return ready != INDEX_NOT_READY && ready <= version;
}

const struct doc_field_path *index_catalog_ttl(const struct index_catalog *catalog, str collection_id) {
  const struct index_group *group = find_group(catalog, collection_id);
  return group == NULL || group->ttl == NULL ? NULL : &group->ttl->field;
}

size_t index_catalog_ttls(const struct index_catalog *catalog, const struct index_ttl **ret) {
  *ret = catalog->ttls;
  return catalog->ttl_count;
}
