/* What a certificate says about itself, for people. Any thread. */
#ifndef SKERRY_SERVER_LISTENER_CERTIFICATE_FACTS_H
#define SKERRY_SERVER_LISTENER_CERTIFICATE_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct x509_st;        /* BoringSSL's X509 */
struct asn1_string_st; /* and its ASN1_TIME */

/* Texts are valid UTF-8 without control characters, and end in "..." where they were cut. */
struct certificate_facts {
  char subject[256], issuer[256];    /* "CN=api.example.com,O=Example" */
  char names[1024];                  /* DNS names and addresses: "api.example.com, 192.0.2.1" */
  char key_type[16];                 /* "ECDSA P-256", "RSA 2048", "Ed25519" */
  char sha256[65];                   /* of the certificate, in hex */
  char key_sha256[45];               /* of the public key (SubjectPublicKeyInfo), in base64: what apps pin */
  int64_t not_before_s, not_after_s; /* Unix seconds */
  bool is_ca;
};

void certificate_facts_of(struct x509_st *x509, struct certificate_facts *ret);

/* The parts that others want alone. `size` is at least 5. */
void certificate_names(const struct x509_st *x509, char *out, size_t size);
void certificate_key_type(const struct x509_st *x509, char *out, size_t size);
/* One name of whom it was made for: the common name, else the first DNS name or e-mail address, else "". A
 * name with a NUL in it counts for nothing. */
void certificate_name(const struct x509_st *x509, char *out, size_t size);
/* Unix seconds; INT64_MIN if the time cannot be read. */
int64_t certificate_not_before_s(const struct x509_st *x509);
int64_t certificate_not_after_s(const struct x509_st *x509);

#endif
