/* Times of certificates as Unix seconds of 64 bits. BoringSSL's own functions take a time_t, and on 32-bit
 * machines that is another one in our code (64 bits) than in the library (32 bits, as Debian 12 builds it):
 * none may pass between them. So times go in and out as what certificates hold, and chains are judged here by
 * our clock, which the library need not know. Any thread. */
#ifndef SKERRY_SERVER_LISTENER_CERTIFICATE_TIME_H
#define SKERRY_SERVER_LISTENER_CERTIFICATE_TIME_H

#include <stdbool.h>
#include <stdint.h>

struct asn1_string_st;    /* BoringSSL's ASN1_TIME */
struct x509_store_ctx_st; /* its X509_STORE_CTX */

/* INT64_MIN if the time cannot be read. */
int64_t certificate_time_s(const struct asn1_string_st *time);

/* In the form that RFC 5280, section 4.1.2.5, wants for the year. False past the year 9999 and without
 * memory. */
bool certificate_time_set(struct asn1_string_st *time, int64_t seconds);

/* The result of a verify callback (SSL_set_verify) that was called with `ok` and `context`: as `ok` says, but
 * whether the certificate at hand is valid at `now_s` is found here, whatever the library made of its clock.
 */
int certificate_time_verify(int ok, struct x509_store_ctx_st *context, int64_t now_s);

#endif
