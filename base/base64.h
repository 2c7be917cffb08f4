/* Base64, RFC 4648. */
#ifndef SKERRY_BASE_BASE64_H
#define SKERRY_BASE_BASE64_H

#include "base/str.h"

/* How many characters `len` bytes become, padding included. */
static inline size_t base64_encoded_size(size_t len) {
  return (len + 2) / 3 * 4;
}

/* Appends the standard alphabet's form, with padding. */
void base64_encode(str bytes, struct buf *out);

/* Appends the bytes. Takes the standard and the URL-safe alphabet, with padding or without. False, and
 * nothing is appended, if it is anything else; out->failed: no memory. */
bool base64_decode(str text, struct buf *out);

#endif
