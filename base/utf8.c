#include "base/utf8.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* How many bytes a character takes that begins with `lead`; 0: none does. */
static size_t length_by_lead(uint8_t lead) {
  if (lead < 0x80)
    return 1;
  if (lead < 0xC2 || lead > 0xF4) /* C0 and C1 would not be the shortest form */
    return 0;
  return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Whether bytes[0, length) is the beginning of a character that takes at least `length`: RFC 3629, section 4.
 */
static bool is_prefix(const uint8_t *bytes, size_t length) {
  if (length < 2)
    return true;
  uint8_t lead = bytes[0];
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (bytes[1] < low || bytes[1] > high)
    return false;
  for (size_t i = 2; i < length; i++)
    if ((bytes[i] & 0xC0) != 0x80)
      return false;
  return true;
}

size_t utf8_character_length(const char *bytes, size_t length) {
  const uint8_t *at = (const uint8_t *)bytes;
  size_t wanted = length_by_lead(at[0]);
  return wanted <= length && is_prefix(at, wanted) ? wanted : 0;
}

bool utf8_is_valid(const char *bytes, size_t length) {
  while (length > 0) {
    if (length >= 8 && (bytes[0] & 0x80) == 0) { /* most text is ASCII: eight bytes at a time */
      uint64_t word;
      memcpy(&word, bytes, 8);
      if ((word & UINT64_C(0x8080808080808080)) == 0) {
        bytes += 8;
        length -= 8;
        continue;
      }
    }
    size_t step = utf8_character_length(bytes, length);
    if (step == 0)
      return false;
    bytes += step;
    length -= step;
  }
  return true;
}

/* What is left of `length` without a character at the end of which a cut took the rest. */
static size_t without_half_character(const char *text, size_t length) {
  for (size_t tail = 1; tail <= 3 && tail <= length; tail++) {
    const uint8_t *at = (const uint8_t *)text + (length - tail);
    if ((*at & 0xC0) != 0x80)
      return length_by_lead(*at) > tail && is_prefix(at, tail) ? length - tail : length;
  }
  return length;
}

void utf8_repair(const char *text, size_t length, bool cut, char *out, size_t out_size) {
  static const char replacement[] = "\xEF\xBF\xBD", ellipsis[] = "...";
  assert(out_size > sizeof ellipsis);
  if (cut)
    length = without_half_character(text, length);
  size_t used = 0, room = out_size - 1;
  size_t mark = 0; /* the end of the last character after which an ellipsis still fits */
  for (size_t at = 0; at < length;) {
    size_t step = utf8_character_length(text + at, length - at);
    const char *from = step == 0 ? replacement : text + at;
    size_t size = step == 0 ? sizeof replacement - 1 : step;
    if (used + size > room) {
      cut = true;
      break;
    }
    memcpy(out + used, from, size);
    used += size;
    at += step == 0 ? 1 : step;
    if (used + sizeof ellipsis - 1 <= room)
      mark = used;
  }
  if (cut) {
    memcpy(out + mark, ellipsis, sizeof ellipsis - 1);
    used = mark + sizeof ellipsis - 1;
  }
  out[used] = '\0';
}

str utf8_cut(str text, size_t most) {
  if (text.len <= most)
    return text;
  while (most > 0 && ((unsigned char)text.ptr[most] & 0xc0) == 0x80)
    most--;
  return str_make(text.ptr, most);
}
