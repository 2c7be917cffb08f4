/* Certificates that are made: what is in them, whether a handshake likes them, and that no file is ever
 * overwritten or left half. */
#include <dirent.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/listener/certificate.h"
#include "tests/support/tls_fixture.h"
#include "tests/support/unit.h"

static const int64_t DAY_S = 86400;

static struct tls_fixture *open_fixture(void **state) {
  struct tls_fixture *f = *state;
  tls_fixture_open(f);
  return f;
}

static struct certificate_files files(const struct tls_fixture *f, const char *name) {
  char certificate_file[64], key_file[64];
  snprintf(certificate_file, sizeof certificate_file, "%s.pem", name);
  snprintf(key_file, sizeof key_file, "%s.key", name);
  return (struct certificate_files){tls_fixture_path(f, certificate_file), tls_fixture_path(f, key_file)};
}

static status make_server(struct tls_fixture *f, const char *name, const char *const *names, size_t count) {
  struct certificate_request request = {.port = f->port, .names = names, .name_count = count};
  return certificate_make(&request, files(f, "ca"), files(f, name));
}

static status make_client(struct tls_fixture *f, const char *name) {
  struct certificate_request request = {.port = f->port, .is_client = true, .names = &name, .name_count = 1};
  return certificate_make(&request, files(f, "ca"), files(f, name));
}

static const char *const names[] = {"api.example.com", "*.example.com", "192.0.2.1", "::1"};

static void make_all(struct tls_fixture *f) {
  assert_status_ok(certificate_make_ca(f->port, files(f, "ca")));
  assert_status_ok(make_server(f, "server", names, UNIT_COUNT(names)));
  assert_status_ok(make_client(f, "alice"));
}

static size_t count_files(const struct tls_fixture *f) {
  DIR *directory = opendir(f->directory);
  size_t count = 0;
  for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
    count += entry->d_name[0] != '.';
  closedir(directory);
  return count;
}

static unsigned mode_of(const struct tls_fixture *f, const char *name) {
  struct stat facts;
  assert_int_equal(stat(tls_fixture_path(f, name), &facts), 0);
  return facts.st_mode & 07777;
}

static void read_text(const struct tls_fixture *f, const char *name, char *out, size_t size) {
  FILE *file = fopen(tls_fixture_path(f, name), "r");
  assert_non_null(file);
  size_t len = fread(out, 1, size - 1, file);
  out[len] = '\0';
  fclose(file);
}

/* ---- What is in them ---- */

static struct certificate_facts facts_of(const struct tls_fixture *f, const char *name) {
  struct certificate_facts *all, one;
  size_t count;
  assert_status_ok(certificate_read(files(f, name).certificate, &all, &count));
  assert_int_equal(count, 1);
  one = all[0];
  free(all);
  return one;
}

static void test_facts(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_all(f);
  int64_t now_s = f->port->wall_us(f->port) / 1000000;
  struct certificate_facts ca = facts_of(f, "ca"), server = facts_of(f, "server"),
                           alice = facts_of(f, "alice");
  assert_true(ca.is_ca);
  assert_int_equal(strncmp(ca.subject, "CN=Skerry CA ", 13), 0);
  assert_string_equal(ca.issuer, ca.subject);
  assert_int_equal(ca.not_after_s, now_s + 3650 * DAY_S);
  assert_false(server.is_ca);
  assert_string_equal(server.subject, "CN=api.example.com");
  assert_string_equal(server.issuer, ca.subject);
  assert_string_equal(server.names, "api.example.com, *.example.com, 192.0.2.1, ::1");
  assert_string_equal(server.key_type, "ECDSA P-256");
  assert_int_equal(server.not_before_s, now_s - 3600);
  assert_int_equal(server.not_after_s, now_s + 397 * DAY_S);
  assert_string_equal(alice.subject, "CN=alice");
  assert_string_equal(alice.names, "");
  tls_fixture_close(f);
}

/* The same numbers as from `openssl x509 -fingerprint -sha256` and the usual way to a pin. */
static void test_fingerprints_are_the_usual_ones(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_all(f);
  struct certificate_facts server = facts_of(f, "server");
  FILE *file = fopen(tls_fixture_path(f, "server.pem"), "r");
  X509 *x509 = PEM_read_X509(file, NULL, NULL, NULL);
  fclose(file);
  uint8_t digest[32], *der = NULL;
  char hex[65], base64[45];
  int len = i2d_X509(x509, &der);
  SHA256(der, (size_t)len, digest);
  for (int i = 0; i < 32; i++)
    snprintf(hex + 2 * i, 3, "%02x", digest[i]);
  assert_string_equal(server.sha256, hex);
  EVP_PKEY *key = X509_get_pubkey(x509);
  uint8_t *spki = NULL;
  len = i2d_PUBKEY(key, &spki);
  SHA256(spki, (size_t)len, digest);
  EVP_EncodeBlock((uint8_t *)base64, digest, sizeof digest);
  assert_string_equal(server.key_sha256, base64);
  OPENSSL_free(der);
  OPENSSL_free(spki);
  EVP_PKEY_free(key);
  X509_free(x509);
  tls_fixture_close(f);
}

static X509 *read_x509(const struct tls_fixture *f, const char *name) {
  FILE *file = fopen(files(f, name).certificate, "r");
  assert_non_null(file);
  X509 *x509 = PEM_read_X509(file, NULL, NULL, NULL);
  fclose(file);
  assert_non_null(x509);
  return x509;
}

static int is_critical(const X509 *x509, int nid) {
  int at = X509_get_ext_by_NID(x509, nid, -1);
  return at < 0 ? -1 : X509_EXTENSION_get_critical(X509_get_ext(x509, at));
}

static void test_extensions(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_all(f);
  X509 *ca = read_x509(f, "ca"), *server = read_x509(f, "server"), *alice = read_x509(f, "alice");
  X509 *all[] = {ca, server, alice};
  EVP_PKEY *ca_key = X509_get_pubkey(ca);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(X509_get_version(all[i]), X509_VERSION_3);
    assert_int_equal(is_critical(all[i], NID_basic_constraints), 1);
    assert_int_equal(is_critical(all[i], NID_key_usage), 1);
    assert_int_equal(is_critical(all[i], NID_subject_key_identifier), 0);
    assert_int_equal(X509_verify(all[i], ca_key), 1);
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get_serialNumber(all[i]), NULL);
    assert_true(BN_num_bits(serial) > 64 && BN_num_bits(serial) <= 128 && !BN_is_negative(serial));
    BN_free(serial);
  }
  assert_int_not_equal(ASN1_INTEGER_cmp(X509_get_serialNumber(server), X509_get_serialNumber(alice)), 0);
  assert_int_equal(X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
  assert_int_equal(X509_get_pathlen(ca), 0);
  assert_int_equal(X509_get_key_usage(server), KU_DIGITAL_SIGNATURE);
  assert_int_equal(X509_get_extended_key_usage(server), XKU_SSL_SERVER);
  assert_int_equal(X509_get_extended_key_usage(alice), XKU_SSL_CLIENT);
  assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(server), X509_get0_subject_key_id(ca)),
                   0);
  assert_int_equal(X509_check_host(server, "x.example.com", 13, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL),
                   1);
  assert_int_equal(X509_check_ip_asc(server, "::1", 0), 1);
  for (size_t i = 0; i < 3; i++)
    X509_free(all[i]);
  EVP_PKEY_free(ca_key);
  tls_fixture_close(f);
}

/* Both ends check the other as a phone and a server would. */
static void test_a_handshake_with_them(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_all(f);
  assert_status_ok(make_client(f, "bob"));
  tls_fixture_serve_clients(f, "server", TLS_CLIENT_REQUIRED, "ca");
  struct tls_fixture_client client = {
      .server_name = "api.example.com", .trust = "ca", .certificate = "alice"};
  struct tls_fixture_outcome o = tls_fixture_connect(f, client);
  assert_true(o.done);
  assert_string_equal(o.peer.certificate_name, "alice");
  SSL_SESSION_free(o.session);
  client.certificate = "server"; /* not for clients */
  o = tls_fixture_connect(f, client);
  assert_false(o.done);
  SSL_SESSION_free(o.session);
  client.certificate = "alice";
  client.server_name = "other.com";
  o = tls_fixture_connect(f, client);
  assert_false(o.done);
  SSL_SESSION_free(o.session);
  tls_fixture_close(f);
}

/* ---- Files ---- */

static void test_files(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_all(f);
  assert_int_equal(count_files(f), 6); /* and no temporary ones */
  assert_int_equal(mode_of(f, "ca.key"), 0600);
  assert_int_equal(mode_of(f, "server.key"), 0600);
  assert_int_equal(mode_of(f, "server.pem"), 0644);
  char text[4096];
  read_text(f, "server.key", text, sizeof text);
  assert_int_equal(strncmp(text, "-----BEGIN PRIVATE KEY-----\n", 28), 0);
  tls_fixture_close(f);
}

static void test_nothing_is_overwritten(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_all(f);
  char before[4096], after[4096];
  read_text(f, "ca.key", before, sizeof before);
  status result = certificate_make_ca(f->port, files(f, "ca"));
  assert_int_equal(result.code, STATUS_ALREADY_EXISTS);
  assert_non_null(strstr(result.message, "/ca.pem is there already: move it away"));
  read_text(f, "ca.key", after, sizeof after);
  assert_string_equal(before, after);
  /* A key alone counts too, and so does a link to nowhere. */
  tls_fixture_write(f, "lone.key", "mine");
  assert_status_code(make_client(f, "lone"), STATUS_ALREADY_EXISTS);
  read_text(f, "lone.key", after, sizeof after);
  assert_string_equal(after, "mine");
  assert_int_equal(symlink("/nowhere/at/all", tls_fixture_path(f, "linked.pem")), 0);
  assert_status_code(make_client(f, "linked"), STATUS_ALREADY_EXISTS);
  assert_int_equal(access(tls_fixture_path(f, "linked.key"), F_OK), -1);
  tls_fixture_close(f);
}

static void test_no_half_files(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_all(f);
  size_t count = count_files(f);
  struct rlimit before, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, SIG_IGN);
  small = (struct rlimit){100, before.rlim_max}; /* a disk that is full in the middle of the key... */
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  status first = make_client(f, "bob");
  small.rlim_cur = 300; /* ...and between the key and the certificate */
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  status second = make_client(f, "bob");
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(first.code, STATUS_FAILED_PRECONDITION);
  assert_non_null(strstr(first.message, "/bob.key: "));
  assert_int_equal(second.code, STATUS_FAILED_PRECONDITION);
  assert_non_null(strstr(second.message, "/bob.pem: "));
  assert_int_equal(count_files(f), count);
  struct certificate_files nowhere = {tls_fixture_path(f, "no/a.pem"), tls_fixture_path(f, "no/a.key")};
  assert_status_code(certificate_make_ca(f->port, nowhere), STATUS_FAILED_PRECONDITION);
  assert_status_ok(make_client(f, "bob"));
  tls_fixture_close(f);
}

/* ---- Requests and CAs ---- */

static void test_names_are_checked(void **state) {
  struct tls_fixture *f = open_fixture(state);
  assert_status_ok(certificate_make_ca(f->port, files(f, "ca")));
  static const struct {
    const char *name;
    bool good;
  } cases[] = {
      {"localhost", true},
      {"a.example.com", true},
      {"*.example.com", true},
      {"my_host", true},
      {"3com.com", true},
      {"10.1.2.3", true},
      {"2001:db8::1", true},
      {"xn--bcher-kva.example", true},
      {"", false},
      {".", false},
      {"a..b", false},
      {"a.", false},
      {"*", false},
      {"*.*.com", false},
      {"a.*.com", false},
      {"a b", false},
      {"b\xc3\xbc"
       "cher",
       false},
      {"1.2.3.256", false},
      {"https://a.com", false},
      {"a.com:443", false},
      {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com", false}, /* 64 */
  };
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    char file[32];
    snprintf(file, sizeof file, "file%zu", i);
    status result = make_server(f, file, &cases[i].name, 1);
    assert_int_equal(result.code, cases[i].good ? STATUS_OK : STATUS_INVALID_ARGUMENT);
    assert_int_equal(certificate_is_name(cases[i].name), cases[i].good);
  }
  assert_status_code(make_server(f, "none", NULL, 0), STATUS_INVALID_ARGUMENT);
  assert_status_code(make_client(f, ""), STATUS_INVALID_ARGUMENT);
  tls_fixture_close(f);
}

static void test_days(void **state) {
  struct tls_fixture *f = open_fixture(state);
  assert_status_ok(certificate_make_ca(f->port, files(f, "ca")));
  struct certificate_request request = {.port = f->port, .names = names, .name_count = 1, .days = 30};
  assert_status_ok(certificate_make(&request, files(f, "ca"), files(f, "short")));
  int64_t now_s = f->port->wall_us(f->port) / 1000000;
  assert_int_equal(facts_of(f, "short").not_after_s, now_s + 30 * DAY_S);
  request.days = 3651;
  assert_status_code(certificate_make(&request, files(f, "ca"), files(f, "long")), STATUS_INVALID_ARGUMENT);
  /* A hundred days before the CA ends, and after it. */
  port_simulated_advance(f->simulated, 3550 * DAY_S * 1000000);
  request.days = 0;
  assert_status_ok(certificate_make(&request, files(f, "ca"), files(f, "late")));
  assert_int_equal(facts_of(f, "late").not_after_s, facts_of(f, "ca").not_after_s);
  port_simulated_advance(f->simulated, 100 * DAY_S * 1000000);
  status result = certificate_make(&request, files(f, "ca"), files(f, "too_late"));
  assert_int_equal(result.code, STATUS_FAILED_PRECONDITION);
  assert_non_null(strstr(result.message, "/ca.pem has expired"));
  tls_fixture_close(f);
}

static void test_cas_are_checked(void **state) {
  struct tls_fixture *f = open_fixture(state);
  make_all(f);
  assert_status_ok(certificate_make_ca(f->port, files(f, "other")));
  struct certificate_request request = {.port = f->port, .names = names, .name_count = 1};
  struct certificate_files mixed = {files(f, "ca").certificate, files(f, "other").key};
  status result = certificate_make(&request, mixed, files(f, "x"));
  assert_int_equal(result.code, STATUS_FAILED_PRECONDITION);
  assert_non_null(strstr(result.message, "/other.key does not belong to the CA's certificate"));
  result = certificate_make(&request, files(f, "server"), files(f, "x"));
  assert_int_equal(result.code, STATUS_FAILED_PRECONDITION);
  assert_non_null(strstr(result.message, "/server.pem is not a CA's certificate"));
  assert_status_code(certificate_make(&request, files(f, "none"), files(f, "x")), STATUS_FAILED_PRECONDITION);
  /* CAs that were made elsewhere. */
  tls_fixture_make(f, (struct tls_fixture_certificate){.name = "ed", .key = KEY_ED25519, .is_ca = true});
  assert_status_ok(certificate_make(&request, files(f, "ed"), files(f, "y")));
  X509 *ca = read_x509(f, "ed"), *made = read_x509(f, "y");
  EVP_PKEY *key = X509_get_pubkey(ca);
  assert_int_equal(X509_verify(made, key), 1);
  EVP_PKEY_free(key);
  X509_free(ca);
  X509_free(made);
  tls_fixture_close(f);
}

/* ---- Reading what others made ---- */

static void test_reads_several_and_strange_ones(void **state) {
  struct tls_fixture *f = open_fixture(state);
  tls_fixture_make(f, (struct tls_fixture_certificate){
                          .name = "a\x1b[31mred", .names = "DNS:x\x1b.test,email:m@x.test", .key = KEY_RSA});
  make_all(f);
  tls_fixture_join(f, "server.pem", "ca.pem", "two.pem");
  tls_fixture_join(f, "two.pem", "a\x1b[31mred.pem", "bundle.pem");
  struct certificate_facts *all;
  size_t count;
  assert_status_ok(certificate_read(tls_fixture_path(f, "bundle.pem"), &all, &count));
  assert_int_equal(count, 3);
  assert_true(all[1].is_ca);
  assert_string_equal(all[2].key_type, "RSA 2048");
  assert_string_equal(all[2].names, "x?.test, m@x.test");
  assert_null(strchr(all[2].subject, 0x1b)); /* a terminal is not to be steered by it */
  free(all);
  assert_status_code(certificate_read(tls_fixture_path(f, "server.key"), &all, &count),
                     STATUS_FAILED_PRECONDITION);
  tls_fixture_close(f);
}

/* What a handler gets as the name of a client. */
static void test_the_name_of_a_certificate(void **state) {
  static const struct {
    const char *common_name;
    int len;
    const char *names, *name;
  } cases[] = {
      {"alice", 5, "DNS:x.test", "alice"},      {NULL, 0, "IP:192.0.2.1,DNS:x.test", "x.test"},
      {NULL, 0, "email:m@x.test", "m@x.test"},  {NULL, 0, "IP:192.0.2.1", ""},
      {"admin\0.x", 8, "DNS:x.test", "x.test"}, {"admin\0.x", 8, NULL, ""},
      {"z\xc3\xbc", 3, NULL, "z\xc3\xbc"},      {NULL, 0, NULL, ""},
      {"a\x1b[1m", 5, NULL, "a?[1m"},
  };
  (void)state;
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    X509 *x509 = X509_new();
    if (cases[i].common_name != NULL)
      X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8,
                                 (const uint8_t *)cases[i].common_name, cases[i].len, -1, 0);
    if (cases[i].names != NULL) {
      X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, NID_subject_alt_name, cases[i].names);
      X509_add_ext(x509, extension, -1);
      X509_EXTENSION_free(extension);
    }
    char name[96];
    certificate_name(x509, name, sizeof name);
    assert_string_equal(name, cases[i].name);
    X509_free(x509);
  }
}

int main(void) {
  static struct tls_fixture fixture;
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_prestate(name, &fixture)
      TEST(test_facts),
      TEST(test_fingerprints_are_the_usual_ones),
      TEST(test_extensions),
      TEST(test_a_handshake_with_them),
      TEST(test_files),
      TEST(test_nothing_is_overwritten),
      TEST(test_no_half_files),
      TEST(test_names_are_checked),
      TEST(test_days),
      TEST(test_cas_are_checked),
      TEST(test_reads_several_and_strange_ones),
      TEST(test_the_name_of_a_certificate),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
