/* UTF-8 as RFC 3629 defines it: no surrogates, nothing over U+10FFFF, shortest forms only. */
#ifndef SKERRY_BASE_UTF8_H
#define SKERRY_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Whether bytes[0, length) is valid UTF-8. U+0000 is valid. */
bool utf8_is_valid(const char *bytes, size_t length);

/* Copies text into out (at most out_size bytes, NUL included), each invalid byte as U+FFFD. If the text does
 * not fit, or `cut` says that it was cut before, it ends in "..." and never within a character. */
void utf8_repair(const char *text, size_t length, bool cut, char *out, size_t out_size);

#endif
