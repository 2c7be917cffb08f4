#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_write(str bytes, char *ret) {
  const uint8_t *from = (const uint8_t *)bytes.ptr;
  size_t left = bytes.len;
  for (; left >= 3; left -= 3, from += 3) {
    uint32_t three = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
    *ret++ = alphabet[three >> 18];
    *ret++ = alphabet[three >> 12 & 63];
    *ret++ = alphabet[three >> 6 & 63];
    *ret++ = alphabet[three & 63];
  }
  if (left > 0) {
    uint32_t rest = (uint32_t)from[0] << 16 | (left == 2 ? (uint32_t)from[1] << 8 : 0);
    *ret++ = alphabet[rest >> 18];
    *ret++ = alphabet[rest >> 12 & 63];
    *ret++ = left == 2 ? alphabet[rest >> 6 & 63] : '=';
    *ret++ = '=';
  }
}

void base64_encode(str bytes, struct buf *out) {
  if (!buf_reserve(out, base64_encoded_size(bytes.len)))
    return;
  base64_write(bytes, (char *)out->data + out->len);
  out->len += base64_encoded_size(bytes.len);
}

/* Of either alphabet. */
static unsigned value_of(char c) {
  unsigned value = base64_digit(c, '+', '/');
  return value < 64 ? value : base64_digit(c, '-', '_');
}

bool base64_decode(str text, struct buf *out) {
  size_t padding = 0;
  while (padding < 2 && text.len > 0 && text.ptr[text.len - 1] == '=') {
    text.len--;
    padding++;
  }
  if (text.len % 4 == 1 || (padding > 0 && (text.len + padding) % 4 != 0))
    return false;
  if (!buf_reserve(out, text.len / 4 * 3 + 3))
    return true;
  uint8_t *to = out->data + out->len;
  size_t at = 0;
  while (at < text.len) {
    uint32_t bits = 0;
    unsigned count = 0;
    for (; count < 4 && at < text.len; count++) {
      unsigned value = value_of(text.ptr[at++]);
      if (value == 64)
        return false;
      bits |= value << (18 - 6 * count);
    }
    *to++ = (uint8_t)(bits >> 16);
    if (count > 2)
      *to++ = (uint8_t)(bits >> 8);
    if (count > 3)
      *to++ = (uint8_t)bits;
    if ((count == 2 && (bits & 0xffff) != 0) || (count == 3 && (bits & 0xff) != 0))
      return false; /* bits that say nothing */
  }
  out->len = (size_t)(to - out->data);
  return true;
}
