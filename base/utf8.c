#include "base/utf8.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* The length of the valid sequence at bytes[0], or 0. */
static size_t sequence_length(const uint8_t *bytes, size_t left) {
  uint8_t lead = bytes[0];
  if (lead < 0x80)
    return 1;
  size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                  : (lead & 0xF0) == 0xE0        ? 3
                  : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                 : 0;
  if (length == 0 || length > left)
    return 0;
  uint8_t low = 0x80, high = 0xBF; /* bounds of the second byte: RFC 3629, section 4 */
  if (lead == 0xE0)
    low = 0xA0;
  else if (lead == 0xED)
    high = 0x9F;
  else if (lead == 0xF0)
    low = 0x90;
  else if (lead == 0xF4)
    high = 0x8F;
  if (bytes[1] < low || bytes[1] > high)
    return 0;
  for (size_t i = 2; i < length; i++)
    if ((bytes[i] & 0xC0) != 0x80)
      return 0;
  return length;
}

bool utf8_is_valid(const char *bytes, size_t length) {
  const uint8_t *at = (const uint8_t *)bytes;
  while (length >= 8) { /* most text is ASCII: eight bytes at a time */
    uint64_t word;
    memcpy(&word, at, 8);
    if ((word & 0x8080808080808080u) != 0)
      break;
    at += 8;
    length -= 8;
  }
  while (length > 0) {
    size_t step = sequence_length(at, length);
    if (step == 0)
      return false;
    at += step;
    length -= step;
  }
  return true;
}

void utf8_repair(const char *text, size_t length, bool cut, char *out, size_t out_size) {
  static const char replacement[] = "\xEF\xBF\xBD", ellipsis[] = "...";
  assert(out_size > sizeof ellipsis);
  size_t used = 0, room = out_size - 1, mark = 0; /* mark: where an ellipsis still fits */
  size_t at = 0;
  while (at < length) {
    size_t step = sequence_length((const uint8_t *)text + at, length - at);
    const char *from = step == 0 ? replacement : text + at;
    size_t size = step == 0 ? 3 : step;
    if (used + size > room)
      break;
    memcpy(out + used, from, size);
    used += size;
    at += step == 0 ? 1 : step;
    if (used + 3 <= room)
      mark = used;
  }
  if (at < length || cut) {
    memcpy(out + mark, ellipsis, 3);
    used = mark + 3;
  }
  out[used] = '\0';
}
