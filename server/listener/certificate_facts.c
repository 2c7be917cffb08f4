#include "server/listener/certificate_facts.h"

#include <arpa/inet.h>
#include <openssl/base64.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "base/str.h"
#include "base/utf8.h"
#include "server/listener/certificate_time.h"

/* A certificate's text may hold anything; nothing of it may move a terminal's cursor. */
static void print_safely(str text, char *out, size_t size) {
  struct buf safe = {0};
  for (size_t i = 0; i < text.len; i++) {
    uint8_t byte = (uint8_t)text.ptr[i];
    buf_append_byte(&safe, byte < 0x20 || byte == 0x7f ? '?' : byte);
  }
  utf8_repair(safe.data == NULL ? "" : (const char *)safe.data, safe.len, safe.failed, out, size);
  buf_fini(&safe);
}

/* ---- Names ---- */

static str string_of(const ASN1_STRING *string) {
  return str_make(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

static void append_address(struct buf *out, str bytes) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (bytes.len == 4 || bytes.len == 16)
    inet_ntop(bytes.len == 4 ? AF_INET : AF_INET6, bytes.ptr, text, sizeof text);
  buf_append_str(out, str_from_cstr(text));
}

void certificate_names(const X509 *x509, char *out, size_t size) {
  struct buf text = {0};
  GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
  for (size_t i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_DNS && name->type != GEN_IPADD && name->type != GEN_EMAIL)
      continue;
    if (text.len > 0)
      buf_append_str(&text, STR(", "));
    if (name->type == GEN_IPADD)
      append_address(&text, string_of(name->d.iPAddress));
    else
      buf_append_str(&text, string_of(name->d.ia5));
  }
  print_safely(buf_str(&text), out, size);
  GENERAL_NAMES_free(names);
  buf_fini(&text);
  ERR_clear_error();
}

/* The last common name of the subject, as the most specific one, in UTF-8; to be freed with OPENSSL_free. */
static str common_name(const X509 *x509, unsigned char **ret_owned) {
  X509_NAME *subject = X509_get_subject_name(x509);
  int last = -1;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
    last = at;
  *ret_owned = NULL;
  if (last < 0)
    return (str){0};
  int len = ASN1_STRING_to_UTF8(ret_owned, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
  return len < 0 ? (str){0} : str_make(*ret_owned, (size_t)len);
}

/* "admin\0.example.com" must not pass for "admin". */
static bool is_usable(str name) {
  return name.len > 0 && memchr(name.ptr, '\0', name.len) == NULL;
}

void certificate_name(const X509 *x509, char *out, size_t size) {
  unsigned char *owned;
  str name = common_name(x509, &owned);
  GENERAL_NAMES *names = is_usable(name) ? NULL : X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
  for (size_t i = 0; names != NULL && !is_usable(name) && i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
    if (one->type == GEN_DNS || one->type == GEN_EMAIL)
      name = string_of(one->d.ia5);
  }
  print_safely(is_usable(name) ? name : STR(""), out, size);
  GENERAL_NAMES_free(names);
  OPENSSL_free(owned);
  ERR_clear_error();
}

static void print_name(const X509_NAME *name, char *out, size_t size) {
  const uint8_t *text = NULL;
  size_t len = 0;
  BIO *bio = BIO_new(BIO_s_mem());
  if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0 &&
      BIO_mem_contents(bio, &text, &len) == 0)
    len = 0;
  print_safely(str_make(text, len), out, size);
  BIO_free(bio);
}

/* ---- Keys, times, digests ---- */

void certificate_key_type(const X509 *x509, char *out, size_t size) {
  EVP_PKEY *key = X509_get_pubkey((X509 *)(uintptr_t)x509); /* it caches the key, under a lock of its own */
  int id = key == NULL ? EVP_PKEY_NONE : EVP_PKEY_id(key);
  if (id == EVP_PKEY_RSA) {
    snprintf(out, size, "RSA %d", EVP_PKEY_bits(key));
  } else if (id == EVP_PKEY_EC) {
    int curve = EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)));
    const char *name = EC_curve_nid2nist(curve);
    snprintf(out, size, "ECDSA %s", name == NULL ? "?" : name);
  } else {
    snprintf(out, size, "%s", id == EVP_PKEY_ED25519 ? "Ed25519" : "unknown");
  }
  EVP_PKEY_free(key);
  ERR_clear_error();
}

int64_t certificate_not_before_s(const X509 *x509) {
  return certificate_time_s(X509_get0_notBefore(x509));
}
int64_t certificate_not_after_s(const X509 *x509) {
  return certificate_time_s(X509_get0_notAfter(x509));
}

void certificate_facts_of(X509 *x509, struct certificate_facts *ret) {
  *ret = (struct certificate_facts){0};
  print_name(X509_get_subject_name(x509), ret->subject, sizeof ret->subject);
  print_name(X509_get_issuer_name(x509), ret->issuer, sizeof ret->issuer);
  certificate_names(x509, ret->names, sizeof ret->names);
  certificate_key_type(x509, ret->key_type, sizeof ret->key_type);
  uint8_t digest[SHA256_DIGEST_LENGTH];
  unsigned len;
  if (X509_digest(x509, EVP_sha256(), digest, &len))
    for (size_t i = 0; i < sizeof digest; i++)
      snprintf(ret->sha256 + 2 * i, 3, "%02x", digest[i]);
  uint8_t *key = NULL;
  int key_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &key);
  if (key_len > 0) {
    SHA256(key, (size_t)key_len, digest);
    EVP_EncodeBlock((uint8_t *)ret->key_sha256, digest, sizeof digest);
  }
  OPENSSL_free(key);
  ret->not_before_s = certificate_not_before_s(x509);
  ret->not_after_s = certificate_not_after_s(x509);
  ret->is_ca = X509_check_ca(x509) != 0;
  ERR_clear_error();
}
