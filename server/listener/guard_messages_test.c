/* Lengths of messages over pieces of any size. */
#include <string.h>

#include "server/listener/guard_messages.h"
#include "tests/support/unit.h"

/* How many bytes are good when they come in pieces of `piece`. */
static uint32_t good(const uint8_t *bytes, uint32_t len, uint32_t piece) {
  struct guard_messages messages = {0};
  for (uint32_t at = 0; at < len; at += piece) {
    uint32_t part = piece < len - at ? piece : len - at,
             passed = guard_messages_pass(&messages, bytes + at, part);
    if (passed < part)
      return at + passed;
  }
  return len;
}

static const struct {
  const char *bytes;
  uint32_t len, good;
} cases[] = {
    {"", 0, 0},
    {"\0", 1, 1},
    {"\0\0\0\0\2hi", 7, 7},
    {"\0\0\0\0\2hi\1\0\0\0\1x\0\0\0\0\0\0\0\0\0\0", 23, 23},
    {"\0\x7f\xff\xff\xffx", 6, 6},
    {"\0\x80\0\0\0x", 6, 1},
    {"\0\xff\xff\xff\xff", 5, 1},
    {"\0\xff\xff\xff\xfb", 5, 1},
    {"\xff\0\0\0\1\xff", 6, 6},                 /* a flag, and a message of one byte */
    {"\0\0\0\0\2\xff\xff\0\xff", 9, 8},         /* in the second message */
    {"\0\0\0\0\0\0\x80", 7, 6},                 /* after an empty one */
    {"\0\0\0\0\3\0\xff\xff\0\0\0\0\1", 13, 13}, /* what looks like a prefix in a message */
};

static void test_cases(void **state) {
  (void)state;
  for (size_t i = 0; i < UNIT_COUNT(cases); i++)
    for (uint32_t piece = 1; piece <= cases[i].len + 1; piece++)
      if (good((const uint8_t *)cases[i].bytes, cases[i].len, piece) != cases[i].good)
        fail_msg("case %zu in pieces of %u", i, piece);
}

static void test_the_largest_message_ends(void **state) {
  (void)state;
  static uint8_t block[1 << 16];
  struct guard_messages messages = {0};
  const uint8_t prefix[] = {0, 0x7f, 0xff, 0xff, 0xff}, lies[] = {0, 0x80};
  memset(block, 0xff, sizeof block);
  assert_int_equal(guard_messages_pass(&messages, prefix, sizeof prefix), sizeof prefix);
  for (uint32_t left = INT32_MAX; left > 0;) {
    uint32_t part = left < sizeof block ? left : (uint32_t)sizeof block;
    assert_int_equal(guard_messages_pass(&messages, block, part), part);
    left -= part;
  }
  assert_int_equal(guard_messages_pass(&messages, lies, sizeof lies), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cases),
      cmocka_unit_test(test_the_largest_message_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
