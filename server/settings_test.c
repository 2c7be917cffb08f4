#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "ports/simulated.h"
#include "server/settings.h"

/* Nothing is written to the words; main's argv is just not const. */
static status load(struct settings *s, const char *const *argv, const char *const *environment) {
  int argc = 0;
  while (argv != NULL && argv[argc] != NULL)
    argc++;
  return settings_load(s, argc, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)environment);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static char *write_file(const char *text) {
  char *path = strdup("/tmp/skerry-settings-XXXXXX");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  close(fd);
  return path;
}

static void test_defaults(void **state) {
  (void)state;
  struct settings s;
  status result = load(&s, NULL, NULL);
  assert_true(status_is_ok(&result));
  assert_false(s.dev);
  assert_int_equal(s.listen.count, 1);
  assert_string_equal(s.listen.items[0], "127.0.0.1:8080");
  assert_string_equal(s.data, "./data");
  assert_int_equal(s.access, ACCESS_DENY);
  assert_int_equal(s.sync, KV_SYNC_ON);
  assert_int_equal(s.history_ms, 3600 * 1000);
  assert_int_equal(s.message_bytes_max, SETTINGS_BY_PROFILE);
  settings_fini(&s);
}

static void test_order_of_sources(void **state) {
  (void)state;
  char *path = write_file(
      "[server]\nmemory_limit = 64M\ndata = /from/file\nlog_level = debug\nlisten = unix:/a, unix:/b\n");
  struct settings s;
  status result =
      load(&s, ARGS("--config", path, "--memory-limit=96M", "--listen", "127.0.0.1:1", "--listen", "[::1]:2"),
           ARGS("SKERRY_MEMORY_LIMIT=80M", "SKERRY_DATA=/from/environment", "PATH=/bin", "SKERRY_BIN=/x"));
  assert_true(status_is_ok(&result));
  assert_int_equal(s.memory_limit_bytes, 96 << 20);
  assert_string_equal(s.data, "/from/environment");
  assert_int_equal(s.log_level, LOG_LEVEL_DEBUG);
  assert_int_equal(s.listen.count, 2);
  assert_string_equal(s.listen.items[1], "[::1]:2");
  settings_fini(&s);

  result = load(&s, NULL, ARGS("SKERRY_CONFIG="));
  assert_true(status_is_ok(&result));
  settings_fini(&s);
  unlink(path);
  free(path);
}

static void test_mistakes(void **state) {
  (void)state;
  static const struct {
    const char *argument, *message;
  } cases[] = {
      {"--no-such=1", "there is no flag --no-such"},
      {"serve", "\"serve\" is not a flag"},
      {"--memory-limit=12Q", "not a number of bytes"},
      {"--memory-limit=99999999999999999999", "not a number of bytes"},
      {"--history=5s", "it must lie between 60000 and 604800000 ms"},
      {"--threads=65", "it must lie between 0 and 64"},
      {"--access=all", "it is one of deny|mtls|open"},
      {"--dev=perhaps", "say true or false"},
      {"--data", "--data has no value"},
      {"--listen=", "listen has no value"},
      {"--config=/no/such/file", "/no/such/file: cannot be read"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct settings s;
    status result = load(&s, ARGS(cases[i].argument), NULL);
    assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
    if (strstr(result.message, cases[i].message) == NULL)
      fail_msg("%s gave: %s", cases[i].argument, result.message);
    settings_fini(&s);
  }
}

static void test_mistakes_in_a_file_have_their_line(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"dev = true\n\nno_such = 1\n", ":3: there is no setting \"no_such\""},
      {"threads = many\n", ":1: threads is \"many\""},
      {"\n\nthis is no setting\n", ":3: not a setting"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *path = write_file(cases[i].text);
    struct settings s;
    status result = load(&s, ARGS("--config", path), NULL);
    assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
    if (strstr(result.message, cases[i].message) == NULL)
      fail_msg("%s gave: %s", cases[i].text, result.message);
    settings_fini(&s);
    unlink(path);
    free(path);
  }
}

static void test_safety(void **state) {
  (void)state;
  static const struct {
    const char *arguments[5];
    bool safe;
    const char *message;
  } cases[] = {
      {{NULL}, true, NULL},
      {{"--dev"}, true, NULL},
      {{"--dev", "--listen=0.0.0.0:80"}, false, "--lan --i-accept-open-access"},
      {{"--dev", "--listen=0.0.0.0:80", "--lan"}, false, "--lan --i-accept-open-access"},
      {{"--dev", "--listen=0.0.0.0:80", "--lan", "--i-accept-open-access"}, true, NULL},
      {{"--listen=10.0.0.1:80"}, false, "it needs TLS"},
      {{"--listen=[::]:80"}, false, "it needs TLS"},
      {{"--listen=[::]:80,grpc"}, false, "it needs TLS"},
      {{"--listen=10.0.0.1:80", "--plaintext"}, true, NULL},
      {{"--listen=10.0.0.1:80", "--tls-cert=a", "--tls-key=b"}, true, NULL},
      {{"--tls-cert=a"}, false, "each certificate needs its key"},
      {{"--tls-cert=a", "--tls-key=b", "--plaintext"}, false, "Leave one of them out"},
      {{"--tls-cert=a", "--tls-key=b", "--tls-client-certificates=required"}, false, "tls_client_ca"},
      {{"--tls-client-ca=c"}, false, "needs TLS"},
      {{"--access=mtls", "--tls-cert=a", "--tls-key=b"}, false, "tls_client_certificates"},
      {{"--access=mtls", "--tls-cert=a", "--tls-key=b", "--tls-client-ca=c",
        "--tls-client-certificates=required"},
       true,
       NULL},
      {{"--listen=unix:/tmp/x", "--access=open"}, false, "--i-accept-open-access"},
      {{"--listen=unix:/tmp/x", "--access=open", "--i-accept-open-access"}, true, NULL},
      {{"--access=mtls"}, false, "needs TLS that asks for one"},
      {{"--id-token=none"}, false, "lets everybody be any user"},
      {{"--id-token=none", "--dev"}, true, NULL},
      {{"--identity-issuer=http://box.example"}, false, "https URL"},
      {{"--anonymous-lifetime=23h"}, false, "a day (1d) or more"},
      {{"--session-lifetime=1s"}, false, "a day (1d) or more"},
      {{"--anonymous-lifetime=1d", "--session-lifetime=400d"}, true, NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *argv[6] = {NULL};
    for (int k = 0; k < 5 && cases[i].arguments[k] != NULL; k++)
      argv[k] = cases[i].arguments[k];
    struct settings s;
    status result = load(&s, argv, NULL);
    assert_true(status_is_ok(&result));
    result = settings_check_safe(&s);
    assert_int_equal(status_is_ok(&result), cases[i].safe);
    if (!cases[i].safe && strstr(result.message, cases[i].message) == NULL)
      fail_msg("case %zu gave: %s", i, result.message);
    settings_fini(&s);
  }
}

static void test_lists(void **state) {
  (void)state;
  struct settings s;
  status result = load(&s,
                       ARGS("--listen=127.0.0.1:1,grpc,[::1]:2", "--listen", "127.0.0.1:3, grpc",
                            "--tls-cert=/a b/c.pem,d.pem", "--tls-key", "e", "--tls-key", "f"),
                       NULL);
  assert_true(status_is_ok(&result));
  assert_int_equal(s.listen.count, 3);
  assert_string_equal(s.listen.items[0], "127.0.0.1:1,grpc");
  assert_string_equal(s.listen.items[1], "[::1]:2");
  assert_string_equal(s.listen.items[2], "127.0.0.1:3,grpc");
  assert_int_equal(s.tls_cert.count, 2);
  assert_string_equal(s.tls_cert.items[0], "/a b/c.pem");
  assert_string_equal(s.tls_key.items[1], "f");
  settings_fini(&s);
}

/* Values that have words of their own are one a value; several in one are apart by semicolons. */
static void test_phrases(void **state) {
  (void)state;
  struct settings s;
  char *path = write_file("issuer = https://a.example audience=one,two ; a comment\n"
                          "issuer = https://b.example audience=three\n"
                          "certificate = till 1 role=viewer\n");
  status result = load(&s, ARGS("--config", path), NULL);
  assert_true(status_is_ok(&result));
  assert_int_equal(s.issuer.count, 2);
  assert_string_equal(s.issuer.items[0], "https://a.example audience=one,two");
  assert_string_equal(s.issuer.items[1], "https://b.example audience=three");
  assert_int_equal(s.certificate.count, 1);
  assert_string_equal(s.certificate.items[0], "till 1 role=viewer");
  settings_fini(&s);
  result = load(
      &s, ARGS("--config", path, "--issuer", "https://c.example audience=x;https://d.example audience=y"),
      ARGS("SKERRY_CERTIFICATE=a role=owner;b uid=c"));
  assert_true(status_is_ok(&result));
  assert_int_equal(s.issuer.count, 2);
  assert_string_equal(s.issuer.items[1], "https://d.example audience=y");
  assert_int_equal(s.certificate.count, 2);
  assert_string_equal(s.certificate.items[1], "b uid=c");
  settings_fini(&s);
  unlink(path);
  free(path);
}

/* An issuer with many audiences makes a long line: it is read whole or refused, never cut. */
static void test_long_lines(void **state) {
  (void)state;
  char text[1024] = "issuer = https://a.example audience=";
  while (strlen(text) < 900)
    strcat(text, "0123456789,");
  strcat(text, "end\n");
  struct settings s;
  char *path = write_file(text);
  status result = load(&s, ARGS("--config", path), NULL);
  if (status_is_ok(&result))
    assert_non_null(strstr(s.issuer.items[0], ",end"));
  else
    assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
  settings_fini(&s);
  unlink(path);
  free(path);
}

/* What is given wins over the profile, from each source; the rest is the profile's. */
static void test_profiles(void **state) {
  (void)state;
  struct port_simulated *simulated = port_simulated_new();
  struct port *port = port_simulated_port(simulated);
  port_simulated_set_cores(simulated, 8);
  char *path = write_file("profile = tiny\nconnections_max = 77\n");
  struct settings s;
  status result = load(&s, ARGS("--config", path, "--message-max", "3M"), ARGS("SKERRY_CALLS_MAX=55"));
  assert_true(status_is_ok(&result));
  assert_int_equal(s.profile, PROFILE_TINY);
  const struct profile *tiny = profile_choose((enum profile_choice)s.profile, port, 0);
  result = settings_apply_profile(&s, tiny, port);
  assert_true(status_is_ok(&result));
  struct memory_plan plan = memory_plan_for(64 << 20, false);
  assert_int_equal(s.connections_max, 77);
  assert_int_equal(s.message_bytes_max, 3 << 20);
  assert_int_equal(s.calls_max, 55);
  assert_int_equal(s.call_memory_bytes_max, plan.call_memory_max);
  assert_int_equal(s.http_body_bytes_max, plan.http_body_max);
  assert_int_equal(s.query_memory_bytes_max, tiny->query_memory_max);
  assert_int_equal(s.send_queue_bytes_max, tiny->send_queue_max);
  assert_int_equal(s.handshakes_max, tiny->handshakes_max);
  assert_int_equal(s.threads, tiny->cores_max);
  assert_int_equal(s.memory_limit_bytes, 64 << 20);
  settings_fini(&s);
  unlink(path);
  free(path);

  result = load(&s, ARGS("--memory-limit", "47M", "--threads", "3"), NULL);
  assert_true(status_is_ok(&result));
  result = settings_apply_profile(&s, tiny, port);
  assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
  assert_non_null(strstr(result.message, "needs 48M"));
  assert_int_equal(s.threads, 3);
  settings_fini(&s);
  result = load(&s, ARGS("--profile", "huge"), NULL);
  assert_int_equal(result.code, STATUS_INVALID_ARGUMENT);
  settings_fini(&s);
  port_simulated_free(simulated);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults),   cmocka_unit_test(test_order_of_sources),
      cmocka_unit_test(test_mistakes),   cmocka_unit_test(test_mistakes_in_a_file_have_their_line),
      cmocka_unit_test(test_safety),     cmocka_unit_test(test_lists),
      cmocka_unit_test(test_profiles),   cmocka_unit_test(test_phrases),
      cmocka_unit_test(test_long_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
