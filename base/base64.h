/* Base64, RFC 4648. */
#ifndef SKERRY_BASE_BASE64_H
#define SKERRY_BASE_BASE64_H

#include "base/str.h"

/* How many characters `len` bytes become, padding included. */
static inline size_t base64_encoded_size(size_t len) {
  return (len + 2) / 3 * 4;
}

/* The value of a digit of the alphabet whose last two digits are these; 64: it is none. */
static inline unsigned base64_digit(char c, char of_62, char of_63) {
  if (c >= 'A' && c <= 'Z')
    return (unsigned)(c - 'A');
  if (c >= 'a' && c <= 'z')
    return (unsigned)(c - 'a') + 26;
  if (c >= '0' && c <= '9')
    return (unsigned)(c - '0') + 52;
  return c == of_62 ? 62 : c == of_63 ? 63 : 64;
}

/* Writes the standard alphabet's form, with padding: base64_encoded_size characters. */
void base64_write(str bytes, char *ret);
/* Appends the same. */
void base64_encode(str bytes, struct buf *out);

/* Appends the bytes. Takes the standard and the URL-safe alphabet, with padding or without. False, and
 * nothing is appended, if it is anything else; out->failed: no memory. */
bool base64_decode(str text, struct buf *out);

#endif
