#include "codegen/rewrite.h"

#include "codegen/members.h"
#include "codegen/names.h"

/* Field numbers in descriptor.proto, for places. */
enum { FILE_MESSAGE_TYPE = 4, MESSAGE_FIELD = 2, MESSAGE_NESTED_TYPE = 3 };

/* Messages that were taken out. Comments find their messages by index, so they have to follow. */
struct removed {
  struct schema_place place;
  struct removed *earlier;
};

struct scope {
  struct schema *schema;
  struct removed **removed;
  const char *name; /* of the message, with a leading dot */
  proto_message *message;
  struct schema_place place;
};

static void make_bytes(proto_field *field) {
  field->type = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES;
  field->type_name = NULL;
  if (field->options != NULL) { /* allowed on messages only */
    field->options->has_lazy = false;
    field->options->has_unverified_lazy = false;
  }
}

static bool is_map_entry(const proto_message *message) {
  return message->options != NULL && message->options->has_map_entry && message->options->map_entry;
}

/* The nested message that a map field is made of; NULL if the field is no map. */
static const proto_message *map_entry(const struct scope *scope, const proto_field *field) {
  size_t outer = strlen(scope->name);
  if (strncmp(field->type_name, scope->name, outer) != 0 || field->type_name[outer] != '.')
    return NULL;
  for (size_t i = 0; i < scope->message->n_nested_type; i++) {
    const proto_message *nested = scope->message->nested_type[i];
    if (is_map_entry(nested) && strcmp(nested->name, field->type_name + outer + 1) == 0)
      return nested;
  }
  return NULL;
}

/* Whether a map's values are opaque messages. Its entry has the fields key and value. */
static bool has_opaque_value(const struct schema *schema, const proto_message *entry) {
  return entry->n_field == 2 && entry->field[1]->type_name != NULL &&
         schema_is_opaque(schema, entry->field[1]->type_name);
}

static void rewrite_field(const struct scope *scope, size_t index) {
  struct schema *schema = scope->schema;
  proto_field *field = scope->message->field[index];
  struct schema_place place = schema_place_in(scope->place, MESSAGE_FIELD, index);
  field->has_proto3_optional = false;
  if (field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_GROUP && place.file->is_generated)
    schema_error(schema, &place, "field %s is a group, which is not supported: use a message", field->name);
  if (field->type_name == NULL)
    return;
  const proto_message *entry = map_entry(scope, field);
  if (schema_is_opaque(schema, field->type_name) || (entry != NULL && has_opaque_value(schema, entry)))
    make_bytes(field);
  else if (schema_is_inside_opaque(schema, field->type_name))
    schema_error(schema, &place,
                 "field %s has the type %s, which lies inside of an opaque message and is left out of the C "
                 "code: move that type out, or make it opaque too",
                 field->name, field->type_name + 1);
}

static void rewrite_message(const struct scope *scope);

/* Rewrites the messages in `outer` (a file's or a message's) and takes the ones out that C does not get.
 * Returns how many are left. */
static size_t rewrite_list(const struct scope *outer, int32_t field_number, proto_message **messages,
                           size_t count) {
  struct schema *schema = outer->schema;
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    struct scope scope = *outer;
    scope.name = name_printf(schema->arena, "%s.%s", outer->name, messages[i]->name);
    scope.message = messages[i];
    scope.place = schema_place_in(outer->place, field_number, i);
    bool is_opaque_map = is_map_entry(messages[i]) && has_opaque_value(schema, messages[i]);
    if (schema_is_opaque(schema, scope.name) || is_opaque_map) {
      struct removed *removed = schema_alloc(schema, 1, sizeof(*removed));
      *removed = (struct removed){scope.place, *scope.removed};
      *scope.removed = removed;
      continue;
    }
    rewrite_message(&scope);
    messages[kept++] = messages[i];
  }
  return kept;
}

/* Takes out the locations of a removed message, and moves those of the ones behind it forward. */
static void move_locations(const struct schema_place *removed) {
  Google__Protobuf__SourceCodeInfo *info = removed->file->proto->source_code_info;
  size_t last = removed->length - 1, kept = 0;
  for (size_t i = 0; info != NULL && i < info->n_location; i++) {
    proto_location *location = info->location[i];
    bool is_in_list =
        location->n_path > last && memcmp(location->path, removed->path, last * sizeof(int32_t)) == 0;
    if (is_in_list && location->path[last] == removed->path[last])
      continue;
    if (is_in_list && location->path[last] > removed->path[last])
      location->path[last]--;
    info->location[kept++] = location;
  }
  if (info != NULL)
    info->n_location = kept;
}

static void rewrite_message(const struct scope *scope) {
  proto_message *message = scope->message;
  for (size_t i = 0; i < message->n_field; i++)
    rewrite_field(scope, i);
  members_check(scope->schema, scope->place, scope->name, message);
  message->n_extension = 0;
  message->n_nested_type =
      rewrite_list(scope, MESSAGE_NESTED_TYPE, message->nested_type, message->n_nested_type);
}

static void rewrite_file(struct schema *schema, const struct schema_file *file) {
  proto_file *proto = file->proto;
  bool has_package = proto->package != NULL && proto->package[0] != '\0';
  struct removed *removed = NULL;
  struct scope scope = {
      .schema = schema,
      .removed = &removed,
      .name = has_package ? name_printf(schema->arena, ".%s", proto->package) : "",
      .place = schema_place(file),
  };
  proto->n_message_type = rewrite_list(&scope, FILE_MESSAGE_TYPE, proto->message_type, proto->n_message_type);
  for (; removed != NULL; removed = removed->earlier) /* from the last to the first: indices still hold */
    move_locations(&removed->place);
  proto->n_service = 0;
  proto->n_extension = 0;
  if (proto->options != NULL)
    proto->options->has_optimize_for = false;
}

void rewrite_request(struct schema *schema) {
  for (size_t i = 0; i < schema->file_count; i++)
    rewrite_file(schema, &schema->files[i]);
}
