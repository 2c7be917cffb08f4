/* The request of protoc, as the generator sees it: its files with their bytes, types by name, where things
 * stand in the source, and what is wrong with them.
 *
 * A run of the generator is one `struct schema`. All memory is its arena's and lives until the end. */
#ifndef SKERRY_CODEGEN_SCHEMA_H
#define SKERRY_CODEGEN_SCHEMA_H

#include "base/arena.h"
#include "codegen/options.h"
#include "google/protobuf/compiler/plugin.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest proto_request;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse proto_response;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse__File proto_output;
typedef Google__Protobuf__FileDescriptorProto proto_file;
typedef Google__Protobuf__DescriptorProto proto_message;
typedef Google__Protobuf__FieldDescriptorProto proto_field;
typedef Google__Protobuf__ServiceDescriptorProto proto_service;
typedef Google__Protobuf__MethodDescriptorProto proto_method;
typedef Google__Protobuf__SourceCodeInfo__Location proto_location;

struct schema_file {
  proto_file *proto;
  str descriptor;    /* the bytes as protoc gave them, without source info */
  bool is_generated; /* asked for, not only imported */
};

/* Where something stands in its file: the path of descriptor.proto's SourceCodeInfo. */
struct schema_place {
  const struct schema_file *file;
  int32_t path[16]; /* longer ones name the outermost message only */
  size_t length;
};

struct schema_type {
  const char *name; /* without the leading dot */
  const struct schema_file *file;
};

struct schema {
  struct arena *arena;
  struct options options;
  proto_request *request;
  struct schema_file *files; /* in the order of request->proto_file: imports come first */
  size_t file_count;
  struct schema_type *types; /* sorted by name */
  size_t type_count;
  struct symbol *symbols; /* names that generated code defines */
  struct buf errors;      /* lines of "file:line: what" */
};

/* Memory that is never NULL: without any, the program ends. Zeroed. */
void *schema_alloc(struct schema *schema, size_t count, size_t size);

/* Decodes protoc's request. False if it is not one, or the parameter is wrong: schema->errors says so. */
bool schema_load(struct schema *schema, str request_bytes);

/* An allocator for protobuf-c over the arena. */
ProtobufCAllocator schema_allocator(struct schema *schema);

/* `name` as it stands in descriptors: with a leading dot. NULL if there is none. */
const struct schema_type *schema_find_type(const struct schema *schema, const char *name);
/* The C names that protoc-gen-c gives a type; `name` has a leading dot. */
const char *schema_type_name(struct schema *schema, const char *name);
const char *schema_type_lower(struct schema *schema, const char *name);

/* Whether a type, with its leading dot, is one of those that stay bytes. */
bool schema_is_opaque(const struct schema *schema, const char *name);
/* Whether a type lies inside of an opaque message. */
bool schema_is_inside_opaque(const struct schema *schema, const char *name);

struct schema_place schema_place(const struct schema_file *file);
/* The place of member `index` of the repeated field `field` of what is at `place`. */
struct schema_place schema_place_in(struct schema_place place, int32_t field, size_t index);
const proto_location *schema_location(const struct schema_place *place);

/* Adds an error: "dir/file.proto:12: " and the text. */
void schema_error(struct schema *schema, const struct schema_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Notes that generated code defines `name`; an error if something else does too. `what` is for that error:
 * "method Foo". */
void schema_claim(struct schema *schema, const struct schema_place *place, const char *name,
                  const char *what);

#endif
