#include "server/json/schema.h"

#include <assert.h>
#include <stdlib.h>

#include "google/protobuf/descriptor.pb-c.h"

typedef Google__Protobuf__FileDescriptorProto file_proto;
typedef Google__Protobuf__DescriptorProto message_proto;
typedef Google__Protobuf__EnumDescriptorProto enum_proto;
typedef Google__Protobuf__FieldDescriptorProto field_proto;

enum { ARENA_BYTES_MAX = 16 << 20, NAME_BYTES_MAX = 512, NESTING_MAX = 64 };

/* Sorted by name once all files are read. */
struct schema {
  struct arena arena;
  const struct rpc_file **files;
  size_t file_count, file_capacity;
  struct schema_message **messages;
  size_t message_count, message_capacity;
  struct schema_enum **enums;
  size_t enum_count, enum_capacity;
  status failure;
};

static void fail(struct schema *schema, status why) {
  if (status_is_ok(&schema->failure))
    schema->failure = why;
}

static void *allocate(struct schema *schema, size_t count, size_t size) {
  void *memory = arena_calloc(&schema->arena, count, size);
  if (memory == NULL)
    fail(schema, status_default(STATUS_RESOURCE_EXHAUSTED));
  return memory;
}

static str copy(struct schema *schema, str text) {
  str copied = arena_str_copy(&schema->arena, text);
  if (copied.ptr == NULL)
    fail(schema, status_default(STATUS_RESOURCE_EXHAUSTED));
  return copied;
}

/* Room for one more pointer. NULL: no memory. */
static void *grow(struct schema *schema, void *array, size_t count, size_t *capacity) {
  if (count < *capacity)
    return array;
  size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
  void **grown = allocate(schema, wanted, sizeof(void *));
  if (grown == NULL)
    return NULL;
  if (count > 0)
    memcpy(grown, array, count * sizeof(void *));
  *capacity = wanted;
  return grown;
}

/* "scope.name"; `scope` may be empty. */
static str joined(struct schema *schema, str scope, const char *name) {
  char text[NAME_BYTES_MAX];
  size_t len = strlen(name);
  if (scope.len + 1 + len >= sizeof text) {
    fail(schema, status_make(STATUS_FAILED_PRECONDITION, "The name of %s is too long.", name));
    return STR("");
  }
  size_t at = 0;
  if (scope.len > 0) {
    memcpy(text, scope.ptr, scope.len);
    text[scope.len] = '.';
    at = scope.len + 1;
  }
  memcpy(text + at, name, len);
  return copy(schema, str_make(text, at + len));
}

/* ---- Names: all of them first, because types refer to each other ---- */

static void add_enum(struct schema *schema, str scope, const enum_proto *from) {
  void *grown = grow(schema, schema->enums, schema->enum_count, &schema->enum_capacity);
  struct schema_enum *to = allocate(schema, 1, sizeof *to);
  str *names = allocate(schema, from->n_value, sizeof *names);
  int32_t *numbers = allocate(schema, from->n_value, sizeof *numbers);
  if (grown == NULL || to == NULL || names == NULL || numbers == NULL)
    return;
  for (size_t i = 0; i < from->n_value; i++) {
    names[i] = copy(schema, str_from_cstr(from->value[i]->name));
    numbers[i] = from->value[i]->number;
  }
  *to = (struct schema_enum){
      .name = joined(schema, scope, from->name), .names = names, .numbers = numbers, .count = from->n_value};
  to->is_null = str_eq(to->name, STR("google.protobuf.NullValue"));
  schema->enums = grown;
  schema->enums[schema->enum_count++] = to;
}

static enum schema_kind kind_of(str name) {
  static const struct {
    const char *name;
    enum schema_kind kind;
  } kinds[] = {
      {"google.protobuf.Any", SCHEMA_ANY},
      {"google.protobuf.Duration", SCHEMA_DURATION},
      {"google.protobuf.FieldMask", SCHEMA_FIELD_MASK},
      {"google.protobuf.ListValue", SCHEMA_LIST_VALUE},
      {"google.protobuf.Struct", SCHEMA_STRUCT},
      {"google.protobuf.Timestamp", SCHEMA_TIMESTAMP},
      {"google.protobuf.Value", SCHEMA_VALUE},
      {"google.protobuf.DoubleValue", SCHEMA_WRAPPER},
      {"google.protobuf.FloatValue", SCHEMA_WRAPPER},
      {"google.protobuf.Int64Value", SCHEMA_WRAPPER},
      {"google.protobuf.UInt64Value", SCHEMA_WRAPPER},
      {"google.protobuf.Int32Value", SCHEMA_WRAPPER},
      {"google.protobuf.UInt32Value", SCHEMA_WRAPPER},
      {"google.protobuf.BoolValue", SCHEMA_WRAPPER},
      {"google.protobuf.StringValue", SCHEMA_WRAPPER},
      {"google.protobuf.BytesValue", SCHEMA_WRAPPER},
  };
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (str_eq(str_from_cstr(kinds[i].name), name))
      return kinds[i].kind;
  return SCHEMA_PLAIN;
}

static void add_message(struct schema *schema, str scope, const message_proto *from, unsigned depth) {
  void *grown = grow(schema, schema->messages, schema->message_count, &schema->message_capacity);
  struct schema_message *to = allocate(schema, 1, sizeof *to);
  if (grown == NULL || to == NULL)
    return;
  to->name = joined(schema, scope, from->name);
  to->kind = kind_of(to->name);
  to->is_map_entry = from->options != NULL && from->options->map_entry;
  schema->messages = grown;
  schema->messages[schema->message_count++] = to;
  for (size_t i = 0; i < from->n_enum_type; i++)
    add_enum(schema, to->name, from->enum_type[i]);
  for (size_t i = 0; i < from->n_nested_type && depth < NESTING_MAX; i++)
    add_message(schema, to->name, from->nested_type[i], depth + 1);
}

/* The file and what it imports, each once, imports first. */
static void add_file(struct schema *schema, const struct rpc_file *file, unsigned depth) {
  for (size_t i = 0; i < schema->file_count; i++)
    if (schema->files[i] == file)
      return;
  for (size_t i = 0; i < file->dependency_count && depth < NESTING_MAX; i++)
    add_file(schema, file->dependencies[i], depth + 1);
  void *grown = grow(schema, schema->files, schema->file_count, &schema->file_capacity);
  if (grown == NULL)
    return;
  schema->files = grown;
  schema->files[schema->file_count++] = file;
}

/* ---- Lookup ---- */

static int compare_messages(const void *a, const void *b) {
  return str_cmp((*(struct schema_message *const *)a)->name, (*(struct schema_message *const *)b)->name);
}

static int compare_enums(const void *a, const void *b) {
  return str_cmp((*(struct schema_enum *const *)a)->name, (*(struct schema_enum *const *)b)->name);
}

static struct schema_message *find_message(const struct schema *schema, str name) {
  const struct schema_message wanted = {.name = name};
  const struct schema_message *key = &wanted;
  struct schema_message **found = schema->message_count == 0
                                      ? NULL
                                      : bsearch(&key, schema->messages, schema->message_count,
                                                sizeof *schema->messages, compare_messages);
  return found == NULL ? NULL : *found;
}

const struct schema_message *schema_find(const struct schema *schema, str name) {
  return find_message(schema, name);
}

static const struct schema_enum *find_enum(const struct schema *schema, str name) {
  const struct schema_enum wanted = {.name = name};
  const struct schema_enum *key = &wanted;
  struct schema_enum **found = schema->enum_count == 0 ? NULL
                                                       : bsearch(&key, schema->enums, schema->enum_count,
                                                                 sizeof *schema->enums, compare_enums);
  return found == NULL ? NULL : *found;
}

const struct schema_field *schema_field_named(const struct schema_message *message, str name) {
  for (size_t i = 0; i < message->field_count; i++)
    if (str_eq(message->fields[i].json_name, name) || str_eq(message->fields[i].name, name))
      return &message->fields[i];
  return NULL;
}

const struct schema_field *schema_field_numbered(const struct schema_message *message, uint64_t number) {
  size_t low = 0, high = message->field_count;
  if (number - 1 < high && message->fields[number - 1].number == number)
    return &message->fields[number - 1]; /* most messages have 1, 2, 3... */
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (message->fields[middle].number == number)
      return &message->fields[middle];
    if (message->fields[middle].number < number)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

/* ---- Fields ---- */

static int compare_fields(const void *a, const void *b) {
  uint32_t left = ((const struct schema_field *)a)->number, right = ((const struct schema_field *)b)->number;
  return (left > right) - (left < right);
}

static str type_name(const field_proto *from) {
  str name = str_from_cstr(from->type_name);
  return str_has_prefix(name, STR(".")) ? str_from(name, 1) : name;
}

static void fill_field(struct schema *schema, const field_proto *from, struct schema_field *to) {
  *to = (struct schema_field){
      .name = copy(schema, str_from_cstr(from->name)),
      .json_name = copy(schema, str_from_cstr(from->json_name != NULL ? from->json_name : from->name)),
      .number = (uint32_t)from->number,
      .type = (enum schema_type)from->type,
      .is_repeated = from->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED,
      .oneof = from->has_oneof_index ? from->oneof_index : -1};
  if (to->type == SCHEMA_MESSAGE) {
    to->message = find_message(schema, type_name(from));
    to->is_map = to->message != NULL && to->message->is_map_entry;
  } else if (to->type == SCHEMA_ENUM) {
    to->enumeration = find_enum(schema, type_name(from));
  }
  bool is_known = (to->type != SCHEMA_MESSAGE || to->message != NULL) &&
                  (to->type != SCHEMA_ENUM || to->enumeration != NULL) && to->type != SCHEMA_GROUP;
  if (!is_known)
    fail(schema, status_make(STATUS_FAILED_PRECONDITION, "The field %s has a type that JSON cannot map.",
                             from->name));
}

static void fill_message(struct schema *schema, str scope, const message_proto *from, unsigned depth) {
  str name = joined(schema, scope, from->name);
  struct schema_message *to = find_message(schema, name);
  if (to == NULL)
    return; /* a failure before */
  if (from->n_field > SCHEMA_FIELDS_MAX) {
    fail(schema, status_make(STATUS_FAILED_PRECONDITION, "%s has more than %d fields.", from->name,
                             SCHEMA_FIELDS_MAX));
    return;
  }
  struct schema_field *fields = allocate(schema, from->n_field, sizeof *fields);
  if (fields == NULL)
    return;
  size_t count = 0;
  for (size_t i = 0; i < from->n_field; i++)
    if (from->field[i]->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_GROUP)
      fill_field(schema, from->field[i], &fields[count++]);
  qsort(fields, count, sizeof *fields, compare_fields);
  to->fields = fields;
  to->field_count = count;
  for (size_t i = 0; i < from->n_nested_type && depth < NESTING_MAX; i++)
    fill_message(schema, to->name, from->nested_type[i], depth + 1);
}

/* ---- Building ---- */

static void read_files(struct schema *schema, file_proto **protos) {
  const size_t count = schema->file_count;
  for (size_t i = 0; i < count; i++) {
    str bytes = schema->files[i]->descriptor;
    protos[i] = google__protobuf__file_descriptor_proto__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    if (protos[i] == NULL) {
      fail(schema, status_default(STATUS_RESOURCE_EXHAUSTED));
      return;
    }
  }
  for (size_t i = 0; i < count && protos[i] != NULL; i++) {
    str package = str_from_cstr(protos[i]->package);
    for (size_t k = 0; k < protos[i]->n_message_type; k++)
      add_message(schema, package, protos[i]->message_type[k], 0);
    for (size_t k = 0; k < protos[i]->n_enum_type; k++)
      add_enum(schema, package, protos[i]->enum_type[k]);
  }
  if (schema->message_count > 0)
    qsort(schema->messages, schema->message_count, sizeof *schema->messages, compare_messages);
  if (schema->enum_count > 0)
    qsort(schema->enums, schema->enum_count, sizeof *schema->enums, compare_enums);
  for (size_t i = 0; i < count && protos[i] != NULL; i++)
    for (size_t k = 0; k < protos[i]->n_message_type; k++)
      fill_message(schema, str_from_cstr(protos[i]->package), protos[i]->message_type[k], 0);
}

status schema_new(const struct rpc_file *const *files, size_t count, struct schema **ret) {
  struct schema *schema = calloc(1, sizeof *schema);
  if (schema == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  schema->failure = status_ok();
  arena_init(&schema->arena, NULL, 0, ARENA_BYTES_MAX);
  for (size_t i = 0; i < count; i++)
    add_file(schema, files[i], 0);
  file_proto **protos = calloc(schema->file_count + 1, sizeof(file_proto *));
  if (protos == NULL)
    fail(schema, status_default(STATUS_RESOURCE_EXHAUSTED));
  else
    read_files(schema, protos);
  for (size_t i = 0; protos != NULL && i < schema->file_count; i++)
    google__protobuf__file_descriptor_proto__free_unpacked(protos[i], NULL);
  free(protos);
  status result = schema->failure;
  if (status_is_ok(&result))
    *ret = schema;
  else
    schema_free(schema);
  return result;
}

void schema_free(struct schema *schema) {
  if (schema == NULL)
    return;
  arena_fini(&schema->arena);
  free(schema);
}
