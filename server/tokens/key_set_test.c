#include <stdlib.h>

#include "server/tokens/key_set.h"
#include "tests/support/token_maker.h"
#include "tests/support/unit.h"

static int tear_down(void **state) {
  (void)state;
  token_maker_reset();
  return 0;
}

static str jwk(enum crypto_algorithm algorithm, const char *id, const char *extra) {
  return token_jwk(token_key(algorithm, false), id, extra);
}

static void sets_are_parsed(void **state) {
  (void)state;
  struct key_set *set;
  str document = token_printf("{\"keys\":[%s,%s,%s],\"more\":1}",
                              jwk(CRYPTO_RS256, "r", ",\"use\":\"sig\",\"alg\":\"RS256\"").ptr,
                              jwk(CRYPTO_ES256, "e", ",\"key_ops\":[\"verify\"]").ptr,
                              jwk(CRYPTO_EDDSA, "d", ",\"x5c\":[\"...\"]").ptr);
  assert_status_ok(key_set_parse(document, &set));
  assert_int_equal(key_set_count(set), 3);
  assert_non_null(key_set_find(set, STR("r"), CRYPTO_RS256));
  assert_non_null(key_set_find(set, STR("e"), CRYPTO_ES256));
  assert_non_null(key_set_find(set, STR("d"), CRYPTO_EDDSA));
  /* An id is of one algorithm, and no other id will do. */
  assert_null(key_set_find(set, STR("r"), CRYPTO_ES256));
  assert_null(key_set_find(set, STR("R"), CRYPTO_RS256));
  assert_null(key_set_find(set, STR("rr"), CRYPTO_RS256));
  /* Without an id there is only one that it can be. */
  assert_non_null(key_set_find(set, STR(""), CRYPTO_RS256));
  key_set_unref(set);
}

static void keys_of_no_use_are_skipped(void **state) {
  (void)state;
  struct key_set *set;
  str document = token_printf(
      "{\"keys\":[%s,%s,%s,%s,{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"kid\":\"h\"},{\"kty\":\"RSA\",\"n\":"
      "\"AQAB\","
      "\"e\":\"AQAB\",\"kid\":\"short\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"},"
      "{\"kty\":\"EC\",\"crv\":\"secp256k1\"},{\"kty\":1},{},1,\"x\",null,[]]}",
      jwk(CRYPTO_RS256, "good", "").ptr, jwk(CRYPTO_RS256, "enc", ",\"use\":\"enc\"").ptr,
      jwk(CRYPTO_RS256, "ps", ",\"alg\":\"PS256\"").ptr,
      jwk(CRYPTO_RS256, "ops", ",\"key_ops\":[\"encrypt\"]").ptr);
  assert_status_ok(key_set_parse(document, &set));
  assert_int_equal(key_set_count(set), 1);
  assert_non_null(key_set_find(set, STR("good"), CRYPTO_RS256));
  key_set_unref(set);
}

static void two_keys_without_an_id_are_ambiguous(void **state) {
  (void)state;
  struct key_set *set;
  str two = token_printf("{\"keys\":[%s,%s]}", token_jwk(token_key(CRYPTO_ES256, false), "a", "").ptr,
                         token_jwk(token_key(CRYPTO_ES256, true), "b", "").ptr);
  assert_status_ok(key_set_parse(two, &set));
  assert_null(key_set_find(set, STR(""), CRYPTO_ES256));
  assert_non_null(key_set_find(set, STR("a"), CRYPTO_ES256));
  assert_ptr_not_equal(key_set_find(set, STR("a"), CRYPTO_ES256), key_set_find(set, STR("b"), CRYPTO_ES256));
  key_set_unref(set);
}

static void documents_that_are_refused(void **state) {
  (void)state;
  struct key_set *set;
  static const char *const documents[] = {"",
                                          "[]",
                                          "{}",
                                          "{\"keys\":[]}",
                                          "{\"keys\":{}}",
                                          "{\"keys\":null}",
                                          "{\"keys\":[],\"keys\":[]}",
                                          "{\"a\":\"no PEM\"}",
                                          "<html></html>",
                                          "{\"keys\":[[[[[[[[[[]]]]]]]]]]}"};
  for (size_t i = 0; i < UNIT_COUNT(documents); i++)
    assert_status_code(key_set_parse(str_from_cstr(documents[i]), &set), STATUS_INVALID_ARGUMENT);
  str one = jwk(CRYPTO_EDDSA, "a", "");
  struct buf many = {0};
  buf_append_str(&many, STR("{\"keys\":["));
  for (unsigned i = 0; i <= KEY_SET_KEYS_MAX; i++) {
    buf_append_str(&many, one);
    buf_append_byte(&many, i == KEY_SET_KEYS_MAX ? ']' : ',');
  }
  buf_append_byte(&many, '}');
  assert_status_code(key_set_parse(buf_str(&many), &set), STATUS_INVALID_ARGUMENT);
  while (many.len <= KEY_SET_BYTES_MAX)
    buf_append_byte(&many, ' ');
  assert_status_code(key_set_parse(buf_str(&many), &set), STATUS_INVALID_ARGUMENT);
  buf_fini(&many);
}

static struct key_set *set_of(str document) {
  struct key_set *set = NULL;
  assert_status_ok(key_set_parse(document, &set));
  return set;
}

static void sets_are_compared_by_ids_and_keys(void **state) {
  (void)state;
  str a = jwk(CRYPTO_ES256, "a", ""), b = jwk(CRYPTO_EDDSA, "b", ""),
      other = token_jwk(token_key(CRYPTO_ES256, true), "a", "");
  struct key_set *sets[] = {set_of(token_printf("{\"keys\":[%s,%s]}", a.ptr, b.ptr)),
                            set_of(token_printf("{\"keys\":[%s,%s]}", b.ptr, a.ptr)),
                            set_of(token_printf("{\"keys\":[%s]}", a.ptr)),
                            set_of(token_printf("{\"keys\":[%s,%s]}", other.ptr, b.ptr))};
  assert_true(key_set_equal(sets[0], sets[1]));
  assert_false(key_set_equal(sets[0], sets[2]));
  assert_false(key_set_equal(sets[2], sets[0]));
  assert_false(key_set_equal(sets[0], sets[3]));
  for (size_t i = 0; i < UNIT_COUNT(sets); i++)
    key_set_unref(sets[i]);
}

static void discovery_names_the_keys(void **state) {
  (void)state;
  struct buf url = {0};
  assert_status_ok(
      discovery_parse(STR("{\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://i.example/k\"}"),
                      STR("https://i.example"), &url));
  assert_str_is(buf_str(&url), "https://i.example/k");
  static const char *const refused[] = {
      "{\"issuer\":\"https://i.example/\",\"jwks_uri\":\"https://i.example/k\"}",
      "{\"issuer\":\"https://evil.example\",\"jwks_uri\":\"https://i.example/k\"}",
      "{\"jwks_uri\":\"https://i.example/k\"}",
      "{\"issuer\":\"https://i.example\"}",
      "{\"issuer\":\"https://i.example\",\"jwks_uri\":\"\"}",
      "{\"issuer\":\"https://i.example\",\"jwks_uri\":[]}",
      ("{\"issuer\":\"https://evil.example\",\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://"
       "i.example/k\"}"),
      "[]",
  };
  for (size_t i = 0; i < UNIT_COUNT(refused); i++)
    assert_status_code(discovery_parse(str_from_cstr(refused[i]), STR("https://i.example"), &url),
                       STATUS_INVALID_ARGUMENT);
  buf_fini(&url);
}

int main(void) {
#define CASE(test) cmocka_unit_test_teardown(test, tear_down)
  const struct CMUnitTest tests[] = {
      CASE(sets_are_parsed),
      CASE(keys_of_no_use_are_skipped),
      CASE(two_keys_without_an_id_are_ambiguous),
      CASE(documents_that_are_refused),
      CASE(sets_are_compared_by_ids_and_keys),
      CASE(discovery_names_the_keys),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  token_maker_end();
  return failed;
}
