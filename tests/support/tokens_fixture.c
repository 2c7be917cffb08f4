#include "tests/support/tokens_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

struct tokens_fixture fixture;

void fixture_sleep(void) {
  nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

int64_t fixture_now_us(void) {
  struct port *port = port_simulated_port(fixture.clock);
  return port->wall_us(port);
}
long long fixture_now_s(void) {
  return (long long)(fixture_now_us() / FIXTURE_SECOND);
}

void fixture_open(bool dev) {
  struct tokens_options options = {.port = port_simulated_port(fixture.clock),
                                   .directory = fixture.directory,
                                   .issuers = fixture.settings,
                                   .issuer_count = 2,
                                   .certificates = fixture.rules,
                                   .certificate_count = 4,
                                   .fetcher = scripted_issuer_fetcher(&fixture.issuer),
                                   .dev = dev};
  assert_status_ok(tokens_open(&options, &fixture.tokens));
}

static void parse_rule(const char *text, struct certificate_rule *ret) {
  assert_status_ok(certificate_rule_parse(str_from_cstr(text), &fixture.arena, ret));
}

int fixture_set_up(void **state) {
  (void)state;
  memset(&fixture, 0, sizeof fixture);
  if (pipe2(fixture.log_fds, O_CLOEXEC | O_NONBLOCK) != 0)
    return -1;
  log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT, fixture.log_fds[1]);
  fixture.clock = port_simulated_new();
  scripted_issuer_init(&fixture.issuer);
  arena_init(&fixture.arena, NULL, 0, 1 << 16);
  strcpy(fixture.directory, "/tmp/skerry-tokens-XXXXXX");
  if (mkdtemp(fixture.directory) == NULL)
    return -1;
  assert_status_ok(issuer_setting_parse(STR(FIXTURE_FIREBASE), false, &fixture.arena, &fixture.settings[0]));
  assert_status_ok(
      issuer_setting_parse(STR("https://i.example audience=app1,app2 keys=https://i.example/keys"), false,
                           &fixture.arena, &fixture.settings[1]));
  parse_rule("till 1 role=editor", &fixture.rules[0]);
  parse_rule(
      "sha256:00:01:02:03:04:05:06:07:08:09:0A:0b:0c:0d:0e:0f101112131415161718191a1b1c1d1e1f uid=alice",
      &fixture.rules[1]);
  parse_rule("viewer.example role=viewer", &fixture.rules[2]);
  parse_rule("* uid=*", &fixture.rules[3]);
  fixture.issuer.keys =
      token_printf("{\"keys\":[%s,%s,%s]}", token_jwk(token_key(CRYPTO_RS256, false), "r", "").ptr,
                   token_jwk(token_key(CRYPTO_ES256, false), "e", "").ptr,
                   token_jwk(token_key(CRYPTO_EDDSA, false), "d", "").ptr);
  return 0;
}

int fixture_tear_down(void **state) {
  (void)state;
  tokens_close(fixture.tokens);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", fixture.directory);
  int removed = system(command);
  log_configure(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT, STDERR_FILENO);
  close(fixture.log_fds[0]);
  close(fixture.log_fds[1]);
  scripted_issuer_fini(&fixture.issuer);
  arena_fini(&fixture.arena);
  port_simulated_free(fixture.clock);
  token_maker_reset();
  return removed;
}

void fixture_wait_for_keys(void) {
  for (unsigned i = 0; i < FIXTURE_WAIT_STEPS; i++) {
    struct issuers_info first, second;
    tokens_issuer_info(fixture.tokens, 0, &first);
    tokens_issuer_info(fixture.tokens, 1, &second);
    /* Each issuer's first keys make a generation. */
    if (first.keys > 0 && second.keys > 0 && tokens_generation(fixture.tokens) >= 3)
      return;
    fixture_sleep();
  }
  fail_msg("no keys came");
}

str fixture_claims(const char *issuer, const char *audience, const char *subject, const char *more) {
  return token_printf("{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\",\"iat\":%lld,\"exp\":%lld%s}", issuer,
                      audience, subject, fixture_now_s(), fixture_now_s() + 3600, more);
}
str fixture_good_claims(void) {
  return fixture_claims(FIXTURE_FIREBASE, "shop", "alice", ",\"email\":\"alice@example.com\",\"admin\":true");
}
str fixture_sign(const char *header, str claims) {
  return token_make(header, claims.ptr, token_key(CRYPTO_RS256, false));
}

status fixture_verify(str token, struct identity **ret) {
  return tokens_verify(fixture.tokens, token_printf("Bearer " STR_FMT, (int)token.len, token.ptr),
                       fixture_now_us(), ret);
}

enum status_code fixture_code(str token) {
  struct identity *identity = NULL;
  status result = fixture_verify(token, &identity);
  if (status_is_ok(&result))
    identity_unref(identity);
  for (size_t i = 0; i + 12 <= token.len; i += 4)
    assert_null(memmem(result.message, strlen(result.message), token.ptr + i, 12));
  return result.code;
}
struct account_key *fixture_create_key(int64_t expires_s) {
  struct buf pem = {0};
  struct account_key *key = NULL;
  assert_status_ok(crypto_key_append_public_pem(token_key(CRYPTO_RS256, true), &pem));
  struct account_request request = {.name = STR("till"),
                                    .project = STR("shop"),
                                    .role = IDENTITY_ROLE_EDITOR,
                                    .created_s = fixture_now_s(),
                                    .expires_s = expires_s,
                                    .public_pem = buf_str(&pem)};
  assert_status_ok(tokens_create_key(fixture.tokens, &request, &key));
  buf_fini(&pem);
  return key;
}

str fixture_account_token(const struct account_key *key, const char *issuer, const char *subject,
                          long long lifetime_s, const char *more) {
  str header = token_printf("{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", key->id);
  str claims = token_printf("{\"iss\":\"%s\",\"sub\":\"%s\",\"iat\":%lld,\"exp\":%lld%s}", issuer, subject,
                            fixture_now_s(), fixture_now_s() + lifetime_s, more);
  return token_make(header.ptr, claims.ptr, token_key(CRYPTO_RS256, true));
}
