/* Every SSL begins with the first certificate's context. When the client has said hello, the context of the
 * certificate that it gets takes over (SSL_set_SSL_CTX). That moves certificate, ALPN callback, session
 * context and stores of CAs; it leaves the mode of verification, the names of CAs, tickets and lifetimes with
 * the first. All contexts of a set are alike but for the certificate, so it does not matter which is asked.
 *
 * What a connection needs besides hangs on the SSL and ends with it: the set that it was made from, so that a
 * reload or tls_close takes nothing away from it. */
#include "server/listener/tls_context.h"

#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/listener/certificate_facts.h"
#include "server/listener/certificate_time.h"
#include "server/listener/tls_certificates.h"
#include "server/listener/tls_choice.h"
#include "server/listener/tls_tickets.h"

enum {
  CLIENT_CHAIN_BYTES_MAX = 32 * 1024, /* a client's certificates; a dozen of the largest kind fit */
  CLIENT_CHAIN_DEPTH_MAX = 8,
};

/* Between AES-128 and ChaCha20 the client's order decides: it knows whether it has AES in hardware. */
static const char tls12_suites[] =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:ECDHE-RSA-AES256-GCM-SHA384";

static const int groups[] = {NID_X25519, NID_X9_62_prime256v1};

/* Both for our signatures and for those of clients. No SHA-1. */
static const uint16_t signatures[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ED25519,
    SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA256,
    SSL_SIGN_RSA_PKCS1_SHA256,       SSL_SIGN_RSA_PSS_RSAE_SHA384,
    SSL_SIGN_RSA_PKCS1_SHA384,       SSL_SIGN_RSA_PSS_RSAE_SHA512,
    SSL_SIGN_RSA_PKCS1_SHA512,
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- What hangs on an SSL ---- */

struct connection {
  struct tls_certificates *certificates;
  int64_t ticket_not_after_s; /* of the ticket that the client came with, if it was resumed */
  bool always_h2;
};

static int connection_index = -1;

static void free_connection(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long number,
                            void *argument) {
  (void)parent;
  (void)data;
  (void)index;
  (void)number;
  (void)argument;
  struct connection *connection = pointer;
  if (connection != NULL)
    tls_certificates_unref(connection->certificates);
  free(connection);
}

static void make_index(void) {
  connection_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_connection);
}

static struct connection *connection_of(const SSL *ssl) {
  return SSL_get_ex_data(ssl, connection_index);
}

/* ---- Callbacks ---- */

static enum ssl_select_cert_result_t on_hello(const SSL_CLIENT_HELLO *hello) {
  const struct tls_certificates *set = connection_of(hello->ssl)->certificates;
  const struct tls_certificate *chosen = tls_certificates_choose(
      set, tls_choice_keys(hello), SSL_get_servername(hello->ssl, TLSEXT_NAMETYPE_host_name));
  return SSL_set_SSL_CTX(hello->ssl, chosen->context) == NULL ? ssl_select_cert_error
                                                              : ssl_select_cert_success;
}

/* The entry of the client's list (each with a byte of length before it) that is `name`; NULL: none. */
static const uint8_t *find_protocol(const uint8_t *list, unsigned len, const char *name) {
  for (unsigned at = 0; at < len; at += 1U + list[at])
    if (list[at] == strlen(name) && list[at] < len - at && memcmp(list + at + 1, name, list[at]) == 0)
      return list + at + 1;
  return NULL;
}

static int on_alpn(SSL *ssl, const uint8_t **ret, uint8_t *ret_len, const uint8_t *list, unsigned len,
                   void *argument) {
  (void)argument;
  const uint8_t *http1 = find_protocol(list, len, "http/1.1"), *h2 = find_protocol(list, len, "h2");
  bool takes_h2 = h2 != NULL && (http1 == NULL || connection_of(ssl)->always_h2);
  if (!takes_h2 && http1 == NULL)
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301; and nobody is led to speak another protocol with us */
  *ret = takes_h2 ? h2 : http1;
  *ret_len = (*ret)[-1];
  return SSL_TLSEXT_ERR_OK;
}

/* Resuming does not prolong: a ticket made from a ticket ends when that one does. */
static int64_t ticket_not_after_s(const SSL *ssl, const struct connection *connection) {
  if (SSL_session_reused(ssl))
    return connection->ticket_not_after_s;
  struct port *port = connection->certificates->port;
  int64_t not_after_s = port->wall_us(port) / 1000000 + TLS_TICKET_LIFETIME_S;
  X509 *peer = SSL_get_peer_certificate(ssl);
  if (peer != NULL && certificate_not_after_s(peer) < not_after_s)
    not_after_s = certificate_not_after_s(peer);
  X509_free(peer);
  return not_after_s;
}

static int on_ticket(SSL *ssl, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *mac,
                     int sealing) {
  struct connection *connection = connection_of(ssl);
  struct tls_tickets *tickets = connection->certificates->tickets;
  if (sealing)
    return tls_tickets_seal(tickets, ticket_not_after_s(ssl, connection), name, iv, cipher, mac) ? 1 : -1;
  switch (tls_tickets_open(tickets, name, iv, cipher, mac, &connection->ticket_not_after_s)) {
  case TLS_TICKET_GOOD:
    return 1;
  case TLS_TICKET_RENEW:
    return 2;
  case TLS_TICKET_UNUSABLE:
    break;
  }
  return 0; /* the handshake goes on in full */
}

static int on_client_certificate(int ok, X509_STORE_CTX *context) {
  const SSL *ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
  struct port *port = connection_of(ssl)->certificates->port;
  return certificate_time_verify(ok, context, port->wall_us(port) / 1000000);
}

/* ---- Contexts ---- */

static bool set_chain(SSL_CTX *context, STACK_OF(X509) * chain, EVP_PKEY *key) {
  if (!SSL_CTX_use_certificate(context, sk_X509_value(chain, 0)) || !SSL_CTX_use_PrivateKey(context, key))
    return false;
  for (size_t i = 1; i < sk_X509_num(chain); i++)
    if (!SSL_CTX_add1_chain_cert(context, sk_X509_value(chain, i)))
      return false;
  return true;
}

static bool set_client_certificates(SSL_CTX *context, const struct tls_context_options *options) {
  if (options->client_certificates == TLS_CLIENT_NONE) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    return true;
  }
  for (size_t i = 0; i < sk_X509_num(options->client_names); i++)
    if (!SSL_CTX_add_client_CA(context, sk_X509_value(options->client_names, i)))
      return false;
  X509_STORE_up_ref(options->client_cas);
  SSL_CTX_set_cert_store(context, options->client_cas);
  SSL_CTX_set_verify_depth(context, CLIENT_CHAIN_DEPTH_MAX);
  SSL_CTX_set_max_cert_list(context, CLIENT_CHAIN_BYTES_MAX);
  bool required = options->client_certificates == TLS_CLIENT_REQUIRED;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     on_client_certificate);
  return SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT) == 1;
}

static bool set_protocol(SSL_CTX *context) {
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_early_data_enabled(context, 0); /* it could be replayed */
  SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
  SSL_CTX_set_select_certificate_cb(context, on_hello);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) &&
         SSL_CTX_set_strict_cipher_list(context, tls12_suites) &&
         SSL_CTX_set1_curves(context, groups, COUNT(groups)) &&
         SSL_CTX_set_signing_algorithm_prefs(context, signatures, COUNT(signatures)) &&
         SSL_CTX_set_verify_algorithm_prefs(context, signatures, COUNT(signatures));
}

static bool set_sessions(SSL_CTX *context, const struct tls_context_options *options) {
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets: the client keeps its session */
  SSL_CTX_set_timeout(context, TLS_TICKET_LIFETIME_S);
  SSL_CTX_set_session_psk_dhe_timeout(context, TLS_TICKET_LIFETIME_S);
  return SSL_CTX_set_tlsext_ticket_key_cb(context, on_ticket) &&
         SSL_CTX_set_session_id_context(context, options->session_context, sizeof options->session_context);
}

SSL_CTX *tls_context_new(const struct tls_context_options *options, STACK_OF(X509) * chain, EVP_PKEY *key) {
  SSL_CTX *context = SSL_CTX_new(TLS_method());
  if (context != NULL && set_chain(context, chain, key) && set_protocol(context) &&
      set_sessions(context, options) && set_client_certificates(context, options))
    return context;
  SSL_CTX_free(context);
  return NULL;
}

SSL *tls_context_accept(struct tls_certificates *certificates, int fd, bool always_h2) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_index);
  struct connection *connection = calloc(1, sizeof *connection);
  SSL *ssl = SSL_new(certificates->all[0].context);
  if (connection == NULL || ssl == NULL || !SSL_set_ex_data(ssl, connection_index, connection)) {
    free(connection);
    SSL_free(ssl);
    return NULL;
  }
  tls_certificates_ref(certificates);
  connection->certificates = certificates;
  connection->always_h2 = always_h2;
  if (fd >= 0 && !SSL_set_fd(ssl, fd)) {
    SSL_free(ssl);
    return NULL;
  }
  SSL_set_accept_state(ssl);
  SSL_set_shed_handshake_config(ssl, 1); /* an idle connection is then some kilobytes smaller */
  return ssl;
}
