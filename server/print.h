/* Documents as text for people: JSON, with what JSON has not written as it is usually read (times in RFC
 * 3339, bytes in base64, references as names, NaN and infinities as words in quotes). For a quick look, not
 * for going back. */
#ifndef SKERRY_SERVER_PRINT_H
#define SKERRY_SERVER_PRINT_H

#include "base/str.h"
#include "storage/document/value.h"

/* Appends the fields as an object over several lines, each indented. */
void print_fields(struct buf *out, struct doc_map fields, unsigned indent);
/* "2026-01-02T03:04:05.123456Z" */
void print_time(struct buf *out, int64_t time_us);
/* A JSON string. */
void print_text(struct buf *out, str text);
/* A message for a terminal, as it is but for control characters, which strangers may have put into names:
 * "\u001b". */
void print_for_terminal(struct buf *out, str text);

#endif
