/* One certificate as BoringSSL wants it, an SSL_CTX, with the callbacks that all connections have. */
#ifndef SKERRY_SERVER_LISTENER_TLS_CONTEXT_H
#define SKERRY_SERVER_LISTENER_TLS_CONTEXT_H

#include <openssl/base.h>
#include <openssl/x509.h>
#include <stdint.h>

#include "server/listener/tls.h"

struct tls_certificates;

/* What all contexts of a set have in common. */
struct tls_context_options {
  enum tls_client_certificates client_certificates;
  X509_STORE *client_cas;              /* counted by the contexts; NULL with TLS_CLIENT_NONE */
  const STACK_OF(X509) * client_names; /* the CAs again: their subjects are told to clients */
  uint8_t session_context[32];         /* tickets are good only where this is the same */
};

/* NULL: no memory. `chain`, the server's certificate first, and `key` stay the caller's and fit each other.
 */
SSL_CTX *tls_context_new(const struct tls_context_options *options, STACK_OF(X509) * chain, EVP_PKEY *key);

/* A server's side of a connection, counting `certificates` for as long as it lives; NULL: no memory. */
SSL *tls_context_accept(struct tls_certificates *certificates, int fd, bool always_h2);

#endif
