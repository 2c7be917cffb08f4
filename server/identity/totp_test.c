#include <ctype.h>

#include "server/identity/totp.h"
#include "tests/support/unit.h"

static const str secret = {"12345678901234567890", 20}; /* of RFC 6238, appendix B */

static void codes_agree_with_rfc_6238(void **state) {
  (void)state;
  const struct {
    int64_t seconds;
    const char *code; /* the last six of the RFC's eight digits */
  } known[] = {{59, "287082"},         {1111111109, "081804"}, {1111111111, "050471"},
               {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}};
  for (size_t i = 0; i < UNIT_COUNT(known); i++) {
    char code[TOTP_DIGITS + 1];
    totp_code_at(secret, totp_step_at(known[i].seconds * 1000000), code);
    assert_string_equal(code, known[i].code);
  }
  assert_int_equal(totp_step_at(29999999), 0);
  assert_int_equal(totp_step_at(30000000), 1);
  assert_int_equal(totp_step_at(-1), -1);
}

static void codes_of_rfc_4226(void **state) {
  (void)state;
  const char *const known[] = {"755224", "287082", "359152", "969429", "338314",
                               "254676", "287922", "162583", "399871", "520489"};
  for (size_t i = 0; i < UNIT_COUNT(known); i++) {
    char code[TOTP_DIGITS + 1];
    totp_code_at(secret, (int64_t)i, code);
    assert_string_equal(code, known[i]);
  }
}

static void the_steps_beside_are_taken(void **state) {
  (void)state;
  int64_t now_us = 4 * INT64_C(30000000) + 5, step = -7; /* step 4 */
  assert_true(totp_check(secret, STR("969429"), now_us, INT64_MIN, &step));
  assert_int_equal(step, 3);
  assert_true(totp_check(secret, STR("338 314"), now_us, INT64_MIN, &step));
  assert_int_equal(step, 4);
  assert_true(totp_check(secret, STR("254676"), now_us, INT64_MIN, &step));
  assert_int_equal(step, 5);
  step = -7;
  assert_false(totp_check(secret, STR("359152"), now_us, INT64_MIN, &step));
  assert_false(totp_check(secret, STR("287922"), now_us, INT64_MIN, &step));
  assert_int_equal(step, -7);
}

static void a_step_is_used_once(void **state) {
  (void)state;
  int64_t now_us = 4 * INT64_C(30000000), step;
  assert_true(totp_check(secret, STR("338314"), now_us, 3, &step));
  assert_false(totp_check(secret, STR("338314"), now_us, 4, &step));
  assert_false(totp_check(secret, STR("969429"), now_us, 4, &step)); /* nor an older one */
  assert_true(totp_check(secret, STR("254676"), now_us, 4, &step));
  assert_int_equal(step, 5);
  /* A clock that went back gives no code a second life. */
  assert_false(totp_check(secret, STR("338314"), now_us, 1000, &step));
}

static void what_is_no_code_is_refused(void **state) {
  (void)state;
  const char *const bad[] = {"", "33831", "3383140", "33831x", "-38314", "338314\n", "       "};
  int64_t step;
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_false(totp_check(secret, str_from_cstr(bad[i]), 4 * INT64_C(30000000), INT64_MIN, &step));
}

static void base32_agrees_with_rfc_4648(void **state) {
  (void)state;
  const char *const pairs[][2] = {{"", ""},
                                  {"f", "MY"},
                                  {"fo", "MZXQ"},
                                  {"foo", "MZXW6"},
                                  {"foob", "MZXW6YQ"},
                                  {"fooba", "MZXW6YTB"},
                                  {"foobar", "MZXW6YTBOI"}};
  for (size_t i = 0; i < UNIT_COUNT(pairs); i++) {
    struct buf text = {0}, bytes = {0};
    totp_base32_append(str_from_cstr(pairs[i][0]), &text);
    assert_str_is(buf_str(&text), pairs[i][1]);
    assert_true(totp_base32_decode(buf_str(&text), &bytes));
    assert_str_is(buf_str(&bytes), pairs[i][0]);
    buf_fini(&text);
    buf_fini(&bytes);
  }
  struct buf bytes = {0};
  assert_true(totp_base32_decode(STR("mzxw 6ytb-oi======"), &bytes));
  assert_str_is(buf_str(&bytes), "foobar");
  const char *const bad[] = {"M", "MZXW6Y1B", "MZX", "MZXW6YTB0I", "\xc3\xa9"};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_false(totp_base32_decode(str_from_cstr(bad[i]), &bytes));
  assert_int_equal(bytes.len, 6);
  buf_fini(&bytes);
}

static void the_uri_is_for_apps(void **state) {
  (void)state;
  struct buf uri = {0};
  totp_uri_append(secret, STR("Harbour & Co"), STR("ann@example.com"), &uri);
  assert_str_is(buf_str(&uri), "otpauth://totp/Harbour%20%26%20Co:ann%40example.com"
                               "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Harbour%20%26%20Co"
                               "&algorithm=SHA1&digits=6&period=30");
  buf_fini(&uri);
  uint8_t one[TOTP_SECRET_BYTES], other[TOTP_SECRET_BYTES];
  totp_secret_make(one);
  totp_secret_make(other);
  assert_memory_not_equal(one, other, sizeof one);
}

static void recovery_codes_are_used_once(void **state) {
  (void)state;
  struct totp_recovery recovery, again;
  char codes[TOTP_RECOVERY_CODES][TOTP_RECOVERY_TEXT_BYTES + 1];
  uint8_t stored[TOTP_RECOVERY_STORED_BYTES];
  totp_recovery_make(&recovery, codes);
  assert_int_equal(totp_recovery_left(&recovery), TOTP_RECOVERY_CODES);
  for (unsigned i = 0; i < TOTP_RECOVERY_CODES; i++) {
    assert_int_equal(strlen(codes[i]), TOTP_RECOVERY_TEXT_BYTES);
    totp_recovery_encode(&recovery, stored);
    assert_true(totp_recovery_decode(str_make(stored, sizeof stored), &again));
    recovery = again;
    if (i % 2 == 1) /* as people type */
      for (char *c = codes[i]; *c != '\0'; c++)
        *c = (char)(*c == '-' ? ' ' : tolower((unsigned char)*c));
    assert_true(totp_recovery_use(&recovery, str_from_cstr(codes[i])));
    assert_false(totp_recovery_use(&recovery, str_from_cstr(codes[i])));
    assert_int_equal(totp_recovery_left(&recovery), TOTP_RECOVERY_CODES - 1 - i);
  }
  char others[TOTP_RECOVERY_CODES][TOTP_RECOVERY_TEXT_BYTES + 1];
  totp_recovery_make(&again, others);
  assert_false(totp_recovery_use(&again, str_from_cstr(codes[0])));
  assert_false(totp_recovery_use(&again, STR("")));
  assert_false(totp_recovery_use(&again, STR("AAAA-AAAA-AAAA-AAA")));
  assert_int_equal(totp_recovery_left(&again), TOTP_RECOVERY_CODES);
  totp_recovery_encode(&again, stored);
  for (unsigned i = 0; i < TOTP_RECOVERY_CODES; i++) /* what is stored does not tell them */
    assert_null(memmem(stored, sizeof stored, others[i], 4));
  stored[0]++;
  assert_false(totp_recovery_decode(str_make(stored, sizeof stored), &again));
  assert_false(totp_recovery_decode(str_make(stored, 5), &again));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(codes_agree_with_rfc_6238),  cmocka_unit_test(codes_of_rfc_4226),
      cmocka_unit_test(the_steps_beside_are_taken), cmocka_unit_test(a_step_is_used_once),
      cmocka_unit_test(what_is_no_code_is_refused), cmocka_unit_test(base32_agrees_with_rfc_4648),
      cmocka_unit_test(the_uri_is_for_apps),        cmocka_unit_test(recovery_codes_are_used_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
