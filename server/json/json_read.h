/* From proto3's JSON form to wire bytes (https://protobuf.dev/programming-guides/json/), for any message of
 * the schema, documents included: what comes out is checked like every request that comes by gRPC.
 *
 * Taken: names of fields in JSON's form and as in the .proto; numbers as numbers or in strings; enums by name
 * or number; base64 of both alphabets; null for a field that is not set. Refused with INVALID_ARGUMENT and
 * the place: unknown fields, fields and members of a oneof that come twice, numbers that do not fit, more
 * than JSON_DEPTH_MAX objects and arrays in each other. RESOURCE_EXHAUSTED: `out` has no room or memory.
 *
 * The depth bounds the recursion; the time is linear. Any thread. */
#ifndef SKERRY_SERVER_JSON_JSON_READ_H
#define SKERRY_SERVER_JSON_JSON_READ_H

#include "server/json/schema.h"

/* What errors show of a name that a client made up. They get into the log, and where a name should be there
 * may be a token by mistake: what is left of that is of no use to anybody. */
enum { JSON_NAME_SHOWN_BYTES = 64 };

/* Three objects and arrays for each of Firestore's 20 maps and arrays, and some around them. wire_check has
 * the limit that counts. */
enum { JSON_DEPTH_MAX = 200, JSON_ANY_DEPTH_MAX = 8 };

/* Appends the message's fields. Empty text is an empty message. */
STATUS_MUST_USE status json_read_message(const struct schema *schema, const struct schema_message *message,
                                         str json, struct buf *out);

/* The same for clients that send what this program does not know: unknown fields are passed over. */
STATUS_MUST_USE status json_read_known_fields(const struct schema *schema,
                                              const struct schema_message *message, str json,
                                              struct buf *out);

/* The same for one field, whose value the whole text is. */
STATUS_MUST_USE status json_read_field(const struct schema *schema, const struct schema_field *field,
                                       str json, struct buf *out);

/* A field named by a path ("structured_query.limit") from text that is no JSON, as parameters and path
 * templates of a URL have it: appends it within the messages it lies in. Repeated fields take one value a
 * time. */
STATUS_MUST_USE status json_read_parameter(const struct schema *schema, const struct schema_message *message,
                                           str path, str value, struct buf *out);

/* Appends `wire` with all occurrences of each field that is a single message put together into one, which is
 * what the occurrences mean: but types that stay bytes in C (rpc/method.h) would lose the first ones. */
void json_merge_fields(const struct schema_message *message, str wire, struct buf *out);

#endif
