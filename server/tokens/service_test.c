/* The verifier as the server uses it: service accounts and certificates. */
#include <stdlib.h>

#include "server/tokens/tokens.h"
#include "tests/support/tokens_fixture.h"

static void service_accounts_come_in(void **state) {
  (void)state;
  fixture_open(false);
  struct account_key *key = fixture_create_key(0);
  static const char *const forms[] = {
      FIXTURE_AUDIENCE,
      ",\"aud\":\"https://firestore.googleapis.com/google.firestore.v1.Firestore\"",
      ",\"aud\":\"https://box.local:8443/google.firestore.v1.Firestore\"",
      (",\"scope\":\"https://www.googleapis.com/auth/cloud-platform "
       "https://www.googleapis.com/auth/datastore\""),
      ",\"scope\":\"https://www.googleapis.com/auth/datastore\"",
  };
  for (size_t i = 0; i < UNIT_COUNT(forms); i++) {
    struct identity *identity;
    assert_status_ok(
        fixture_verify(fixture_account_token(key, key->email, key->email, 3600, forms[i]), &identity));
    assert_int_equal(identity->kind, IDENTITY_SERVICE_ACCOUNT);
    assert_int_equal(identity->role, IDENTITY_ROLE_EDITOR);
    assert_str_is(identity->uid, "till@shop.iam.skerry.local");
    assert_str_is(identity->project, "shop");
    identity_unref(identity);
  }
  static const char *const other_forms[] = {
      "",
      (",\"aud\":\"https://oauth2.googleapis.com/token\",\"scope\":\"https://www.googleapis.com/auth/"
       "datastore\""),
      ",\"aud\":\"https://storage.googleapis.com/\"",
      ",\"aud\":\"https://firestore.googleapis.com.evil.example/\"",
      ",\"aud\":\"http://firestore.googleapis.com/\"",
      ",\"aud\":\"https://evil.example/\"",
      ",\"scope\":\"https://www.googleapis.com/auth/drive\"",
      ",\"scope\":[\"https://www.googleapis.com/auth/datastore\"]",
  };
  for (size_t i = 0; i < UNIT_COUNT(other_forms); i++)
    assert_refused(fixture_account_token(key, key->email, key->email, 3600, other_forms[i]));
  assert_refused(
      fixture_account_token(key, key->email, "other@shop.iam.skerry.local", 3600, FIXTURE_AUDIENCE));
  assert_refused(fixture_account_token(key, "other@shop.iam.skerry.local", "other@shop.iam.skerry.local",
                                       3600, FIXTURE_AUDIENCE));
  assert_refused(fixture_account_token(key, FIXTURE_FIREBASE, "alice", 3600, ",\"aud\":\"shop\""));
  assert_refused(fixture_account_token(key, key->email, key->email, 3601, FIXTURE_AUDIENCE));
  /* Its id, another key. */
  str header = token_printf("{\"alg\":\"RS256\",\"kid\":\"%s\"}", key->id),
      claims = token_printf("{\"iss\":\"%s\",\"sub\":\"%s\",\"iat\":%lld,\"exp\":%lld" FIXTURE_AUDIENCE "}",
                            key->email, key->email, fixture_now_s(), fixture_now_s() + 60);
  assert_refused(token_make(header.ptr, claims.ptr, token_key(CRYPTO_RS256, false)));
  assert_refused(token_make("{\"alg\":\"RS256\"}", claims.ptr, token_key(CRYPTO_RS256, true)));
  account_key_unref(key);
}

static void revocation_acts_at_once(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys(); /* they make a generation too */
  struct account_key *key = fixture_create_key(0);
  str token = fixture_account_token(key, key->email, key->email, 3600, FIXTURE_AUDIENCE);
  struct identity *identity;
  assert_status_ok(fixture_verify(token, &identity));
  assert_int_equal(fixture_code(token), STATUS_OK);
  assert_true(tokens_are_current(fixture.tokens, identity, fixture_now_us()));
  assert_status_ok(tokens_revoke_key(fixture.tokens, str_from_cstr(key->id)));
  assert_false(tokens_are_current(fixture.tokens, identity, fixture_now_us())); /* so streams see it */
  assert_refused(token);
  identity_unref(identity);
  account_key_unref(key);
}

static void keys_of_accounts_expire(void **state) {
  (void)state;
  fixture_open(false);
  struct account_key *key = fixture_create_key(fixture_now_s() + 100);
  str token = fixture_account_token(key, key->email, key->email, 3600, FIXTURE_AUDIENCE);
  struct identity *identity;
  assert_status_ok(fixture_verify(token, &identity));
  assert_int_equal(identity->expires_us, (fixture_now_s() + 100) * FIXTURE_SECOND);
  identity_unref(identity);
  port_simulated_advance(fixture.clock, INT64_C(100) * FIXTURE_SECOND);
  assert_refused(token);
  account_key_unref(key);
}

/* ---- Certificates ---- */

static void certificates_are_mapped(void **state) {
  (void)state;
  fixture_open(false);
  uint8_t known[32], unknown[32] = {9};
  for (uint8_t i = 0; i < 32; i++)
    known[i] = i;
  struct identity *identity = tokens_of_certificate(fixture.tokens, STR("till 1"), unknown);
  assert_int_equal(identity->kind, IDENTITY_SERVICE_ACCOUNT);
  assert_int_equal(identity->role, IDENTITY_ROLE_EDITOR);
  assert_str_is(identity->uid, "till 1");
  identity_unref(identity);
  identity = tokens_of_certificate(fixture.tokens, STR("anything"), known);
  assert_int_equal(identity->kind, IDENTITY_USER);
  assert_str_is(identity->uid, "alice");
  identity_unref(identity);
  identity = tokens_of_certificate(fixture.tokens, STR("bob@example.com"), unknown);
  assert_int_equal(identity->kind, IDENTITY_USER);
  assert_str_is(identity->uid, "bob@example.com");
  identity_unref(identity);
  assert_null(tokens_of_certificate(fixture.tokens, STR(""), unknown));
  char cut[96];
  memset(cut, 'n', sizeof cut);
  assert_null(
      tokens_of_certificate(fixture.tokens, str_make(cut, 95), unknown)); /* it may have been longer */
  static const char *const refused[] = {"",
                                        "a",
                                        "a role",
                                        "a role=",
                                        "a role=none",
                                        "a role=king",
                                        "a uid=",
                                        "uid=x",
                                        " role=viewer",
                                        "sha256:00 role=viewer",
                                        "sha256:zz role=viewer",
                                        "a name=b"};
  for (size_t i = 0; i < UNIT_COUNT(refused); i++) {
    struct certificate_rule rule;
    if (certificate_rule_parse(str_from_cstr(refused[i]), &fixture.arena, &rule).code !=
        STATUS_INVALID_ARGUMENT)
      fail_msg("%s", refused[i]);
  }
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)
  const struct CMUnitTest tests[] = {
      CASE(service_accounts_come_in),
      CASE(revocation_acts_at_once),
      CASE(keys_of_accounts_expire),
      CASE(certificates_are_mapped),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  token_maker_end();
  return failed;
}
