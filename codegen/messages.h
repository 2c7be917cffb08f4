/* The messages are protobuf-c's: its own generator makes them, run as a program on our request. */
#ifndef SKERRY_CODEGEN_MESSAGES_H
#define SKERRY_CODEGEN_MESSAGES_H

#include "codegen/schema.h"

/* Runs protoc-gen-c on schema->request as it is now. NULL if that failed: schema->errors says why. */
proto_response *messages_generate(struct schema *schema);

#endif
