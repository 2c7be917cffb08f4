/* Changes the request so that protoc-gen-c makes of it the messages that Skerry wants, with the wire format
 * untouched:
 *
 * - A proto3 `optional` field becomes the one member of an ordinary oneof, so presence is kept in its case.
 * - A field of an opaque message type becomes `bytes`; a map whose values are opaque becomes `repeated
 * bytes`, each the raw entry. The opaque messages themselves are left out.
 * - Services and extensions are left out: protoc-gen-c would make code for the first that nobody calls, and
 *   makes none for the second.
 * - optimize_for is left out: with CODE_SIZE protoc-gen-c drops the names that errors tell.
 * - Groups are refused: protoc-gen-c cannot make them. */
#ifndef SKERRY_CODEGEN_REWRITE_H
#define SKERRY_CODEGEN_REWRITE_H

#include "codegen/schema.h"

/* Changes every file of the request; the services are gone after it. */
void rewrite_request(struct schema *schema);

#endif
