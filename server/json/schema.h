/* The message types of this program, as the mapping to JSON needs them: built once at start from the
 * descriptors that the generator put into it (rpc/method.h), so types are as the .proto files have them,
 * whatever the generated C made of them. Never changed afterwards; any thread.
 *
 * https://protobuf.dev/programming-guides/json/ */
#ifndef SKERRY_SERVER_JSON_SCHEMA_H
#define SKERRY_SERVER_JSON_SCHEMA_H

#include "base/arena.h"
#include "base/status.h"
#include "rpc/method.h"

/* google.protobuf.FieldDescriptorProto.Type */
enum schema_type {
  SCHEMA_DOUBLE = 1,
  SCHEMA_FLOAT,
  SCHEMA_INT64,
  SCHEMA_UINT64,
  SCHEMA_INT32,
  SCHEMA_FIXED64,
  SCHEMA_FIXED32,
  SCHEMA_BOOL,
  SCHEMA_STRING,
  SCHEMA_GROUP, /* not in proto3 */
  SCHEMA_MESSAGE,
  SCHEMA_BYTES,
  SCHEMA_UINT32,
  SCHEMA_ENUM,
  SCHEMA_SFIXED32,
  SCHEMA_SFIXED64,
  SCHEMA_SINT32,
  SCHEMA_SINT64
};

/* Types that have a JSON form of their own. */
enum schema_kind {
  SCHEMA_PLAIN,
  SCHEMA_ANY,
  SCHEMA_DURATION,
  SCHEMA_FIELD_MASK,
  SCHEMA_LIST_VALUE,
  SCHEMA_STRUCT,
  SCHEMA_TIMESTAMP,
  SCHEMA_VALUE,
  SCHEMA_WRAPPER
};

/* A message with more fields is refused at start. */
enum { SCHEMA_FIELDS_MAX = 256 };

struct schema_enum {
  str name;
  const str *names; /* of the values, in the order of the .proto */
  const int32_t *numbers;
  size_t count;
  bool is_null; /* google.protobuf.NullValue: null in JSON */
};

struct schema_field {
  str name, json_name;
  uint32_t number;
  enum schema_type type;
  bool is_repeated; /* a map too */
  bool is_map;      /* `message` is the entry: fields 1 and 2 */
  int oneof;        /* which one of its message it is in; -1: none */
  const struct schema_message *message;
  const struct schema_enum *enumeration;
};

struct schema_message {
  str name; /* "google.firestore.v1.Document" */
  enum schema_kind kind;
  bool is_map_entry;
  const struct schema_field *fields; /* by number */
  size_t field_count;
};

struct schema;

/* Types of the files and of all that they import. The names of types and fields live as long as the schema.
 * RESOURCE_EXHAUSTED; FAILED_PRECONDITION: a file that this cannot map. */
STATUS_MUST_USE status schema_new(const struct rpc_file *const *files, size_t count, struct schema **ret);
void schema_free(struct schema *schema); /* NULL allowed */

/* NULL: there is none. */
const struct schema_message *schema_find(const struct schema *schema, str name);
/* By its name in JSON or in the .proto. */
const struct schema_field *schema_field_named(const struct schema_message *message, str name);
const struct schema_field *schema_field_numbered(const struct schema_message *message, uint64_t number);
static inline size_t schema_field_index(const struct schema_message *message,
                                        const struct schema_field *field) {
  return (size_t)(field - message->fields);
}

#endif
