#include "tests/support/tls_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "server/listener/certificate_time.h"
#include "tests/support/unit.h"

enum { DAY_S = 86400 };

/* ---- The directory and the log ---- */

void tls_fixture_open(struct tls_fixture *f) {
  *f = (struct tls_fixture){.directory = "/tmp/skerry-tls-XXXXXX"};
  assert_non_null(mkdtemp(f->directory));
  f->simulated = port_simulated_new();
  assert_non_null(f->simulated);
  f->port = port_simulated_port(f->simulated);
  f->log = memfd_create("log", MFD_CLOEXEC);
  assert_true(f->log >= 0);
  log_configure(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, f->log);
}

static void remove_directory(const struct tls_fixture *f) {
  DIR *directory = opendir(f->directory);
  assert_non_null(directory);
  for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
    unlinkat(dirfd(directory), entry->d_name, 0); /* fails for "." and ".." */
  closedir(directory);
  assert_int_equal(rmdir(f->directory), 0);
}

void tls_fixture_close(struct tls_fixture *f) {
  tls_close(f->tls);
  port_simulated_free(f->simulated);
  log_configure(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT, 2);
  close(f->log);
  remove_directory(f);
}

const char *tls_fixture_path(const struct tls_fixture *f, const char *name) {
  static _Thread_local char paths[32][160];
  static _Thread_local unsigned next;
  char *path = paths[next++ % 32];
  snprintf(path, sizeof paths[0], "%s/%s", f->directory, name);
  return path;
}

static const char *path_of(const struct tls_fixture *f, const char *name, const char *suffix) {
  char file[96];
  snprintf(file, sizeof file, "%s%s", name, suffix);
  return tls_fixture_path(f, file);
}

static void replace(const struct tls_fixture *f, const char *name, const void *bytes, size_t len) {
  const char *path = tls_fixture_path(f, name), *temporary = tls_fixture_path(f, "temporary");
  FILE *file = fopen(temporary, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, len, file), len);
  assert_int_equal(fchmod(fileno(file), 0600), 0);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(rename(temporary, path), 0);
}

void tls_fixture_write(const struct tls_fixture *f, const char *name, const char *text) {
  replace(f, name, text, strlen(text));
}

static size_t read_file(const struct tls_fixture *f, const char *name, char *out, size_t size) {
  FILE *file = fopen(tls_fixture_path(f, name), "r");
  assert_non_null(file);
  size_t len = fread(out, 1, size, file);
  fclose(file);
  assert_true(len < size);
  return len;
}

void tls_fixture_copy(const struct tls_fixture *f, const char *from, const char *to) {
  char bytes[16384];
  replace(f, to, bytes, read_file(f, from, bytes, sizeof bytes));
}

void tls_fixture_join(const struct tls_fixture *f, const char *a, const char *b, const char *to) {
  char bytes[16384];
  size_t len = read_file(f, a, bytes, sizeof bytes);
  len += read_file(f, b, bytes + len, sizeof bytes - len);
  replace(f, to, bytes, len);
}

bool tls_fixture_logged(const struct tls_fixture *f, const char *text) {
  static char lines[65536];
  ssize_t len = pread(f->log, lines, sizeof lines - 1, 0);
  lines[len < 0 ? 0 : len] = '\0';
  return strstr(lines, text) != NULL;
}

void tls_fixture_log_clear(const struct tls_fixture *f) {
  assert_int_equal(ftruncate(f->log, 0), 0);
  assert_int_equal(lseek(f->log, 0, SEEK_SET), 0);
}

/* ---- Certificates ---- */

static EVP_PKEY *generate(int type, int curve, int bits) {
  EVP_PKEY *key = NULL;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(type, NULL);
  assert_non_null(context);
  assert_int_equal(EVP_PKEY_keygen_init(context), 1);
  if (type == EVP_PKEY_EC)
    assert_int_equal(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, curve), 1);
  if (type == EVP_PKEY_RSA)
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(context, bits), 1);
  assert_int_equal(EVP_PKEY_keygen(context, &key), 1);
  EVP_PKEY_CTX_free(context);
  return key;
}

static EVP_PKEY *new_key(enum tls_fixture_key kind) {
  switch (kind) {
  case KEY_P256:
    return generate(EVP_PKEY_EC, NID_X9_62_prime256v1, 0);
  case KEY_P384:
    return generate(EVP_PKEY_EC, NID_secp384r1, 0);
  case KEY_P521:
    return generate(EVP_PKEY_EC, NID_secp521r1, 0);
  case KEY_RSA:
    return generate(EVP_PKEY_RSA, 0, 2048);
  case KEY_RSA_SHORT:
    return generate(EVP_PKEY_RSA, 0, 1024);
  case KEY_ED25519:
    break;
  }
  return generate(EVP_PKEY_ED25519, 0, 0);
}

static void *read_pem(const struct tls_fixture *f, const char *name, bool key) {
  FILE *file = fopen(path_of(f, name, key ? ".key" : ".pem"), "r");
  assert_non_null(file);
  void *object = key ? (void *)PEM_read_PrivateKey(file, NULL, NULL, NULL)
                     : (void *)PEM_read_X509(file, NULL, NULL, NULL);
  assert_non_null(object);
  fclose(file);
  return object;
}

static void add_extension(X509 *x509, X509 *issuer, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &context, nid, value);
  assert_non_null(extension);
  assert_int_equal(X509_add_ext(x509, extension, -1), 1);
  X509_EXTENSION_free(extension);
}

static void write_pair(const struct tls_fixture *f, const char *name, X509 *x509, EVP_PKEY *key) {
  FILE *file = fopen(path_of(f, name, ".pem"), "w");
  assert_int_equal(PEM_write_X509(file, x509), 1);
  fclose(file);
  file = fopen(path_of(f, name, ".key"), "w");
  assert_int_equal(fchmod(fileno(file), 0600), 0);
  assert_int_equal(PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
  fclose(file);
}

void tls_fixture_make(const struct tls_fixture *f, struct tls_fixture_certificate what) {
  if (what.from_days == 0 && what.until_days == 0) {
    what.from_days = -1;
    what.until_days = 365;
  }
  EVP_PKEY *key = new_key(what.key);
  X509 *x509 = X509_new();
  X509 *issuer = what.issuer == NULL ? x509 : read_pem(f, what.issuer, false);
  EVP_PKEY *signer = what.issuer == NULL ? key : read_pem(f, what.issuer, true);
  int64_t now_s = f->port->wall_us(f->port) / 1000000;
  X509_set_version(x509, X509_VERSION_3);
  uint32_t serial;
  crypto_random(&serial, sizeof serial);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), (long)(serial >> 1));
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_UTF8, (const uint8_t *)what.name, -1,
                             -1, 0);
  X509_set_issuer_name(x509, X509_get_subject_name(issuer));
  certificate_time_set(X509_getm_notBefore(x509), now_s + (int64_t)what.from_days * 86400);
  certificate_time_set(X509_getm_notAfter(x509), now_s + (int64_t)what.until_days * 86400);
  X509_set_pubkey(x509, key);
  add_extension(x509, issuer, NID_basic_constraints, what.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (what.names != NULL)
    add_extension(x509, issuer, NID_subject_alt_name, what.names);
  if (what.purpose != NULL)
    add_extension(x509, issuer, NID_ext_key_usage, what.purpose);
  if (what.usage != NULL)
    add_extension(x509, issuer, NID_key_usage, what.usage);
  bool pure = EVP_PKEY_id(signer) == EVP_PKEY_ED25519;
  assert_true(X509_sign(x509, signer, pure ? NULL : EVP_sha256()) > 0);
  write_pair(f, what.name, x509, key);
  if (issuer != x509) {
    X509_free(issuer);
    EVP_PKEY_free(signer);
  }
  X509_free(x509);
  EVP_PKEY_free(key);
}

/* ---- The server ---- */

struct tls_options tls_fixture_options(const struct tls_fixture *f, const char *const *names, size_t count) {
  static const char *certificates[4], *keys[4];
  static char texts[8][160];
  assert_true(count <= 4);
  for (size_t i = 0; i < count; i++) {
    snprintf(texts[i], sizeof texts[i], "%s", path_of(f, names[i], ".pem"));
    snprintf(texts[4 + i], sizeof texts[4 + i], "%s", path_of(f, names[i], ".key"));
    certificates[i] = texts[i];
    keys[i] = texts[4 + i];
  }
  return (struct tls_options){
      .port = f->port, .certificate_files = certificates, .key_files = keys, .count = count};
}

void tls_fixture_serve(struct tls_fixture *f, const char *name) {
  struct tls_options options = tls_fixture_options(f, &name, 1);
  assert_status_ok(tls_open(&options, &f->tls));
}

void tls_fixture_serve_clients(struct tls_fixture *f, const char *name, enum tls_client_certificates mode,
                               const char *ca) {
  struct tls_options options = tls_fixture_options(f, &name, 1);
  options.client_certificates = mode;
  options.client_ca_file = path_of(f, ca, ".pem");
  assert_status_ok(tls_open(&options, &f->tls));
}

/* ---- A client ---- */

struct ends {
  SSL *server, *client;
  int fds[2];
  SSL_SESSION *session;
  bool asked_for_certificate;
  struct port *port;
};

static int on_session(SSL *ssl, SSL_SESSION *session) {
  struct ends *ends = SSL_get_app_data(ssl);
  SSL_SESSION_free(ends->session);
  ends->session = session;
  return 1; /* taken */
}

static int on_request(SSL *ssl, void *argument) {
  (void)argument;
  struct ends *ends = SSL_get_app_data(ssl);
  ends->asked_for_certificate = true;
  return 1;
}

static int on_server_certificate(int ok, X509_STORE_CTX *context) {
  const SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
  const struct ends *ends = SSL_get_app_data(ssl);
  return certificate_time_verify(ok, context, ends->port->wall_us(ends->port) / 1000000);
}

static void set_alpn(SSL_CTX *context, const char *list) {
  uint8_t wire[64];
  size_t len = 0;
  str rest = str_from_cstr(list);
  while (rest.len > 0) {
    str one = str_split(rest, ',', &rest);
    wire[len++] = (uint8_t)one.len;
    memcpy(wire + len, one.ptr, one.len);
    len += one.len;
  }
  assert_int_equal(SSL_CTX_set_alpn_protos(context, wire, (unsigned)len), 0);
}

static SSL_CTX *client_context(const struct tls_fixture *f, const struct tls_fixture_client *client) {
  SSL_CTX *context = SSL_CTX_new(TLS_method());
  assert_non_null(context);
  SSL_CTX_set_min_proto_version(context, client->min_version == 0 ? TLS1_VERSION : client->min_version);
  SSL_CTX_set_max_proto_version(context, client->max_version == 0 ? TLS1_3_VERSION : client->max_version);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, on_session);
  SSL_CTX_set_cert_cb(context, on_request, NULL);
  if (client->suites != NULL)
    assert_int_equal(SSL_CTX_set_cipher_list(context, client->suites), 1);
  if (client->alpn != NULL)
    set_alpn(context, client->alpn);
  if (client->signature_count > 0)
    assert_int_equal(SSL_CTX_set_verify_algorithm_prefs(context, client->signatures, client->signature_count),
                     1);
  if (client->group_count > 0)
    assert_int_equal(SSL_CTX_set1_curves(context, client->groups, client->group_count), 1);
  if (client->certificate != NULL) {
    const uint16_t any[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384,
                            SSL_SIGN_ED25519, SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256};
    assert_int_equal(SSL_CTX_set_signing_algorithm_prefs(context, any, UNIT_COUNT(any)), 1);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(context, path_of(f, client->certificate, ".pem")), 1);
    assert_int_equal(
        SSL_CTX_use_PrivateKey_file(context, path_of(f, client->certificate, ".key"), SSL_FILETYPE_PEM), 1);
  }
  if (client->trust != NULL) {
    assert_int_equal(SSL_CTX_load_verify_locations(context, path_of(f, client->trust, ".pem"), NULL), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, on_server_certificate);
  }
  return context;
}

static void open_ends(struct tls_fixture *f, const struct tls_fixture_client *client, struct ends *ends) {
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends->fds), 0);
  ends->port = f->port;
  ends->server = tls_accept(f->tls, ends->fds[0], client->always_h2);
  assert_non_null(ends->server);
  SSL_CTX *context = client_context(f, client);
  ends->client = SSL_new(context);
  SSL_CTX_free(context);
  assert_non_null(ends->client);
  SSL_set_app_data(ends->client, ends);
  SSL_set_fd(ends->client, ends->fds[1]);
  SSL_set_connect_state(ends->client);
  if (client->server_name != NULL)
    SSL_set_tlsext_host_name(ends->client, client->server_name);
  if (client->trust != NULL && client->server_name != NULL)
    SSL_set1_host(ends->client, client->server_name);
  if (client->session != NULL)
    SSL_set_session(ends->client, client->session);
}

enum step { STEP_WAITS, STEP_DONE, STEP_FAILED };

static enum step result_of(SSL *ssl, int returned, int *error) {
  if (returned > 0)
    return STEP_DONE;
  int why = SSL_get_error(ssl, returned);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
    return STEP_WAITS;
  *error = ERR_GET_REASON(ERR_peek_error());
  ERR_clear_error();
  return STEP_FAILED;
}

/* The handshake, then a byte each way: with TLS 1.3 a client knows only then whether it was let in, and has
 * its tickets. */
static bool drive(struct ends *ends, struct tls_fixture_outcome *outcome) {
  enum step server = STEP_WAITS, client = STEP_WAITS;
  for (int turn = 0; turn < 20 && (server == STEP_WAITS || client == STEP_WAITS); turn++) {
    if (client == STEP_WAITS)
      client = result_of(ends->client, SSL_do_handshake(ends->client), &outcome->client_error);
    if (server == STEP_WAITS)
      server = result_of(ends->server, SSL_do_handshake(ends->server), &outcome->server_error);
  }
  char byte = 'x';
  if (server == STEP_DONE && client == STEP_DONE) {
    server = result_of(ends->server, SSL_write(ends->server, &byte, 1), &outcome->server_error);
    client = result_of(ends->client, SSL_write(ends->client, &byte, 1), &outcome->client_error);
    assert_int_equal(server, STEP_DONE);
  }
  if (client == STEP_DONE)
    client = result_of(ends->client, SSL_read(ends->client, &byte, 1), &outcome->client_error);
  if (server == STEP_DONE)
    server = result_of(ends->server, SSL_read(ends->server, &byte, 1), &outcome->server_error);
  return server == STEP_DONE && client == STEP_DONE;
}

static void look(const struct ends *ends, struct tls_fixture_outcome *outcome) {
  outcome->version = (uint16_t)SSL_version(ends->client);
  snprintf(outcome->cipher, sizeof outcome->cipher, "%s", SSL_get_cipher_name(ends->client));
  outcome->resumed = SSL_session_reused(ends->client);
  assert_int_equal(outcome->resumed, SSL_session_reused(ends->server));
  X509 *x509 = SSL_get_peer_certificate(ends->client);
  X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, outcome->server,
                            sizeof outcome->server);
  X509_free(x509);
  outcome->chain = (int)sk_X509_num(SSL_get_peer_cert_chain(ends->client));
  const uint8_t *alpn;
  unsigned len;
  SSL_get0_alpn_selected(ends->client, &alpn, &len);
  snprintf(outcome->alpn, sizeof outcome->alpn, "%.*s", (int)len, len == 0 ? "" : (const char *)alpn);
  outcome->protocol = tls_protocol(ends->server);
  tls_peer(ends->server, &outcome->peer);
}

struct tls_fixture_outcome tls_fixture_connect(struct tls_fixture *f, struct tls_fixture_client client) {
  struct tls_fixture_outcome outcome = {0};
  struct ends ends = {0};
  open_ends(f, &client, &ends);
  if (client.accepted != NULL)
    client.accepted(f);
  outcome.done = drive(&ends, &outcome);
  if (outcome.done)
    look(&ends, &outcome);
  outcome.asked_for_certificate = ends.asked_for_certificate;
  outcome.session = ends.session;
  SSL_free(ends.server);
  SSL_free(ends.client);
  assert_int_equal(fcntl(ends.fds[0], F_GETFD), FD_CLOEXEC); /* it stayed ours */
  close(ends.fds[0]);
  close(ends.fds[1]);
  ERR_clear_error();
  return outcome;
}
