#include "server/identity/fields.h"
#include "tests/support/unit.h"

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

static void test_made_ids(void **state) {
  (void)state;
  char one[FIELDS_UID_MADE_BYTES + 1], other[FIELDS_UID_MADE_BYTES + 1];
  fields_make_uid(one);
  fields_make_uid(other);
  assert_int_equal(strlen(one), FIELDS_UID_MADE_BYTES);
  assert_int_equal(strspn(one, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
                   FIELDS_UID_MADE_BYTES);
  assert_string_not_equal(one, other);
  assert_status_ok(fields_check_uid(str_from_cstr(one)));
  assert_status_code(fields_check_uid(STR("")), STATUS_INVALID_ARGUMENT);
  assert_status_code(fields_check_uid(STR("a\nb")), STATUS_INVALID_ARGUMENT);
  assert_status_code(fields_check_uid(STR("\xff")), STATUS_INVALID_ARGUMENT);
  char most[FIELDS_UID_BYTES_MAX + 1];
  memset(most, 'x', sizeof most);
  assert_status_ok(fields_check_uid(str_make(most, FIELDS_UID_BYTES_MAX)));
  assert_status_code(fields_check_uid(str_make(most, sizeof most)), STATUS_INVALID_ARGUMENT);
}

static void test_addresses(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",       "a",           "@b.c",      "a@",        "a@b@c",   "a b@c.d", "a@b c",     "a@.b",    "a@b.",
      "a@b..c", "a@b\r\nX: y", "a\x01@b.c", "\"a\"@b.c", "<a@b.c>", "a,b@c.d", "a@b.c\x7f", "\xff@b.c"};
  str email;
  assert_status_ok(fields_canonical_email(STR("Ann.Lee+tag@Example.COM"), &arena, &email));
  assert_str_is(email, "ann.lee+tag@example.com");
  assert_status_ok(fields_canonical_email(STR("\xc3\x84nn@b\xc3\xbc.example"), &arena, &email));
  assert_str_is(email, "\xc3\x84nn@b\xc3\xbc.example"); /* only ASCII letters are folded */
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_status_code(fields_canonical_email(str_from_cstr(bad[i]), &arena, &email),
                       STATUS_INVALID_ARGUMENT);
  char local[65 + 5];
  memset(local, 'x', 65);
  memcpy(local + 65, "@b.cd", 5);
  assert_status_ok(fields_canonical_email(str_make(local + 1, 64 + 5), &arena, &email));
  assert_status_code(fields_canonical_email(str_make(local, 65 + 5), &arena, &email),
                     STATUS_INVALID_ARGUMENT);
}

static void assert_claims(const char *json, const char *wanted) {
  str claims = {0};
  status result = fields_canonical_claims(str_from_cstr(json), &arena, &claims);
  if (wanted == NULL)
    assert_status_code(result, STATUS_INVALID_ARGUMENT);
  else
    assert_str_is(claims, wanted);
}

static void test_claims(void **state) {
  (void)state;
  assert_claims("{ \"a\" : [1, true, \"x\"] }", "{\"a\":[1,true,\"x\"]}");
  assert_claims("{}", "");
  static const char *const bad[] = {"",
                                    "[]",
                                    "1",
                                    "{\"a\":1,\"a\":2}",
                                    "{\"sub\":\"x\"}",
                                    "{\"firebase\":{}}",
                                    "{\"exp\":1}",
                                    "{\"email\":1}",
                                    "{\"a\":[[1]]}",
                                    "{\"a\":{\"__type__\":1}}",
                                    "{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":1}]}]}]}]}"};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++)
    assert_claims(bad[i], NULL);
  char big[FIELDS_CLAIMS_BYTES_MAX + 2];
  memset(big, ' ', sizeof big);
  memcpy(big, "{\"a\":1}", 7);
  str claims;
  assert_status_ok(fields_canonical_claims(str_make(big, FIELDS_CLAIMS_BYTES_MAX), &arena, &claims));
  assert_status_code(fields_canonical_claims(str_make(big, FIELDS_CLAIMS_BYTES_MAX + 1), &arena, &claims),
                     STATUS_INVALID_ARGUMENT);
}

static void assert_merged(const char *weaker, const char *stronger, const char *wanted) {
  struct buf out = {0};
  assert_status_ok(fields_append_claims(str_from_cstr(weaker), str_from_cstr(stronger), &out));
  assert_str_is(out.len == 0 ? STR("") : buf_str(&out), wanted);
  buf_fini(&out);
}

static void test_merging(void **state) {
  (void)state;
  assert_merged("", "", "");
  assert_merged("{\"a\":1}", "", "\"a\":1");
  assert_merged("", "{\"b\":2}", "\"b\":2");
  assert_merged("{\"a\":1,\"b\":1}", "{\"b\":2}", "\"a\":1,\"b\":2");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_made_ids, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_claims, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_merging, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
