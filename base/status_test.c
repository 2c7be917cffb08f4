#include "base/utf8.h"
#include "tests/support/unit.h"

/* Written out once more, from gRPC's statuscodes.md: the list in the header must not drift. */
static const struct {
  int number;
  const char *name;
} grpc_codes[] = {{0, "OK"},
                  {1, "CANCELLED"},
                  {2, "UNKNOWN"},
                  {3, "INVALID_ARGUMENT"},
                  {4, "DEADLINE_EXCEEDED"},
                  {5, "NOT_FOUND"},
                  {6, "ALREADY_EXISTS"},
                  {7, "PERMISSION_DENIED"},
                  {8, "RESOURCE_EXHAUSTED"},
                  {9, "FAILED_PRECONDITION"},
                  {10, "ABORTED"},
                  {11, "OUT_OF_RANGE"},
                  {12, "UNIMPLEMENTED"},
                  {13, "INTERNAL"},
                  {14, "UNAVAILABLE"},
                  {15, "DATA_LOSS"},
                  {16, "UNAUTHENTICATED"}};

static void codes_are_those_of_grpc(void **state) {
  (void)state;
  assert_int_equal(UNIT_COUNT(grpc_codes), STATUS_CODE_MAX + 1);
  for (size_t i = 0; i < UNIT_COUNT(grpc_codes); i++) {
    assert_string_equal(status_code_name(grpc_codes[i].number), grpc_codes[i].name);
    status s = status_default((enum status_code)i);
    assert_int_equal(s.code, i);
    assert_int_equal(s.message[0] == '\0', i == 0);
    assert_int_equal(status_is_ok(&s), i == 0);
  }
  assert_int_equal(STATUS_UNAVAILABLE, 14);
}

static void unlisted_codes_are_unknown(void **state) {
  (void)state;
  const int unlisted[] = {-1, 17, 1000, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < UNIT_COUNT(unlisted); i++) {
    assert_string_equal(status_code_name(unlisted[i]), "UNKNOWN");
    status s = status_make((enum status_code)unlisted[i], "text");
    assert_int_equal(s.code, STATUS_UNKNOWN);
    s = status_default((enum status_code)unlisted[i]);
    assert_int_equal(s.code, STATUS_UNKNOWN);
  }
}

static void messages_are_formatted_and_repaired(void **state) {
  (void)state;
  status s = status_make(STATUS_NOT_FOUND, "%s is %d", "a\xFFz", 7);
  assert_int_equal(s.code, STATUS_NOT_FOUND);
  assert_string_equal(s.message, "a\xEF\xBF\xBDz is 7");
}

static void fill(char *text, size_t lead, const char *character, size_t total) {
  memset(text, 'x', lead);
  size_t at = lead, step = strlen(character);
  for (; at + step <= total; at += step)
    memcpy(text + at, character, step);
  text[at] = '\0';
}

static void long_messages_are_cut_between_characters(void **state) {
  (void)state;
  const char *characters[] = {"y", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\xA6\xAD"};
  char text[2000];
  for (size_t c = 0; c < UNIT_COUNT(characters); c++) {
    for (size_t lead = 0; lead < 8; lead++) {
      for (size_t total = STATUS_MESSAGE_MAX - 12; total < STATUS_MESSAGE_MAX + 12; total++) {
        fill(text, lead, characters[c], total);
        status s = status_make(STATUS_ABORTED, "%s", text);
        size_t length = strlen(s.message);
        assert_true(utf8_is_valid(s.message, length));
        assert_null(strstr(s.message, "\xEF\xBF\xBD"));
        if (strlen(text) <= STATUS_MESSAGE_MAX) {
          assert_string_equal(s.message, text);
          continue;
        }
        assert_string_equal(s.message + length - 3, "...");
        assert_memory_equal(s.message, text, length - 3);
        assert_in_range(length, STATUS_MESSAGE_MAX - 3, STATUS_MESSAGE_MAX);
      }
    }
  }
}

static status fail_second(int *steps) {
  STATUS_TRY(status_ok());
  (*steps)++;
  STATUS_TRY(status_default(STATUS_ABORTED));
  (*steps)++;
  return status_ok();
}

static void try_returns_the_failure(void **state) {
  (void)state;
  int steps = 0;
  assert_status_code(fail_second(&steps), STATUS_ABORTED);
  assert_int_equal(steps, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(codes_are_those_of_grpc),
      cmocka_unit_test(unlisted_codes_are_unknown),
      cmocka_unit_test(messages_are_formatted_and_repaired),
      cmocka_unit_test(long_messages_are_cut_between_characters),
      cmocka_unit_test(try_returns_the_failure),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
