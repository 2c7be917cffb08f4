/* What a token may and may not be. Published examples: RFC 7515, appendix A; RFC 8037, appendix A.4. */
#include <stdlib.h>

#include "base/base64url.h"
#include "server/tokens/jwt.h"
#include "storage/document/codec.h"
#include "tests/support/jose_vectors.h"
#include "tests/support/token_maker.h"
#include "tests/support/unit.h"

enum { NOW_S = 1700000000 };

static struct arena arena;

static int set_up(void **state) {
  (void)state;
  arena_init(&arena, NULL, 0, JWT_MEMORY_BYTES_MAX);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  arena_fini(&arena);
  token_maker_reset();
  return 0;
}

static const char RS256[] = "{\"alg\":\"RS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}";
static const char CLAIMS[] =
    "{\"iss\":\"https://"
    "issuer.example\",\"sub\":\"alice\",\"aud\":\"app\",\"exp\":1700003600,\"iat\":1700000000}";

static status parse(const char *header, const char *payload, struct jwt *ret) {
  return jwt_parse(token_make(header, payload, token_key(CRYPTO_RS256, false)), &arena, ret);
}

static void published_tokens_are_parsed_and_verified(void **state) {
  (void)state;
  uint8_t n[512], e[8], x[64], y[64];
  size_t n_len, e_len = 0, x_len, y_len = 0;
  struct crypto_key *rsa, *ec;
  struct jwt jwt;
  assert_true(base64url_decode(STR(JOSE_RSA_N), n, &n_len) && base64url_decode(STR(JOSE_RSA_E), e, &e_len));
  assert_true(base64url_decode(STR(JOSE_EC_X), x, &x_len) && base64url_decode(STR(JOSE_EC_Y), y, &y_len));
  assert_status_ok(crypto_key_from_rsa(str_make(n, n_len), str_make(e, e_len), &rsa));
  assert_status_ok(crypto_key_from_p256(str_make(x, x_len), str_make(y, y_len), &ec));
  assert_status_ok(jwt_parse(STR(JOSE_RSA_INPUT "." JOSE_RSA_SIGNATURE), &arena, &jwt));
  assert_int_equal(jwt.algorithm, JWT_RS256);
  assert_str_is(jwt.issuer, "joe");
  assert_int_equal(jwt.expires_s, 1300819380);
  assert_true(jwt.issued_s == JWT_NO_TIME);
  assert_true(jwt_is_signed_by(&jwt, rsa));
  assert_false(jwt_is_signed_by(&jwt, ec));
  assert_status_ok(jwt_parse(STR(JOSE_EC_INPUT "." JOSE_EC_SIGNATURE), &arena, &jwt));
  assert_true(jwt_is_signed_by(&jwt, ec));
  assert_false(jwt_is_signed_by(&jwt, rsa));
  /* A signed text that is no JWT. */
  assert_status_code(jwt_parse(STR(JOSE_ED_INPUT "." JOSE_ED_SIGNATURE), &arena, &jwt),
                     STATUS_UNAUTHENTICATED);
  crypto_key_free(rsa);
  crypto_key_free(ec);
}

static void every_algorithm_works_with_its_key_only(void **state) {
  (void)state;
  static const char *const headers[] = {"{\"alg\":\"RS256\"}", "{\"alg\":\"ES256\"}", "{\"alg\":\"EdDSA\"}"};
  for (unsigned header = 0; header < 3; header++)
    for (unsigned signer = 0; signer < 3; signer++) {
      struct jwt jwt;
      str token = token_make(headers[header], CLAIMS, token_key((enum crypto_algorithm)signer, false));
      assert_status_ok(jwt_parse(token, &arena, &jwt));
      for (unsigned key = 0; key < 3; key++)
        assert_int_equal(jwt_is_signed_by(&jwt, token_key((enum crypto_algorithm)key, false)),
                         header == signer && signer == key);
      assert_false(jwt_is_signed_by(&jwt, token_key((enum crypto_algorithm)signer, true)));
    }
}

static void headers_that_are_refused(void **state) {
  (void)state;
  static const char *const headers[] = {
      "{}",
      "{\"alg\":\"HS256\"}",
      "{\"alg\":\"hs256\"}",
      "{\"alg\":\"RS512\"}",
      "{\"alg\":\"PS256\"}",
      "{\"alg\":\"rs256\"}",
      "{\"alg\":\"None\"}",
      "{\"alg\":\"NONE\"}",
      "{\"alg\":\"none\"}", /* it has a signature */
      "{\"alg\":\"\"}",
      "{\"alg\":null}",
      "{\"alg\":[\"RS256\"]}",
      "{\"alg\":{\"a\":\"RS256\"}}",
      "{\"alg\":1}",
      "{\"ALG\":\"RS256\"}",
      "{\"alg\":\"RS256\",\"alg\":\"none\"}",
      "{\"alg\":\"none\",\"alg\":\"RS256\"}",
      "{\"alg\":\"RS256\",\"\\u0061lg\":\"RS256\"}",
      "{\"alg\":\"RS256\\u0000\"}",
      "{\"alg\":\"RS256\",\"crit\":[]}",
      "{\"alg\":\"RS256\",\"crit\":[\"exp\"],\"exp\":1}",
      "{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}",
      "{\"alg\":\"RS256\",\"kid\":1}",
      "{\"alg\":\"RS256\",\"kid\":\"\"}",
      "{\"alg\":\"RS256\",\"typ\":1}",
      "{\"alg\":\"RS256\",\"typ\":\"logout+jwt\"}",
      "{\"alg\":\"RS256\",\"typ\":\"secevent+jwt\"}",
      "[\"alg\",\"RS256\"]",
      "\"RS256\"",
      "{\"alg\":\"RS256\"",
      "{\"alg\":\"RS256\"}x",
      "{\"alg\":\"RS256\",}",
      "{'alg':'RS256'}",
      "{\"alg\":\"RS256\",\"x\":\"\xff\"}",
      "",
      "null",
  };
  for (size_t i = 0; i < UNIT_COUNT(headers); i++) {
    struct jwt jwt;
    status result = parse(headers[i], CLAIMS, &jwt);
    if (result.code != STATUS_UNAUTHENTICATED)
      fail_msg("%s: %s", headers[i], status_code_name((int)result.code));
  }
  struct jwt jwt;
  assert_status_ok(parse("{\"alg\":\"RS256\",\"typ\":\"application/JWT\"}", CLAIMS, &jwt));
  assert_status_ok(
      parse("{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"jku\":\"https://evil.example\"}", CLAIMS, &jwt));
}

static void payloads_that_are_refused(void **state) {
  (void)state;
  static const char *const payloads[] = {
      "",
      "[]",
      "{\"sub\":1}",
      "{\"sub\":null}",
      "{\"iss\":[\"a\"]}",
      "{\"exp\":\"1700003600\"}",
      "{\"exp\":-1}",
      "{\"exp\":1e300}",
      "{\"exp\":1e999}",
      "{\"exp\":99999999999999999999}",
      "{\"exp\":253402300800}",
      "{\"exp\":null}",
      "{\"exp\":true}",
      "{\"iat\":\"0\"}",
      "{\"nbf\":{}}",
      "{\"auth_time\":[]}",
      "{\"aud\":1}",
      "{\"aud\":[]}",
      "{\"aud\":{}}",
      "{\"aud\":[\"a\",1]}",
      "{\"aud\":[[\"a\"]]}",
      "{\"sub\":\"a\",\"sub\":\"b\"}",
      "{\"x\":{\"a\":1,\"a\":2}}",
      "{\"x\":[[1]]}",
      "{\"x\":[1,{\"y\":[[]]}]}",
      "{\"\":1}",
      "{\"x\":{\"__type__\":\"__vector__\"}}",
      "{\"x\":\"\\u0000\"}",
      "{\"x\":\"\\ud800\"}",
      "{\"x\":NaN}",
      "{\"x\":01}",
      ("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
       "\"a\":{"
       "\"a\":{}}}}}}}}}}}}}}}}}"),
  };
  for (size_t i = 0; i < UNIT_COUNT(payloads); i++) {
    struct jwt jwt;
    status result = parse(RS256, payloads[i], &jwt);
    if (result.code != STATUS_UNAUTHENTICATED)
      fail_msg("%s: %s", payloads[i], status_code_name((int)result.code));
  }
}

static void forms_that_are_refused(void **state) {
  (void)state;
  struct jwt jwt;
  str h = token_base64url(str_from_cstr(RS256)), p = token_base64url(str_from_cstr(CLAIMS)),
      s = token_base64url(STR("signature"));
  const str tokens[] = {
      STR(""),
      STR("."),
      STR(".."),
      STR("..."),
      STR("a.b.c"),
      h,
      token_printf("%s.%s", h.ptr, p.ptr),
      token_printf("%s.%s.", h.ptr, p.ptr),
      token_printf("%s.%s.%s.", h.ptr, p.ptr, s.ptr),
      token_printf("%s.%s.%s.%s.%s", h.ptr, p.ptr, s.ptr, s.ptr, s.ptr), /* JWE */
      token_printf(".%s.%s", p.ptr, s.ptr),
      token_printf("%s..%s", h.ptr, s.ptr),
      token_printf(" %s.%s.%s", h.ptr, p.ptr, s.ptr),
      token_printf("%s.%s.%s ", h.ptr, p.ptr, s.ptr),
      token_printf("%s.%s.%s\n", h.ptr, p.ptr, s.ptr),
      token_printf("%s=.%s.%s", h.ptr, p.ptr, s.ptr),
      token_printf("%s.%s.%s==", h.ptr, p.ptr, s.ptr),
      token_printf("%s.%s.c2lnbmF0dXJ+", h.ptr, p.ptr),
      token_printf("{\"payload\":\"%s\",\"protected\":\"%s\",\"signature\":\"%s\"}", p.ptr, h.ptr, s.ptr),
  };
  for (size_t i = 0; i < UNIT_COUNT(tokens); i++) {
    status result = jwt_parse(tokens[i], &arena, &jwt);
    if (result.code != STATUS_UNAUTHENTICATED)
      fail_msg("number %zu: %s", i, status_code_name((int)result.code));
  }
  assert_status_ok(jwt_parse(token_join(h, p, s), &arena, &jwt));
  assert_false(jwt_is_signed_by(&jwt, token_key(CRYPTO_RS256, false)));
}

/* Every token that is cut is refused or has a wrong signature, and so is each with one bit changed. */
static void damaged_tokens_are_not_good(void **state) {
  (void)state;
  const struct crypto_key *key = token_key(CRYPTO_ES256, false);
  str token = token_make("{\"alg\":\"ES256\"}", CLAIMS, key);
  struct jwt jwt;
  assert_status_ok(jwt_parse(token, &arena, &jwt));
  assert_true(jwt_is_signed_by(&jwt, key));
  for (size_t len = 0; len < token.len; len++) {
    status result = jwt_parse(str_make(token.ptr, len), &arena, &jwt);
    assert_true(!status_is_ok(&result) || !jwt_is_signed_by(&jwt, key));
    arena_reset(&arena);
  }
  char *changed = malloc(token.len);
  memcpy(changed, token.ptr, token.len);
  for (size_t bit = 0; bit < token.len * 8; bit++) {
    changed[bit / 8] = (char)(changed[bit / 8] ^ 1 << bit % 8);
    status result = jwt_parse(str_make(changed, token.len), &arena, &jwt);
    assert_true(!status_is_ok(&result) || !jwt_is_signed_by(&jwt, key));
    changed[bit / 8] = (char)(changed[bit / 8] ^ 1 << bit % 8);
    arena_reset(&arena);
  }
  free(changed);
}

static void long_tokens_are_refused(void **state) {
  (void)state;
  char *filler = malloc(64 * 1024);
  struct jwt jwt;
  memset(filler, 'a', 64 * 1024);
  filler[64 * 1024 - 1] = '\0';
  str token = token_make(RS256, token_printf("{\"x\":\"%s\"}", filler).ptr, NULL);
  assert_true(token.len > 64 * 1024);
  assert_status_code(jwt_parse(token, &arena, &jwt), STATUS_UNAUTHENTICATED);
  filler[11000] = '\0'; /* 15 KiB in all */
  token = token_make(RS256, token_printf("{\"x\":\"%s\"}", filler).ptr, token_key(CRYPTO_RS256, false));
  assert_true(token.len <= JWT_BYTES_MAX);
  assert_status_ok(jwt_parse(token, &arena, &jwt));
  /* Many small values take no more memory than is promised. */
  struct buf numbers = {0};
  buf_append_str(&numbers, STR("{\"x\":[0"));
  while (numbers.len < 11500)
    buf_append_str(&numbers, STR(",0"));
  buf_append_str(&numbers, STR("]}"));
  buf_append_byte(&numbers, '\0');
  arena_reset(&arena);
  assert_status_ok(parse(RS256, (const char *)numbers.data, &jwt));
  str claims;
  assert_status_ok(jwt_encode_claims(&jwt, &arena, &claims));
  buf_fini(&numbers);
  free(filler);
}

static status check(const char *payload, int64_t now_s) {
  struct jwt jwt;
  assert_status_ok(parse(RS256, payload, &jwt));
  return jwt_check(&jwt, now_s);
}

static void times_are_checked_with_the_tolerance(void **state) {
  (void)state;
  assert_status_ok(check(CLAIMS, NOW_S));
  assert_status_ok(check(CLAIMS, NOW_S + 3600 + JWT_CLOCK_TOLERANCE_S - 1));
  assert_status_code(check(CLAIMS, NOW_S + 3600 + JWT_CLOCK_TOLERANCE_S), STATUS_UNAUTHENTICATED);
  assert_status_ok(check(CLAIMS, NOW_S - JWT_CLOCK_TOLERANCE_S));
  assert_status_code(check(CLAIMS, NOW_S - JWT_CLOCK_TOLERANCE_S - 1), STATUS_UNAUTHENTICATED);
  static const char *const refused[] = {
      "{\"sub\":\"a\",\"iat\":1700000000}",
      "{\"sub\":\"a\",\"exp\":1700003600}",
      "{\"exp\":1700003600,\"iat\":1700000000}",
      "{\"sub\":\"\",\"exp\":1700003600,\"iat\":1700000000}",
      "{\"sub\":\"a\",\"exp\":1700003600,\"iat\":1700000061}",
      "{\"sub\":\"a\",\"exp\":1700003600,\"iat\":1700000000,\"nbf\":1700000061}",
      "{\"sub\":\"a\",\"exp\":1700003600,\"iat\":1700000000,\"auth_time\":1700000061}",
      "{\"sub\":\"a\",\"exp\":1699999940,\"iat\":1699990000}",
      "{\"sub\":\"a\",\"exp\":0,\"iat\":0}",
  };
  for (size_t i = 0; i < UNIT_COUNT(refused); i++) {
    status result = check(refused[i], NOW_S);
    if (result.code != STATUS_UNAUTHENTICATED)
      fail_msg("%s: %s", refused[i], status_code_name((int)result.code));
  }
  assert_status_ok(check("{\"sub\":\"a\",\"exp\":1700003600.7,\"iat\":1700000000.5}", NOW_S));
  char subject[JWT_SUBJECT_BYTES_MAX + 2];
  memset(subject, 's', sizeof subject - 1);
  subject[sizeof subject - 1] = '\0';
  assert_status_code(
      check(token_printf("{\"sub\":\"%s\",\"exp\":1700003600,\"iat\":1700000000}", subject).ptr, NOW_S),
      STATUS_UNAUTHENTICATED);
  assert_status_ok(
      check(token_printf("{\"sub\":\"%s\",\"exp\":1700003600,\"iat\":1700000000}", subject + 1).ptr, NOW_S));
}

static void audiences_are_one_or_many(void **state) {
  (void)state;
  struct jwt jwt;
  assert_status_ok(parse(RS256, "{\"aud\":\"a\"}", &jwt));
  assert_true(jwt_has_audience(&jwt, STR("a")));
  assert_false(jwt_has_audience(&jwt, STR("")));
  assert_false(jwt_has_audience(&jwt, STR("ab")));
  assert_status_ok(parse(RS256, "{\"aud\":[\"b\",\"a\"]}", &jwt));
  assert_true(jwt_has_audience(&jwt, STR("a")) && jwt_has_audience(&jwt, STR("b")));
  assert_status_ok(parse(RS256, "{}", &jwt));
  assert_false(jwt_has_audience(&jwt, STR("a")));
}

static void claims_become_values(void **state) {
  (void)state;
  struct jwt jwt;
  str bytes;
  struct doc_map claims;
  assert_status_ok(parse(RS256,
                         "{\"z\":null,\"b\":true,\"i\":-9223372036854775808,\"d\":1.0,\"e\":1e3,"
                         "\"s\":\"h\\u00e9\",\"l\":[1,\"x\",{}],\"m\":{\"b\":{\"c\":[]},\"a\":false}}",
                         &jwt));
  assert_status_ok(jwt_encode_claims(&jwt, &arena, &bytes));
  assert_status_ok(doc_decode_fields(bytes, &arena, &claims));
  assert_int_equal(claims.count, 8);
  assert_int_equal(doc_map_get(claims, STR("z"))->type, DOC_NULL);
  assert_true(doc_map_get(claims, STR("b"))->as.boolean);
  assert_true(doc_map_get(claims, STR("i"))->as.integer == INT64_MIN);
  assert_int_equal(doc_map_get(claims, STR("d"))->type, DOC_DOUBLE);
  assert_true(doc_map_get(claims, STR("e"))->as.number == 1000.0);
  assert_str_is(doc_map_get(claims, STR("s"))->as.text, "h\xc3\xa9");
  assert_int_equal(doc_map_get(claims, STR("l"))->as.array.count, 3);
  struct doc_map inner = doc_map_get(claims, STR("m"))->as.map;
  assert_str_is(inner.fields[0].name, "a");
  assert_int_equal(doc_map_get(inner.fields[1].value.as.map, STR("c"))->type, DOC_ARRAY);
  /* The deepest that is taken can be read back. */
  assert_status_ok(
      parse(RS256,
            "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
            "\"a\":{\"a\":{\"a\":{}}}}}}}}}}}}}}}}",
            &jwt));
  assert_status_ok(jwt_encode_claims(&jwt, &arena, &bytes));
  assert_status_ok(doc_decode_fields(bytes, &arena, &claims));
  assert_str_is(jwt_claim_text(&jwt, STR("a")), "");
}

static void little_memory_is_an_error_of_its_own(void **state) {
  (void)state;
  str token = token_make(RS256, CLAIMS, token_key(CRYPTO_RS256, false));
  unsigned refused = 0;
  for (size_t cap = 0; cap < 8192; cap += 64) {
    struct arena small;
    struct jwt jwt;
    str claims;
    _Alignas(max_align_t) char first[8192];
    arena_init(&small, first, cap, 0);
    status result = jwt_parse(token, &small, &jwt);
    if (status_is_ok(&result))
      result = jwt_encode_claims(&jwt, &small, &claims);
    assert_true(status_is_ok(&result) || result.code == STATUS_RESOURCE_EXHAUSTED);
    refused += !status_is_ok(&result);
    arena_fini(&small);
  }
  assert_true(refused > 5 && refused < 100);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      CASE(published_tokens_are_parsed_and_verified),
      CASE(every_algorithm_works_with_its_key_only),
      CASE(headers_that_are_refused),
      CASE(payloads_that_are_refused),
      CASE(forms_that_are_refused),
      CASE(damaged_tokens_are_not_good),
      CASE(long_tokens_are_refused),
      CASE(times_are_checked_with_the_tolerance),
      CASE(audiences_are_one_or_many),
      CASE(claims_become_values),
      CASE(little_memory_is_an_error_of_its_own),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  token_maker_end();
  return failed;
}
