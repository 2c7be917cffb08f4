/* Looks names up in serialised FileDescriptorProtos, without decoding them into memory: the descriptors are
 * constant data of this program, so they are well formed and this is no parser of hostile bytes. The bytes
 * that are searched for are.
 *
 * Field numbers: https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto
 */
#ifndef SKERRY_RPC_DESCRIPTOR_H
#define SKERRY_RPC_DESCRIPTOR_H

#include "base/str.h"

/* Whether the file declares `symbol` ("pkg.Message", "pkg.Message.field", "pkg.Service.Method", an enum, its
 * value, a oneof, an extension). */
bool rpc_descriptor_declares(str file, str symbol);

/* Calls visit(number) for each extension of `type` ("pkg.Message") that the file declares. */
void rpc_descriptor_extensions(str file, str type, void (*visit)(void *argument, int32_t number),
                               void *argument);

#endif
