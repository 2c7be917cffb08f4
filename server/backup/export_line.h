/* A line of an export: a google.firestore.v1.Document in proto3's JSON form (server/json), with its name,
 * fields and times, and nothing else on the line. Both ways exact: 64-bit numbers are strings, NaN and -0
 * stay, bytes are base64, U+0000 is \u0000. */
#ifndef SKERRY_SERVER_BACKUP_EXPORT_LINE_H
#define SKERRY_SERVER_BACKUP_EXPORT_LINE_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "storage/document/path.h"

/* The longest line that is read: what the largest document may become, with every byte escaped. */
enum { EXPORT_LINE_MAX_BYTES = 48 * 1024 * 1024 };

struct export_format;

STATUS_MUST_USE status export_format_new(struct export_format **ret);
void export_format_free(struct export_format *format); /* NULL allowed */

/* Appends the line of a Document message of the server's, with its line break. False: it is none. Without
 * memory: out->failed. */
bool export_line_write(const struct export_format *format, str document, struct buf *out);

struct export_document {
  struct doc_path path; /* of a document */
  str wire;             /* the Document message */
  const str *masked;    /* what it has, as paths of fields: down to what is no map, or an empty one */
  size_t masked_count;
};

/* Reads a line, without its line break. All of it is in the arena; the line is not needed any more.
 * INVALID_ARGUMENT with what is wrong, RESOURCE_EXHAUSTED past the arena's cap. */
STATUS_MUST_USE status export_line_read(const struct export_format *format, str line, struct arena *arena,
                                        struct export_document *ret);

#endif
