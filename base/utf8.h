/* UTF-8 as RFC 3629 defines it: no surrogates, nothing over U+10FFFF, shortest forms only. */
#ifndef SKERRY_BASE_UTF8_H
#define SKERRY_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Whether bytes[0, length) is valid UTF-8. U+0000 is valid. */
bool utf8_is_valid(const char *bytes, size_t length);

/* The length (1 to 4) of the valid character at bytes[0], of which `length` > 0 bytes are there; 0 if there
 * is none. */
size_t utf8_character_length(const char *bytes, size_t length);

/* The beginning of valid text, at most `most` bytes and not within a character. */
str utf8_cut(str text, size_t most);

/* Copies text into out (at most out_size bytes, NUL included, at least 5), each invalid byte as U+FFFD. If
 * the text does not fit, or `cut` says that it was cut before, it ends in "..." and never within a character.
 */
void utf8_repair(const char *text, size_t length, bool cut, char *out, size_t out_size);

#endif
