/* The verifier as the server uses it: users' tokens. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "server/tokens/jwt.h"
#include "server/tokens/tokens.h"
#include "storage/document/codec.h"
#include "tests/support/tokens_fixture.h"

static void users_come_in(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys();
  struct identity *identity, *again;
  str token = fixture_sign(FIXTURE_RS256, fixture_good_claims());
  assert_status_ok(fixture_verify(token, &identity));
  assert_int_equal(identity->kind, IDENTITY_USER);
  assert_int_equal(identity->role, IDENTITY_ROLE_NONE);
  assert_str_is(identity->uid, "alice");
  assert_str_is(identity->issuer, FIXTURE_FIREBASE);
  assert_str_is(identity->project, "shop");
  assert_int_equal(identity->expires_us, (fixture_now_s() + 3600 + JWT_CLOCK_TOLERANCE_S) * FIXTURE_SECOND);
  assert_true(tokens_are_current(fixture.tokens, identity, fixture_now_us()));
  struct arena arena;
  struct doc_map claims;
  arena_init(&arena, NULL, 0, 1 << 16);
  assert_status_ok(doc_decode_fields(identity->claims, &arena, &claims));
  assert_int_equal(claims.count, 7);
  assert_true(doc_map_get(claims, STR("admin"))->as.boolean);
  arena_fini(&arena);
  assert_status_ok(fixture_verify(token, &again)); /* from the cache */
  assert_ptr_equal(again, identity);
  identity_unref(again);
  identity_unref(identity);
  /* Other algorithms, another issuer, one of many audiences. */
  str other = fixture_claims("https://i.example", "app2", "bob", "");
  assert_int_equal(fixture_code(token_make("{\"alg\":\"ES256\",\"kid\":\"e\"}", other.ptr,
                                           token_key(CRYPTO_ES256, false))),
                   STATUS_OK);
  assert_int_equal(fixture_code(token_make("{\"alg\":\"EdDSA\",\"kid\":\"d\"}", other.ptr,
                                           token_key(CRYPTO_EDDSA, false))),
                   STATUS_OK);
  assert_int_equal(fixture_code(token_make("{\"alg\":\"EdDSA\"}", other.ptr, token_key(CRYPTO_EDDSA, false))),
                   STATUS_OK);
}

static void signed_out_is_an_identity_too(void **state) {
  (void)state;
  fixture_open(false);
  struct identity *identity;
  assert_status_ok(tokens_verify(fixture.tokens, (str){NULL, 0}, fixture_now_us(), &identity));
  assert_int_equal(identity->kind, IDENTITY_SIGNED_OUT);
  assert_str_is(identity->uid, "");
  identity_unref(identity);
}

/* In production mode, with keys, each of these is UNAUTHENTICATED. */
static void ways_in_that_are_closed(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys();
  const struct crypto_key *rsa = token_key(CRYPTO_RS256, false), *other = token_key(CRYPTO_RS256, true),
                          *ec = token_key(CRYPTO_ES256, false);
  const char *good = fixture_good_claims().ptr;
  str whole = fixture_sign(FIXTURE_RS256, fixture_good_claims()),
      header = token_base64url(str_from_cstr(FIXTURE_RS256)), payload = token_base64url(str_from_cstr(good));
  struct buf public_pem = {0};
  uint8_t mac[CRYPTO_SHA256_BYTES];
  assert_status_ok(crypto_key_append_public_pem(rsa, &public_pem));
  str hs_input =
      token_printf("%s.%s", token_base64url(STR("{\"alg\":\"HS256\",\"kid\":\"r\"}")).ptr, payload.ptr);
  crypto_hmac_sha256(buf_str(&public_pem), hs_input, mac);
  buf_fini(&public_pem);
  const str tokens[] = {
      STR("owner"),
      STR("Owner"),
      STR("owner "),
      STR("null"),
      STR("undefined"),
      token_make("{\"alg\":\"none\",\"typ\":\"JWT\"}", good, NULL),
      token_make("{\"alg\":\"none\",\"kid\":\"r\"}", good, rsa),
      token_make("{\"alg\":\"None\"}", good, NULL),
      token_make(FIXTURE_RS256, good, NULL),
      token_make(FIXTURE_RS256, good, other),                    /* another's key */
      token_make(FIXTURE_RS256, good, ec),                       /* another kind of key */
      token_make("{\"alg\":\"ES256\",\"kid\":\"r\"}", good, ec), /* an id of another kind of key */
      token_make("{\"alg\":\"RS256\",\"kid\":\"e\"}", good, rsa),
      token_make("{\"alg\":\"ES256\",\"kid\":\"e\"}", good, rsa),
      token_printf("%s.%s", hs_input.ptr,
                   token_base64url(str_make(mac, sizeof mac)).ptr), /* public key as secret */
      token_make("{\"alg\":\"RS256\",\"kid\":\"x\"}", good, rsa),
      token_make("{\"alg\":\"RS256\",\"kid\":\"r\",\"jwk\":{}}", good, other),
      token_make("{\"alg\":\"RS256\",\"kid\":\"../r\"}", good, rsa),
      token_make("{\"alg\":\"RS256\",\"kid\":\"r\",\"crit\":[\"x\"]}", good, rsa),
      token_join(header, payload, STR("")),
      token_join(header, token_base64url(fixture_claims(FIXTURE_FIREBASE, "shop", "mallory", "")),
                 str_from(whole, header.len + payload.len + 2)), /* another payload */
      fixture_sign(FIXTURE_RS256, fixture_claims(FIXTURE_FIREBASE, "shop2", "alice", "")),
      fixture_sign(FIXTURE_RS256, fixture_claims(FIXTURE_FIREBASE, "", "alice", "")),
      fixture_sign(FIXTURE_RS256,
                   fixture_claims(FIXTURE_FIREBASE, "app1", "alice", "")), /* the other issuer's audience */
      fixture_sign(FIXTURE_RS256, fixture_claims("https://i.example", "shop", "alice", "")),
      fixture_sign(FIXTURE_RS256,
                   fixture_claims("https://securetoken.google.com/shop2", "shop2", "alice", "")),
      fixture_sign(FIXTURE_RS256, fixture_claims(FIXTURE_FIREBASE "/", "shop", "alice", "")),
      fixture_sign(FIXTURE_RS256, fixture_claims("", "shop", "alice", "")),
      fixture_sign(FIXTURE_RS256, fixture_claims(FIXTURE_FIREBASE, "shop", "", "")),
      fixture_sign(FIXTURE_RS256, fixture_claims(FIXTURE_FIREBASE, "shop", "alice", ",\"nbf\":4000000000")),
      fixture_sign(FIXTURE_RS256,
                   fixture_claims(FIXTURE_FIREBASE, "shop", "alice", ",\"exp\":4000000000")), /* twice */
      fixture_sign(FIXTURE_RS256,
                   STR("{\"iss\":\"" FIXTURE_FIREBASE "\",\"aud\":\"shop\",\"sub\":\"alice\"}")),
      fixture_sign(FIXTURE_RS256, STR("{\"iss\":\"" FIXTURE_FIREBASE
                                      "\",\"aud\":\"shop\",\"sub\":\"alice\",\"iat\":1,\"exp\":2}")),
      fixture_sign(FIXTURE_RS256,
                   STR("{\"iss\":\"" FIXTURE_FIREBASE
                       "\",\"aud\":\"shop\",\"sub\":\"alice\",\"iat\":1,\"exp\":\"4000000000\"}")),
  };
  assert_int_equal(fixture_code(whole), STATUS_OK);
  for (size_t i = 0; i < UNIT_COUNT(tokens); i++)
    if (fixture_code(tokens[i]) != STATUS_UNAUTHENTICATED)
      fail_msg("number %zu came in", i);
  for (size_t i = 1; i < whole.len; i += 17)
    assert_refused(str_make(whole.ptr, i));
  static const char *const headers[] = {"Basic YTpi",  "bearer",        "Bearer",
                                        "Bearer ",     "Bearer\towner", "owner",
                                        "Negotiate x", "Bearer  owner", "Bearer,owner"};
  for (size_t i = 0; i < UNIT_COUNT(headers); i++) {
    struct identity *identity;
    assert_status_code(tokens_verify(fixture.tokens, str_from_cstr(headers[i]), fixture_now_us(), &identity),
                       STATUS_UNAUTHENTICATED);
  }
  struct identity_cache_stats stats;
  tokens_cache_stats(fixture.tokens, &stats);
  assert_int_equal(stats.entries, 1); /* nothing is kept of what was refused */
}

static void tokens_expire(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys();
  struct identity *identity, *nobody;
  str token = fixture_sign(FIXTURE_RS256, fixture_good_claims());
  assert_status_ok(fixture_verify(token, &identity));
  assert_status_ok(tokens_verify(fixture.tokens, (str){NULL, 0}, fixture_now_us(), &nobody));
  port_simulated_advance(fixture.clock, INT64_C(3659) * FIXTURE_SECOND);
  assert_int_equal(fixture_code(token), STATUS_OK);
  assert_true(tokens_are_current(fixture.tokens, identity, fixture_now_us()));
  port_simulated_advance(fixture.clock, INT64_C(1) * FIXTURE_SECOND);
  assert_refused(token); /* though it is in the cache */
  assert_false(tokens_are_current(fixture.tokens, identity, fixture_now_us()));
  assert_true(tokens_are_current(fixture.tokens, nobody, fixture_now_us()));
  identity_unref(identity);
  identity_unref(nobody);
}

static void without_keys_nobody_is_refused(void **state) {
  (void)state;
  scripted_issuer_set_down(&fixture.issuer, true);
  fixture_open(false);
  str token = fixture_sign(FIXTURE_RS256, fixture_good_claims());
  assert_int_equal(fixture_code(token), STATUS_UNAVAILABLE);
  /* What would be wrong with any key is said. */
  assert_refused(fixture_sign(FIXTURE_RS256, fixture_claims(FIXTURE_FIREBASE, "other", "alice", "")));
  assert_refused(token_make("{\"alg\":\"none\"}", fixture_good_claims().ptr, NULL));
  tokens_close(fixture.tokens);
  fixture.tokens = NULL;
  scripted_issuer_set_down(&fixture.issuer, false);
  fixture_open(false);
  fixture_wait_for_keys();
  assert_int_equal(fixture_code(token), STATUS_OK);
  /* After a restart without uplink, from disk. */
  tokens_close(fixture.tokens);
  fixture.tokens = NULL;
  scripted_issuer_set_down(&fixture.issuer, true);
  fixture_open(false);
  assert_int_equal(fixture_code(token), STATUS_OK);
}

static void a_flood_of_unknown_keys_makes_one_request(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys();
  unsigned before = scripted_issuer_requests(&fixture.issuer);
  port_simulated_advance(fixture.clock, INT64_C(61) * FIXTURE_SECOND);
  for (unsigned i = 0; i < 300; i++) {
    char header[64];
    snprintf(header, sizeof header, "{\"alg\":\"RS256\",\"kid\":\"k%u\"}", i);
    enum status_code code = fixture_code(fixture_sign(header, fixture_good_claims()));
    assert_true(code == STATUS_UNAVAILABLE || code == STATUS_UNAUTHENTICATED);
  }
  for (unsigned i = 0; i < FIXTURE_WAIT_STEPS && scripted_issuer_requests(&fixture.issuer) == before; i++)
    fixture_sleep();
  for (unsigned i = 0; i < 50; i++)
    assert_false(fixture_code(fixture_sign("{\"alg\":\"RS256\",\"kid\":\"z\"}", fixture_good_claims())) ==
                 STATUS_OK);
  assert_int_equal(scripted_issuer_requests(&fixture.issuer), before + 1);
}

static void keys_that_an_issuer_takes_away_are_gone_from_the_cache(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys();
  str token = fixture_sign(FIXTURE_RS256, fixture_good_claims());
  struct identity *identity;
  assert_status_ok(fixture_verify(token, &identity));
  scripted_issuer_set_keys(
      &fixture.issuer,
      token_printf("{\"keys\":[%s]}", token_jwk(token_key(CRYPTO_RS256, true), "n", "").ptr));
  port_simulated_advance(fixture.clock, INT64_C(61) * FIXTURE_SECOND);
  fixture_code(fixture_sign("{\"alg\":\"RS256\",\"kid\":\"n\"}", fixture_good_claims())); /* makes it look */
  for (unsigned i = 0;
       i < FIXTURE_WAIT_STEPS && tokens_are_current(fixture.tokens, identity, fixture_now_us()); i++)
    fixture_sleep();
  assert_refused(token);
  identity_unref(identity);
}

static void what_becomes_of_one_user_costs_others_nothing(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys();
  enum { USERS = 300 };
  struct identity *identities[USERS], *nobody;
  unsigned others = 0;
  for (unsigned i = 0; i < USERS; i++) {
    str uid = token_printf("user %u", i);
    assert_status_ok(fixture_verify(
        fixture_sign(FIXTURE_RS256, fixture_claims(FIXTURE_FIREBASE, "shop", uid.ptr, "")), &identities[i]));
  }
  str doubted = fixture_sign(FIXTURE_RS256, fixture_claims(FIXTURE_FIREBASE, "shop", "user 7", ""));
  assert_status_ok(tokens_verify(fixture.tokens, (str){NULL, 0}, fixture_now_us(), &nobody));
  tokens_doubt_user(fixture.tokens, STR("user 7"));
  for (unsigned i = 0; i < USERS; i++)
    others += i != 7 && !tokens_are_current(fixture.tokens, identities[i], fixture_now_us());
  assert_false(tokens_are_current(fixture.tokens, identities[7], fixture_now_us()));
  assert_true(others < 5); /* those of its group: one in 14 times it is one */
  struct identity *again, *kept;
  assert_status_ok(fixture_verify(doubted, &again)); /* it is still good, and is checked anew once */
  assert_ptr_not_equal(again, identities[7]);
  assert_status_ok(fixture_verify(doubted, &kept));
  assert_ptr_equal(kept, again);
  identity_unref(again);
  identity_unref(kept);
  tokens_doubt_all(fixture.tokens);
  for (unsigned i = 0; i < USERS; i++) {
    assert_false(tokens_are_current(fixture.tokens, identities[i], fixture_now_us()));
    identity_unref(identities[i]);
  }
  assert_true(tokens_are_current(fixture.tokens, nobody, fixture_now_us()));
  identity_unref(nobody);
}

/* ---- Development ---- */

static void development_has_the_emulators_conventions(void **state) {
  (void)state;
  fixture_open(true);
  fixture_wait_for_keys();
  struct identity *identity;
  assert_status_ok(fixture_verify(STR("owner"), &identity));
  assert_int_equal(identity->kind, IDENTITY_OWNER);
  identity_unref(identity);
  /* As @firebase/util makes them: issued in 1970. */
  str token =
      token_make("{\"alg\":\"none\",\"type\":\"JWT\"}",
                 "{\"iss\":\"https://securetoken.google.com/demo\",\"aud\":\"demo\",\"iat\":0,\"exp\":3600,"
                 "\"auth_time\":0,\"sub\":\"carol\",\"user_id\":\"carol\",\"firebase\":{\"sign_in_provider\":"
                 "\"custom\",\"identities\":{}}}",
                 NULL);
  assert_status_ok(fixture_verify(token, &identity));
  assert_int_equal(identity->kind, IDENTITY_USER);
  assert_str_is(identity->uid, "carol");
  assert_true(identity->expires_us == IDENTITY_NEVER_EXPIRES);
  identity_unref(identity);
  assert_refused(token_make("{\"alg\":\"none\"}", "{\"iss\":\"x\"}", NULL));
  assert_int_equal(fixture_code(fixture_sign(FIXTURE_RS256, fixture_good_claims())), STATUS_OK);
  assert_refused(token_make(FIXTURE_RS256, fixture_good_claims().ptr, token_key(CRYPTO_RS256, true)));
}

/* ---- Secrets ---- */

static void the_log_has_no_piece_of_a_token(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys();
  struct account_key *key = fixture_create_key(0);
  str tokens[] = {fixture_sign(FIXTURE_RS256, fixture_good_claims()),
                  token_make(FIXTURE_RS256, fixture_good_claims().ptr, token_key(CRYPTO_RS256, true)),
                  fixture_account_token(key, key->email, key->email, 3600, FIXTURE_AUDIENCE),
                  fixture_sign("{\"alg\":\"RS256\",\"kid\":\"unknown\"}", fixture_good_claims())};
  for (size_t i = 0; i < UNIT_COUNT(tokens); i++)
    fixture_code(tokens[i]);
  scripted_issuer_set_down(&fixture.issuer, true);
  port_simulated_advance(fixture.clock, INT64_C(61) * FIXTURE_SECOND);
  fixture_code(tokens[3]);
  for (unsigned i = 0; i < FIXTURE_WAIT_STEPS; i++) {
    struct issuers_info info;
    tokens_issuer_info(fixture.tokens, 0, &info);
    if (info.failures > 0)
      break;
    fixture_sleep();
  }
  assert_status_ok(tokens_revoke_key(fixture.tokens, str_from_cstr(key->id)));
  fixture_code(tokens[2]);
  tokens_close(fixture.tokens);
  fixture.tokens = NULL;
  char log[65536];
  ssize_t len = read(fixture.log_fds[0], log, sizeof log);
  assert_true(len > 100); /* it was told of new keys, and of the failure */
  assert_non_null(memmem(log, (size_t)len, "cannot be fetched", 17));
  for (size_t i = 0; i < UNIT_COUNT(tokens); i++)
    for (size_t j = 0; j + 12 <= tokens[i].len; j++)
      assert_null(memmem(log, (size_t)len, tokens[i].ptr + j, 12));
  account_key_unref(key);
}

/* ---- Many threads ---- */

static str shared_tokens[8];
static str revoked_token;

static void *verify_many(void *argument) {
  unsigned seed = (unsigned)(uintptr_t)argument;
  for (unsigned i = 0; i < 3000; i++) {
    struct identity *identity;
    str token =
        i % 10 == 0 ? revoked_token : shared_tokens[(unsigned)rand_r(&seed) % UNIT_COUNT(shared_tokens)];
    status result = tokens_verify(fixture.tokens, token, 1767225600 * INT64_C(1000000), &identity);
    if (!status_is_ok(&result)) {
      if (i % 10 != 0 || result.code != STATUS_UNAUTHENTICATED)
        abort();
      continue;
    }
    if (identity->uid.len == 0)
      abort();
    identity_unref(identity);
  }
  return NULL;
}

static void many_threads_verify_while_keys_come_and_go(void **state) {
  (void)state;
  fixture_open(false);
  fixture_wait_for_keys();
  struct account_key *key = fixture_create_key(0);
  assert_int_equal(fixture_now_s(), 1767225600);
  for (size_t i = 0; i < UNIT_COUNT(shared_tokens); i++)
    shared_tokens[i] = token_printf(
        "Bearer %s", fixture_sign(FIXTURE_RS256, fixture_claims(FIXTURE_FIREBASE, "shop",
                                                                token_printf("user%zu", i).ptr, ""))
                         .ptr);
  revoked_token = token_printf(
      "Bearer %s", fixture_account_token(key, key->email, key->email, 3600, FIXTURE_AUDIENCE).ptr);
  pthread_t threads[6];
  for (uintptr_t i = 0; i < UNIT_COUNT(threads); i++)
    assert_int_equal(pthread_create(&threads[i], NULL, verify_many, (void *)(i + 1)), 0);
  for (unsigned i = 0; i < 20; i++) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    assert_status_ok(tokens_revoke_key(fixture.tokens, str_from_cstr(key->id)));
    account_key_unref(key);
    key = fixture_create_key(0);
  }
  for (size_t i = 0; i < UNIT_COUNT(threads); i++)
    pthread_join(threads[i], NULL);
  account_key_unref(key);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)
  const struct CMUnitTest tests[] = {
      CASE(users_come_in),
      CASE(signed_out_is_an_identity_too),
      CASE(ways_in_that_are_closed),
      CASE(tokens_expire),
      CASE(without_keys_nobody_is_refused),
      CASE(a_flood_of_unknown_keys_makes_one_request),
      CASE(keys_that_an_issuer_takes_away_are_gone_from_the_cache),
      CASE(what_becomes_of_one_user_costs_others_nothing),
      CASE(development_has_the_emulators_conventions),
      CASE(the_log_has_no_piece_of_a_token),
      CASE(many_threads_verify_while_keys_come_and_go),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  token_maker_end();
  return failed;
}
