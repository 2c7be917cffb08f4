/* What happens over time: sessions and their keys, files that change, certificates that expire; and what is
 * said when the files are wrong. */
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/listener/tls.h"
#include "tests/support/tls_fixture.h"
#include "tests/support/unit.h"

typedef struct tls_fixture_certificate certificate;
typedef struct tls_fixture_client client;
typedef struct tls_fixture_outcome outcome;

static const int64_t SECOND = 1000000, HOUR = INT64_C(3600) * 1000000;

static struct tls_fixture *open_fixture(void **state) {
  struct tls_fixture *f = *state;
  tls_fixture_open(f);
  return f;
}

/* Connects, with the session that is there; keeps the new one, if there is one, in its place. */
static outcome dial(struct tls_fixture *f, client c, SSL_SESSION **session) {
  c.session = *session;
  outcome o = tls_fixture_connect(f, c);
  if (o.session != NULL) {
    SSL_SESSION_free(*session);
    *session = o.session;
  }
  return o;
}

static outcome dial_anew(struct tls_fixture *f, client c) {
  SSL_SESSION *session = NULL;
  outcome o = dial(f, c, &session);
  SSL_SESSION_free(session);
  return o;
}

/* Time passes as in a server: with a tick every hour. */
static void pass_hours(struct tls_fixture *f, int hours) {
  for (int i = 0; i < hours; i++) {
    port_simulated_advance(f->simulated, HOUR);
    tls_tick(f->tls);
  }
}

#define FOR_BOTH_VERSIONS(c)                                                                                 \
  for ((c).max_version = TLS1_2_VERSION; (c).max_version <= TLS1_3_VERSION; (c).max_version++)

/* ---- Sessions ---- */

static void test_resumes_also_after_a_reload(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "old"});
  tls_fixture_make(f, (certificate){.name = "new"});
  client c = {0};
  FOR_BOTH_VERSIONS(c) {
    tls_fixture_copy(f, "old.pem", "server.pem");
    tls_fixture_copy(f, "old.key", "server.key");
    tls_fixture_serve(f, "server");
    SSL_SESSION *session = NULL;
    assert_false(dial(f, c, &session).resumed);
    assert_non_null(session);
    assert_false(SSL_SESSION_early_data_capable(session));
    assert_true(dial(f, c, &session).resumed);
    tls_fixture_copy(f, "new.pem", "server.pem");
    tls_fixture_copy(f, "new.key", "server.key");
    assert_status_ok(tls_reload(f->tls));
    assert_true(dial(f, c, &session).resumed);
    assert_string_equal(dial_anew(f, c).server, "new");
    SSL_SESSION_free(session);
    tls_close(f->tls);
    f->tls = NULL;
  }
  tls_fixture_close(f);
}

static void test_keys_of_tickets_rotate(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "server"});
  client c = {0};
  FOR_BOTH_VERSIONS(c) {
    tls_fixture_serve(f, "server");
    pass_hours(f, 11);
    SSL_SESSION *first = NULL;
    dial(f, c, &first);
    pass_hours(f, 1); /* the key that sealed it is the old one now */
    SSL_SESSION_up_ref(first);
    SSL_SESSION *renewed = first;
    assert_true(dial(f, c, &renewed).resumed);
    assert_ptr_not_equal(renewed, first);
    pass_hours(f, 12); /* and now it is gone; what was renewed has the key that was new then */
    outcome o = dial(f, c, &first);
    assert_true(o.done);
    assert_false(o.resumed);
    assert_true(dial(f, c, &renewed).resumed);
    SSL_SESSION_free(first);
    SSL_SESSION_free(renewed);
    tls_close(f->tls);
    f->tls = NULL;
  }
  tls_fixture_close(f);
}

/* No tick, so the key stays: the day ends by the wall clock alone. */
static void test_resuming_does_not_prolong(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "server"});
  client c = {0};
  FOR_BOTH_VERSIONS(c) {
    tls_fixture_serve(f, "server");
    SSL_SESSION *session = NULL;
    dial(f, c, &session);
    port_simulated_advance(f->simulated, 23 * HOUR);
    assert_true(dial(f, c, &session).resumed);
    port_simulated_advance(f->simulated, HOUR);
    assert_false(dial(f, c, &session).resumed);
    assert_true(dial(f, c, &session).resumed); /* a new day began */
    SSL_SESSION_free(session);
    tls_close(f->tls);
    f->tls = NULL;
  }
  tls_fixture_close(f);
}

static void test_a_day_asleep_forgets_both_keys(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "server"});
  tls_fixture_serve(f, "server");
  SSL_SESSION *session = NULL;
  dial(f, (client){0}, &session);
  int64_t wall_us = f->port->wall_us(f->port);
  port_simulated_advance(f->simulated, 24 * HOUR);
  port_simulated_set_wall(f->simulated, wall_us); /* so that it is not for the day */
  tls_tick(f->tls);
  outcome o = dial(f, (client){0}, &session);
  assert_true(o.done);
  assert_false(o.resumed);
  SSL_SESSION_free(session);
  tls_fixture_close(f);
}

/* Tickets are the first context's affair, and the session context that of the one that was chosen. */
static void test_resumes_with_a_chosen_certificate(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "first", .names = "DNS:a.test"});
  tls_fixture_make(f, (certificate){.name = "second", .names = "DNS:b.test"});
  const char *names[] = {"first", "second"};
  struct tls_options options = tls_fixture_options(f, names, 2);
  assert_status_ok(tls_open(&options, &f->tls));
  client c = {.server_name = "b.test"};
  FOR_BOTH_VERSIONS(c) {
    SSL_SESSION *session = NULL;
    assert_string_equal(dial(f, c, &session).server, "second");
    assert_true(dial(f, c, &session).resumed);
    SSL_SESSION_free(session);
  }
  tls_fixture_close(f);
}

/* ---- Sessions of clients with certificates ---- */

static void make_people(struct tls_fixture *f) {
  tls_fixture_make(f, (certificate){.name = "server"});
  tls_fixture_make(f, (certificate){.name = "ca", .is_ca = true});
  tls_fixture_make(f, (certificate){.name = "other", .is_ca = true});
  tls_fixture_make(f, (certificate){.name = "alice", .issuer = "ca"});
  tls_fixture_make(
      f, (certificate){.name = "brief", .issuer = "ca", .from_days = -1, .until_days = 1}); /* 24 hours */
  tls_fixture_copy(f, "ca.pem", "clients.pem");
}

static void test_a_resumed_client_is_known(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_people(f);
  client c = {.certificate = "alice"};
  FOR_BOTH_VERSIONS(c) {
    tls_fixture_serve_clients(f, "server", TLS_CLIENT_REQUIRED, "clients");
    SSL_SESSION *session = NULL;
    outcome first = dial(f, c, &session), second = dial(f, c, &session);
    assert_true(second.resumed);
    assert_true(second.peer.has_certificate);
    assert_string_equal(second.peer.certificate_name, "alice");
    assert_memory_equal(first.peer.certificate_sha256, second.peer.certificate_sha256, 32);
    SSL_SESSION_free(session);
    tls_close(f->tls);
    f->tls = NULL;
  }
  tls_fixture_close(f);
}

static void test_no_resumption_under_another_ca(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_people(f);
  client c = {.certificate = "alice"};
  FOR_BOTH_VERSIONS(c) {
    tls_fixture_copy(f, "ca.pem", "clients.pem");
    tls_fixture_serve_clients(f, "server", TLS_CLIENT_REQUIRED, "clients");
    SSL_SESSION *session = NULL;
    dial(f, c, &session);
    assert_status_ok(tls_reload(f->tls));
    assert_true(dial(f, c, &session).resumed);
    tls_fixture_copy(f, "other.pem", "clients.pem");
    assert_status_ok(tls_reload(f->tls));
    outcome o = dial(f, c, &session);
    assert_false(o.done);
    assert_int_equal(o.server_error, SSL_R_CERTIFICATE_VERIFY_FAILED);
    SSL_SESSION_free(session);
    tls_close(f->tls);
    f->tls = NULL;
  }
  tls_fixture_close(f);
}

static void test_no_resumption_after_the_certificate_expired(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_people(f);
  int64_t start_us = f->port->wall_us(f->port);
  client c = {.certificate = "brief"};
  FOR_BOTH_VERSIONS(c) {
    port_simulated_set_wall(f->simulated, start_us + 22 * HOUR);
    tls_fixture_serve_clients(f, "server", TLS_CLIENT_OPTIONAL, "clients");
    SSL_SESSION *session = NULL;
    assert_true(dial(f, c, &session).peer.has_certificate);
    port_simulated_advance(f->simulated, HOUR);
    assert_true(dial(f, c, &session).resumed);
    port_simulated_advance(f->simulated, HOUR);
    assert_false(dial(f, c, &session).done);
    SSL_SESSION_free(session);
    tls_close(f->tls);
    f->tls = NULL;
  }
  tls_fixture_close(f);
}

/* ---- Reloading ---- */

static void serve_and_prepare_another(struct tls_fixture *f) {
  tls_fixture_make(f, (certificate){.name = "old"});
  tls_fixture_make(f, (certificate){.name = "new"});
  tls_fixture_copy(f, "old.pem", "server.pem");
  tls_fixture_copy(f, "old.key", "server.key");
  tls_fixture_serve(f, "server");
}

static struct tls_stats stats(struct tls_fixture *f) {
  struct tls_stats s;
  tls_stats(f->tls, &s);
  return s;
}

static void tick_after(struct tls_fixture *f, int64_t us) {
  port_simulated_advance(f->simulated, us);
  tls_tick(f->tls);
}

#define assert_serves(f, name) assert_string_equal(dial_anew((f), (client){0}).server, (name))

static void test_reloads_what_has_changed_and_settled(void **state) {
  struct tls_fixture *f = open_fixture(state);
  serve_and_prepare_another(f);
  for (int i = 0; i < 5; i++)
    tick_after(f, SECOND);
  assert_int_equal(stats(f).reloads, 0);
  tls_fixture_copy(f, "new.pem", "server.pem");
  tick_after(f, SECOND);
  tick_after(f, SECOND / 2);
  tls_fixture_copy(f, "new.key", "server.key"); /* begins the second anew */
  tick_after(f, SECOND / 4);
  tick_after(f, SECOND - 1);
  assert_int_equal(stats(f).reloads + stats(f).reloads_failed, 0);
  assert_serves(f, "old");
  tls_fixture_log_clear(f);
  tick_after(f, 1);
  assert_int_equal(stats(f).reloads, 1);
  assert_true(tls_fixture_logged(f, "certificates reloaded"));
  assert_serves(f, "new");
  for (int i = 0; i < 5; i++)
    tick_after(f, SECOND);
  assert_int_equal(stats(f).reloads, 1);
  tls_fixture_close(f);
}

static void test_a_failed_reload_keeps_the_old(void **state) {
  struct tls_fixture *f = open_fixture(state);
  serve_and_prepare_another(f);
  tls_fixture_copy(f, "new.pem", "server.pem"); /* the key does not fit */
  tls_fixture_log_clear(f);
  for (int i = 0; i < 5; i++)
    tick_after(f, SECOND);
  assert_int_equal(stats(f).reloads, 0);
  assert_int_equal(stats(f).reloads_failed, 1); /* not again before something changes */
  assert_true(tls_fixture_logged(f, "level=error"));
  assert_true(tls_fixture_logged(f, "does not belong to the first certificate"));
  assert_serves(f, "old");
  assert_status_code(tls_reload(f->tls), STATUS_FAILED_PRECONDITION);
  assert_int_equal(stats(f).reloads_failed, 2);
  assert_serves(f, "old");
  tls_fixture_copy(f, "new.key", "server.key");
  tick_after(f, SECOND);
  tick_after(f, SECOND);
  assert_int_equal(stats(f).reloads, 1);
  assert_serves(f, "new");
  unlink(tls_fixture_path(f, "server.key"));
  tick_after(f, SECOND);
  tick_after(f, SECOND);
  assert_int_equal(stats(f).reloads_failed, 3);
  assert_serves(f, "new");
  tls_fixture_close(f);
}

static void change_and_reload(struct tls_fixture *f) {
  tls_fixture_copy(f, "new.pem", "server.pem");
  tls_fixture_copy(f, "new.key", "server.key");
  assert_status_ok(tls_reload(f->tls));
}

static void close_early(struct tls_fixture *f) {
  tls_close(f->tls);
  f->tls = NULL;
}

static void test_connections_keep_what_they_began_with(void **state) {
  struct tls_fixture *f = open_fixture(state);
  serve_and_prepare_another(f);
  assert_string_equal(dial_anew(f, (client){.accepted = change_and_reload}).server, "old");
  assert_serves(f, "new");
  assert_true(dial_anew(f, (client){.accepted = close_early}).done);
  tls_fixture_close(f);
}

/* ---- Expiry ---- */

static void test_expiry_is_logged_once_a_day(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "server", .from_days = -1, .until_days = 16});
  tls_fixture_make(f, (certificate){.name = "ca", .is_ca = true, .from_days = -1, .until_days = 18});
  tls_fixture_serve_clients(f, "server", TLS_CLIENT_OPTIONAL, "ca");
  assert_false(tls_fixture_logged(f, "expire"));
  pass_hours(f, 48);
  assert_false(tls_fixture_logged(f, "expire"));
  pass_hours(f, 24); /* 13 days are left */
  assert_true(tls_fixture_logged(f, "level=warn msg=\"a certificate expires soon"));
  assert_true(tls_fixture_logged(f, "/server.pem days_left=13"));
  assert_false(tls_fixture_logged(f, "/ca.pem"));
  tls_fixture_log_clear(f);
  pass_hours(f, 23);
  assert_false(tls_fixture_logged(f, "expire"));
  pass_hours(f, 1);
  assert_true(tls_fixture_logged(f, "/server.pem days_left=12"));
  pass_hours(f, 24);
  assert_true(tls_fixture_logged(f, "which=\"CA of clients\""));
  assert_true(tls_fixture_logged(f, "/ca.pem days_left=13"));
  tls_fixture_log_clear(f);
  pass_hours(f, 12 * 24);
  assert_true(tls_fixture_logged(f, "level=error msg=\"a certificate has expired"));
  assert_true(tls_fixture_logged(f, "/server.pem expired_days_ago=1"));
  tls_fixture_close(f);
}

static void test_an_expired_certificate_is_served(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "server", .from_days = -9, .until_days = -3});
  tls_fixture_serve(f, "server");
  assert_true(tls_fixture_logged(f, "/server.pem expired_days_ago=3"));
  assert_true(dial_anew(f, (client){0}).done);
  tls_fixture_close(f);
}

/* ---- Wrong files ---- */

static const char encrypted_key[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                                    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAh0\n"
                                    "-----END ENCRYPTED PRIVATE KEY-----\n";
static const char old_encrypted_key[] = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                                        "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
                                        "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAh0\n"
                                        "-----END EC PRIVATE KEY-----\n";

static void make_wrong_files(struct tls_fixture *f) {
  tls_fixture_make(f, (certificate){.name = "server"});
  tls_fixture_make(f, (certificate){.name = "other"});
  tls_fixture_make(f, (certificate){.name = "short", .key = KEY_RSA_SHORT});
  tls_fixture_make(f, (certificate){.name = "p521", .key = KEY_P521});
  tls_fixture_make(f, (certificate){.name = "ca", .is_ca = true});
  tls_fixture_make(f, (certificate){.name = "client", .purpose = "clientAuth"});
  tls_fixture_make(f, (certificate){.name = "cipher", .key = KEY_RSA, .usage = "keyEncipherment"});
  tls_fixture_write(f, "empty", "");
  tls_fixture_write(f, "text", "no certificate\n");
  tls_fixture_write(f, "der", "\x30\x82\x01\x01");
  tls_fixture_write(f, "request",
                    "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n");
  tls_fixture_write(f, "damaged", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
  tls_fixture_write(f, "damaged.key", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
  tls_fixture_write(f, "encrypted.key", encrypted_key);
  tls_fixture_write(f, "encrypted2.key", old_encrypted_key);
  tls_fixture_join(f, "server.pem", "other.pem", "wrong-chain.pem");
  tls_fixture_join(f, "server.pem", "damaged", "half-damaged.pem");
  assert_int_equal(truncate(tls_fixture_path(f, "text"), 15), 0);
  tls_fixture_write(f, "long", "x");
  assert_int_equal(truncate(tls_fixture_path(f, "long"), 1024 * 1024 + 1), 0);
}

static void test_wrong_files_are_explained(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_wrong_files(f);
  static const struct {
    const char *certificate, *key, *ca;
    const char *says[3];
  } cases[] = {
      {"none.pem", "server.key", NULL, {"there is no file ", "/none.pem", "check the path"}},
      {"server.pem", "none.key", NULL, {"there is no file ", "/none.key"}},
      {"server.pem", "server.key", "none", {"there is no file ", "/none"}},
      {".", "server.key", NULL, {"is not a file"}},
      {"long", "server.key", NULL, {"/long is longer than 1048576 bytes"}},
      {"empty", "server.key", NULL, {"/empty holds no certificate in PEM form"}},
      {"text", "server.key", NULL, {"/text holds no certificate in PEM form"}},
      {"der", "server.key", NULL, {"looks like DER", "openssl x509 -inform der"}},
      {"request", "server.key", NULL, {"/request is a request for a certificate"}},
      {"server.key", "server.pem", NULL, {"/server.key holds a private key and no certificate"}},
      {"damaged", "server.key", NULL, {"certificate number 1 of", "/damaged is damaged"}},
      {"half-damaged.pem", "server.key", NULL, {"certificate number 2 of", "is damaged"}},
      {"wrong-chain.pem", "server.key", NULL, {"certificate number 2 of", "did not sign the one before it"}},
      {"server.pem", "other.key", NULL, {"/other.key does not belong to", "/server.pem"}},
      {"server.pem", "server.pem", NULL, {"/server.pem holds no private key in PEM form"}},
      {"server.pem", "damaged.key", NULL, {"damaged or of a kind that is not served"}},
      {"server.pem", "encrypted.key", NULL, {"/encrypted.key is encrypted", "openssl pkey -in", "chmod 600"}},
      {"server.pem", "encrypted2.key", NULL, {"/encrypted2.key is encrypted"}},
      {"short.pem", "short.key", NULL, {"/short.pem is RSA 1024, which is not served", "at least 2048"}},
      {"p521.pem", "p521.key", NULL, {"/p521.pem is ECDSA P-521, which is not served"}},
      {"client.pem", "client.key", NULL, {"/client.pem is not for servers"}},
      {"cipher.pem", "cipher.key", NULL, {"/cipher.pem is not for servers", "digitalSignature"}},
      {"server.pem", "server.key", "other.pem", {"number 1 of", "/other.pem is not a CA's"}},
      {"server.pem", "server.key", "text", {"/text holds no certificate"}},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    const char *certificate_file = tls_fixture_path(f, cases[i].certificate);
    const char *key_file = tls_fixture_path(f, cases[i].key);
    struct tls_options options = {
        .port = f->port, .certificate_files = &certificate_file, .key_files = &key_file, .count = 1};
    if (cases[i].ca != NULL) {
      options.client_certificates = TLS_CLIENT_OPTIONAL;
      options.client_ca_file = tls_fixture_path(f, cases[i].ca);
    }
    struct tls *tls;
    status result = tls_open(&options, &tls);
    assert_int_equal(result.code, STATUS_FAILED_PRECONDITION);
    for (size_t j = 0; j < 3 && cases[i].says[j] != NULL; j++)
      if (strstr(result.message, cases[i].says[j]) == NULL)
        fail_msg("case %zu: \"%s\" does not say \"%s\"", i, result.message, cases[i].says[j]);
  }
  tls_fixture_close(f);
}

static void test_wrong_options(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "server"});
  struct tls *tls;
  assert_status_code(tls_open(&(struct tls_options){.port = f->port}, &tls), STATUS_INVALID_ARGUMENT);
  const char *name = "server", *no_key = NULL;
  struct tls_options options = tls_fixture_options(f, &name, 1);
  options.client_certificates = TLS_CLIENT_REQUIRED;
  assert_status_code(tls_open(&options, &tls), STATUS_INVALID_ARGUMENT);
  options = tls_fixture_options(f, &name, 1);
  options.key_files = &no_key;
  assert_status_code(tls_open(&options, &tls), STATUS_INVALID_ARGUMENT);
  tls_fixture_close(f);
}

static void test_a_key_for_everybody_is_logged(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "server"});
  tls_fixture_serve(f, "server");
  assert_false(tls_fixture_logged(f, "private key"));
  assert_int_equal(chmod(tls_fixture_path(f, "server.key"), 0644), 0);
  assert_status_ok(tls_reload(f->tls));
  assert_true(tls_fixture_logged(f, "everybody on this machine may read a private key"));
  assert_true(tls_fixture_logged(f, "/server.key"));
  tls_fixture_close(f);
}

/* ---- Threads ---- */

struct dialler {
  struct tls_fixture *f;
  atomic_bool *stop;
  unsigned done, failed;
};

static void *dial_often(void *argument) {
  struct dialler *d = argument;
  SSL_SESSION *session = NULL;
  while (!atomic_load(d->stop)) {
    bool done =
        dial(d->f, (client){.max_version = d->done % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION}, &session)
            .done;
    d->done += done;
    d->failed += !done;
    struct tls_certificate_info info;
    d->failed += !tls_certificate(d->f->tls, 0, &info);
  }
  SSL_SESSION_free(session);
  return NULL;
}

static void test_reloads_while_others_connect(void **state) {
  struct tls_fixture *f = open_fixture(state);
  serve_and_prepare_another(f);
  atomic_bool stop = false;
  struct dialler diallers[2] = {{.f = f, .stop = &stop}, {.f = f, .stop = &stop}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, dial_often, &diallers[i]), 0);
  for (int i = 0; i < 50; i++) {
    tls_fixture_copy(f, i % 2 == 0 ? "new.pem" : "old.pem", "server.pem");
    tls_fixture_copy(f, i % 2 == 0 ? "new.key" : "old.key", "server.key");
    assert_status_ok(tls_reload(f->tls));
    tick_after(f, HOUR);
    usleep(2000);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], NULL);
    assert_true(diallers[i].done > 0);
    assert_int_equal(diallers[i].failed, 0);
  }
  assert_true(stats(f).reloads >= 50);
  tls_fixture_close(f);
}

int main(void) {
  static struct tls_fixture fixture;
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_prestate(name, &fixture)
      TEST(test_resumes_also_after_a_reload),
      TEST(test_keys_of_tickets_rotate),
      TEST(test_resuming_does_not_prolong),
      TEST(test_a_day_asleep_forgets_both_keys),
      TEST(test_resumes_with_a_chosen_certificate),
      TEST(test_a_resumed_client_is_known),
      TEST(test_no_resumption_under_another_ca),
      TEST(test_no_resumption_after_the_certificate_expired),
      TEST(test_reloads_what_has_changed_and_settled),
      TEST(test_a_failed_reload_keeps_the_old),
      TEST(test_connections_keep_what_they_began_with),
      TEST(test_expiry_is_logged_once_a_day),
      TEST(test_an_expired_certificate_is_served),
      TEST(test_wrong_files_are_explained),
      TEST(test_wrong_options),
      TEST(test_a_key_for_everybody_is_logged),
      TEST(test_reloads_while_others_connect),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
