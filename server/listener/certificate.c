#include "server/listener/certificate.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/str.h"
#include "server/listener/certificate_time.h"
#include "server/listener/pem.h"

enum {
  SERIAL_BYTES = 16,
  BACKDATE_S = 3600,          /* for clocks that are a little behind */
  COMMON_NAME_BYTES_MAX = 64, /* RFC 5280: ub-common-name */
  DNS_NAME_BYTES_MAX = 253,
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "no memory to make a certificate");
}

static struct port *port_or_default(struct port *port) {
  return port == NULL ? port_linux() : port;
}

/* ---- Files ---- */

static status cannot_write(const char *file, int error) {
  if (error == EEXIST)
    return status_make(STATUS_ALREADY_EXISTS,
                       "%s is there already: move it away first, or choose another name", file);
  return status_make(STATUS_FAILED_PRECONDITION, "cannot write %s: %s", file, strerror(error));
}

/* 0 or an errno. */
static int write_all(int fd, str bytes, mode_t mode) {
  while (bytes.len > 0) {
    ssize_t written = write(fd, bytes.ptr, bytes.len);
    if (written < 0 && errno != EINTR)
      return errno;
    if (written > 0)
      bytes = str_from(bytes, (size_t)written);
  }
  return fchmod(fd, mode) != 0 || fsync(fd) != 0 ? errno : 0;
}

/* A name that is given by link(2) is given once; where the file system has no links, rename does it. */
static int give_name(const char *temporary, const char *file) {
  if (link(temporary, file) == 0)
    return unlink(temporary) == 0 ? 0 : errno;
  if (errno == EEXIST)
    return errno;
  return renameat2(AT_FDCWD, temporary, AT_FDCWD, file, RENAME_NOREPLACE) == 0 ? 0 : errno;
}

static status write_new(const char *file, BIO *content, mode_t mode) {
  const uint8_t *bytes;
  size_t len;
  struct buf temporary = {0};
  buf_printf(&temporary, "%s.XXXXXX", file);
  if (temporary.failed || !BIO_mem_contents(content, &bytes, &len)) {
    buf_fini(&temporary);
    return no_memory();
  }
  buf_append_byte(&temporary, '\0');
  char *name = (char *)temporary.data;
  int fd = temporary.failed ? -1 : mkostemp(name, O_CLOEXEC); /* O_EXCL, mode 0600 */
  int error = fd < 0 ? errno : write_all(fd, str_make(bytes, len), mode);
  if (fd >= 0 && close(fd) != 0 && error == 0)
    error = errno;
  if (error == 0)
    error = give_name(name, file);
  if (error != 0 && fd >= 0)
    unlink(name);
  buf_fini(&temporary);
  return error == 0 ? status_ok() : cannot_write(file, error);
}

static status check_absent(struct certificate_files to) {
  struct stat facts;
  if (lstat(to.certificate, &facts) == 0)
    return cannot_write(to.certificate, EEXIST);
  if (lstat(to.key, &facts) == 0)
    return cannot_write(to.key, EEXIST);
  return status_ok();
}

static status write_pair(X509 *x509, EVP_PKEY *key, struct certificate_files to) {
  BIO *certificate_text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_mem());
  status result = no_memory();
  if (certificate_text != NULL && key_text != NULL && PEM_write_bio_X509(certificate_text, x509) &&
      PEM_write_bio_PKCS8PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL)) {
    result = write_new(to.key, key_text, 0600);
    if (status_is_ok(&result)) {
      result = write_new(to.certificate, certificate_text, 0644);
      if (!status_is_ok(&result))
        unlink(to.key); /* ours of a moment ago */
    }
  }
  BIO_free(certificate_text);
  BIO_free(key_text);
  return result;
}

/* ---- Parts of a certificate ---- */

static EVP_PKEY *new_key(void) {
  EVP_PKEY *key = EVP_PKEY_new();
  EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
  if (key != NULL && ec != NULL && EC_KEY_generate_key(ec) && EVP_PKEY_set1_EC_KEY(key, ec)) {
    EC_KEY_free(ec);
    return key;
  }
  EC_KEY_free(ec);
  EVP_PKEY_free(key);
  return NULL;
}

static bool set_serial(X509 *x509) {
  uint8_t bytes[SERIAL_BYTES];
  crypto_random(bytes, sizeof bytes);
  BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
  ASN1_INTEGER *serial = number == NULL ? NULL : BN_to_ASN1_INTEGER(number, NULL);
  bool done = serial != NULL && X509_set_serialNumber(x509, serial);
  ASN1_INTEGER_free(serial);
  BN_free(number);
  return done;
}

static bool set_subject(X509 *x509, const char *name) {
  return X509_NAME_add_entry_by_NID(X509_get_subject_name(x509), NID_commonName, MBSTRING_UTF8,
                                    (const uint8_t *)name, (int)strlen(name), -1, 0) == 1;
}

static bool set_times(X509 *x509, struct port *port, unsigned days) {
  int64_t now_s = port->wall_us(port) / 1000000;
  return certificate_time_set(X509_getm_notBefore(x509), now_s - BACKDATE_S) &&
         certificate_time_set(X509_getm_notAfter(x509), now_s + (int64_t)days * 86400);
}

static bool add_basic_constraints(X509 *x509, bool is_ca) {
  BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
  if (constraints == NULL)
    return false;
  constraints->ca = is_ca ? 0xff : 0;
  bool done = true;
  if (is_ca) /* it signs certificates of servers and clients, not of other CAs */
    done = (constraints->pathlen = ASN1_INTEGER_new()) != NULL && ASN1_INTEGER_set(constraints->pathlen, 0);
  done = done && X509_add1_ext_i2d(x509, NID_basic_constraints, constraints, 1, X509V3_ADD_DEFAULT) == 1;
  BASIC_CONSTRAINTS_free(constraints);
  return done;
}

/* `first` and `second` are numbers of bits in RFC 5280, section 4.2.1.3. */
static bool add_key_usage(X509 *x509, int first, int second) {
  ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
  bool done = usage != NULL && ASN1_BIT_STRING_set_bit(usage, first, 1) &&
              ASN1_BIT_STRING_set_bit(usage, second, 1) &&
              X509_add1_ext_i2d(x509, NID_key_usage, usage, 1, X509V3_ADD_DEFAULT) == 1;
  ASN1_BIT_STRING_free(usage);
  return done;
}

static bool add_extended_key_usage(X509 *x509, int purpose) {
  EXTENDED_KEY_USAGE *usage = EXTENDED_KEY_USAGE_new();
  bool done = usage != NULL && sk_ASN1_OBJECT_push(usage, OBJ_nid2obj(purpose)) != 0 &&
              X509_add1_ext_i2d(x509, NID_ext_key_usage, usage, 0, X509V3_ADD_DEFAULT) == 1;
  EXTENDED_KEY_USAGE_free(usage); /* objects of the table are not freed by it */
  return done;
}

/* RFC 5280, section 4.2.1.2, the first method: the SHA-1 of the public key's bits. An identifier only. */
static bool add_subject_key_id(X509 *x509) {
  uint8_t digest[SHA_DIGEST_LENGTH];
  const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(x509);
  ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
  SHA1(ASN1_STRING_get0_data(bits), (size_t)ASN1_STRING_length(bits), digest);
  bool done = id != NULL && ASN1_OCTET_STRING_set(id, digest, sizeof digest) &&
              X509_add1_ext_i2d(x509, NID_subject_key_identifier, id, 0, X509V3_ADD_DEFAULT) == 1;
  ASN1_OCTET_STRING_free(id);
  return done;
}

static bool add_authority_key_id(X509 *x509, X509 *ca) {
  const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(ca);
  if (id == NULL)
    return true; /* a CA made elsewhere may have none */
  AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
  bool done = authority != NULL && (authority->keyid = ASN1_OCTET_STRING_dup(id)) != NULL &&
              X509_add1_ext_i2d(x509, NID_authority_key_identifier, authority, 0, X509V3_ADD_DEFAULT) == 1;
  AUTHORITY_KEYID_free(authority);
  return done;
}

static size_t address_of(const char *name, uint8_t out[16]) {
  if (inet_pton(AF_INET, name, out) == 1)
    return 4;
  return inet_pton(AF_INET6, name, out) == 1 ? 16 : 0;
}

static bool add_name(GENERAL_NAMES *names, const char *name) {
  uint8_t address[16];
  size_t len = address_of(name, address);
  GENERAL_NAME *one = GENERAL_NAME_new();
  ASN1_STRING *text = ASN1_STRING_type_new(len > 0 ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
  if (one == NULL || text == NULL ||
      !ASN1_STRING_set(text, len > 0 ? (const void *)address : name, (int)(len > 0 ? len : strlen(name)))) {
    GENERAL_NAME_free(one);
    ASN1_STRING_free(text);
    return false;
  }
  GENERAL_NAME_set0_value(one, len > 0 ? GEN_IPADD : GEN_DNS, text);
  if (sk_GENERAL_NAME_push(names, one) != 0)
    return true;
  GENERAL_NAME_free(one);
  return false;
}

static bool add_names(X509 *x509, const struct certificate_request *request) {
  GENERAL_NAMES *names = GENERAL_NAMES_new();
  bool done = names != NULL;
  for (size_t i = 0; done && i < request->name_count; i++)
    done = add_name(names, request->names[i]);
  done = done && X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
  GENERAL_NAMES_free(names);
  return done;
}

/* ---- A CA ---- */

enum { BIT_DIGITAL_SIGNATURE = 0, BIT_CERTIFICATES = 5, BIT_REVOCATIONS = 6 };

/* Two CAs with one name would be mixed up by whoever has to trust both. */
static void name_ca(char *out, size_t size) {
  uint8_t random[4];
  crypto_random(random, sizeof random);
  snprintf(out, size, "Skerry CA %02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
}

static bool make_ca(struct port *port, X509 *x509, EVP_PKEY *key) {
  char name[COMMON_NAME_BYTES_MAX];
  name_ca(name, sizeof name);
  return X509_set_version(x509, X509_VERSION_3) && set_serial(x509) && set_subject(x509, name) &&
         X509_set_issuer_name(x509, X509_get_subject_name(x509)) &&
         set_times(x509, port, CERTIFICATE_CA_DAYS) && X509_set_pubkey(x509, key) &&
         add_basic_constraints(x509, true) && add_key_usage(x509, BIT_CERTIFICATES, BIT_REVOCATIONS) &&
         add_subject_key_id(x509) && X509_sign(x509, key, EVP_sha256()) > 0;
}

status certificate_make_ca(struct port *port, struct certificate_files to) {
  STATUS_TRY(check_absent(to));
  EVP_PKEY *key = new_key();
  X509 *x509 = X509_new();
  status result = no_memory();
  if (key != NULL && x509 != NULL && make_ca(port_or_default(port), x509, key))
    result = write_pair(x509, key, to);
  X509_free(x509);
  EVP_PKEY_free(key);
  ERR_clear_error();
  return result;
}

/* ---- A certificate under it ---- */

struct ca {
  X509 *x509;
  EVP_PKEY *key;
};

static void close_ca(struct ca *ca) {
  X509_free(ca->x509);
  EVP_PKEY_free(ca->key);
}

static status check_ca(const struct ca *ca, struct certificate_files files, struct port *port) {
  EVP_PKEY *public_key = X509_get_pubkey(ca->x509);
  bool same = public_key != NULL && EVP_PKEY_cmp(public_key, ca->key) == 1;
  EVP_PKEY_free(public_key);
  if (!same)
    return status_make(
        STATUS_FAILED_PRECONDITION,
        "the key in %s does not belong to the CA's certificate in %s: find the right one, or move "
        "both away to begin anew",
        files.key, files.certificate);
  if (X509_check_ca(ca->x509) == 0)
    return status_make(STATUS_FAILED_PRECONDITION, "%s is not a CA's certificate and cannot sign others",
                       files.certificate);
  if (certificate_not_after_s(ca->x509) <= port->wall_us(port) / 1000000)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "the CA in %s has expired: move it and its key away, then make a new one and have its "
                       "clients trust that",
                       files.certificate);
  return status_ok();
}

/* `ret` is zeroed and to be closed in any case. */
static status open_ca(struct certificate_files files, struct port *port, struct ca *ret) {
  STACK_OF(X509) * chain;
  STATUS_TRY(pem_read_certificates(files.certificate, &chain));
  ret->x509 = sk_X509_shift(chain);
  sk_X509_pop_free(chain, X509_free);
  STATUS_TRY(pem_read_key(files.key, &ret->key));
  return check_ca(ret, files, port);
}

static bool is_dns_name(const char *name) {
  size_t len = strlen(name), label = 0;
  bool has_letter = false; /* in the last label: without one it is an address that is mistyped */
  if (strncmp(name, "*.", 2) == 0)
    name += 2;
  for (const char *at = name; *at != '\0'; at++) {
    bool dot = *at == '.', letter = isalpha((unsigned char)*at) != 0;
    if (!dot && !letter && !isdigit((unsigned char)*at) && *at != '-' && *at != '_')
      return false;
    if (dot && (label == 0 || label > 63))
      return false;
    label = dot ? 0 : label + 1;
    has_letter = !dot && (has_letter || letter);
  }
  return len <= DNS_NAME_BYTES_MAX && label > 0 && label <= 63 && has_letter;
}

bool certificate_is_name(const char *name) {
  uint8_t address[16];
  return address_of(name, address) > 0 || is_dns_name(name);
}

static status check_request(const struct certificate_request *request) {
  if (request->days > CERTIFICATE_DAYS_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "a certificate is good for 1 to %d days",
                       CERTIFICATE_DAYS_MAX);
  if (request->name_count == 0 || request->name_count > CERTIFICATE_NAMES_MAX ||
      (request->is_client && request->name_count > 1))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "a server's certificate needs 1 to %d names, a client's needs one",
                       CERTIFICATE_NAMES_MAX);
  for (size_t i = 0; i < request->name_count; i++) {
    const char *name = request->names[i];
    if (request->is_client && (*name == '\0' || strlen(name) > COMMON_NAME_BYTES_MAX))
      return status_make(STATUS_INVALID_ARGUMENT, "a client's name has 1 to %d bytes", COMMON_NAME_BYTES_MAX);
    if (!request->is_client && !certificate_is_name(name))
      return status_make(STATUS_INVALID_ARGUMENT,
                         "\"%s\" is neither a DNS name nor an IP address: write names such as "
                         "api.example.com, *.example.com or 192.0.2.1 (those with other letters as xn--...)",
                         name);
  }
  return status_ok();
}

/* It is only told where the CA's chain is not checked any more: it must not outlive the CA. */
static bool end_with(X509 *x509, const X509 *ca) {
  return certificate_not_after_s(x509) <= certificate_not_after_s(ca) ||
         X509_set1_notAfter(x509, X509_get0_notAfter(ca));
}

static const EVP_MD *digest_for(const EVP_PKEY *key) {
  return EVP_PKEY_id(key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
}

static bool fill_in(const struct certificate_request *request, const struct ca *ca, EVP_PKEY *key,
                    X509 *x509) {
  unsigned days = request->days == 0 ? CERTIFICATE_DAYS : request->days;
  const char *name = strlen(request->names[0]) <= COMMON_NAME_BYTES_MAX ? request->names[0] : "skerry";
  return X509_set_version(x509, X509_VERSION_3) && set_serial(x509) && set_subject(x509, name) &&
         X509_set_issuer_name(x509, X509_get_subject_name(ca->x509)) &&
         set_times(x509, port_or_default(request->port), days) && end_with(x509, ca->x509) &&
         X509_set_pubkey(x509, key) && add_basic_constraints(x509, false) &&
         add_key_usage(x509, BIT_DIGITAL_SIGNATURE, BIT_DIGITAL_SIGNATURE) &&
         add_extended_key_usage(x509, request->is_client ? NID_client_auth : NID_server_auth) &&
         add_subject_key_id(x509) && add_authority_key_id(x509, ca->x509) &&
         (request->is_client || add_names(x509, request)) &&
         X509_sign(x509, ca->key, digest_for(ca->key)) > 0;
}

status certificate_make(const struct certificate_request *request, struct certificate_files ca_files,
                        struct certificate_files to) {
  STATUS_TRY(check_request(request));
  STATUS_TRY(check_absent(to));
  struct ca ca = {0};
  EVP_PKEY *key = NULL;
  X509 *x509 = NULL;
  status result = open_ca(ca_files, port_or_default(request->port), &ca);
  if (!status_is_ok(&result))
    goto out;
  key = new_key();
  x509 = X509_new();
  if (key == NULL || x509 == NULL)
    result = no_memory();
  else if (!fill_in(request, &ca, key, x509))
    result = status_make(STATUS_INVALID_ARGUMENT,
                         "BoringSSL cannot make this certificate: are the names plain text?");
  else
    result = write_pair(x509, key, to);
out:
  X509_free(x509);
  EVP_PKEY_free(key);
  close_ca(&ca);
  ERR_clear_error();
  return result;
}

/* ---- Reading ---- */

status certificate_read(const char *file, struct certificate_facts **ret, size_t *ret_count) {
  STACK_OF(X509) * certificates;
  STATUS_TRY(pem_read_certificates(file, &certificates));
  size_t count = sk_X509_num(certificates);
  struct certificate_facts *facts = calloc(count, sizeof *facts);
  for (size_t i = 0; facts != NULL && i < count; i++)
    certificate_facts_of(sk_X509_value(certificates, i), &facts[i]);
  sk_X509_pop_free(certificates, X509_free);
  if (facts == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", file);
  *ret = facts;
  *ret_count = count;
  return status_ok();
}
