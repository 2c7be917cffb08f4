/* Checks a message's wire bytes before protobuf-c sees them: protobuf-c decodes recursively without a limit
 * of depth, cuts strings at U+0000 and takes invalid UTF-8. What passes here decodes on a small stack.
 *
 * Refused, with INVALID_ARGUMENT and a message that names the field where there is one: nesting deeper than
 * LIMIT_MESSAGE_DEPTH; malformed tags, varints and lengths; field number 0; groups (wire types 3 and 4:
 * proto3 has none, and protobuf-c refuses them too); a known field with another wire type than its own;
 * strings, and keys and values of maps of strings, that hold U+0000 or are not UTF-8. Fields of type bytes,
 * which is what opaque messages are in C, and unknown fields are not entered.
 *
 * Not recursive, no allocation, any thread. https://protobuf.dev/programming-guides/encoding/ */
#ifndef SKERRY_RPC_WIRE_CHECK_H
#define SKERRY_RPC_WIRE_CHECK_H

#include <protobuf-c/protobuf-c.h>

#include "base/status.h"
#include "base/str.h"

STATUS_MUST_USE status wire_check(const ProtobufCMessageDescriptor *type, str bytes);

#endif
