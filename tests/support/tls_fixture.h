/* For tests of TLS: certificates of every kind in a directory of their own, a server on a simulated clock,
 * and clients over socketpairs, both ends driven by one thread. Whatever fails here fails the test. */
#ifndef SKERRY_TESTS_SUPPORT_TLS_FIXTURE_H
#define SKERRY_TESTS_SUPPORT_TLS_FIXTURE_H

#include <openssl/base.h>

#include "ports/simulated.h"
#include "server/listener/tls.h"

enum tls_fixture_key { KEY_P256, KEY_P384, KEY_P521, KEY_RSA, KEY_RSA_SHORT, KEY_ED25519 };

struct tls_fixture {
  char directory[64];
  struct port_simulated *simulated;
  struct port *port;
  struct tls *tls; /* closed at the end if a test left it */
  int log;
};

void tls_fixture_open(struct tls_fixture *f);
void tls_fixture_close(struct tls_fixture *f);

/* The file's path; one of 32 buffers that are used in turn. */
const char *tls_fixture_path(const struct tls_fixture *f, const char *name);
void tls_fixture_write(const struct tls_fixture *f, const char *name, const char *text);
/* Replaces the file `to` by a copy of `from`, as something that renews certificates would. */
void tls_fixture_copy(const struct tls_fixture *f, const char *from, const char *to);
/* Replaces the file `to` by what is in `a` and then in `b`. */
void tls_fixture_join(const struct tls_fixture *f, const char *a, const char *b, const char *to);
/* Whether a line of the log since the last call of tls_fixture_log_clear holds the text. */
bool tls_fixture_logged(const struct tls_fixture *f, const char *text);
void tls_fixture_log_clear(const struct tls_fixture *f);

struct tls_fixture_certificate {
  const char *name;   /* common name, and the files' names: NAME.pem and NAME.key */
  const char *issuer; /* NAME of the CA; NULL: signed by itself */
  enum tls_fixture_key key;
  const char *names; /* "DNS:a.example,IP:192.0.2.1"; NULL: none */
  bool is_ca;
  const char *purpose;       /* "serverAuth" or "clientAuth"; NULL: any */
  const char *usage;         /* of the key: "keyEncipherment"; NULL: any */
  int from_days, until_days; /* from the simulated now; both 0: -1 to 365 */
};
void tls_fixture_make(const struct tls_fixture *f, struct tls_fixture_certificate what);

/* A server with the pairs of files NAME.pem, NAME.key, up to four. */
struct tls_options tls_fixture_options(const struct tls_fixture *f, const char *const *names, size_t count);
void tls_fixture_serve(struct tls_fixture *f, const char *name); /* opens f->tls with one */
/* The same with client certificates under the CA NAME. */
void tls_fixture_serve_clients(struct tls_fixture *f, const char *name, enum tls_client_certificates mode,
                               const char *ca);

/* A client; zeroed members are BoringSSL's defaults. */
struct tls_fixture_client {
  uint16_t min_version, max_version;
  const char *suites; /* of TLS 1.2 */
  const char *server_name;
  const char *alpn; /* "h2,http/1.1" */
  const uint16_t *signatures;
  size_t signature_count;
  const int *groups;
  size_t group_count;
  const char *certificate; /* NAME of its files */
  const char *trust;       /* NAME of the CA that it checks the server against; NULL: it does not */
  SSL_SESSION *session;    /* to resume */
  bool always_h2;          /* of the server's side */
  void (*accepted)(struct tls_fixture *f); /* called when the server has its SSL and nothing was said yet */
};

struct tls_fixture_outcome {
  bool done; /* both ends finished the handshake and a byte went each way */
  uint16_t version;
  char cipher[64];
  char server[64]; /* common name of the server's certificate */
  int chain;       /* certificates that the server sent */
  bool resumed, asked_for_certificate;
  enum tls_protocol protocol;
  char alpn[16]; /* as the client sees it */
  struct rpc_peer peer;
  int server_error, client_error; /* reasons (ERR_GET_REASON) of the first failure; 0 */
  SSL_SESSION *session;           /* that the client got last; to be freed */
};
struct tls_fixture_outcome tls_fixture_connect(struct tls_fixture *f, struct tls_fixture_client client);

#endif
