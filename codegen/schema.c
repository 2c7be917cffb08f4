#include "codegen/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "codegen/names.h"
#include "codegen/wire_read.h"

/* Field numbers in descriptor.proto and plugin.proto. */
enum {
  REQUEST_PROTO_FILE = 15,
  FILE_SOURCE_CODE_INFO = 9,
  FILE_OPTIONS_PBC = 1019, /* protobuf-c.proto: pb_c_file */
  PBC_FILE_PACKAGE = 6,    /* its c_package */
};

struct symbol {
  const char *name;
  const char *what;
  struct schema_place place;
  UT_hash_handle hh;
};

void *schema_alloc(struct schema *schema, size_t count, size_t size) {
  void *memory = arena_calloc(schema->arena, count, size);
  if (memory == NULL) {
    fputs("protoc-gen-skerry: out of memory\n", stderr);
    exit(1);
  }
  return memory;
}

static void *allocate(void *schema, size_t size) {
  return schema_alloc(schema, 1, size);
}

static void keep(void *schema, void *memory) {
  (void)schema;
  (void)memory;
}

ProtobufCAllocator schema_allocator(struct schema *schema) {
  return (ProtobufCAllocator){.alloc = allocate, .free = keep, .allocator_data = schema};
}

/* ---- Errors ---- */

struct schema_place schema_place(const struct schema_file *file) {
  return (struct schema_place){.file = file};
}

struct schema_place schema_place_in(struct schema_place place, int32_t field, size_t index) {
  if (place.length + 2 <= sizeof(place.path) / sizeof(place.path[0])) {
    place.path[place.length++] = field;
    place.path[place.length++] = (int32_t)index;
  }
  return place;
}

const proto_location *schema_location(const struct schema_place *place) {
  const Google__Protobuf__SourceCodeInfo *info = place->file->proto->source_code_info;
  for (size_t i = 0; info != NULL && place->length > 0 && i < info->n_location; i++) {
    const proto_location *location = info->location[i];
    if (location->n_path == place->length &&
        memcmp(location->path, place->path, place->length * sizeof(place->path[0])) == 0)
      return location;
  }
  return NULL;
}

/* "file.proto:12" */
static const char *place_text(struct schema *schema, const struct schema_place *place) {
  const proto_location *location = schema_location(place);
  if (location == NULL || location->n_span == 0)
    return place->file->proto->name;
  return name_printf(schema->arena, "%s:%d", place->file->proto->name, location->span[0] + 1);
}

void schema_error(struct schema *schema, const struct schema_place *place, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  if (schema->errors.len > 0)
    buf_append_byte(&schema->errors, '\n');
  if (place != NULL)
    buf_printf(&schema->errors, "%s: ", place_text(schema, place));
  buf_printf(&schema->errors, "%s", text);
}

static void release_symbols(void *argument) {
  struct schema *schema = argument;
  HASH_CLEAR(hh, schema->symbols); /* the table; the symbols are the arena's */
}

void schema_claim(struct schema *schema, const struct schema_place *place, const char *name,
                  const char *what) {
  struct symbol *other;
  HASH_FIND_STR(schema->symbols, name, other);
  if (other != NULL) {
    schema_error(schema, place, "%s and %s (%s) would both define %s in C: rename one of them", what,
                 other->what, place_text(schema, &other->place), name);
    return;
  }
  struct symbol *symbol = schema_alloc(schema, 1, sizeof(*symbol));
  symbol->name = name_copy(schema->arena, str_from_cstr(name));
  symbol->what = what;
  symbol->place = *place;
  HASH_ADD_KEYPTR(hh, schema->symbols, symbol->name, strlen(symbol->name), symbol);
}

/* ---- Types ---- */

static size_t count_types(proto_message *const *messages, size_t count) {
  size_t total = count;
  for (size_t i = 0; i < count; i++)
    total += count_types(messages[i]->nested_type, messages[i]->n_nested_type);
  return total;
}

static void add_types(struct schema *schema, const struct schema_file *file, const char *scope,
                      proto_message *const *messages, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const char *separator = scope[0] == '\0' ? "" : ".";
    const char *name = name_printf(schema->arena, "%s%s%s", scope, separator, messages[i]->name);
    schema->types[schema->type_count++] = (struct schema_type){name, file};
    add_types(schema, file, name, messages[i]->nested_type, messages[i]->n_nested_type);
  }
}

static int compare_types(const void *a, const void *b) {
  const struct schema_type *left = a, *right = b;
  return strcmp(left->name, right->name);
}

static void index_types(struct schema *schema) {
  size_t total = 0;
  for (size_t i = 0; i < schema->file_count; i++) {
    proto_file *proto = schema->files[i].proto;
    total += count_types(proto->message_type, proto->n_message_type);
  }
  schema->types = schema_alloc(schema, total + 1, sizeof(*schema->types));
  for (size_t i = 0; i < schema->file_count; i++) {
    proto_file *proto = schema->files[i].proto;
    const char *package = proto->package == NULL ? "" : proto->package;
    add_types(schema, &schema->files[i], package, proto->message_type, proto->n_message_type);
  }
  qsort(schema->types, schema->type_count, sizeof(*schema->types), compare_types);
}

const struct schema_type *schema_find_type(const struct schema *schema, const char *name) {
  struct schema_type key = {.name = name[0] == '.' ? name + 1 : name};
  return bsearch(&key, schema->types, schema->type_count, sizeof(key), compare_types);
}

/* The package that protoc-gen-c is told to use instead of the file's: NULL if none. */
static const char *package_override(struct schema *schema, const proto_file *file) {
  const char *package = NULL;
  for (unsigned i = 0; file->options != NULL && i < file->options->base.n_unknown_fields; i++) {
    const ProtobufCMessageUnknownField *unknown = &file->options->base.unknown_fields[i];
    str rest = str_make(unknown->data, unknown->len);
    uint64_t len;
    if (unknown->tag != FILE_OPTIONS_PBC || !wire_varint(&rest, &len) || len != rest.len)
      continue;
    for (struct wire_field field; wire_next(&rest, &field);) {
      if (field.number == PBC_FILE_PACKAGE && field.type == WIRE_BYTES)
        package = name_copy(schema->arena, field.bytes);
    }
  }
  return package;
}

/* The full name as protoc-gen-c takes it to make names in C. */
static const char *pbc_full_name(struct schema *schema, const char *name) {
  const struct schema_type *type = schema_find_type(schema, name);
  const char *full_name = name[0] == '.' ? name + 1 : name;
  const char *override = type == NULL ? NULL : package_override(schema, type->file->proto);
  if (override == NULL)
    return full_name;
  const char *package = type->file->proto->package;
  size_t skip = package == NULL ? 0 : strlen(package);
  return name_printf(schema->arena, "%s%s%s", override, skip == 0 ? "." : "", full_name + skip);
}

const char *schema_type_name(struct schema *schema, const char *name) {
  return name_pbc_type(schema->arena, pbc_full_name(schema, name));
}

const char *schema_type_lower(struct schema *schema, const char *name) {
  return name_pbc_lower(schema->arena, pbc_full_name(schema, name));
}

bool schema_is_opaque(const struct schema *schema, const char *name) {
  for (size_t i = 0; i < schema->options.opaque_count; i++) {
    if (strcmp(schema->options.opaque[i].name, name + 1) == 0)
      return true;
  }
  return false;
}

bool schema_is_inside_opaque(const struct schema *schema, const char *name) {
  for (size_t i = 0; i < schema->options.opaque_count; i++) {
    size_t len = strlen(schema->options.opaque[i].name);
    if (strncmp(schema->options.opaque[i].name, name + 1, len) == 0 && name[len + 1] == '.')
      return true;
  }
  return false;
}

/* ---- The request ---- */

/* The descriptor's bytes but for the source info, which is large and of no use at run time. */
static str without_source_info(struct schema *schema, str descriptor) {
  char *out = schema_alloc(schema, 1, descriptor.len + 1);
  size_t len = 0;
  for (struct wire_field field; wire_next(&descriptor, &field);) {
    if (field.number != FILE_SOURCE_CODE_INFO) {
      memcpy(out + len, field.raw.ptr, field.raw.len);
      len += field.raw.len;
    }
  }
  return str_make(out, len);
}

static bool is_asked_for(const proto_request *request, const char *name) {
  for (size_t i = 0; i < request->n_file_to_generate; i++) {
    if (strcmp(request->file_to_generate[i], name) == 0)
      return true;
  }
  return false;
}

static void check_syntax(struct schema *schema, const struct schema_file *file) {
  const char *syntax = file->proto->syntax;
  if (syntax == NULL || syntax[0] == '\0' || strcmp(syntax, "proto2") == 0 || strcmp(syntax, "proto3") == 0)
    return;
  struct schema_place place = schema_place(file);
  schema_error(schema, &place, "syntax \"%s\" is not supported: write syntax = \"proto3\" (or \"proto2\")",
               syntax);
}

/* ---- Completeness: protoc always gives names, and type names with a leading dot ---- */

static bool is_full_name(const char *name) {
  return name != NULL && name[0] == '.';
}

static bool is_message_complete(const proto_message *message) {
  if (message->name == NULL)
    return false;
  for (size_t i = 0; i < message->n_field; i++) {
    const proto_field *field = message->field[i];
    if (field->name == NULL || (field->type_name != NULL && !is_full_name(field->type_name)))
      return false;
  }
  for (size_t i = 0; i < message->n_oneof_decl; i++) {
    if (message->oneof_decl[i]->name == NULL)
      return false;
  }
  for (size_t i = 0; i < message->n_enum_type; i++) {
    if (message->enum_type[i]->name == NULL)
      return false;
  }
  for (size_t i = 0; i < message->n_nested_type; i++) {
    if (!is_message_complete(message->nested_type[i]))
      return false;
  }
  return true;
}

static bool is_service_complete(const proto_service *service) {
  for (size_t i = 0; i < service->n_method; i++) {
    const proto_method *method = service->method[i];
    if (method->name == NULL || !is_full_name(method->input_type) || !is_full_name(method->output_type))
      return false;
  }
  return service->name != NULL;
}

static bool is_request_complete(const proto_request *request) {
  bool is_complete = true;
  for (size_t i = 0; i < request->n_proto_file && is_complete; i++) {
    const proto_file *file = request->proto_file[i];
    is_complete = file->name != NULL;
    for (size_t k = 0; k < file->n_message_type && is_complete; k++)
      is_complete = is_message_complete(file->message_type[k]);
    for (size_t k = 0; k < file->n_service && is_complete; k++)
      is_complete = is_service_complete(file->service[k]);
  }
  return is_complete;
}

/* ---- Loading ---- */

/* The files, each with its bytes of the request. */
static void load_files(struct schema *schema, str request_bytes) {
  schema->file_count = schema->request->n_proto_file;
  schema->files = schema_alloc(schema, schema->file_count + 1, sizeof(*schema->files));
  size_t i = 0;
  for (struct wire_field field; i < schema->file_count && wire_next(&request_bytes, &field);) {
    if (field.number != REQUEST_PROTO_FILE)
      continue;
    struct schema_file *file = &schema->files[i];
    file->proto = schema->request->proto_file[i++];
    file->descriptor = without_source_info(schema, field.bytes);
    file->is_generated = is_asked_for(schema->request, file->proto->name);
    check_syntax(schema, file);
  }
}

static void check_opaque_types(struct schema *schema) {
  for (size_t i = 0; i < schema->options.opaque_count; i++) {
    const struct option_type *type = &schema->options.opaque[i];
    if (!type->is_inherited && schema_find_type(schema, type->name) == NULL)
      schema_error(schema, NULL, "opaque type \"%s\": no file here defines a message of that name",
                   type->name);
  }
}

bool schema_load(struct schema *schema, str request_bytes) {
  if (!arena_defer(schema->arena, release_symbols, schema))
    return false;
  ProtobufCAllocator allocator = schema_allocator(schema);
  schema->request = google__protobuf__compiler__code_generator_request__unpack(
      &allocator, request_bytes.len, (const uint8_t *)request_bytes.ptr);
  if (schema->request == NULL || !is_request_complete(schema->request)) {
    schema_error(schema, NULL,
                 "standard input is not a CodeGeneratorRequest: run this program through protoc "
                 "--plugin=protoc-gen-skerry=... --skerry_out=DIR");
    return false;
  }
  const char *parameter = schema->request->parameter == NULL ? "" : schema->request->parameter;
  const char *error;
  if (!options_parse(schema->arena, parameter, &schema->options, &error)) {
    schema_error(schema, NULL, "%s", error);
    return false;
  }
  load_files(schema, request_bytes);
  index_types(schema);
  check_opaque_types(schema);
  return schema->errors.len == 0;
}
