/* The verifier as the server uses it. With the argument "bench" it measures instead. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "ports/simulated.h"
#include "server/tokens/jwt.h"
#include "server/tokens/tokens.h"
#include "storage/document/codec.h"
#include "tests/support/scripted_issuer.h"
#include "tests/support/token_maker.h"
#include "tests/support/unit.h"

#define FIREBASE "https://securetoken.google.com/shop"
enum { SECOND = 1000000, WAIT_STEPS = 20000 };

static struct {
  struct port_simulated *clock;
  struct scripted_issuer issuer;
  struct arena arena;
  struct issuer_setting settings[2];
  struct certificate_rule rules[4];
  char directory[64];
  struct tokens *tokens;
  int log_fds[2];
} t;

static int64_t now_us(void) {
  struct port *port = port_simulated_port(t.clock);
  return port->wall_us(port);
}
static long long now_s(void) {
  return (long long)(now_us() / SECOND);
}

static void open_tokens(bool dev) {
  struct tokens_options options = {.port = port_simulated_port(t.clock),
                                   .directory = t.directory,
                                   .issuers = t.settings,
                                   .issuer_count = 2,
                                   .certificates = t.rules,
                                   .certificate_count = 4,
                                   .fetcher = scripted_issuer_fetcher(&t.issuer),
                                   .dev = dev};
  assert_status_ok(tokens_open(&options, &t.tokens));
}

static void parse_rule(const char *text, struct certificate_rule *ret) {
  assert_status_ok(certificate_rule_parse(str_from_cstr(text), &t.arena, ret));
}

static int set_up(void **state) {
  (void)state;
  memset(&t, 0, sizeof t);
  if (pipe2(t.log_fds, O_CLOEXEC | O_NONBLOCK) != 0)
    return -1;
  log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT, t.log_fds[1]);
  t.clock = port_simulated_new();
  scripted_issuer_init(&t.issuer);
  arena_init(&t.arena, NULL, 0, 1 << 16);
  strcpy(t.directory, "/tmp/skerry-tokens-XXXXXX");
  if (mkdtemp(t.directory) == NULL)
    return -1;
  assert_status_ok(issuer_setting_parse(STR(FIREBASE), false, &t.arena, &t.settings[0]));
  assert_status_ok(
      issuer_setting_parse(STR("https://i.example audience=app1,app2 keys=https://i.example/keys"), false,
                           &t.arena, &t.settings[1]));
  parse_rule("till 1 role=editor", &t.rules[0]);
  parse_rule(
      "sha256:00:01:02:03:04:05:06:07:08:09:0A:0b:0c:0d:0e:0f101112131415161718191a1b1c1d1e1f uid=alice",
      &t.rules[1]);
  parse_rule("viewer.example role=viewer", &t.rules[2]);
  parse_rule("* uid=*", &t.rules[3]);
  t.issuer.keys =
      token_printf("{\"keys\":[%s,%s,%s]}", token_jwk(token_key(CRYPTO_RS256, false), "r", "").ptr,
                   token_jwk(token_key(CRYPTO_ES256, false), "e", "").ptr,
                   token_jwk(token_key(CRYPTO_EDDSA, false), "d", "").ptr);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  tokens_close(t.tokens);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", t.directory);
  int removed = system(command);
  log_configure(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT, STDERR_FILENO);
  close(t.log_fds[0]);
  close(t.log_fds[1]);
  scripted_issuer_fini(&t.issuer);
  arena_fini(&t.arena);
  port_simulated_free(t.clock);
  token_maker_reset();
  return removed;
}

/* The thread that fetches runs by itself. */
static void wait_for_keys(void) {
  for (unsigned i = 0; i < WAIT_STEPS; i++) {
    struct issuers_info first, second;
    tokens_issuer_info(t.tokens, 0, &first);
    tokens_issuer_info(t.tokens, 1, &second);
    if (first.keys > 0 && second.keys > 0)
      return;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  fail_msg("no keys came");
}

static str claims_of(const char *issuer, const char *audience, const char *subject, const char *more) {
  return token_printf("{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\",\"iat\":%lld,\"exp\":%lld%s}", issuer,
                      audience, subject, now_s(), now_s() + 3600, more);
}
static str good_claims(void) {
  return claims_of(FIREBASE, "shop", "alice", ",\"email\":\"alice@example.com\",\"admin\":true");
}
static const char RS256[] = "{\"alg\":\"RS256\",\"kid\":\"r\",\"typ\":\"JWT\"}";
static str sign(const char *header, str claims) {
  return token_make(header, claims.ptr, token_key(CRYPTO_RS256, false));
}

static status verify(str token, struct identity **ret) {
  return tokens_verify(t.tokens, token_printf("Bearer " STR_FMT, (int)token.len, token.ptr), now_us(), ret);
}

/* The code, and that no message holds a piece of the token. */
static enum status_code code_of(str token) {
  struct identity *identity = NULL;
  status result = verify(token, &identity);
  if (status_is_ok(&result))
    identity_unref(identity);
  for (size_t i = 0; i + 12 <= token.len; i += 4)
    assert_null(memmem(result.message, strlen(result.message), token.ptr + i, 12));
  return result.code;
}
#define assert_refused(token) assert_int_equal(code_of(token), STATUS_UNAUTHENTICATED)

static void users_come_in(void **state) {
  (void)state;
  open_tokens(false);
  wait_for_keys();
  struct identity *identity, *again;
  str token = sign(RS256, good_claims());
  assert_status_ok(verify(token, &identity));
  assert_int_equal(identity->kind, IDENTITY_USER);
  assert_int_equal(identity->role, IDENTITY_ROLE_NONE);
  assert_str_is(identity->uid, "alice");
  assert_str_is(identity->issuer, FIREBASE);
  assert_str_is(identity->project, "shop");
  assert_int_equal(identity->expires_us, (now_s() + 3600 + JWT_CLOCK_TOLERANCE_S) * SECOND);
  assert_int_equal(identity->generation, tokens_generation(t.tokens));
  struct arena arena;
  struct doc_map claims;
  arena_init(&arena, NULL, 0, 1 << 16);
  assert_status_ok(doc_decode_fields(identity->claims, &arena, &claims));
  assert_int_equal(claims.count, 7);
  assert_true(doc_map_get(claims, STR("admin"))->as.boolean);
  arena_fini(&arena);
  assert_status_ok(verify(token, &again)); /* from the cache */
  assert_ptr_equal(again, identity);
  identity_unref(again);
  identity_unref(identity);
  /* Other algorithms, another issuer, one of many audiences. */
  str other = claims_of("https://i.example", "app2", "bob", "");
  assert_int_equal(
      code_of(token_make("{\"alg\":\"ES256\",\"kid\":\"e\"}", other.ptr, token_key(CRYPTO_ES256, false))),
      STATUS_OK);
  assert_int_equal(
      code_of(token_make("{\"alg\":\"EdDSA\",\"kid\":\"d\"}", other.ptr, token_key(CRYPTO_EDDSA, false))),
      STATUS_OK);
  assert_int_equal(code_of(token_make("{\"alg\":\"EdDSA\"}", other.ptr, token_key(CRYPTO_EDDSA, false))),
                   STATUS_OK);
}

static void signed_out_is_an_identity_too(void **state) {
  (void)state;
  open_tokens(false);
  struct identity *identity;
  assert_status_ok(tokens_verify(t.tokens, (str){NULL, 0}, now_us(), &identity));
  assert_int_equal(identity->kind, IDENTITY_SIGNED_OUT);
  assert_str_is(identity->uid, "");
  identity_unref(identity);
}

/* In production mode, with keys, each of these is UNAUTHENTICATED. */
static void ways_in_that_are_closed(void **state) {
  (void)state;
  open_tokens(false);
  wait_for_keys();
  const struct crypto_key *rsa = token_key(CRYPTO_RS256, false), *other = token_key(CRYPTO_RS256, true),
                          *ec = token_key(CRYPTO_ES256, false);
  const char *good = good_claims().ptr;
  str whole = sign(RS256, good_claims()), header = token_base64url(str_from_cstr(RS256)),
      payload = token_base64url(str_from_cstr(good));
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
      token_make(RS256, good, NULL),
      token_make(RS256, good, other),                            /* another's key */
      token_make(RS256, good, ec),                               /* another kind of key */
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
      token_join(header, token_base64url(claims_of(FIREBASE, "shop", "mallory", "")),
                 str_from(whole, header.len + payload.len + 2)), /* another payload */
      sign(RS256, claims_of(FIREBASE, "shop2", "alice", "")),
      sign(RS256, claims_of(FIREBASE, "", "alice", "")),
      sign(RS256, claims_of(FIREBASE, "app1", "alice", "")), /* the other issuer's audience */
      sign(RS256, claims_of("https://i.example", "shop", "alice", "")),
      sign(RS256, claims_of("https://securetoken.google.com/shop2", "shop2", "alice", "")),
      sign(RS256, claims_of(FIREBASE "/", "shop", "alice", "")),
      sign(RS256, claims_of("", "shop", "alice", "")),
      sign(RS256, claims_of(FIREBASE, "shop", "", "")),
      sign(RS256, claims_of(FIREBASE, "shop", "alice", ",\"nbf\":4000000000")),
      sign(RS256, claims_of(FIREBASE, "shop", "alice", ",\"exp\":4000000000")), /* twice */
      sign(RS256, STR("{\"iss\":\"" FIREBASE "\",\"aud\":\"shop\",\"sub\":\"alice\"}")),
      sign(RS256, STR("{\"iss\":\"" FIREBASE "\",\"aud\":\"shop\",\"sub\":\"alice\",\"iat\":1,\"exp\":2}")),
      sign(RS256, STR("{\"iss\":\"" FIREBASE
                      "\",\"aud\":\"shop\",\"sub\":\"alice\",\"iat\":1,\"exp\":\"4000000000\"}")),
  };
  assert_int_equal(code_of(whole), STATUS_OK);
  for (size_t i = 0; i < UNIT_COUNT(tokens); i++)
    if (code_of(tokens[i]) != STATUS_UNAUTHENTICATED)
      fail_msg("number %zu came in", i);
  for (size_t i = 1; i < whole.len; i += 17)
    assert_refused(str_make(whole.ptr, i));
  static const char *const headers[] = {"Basic YTpi",  "bearer",        "Bearer",
                                        "Bearer ",     "Bearer\towner", "owner",
                                        "Negotiate x", "Bearer  owner", "Bearer,owner"};
  for (size_t i = 0; i < UNIT_COUNT(headers); i++) {
    struct identity *identity;
    assert_status_code(tokens_verify(t.tokens, str_from_cstr(headers[i]), now_us(), &identity),
                       STATUS_UNAUTHENTICATED);
  }
  struct identity_cache_stats stats;
  tokens_cache_stats(t.tokens, &stats);
  assert_int_equal(stats.entries, 1); /* nothing is kept of what was refused */
}

static void tokens_expire(void **state) {
  (void)state;
  open_tokens(false);
  wait_for_keys();
  str token = sign(RS256, good_claims());
  assert_int_equal(code_of(token), STATUS_OK);
  port_simulated_advance(t.clock, INT64_C(3659) * SECOND);
  assert_int_equal(code_of(token), STATUS_OK);
  port_simulated_advance(t.clock, INT64_C(1) * SECOND);
  assert_refused(token); /* though it is in the cache */
}

static void without_keys_nobody_is_refused(void **state) {
  (void)state;
  scripted_issuer_set_down(&t.issuer, true);
  open_tokens(false);
  str token = sign(RS256, good_claims());
  assert_int_equal(code_of(token), STATUS_UNAVAILABLE);
  /* What would be wrong with any key is said. */
  assert_refused(sign(RS256, claims_of(FIREBASE, "other", "alice", "")));
  assert_refused(token_make("{\"alg\":\"none\"}", good_claims().ptr, NULL));
  tokens_close(t.tokens);
  t.tokens = NULL;
  scripted_issuer_set_down(&t.issuer, false);
  open_tokens(false);
  wait_for_keys();
  assert_int_equal(code_of(token), STATUS_OK);
  /* After a restart without uplink, from disk. */
  tokens_close(t.tokens);
  t.tokens = NULL;
  scripted_issuer_set_down(&t.issuer, true);
  open_tokens(false);
  assert_int_equal(code_of(token), STATUS_OK);
}

static void a_flood_of_unknown_keys_makes_one_request(void **state) {
  (void)state;
  open_tokens(false);
  wait_for_keys();
  unsigned before = scripted_issuer_requests(&t.issuer);
  port_simulated_advance(t.clock, INT64_C(61) * SECOND);
  for (unsigned i = 0; i < 300; i++) {
    char header[64];
    snprintf(header, sizeof header, "{\"alg\":\"RS256\",\"kid\":\"k%u\"}", i);
    enum status_code code = code_of(sign(header, good_claims()));
    assert_true(code == STATUS_UNAVAILABLE || code == STATUS_UNAUTHENTICATED);
  }
  for (unsigned i = 0; i < WAIT_STEPS && scripted_issuer_requests(&t.issuer) == before; i++)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  for (unsigned i = 0; i < 50; i++)
    assert_false(code_of(sign("{\"alg\":\"RS256\",\"kid\":\"z\"}", good_claims())) == STATUS_OK);
  assert_int_equal(scripted_issuer_requests(&t.issuer), before + 1);
}

static void keys_that_an_issuer_takes_away_are_gone_from_the_cache(void **state) {
  (void)state;
  open_tokens(false);
  wait_for_keys();
  str token = sign(RS256, good_claims());
  assert_int_equal(code_of(token), STATUS_OK);
  uint64_t generation = tokens_generation(t.tokens);
  scripted_issuer_set_keys(
      &t.issuer, token_printf("{\"keys\":[%s]}", token_jwk(token_key(CRYPTO_RS256, true), "n", "").ptr));
  port_simulated_advance(t.clock, INT64_C(61) * SECOND);
  code_of(sign("{\"alg\":\"RS256\",\"kid\":\"n\"}", good_claims())); /* makes it look */
  for (unsigned i = 0; i < WAIT_STEPS && tokens_generation(t.tokens) == generation; i++)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  assert_refused(token);
}

/* ---- Service accounts ---- */

static struct account_key *create_key(int64_t expires_s) {
  struct buf pem = {0};
  struct account_key *key = NULL;
  assert_status_ok(crypto_key_append_public_pem(token_key(CRYPTO_RS256, true), &pem));
  struct account_request request = {.name = STR("till"),
                                    .project = STR("shop"),
                                    .role = IDENTITY_ROLE_EDITOR,
                                    .created_s = now_s(),
                                    .expires_s = expires_s,
                                    .public_pem = buf_str(&pem)};
  assert_status_ok(tokens_create_key(t.tokens, &request, &key));
  buf_fini(&pem);
  return key;
}

static str account_token(const struct account_key *key, const char *issuer, const char *subject,
                         long long lifetime_s, const char *more) {
  str header = token_printf("{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", key->id);
  str claims = token_printf("{\"iss\":\"%s\",\"sub\":\"%s\",\"iat\":%lld,\"exp\":%lld%s}", issuer, subject,
                            now_s(), now_s() + lifetime_s, more);
  return token_make(header.ptr, claims.ptr, token_key(CRYPTO_RS256, true));
}

#define OUR_AUDIENCE ",\"aud\":\"https://firestore.googleapis.com/\""

static void service_accounts_come_in(void **state) {
  (void)state;
  open_tokens(false);
  struct account_key *key = create_key(0);
  static const char *const forms[] = {
      OUR_AUDIENCE,
      ",\"aud\":\"https://firestore.googleapis.com/google.firestore.v1.Firestore\"",
      ",\"aud\":\"https://box.local:8443/google.firestore.v1.Firestore\"",
      (",\"scope\":\"https://www.googleapis.com/auth/cloud-platform "
       "https://www.googleapis.com/auth/datastore\""),
      ",\"scope\":\"https://www.googleapis.com/auth/datastore\"",
  };
  for (size_t i = 0; i < UNIT_COUNT(forms); i++) {
    struct identity *identity;
    assert_status_ok(verify(account_token(key, key->email, key->email, 3600, forms[i]), &identity));
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
    assert_refused(account_token(key, key->email, key->email, 3600, other_forms[i]));
  assert_refused(account_token(key, key->email, "other@shop.iam.skerry.local", 3600, OUR_AUDIENCE));
  assert_refused(
      account_token(key, "other@shop.iam.skerry.local", "other@shop.iam.skerry.local", 3600, OUR_AUDIENCE));
  assert_refused(account_token(key, FIREBASE, "alice", 3600, ",\"aud\":\"shop\""));
  assert_refused(account_token(key, key->email, key->email, 3601, OUR_AUDIENCE));
  /* Its id, another key. */
  str header = token_printf("{\"alg\":\"RS256\",\"kid\":\"%s\"}", key->id),
      claims = token_printf("{\"iss\":\"%s\",\"sub\":\"%s\",\"iat\":%lld,\"exp\":%lld" OUR_AUDIENCE "}",
                            key->email, key->email, now_s(), now_s() + 60);
  assert_refused(token_make(header.ptr, claims.ptr, token_key(CRYPTO_RS256, false)));
  assert_refused(token_make("{\"alg\":\"RS256\"}", claims.ptr, token_key(CRYPTO_RS256, true)));
  account_key_unref(key);
}

static void revocation_acts_at_once(void **state) {
  (void)state;
  open_tokens(false);
  wait_for_keys(); /* they make a generation too */
  struct account_key *key = create_key(0);
  str token = account_token(key, key->email, key->email, 3600, OUR_AUDIENCE);
  struct identity *identity;
  assert_status_ok(verify(token, &identity));
  assert_int_equal(code_of(token), STATUS_OK);
  assert_int_equal(identity->generation, tokens_generation(t.tokens));
  assert_status_ok(tokens_revoke_key(t.tokens, str_from_cstr(key->id)));
  assert_int_not_equal(identity->generation, tokens_generation(t.tokens)); /* so streams see it */
  assert_refused(token);
  identity_unref(identity);
  account_key_unref(key);
}

static void keys_of_accounts_expire(void **state) {
  (void)state;
  open_tokens(false);
  struct account_key *key = create_key(now_s() + 100);
  str token = account_token(key, key->email, key->email, 3600, OUR_AUDIENCE);
  struct identity *identity;
  assert_status_ok(verify(token, &identity));
  assert_int_equal(identity->expires_us, (now_s() + 100) * SECOND);
  identity_unref(identity);
  port_simulated_advance(t.clock, INT64_C(100) * SECOND);
  assert_refused(token);
  account_key_unref(key);
}

/* ---- Development, certificates ---- */

static void development_has_the_emulators_conventions(void **state) {
  (void)state;
  open_tokens(true);
  wait_for_keys();
  struct identity *identity;
  assert_status_ok(verify(STR("owner"), &identity));
  assert_int_equal(identity->kind, IDENTITY_OWNER);
  identity_unref(identity);
  /* As @firebase/util makes them: issued in 1970. */
  str token =
      token_make("{\"alg\":\"none\",\"type\":\"JWT\"}",
                 "{\"iss\":\"https://securetoken.google.com/demo\",\"aud\":\"demo\",\"iat\":0,\"exp\":3600,"
                 "\"auth_time\":0,\"sub\":\"carol\",\"user_id\":\"carol\",\"firebase\":{\"sign_in_provider\":"
                 "\"custom\",\"identities\":{}}}",
                 NULL);
  assert_status_ok(verify(token, &identity));
  assert_int_equal(identity->kind, IDENTITY_USER);
  assert_str_is(identity->uid, "carol");
  assert_true(identity->expires_us == IDENTITY_NEVER_EXPIRES);
  identity_unref(identity);
  assert_refused(token_make("{\"alg\":\"none\"}", "{\"iss\":\"x\"}", NULL));
  assert_int_equal(code_of(sign(RS256, good_claims())), STATUS_OK);
  assert_refused(token_make(RS256, good_claims().ptr, token_key(CRYPTO_RS256, true)));
}

static void certificates_are_mapped(void **state) {
  (void)state;
  open_tokens(false);
  uint8_t known[32], unknown[32] = {9};
  for (uint8_t i = 0; i < 32; i++)
    known[i] = i;
  struct identity *identity = tokens_of_certificate(t.tokens, STR("till 1"), unknown);
  assert_int_equal(identity->kind, IDENTITY_SERVICE_ACCOUNT);
  assert_int_equal(identity->role, IDENTITY_ROLE_EDITOR);
  assert_str_is(identity->uid, "till 1");
  identity_unref(identity);
  identity = tokens_of_certificate(t.tokens, STR("anything"), known);
  assert_int_equal(identity->kind, IDENTITY_USER);
  assert_str_is(identity->uid, "alice");
  identity_unref(identity);
  identity = tokens_of_certificate(t.tokens, STR("bob@example.com"), unknown);
  assert_int_equal(identity->kind, IDENTITY_USER);
  assert_str_is(identity->uid, "bob@example.com");
  identity_unref(identity);
  assert_null(tokens_of_certificate(t.tokens, STR(""), unknown));
  char cut[96];
  memset(cut, 'n', sizeof cut);
  assert_null(tokens_of_certificate(t.tokens, str_make(cut, 95), unknown)); /* it may have been longer */
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
    if (certificate_rule_parse(str_from_cstr(refused[i]), &t.arena, &rule).code != STATUS_INVALID_ARGUMENT)
      fail_msg("%s", refused[i]);
  }
}

/* ---- Secrets ---- */

static void the_log_has_no_piece_of_a_token(void **state) {
  (void)state;
  open_tokens(false);
  wait_for_keys();
  struct account_key *key = create_key(0);
  str tokens[] = {sign(RS256, good_claims()),
                  token_make(RS256, good_claims().ptr, token_key(CRYPTO_RS256, true)),
                  account_token(key, key->email, key->email, 3600, OUR_AUDIENCE),
                  sign("{\"alg\":\"RS256\",\"kid\":\"unknown\"}", good_claims())};
  for (size_t i = 0; i < UNIT_COUNT(tokens); i++)
    code_of(tokens[i]);
  scripted_issuer_set_down(&t.issuer, true);
  port_simulated_advance(t.clock, INT64_C(61) * SECOND);
  code_of(tokens[3]);
  for (unsigned i = 0; i < WAIT_STEPS; i++) {
    struct issuers_info info;
    tokens_issuer_info(t.tokens, 0, &info);
    if (info.failures > 0)
      break;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  assert_status_ok(tokens_revoke_key(t.tokens, str_from_cstr(key->id)));
  code_of(tokens[2]);
  tokens_close(t.tokens);
  t.tokens = NULL;
  char log[65536];
  ssize_t len = read(t.log_fds[0], log, sizeof log);
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
    status result = tokens_verify(t.tokens, token, 1767225600 * INT64_C(1000000), &identity);
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
  open_tokens(false);
  wait_for_keys();
  struct account_key *key = create_key(0);
  assert_int_equal(now_s(), 1767225600);
  for (size_t i = 0; i < UNIT_COUNT(shared_tokens); i++)
    shared_tokens[i] = token_printf(
        "Bearer %s", sign(RS256, claims_of(FIREBASE, "shop", token_printf("user%zu", i).ptr, "")).ptr);
  revoked_token =
      token_printf("Bearer %s", account_token(key, key->email, key->email, 3600, OUR_AUDIENCE).ptr);
  pthread_t threads[6];
  for (uintptr_t i = 0; i < UNIT_COUNT(threads); i++)
    assert_int_equal(pthread_create(&threads[i], NULL, verify_many, (void *)(i + 1)), 0);
  for (unsigned i = 0; i < 20; i++) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    assert_status_ok(tokens_revoke_key(t.tokens, str_from_cstr(key->id)));
    account_key_unref(key);
    key = create_key(0);
  }
  for (size_t i = 0; i < UNIT_COUNT(threads); i++)
    pthread_join(threads[i], NULL);
  account_key_unref(key);
}

/* ---- Speed ---- */

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double time_verify(str header, unsigned times) {
  double begin = seconds();
  for (unsigned i = 0; i < times; i++) {
    struct identity *identity;
    assert_status_ok(tokens_verify(t.tokens, header, now_us(), &identity));
    identity_unref(identity);
  }
  return (seconds() - begin) / times * 1e6;
}

static void bench(void **state) {
  (void)state;
  open_tokens(false);
  wait_for_keys();
  char filler[600];
  memset(filler, 'f', sizeof filler - 1);
  filler[sizeof filler - 1] = '\0';
  str claims = claims_of(FIREBASE, "shop", "alice", token_printf(",\"picture\":\"%s\"", filler).ptr);
  str token = sign(RS256, claims), header = token_printf("Bearer %s", token.ptr);
  printf("token of %zu bytes, cached: %.2f us\n", token.len, time_verify(header, 1000000));
  for (unsigned algorithm = 0; algorithm < 3; algorithm++) {
    static const char *const headers[] = {RS256, "{\"alg\":\"ES256\",\"kid\":\"e\"}",
                                          "{\"alg\":\"EdDSA\",\"kid\":\"d\"}"};
    const struct crypto_key *key = token_key((enum crypto_algorithm)algorithm, false);
    enum { COLD = 400 };
    str cold[COLD];
    for (unsigned i = 0; i < COLD; i++)
      cold[i] = token_printf("Bearer %s", token_make(headers[algorithm],
                                                     claims_of(FIREBASE, "shop", token_printf("u%u", i).ptr,
                                                               token_printf(",\"p\":\"%s\"", filler).ptr)
                                                         .ptr,
                                                     key)
                                              .ptr);
    double begin = seconds();
    for (unsigned i = 0; i < COLD; i++) {
      struct identity *identity;
      assert_status_ok(tokens_verify(t.tokens, cold[i], now_us(), &identity));
      identity_unref(identity);
    }
    double all_us = (seconds() - begin) / COLD * 1e6;
    struct jwt jwt;
    struct arena arena;
    arena_init(&arena, NULL, 0, JWT_MEMORY_BYTES_MAX);
    assert_status_ok(jwt_parse(str_from(cold[0], 7), &arena, &jwt));
    begin = seconds();
    for (unsigned i = 0; i < COLD; i++)
      assert_true(jwt_is_signed_by(&jwt, key));
    double signature_us = (seconds() - begin) / COLD * 1e6;
    arena_fini(&arena);
    printf("%s cold: %.1f us, of these the signature %.1f us\n", headers[algorithm], all_us, signature_us);
  }
}

int main(int argc, char **argv) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      CASE(users_come_in),
      CASE(signed_out_is_an_identity_too),
      CASE(ways_in_that_are_closed),
      CASE(tokens_expire),
      CASE(without_keys_nobody_is_refused),
      CASE(a_flood_of_unknown_keys_makes_one_request),
      CASE(keys_that_an_issuer_takes_away_are_gone_from_the_cache),
      CASE(service_accounts_come_in),
      CASE(revocation_acts_at_once),
      CASE(keys_of_accounts_expire),
      CASE(development_has_the_emulators_conventions),
      CASE(certificates_are_mapped),
      CASE(the_log_has_no_piece_of_a_token),
      CASE(many_threads_verify_while_keys_come_and_go),
  };
  const struct CMUnitTest benches[] = {CASE(bench)};
  bool measure = argc > 1 && strcmp(argv[1], "bench") == 0;
  int failed =
      measure ? cmocka_run_group_tests(benches, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
  token_maker_end();
  return failed;
}
