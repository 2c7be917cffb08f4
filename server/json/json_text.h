/* JSON's tokens (RFC 8259) from text that is all in memory, for the reader of messages (json_read.h). The
 * text is checked for UTF-8 once, by json_text_init; so what strings hold is valid UTF-8 too, U+0000 allowed.
 * No recursion. */
#ifndef SKERRY_SERVER_JSON_JSON_TEXT_H
#define SKERRY_SERVER_JSON_JSON_TEXT_H

#include "base/status.h"
#include "base/str.h"

struct json_text {
  const char *start, *at, *end;
  struct buf scratch; /* the string that was read last, if it had escapes */
};

STATUS_MUST_USE status json_text_init(struct json_text *text, str bytes);
void json_text_fini(struct json_text *text); /* zeroed memory is fine */

/* The first character of what comes next, white space skipped; 0 at the end. */
char json_text_peek(struct json_text *text);
/* Takes that character if it is `wanted`. */
bool json_text_take(struct json_text *text, char wanted);
/* Takes the word ("true", "false", "null"). */
bool json_text_take_word(struct json_text *text, const char *word);
/* A string, valid until the next one is read. */
STATUS_MUST_USE status json_text_string(struct json_text *text, str *ret);
/* A number as it is written, checked against the grammar. */
STATUS_MUST_USE status json_text_number(struct json_text *text, str *ret);
/* Passes over a value: strings and brackets are looked at, no more. False: the text ends before. */
bool json_text_skip(struct json_text *text);

/* INVALID_ARGUMENT with the place. */
STATUS_MUST_USE status json_text_error(const struct json_text *text, const char *what);
/* Whether `text` is one number of JSON's grammar. */
bool json_is_number(str text);

#endif
