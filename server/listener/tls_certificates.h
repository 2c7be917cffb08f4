/* Everything that the settings name, as it was read at one time: certificates, keys, the CA of clients.
 * Nothing of it changes any more; a reload makes another. Counted; any thread. */
#ifndef SKERRY_SERVER_LISTENER_TLS_CERTIFICATES_H
#define SKERRY_SERVER_LISTENER_TLS_CERTIFICATES_H

#include <stdatomic.h>

#include "server/listener/tls.h"
#include "server/listener/tls_choice.h"
#include "server/listener/tls_tickets.h"

struct tls_certificate {
  SSL_CTX *context;
  X509 *x509;
  enum tls_key key;
};

struct tls_certificates {
  atomic_uint references;
  struct port *port;
  struct tls_tickets *tickets;   /* counted */
  int64_t client_ca_not_after_s; /* of the CA that expires first; INT64_MAX: there is none */
  size_t count;
  struct tls_certificate all[];
};

/* Reads the files that the options, which are checked, name. FAILED_PRECONDITION as tls_open says. */
STATUS_MUST_USE status tls_certificates_load(const struct tls_options *options, struct tls_tickets *tickets,
                                             struct tls_certificates **ret);
void tls_certificates_ref(struct tls_certificates *set);
void tls_certificates_unref(struct tls_certificates *set); /* NULL allowed */

/* The certificate for a client that can check `keys` (a mask of tls_key) and asked for `name` (or NULL):
 * tls.h says which. */
const struct tls_certificate *tls_certificates_choose(const struct tls_certificates *set, unsigned keys,
                                                      const char *name);

#endif
