/* Makes certificates: a CA of one's own for development and for devices, and certificates for servers and
 * clients under it; and reads them for people.
 *
 * Keys are ECDSA P-256. Every file is written to its end before it has its name, and none is ever
 * overwritten; files of keys have mode 0600. Any thread; blocks for the time of writing and fsync. */
#ifndef SKERRY_SERVER_LISTENER_CERTIFICATE_H
#define SKERRY_SERVER_LISTENER_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "ports/port.h"
#include "server/listener/certificate_facts.h"

enum {
  CERTIFICATE_CA_DAYS = 3650,
  CERTIFICATE_DAYS = 397, /* what browsers and phones take at most is 398 */
  CERTIFICATE_DAYS_MAX = 3650,
  CERTIFICATE_NAMES_MAX = 100,
};

/* Where a certificate and its key are. */
struct certificate_files {
  const char *certificate, *key;
};

struct certificate_request {
  struct port *port; /* NULL: port_linux() */
  bool is_client;
  /* Of a server: DNS names ("*.example.com" stands for one label) and IP addresses, at least one. Of a
   * client: one name, any text up to 64 bytes. */
  const char *const *names;
  size_t name_count;
  unsigned days; /* from now; 0: CERTIFICATE_DAYS. A certificate does not outlive its CA */
};

/* ALREADY_EXISTS: one of the files is there; nothing was changed. INVALID_ARGUMENT: a name or the days.
 * FAILED_PRECONDITION: the CA cannot be used, or a file not be written; none of the two is left behind. */
STATUS_MUST_USE status certificate_make_ca(struct port *port, struct certificate_files to);
STATUS_MUST_USE status certificate_make(const struct certificate_request *request,
                                        struct certificate_files ca, struct certificate_files to);

/* Whether a server's certificate can be for that name: a DNS name or an IP address. */
bool certificate_is_name(const char *name);

/* What each certificate in the file says, in its order. FAILED_PRECONDITION: there is none. Free with free().
 */
STATUS_MUST_USE status certificate_read(const char *file, struct certificate_facts **ret, size_t *ret_count);

#endif
