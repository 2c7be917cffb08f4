#include "storage/index/ledger.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/limits.h"

struct index_ledger index_ledger_default(kv_version automatic_ready) {
  return (struct index_ledger){.automatic_ready = automatic_ready};
}

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The index definitions need too much memory.");
}

/* ---- Rules ---- */

static int compare_rule(const struct index_ledger_rule *rule, str collection_id,
                        const struct doc_field_path *field) {
  int order = str_cmp(rule->collection_id, collection_id);
  return order != 0 ? order : doc_field_path_compare(&rule->field, field);
}

static int compare_rules(const void *a, const void *b) {
  const struct index_ledger_rule *right = b;
  return compare_rule(a, right->collection_id, &right->field);
}

static const struct index_ledger_rule *find_exact(struct index_rules rules,
                                                  const struct doc_field_path *field) {
  size_t low = 0, high = rules.count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = doc_field_path_compare(&rules.items[middle].field, field);
    if (order == 0)
      // cppcheck-suppress returnDanglingLifetime
      return &rules.items[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

const struct index_ledger_rule *index_rules_find(struct index_rules rules,
                                                 const struct doc_field_path *field) {
  if (rules.count == 0)
    return NULL;
  struct doc_field_path around = *field;
  for (;; around.count--) {
    const struct index_ledger_rule *rule = find_exact(rules, &around);
    if (rule != NULL || around.count == 0)
      return rule;
  }
}

static struct index_rules rules_of(const struct index_ledger *ledger, str collection_id) {
  size_t start = 0, end;
  while (start < ledger->rule_count && str_cmp(ledger->rules[start].collection_id, collection_id) < 0)
    start++;
  for (end = start; end < ledger->rule_count && str_eq(ledger->rules[end].collection_id, collection_id);)
    end++;
  return (struct index_rules){ledger->rules + start, end - start};
}

bool index_rule_is_building(const struct index_ledger_rule *rule) {
  for (unsigned i = 0; i < INDEX_HAS_COUNT; i++)
    if ((rule->wanted & ~rule->blocked & 1u << i) != 0 && rule->ready[i] == INDEX_NOT_READY)
      return true;
  return false;
}

/* ---- Definitions become a state ---- */

/* The override that a field goes by: the nearest around it that does not inherit; and what a TTL policy of
 * its own adds. */
static unsigned wanted_of(const struct index_definitions *definitions, str collection_id,
                          const struct doc_field_path *field) {
  const struct index_override *nearest = NULL;
  unsigned more = 0;
  for (size_t i = 0; i < definitions->override_count; i++) {
    const struct index_override *one = &definitions->overrides[i];
    if (!str_eq(one->collection_id, collection_id) || !doc_field_path_has_prefix(field, &one->field))
      continue;
    if (one->ttl && one->field.count == field->count)
      more = INDEX_HAS_GROUP_VALUES;
    if (!one->inherits && (nearest == NULL || one->field.count > nearest->field.count))
      nearest = one;
  }
  return (nearest == NULL ? (unsigned)INDEX_HAS_AUTOMATIC : nearest->has) | more;
}

static bool is_overridden(const struct index_definitions *definitions, const struct index_ledger_rule *rule) {
  for (size_t i = 0; i < definitions->override_count; i++)
    if (str_eq(definitions->overrides[i].collection_id, rule->collection_id) &&
        doc_field_path_compare(&definitions->overrides[i].field, &rule->field) == 0)
      return true;
  return false;
}

/* One rule anew, from what the field had by the old ledger. */
static void redefine(const struct index_ledger *old, const struct index_definitions *definitions,
                     struct index_ledger_rule *rule) {
  const struct index_ledger_rule *before = index_rules_find(rules_of(old, rule->collection_id), &rule->field);
  unsigned had = before == NULL ? (unsigned)INDEX_HAS_AUTOMATIC : index_rule_maintained(before);
  unsigned was_blocked = before == NULL ? 0 : before->blocked;
  rule->wanted = wanted_of(definitions, rule->collection_id, &rule->field);
  rule->retiring = had & ~rule->wanted;
  rule->blocked = 0;
  for (unsigned i = 0; i < INDEX_HAS_COUNT; i++) {
    unsigned bit = 1u << i;
    rule->ready[i] = INDEX_NOT_READY;
    if ((had & rule->wanted & bit) != 0)
      rule->ready[i] = before == NULL ? old->automatic_ready : before->ready[i];
    else if ((rule->wanted & bit) != 0 && (old->sweep || (was_blocked & bit) != 0))
      rule->blocked |= bit;
  }
}

static void keep_ready(const struct index_ledger *old, struct index_ledger_rule *rule) {
  /* What is retiring keeps its version in case that it comes back before it is gone. */
  const struct index_ledger_rule *before = index_rules_find(rules_of(old, rule->collection_id), &rule->field);
  for (unsigned i = 0; i < INDEX_HAS_COUNT; i++)
    if ((rule->retiring & 1u << i) != 0)
      rule->ready[i] = before == NULL ? old->automatic_ready : before->ready[i];
}

/* Whether fields would be indexed the same without the rule, at every version that can be read. */
static bool is_needless(const struct index_ledger *old, const struct index_definitions *definitions,
                        const struct index_ledger_rule *rule, kv_version oldest) {
  if (is_overridden(definitions, rule) || rule->retiring != 0 || rule->blocked != 0)
    return false;
  for (unsigned i = 0; i < INDEX_HAS_COUNT; i++)
    if ((rule->wanted & 1u << i) != 0 && rule->ready[i] > oldest && rule->ready[i] != old->automatic_ready)
      return false;
  return true;
}

static status define_rules(const struct index_ledger *old, const struct index_definitions *definitions,
                           kv_version oldest, struct arena *arena, struct index_ledger *ledger) {
  size_t most = old->rule_count + definitions->override_count, count = 0;
  struct index_ledger_rule *rules = ARENA_NEW_ARRAY(arena, struct index_ledger_rule, most);
  if (rules == NULL)
    return no_memory();
  if (old->rule_count > 0)
    memcpy(rules, old->rules, old->rule_count * sizeof *rules);
  count = old->rule_count;
  for (size_t i = 0; i < definitions->override_count; i++) {
    const struct index_override *one = &definitions->overrides[i];
    if (find_exact(rules_of(old, one->collection_id), &one->field) == NULL)
      rules[count++] = (struct index_ledger_rule){.collection_id = one->collection_id, .field = one->field};
  }
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    redefine(old, definitions, &rules[i]);
    keep_ready(old, &rules[i]);
    if (!is_needless(old, definitions, &rules[i], oldest))
      rules[kept++] = rules[i];
  }
  if (kept > 0)
    qsort(rules, kept, sizeof *rules, compare_rules);
  if (kept > LIMIT_INDEX_OVERRIDES * 2)
    return status_make(STATUS_RESOURCE_EXHAUSTED,
                       "Too many overrides changed within the history that is kept. Please try again later.");
  ledger->rules = rules;
  ledger->rule_count = kept;
  return status_ok();
}

static status define_composites(const struct index_ledger *old, const struct index_definitions *definitions,
                                struct arena *arena, struct index_ledger *ledger) {
  size_t count = old->composite_count, most = count + definitions->composite_count;
  struct index_ledger_composite *composites = ARENA_NEW_ARRAY(arena, struct index_ledger_composite, most);
  if (composites == NULL)
    return no_memory();
  if (count > 0)
    memcpy(composites, old->composites, count * sizeof *composites);
  for (size_t i = 0; i < old->composite_count; i++)
    composites[i].retiring = true;
  for (size_t i = 0; i < definitions->composite_count; i++) {
    const struct index_composite_definition *wanted = &definitions->composites[i];
    size_t at = 0;
    while (at < old->composite_count && !index_composite_definition_equal(&composites[at].definition, wanted))
      at++;
    if (at < old->composite_count) {
      composites[at].definition = *wanted;
      composites[at].retiring = false;
      continue;
    }
    if (wanted->column_count > 0 && ledger->last_number == UINT32_MAX)
      return status_make(STATUS_RESOURCE_EXHAUSTED, "The numbers of indexes are used up.");
    composites[count++] = (struct index_ledger_composite){
        .definition = *wanted,
        .number = wanted->column_count == 0 ? 0 : ++ledger->last_number,
        .ready = wanted->column_count == 0 ? 0 : INDEX_NOT_READY,
    };
  }
  ledger->composites = composites;
  ledger->composite_count = count;
  return status_ok();
}

status index_ledger_define(struct index_ledger *ledger, const struct index_definitions *definitions,
                           kv_version oldest, struct arena *arena) {
  struct index_ledger next = *ledger;
  STATUS_TRY(define_rules(ledger, definitions, oldest, arena, &next));
  STATUS_TRY(define_composites(ledger, definitions, arena, &next));
  next.overrides = definitions->overrides;
  next.override_count = definitions->override_count;
  next.generation++;
  *ledger = next;
  return status_ok();
}

bool index_ledger_is_retiring(const struct index_ledger *ledger) {
  bool found = false;
  for (size_t i = 0; i < ledger->composite_count; i++)
    found |= ledger->composites[i].retiring;
  for (size_t i = 0; i < ledger->rule_count; i++)
    found |= ledger->rules[i].retiring != 0;
  return found;
}

bool index_ledger_is_building(const struct index_ledger *ledger) {
  bool found = ledger->automatic_ready == INDEX_NOT_READY;
  for (size_t i = 0; i < ledger->composite_count; i++)
    found |= !ledger->composites[i].retiring && ledger->composites[i].ready == INDEX_NOT_READY;
  for (size_t i = 0; i < ledger->rule_count; i++)
    found |= index_rule_is_building(&ledger->rules[i]);
  return found;
}

bool index_ledger_retire(struct index_ledger *ledger) {
  if (!index_ledger_is_retiring(ledger))
    return false;
  size_t kept = 0;
  for (size_t i = 0; i < ledger->composite_count; i++)
    if (!ledger->composites[i].retiring)
      ledger->composites[kept++] = ledger->composites[i];
  ledger->composite_count = kept;
  for (size_t i = 0; i < ledger->rule_count; i++)
    ledger->rules[i].retiring = 0;
  ledger->sweep = true;
  return true;
}

bool index_ledger_swept(struct index_ledger *ledger) {
  if (!ledger->sweep)
    return false;
  ledger->sweep = false;
  for (size_t i = 0; i < ledger->rule_count; i++) {
    if (ledger->rules[i].blocked != 0)
      ledger->generation++;
    ledger->rules[i].blocked = 0;
  }
  return true;
}

bool index_ledger_built(struct index_ledger *ledger, kv_version version) {
  if (!index_ledger_is_building(ledger))
    return false;
  if (ledger->automatic_ready == INDEX_NOT_READY)
    ledger->automatic_ready = version;
  for (size_t i = 0; i < ledger->composite_count; i++)
    if (!ledger->composites[i].retiring && ledger->composites[i].ready == INDEX_NOT_READY)
      ledger->composites[i].ready = version;
  for (size_t i = 0; i < ledger->rule_count; i++) {
    struct index_ledger_rule *rule = &ledger->rules[i];
    for (unsigned bit = 0; bit < INDEX_HAS_COUNT; bit++)
      if ((rule->wanted & ~rule->blocked & 1u << bit) != 0 && rule->ready[bit] == INDEX_NOT_READY)
        rule->ready[bit] = version;
  }
  return true;
}

status index_ledger_definitions(const struct index_ledger *ledger, struct arena *arena,
                                struct index_definitions *ret) {
  struct index_composite_definition *composites =
      ARENA_NEW_ARRAY(arena, struct index_composite_definition, ledger->composite_count);
  if (composites == NULL)
    return no_memory();
  size_t count = 0;
  for (size_t i = 0; i < ledger->composite_count; i++)
    if (!ledger->composites[i].retiring)
      composites[count++] = ledger->composites[i].definition;
  *ret = (struct index_definitions){composites, count, ledger->overrides, ledger->override_count};
  return status_ok();
}

/* ---- The text ----
 *
 * { "format": 1, "generation": 2, "lastNumber": 7, "automaticReady": 0, "sweep": false,
 *   "definitions": "a text as of index_definitions_format, the retiring indexes among them",
 *   "composites": [ [number, ready, retiring], ... ]                              in its order
 *   "rules": [ { "collection": "c", "field": "a.b", "bits": [wanted, blocked, retiring],
 *                "ready": [v, v, v, v] } ] } */

static status damaged(void) {
  return status_make(STATUS_DATA_LOSS, "What the store says of its indexes cannot be read.");
}

static bool get_number(const json_t *json, int64_t least, int64_t most, int64_t *ret) {
  *ret = json_integer_value(json);
  return json_is_integer(json) && *ret >= least && *ret <= most;
}

static bool get_bits(const json_t *array, size_t at, unsigned *ret) {
  int64_t number;
  bool ok = get_number(json_array_get(array, at), 0, (1 << INDEX_HAS_COUNT) - 1, &number);
  *ret = (unsigned)number;
  return ok;
}

static status decode_composites(const json_t *array, const struct index_definitions *definitions,
                                struct arena *arena, struct index_ledger *ledger) {
  if (json_array_size(array) != definitions->composite_count)
    return damaged();
  ledger->composite_count = definitions->composite_count;
  ledger->composites = ARENA_NEW_ARRAY(arena, struct index_ledger_composite, ledger->composite_count);
  if (ledger->composites == NULL)
    return no_memory();
  for (size_t i = 0; i < ledger->composite_count; i++) {
    const json_t *one = json_array_get(array, i), *retiring = json_array_get(one, 2);
    struct index_ledger_composite *composite = &ledger->composites[i];
    int64_t number;
    composite->definition = definitions->composites[i];
    if (!get_number(json_array_get(one, 0), 0, ledger->last_number, &number) ||
        !get_number(json_array_get(one, 1), 0, INDEX_NOT_READY, &composite->ready) ||
        !json_is_boolean(retiring) || (number == 0) != (composite->definition.column_count == 0))
      return damaged();
    composite->number = (uint32_t)number;
    composite->retiring = json_is_true(retiring);
  }
  return status_ok();
}

static status copy_text(const json_t *json, struct arena *arena, str *ret) {
  if (!json_is_string(json))
    return damaged();
  *ret = arena_str_copy(arena, str_make(json_string_value(json), json_string_length(json)));
  return ret->ptr == NULL ? no_memory() : status_ok();
}

static status decode_rule(const json_t *json, struct arena *arena, struct index_ledger_rule *ret) {
  str field = {NULL, 0};
  STATUS_TRY(copy_text(json_object_get(json, "collection"), arena, &ret->collection_id));
  STATUS_TRY(copy_text(json_object_get(json, "field"), arena, &field));
  if (!str_eq(field, STR("*"))) {
    status parsed = doc_field_path_parse(field, arena, &ret->field);
    if (!status_is_ok(&parsed))
      return damaged();
  }
  const json_t *bits = json_object_get(json, "bits"), *ready = json_object_get(json, "ready");
  if (!get_bits(bits, 0, &ret->wanted) || !get_bits(bits, 1, &ret->blocked) ||
      !get_bits(bits, 2, &ret->retiring))
    return damaged();
  for (size_t i = 0; i < INDEX_HAS_COUNT; i++)
    if (!get_number(json_array_get(ready, i), 0, INDEX_NOT_READY, &ret->ready[i]))
      return damaged();
  return status_ok();
}

static status decode_rules(const json_t *array, struct arena *arena, struct index_ledger *ledger) {
  ledger->rule_count = json_array_size(array);
  ledger->rules = ARENA_NEW_ARRAY(arena, struct index_ledger_rule, ledger->rule_count);
  if (ledger->rules == NULL)
    return no_memory();
  for (size_t i = 0; i < ledger->rule_count; i++)
    STATUS_TRY(decode_rule(json_array_get(array, i), arena, &ledger->rules[i]));
  return status_ok();
}

static status decode_root(const json_t *root, struct arena *arena, struct index_ledger *ret) {
  int64_t format, generation, last_number;
  *ret = (struct index_ledger){0};
  if (!get_number(json_object_get(root, "format"), 1, INT64_MAX, &format))
    return damaged();
  if (format != INDEX_FORMAT)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "The indexes of this store have the format %lld, and this program knows %d only. Use "
                       "the program that wrote them.",
                       (long long)format, INDEX_FORMAT);
  if (!get_number(json_object_get(root, "generation"), 0, INT64_MAX, &generation) ||
      !get_number(json_object_get(root, "lastNumber"), 0, UINT32_MAX, &last_number) ||
      !get_number(json_object_get(root, "automaticReady"), 0, INDEX_NOT_READY, &ret->automatic_ready))
    return damaged();
  ret->generation = (uint64_t)generation;
  ret->last_number = (uint32_t)last_number;
  ret->sweep = json_is_true(json_object_get(root, "sweep"));
  str text = {NULL, 0};
  STATUS_TRY(copy_text(json_object_get(root, "definitions"), arena, &text));
  struct index_definitions definitions;
  status parsed = index_definitions_parse_stored(text, arena, &definitions);
  if (!status_is_ok(&parsed))
    return parsed.code == STATUS_RESOURCE_EXHAUSTED ? parsed : damaged();
  ret->overrides = definitions.overrides;
  ret->override_count = definitions.override_count;
  STATUS_TRY(decode_composites(json_object_get(root, "composites"), &definitions, arena, ret));
  return decode_rules(json_object_get(root, "rules"), arena, ret);
}

status index_ledger_decode(str text, struct arena *arena, struct index_ledger *ret) {
  json_t *root = json_loadb(text.ptr == NULL ? "" : text.ptr, text.len, JSON_ALLOW_NUL, NULL);
  if (root == NULL)
    return damaged();
  struct index_ledger ledger;
  status s = decode_root(root, arena, &ledger);
  json_decref(root);
  if (status_is_ok(&s))
    *ret = ledger;
  return s;
}

static json_t *text_json(str text) {
  return json_stringn(text.len == 0 ? "" : text.ptr, text.len);
}

static json_t *rule_json(const struct index_ledger_rule *rule, struct arena *scratch) {
  str field = rule->field.count == 0 ? STR("*") : doc_field_path_format(&rule->field, scratch);
  json_t *json =
      json_pack("{so, so, s[iii], s[IIII]}", "collection", text_json(rule->collection_id), "field",
                field.ptr == NULL ? NULL : text_json(field), "bits", (int)rule->wanted, (int)rule->blocked,
                (int)rule->retiring, "ready", (json_int_t)rule->ready[0], (json_int_t)rule->ready[1],
                (json_int_t)rule->ready[2], (json_int_t)rule->ready[3]);
  return json;
}

static int append_bytes(const char *bytes, size_t len, void *argument) {
  buf_append(argument, bytes, len);
  return 0;
}

static json_t *ledger_json(const struct index_ledger *ledger, str definitions, struct arena *scratch) {
  json_t *composites = json_array(), *rules = json_array();
  bool failed = false;
  for (size_t i = 0; i < ledger->composite_count; i++) {
    const struct index_ledger_composite *one = &ledger->composites[i];
    failed |= json_array_append_new(composites, json_pack("[IIb]", (json_int_t)one->number,
                                                          (json_int_t)one->ready, (int)one->retiring)) != 0;
  }
  for (size_t i = 0; i < ledger->rule_count; i++)
    failed |= json_array_append_new(rules, rule_json(&ledger->rules[i], scratch)) != 0;
  if (failed) {
    json_decref(composites);
    json_decref(rules);
    return NULL;
  }
  return json_pack("{si, sI, sI, sI, sb, so, so, so}", "format", INDEX_FORMAT, "generation",
                   (json_int_t)ledger->generation, "lastNumber", (json_int_t)ledger->last_number,
                   "automaticReady", (json_int_t)ledger->automatic_ready, "sweep", (int)ledger->sweep,
                   "definitions", text_json(definitions), "composites", composites, "rules", rules);
}

status index_ledger_encode(const struct index_ledger *ledger, struct buf *out) {
  struct arena scratch;
  arena_init(&scratch, NULL, 0, 16 * (size_t)LIMIT_INDEX_FILE_BYTES);
  struct index_composite_definition *composites =
      ARENA_NEW_ARRAY(&scratch, struct index_composite_definition, ledger->composite_count);
  struct index_definitions definitions = {composites, ledger->composite_count, ledger->overrides,
                                          ledger->override_count};
  struct buf text = {0};
  status s = composites == NULL ? no_memory() : status_ok();
  for (size_t i = 0; i < ledger->composite_count && composites != NULL; i++)
    composites[i] = ledger->composites[i].definition;
  if (status_is_ok(&s))
    s = index_definitions_format(&definitions, &text);
  json_t *root = status_is_ok(&s) ? ledger_json(ledger, buf_str(&text), &scratch) : NULL;
  if (status_is_ok(&s) &&
      (root == NULL || json_dump_callback(root, append_bytes, out, JSON_COMPACT) != 0 || out->failed))
    s = no_memory();
  json_decref(root);
  buf_fini(&text);
  arena_fini(&scratch);
  return s;
}
