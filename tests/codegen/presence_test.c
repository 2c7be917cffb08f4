/* proto3 `optional`: set or not is told apart after a round trip, with the zero value too. */
#include <stdlib.h>

#include "kinds.skerry.h"
#include "odd.skerry.h"
#include "tests/codegen/tests.h"

static Test__Kinds__V1__Book *round_trip(const Test__Kinds__V1__Book *book, size_t expected_bytes) {
  uint8_t bytes[256];
  size_t len = test__kinds__v1__book__pack(book, bytes);
  assert_int_equal(len, expected_bytes);
  Test__Kinds__V1__Book *copy = test__kinds__v1__book__unpack(NULL, len, bytes);
  assert_non_null(copy);
  return copy;
}

static void unset_stays_unset(void **state) {
  (void)state;
  Test__Kinds__V1__Book book = TEST__KINDS__V1__BOOK__INIT;
  Test__Kinds__V1__Book *copy = round_trip(&book, 0);
  assert_int_equal(copy->_title_case, TEST__KINDS__V1__BOOK___TITLE__NOT_SET);
  assert_int_equal(copy->_pages_case, TEST__KINDS__V1__BOOK___PAGES__NOT_SET);
  test__kinds__v1__book__free_unpacked(copy, NULL);
}

static void zero_is_not_unset(void **state) {
  (void)state;
  Test__Kinds__V1__Book book = TEST__KINDS__V1__BOOK__INIT;
  char empty[] = "";
  book._title_case = TEST__KINDS__V1__BOOK___TITLE_TITLE;
  book.title = empty;
  book._pages_case = TEST__KINDS__V1__BOOK___PAGES_PAGES;
  book.pages = 0;
  Test__Kinds__V1__Book *copy = round_trip(&book, 4);
  assert_int_equal(copy->_title_case, TEST__KINDS__V1__BOOK___TITLE_TITLE);
  assert_string_equal(copy->title, "");
  assert_int_equal(copy->_pages_case, TEST__KINDS__V1__BOOK___PAGES_PAGES);
  assert_int_equal(copy->pages, 0);
  test__kinds__v1__book__free_unpacked(copy, NULL);
}

static void values_come_back(void **state) {
  (void)state;
  Test__Kinds__V1__Book book = TEST__KINDS__V1__BOOK__INIT;
  book._pages_case = TEST__KINDS__V1__BOOK___PAGES_PAGES;
  book.pages = 300;
  Test__Kinds__V1__Book *copy = round_trip(&book, 3);
  assert_int_equal(copy->_title_case, 0);
  assert_int_equal(copy->pages, 300);
  test__kinds__v1__book__free_unpacked(copy, NULL);
}

static void enums_messages_and_bytes_too(void **state) {
  (void)state;
  /* maybe_Enum (4) = 0, maybe_inner (5) = {}, maybe_bytes (6) = "" */
  static const uint8_t bytes[] = {0x20, 0x00, 0x2a, 0x00, 0x32, 0x00};
  Test__OddPackage__V1beta2__Outer *outer =
      test__odd__package__v1beta2__outer__unpack(NULL, sizeof(bytes), bytes);
  assert_non_null(outer);
  assert_int_equal(outer->_maybe__enum_case, 4);
  assert_int_equal(outer->_maybe_inner_case, 5);
  assert_non_null(outer->maybe_inner);
  assert_int_equal(outer->_maybe_bytes_case, 6);
  uint8_t again[sizeof(bytes)];
  assert_int_equal(test__odd__package__v1beta2__outer__pack(outer, again), sizeof(bytes));
  assert_memory_equal(again, bytes, sizeof(bytes));
  test__odd__package__v1beta2__outer__free_unpacked(outer, NULL);
}

int presence_tests(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unset_stays_unset),
      cmocka_unit_test(zero_is_not_unset),
      cmocka_unit_test(values_come_back),
      cmocka_unit_test(enums_messages_and_bytes_too),
  };
  return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
