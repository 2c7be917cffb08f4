/* Certificates, and how strangers' connections are encrypted: TLS 1.3 and 1.2 by BoringSSL.
 *
 * A `tls` holds what the settings name (certificates with their keys, the CA of client certificates) and
 * makes the server's side of connections. What it holds is replaced as a whole: connections that are open
 * keep what they began with, a reload that fails leaves the old in place. Session tickets are sealed with
 * keys of its own that are rotated and survive a reload, so a reload does not cost phones their resumption;
 * but a ticket is only good under the same CA of client certificates.
 *
 * Any thread. */
#ifndef SKERRY_SERVER_LISTENER_TLS_H
#define SKERRY_SERVER_LISTENER_TLS_H

#include "base/status.h"
#include "ports/port.h"
#include "rpc/call.h"

enum tls_client_certificates { TLS_CLIENT_NONE, TLS_CLIENT_OPTIONAL, TLS_CLIENT_REQUIRED };

struct tls_options {
  struct port *port; /* NULL: port_linux() */
  /* PEM files, one pair a certificate; a certificate's file holds its chain, the server's first. Which pair a
   * client sees: the first whose names fit the name it asked for (SNI) and whose key it can check; else the
   * first that it can check. */
  const char *const *certificate_files, *const *key_files;
  size_t count;                                     /* at least one */
  enum tls_client_certificates client_certificates; /* not NONE: client_ca_file is needed */
  const char *client_ca_file;                       /* PEM, one or more; NULL: none */
};

struct tls;
struct ssl_st; /* BoringSSL's SSL */

/* Reads everything. INVALID_ARGUMENT or FAILED_PRECONDITION: which file, what is wrong with it (missing, not
 * PEM, key of another certificate, a type of key that is not served, expired is only logged) and what to do.
 * Texts are copied. */
STATUS_MUST_USE status tls_open(const struct tls_options *options, struct tls **ret);
void tls_close(struct tls *tls); /* SSLs made from it may live on. NULL allowed */

/* Reads all files again. The same statuses; the old stays in use then. */
STATUS_MUST_USE status tls_reload(struct tls *tls);
/* To be called about once a second: reloads when a file has changed (its time, size or inode) and stayed so
 * for a second, logging how that went; rotates the keys of tickets; logs, once a day, what expires within 14
 * days.
 */
void tls_tick(struct tls *tls);

/* The server's side of a connection on the non-blocking descriptor `fd`, which stays the caller's; -1: the
 * caller sets a BIO. The ALPN rule: a client whose list holds http/1.1 gets that (browsers, curl), unless it
 * offers h2 too and the port is `always_h2`; one that offers h2 otherwise gets h2; one that offers neither is
 * refused by an alert; one without ALPN gets none, and is told apart by its first bytes. NULL: no memory. Free
 * with SSL_free. */
struct ssl_st *tls_accept(struct tls *tls, int fd, bool always_h2);

enum tls_protocol { TLS_PROTOCOL_UNKNOWN, TLS_PROTOCOL_HTTP2, TLS_PROTOCOL_HTTP1 };
enum tls_protocol tls_protocol(const struct ssl_st *ssl); /* what ALPN agreed on; UNKNOWN: nothing */
/* After the handshake: fills in the peer's certificate members (rpc/call.h) if it showed a certificate, which
 * was verified then, in this handshake or in the one that this one resumes; else leaves them alone. */
void tls_peer(const struct ssl_st *ssl, struct rpc_peer *ret);

/* For `skerry status` and metrics. */
struct tls_certificate_info {
  char names[256];                   /* DNS names and addresses, comma-separated, cut off with "..." */
  char key_type[16];                 /* "ECDSA P-256", "RSA 2048", "Ed25519" */
  char sha256[65];                   /* of the certificate, in hex */
  int64_t not_before_s, not_after_s; /* Unix seconds */
};
/* Certificate number `index` in use; false past the end. */
bool tls_certificate(struct tls *tls, size_t index, struct tls_certificate_info *ret);
struct tls_stats {
  uint64_t reloads, reloads_failed;
};
void tls_stats(struct tls *tls, struct tls_stats *ret);

#endif
