/* When keys are fetched, and what is said of tokens meanwhile. Time stands still but where the test moves it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "ports/simulated.h"
#include "server/tokens/issuers.h"
#include "tests/support/scripted_issuer.h"
#include "tests/support/token_maker.h"
#include "tests/support/unit.h"

enum { SECOND = 1000000 };

static struct {
  struct port_simulated *clock;
  struct scripted_issuer issuer;
  struct arena arena;
  struct issuer_setting setting;
  char directory[64];
  struct issuers *issuers;
  unsigned woken, changed;
} t;

static void on_wake(void *argument) {
  (void)argument;
  t.woken++;
}
static void on_change(void *argument) {
  (void)argument;
  t.changed++;
}

static void open_issuers(void) {
  struct issuers_options options = {.port = port_simulated_port(t.clock),
                                    .directory = t.directory,
                                    .settings = &t.setting,
                                    .count = 1,
                                    .fetcher = scripted_issuer_fetcher(&t.issuer),
                                    .wake = on_wake,
                                    .changed = on_change};
  assert_status_ok(issuers_open(&options, &t.issuers));
}

static int set_up(void **state) {
  (void)state;
  memset(&t, 0, sizeof t);
  log_configure(LOG_LEVEL_OFF, LOG_FORMAT_LOGFMT, STDERR_FILENO);
  t.clock = port_simulated_new();
  scripted_issuer_init(&t.issuer);
  arena_init(&t.arena, NULL, 0, 1 << 16);
  strcpy(t.directory, "/tmp/skerry-issuers-XXXXXX");
  if (mkdtemp(t.directory) == NULL)
    return -1;
  assert_status_ok(issuer_setting_parse(STR("https://i.example audience=a"), false, &t.arena, &t.setting));
  t.issuer.discovery = STR("{\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://i.example/keys\"}");
  t.issuer.keys = token_printf("{\"keys\":[%s]}", token_jwk(token_key(CRYPTO_ES256, false), "one", "").ptr);
  open_issuers();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  issuers_close(t.issuers);
  char command[256];
  snprintf(command, sizeof command, "rm -rf %s", t.directory);
  int removed = system(command);
  scripted_issuer_fini(&t.issuer);
  arena_fini(&t.arena);
  port_simulated_free(t.clock);
  token_maker_reset();
  return removed;
}

static status find(const char *id) {
  struct key_set *set;
  const struct crypto_key *key;
  STATUS_TRY(issuers_find(t.issuers, 0, str_from_cstr(id), CRYPTO_ES256, &set, &key));
  key_set_unref(set);
  return status_ok();
}

static int64_t now_us(void) {
  struct port *port = port_simulated_port(t.clock);
  return port->monotonic_us(port);
}

static void keys_are_discovered_and_fetched(void **state) {
  (void)state;
  assert_status_code(find("one"), STATUS_UNAVAILABLE);
  int64_t next_us = issuers_work(t.issuers, 0);
  assert_int_equal(t.issuer.discovery_requests, 1);
  assert_int_equal(t.issuer.key_requests, 1);
  assert_string_equal(t.issuer.last_url, "https://i.example/keys");
  assert_status_ok(find("one"));
  assert_int_equal(t.changed, 1);
  assert_int_equal(next_us - now_us(), INT64_C(3600) * SECOND / 5 * 4);
  /* Not before it is due; then, of the same keys, nothing is said. */
  issuers_work(t.issuers, 0);
  assert_int_equal(t.issuer.key_requests, 1);
  port_simulated_advance(t.clock, next_us - now_us());
  issuers_work(t.issuers, 0);
  assert_int_equal(t.issuer.key_requests, 2);
  assert_int_equal(t.issuer.discovery_requests, 1);
  assert_int_equal(t.changed, 1);
  assert_int_equal(issuers_index(t.issuers, STR("https://i.example")), 0);
  assert_int_equal(issuers_index(t.issuers, STR("https://i.example/")), ISSUERS_MAX);
}

static void lifetimes_are_bounded(void **state) {
  (void)state;
  static const struct {
    int64_t given_s, wanted_s;
  } cases[] = {{-1, 300}, {0, 300}, {299, 300}, {1000, 1000}, {86400, 86400}, {1000000, 86400}};
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    t.issuer.lifetime_s = cases[i].given_s;
    port_simulated_advance(t.clock, INT64_C(86400) * SECOND);
    int64_t next_us = issuers_work(t.issuers, 0);
    assert_int_equal(next_us - now_us(), cases[i].wanted_s * SECOND / 5 * 4);
  }
}

static void a_flood_of_unknown_keys_makes_a_request_a_minute(void **state) {
  (void)state;
  issuers_work(t.issuers, 0);
  unsigned before = t.issuer.key_requests;
  /* Within a minute of the last there is none, and it is known that there is no such key. */
  for (unsigned i = 0; i < 1000; i++) {
    assert_status_code(find("unknown"), STATUS_UNAUTHENTICATED);
    issuers_work(t.issuers, 0);
  }
  assert_int_equal(t.issuer.key_requests, before);
  assert_int_equal(t.woken, 0);
  for (unsigned minute = 1; minute <= 5; minute++) {
    port_simulated_advance(t.clock, INT64_C(60) * SECOND);
    assert_status_code(find("unknown"), STATUS_UNAVAILABLE); /* it may be new */
    assert_int_equal(t.woken, minute);
    for (unsigned i = 0; i < 100; i++)
      assert_false(find("unknown").code == STATUS_OK);
    assert_int_equal(t.woken, minute);
    for (unsigned i = 0; i < 100; i++) {
      issuers_work(t.issuers, 0);
      assert_status_code(find("unknown"), STATUS_UNAUTHENTICATED);
    }
    assert_int_equal(t.issuer.key_requests, before + minute);
  }
}

static void new_keys_come_when_they_are_asked_for(void **state) {
  (void)state;
  issuers_work(t.issuers, 0);
  scripted_issuer_set_keys(
      &t.issuer, token_printf("{\"keys\":[%s]}", token_jwk(token_key(CRYPTO_ES256, true), "two", "").ptr));
  port_simulated_advance(t.clock, INT64_C(61) * SECOND);
  assert_status_code(find("two"), STATUS_UNAVAILABLE);
  issuers_work(t.issuers, 0);
  assert_status_ok(find("two"));
  assert_status_code(find("one"), STATUS_UNAUTHENTICATED); /* the issuer has taken it away */
  assert_int_equal(t.changed, 2);
}

static void a_failing_issuer_is_asked_less_and_less(void **state) {
  (void)state;
  scripted_issuer_set_down(&t.issuer, true);
  static const int64_t waits_s[] = {10, 20, 40, 80, 160, 300, 300};
  for (size_t i = 0; i < UNIT_COUNT(waits_s); i++) {
    int64_t next_us = issuers_work(t.issuers, 0);
    assert_int_equal(next_us - now_us(), waits_s[i] * SECOND);
    assert_status_code(find("one"), STATUS_UNAVAILABLE);
    port_simulated_advance(t.clock, waits_s[i] * SECOND);
  }
  struct issuers_info info;
  issuers_info(t.issuers, 0, &info);
  assert_int_equal(info.failures, UNIT_COUNT(waits_s));
  assert_int_equal(info.keys, 0);
  assert_string_equal(info.problem, "it is down");
  scripted_issuer_set_down(&t.issuer, false);
  issuers_work(t.issuers, 0);
  assert_status_ok(find("one"));
  issuers_info(t.issuers, 0, &info);
  assert_int_equal(info.failures, 0);
  assert_string_equal(info.problem, "");
}

static void reopen(void) {
  issuers_close(t.issuers);
  t.issuers = NULL;
  open_issuers();
}

static void known_keys_survive_a_restart_without_uplink(void **state) {
  (void)state;
  issuers_work(t.issuers, 0);
  scripted_issuer_set_down(&t.issuer, true);
  for (unsigned week = 0; week < 6; week++) {
    port_simulated_advance(t.clock, INT64_C(7) * 86400 * SECOND);
    reopen();
    assert_status_ok(find("one"));
    issuers_work(t.issuers, 0);
    assert_status_ok(find("one"));
    assert_status_code(find("unknown"), STATUS_UNAVAILABLE);
  }
  /* With it, they are looked at again at once. */
  scripted_issuer_set_down(&t.issuer, false);
  scripted_issuer_set_keys(
      &t.issuer, token_printf("{\"keys\":[%s]}", token_jwk(token_key(CRYPTO_ES256, true), "two", "").ptr));
  reopen();
  issuers_work(t.issuers, 0);
  assert_status_ok(find("two"));
  assert_false(find("one").code == STATUS_OK);
}

static void bad_answers_leave_what_is_known(void **state) {
  (void)state;
  issuers_work(t.issuers, 0);
  static const char *const bad[] = {"", "<html>login</html>", "{\"keys\":[]}", "{}"};
  for (size_t i = 0; i < UNIT_COUNT(bad); i++) {
    scripted_issuer_set_keys(&t.issuer, str_from_cstr(bad[i]));
    port_simulated_advance(t.clock, INT64_C(86400) * SECOND);
    issuers_work(t.issuers, 0);
    assert_status_ok(find("one"));
  }
  reopen();
  assert_status_ok(find("one"));
}

/* A captive portal, or worse. */
static void discovery_cannot_point_elsewhere(void **state) {
  (void)state;
  static const char *const bad[] = {
      "{\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://evil.example/keys\"}",
      "{\"issuer\":\"https://i.example\",\"jwks_uri\":\"http://i.example/keys\"}",
      "{\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://i.example:8443/keys\"}",
      "{\"issuer\":\"https://i.example\",\"jwks_uri\":\"https://i.example@evil.example/keys\"}",
      "{\"issuer\":\"https://other.example\",\"jwks_uri\":\"https://i.example/keys\"}",
  };
  for (size_t i = 0; i < UNIT_COUNT(bad); i++) {
    t.issuer.discovery = str_from_cstr(bad[i]);
    port_simulated_advance(t.clock, INT64_C(86400) * SECOND);
    issuers_work(t.issuers, 0);
    assert_status_code(find("one"), STATUS_UNAVAILABLE);
  }
  assert_int_equal(t.issuer.key_requests, 0);
}

static void damaged_files_count_as_none(void **state) {
  (void)state;
  issuers_work(t.issuers, 0);
  char command[256];
  snprintf(command, sizeof command, "for f in %s/issuer-*; do echo '{\"issuer\":' > $f; done", t.directory);
  assert_int_equal(system(command), 0);
  reopen();
  assert_status_code(find("one"), STATUS_UNAVAILABLE);
  issuers_work(t.issuers, 0);
  assert_status_ok(find("one"));
  reopen();
  assert_status_ok(find("one"));
}

static void settings_are_read(void **state) {
  (void)state;
  struct issuer_setting s;
  assert_status_ok(issuer_setting_parse(STR("https://securetoken.google.com/shop-1"), false, &t.arena, &s));
  assert_int_equal(s.audience_count, 1);
  assert_str_is(s.audiences[0], "shop-1");
  assert_str_is(s.project, "shop-1");
  assert_true(
      str_has_prefix(s.keys_url, STR("https://www.googleapis.com/robot/v1/metadata/x509/securetoken@")));
  assert_status_ok(issuer_setting_parse(
      STR("  https://i.example/r  audience=a,b\tproject=p keys=https://k.example/ "), false, &t.arena, &s));
  assert_int_equal(s.audience_count, 2);
  assert_str_is(s.keys_url, "https://k.example/");
  assert_str_is(s.provider, "");
  assert_status_ok(
      issuer_setting_parse(STR("https://i.example audience=a provider=oidc.works"), false, &t.arena, &s));
  assert_str_is(s.provider, "oidc.works");
  assert_status_ok(issuer_setting_parse(STR("http://127.0.0.1:5 audience=a"), true, &t.arena, &s));
  static const char *const refused[] = {
      "",
      "i.example audience=a",
      "http://i.example audience=a",
      "http://127.0.0.1:5 audience=a",
      "https://i.example",
      "https://i.example audience=",
      "https://i.example audience=a,",
      "https://i.example audience",
      "https://i.example audiences=a",
      "https://i.example audience=a keys=http://i.example",
      "https://i.example audience=a project=P",
      "https://securetoken.google.com/",
      "https://securetoken.google.com/a/b",
      "https://user@i.example audience=a",
      "https://i.example audience=a provider=",
      "https://i.example audience=a provider=password",
      "https://i.example audience=a provider=A/B",
  };
  for (size_t i = 0; i < UNIT_COUNT(refused); i++) {
    status result = issuer_setting_parse(str_from_cstr(refused[i]), false, &t.arena, &s);
    if (result.code != STATUS_INVALID_ARGUMENT)
      fail_msg("%s", refused[i]);
  }
  assert_status_code(issuer_setting_parse(STR("http://i.example audience=a"), true, &t.arena, &s),
                     STATUS_INVALID_ARGUMENT);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      CASE(keys_are_discovered_and_fetched),
      CASE(lifetimes_are_bounded),
      CASE(a_flood_of_unknown_keys_makes_a_request_a_minute),
      CASE(new_keys_come_when_they_are_asked_for),
      CASE(a_failing_issuer_is_asked_less_and_less),
      CASE(known_keys_survive_a_restart_without_uplink),
      CASE(bad_answers_leave_what_is_known),
      CASE(discovery_cannot_point_elsewhere),
      CASE(damaged_files_count_as_none),
      CASE(settings_are_read),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  token_maker_end();
  return failed;
}
