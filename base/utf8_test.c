#include <stdlib.h>

#include "base/utf8.h"
#include "tests/support/unit.h"

/* The reference: writes a code point as RFC 3629's table says. */
static size_t encode(uint32_t point, uint8_t out[4]) {
  if (point < 0x80) {
    out[0] = (uint8_t)point;
    return 1;
  }
  size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  for (size_t i = length - 1; i > 0; i--, point >>= 6)
    out[i] = (uint8_t)(0x80 | (point & 0x3F));
  out[0] = (uint8_t)((0xF00 >> length & 0xFF) | point);
  return length;
}

static bool is_scalar(uint32_t point) {
  return point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
}

static void every_code_point_is_judged(void **state) {
  (void)state;
  for (uint32_t point = 0; point < 0x200000; point++) {
    uint8_t bytes[4];
    size_t length = encode(point, bytes);
    if (utf8_is_valid((const char *)bytes, length) != is_scalar(point) ||
        utf8_character_length((const char *)bytes, length) != (is_scalar(point) ? length : 0))
      fail_msg("U+%06X", (unsigned)point);
  }
}

/* Naive: bytes are one character if they are what encode() makes of the number that they seem to hold. */
static bool is_character(const uint8_t *bytes, size_t length) {
  uint32_t point = length == 1 ? bytes[0] : bytes[0] & (0x7Fu >> length);
  for (size_t i = 1; i < length; i++)
    point = point << 6 | (bytes[i] & 0x3Fu);
  uint8_t again[4];
  return is_scalar(point) && encode(point, again) == length && memcmp(again, bytes, length) == 0;
}

static bool reference_is_valid(const uint8_t *bytes, size_t length) {
  while (length > 0) {
    size_t step = 1;
    while (step <= 4 && (step > length || !is_character(bytes, step)))
      step++;
    if (step > 4)
      return false;
    bytes += step;
    length -= step;
  }
  return true;
}

/* Every string of 1 to 3 bytes, and of 4 bytes over the values at which anything changes. */
static void every_short_string_is_judged_as_by_the_reference(void **state) {
  (void)state;
  uint8_t bytes[4];
  for (size_t length = 1; length <= 3; length++) {
    for (uint32_t number = 0; number < 1u << (8 * length); number++) {
      for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
      if (utf8_is_valid((const char *)bytes, length) != reference_is_valid(bytes, length))
        fail_msg("%zu bytes, little-endian %06x", length, (unsigned)number);
    }
  }
  static const uint8_t edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                  0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
                                  0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF};
  enum { EDGES = UNIT_COUNT(edges) };
  for (size_t number = 0; number < (size_t)EDGES * EDGES * EDGES * EDGES; number++) {
    size_t left = number;
    for (size_t i = 0; i < 4; i++, left /= EDGES)
      bytes[i] = edges[left % EDGES];
    if (utf8_is_valid((const char *)bytes, 4) != reference_is_valid(bytes, 4))
      fail_msg("%02x %02x %02x %02x", bytes[0], bytes[1], bytes[2], bytes[3]);
  }
}

/* The way by eight bytes at a time starts, stops and starts again at every offset; the exact copy lets a
 * sanitizer see a byte read past the end. */
static void long_strings_are_judged_at_every_offset(void **state) {
  (void)state;
  static const char *const pieces[] = {
      "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\xA6\xAD", "\xFF", "\xE2\x82", "\xC3", ""};
  for (size_t p = 0; p < UNIT_COUNT(pieces); p++) {
    for (size_t total = 0; total < 40; total++) {
      for (size_t at = 0; at <= total; at++) {
        size_t piece = strlen(pieces[p]), length = total + piece;
        uint8_t *text = malloc(length == 0 ? 1 : length);
        assert_non_null(text);
        memset(text, 'a', length);
        memcpy(text + at, pieces[p], piece);
        assert_int_equal(utf8_is_valid((const char *)text, length), reference_is_valid(text, length));
        free(text);
      }
    }
  }
  assert_true(utf8_is_valid(NULL, 0));
  assert_true(utf8_is_valid("a\0b", 3));
}

static void repair_replaces_and_cuts(void **state) {
  (void)state;
  const struct {
    const char *text;
    bool cut;
    size_t out_size;
    const char *wanted;
  } cases[] = {
      {"", false, 5, ""},
      {"", true, 5, "..."},
      {"abcd", false, 5, "abcd"},
      {"abcde", false, 5, "a..."},
      {"abcd", true, 5, "a..."},
      {"a", true, 5, "a..."},
      {"a\xFF", false, 9, "a\xEF\xBF\xBD"},
      {"\xC0\x80", false, 9, "\xEF\xBF\xBD\xEF\xBF\xBD"},
      {"\xC3\xA9\xC3\xA9\xC3\xA9", false, 6, "\xC3\xA9..."},
      {"\xF0\x9F\xA6\xAD\xF0\x9F\xA6\xAD", false, 8, "\xF0\x9F\xA6\xAD..."},
      {"\xF0\x9F\xA6\xAD\xF0\x9F\xA6\xAD", false, 7, "..."},
      {"a\xE2\x82", true, 20, "a..."},                         /* half a character: gone */
      {"a\xE2\x82", false, 20, "a\xEF\xBF\xBD\xEF\xBF\xBD"},   /* not cut: wrong as it is */
      {"a\xED\xA0", true, 20, "a\xEF\xBF\xBD\xEF\xBF\xBD..."}, /* half of what would be wrong */
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    char out[32];
    memset(out, '!', sizeof out);
    utf8_repair(cases[i].text, strlen(cases[i].text), cases[i].cut, out, cases[i].out_size);
    assert_string_equal(out, cases[i].wanted);
    assert_int_equal(out[cases[i].out_size], '!');
  }
}

/* Whatever comes in: valid, within bounds, marked if it was cut. */
static void repair_of_random_bytes_is_valid(void **state) {
  (void)state;
  unsigned seed = 1;
  for (int round = 0; round < 20000; round++) {
    char text[24], out[24];
    size_t length = (size_t)rand_r(&seed) % sizeof text, out_size = 5 + (size_t)rand_r(&seed) % 19;
    for (size_t i = 0; i < length; i++) {
      static const char some[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\xA6\xAD\xFF\xED";
      text[i] = some[(size_t)rand_r(&seed) % (sizeof some - 1)];
    }
    bool cut = rand_r(&seed) % 2 == 0;
    utf8_repair(text, length, cut, out, out_size);
    size_t got = strnlen(out, out_size);
    assert_true(got < out_size);
    assert_true(utf8_is_valid(out, got));
    if (cut)
      assert_true(got >= 3 && strcmp(out + got - 3, "...") == 0);
  }
}

static void cuts_between_characters(void **state) {
  (void)state;
  str text = STR("a\u00e9\u20ac\U0001f600"); /* 1, 2, 3 and 4 bytes */
  static const size_t kept[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
  for (size_t most = 0; most < sizeof kept / sizeof kept[0]; most++)
    assert_int_equal(utf8_cut(text, most).len, kept[most]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_code_point_is_judged),
      cmocka_unit_test(every_short_string_is_judged_as_by_the_reference),
      cmocka_unit_test(long_strings_are_judged_at_every_offset),
      cmocka_unit_test(repair_replaces_and_cuts),
      cmocka_unit_test(repair_of_random_bytes_is_valid),
      cmocka_unit_test(cuts_between_characters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
