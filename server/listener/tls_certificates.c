#include "server/listener/tls_certificates.h"

#include <assert.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "server/listener/certificate_facts.h"
#include "server/listener/pem.h"
#include "server/listener/tls_context.h"

enum { RSA_BITS_MIN = 2048 };

/* ---- A certificate and its key ---- */

/* 0: none that is served. */
static unsigned kind_of(const EVP_PKEY *key) {
  switch (EVP_PKEY_id(key)) {
  case EVP_PKEY_EC:
    switch (EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)))) {
    case NID_X9_62_prime256v1:
      return TLS_KEY_P256;
    case NID_secp384r1:
      return TLS_KEY_P384;
    default:
      return 0;
    }
  case EVP_PKEY_RSA:
    return EVP_PKEY_bits(key) >= RSA_BITS_MIN ? TLS_KEY_RSA : 0;
  case EVP_PKEY_ED25519:
    return TLS_KEY_ED25519;
  default:
    return 0;
  }
}

static status not_served(const char *file, const X509 *x509) {
  char type[16];
  certificate_key_type(x509, type, sizeof type);
  return status_make(STATUS_FAILED_PRECONDITION,
                     "the key of %s is %s, which is not served: get a certificate for an ECDSA (P-256, "
                     "P-384), RSA (at least %d bits) or Ed25519 key",
                     file, type, RSA_BITS_MIN);
}

/* A wrong order of the chain fails at clients only, and not at all of them: hard to find. */
static status check_chain(const char *file, STACK_OF(X509) * chain) {
  for (size_t i = 1; i < sk_X509_num(chain); i++)
    if (X509_check_issued(sk_X509_value(chain, i), sk_X509_value(chain, i - 1)) != X509_V_OK)
      return status_make(STATUS_FAILED_PRECONDITION,
                         "certificate number %zu of %s did not sign the one before it: put the server's "
                         "certificate first, then the one that signed it, and so on",
                         i + 1, file);
  return status_ok();
}

/* In all that we speak the server signs; certificates for RSA key exchange alone are of no use. */
static status check_purpose(const char *file, X509 *x509) {
  if (X509_check_purpose(x509, X509_PURPOSE_SSL_SERVER, 0) == 1 &&
      (X509_get_key_usage(x509) & KU_DIGITAL_SIGNATURE) != 0)
    return status_ok();
  return status_make(
      STATUS_FAILED_PRECONDITION,
      "the first certificate in %s is not for servers that sign, so clients would refuse it: get "
      "one with extendedKeyUsage serverAuth and keyUsage digitalSignature, or without either",
      file);
}

static status make_certificate(const struct tls_context_options *context, const char *file,
                               const char *key_file, STACK_OF(X509) * chain, EVP_PKEY *key,
                               struct tls_certificate *ret) {
  X509 *x509 = sk_X509_value(chain, 0);
  EVP_PKEY *public_key = X509_get_pubkey(x509);
  bool known = public_key != NULL, same = known && EVP_PKEY_cmp(public_key, key) == 1;
  EVP_PKEY_free(public_key);
  unsigned kind = known ? kind_of(key) : 0;
  if (!known || (same && kind == 0))
    return not_served(file, x509);
  if (!same)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "the key in %s does not belong to the first certificate in %s: name the key that the "
                       "certificate was made for, and put the server's certificate first",
                       key_file, file);
  STATUS_TRY(check_chain(file, chain));
  STATUS_TRY(check_purpose(file, x509));
  SSL_CTX *made = tls_context_new(context, chain, key);
  if (made == NULL)
    return status_make(STATUS_FAILED_PRECONDITION, "%s and its key cannot be used for TLS by BoringSSL",
                       file);
  X509_up_ref(x509);
  *ret = (struct tls_certificate){made, x509, (enum tls_key)kind};
  return status_ok();
}

static status load_certificate(const struct tls_context_options *context, const char *file,
                               const char *key_file, struct tls_certificate *ret) {
  STACK_OF(X509) * chain;
  STATUS_TRY(pem_read_certificates(file, &chain));
  EVP_PKEY *key = NULL;
  status result = pem_read_key(key_file, &key);
  if (status_is_ok(&result))
    result = make_certificate(context, file, key_file, chain, key, ret);
  EVP_PKEY_free(key);
  sk_X509_pop_free(chain, X509_free);
  ERR_clear_error();
  return result;
}

/* ---- The CA of clients ---- */

static status fill_store(const char *file, const STACK_OF(X509) * cas, X509_STORE *store,
                         int64_t *ret_not_after_s) {
  *ret_not_after_s = INT64_MAX;
  for (size_t i = 0; i < sk_X509_num(cas); i++) {
    X509 *ca = sk_X509_value(cas, i);
    if (X509_check_ca(ca) == 0)
      return status_make(STATUS_FAILED_PRECONDITION,
                         "certificate number %zu of %s is not a CA's: name the certificate that signed those "
                         "of the clients",
                         i + 1, file);
    if (!X509_STORE_add_cert(store, ca))
      return status_make(STATUS_RESOURCE_EXHAUSTED, "no memory for the certificates of %s", file);
    if (certificate_not_after_s(ca) < *ret_not_after_s)
      *ret_not_after_s = certificate_not_after_s(ca);
  }
  /* What the operator names is trusted, be it a root or not. */
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  return status_ok();
}

/* Whoever was verified under one CA and mode shall not come in by a ticket under another. */
static void set_session_context(struct tls_context_options *context) {
  SHA256_CTX sum;
  SHA256_Init(&sum);
  uint8_t mode = (uint8_t)context->client_certificates;
  SHA256_Update(&sum, &mode, 1);
  for (size_t i = 0; context->client_names != NULL && i < sk_X509_num(context->client_names); i++) {
    uint8_t digest[SHA256_DIGEST_LENGTH] = {0};
    X509_digest(sk_X509_value(context->client_names, i), EVP_sha256(), digest, NULL);
    SHA256_Update(&sum, digest, sizeof digest);
  }
  static_assert(sizeof context->session_context == SHA256_DIGEST_LENGTH, "a digest fits");
  SHA256_Final(context->session_context, &sum);
}

/* ---- The set ---- */

static struct tls_certificates *new_set(const struct tls_options *options, struct tls_tickets *tickets) {
  struct tls_certificates *set = calloc(1, sizeof *set + options->count * sizeof set->all[0]);
  if (set == NULL)
    return NULL;
  atomic_init(&set->references, 1);
  set->port = options->port;
  tls_tickets_ref(tickets);
  set->tickets = tickets;
  set->client_ca_not_after_s = INT64_MAX;
  return set;
}

static status load_all(const struct tls_options *options, struct tls_context_options *context,
                       struct tls_certificates *set) {
  if (context->client_names != NULL)
    STATUS_TRY(fill_store(options->client_ca_file, context->client_names, context->client_cas,
                          &set->client_ca_not_after_s));
  set_session_context(context);
  for (size_t i = 0; i < options->count; i++) {
    STATUS_TRY(load_certificate(context, options->certificate_files[i], options->key_files[i], &set->all[i]));
    set->count++;
  }
  return status_ok();
}

status tls_certificates_load(const struct tls_options *options, struct tls_tickets *tickets,
                             struct tls_certificates **ret) {
  STACK_OF(X509) *cas = NULL;
  if (options->client_certificates != TLS_CLIENT_NONE)
    STATUS_TRY(pem_read_certificates(options->client_ca_file, &cas));
  struct tls_context_options context = {.client_certificates = options->client_certificates,
                                        .client_cas = X509_STORE_new(),
                                        .client_names = cas};
  struct tls_certificates *set = new_set(options, tickets);
  status result = set == NULL || context.client_cas == NULL
                      ? status_make(STATUS_RESOURCE_EXHAUSTED, "no memory for certificates")
                      : load_all(options, &context, set);
  X509_STORE_free(context.client_cas);
  sk_X509_pop_free(cas, X509_free);
  ERR_clear_error();
  if (status_is_ok(&result))
    *ret = set;
  else
    tls_certificates_unref(set);
  return result;
}

void tls_certificates_ref(struct tls_certificates *set) {
  unsigned before = atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
  assert(before > 0);
}

void tls_certificates_unref(struct tls_certificates *set) {
  if (set == NULL || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) > 1)
    return;
  for (size_t i = 0; i < set->count; i++) {
    SSL_CTX_free(set->all[i].context);
    X509_free(set->all[i].x509);
  }
  tls_tickets_unref(set->tickets);
  free(set);
}

const struct tls_certificate *tls_certificates_choose(const struct tls_certificates *set, unsigned keys,
                                                      const char *name) {
  const struct tls_certificate *checkable = NULL;
  for (size_t i = 0; i < set->count; i++) {
    const struct tls_certificate *one = &set->all[i];
    if ((one->key & keys) == 0)
      continue;
    if (tls_choice_fits(one->x509, name))
      return one;
    if (checkable == NULL)
      checkable = one;
  }
  return checkable != NULL ? checkable : &set->all[0];
}
