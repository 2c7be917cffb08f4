#include "base/base64url.h"

#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

bool base64url_decode(str text, void *out, size_t *ret_len) {
  uint8_t *at = out;
  uint32_t bits = 0;
  unsigned count = 0; /* of bits that wait in `bits` */
  if (text.len % 4 == 1)
    return false;
  for (size_t i = 0; i < text.len; i++) {
    unsigned value = base64_digit(text.ptr[i], '-', '_');
    if (value > 63)
      return false;
    bits = (bits << 6 | value) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      *at++ = (uint8_t)(bits >> count);
    }
  }
  if ((bits & ((1u << count) - 1)) != 0)
    return false;
  *ret_len = (size_t)(at - (uint8_t *)out);
  return true;
}

void base64url_append(struct buf *out, str bytes) {
  for (size_t i = 0; i < bytes.len; i += 3) {
    size_t here = bytes.len - i < 3 ? bytes.len - i : 3;
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; j++)
      bits = bits << 8 | (j < here ? (uint8_t)bytes.ptr[i + j] : 0);
    for (size_t j = 0; j <= here; j++)
      buf_append_byte(out, (uint8_t)alphabet[bits >> (18 - 6 * j) & 63]);
  }
}
