#include "server/listener/tls_choice.h"

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <string.h>

enum {
  ECDSA_KEYS = TLS_KEY_P256 | TLS_KEY_P384,
  ALL_KEYS = ECDSA_KEYS | TLS_KEY_RSA | TLS_KEY_ED25519,
  GROUP_P256 = 23,
  GROUP_P384 = 24,
};

/* TLS 1.3 ties a curve to each ECDSA algorithm and knows no PKCS #1; in 1.2 the number names the hash alone.
 */
static const struct algorithm {
  uint16_t number;
  unsigned keys_tls13, keys_tls12;
} algorithms[] = {
    {SSL_SIGN_ECDSA_SECP256R1_SHA256, TLS_KEY_P256, ECDSA_KEYS},
    {SSL_SIGN_ECDSA_SECP384R1_SHA384, TLS_KEY_P384, ECDSA_KEYS},
    {SSL_SIGN_ED25519, TLS_KEY_ED25519, TLS_KEY_ED25519},
    {SSL_SIGN_RSA_PSS_RSAE_SHA256, TLS_KEY_RSA, TLS_KEY_RSA},
    {SSL_SIGN_RSA_PSS_RSAE_SHA384, TLS_KEY_RSA, TLS_KEY_RSA},
    {SSL_SIGN_RSA_PSS_RSAE_SHA512, TLS_KEY_RSA, TLS_KEY_RSA},
    {SSL_SIGN_RSA_PKCS1_SHA256, 0, TLS_KEY_RSA},
    {SSL_SIGN_RSA_PKCS1_SHA384, 0, TLS_KEY_RSA},
    {SSL_SIGN_RSA_PKCS1_SHA512, 0, TLS_KEY_RSA},
};

/* The list of 16-bit numbers in an extension; false if it is not there or not well formed. */
static bool list_of(const SSL_CLIENT_HELLO *hello, uint16_t extension, bool short_length, CBS *ret) {
  const uint8_t *bytes;
  size_t len;
  if (!SSL_early_callback_ctx_extension_get(hello, extension, &bytes, &len))
    return false;
  CBS all;
  CBS_init(&all, bytes, len);
  return (short_length ? CBS_get_u8_length_prefixed(&all, ret) : CBS_get_u16_length_prefixed(&all, ret)) &&
         CBS_len(&all) == 0;
}

static bool list_holds(CBS list, uint16_t wanted) {
  uint16_t number;
  while (CBS_get_u16(&list, &number))
    if (number == wanted)
      return true;
  return false;
}

static bool speaks_tls13(const SSL_CLIENT_HELLO *hello) {
  CBS versions;
  return list_of(hello, TLSEXT_TYPE_supported_versions, true, &versions) &&
         list_holds(versions, TLS1_3_VERSION);
}

/* TLS 1.2's suites name the kind of key, and its groups are also the curves of certificates (RFC 8422). */
static unsigned keys_of_tls12(const SSL_CLIENT_HELLO *hello) {
  CBS suites, groups;
  CBS_init(&suites, hello->cipher_suites, hello->cipher_suites_len);
  unsigned keys = 0;
  if (list_holds(suites, 0xc02b) || list_holds(suites, 0xc02c) || list_holds(suites, 0xcca9))
    keys |= ECDSA_KEYS | TLS_KEY_ED25519; /* ECDHE-ECDSA with AES-128, AES-256, ChaCha20 */
  if (list_holds(suites, 0xc02f) || list_holds(suites, 0xc030) || list_holds(suites, 0xcca8))
    keys |= TLS_KEY_RSA; /* ECDHE-RSA likewise */
  if (list_of(hello, TLSEXT_TYPE_supported_groups, false, &groups)) {
    if (!list_holds(groups, GROUP_P256))
      keys &= ~(unsigned)TLS_KEY_P256;
    if (!list_holds(groups, GROUP_P384))
      keys &= ~(unsigned)TLS_KEY_P384;
  }
  return keys;
}

unsigned tls_choice_keys(const SSL_CLIENT_HELLO *hello) {
  CBS offered;
  if (!list_of(hello, TLSEXT_TYPE_signature_algorithms, false, &offered))
    return 0; /* SHA-1, if anything */
  bool tls13 = speaks_tls13(hello);
  unsigned keys = 0;
  for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
    if (list_holds(offered, algorithms[i].number))
      keys |= tls13 ? algorithms[i].keys_tls13 : algorithms[i].keys_tls12;
  return tls13 ? keys : keys & keys_of_tls12(hello);
}

bool tls_choice_fits(X509 *certificate, const char *name) {
  size_t len = name == NULL ? 0 : strlen(name);
  if (len > 0 && name[len - 1] == '.')
    len--; /* an absolute name: RFC 6066 wants it without, some send it */
  if (len == 0)
    return false;
  bool fits = X509_check_host(certificate, name, len, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1 ||
              X509_check_ip_asc(certificate, name, 0) == 1;
  ERR_clear_error();
  return fits;
}
