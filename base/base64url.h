/* base64url without padding, RFC 4648 section 5, as JOSE uses it (RFC 7515, section 2). Any thread. */
#ifndef SKERRY_BASE_BASE64URL_H
#define SKERRY_BASE_BASE64URL_H

#include "base/str.h"

/* Bytes that a text of so many characters stands for, at most. */
static inline size_t base64url_decoded_max(size_t text_len) {
  return text_len / 4 * 3 + text_len % 4;
}

/* Strict: no padding, no white space, no `+` and `/`, no length that cannot be, and the bits that are left
 * over are zero. So two texts never stand for the same bytes. `out` has room for
 * base64url_decoded_max(text.len). False: it is not base64url, and what is in `out` means nothing. */
bool base64url_decode(str text, void *out, size_t *ret_len);

void base64url_append(struct buf *out, str bytes);

#endif
