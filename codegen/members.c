#include "codegen/members.h"

#include <strings.h>

#include "codegen/names.h"
#include "codegen/wire_read.h"

/* Field numbers in descriptor.proto, for places, and in protobuf-c.proto. */
enum { MESSAGE_FIELD = 2, MESSAGE_ENUM_TYPE = 4, MESSAGE_ONEOF_DECL = 8 };
enum { MESSAGE_OPTIONS_PBC = 1019, PBC_MESSAGE_BASE_FIELD_NAME = 3 };

struct members {
  struct schema *schema;
  const char *type; /* in C */
  bool is_proto2;
};

/* The bytes of pb_c_msg in a message's options; empty without. */
static str pbc_options(const proto_message *message) {
  for (unsigned i = 0; message->options != NULL && i < message->options->base.n_unknown_fields; i++) {
    const ProtobufCMessageUnknownField *unknown = &message->options->base.unknown_fields[i];
    str rest = str_make(unknown->data, unknown->len);
    uint64_t len;
    if (unknown->tag == MESSAGE_OPTIONS_PBC && wire_varint(&rest, &len) && len == rest.len)
      return rest;
  }
  return (str){NULL, 0};
}

/* What protoc-gen-c calls the member of type ProtobufCMessage. */
static const char *base_name(struct schema *schema, const proto_message *message) {
  const char *name = "base";
  str rest = pbc_options(message);
  for (struct wire_field field; wire_next(&rest, &field);) {
    if (field.number == PBC_MESSAGE_BASE_FIELD_NAME && field.type == WIRE_BYTES)
      name = name_copy(schema->arena, field.bytes);
  }
  return name;
}

static bool has_field_called_base(const proto_message *message) {
  for (size_t i = 0; i < message->n_field; i++) {
    if (strcasecmp(message->field[i]->name, "base") == 0)
      return true;
  }
  return false;
}

/* Sets protobuf-c's option base_field_name = "base_", unless the .proto sets options of protobuf-c itself. */
static void rename_base(struct schema *schema, proto_message *message) {
  static uint8_t bytes[] = "\x07\x1a\x05"
                           "base_"; /* a length, a tag, a length, the name */
  if (pbc_options(message).len > 0)
    return;
  if (message->options == NULL) {
    message->options = schema_alloc(schema, 1, sizeof(*message->options));
    google__protobuf__message_options__init(message->options);
  }
  ProtobufCMessage *options = &message->options->base;
  ProtobufCMessageUnknownField *fields = schema_alloc(schema, options->n_unknown_fields + 1, sizeof(*fields));
  for (unsigned i = 0; i < options->n_unknown_fields; i++)
    fields[i] = options->unknown_fields[i];
  fields[options->n_unknown_fields] = (ProtobufCMessageUnknownField){
      .tag = MESSAGE_OPTIONS_PBC,
      .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
      .len = sizeof(bytes) - 1,
      .data = bytes,
  };
  options->unknown_fields = fields;
  options->n_unknown_fields++;
}

static void claim_member(const struct members *members, const struct schema_place *place, const char *prefix,
                         const char *name, const char *what) {
  schema_claim(members->schema, place,
               name_printf(members->schema->arena, "%s.%s%s", members->type, prefix, name), what);
}

/* Whether protobuf-c keeps the field's presence in a member of its own. */
static bool has_flag(const struct members *members, const proto_field *field) {
  return members->is_proto2 &&
         field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_OPTIONAL &&
         !field->has_oneof_index &&
         field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING &&
         field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE;
}

static void claim_field(const struct members *members, const struct schema_place *place,
                        const proto_field *field) {
  struct arena *arena = members->schema->arena;
  const char *what = name_printf(arena, "field %s", field->name);
  const char *lower = name_lower(arena, field->name);
  claim_member(members, place, "", lower, what);
  if (field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED)
    claim_member(members, place, "n_", lower, what);
  else if (has_flag(members, field))
    claim_member(members, place, "has_", lower, what);
}

void members_check(struct schema *schema, struct schema_place place, const char *name,
                   proto_message *message) {
  if (has_field_called_base(message))
    rename_base(schema, message);
  if (!place.file->is_generated)
    return;
  const char *syntax = place.file->proto->syntax;
  struct members members = {
      .schema = schema,
      .type = schema_type_name(schema, name),
      .is_proto2 = syntax == NULL || syntax[0] == '\0' || strcmp(syntax, "proto2") == 0,
  };
  const char *what = name_printf(schema->arena, "message %s", name + 1);
  size_t errors_before = schema->errors.len;
  schema_claim(schema, &place, members.type, what);
  if (schema->errors.len == errors_before)
    schema_claim(schema, &place,
                 name_printf(schema->arena, "%s__descriptor", schema_type_lower(schema, name)), what);
  if (schema->errors.len != errors_before)
    return; /* the members would clash too */
  claim_member(&members, &place, "", base_name(schema, message), what);
  for (size_t i = 0; i < message->n_field; i++) {
    struct schema_place at = schema_place_in(place, MESSAGE_FIELD, i);
    claim_field(&members, &at, message->field[i]);
  }
  for (size_t i = 0; i < message->n_oneof_decl; i++) {
    struct schema_place at = schema_place_in(place, MESSAGE_ONEOF_DECL, i);
    const char *oneof = message->oneof_decl[i]->name;
    const char *what_oneof = name_printf(schema->arena, "oneof %s", oneof);
    claim_member(&members, &at, name_pbc_lower(schema->arena, oneof), "_case", what_oneof);
    schema_claim(schema, &at,
                 name_printf(schema->arena, "%s__%sCase", members.type, name_pbc_type(schema->arena, oneof)),
                 what_oneof);
  }
  for (size_t i = 0; i < message->n_enum_type; i++) {
    struct schema_place at = schema_place_in(place, MESSAGE_ENUM_TYPE, i);
    const char *enum_name = message->enum_type[i]->name;
    schema_claim(schema, &at,
                 name_printf(schema->arena, "%s__%s", members.type, name_pbc_type(schema->arena, enum_name)),
                 name_printf(schema->arena, "enum %s", enum_name));
  }
}
