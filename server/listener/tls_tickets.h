/* The keys that session tickets are sealed with: shared by all connections of a `tls`, whatever it has loaded
 * meanwhile. A new key every 12 hours; the one before still opens. A ticket carries, authenticated, until
 * when the session may be resumed at all: a day after the client was last looked at in full, or when its
 * certificate expires.
 *
 * Counted; any thread. */
#ifndef SKERRY_SERVER_LISTENER_TLS_TICKETS_H
#define SKERRY_SERVER_LISTENER_TLS_TICKETS_H

#include <openssl/base.h>
#include <stdint.h>

#include "ports/port.h"

enum {
  TLS_TICKET_LIFETIME_S = 24 * 60 * 60,
  TLS_TICKET_KEY_S = 12 * 60 * 60, /* a key seals that long, and opens as long again */
  TLS_TICKET_NAME_BYTES = 16,
};

struct tls_tickets;

struct tls_tickets *tls_tickets_new(struct port *port); /* NULL: no memory */
void tls_tickets_ref(struct tls_tickets *tickets);
void tls_tickets_unref(struct tls_tickets *tickets);

/* Makes a new key if it is time. */
void tls_tickets_rotate(struct tls_tickets *tickets);

/* Prepares sealing: fills in the ticket's name and IV and sets the keys. `not_after_s` is Unix seconds. */
bool tls_tickets_seal(struct tls_tickets *tickets, int64_t not_after_s, uint8_t name[TLS_TICKET_NAME_BYTES],
                      uint8_t *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *mac);

enum tls_ticket {
  TLS_TICKET_UNUSABLE,
  TLS_TICKET_GOOD,
  TLS_TICKET_RENEW /* good, but the key is the old one */
};
/* Prepares opening. `*ret_not_after_s` is only true once the ticket has been authenticated. */
enum tls_ticket tls_tickets_open(struct tls_tickets *tickets, const uint8_t name[TLS_TICKET_NAME_BYTES],
                                 const uint8_t *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *mac,
                                 int64_t *ret_not_after_s);

#endif
