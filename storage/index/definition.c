/* firestore.indexes.json, by jansson. Every function on the way down knows its place in the file, as a list
 * of names on the stack, and says it only when something is wrong there. */
#include "storage/index/definition.h"

#include <assert.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "storage/document/path.h"
#include "storage/index/ledger.h"

/* Where in the file: "indexes[3].fields[1].order". */
struct place {
  const struct place *up;
  const char *name;
  size_t index; /* of an element of the array, NO_INDEX: not an array */
};
#define NO_INDEX SIZE_MAX

/* Stored definitions hold the retiring ones too, and indented text may be several times the text as given. */
enum { STORED_FACTOR = 8 };

struct parser {
  struct arena *arena;
  size_t factor; /* of the limits of a file: more for what is stored */
};

static void put_place(struct buf *out, const struct place *at) {
  const struct place *down[8];
  size_t depth = 0;
  for (; at != NULL; at = at->up) {
    assert(depth < sizeof down / sizeof down[0]);
    down[depth++] = at;
  }
  for (size_t i = depth; i-- > 0;) {
    buf_printf(out, i + 1 == depth ? "%s" : ".%s", down[i]->name);
    if (down[i]->index != NO_INDEX)
      buf_printf(out, "[%zu]", down[i]->index);
  }
}

/* INVALID_ARGUMENT with the place. */
static status __attribute__((format(printf, 2, 3))) wrong(const struct place *at, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  struct buf out = {0};
  put_place(&out, at);
  status s = at == NULL ? status_make(STATUS_INVALID_ARGUMENT, "The file of indexes: %s", text)
                        : status_make(STATUS_INVALID_ARGUMENT, STR_FMT ": %s", STR_ARG(buf_str(&out)), text);
  buf_fini(&out);
  return s;
}

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "The index definitions need too much memory.");
}

#ifdef __clang_analyzer__ /* as in base/status.h: this tells it that a failure is one */
#define wrong(...) status_failed_((wrong)(__VA_ARGS__))
#endif

/* ---- Pieces of JSON ---- */

static status check_object(const json_t *json, const struct place *at, const char *const *known) {
  if (!json_is_object(json))
    return wrong(at, "it must be an object, {...}");
  for (void *i = json_object_iter((json_t *)(uintptr_t)json); i != NULL;
       i = json_object_iter_next((json_t *)(uintptr_t)json, i)) {
    const char *key = json_object_iter_key(i);
    const char *const *name = known;
    while (*name != NULL && strcmp(*name, key) != 0)
      name++;
    if (*name == NULL)
      return wrong(at, "\"%.64s\" is not known here", key);
  }
  return status_ok();
}

/* The elements of the array under `key`; a missing one is empty, *ret NULL. */
static status get_array(const json_t *object, const char *key, const struct place *at, size_t most,
                        const json_t **ret) {
  *ret = json_object_get(object, key);
  struct place here = {at, key, NO_INDEX};
  if (*ret != NULL && !json_is_array(*ret))
    return wrong(&here, "it must be an array, [...]");
  if (json_array_size(*ret) > most)
    return wrong(&here, "%zu of them are more than the %zu that are allowed", json_array_size(*ret), most);
  return status_ok();
}

/* The text under one of two keys, in the arena; {NULL, 0} if neither is there. */
static status get_text(struct parser *parser, const json_t *object, const char *key, const struct place *at,
                       str *ret) {
  const json_t *json = json_object_get(object, key);
  *ret = (str){NULL, 0};
  if (json == NULL)
    return status_ok();
  if (!json_is_string(json)) {
    struct place here = {at, key, NO_INDEX};
    return wrong(&here, "it must be a text, \"...\"");
  }
  *ret = arena_str_copy(parser->arena, str_make(json_string_value(json), json_string_length(json)));
  return ret->ptr == NULL ? no_memory() : status_ok();
}

static status get_bool(const json_t *object, const char *key, const struct place *at, bool *ret) {
  const json_t *json = json_object_get(object, key);
  struct place here = {at, key, NO_INDEX};
  if (json != NULL && !json_is_boolean(json))
    return wrong(&here, "it must be true or false");
  *ret = json_is_true(json);
  return status_ok();
}

/* What the Firebase command line writes beside what matters here. */
static status check_extras(struct parser *parser, const json_t *object, const struct place *at) {
  static const char *const texts[] = {"apiScope", "density"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    str ignored;
    STATUS_TRY(get_text(parser, object, texts[i], at, &ignored));
  }
  bool multikey = false, unique = false;
  STATUS_TRY(get_bool(object, "multikey", at, &multikey));
  STATUS_TRY(get_bool(object, "unique", at, &unique));
  struct place here = {at, "unique", NO_INDEX};
  return unique ? wrong(&here, "unique indexes do not exist here: no write would be refused for it")
                : status_ok();
}

static status get_scope(struct parser *parser, const json_t *object, const struct place *at,
                        bool *ret_group) {
  str scope;
  STATUS_TRY(get_text(parser, object, "queryScope", at, &scope));
  *ret_group = str_eq(scope, STR("COLLECTION_GROUP"));
  struct place here = {at, "queryScope", NO_INDEX};
  if (scope.ptr != NULL && !*ret_group && !str_eq(scope, STR("COLLECTION")))
    return wrong(&here, "it must be COLLECTION or COLLECTION_GROUP");
  return status_ok();
}

static status get_collection(struct parser *parser, const json_t *object, const struct place *at, str *ret) {
  const char *key =
      json_object_get(object, "collectionGroup") == NULL && json_object_get(object, "collectionId") != NULL
          ? "collectionId"
          : "collectionGroup";
  struct place here = {at, key, NO_INDEX};
  STATUS_TRY(get_text(parser, object, key, at, ret));
  if (ret->ptr == NULL)
    return wrong(&here, "it is missing");
  status s = doc_collection_id_check(*ret);
  return status_is_ok(&s) ? s : wrong(&here, "%s", s.message);
}

static status get_field(struct parser *parser, const json_t *object, const struct place *at, str *ret_text,
                        struct doc_field_path *ret) {
  struct place here = {at, "fieldPath", NO_INDEX};
  STATUS_TRY(get_text(parser, object, "fieldPath", at, ret_text));
  if (ret_text->ptr == NULL)
    return wrong(&here, "it is missing");
  *ret = (struct doc_field_path){0};
  if (str_eq(*ret_text, STR("*")) || doc_field_path_is_name(*ret_text))
    return status_ok(); /* the caller knows whether it may stand here */
  status s = doc_field_path_parse(*ret_text, parser->arena, ret);
  return status_is_ok(&s) || s.code == STATUS_RESOURCE_EXHAUSTED ? s : wrong(&here, "%s", s.message);
}

/* How a field is indexed: "order", "arrayConfig", or the "mode" of older files. */
static status get_mode(struct parser *parser, const json_t *object, const struct place *at,
                       enum doc_order *ret_order, bool *ret_elements) {
  str order, array, mode;
  STATUS_TRY(get_text(parser, object, "order", at, &order));
  STATUS_TRY(get_text(parser, object, "arrayConfig", at, &array));
  STATUS_TRY(get_text(parser, object, "mode", at, &mode));
  if ((order.ptr != NULL) + (array.ptr != NULL) + (mode.ptr != NULL) != 1)
    return wrong(at, "it needs either \"order\" or \"arrayConfig\"");
  struct place here = {at,
                       order.ptr != NULL   ? "order"
                       : array.ptr != NULL ? "arrayConfig"
                                           : "mode",
                       NO_INDEX};
  str text = order.ptr != NULL ? order : array.ptr != NULL ? array : mode;
  *ret_order = DOC_ASCENDING;
  *ret_elements = str_eq(array, STR("CONTAINS")) || str_eq(mode, STR("ARRAY_CONTAINS"));
  if (*ret_elements)
    return status_ok();
  if (array.ptr != NULL)
    return wrong(&here, "it must be CONTAINS");
  if (str_eq(text, STR("DESCENDING")))
    *ret_order = DOC_DESCENDING;
  else if (!str_eq(text, STR("ASCENDING")))
    return wrong(&here, "it must be ASCENDING or DESCENDING");
  return status_ok();
}

/* ---- Composite indexes ---- */

static status parse_vector(struct parser *parser, const json_t *config, const struct place *at,
                           const struct doc_field_path *field, struct index_composite_definition *index) {
  static const char *const known[] = {"dimension", "flat", NULL}, *const nothing[] = {NULL};
  struct place here = {at, "vectorConfig", NO_INDEX};
  STATUS_TRY(check_object(config, &here, known));
  struct place flat = {&here, "flat", NO_INDEX};
  if (json_object_get(config, "flat") != NULL)
    STATUS_TRY(check_object(json_object_get(config, "flat"), &flat, nothing));
  struct place dimension = {&here, "dimension", NO_INDEX};
  const json_t *number = json_object_get(config, "dimension");
  json_int_t value = json_integer_value(number);
  if (!json_is_integer(number) || value < 1 || value > LIMIT_VECTOR_DIMENSIONS)
    return wrong(&dimension, "it must be a number between 1 and %d", LIMIT_VECTOR_DIMENSIONS);
  if (index->vector != NULL)
    return wrong(at, "an index has one vector field");
  struct doc_field_path *vector = ARENA_NEW(parser->arena, struct doc_field_path);
  if (vector == NULL)
    return no_memory();
  *vector = *field;
  index->vector = vector;
  index->vector_dimension = (uint32_t)value;
  return status_ok();
}

/* An index whose columns are being read. */
struct columns {
  struct index_column *items;
  size_t count;
  bool has_name, has_elements;
};

static status parse_column(struct parser *parser, const json_t *json, const struct place *at,
                           struct columns *columns, struct index_composite_definition *index) {
  static const char *const known[] = {"fieldPath", "order", "arrayConfig", "mode", "vectorConfig", NULL};
  str text;
  struct index_column column = {0};
  STATUS_TRY(check_object(json, at, known));
  STATUS_TRY(get_field(parser, json, at, &text, &column.field));
  const json_t *vector = json_object_get(json, "vectorConfig");
  if (vector != NULL && column.field.count == 0)
    return wrong(at, "\"vectorConfig\" needs a field of the document");
  if (vector != NULL)
    return parse_vector(parser, vector, at, &column.field, index);
  STATUS_TRY(get_mode(parser, json, at, &column.order, &column.elements));
  if (str_eq(text, STR("*")))
    return wrong(at, "\"*\" is for fieldOverrides only");
  if (columns->has_name)
    return wrong(at, "nothing but a vector may come after __name__");
  if (column.field.count == 0) {
    if (column.elements)
      return wrong(at, "__name__ is not an array");
    columns->has_name = true;
    index->name_order = column.order;
    return status_ok();
  }
  if (column.elements && columns->has_elements)
    return wrong(at, "an index has one array field (arrayConfig)");
  columns->has_elements |= column.elements;
  for (size_t i = 0; i < columns->count; i++)
    if (doc_field_path_compare(&columns->items[i].field, &column.field) == 0)
      return wrong(at, "the field \"%.*s\" is there already", STR_ARG(text));
  columns->items[columns->count++] = column;
  return status_ok();
}

static status parse_index(struct parser *parser, const json_t *json, const struct place *at,
                          struct index_composite_definition *ret) {
  static const char *const known[] = {"collectionGroup", "collectionId", "queryScope", "fields", "apiScope",
                                      "density",         "multikey",     "unique",     NULL};
  *ret = (struct index_composite_definition){0};
  STATUS_TRY(check_object(json, at, known));
  STATUS_TRY(check_extras(parser, json, at));
  STATUS_TRY(get_collection(parser, json, at, &ret->collection_id));
  STATUS_TRY(get_scope(parser, json, at, &ret->group));
  const json_t *fields;
  STATUS_TRY(get_array(json, "fields", at, LIMIT_INDEX_COLUMNS, &fields));
  size_t count = json_array_size(fields);
  if (count == 0)
    return wrong(at, "it has no \"fields\"");
  struct columns columns = {.items = ARENA_NEW_ARRAY(parser->arena, struct index_column, count)};
  if (columns.items == NULL)
    return no_memory();
  for (size_t i = 0; i < count; i++) {
    struct place here = {at, "fields", i};
    STATUS_TRY(parse_column(parser, json_array_get(fields, i), &here, &columns, ret));
  }
  if (!columns.has_name && columns.count > 0)
    ret->name_order = columns.items[columns.count - 1].order;
  ret->columns = columns.items;
  ret->column_count = columns.count;
  return status_ok();
}

bool index_composite_definition_equal(const struct index_composite_definition *a,
                                      const struct index_composite_definition *b) {
  if (!str_eq(a->collection_id, b->collection_id) || a->group != b->group ||
      a->column_count != b->column_count || a->name_order != b->name_order ||
      (a->vector == NULL) != (b->vector == NULL))
    return false;
  for (size_t i = 0; i < a->column_count; i++)
    if (a->columns[i].order != b->columns[i].order || a->columns[i].elements != b->columns[i].elements ||
        doc_field_path_compare(&a->columns[i].field, &b->columns[i].field) != 0)
      return false;
  return a->vector == NULL || doc_field_path_compare(a->vector, b->vector) == 0;
}

static status parse_indexes(struct parser *parser, const json_t *root, struct index_definitions *ret) {
  const json_t *array;
  STATUS_TRY(get_array(root, "indexes", NULL, parser->factor * LIMIT_COMPOSITE_INDEXES, &array));
  size_t count = json_array_size(array);
  struct index_composite_definition *indexes =
      ARENA_NEW_ARRAY(parser->arena, struct index_composite_definition, count);
  if (indexes == NULL)
    return no_memory();
  ret->composites = indexes;
  for (size_t i = 0; i < count; i++) {
    struct place here = {NULL, "indexes", i};
    struct index_composite_definition *index = &indexes[ret->composite_count];
    STATUS_TRY(parse_index(parser, json_array_get(array, i), &here, index));
    bool is_new = true; /* the same twice is once */
    for (size_t k = 0; k < ret->composite_count && is_new; k++)
      is_new = !index_composite_definition_equal(&indexes[k], index);
    ret->composite_count += is_new;
  }
  return status_ok();
}

/* ---- Overrides of single fields ---- */

static status parse_override_index(struct parser *parser, const json_t *json, const struct place *at,
                                   unsigned *has) {
  static const char *const known[] = {"queryScope", "order",    "arrayConfig", "mode", "apiScope",
                                      "density",    "multikey", "unique",      NULL};
  bool group = false, elements = false;
  enum doc_order order;
  STATUS_TRY(check_object(json, at, known));
  STATUS_TRY(check_extras(parser, json, at));
  STATUS_TRY(get_scope(parser, json, at, &group));
  STATUS_TRY(get_mode(parser, json, at, &order, &elements));
  if (group)
    *has |= elements ? INDEX_HAS_GROUP_ELEMENTS : INDEX_HAS_GROUP_VALUES;
  else
    *has |= elements ? INDEX_HAS_ELEMENTS : INDEX_HAS_VALUES;
  return status_ok();
}

static status parse_override(struct parser *parser, const json_t *json, const struct place *at,
                             struct index_override *ret) {
  static const char *const known[] = {"collectionGroup", "collectionId", "fieldPath", "ttl", "indexes", NULL};
  str text;
  *ret = (struct index_override){0};
  STATUS_TRY(check_object(json, at, known));
  STATUS_TRY(get_collection(parser, json, at, &ret->collection_id));
  STATUS_TRY(get_field(parser, json, at, &text, &ret->field));
  STATUS_TRY(get_bool(json, "ttl", at, &ret->ttl));
  bool any = str_eq(text, STR("*"));
  if (ret->field.count == 0 && !any)
    return wrong(at, "__name__ is always indexed");
  if (any && ret->ttl)
    return wrong(at, "a TTL policy needs one field, not \"*\"");
  const json_t *indexes;
  STATUS_TRY(get_array(json, "indexes", at, LIMIT_INDEX_COLUMNS, &indexes));
  ret->inherits = indexes == NULL;
  if (ret->inherits && !ret->ttl)
    return wrong(at, "it has neither \"indexes\" (empty: not indexed) nor \"ttl\": true");
  for (size_t i = 0; i < json_array_size(indexes); i++) {
    struct place here = {at, "indexes", i};
    STATUS_TRY(parse_override_index(parser, json_array_get(indexes, i), &here, &ret->has));
  }
  return status_ok();
}

static status parse_overrides(struct parser *parser, const json_t *root, struct index_definitions *ret) {
  const json_t *array;
  STATUS_TRY(get_array(root, "fieldOverrides", NULL, LIMIT_INDEX_OVERRIDES, &array));
  size_t count = json_array_size(array);
  struct index_override *overrides = ARENA_NEW_ARRAY(parser->arena, struct index_override, count);
  if (overrides == NULL)
    return no_memory();
  for (size_t i = 0; i < count; i++) {
    struct place here = {NULL, "fieldOverrides", i};
    struct index_override *one = &overrides[i];
    STATUS_TRY(parse_override(parser, json_array_get(array, i), &here, one));
    for (size_t k = 0; k < i; k++) {
      if (!str_eq(overrides[k].collection_id, one->collection_id))
        continue;
      if (doc_field_path_compare(&overrides[k].field, &one->field) == 0)
        return wrong(&here, "the same field as in fieldOverrides[%zu]", k);
      if (overrides[k].ttl && one->ttl)
        return wrong(&here, "a collection group has one TTL field, and fieldOverrides[%zu] is it", k);
    }
  }
  ret->overrides = overrides;
  ret->override_count = count;
  return status_ok();
}

static status parse(str json, size_t factor, struct arena *arena, struct index_definitions *ret) {
  static const char *const known[] = {"indexes", "fieldOverrides", NULL};
  if (json.len > factor * LIMIT_INDEX_FILE_BYTES)
    return wrong(NULL, "it is larger than %d bytes", LIMIT_INDEX_FILE_BYTES);
  json_error_t error;
  json_t *root =
      json_loadb(json.ptr == NULL ? "" : json.ptr, json.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  if (root == NULL)
    return wrong(NULL, "line %d: %s", error.line, error.text);
  struct parser parser = {arena, factor};
  struct index_definitions definitions = {0};
  status s = check_object(root, NULL, known);
  if (status_is_ok(&s))
    s = parse_indexes(&parser, root, &definitions);
  if (status_is_ok(&s))
    s = parse_overrides(&parser, root, &definitions);
  json_decref(root);
  if (status_is_ok(&s))
    *ret = definitions;
  return s;
}

status index_definitions_parse(str json, struct arena *arena, struct index_definitions *ret) {
  return parse(json, 1, arena, ret);
}
status index_definitions_parse_stored(str json, struct arena *arena, struct index_definitions *ret) {
  return parse(json, STORED_FACTOR, arena, ret);
}

/* ---- Back to text ---- */

/* Builders never fail half-way: json_..._new of NULL gives an error that is seen once at the end. */
struct writer {
  struct arena scratch;
  bool failed;
};

static void set(struct writer *writer, json_t *object, const char *key, json_t *value) {
  writer->failed |= json_object_set_new(object, key, value) != 0;
}

static void set_text(struct writer *writer, json_t *object, const char *key, str text) {
  set(writer, object, key, json_stringn(text.len == 0 ? "" : text.ptr, text.len));
}

static void set_field(struct writer *writer, json_t *object, const struct doc_field_path *field) {
  str text = field->count == 0 ? STR("*") : doc_field_path_format(field, &writer->scratch);
  set_text(writer, object, "fieldPath", text);
  writer->failed |= text.ptr == NULL;
}

static void set_order(struct writer *writer, json_t *object, enum doc_order order) {
  set_text(writer, object, "order", order == DOC_ASCENDING ? STR("ASCENDING") : STR("DESCENDING"));
}

static json_t *append_object(struct writer *writer, json_t *array) {
  json_t *object = json_object();
  writer->failed |= json_array_append_new(array, object) != 0;
  return object;
}

static void format_composite(struct writer *writer, const struct index_composite_definition *index,
                             json_t *array) {
  json_t *object = append_object(writer, array), *fields = json_array();
  set_text(writer, object, "collectionGroup", index->collection_id);
  set_text(writer, object, "queryScope", index->group ? STR("COLLECTION_GROUP") : STR("COLLECTION"));
  for (size_t i = 0; i < index->column_count; i++) {
    json_t *field = append_object(writer, fields);
    set_field(writer, field, &index->columns[i].field);
    if (index->columns[i].elements)
      set_text(writer, field, "arrayConfig", STR("CONTAINS"));
    else
      set_order(writer, field, index->columns[i].order);
  }
  enum doc_order usual =
      index->column_count == 0 ? DOC_ASCENDING : index->columns[index->column_count - 1].order;
  if (index->name_order != usual || (index->column_count == 0 && index->vector == NULL)) {
    json_t *field = append_object(writer, fields);
    set_text(writer, field, "fieldPath", STR("__name__"));
    set_order(writer, field, index->name_order);
  }
  if (index->vector != NULL) {
    json_t *field = append_object(writer, fields), *config = json_object();
    set_field(writer, field, index->vector);
    set(writer, config, "dimension", json_integer(index->vector_dimension));
    set(writer, config, "flat", json_object());
    set(writer, field, "vectorConfig", config);
  }
  set(writer, object, "fields", fields);
}

static void format_override(struct writer *writer, const struct index_override *override, json_t *array) {
  static const struct {
    unsigned bit;
    const char *scope, *key, *value;
  } ways[] = {
      {INDEX_HAS_VALUES, "COLLECTION", "order", "ASCENDING"},
      {INDEX_HAS_VALUES, "COLLECTION", "order", "DESCENDING"},
      {INDEX_HAS_ELEMENTS, "COLLECTION", "arrayConfig", "CONTAINS"},
      {INDEX_HAS_GROUP_VALUES, "COLLECTION_GROUP", "order", "ASCENDING"},
      {INDEX_HAS_GROUP_VALUES, "COLLECTION_GROUP", "order", "DESCENDING"},
      {INDEX_HAS_GROUP_ELEMENTS, "COLLECTION_GROUP", "arrayConfig", "CONTAINS"},
  };
  json_t *object = append_object(writer, array);
  set_text(writer, object, "collectionGroup", override->collection_id);
  set_field(writer, object, &override->field);
  if (override->ttl)
    set(writer, object, "ttl", json_true());
  if (override->inherits)
    return;
  json_t *indexes = json_array();
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
    if ((override->has & ways[i].bit) == 0)
      continue;
    json_t *index = append_object(writer, indexes);
    set_text(writer, index, "queryScope", str_from_cstr(ways[i].scope));
    set_text(writer, index, ways[i].key, str_from_cstr(ways[i].value));
  }
  set(writer, object, "indexes", indexes);
}

static int append_bytes(const char *bytes, size_t len, void *argument) {
  buf_append(argument, bytes, len);
  return 0;
}

status index_definitions_format(const struct index_definitions *definitions, struct buf *out) {
  struct writer writer = {0};
  arena_init(&writer.scratch, NULL, 0, STORED_FACTOR * (size_t)LIMIT_INDEX_FILE_BYTES);
  json_t *root = json_object(), *indexes = json_array(), *overrides = json_array();
  for (size_t i = 0; i < definitions->composite_count; i++)
    format_composite(&writer, &definitions->composites[i], indexes);
  for (size_t i = 0; i < definitions->override_count; i++)
    format_override(&writer, &definitions->overrides[i], overrides);
  set(&writer, root, "indexes", indexes);
  set(&writer, root, "fieldOverrides", overrides);
  if (!writer.failed)
    writer.failed = json_dump_callback(root, append_bytes, out, JSON_INDENT(2)) != 0;
  buf_append_byte(out, '\n');
  json_decref(root);
  arena_fini(&writer.scratch);
  return writer.failed || out->failed ? no_memory() : status_ok();
}
