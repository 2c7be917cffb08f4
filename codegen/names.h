/* From the names of a .proto to names in C: ours, and those that protoc-gen-c gives. Results live in the
 * arena; running out of it ends the program. */
#ifndef SKERRY_CODEGEN_NAMES_H
#define SKERRY_CODEGEN_NAMES_H

#include "base/arena.h"

/* printf into the arena. */
const char *name_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The bytes as a string. */
const char *name_copy(struct arena *arena, str bytes);

/* "GetHTTPStatus" -> "get_http_status", "ListIDs" -> "list_ids", "Sha256Sum" -> "sha256_sum". */
const char *name_snake(struct arena *arena, const char *name);
const char *name_upper(struct arena *arena, const char *name);
const char *name_lower(struct arena *arena, const char *name);

/* The same for a full name, dots as underscores: "google.firestore.v1.Firestore" ->
 * "google_firestore_v1_firestore". */
const char *name_prefix(struct arena *arena, const char *full_name);

/* A name that can be a member of a struct: "default" -> "default_". */
const char *name_member(struct arena *arena, const char *snake);

/* "google/api/http.proto" -> "google_api_http_proto". */
const char *name_of_file(struct arena *arena, const char *path);

/* "a/b.proto" -> "a/b", as protoc-gen-c does it. */
const char *name_without_proto(struct arena *arena, const char *path);

/* The names that protoc-gen-c gives: "google.api.HttpRule" -> "Google__Api__HttpRule" for the struct and
 * "google__api__http_rule" for what belongs to it. */
const char *name_pbc_type(struct arena *arena, const char *full_name);
const char *name_pbc_lower(struct arena *arena, const char *full_name);

#endif
