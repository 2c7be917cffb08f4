/* The names that protoc-gen-c will give to a message and its members: two that are the same would not
 * compile. */
#ifndef SKERRY_CODEGEN_MEMBERS_H
#define SKERRY_CODEGEN_MEMBERS_H

#include "codegen/schema.h"

/* A rewritten message, `name` with its leading dot. Gives protobuf-c's own member `base` another name
 * where a field is called so; other clashes become errors. */
void members_check(struct schema *schema, struct schema_place place, const char *name,
                   proto_message *message);

#endif
