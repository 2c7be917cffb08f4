/* What clients of all kinds get: versions, suites, protocols, certificates, and what is asked of theirs. */
#include <openssl/nid.h>
#include <openssl/ssl.h>
#include <stdio.h>

#include "server/listener/tls.h"
#include "tests/support/tls_fixture.h"
#include "tests/support/unit.h"

typedef struct tls_fixture_certificate certificate;
typedef struct tls_fixture_client client;
typedef struct tls_fixture_outcome outcome;

/* For what is not about sessions. */
static outcome dial(struct tls_fixture *f, client c) {
  outcome o = tls_fixture_connect(f, c);
  SSL_SESSION_free(o.session);
  o.session = NULL;
  return o;
}

static struct tls_fixture *open_fixture(void **state) {
  struct tls_fixture *f = *state;
  tls_fixture_open(f);
  return f;
}

static void serve_one(struct tls_fixture *f) {
  tls_fixture_make(f, (certificate){.name = "server", .names = "DNS:api.example.com"});
  tls_fixture_serve(f, "server");
}

/* ---- Versions and suites ---- */

static void test_versions(void **state) {
  struct tls_fixture *f = open_fixture(state);
  serve_one(f);
  outcome o = dial(f, (client){0});
  assert_true(o.done);
  assert_int_equal(o.version, TLS1_3_VERSION);
  assert_false(o.resumed || o.asked_for_certificate || o.peer.has_certificate);
  o = dial(f, (client){.max_version = TLS1_2_VERSION});
  assert_true(o.done);
  assert_int_equal(o.version, TLS1_2_VERSION);
  o = dial(f, (client){.max_version = TLS1_1_VERSION});
  assert_false(o.done);
  assert_int_equal(o.server_error, SSL_R_UNSUPPORTED_PROTOCOL);
  tls_fixture_close(f);
}

static void test_suites_of_tls12(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "rsa", .key = KEY_RSA});
  tls_fixture_make(f, (certificate){.name = "ecdsa"});
  const char *names[] = {"ecdsa", "rsa"};
  struct tls_options options = tls_fixture_options(f, names, 2);
  assert_status_ok(tls_open(&options, &f->tls));
  static const struct {
    const char *suites, *chosen; /* NULL: refused */
  } cases[] = {
      {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
      {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
      {"ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"},
      {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
      /* The client's order counts between these two... */
      {"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
      {"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"},
      /* ...and ours otherwise. */
      {"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
       "ECDHE-ECDSA-AES128-GCM-SHA256"},
      {"ECDHE-ECDSA-AES128-SHA", NULL},
      {"ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA", NULL},
      {"AES128-GCM-SHA256:AES256-GCM-SHA384", NULL},
      {"AES128-SHA:DES-CBC3-SHA", NULL},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    outcome o = dial(f, (client){.max_version = TLS1_2_VERSION, .suites = cases[i].suites});
    assert_int_equal(o.done, cases[i].chosen != NULL);
    if (cases[i].chosen == NULL)
      assert_int_equal(o.server_error, SSL_R_NO_SHARED_CIPHER);
    else
      assert_string_equal(o.cipher, cases[i].chosen);
  }
  tls_fixture_close(f);
}

static void test_groups_and_signatures(void **state) {
  struct tls_fixture *f = open_fixture(state);
  serve_one(f);
  const int p256[] = {NID_X9_62_prime256v1}, p521[] = {NID_secp521r1};
  const uint16_t sha1[] = {SSL_SIGN_ECDSA_SHA1, SSL_SIGN_RSA_PKCS1_SHA1};
  assert_true(dial(f, (client){.groups = p256, .group_count = 1}).done);
  assert_false(dial(f, (client){.groups = p521, .group_count = 1}).done);
  assert_false(
      dial(f, (client){.max_version = TLS1_2_VERSION, .signatures = sha1, .signature_count = 2}).done);
  tls_fixture_close(f);
}

/* ---- ALPN ---- */

static void test_alpn(void **state) {
  struct tls_fixture *f = open_fixture(state);
  serve_one(f);
  static const struct {
    const char *offered;
    bool always_h2;
    const char *agreed; /* NULL: refused */
    enum tls_protocol protocol;
  } cases[] = {
      {NULL, false, "", TLS_PROTOCOL_UNKNOWN},
      {"h2", false, "h2", TLS_PROTOCOL_HTTP2},
      {"h2,http/1.1", false, "http/1.1", TLS_PROTOCOL_HTTP1},
      {"http/1.1", false, "http/1.1", TLS_PROTOCOL_HTTP1},
      {"grpc-exp,h2", false, "h2", TLS_PROTOCOL_HTTP2},
      {"h2,http/1.1", true, "h2", TLS_PROTOCOL_HTTP2},
      {"http/1.1", true, "http/1.1", TLS_PROTOCOL_HTTP1},
      {"h2", true, "h2", TLS_PROTOCOL_HTTP2},
      {"ftp,h22", false, NULL, TLS_PROTOCOL_UNKNOWN},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++)
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
      outcome o = dial(f, (client){.alpn = cases[i].offered,
                                   .always_h2 = cases[i].always_h2,
                                   .max_version = (uint16_t)version});
      assert_int_equal(o.done, cases[i].agreed != NULL);
      if (cases[i].agreed == NULL)
        assert_int_equal(o.client_error, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
      else
        assert_string_equal(o.alpn, cases[i].agreed);
      assert_int_equal(o.protocol, cases[i].protocol);
    }
  tls_fixture_close(f);
}

/* ---- Which certificate ---- */

static void test_choice_by_name(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "first", .names = "DNS:one.example.com"});
  tls_fixture_make(f, (certificate){.name = "wild", .names = "DNS:*.example.com"});
  tls_fixture_make(f, (certificate){.name = "address", .names = "DNS:x.test,IP:192.0.2.7"});
  tls_fixture_make(f, (certificate){.name = "cn.test"});
  const char *names[] = {"first", "wild", "address", "cn.test"};
  struct tls_options options = tls_fixture_options(f, names, 4);
  assert_status_ok(tls_open(&options, &f->tls));
  static const struct {
    const char *asked, *got;
  } cases[] = {
      {NULL, "first"},
      {"one.example.com", "first"},
      {"ONE.example.COM", "first"},
      {"two.example.com", "wild"},
      {"two.example.com.", "wild"},
      {"a.two.example.com", "first"}, /* a wildcard is one label */
      {"example.com", "first"},
      {"x.test", "address"},
      {"192.0.2.7", "address"},
      {"cn.test", "first"}, /* the subject's name does not count */
      {"other.test", "first"},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++)
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
      outcome o = dial(f, (client){.server_name = cases[i].asked, .max_version = (uint16_t)version});
      assert_true(o.done);
      assert_string_equal(o.server, cases[i].got);
      /* What SSL_set_SSL_CTX could have lost. */
      o = dial(f, (client){.server_name = cases[i].asked, .max_version = (uint16_t)version, .alpn = "h2"});
      assert_int_equal(o.protocol, TLS_PROTOCOL_HTTP2);
    }
  tls_fixture_close(f);
}

static const uint16_t ecdsa_only[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384};
static const uint16_t rsa_only[] = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256};
static const uint16_t pkcs1_only[] = {SSL_SIGN_RSA_PKCS1_SHA256};
static const uint16_t p384_only[] = {SSL_SIGN_ECDSA_SECP384R1_SHA384};
static const uint16_t ed25519_only[] = {SSL_SIGN_ED25519};

static void test_choice_by_key(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "ed", .key = KEY_ED25519, .names = "DNS:a.test"});
  tls_fixture_make(f, (certificate){.name = "p384", .key = KEY_P384, .names = "DNS:a.test"});
  tls_fixture_make(f, (certificate){.name = "p256", .names = "DNS:a.test"});
  tls_fixture_make(f, (certificate){.name = "rsa", .key = KEY_RSA, .names = "DNS:b.test"});
  const char *names[] = {"ed", "p384", "p256", "rsa"};
  struct tls_options options = tls_fixture_options(f, names, 4);
  assert_status_ok(tls_open(&options, &f->tls));
  const uint16_t p256_only[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256};
  const int small_groups[] = {NID_X25519, NID_X9_62_prime256v1};
#define PREFS(list) .signatures = (list), .signature_count = UNIT_COUNT(list)
  const struct {
    client c;
    const char *tls13, *tls12; /* NULL: refused */
  } cases[] = {
      {{.server_name = "a.test"}, "p384", "p384"}, /* BoringSSL's clients do not offer Ed25519 by default */
      {{.server_name = "a.test", PREFS(ed25519_only)}, "ed", "ed"},
      {{.server_name = "a.test", PREFS(ecdsa_only)}, "p384", "p384"},
      {{.server_name = "a.test", PREFS(p256_only)}, "p256", "p384"},
      {{.server_name = "a.test", PREFS(p384_only)}, "p384", "p384"},
      {{.server_name = "a.test", PREFS(rsa_only)}, "rsa", "rsa"},
      {{.server_name = "b.test", PREFS(ecdsa_only)}, "p384", "p384"},
      {{.server_name = "b.test"}, "rsa", "rsa"},
      {{.server_name = "a.test", PREFS(pkcs1_only)}, NULL, "rsa"}, /* TLS 1.3 does not know it */
      {{.server_name = "a.test", .suites = "ECDHE-RSA-AES128-GCM-SHA256"}, "p384", "rsa"},
      {{.server_name = "b.test", .suites = "ECDHE-ECDSA-AES128-GCM-SHA256"}, "rsa", "p384"},
      {{.server_name = "a.test", .groups = small_groups, .group_count = 2, PREFS(ecdsa_only)},
       "p384",
       "p256"},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++)
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
      client c = cases[i].c;
      c.max_version = (uint16_t)version;
      const char *wanted = version == TLS1_2_VERSION ? cases[i].tls12 : cases[i].tls13;
      outcome o = dial(f, c);
      if (o.done != (wanted != NULL) || (o.done && strcmp(o.server, wanted) != 0))
        fail_msg("case %zu, version %x: got \"%s\", not \"%s\" (%d)", i, (unsigned)version, o.server,
                 wanted == NULL ? "" : wanted, o.server_error);
    }
  tls_fixture_close(f);
}

static void test_chain_is_sent_and_verified(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (certificate){.name = "root", .is_ca = true});
  tls_fixture_make(f, (certificate){.name = "middle", .issuer = "root", .is_ca = true});
  tls_fixture_make(f, (certificate){.name = "leaf", .issuer = "middle", .names = "DNS:a.test"});
  tls_fixture_join(f, "leaf.pem", "middle.pem", "leaf.pem");
  tls_fixture_serve(f, "leaf");
  outcome o = dial(f, (client){.server_name = "a.test", .trust = "root"});
  assert_true(o.done);
  assert_int_equal(o.chain, 2);
  assert_false(dial(f, (client){.server_name = "b.test", .trust = "root"}).done);
  tls_fixture_close(f);
}

/* ---- Client certificates ---- */

static void make_people(struct tls_fixture *f) {
  tls_fixture_make(f, (certificate){.name = "server"});
  tls_fixture_make(f, (certificate){.name = "ca", .is_ca = true});
  tls_fixture_make(f, (certificate){.name = "foreign", .is_ca = true});
  tls_fixture_make(f, (certificate){.name = "alice", .issuer = "ca", .purpose = "clientAuth"});
  tls_fixture_make(f, (certificate){.name = "ed", .issuer = "ca", .key = KEY_ED25519});
  tls_fixture_make(f, (certificate){.name = "p384", .issuer = "ca", .key = KEY_P384});
  tls_fixture_make(f, (certificate){.name = "rsa", .issuer = "ca", .key = KEY_RSA});
  tls_fixture_make(f, (certificate){.name = "mallory", .issuer = "foreign", .purpose = "clientAuth"});
  tls_fixture_make(f, (certificate){.name = "old", .issuer = "ca", .from_days = -9, .until_days = -1});
  tls_fixture_make(f, (certificate){.name = "early", .issuer = "ca", .from_days = 1, .until_days = 9});
  tls_fixture_make(f, (certificate){.name = "machine", .issuer = "ca", .purpose = "serverAuth"});
}

static void test_client_certificates(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_people(f);
  static const struct {
    enum tls_client_certificates mode;
    const char *shown;
    bool asked, let_in, known;
  } cases[] = {
      {TLS_CLIENT_NONE, "alice", false, true, false},
      {TLS_CLIENT_OPTIONAL, NULL, true, true, false},
      {TLS_CLIENT_OPTIONAL, "alice", true, true, true},
      {TLS_CLIENT_OPTIONAL, "mallory", true, false, false},
      {TLS_CLIENT_OPTIONAL, "old", true, false, false},
      {TLS_CLIENT_REQUIRED, NULL, true, false, false},
      {TLS_CLIENT_REQUIRED, "alice", true, true, true},
      {TLS_CLIENT_REQUIRED, "ed", true, true, true},
      {TLS_CLIENT_REQUIRED, "p384", true, true, true},
      {TLS_CLIENT_REQUIRED, "rsa", true, true, true},
      {TLS_CLIENT_REQUIRED, "mallory", true, false, false},
      {TLS_CLIENT_REQUIRED, "old", true, false, false},
      {TLS_CLIENT_REQUIRED, "early", true, false, false},
      {TLS_CLIENT_REQUIRED, "machine", true, false, false},
      {TLS_CLIENT_REQUIRED, "server", true, false, false},
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++)
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
      tls_fixture_serve_clients(f, "server", cases[i].mode, "ca");
      outcome o = dial(f, (client){.certificate = cases[i].shown, .max_version = (uint16_t)version});
      if (o.done != cases[i].let_in || o.asked_for_certificate != cases[i].asked ||
          o.peer.has_certificate != cases[i].known)
        fail_msg("case %zu, version %x: done %d, asked %d, known %d (%d, %d)", i, (unsigned)version, o.done,
                 o.asked_for_certificate, o.peer.has_certificate, o.server_error, o.client_error);
      if (o.peer.has_certificate)
        assert_string_equal(o.peer.certificate_name, cases[i].shown);
      tls_close(f->tls);
      f->tls = NULL;
    }
  tls_fixture_close(f);
}

/* The certificate is asked for whichever server's certificate was chosen, and a CA that is not a root will
 * do.
 */
/* Times past 32 bits, also where the library's time_t has no more. */
static void test_client_certificates_after_2038(void **state) {
  static const int64_t in_2041_us = INT64_C(2240611200000000), in_2061_us = INT64_C(2871763200000000);
  struct tls_fixture *f = open_fixture(state);
  for (int i = 0; i < 2; i++) {
    port_simulated_set_wall(f->simulated, i == 0 ? in_2041_us : in_2061_us);
    make_people(f);
    tls_fixture_serve_clients(f, "server", TLS_CLIENT_REQUIRED, "ca");
    assert_true(dial(f, (client){.certificate = "alice"}).done);
    assert_false(dial(f, (client){.certificate = "old"}).done);
    assert_false(dial(f, (client){.certificate = "early"}).done);
    assert_false(dial(f, (client){.certificate = "mallory"}).done);
    tls_close(f->tls);
    f->tls = NULL;
  }
  tls_fixture_close(f);
}

static void test_client_certificates_with_a_choice(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_people(f);
  tls_fixture_make(f, (certificate){.name = "second", .names = "DNS:b.test"});
  tls_fixture_make(f, (certificate){.name = "middle", .issuer = "ca", .is_ca = true});
  tls_fixture_make(f, (certificate){.name = "bob", .issuer = "middle"});
  const char *names[] = {"server", "second"};
  struct tls_options options = tls_fixture_options(f, names, 2);
  options.client_certificates = TLS_CLIENT_REQUIRED;
  options.client_ca_file = tls_fixture_path(f, "middle.pem");
  assert_status_ok(tls_open(&options, &f->tls));
  for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
    client c = {.server_name = "b.test", .max_version = (uint16_t)version};
    assert_false(dial(f, c).done);
    c.certificate = "alice";
    assert_false(dial(f, c).done);
    c.certificate = "bob";
    outcome o = dial(f, c);
    assert_true(o.done);
    assert_string_equal(o.server, "second");
    assert_string_equal(o.peer.certificate_name, "bob");
  }
  tls_fixture_close(f);
}

/* ---- What is in use ---- */

static void test_certificate_info(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f,
                   (certificate){.name = "rsa", .key = KEY_RSA, .names = "DNS:a.test,IP:192.0.2.1,IP:::1"});
  char many[1024] = "DNS:first.example.com";
  for (int i = 0; i < 20; i++)
    snprintf(many + strlen(many), sizeof many - strlen(many), ",DNS:number%d.example.com", i);
  tls_fixture_make(f, (certificate){.name = "many", .names = many});
  tls_fixture_make(f, (certificate){.name = "ed", .key = KEY_ED25519});
  const char *names[] = {"rsa", "many", "ed"};
  struct tls_options options = tls_fixture_options(f, names, 3);
  assert_status_ok(tls_open(&options, &f->tls));
  struct tls_certificate_info info;
  assert_true(tls_certificate(f->tls, 0, &info));
  assert_string_equal(info.names, "a.test, 192.0.2.1, ::1");
  assert_string_equal(info.key_type, "RSA 2048");
  assert_int_equal(strlen(info.sha256), 64);
  int64_t now_s = f->port->wall_us(f->port) / 1000000;
  assert_int_equal(info.not_before_s, now_s - 86400);
  assert_int_equal(info.not_after_s, now_s + INT64_C(365) * 86400);
  assert_true(tls_certificate(f->tls, 1, &info));
  assert_string_equal(info.key_type, "ECDSA P-256");
  assert_int_equal(strncmp(info.names, "first.example.com, number0", 26), 0);
  assert_string_equal(info.names + strlen(info.names) - 3, "...");
  assert_true(tls_certificate(f->tls, 2, &info));
  assert_string_equal(info.key_type, "Ed25519");
  assert_string_equal(info.names, "");
  assert_false(tls_certificate(f->tls, 3, &info));
  tls_fixture_close(f);
}

int main(void) {
  static struct tls_fixture fixture;
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_prestate(name, &fixture)
      TEST(test_versions),
      TEST(test_suites_of_tls12),
      TEST(test_groups_and_signatures),
      TEST(test_alpn),
      TEST(test_choice_by_name),
      TEST(test_choice_by_key),
      TEST(test_chain_is_sent_and_verified),
      TEST(test_client_certificates),
      TEST(test_client_certificates_after_2038),
      TEST(test_client_certificates_with_a_choice),
      TEST(test_certificate_info),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
