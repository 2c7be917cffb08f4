#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "base/arena.h"
#include "server/firestore/page_token.h"
#include "storage/kv.h"

#define SECRET STR("0123456789abcdef0123456789abcdef")
#define REQUEST STR("ListDocuments\0rooms")

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, 1 << 20);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  return 0;
}

static str encoded(str key, int64_t version) {
  str text;
  status s = page_token_encode(SECRET, REQUEST, &(struct page_token){key, version}, &arena, &text);
  assert_int_equal(s.code, STATUS_OK);
  assert_int_equal(text.ptr[text.len], '\0');
  return text;
}

static void assert_refused(str secret, str request, str text) {
  struct page_token token;
  status s = page_token_decode(secret, request, text, &arena, &token);
  assert_int_equal(s.code, STATUS_INVALID_ARGUMENT);
  assert_string_equal(s.message, "page_token is not valid for this request.");
}

static void test_round_trip(void **state) {
  (void)state;
  static char bytes[KV_KEY_MAX_BYTES];
  const size_t lengths[] = {0, 1, 2, 3, 100, KV_KEY_MAX_BYTES};
  const int64_t versions[] = {0, 1, -1, INT64_MAX, INT64_MIN, 1790000000000000};
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (char)(i * 7 + i / 256);
  for (size_t i = 0; i < 6; i++) {
    str text = encoded(str_make(bytes, lengths[i]), versions[i]);
    for (size_t at = 0; at < text.len; at++)
      assert_non_null(
          strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", text.ptr[at]));
    struct page_token token;
    status s = page_token_decode(SECRET, REQUEST, text, &arena, &token);
    assert_int_equal(s.code, STATUS_OK);
    assert_int_equal(token.version, versions[i]);
    assert_true(str_eq(token.key, str_make(bytes, lengths[i])));
  }
}

static void test_somebody_elses(void **state) {
  (void)state;
  str text = encoded(STR("key"), 7);
  assert_refused(STR("0123456789abcdef0123456789abcdeg"), REQUEST, text);
  assert_refused(SECRET, STR("ListDocuments\0room"), text);
  assert_refused(SECRET, STR("ListDocuments\0roomsk"), text);
  assert_refused(SECRET, STR(""), text);
}

/* Every bit of a token matters, and so does its length. */
static void test_damaged(void **state) {
  (void)state;
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (size_t key_length = 0; key_length < 3; key_length++) {
    str text = encoded(str_make("key", key_length), 7);
    for (size_t at = 0; at < text.len; at++)
      for (size_t digit = 0; digit < 64; digit++) {
        if (digits[digit] == text.ptr[at])
          continue;
        char copy[64];
        assert_true(text.len <= sizeof copy);
        memcpy(copy, text.ptr, text.len);
        copy[at] = digits[digit];
        assert_refused(SECRET, REQUEST, str_make(copy, text.len));
      }
    for (size_t length = 0; length < text.len; length++)
      assert_refused(SECRET, REQUEST, str_make(text.ptr, length));
    str longer = arena_printf(&arena, STR_FMT "A", STR_ARG(text));
    assert_refused(SECRET, REQUEST, longer);
    longer = arena_printf(&arena, STR_FMT "=", STR_ARG(text));
    assert_refused(SECRET, REQUEST, longer);
  }
  assert_refused(SECRET, REQUEST, STR(""));
  assert_refused(SECRET, REQUEST, STR("!"));
  char *large = arena_calloc(&arena, 1, 100000);
  memset(large, 'A', 100000);
  assert_refused(SECRET, REQUEST, str_make(large, 100000));
}

/* The beginning of a token's bytes cannot pass for the end of a longer request: nine bytes are moved from
 * one to the other. Version and key are zeros, so that what is left is a token again. */
static void test_request_and_token_are_apart(void **state) {
  (void)state;
  static const char zeros[20];
  str text = encoded(str_make(zeros, sizeof zeros), 0), unused;
  struct page_token token;
  str shorter = arena_printf(&arena, "%.24s%s", text.ptr, text.ptr + 36);
  char request[64];
  memcpy(request, REQUEST.ptr, REQUEST.len);
  memset(request + REQUEST.len, 0, 9);
  assert_refused(SECRET, str_make(request, REQUEST.len + 9), shorter);
  /* The same bytes do make a token where they are one. */
  token = (struct page_token){str_make(zeros, sizeof zeros - 9), 0};
  status s = page_token_encode(SECRET, REQUEST, &token, &arena, &unused);
  assert_int_equal(s.code, STATUS_OK);
  assert_int_equal(unused.len, shorter.len);
}

static void test_no_memory(void **state) {
  (void)state;
  struct arena none;
  arena_init(&none, NULL, 0, 0);
  str text = encoded(STR("key"), 7), unused;
  struct page_token token = {STR("key"), 7};
  status s = page_token_encode(SECRET, REQUEST, &token, &none, &unused);
  assert_int_equal(s.code, STATUS_RESOURCE_EXHAUSTED);
  s = page_token_decode(SECRET, REQUEST, text, &none, &token);
  assert_int_equal(s.code, STATUS_RESOURCE_EXHAUSTED);
  arena_fini(&none);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip), cmocka_unit_test(test_somebody_elses),
      cmocka_unit_test(test_damaged),    cmocka_unit_test(test_request_and_token_are_apart),
      cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
