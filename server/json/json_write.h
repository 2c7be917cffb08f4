/* From wire bytes to proto3's JSON form (https://protobuf.dev/programming-guides/json/), for any message of
 * the schema: what this server answers. Fields that are not there are left out, unknown ones too; 64-bit
 * numbers are strings, enums have their names.
 *
 * False: the bytes are no message of the type as this program writes them (broken, too deep, text that is not
 * UTF-8, a field in several places): a mistake of ours. Out of memory, or of room: out->failed, and true. Any
 * thread. */
#ifndef SKERRY_SERVER_JSON_JSON_WRITE_H
#define SKERRY_SERVER_JSON_JSON_WRITE_H

#include "server/json/schema.h"

bool json_write_message(const struct schema *schema, const struct schema_message *message, str wire,
                        struct buf *out);

/* A string with its quotes. False: it is not UTF-8; nothing is appended. */
bool json_write_string(str text, struct buf *out);

#endif
