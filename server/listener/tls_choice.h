/* Which certificate a client gets. */
#ifndef SKERRY_SERVER_LISTENER_TLS_CHOICE_H
#define SKERRY_SERVER_LISTENER_TLS_CHOICE_H

#include <openssl/base.h>
#include <stdbool.h>
#include <stddef.h>

/* The kinds of keys that are served; one bit each. */
enum tls_key { TLS_KEY_P256 = 1, TLS_KEY_P384 = 2, TLS_KEY_RSA = 4, TLS_KEY_ED25519 = 8 };

/* The kinds whose signatures the client can check, in the version of TLS that it will get: a mask. */
unsigned tls_choice_keys(const SSL_CLIENT_HELLO *hello);

/* Whether the certificate is for that host name or address (RFC 6125: its subject does not count, a wildcard
 * stands for one label). NULL fits nothing. */
bool tls_choice_fits(X509 *certificate, const char *name);

#endif
