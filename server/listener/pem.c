#include "server/listener/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

/* A key may be among the bytes, so they do not stay in freed memory; capacity is fixed for that reason. */
static void forget(struct buf *bytes) {
  if (bytes->data != NULL)
    OPENSSL_cleanse(bytes->data, bytes->capacity);
  buf_fini(bytes);
}

static status cannot_read(const char *file, int error) {
  if (error == ENOENT)
    return status_make(STATUS_FAILED_PRECONDITION, "there is no file %s: check the path", file);
  return status_make(STATUS_FAILED_PRECONDITION,
                     "cannot read %s: %s: check the path and whom the file belongs to", file,
                     strerror(error));
}

static status read_descriptor(const char *file, int fd, struct buf *ret, mode_t *ret_mode) {
  struct stat facts;
  if (fstat(fd, &facts) != 0)
    return cannot_read(file, errno);
  if (!S_ISREG(facts.st_mode))
    return status_make(STATUS_FAILED_PRECONDITION, "%s is not a file: name the PEM file itself", file);
  if (facts.st_size > PEM_FILE_BYTES_MAX)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "%s is longer than %d bytes: it is not a PEM file of certificates or keys", file,
                       PEM_FILE_BYTES_MAX);
  if (!buf_reserve(ret, PEM_FILE_BYTES_MAX))
    return status_make(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", file);
  while (ret->len < PEM_FILE_BYTES_MAX) {
    ssize_t got = read(fd, ret->data + ret->len, PEM_FILE_BYTES_MAX - ret->len);
    if (got == 0)
      break;
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return cannot_read(file, errno);
    ret->len += (size_t)got;
  }
  *ret_mode = facts.st_mode;
  return status_ok();
}

/* `ret` is zeroed memory and to be forgotten in any case. */
static status read_file(const char *file, struct buf *ret, mode_t *ret_mode) {
  int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us */
  if (fd < 0)
    return cannot_read(file, errno);
  status result = read_descriptor(file, fd, ret, ret_mode);
  close(fd);
  return result;
}

static bool holds(const struct buf *bytes, const char *text) {
  return bytes->len > 0 && memmem(bytes->data, bytes->len, text, strlen(text)) != NULL;
}

static bool is_end_of_pem(void) {
  uint32_t error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

/* ---- Certificates ---- */

static status no_certificate(const char *file, const struct buf *bytes) {
  if (holds(bytes, "PRIVATE KEY-----"))
    return status_make(STATUS_FAILED_PRECONDITION,
                       "%s holds a private key and no certificate: name the certificate's file", file);
  if (holds(bytes, "CERTIFICATE REQUEST-----"))
    return status_make(STATUS_FAILED_PRECONDITION,
                       "%s is a request for a certificate: name the certificate that the CA made of it",
                       file);
  if (bytes->len > 0 && bytes->data[0] == 0x30) /* an ASN.1 SEQUENCE */
    return status_make(STATUS_FAILED_PRECONDITION,
                       "%s is not PEM but looks like DER: convert it with "
                       "`openssl x509 -inform der -in FILE -out NEW`",
                       file);
  return status_make(STATUS_FAILED_PRECONDITION,
                     "%s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----): name another file",
                     file);
}

static status parse_certificates(const char *file, const struct buf *bytes, STACK_OF(X509) * into) {
  BIO *bio = BIO_new_mem_buf(bytes->data, (int)bytes->len);
  if (bio == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", file);
  status result = status_ok();
  while (status_is_ok(&result)) {
    X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (x509 == NULL) {
      if (!is_end_of_pem())
        result = status_make(STATUS_FAILED_PRECONDITION,
                             "certificate number %zu of %s is damaged: copy the file again",
                             sk_X509_num(into) + 1, file);
      break;
    }
    if (sk_X509_num(into) >= PEM_CERTIFICATES_MAX || sk_X509_push(into, x509) == 0) {
      X509_free(x509);
      result = status_make(STATUS_FAILED_PRECONDITION, "%s holds more than %d certificates: leave some out",
                           file, PEM_CERTIFICATES_MAX);
    }
  }
  BIO_free(bio);
  if (status_is_ok(&result) && sk_X509_num(into) == 0)
    result = no_certificate(file, bytes);
  return result;
}

status pem_read_certificates(const char *file, STACK_OF(X509) * *ret) {
  ERR_clear_error();
  struct buf bytes = {0};
  mode_t mode;
  status result = read_file(file, &bytes, &mode);
  STACK_OF(X509) *certificates = sk_X509_new_null();
  if (status_is_ok(&result))
    result = certificates == NULL ? status_make(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", file)
                                  : parse_certificates(file, &bytes, certificates);
  if (status_is_ok(&result))
    *ret = certificates;
  else
    sk_X509_pop_free(certificates, X509_free);
  forget(&bytes);
  ERR_clear_error();
  return result;
}

/* ---- Keys ---- */

/* Without it BoringSSL would ask the terminal. */
static int no_password(char *out, int size, int writing, void *argument) {
  (void)out;
  (void)size;
  (void)writing;
  (void)argument;
  return 0;
}

static status no_key(const char *file, const struct buf *bytes) {
  if (holds(bytes, "BEGIN ENCRYPTED PRIVATE KEY-----") || holds(bytes, "Proc-Type: 4,ENCRYPTED"))
    return status_make(STATUS_FAILED_PRECONDITION,
                       "the key in %s is encrypted, and nobody is there to type the password when the server "
                       "starts: decrypt it with `openssl pkey -in FILE -out NEW` and protect the new file by "
                       "its mode (chmod 600)",
                       file);
  if (holds(bytes, "PRIVATE KEY-----"))
    return status_make(STATUS_FAILED_PRECONDITION,
                       "the key in %s is damaged or of a kind that is not served: use an ECDSA (P-256, "
                       "P-384), RSA or Ed25519 key",
                       file);
  return status_make(STATUS_FAILED_PRECONDITION,
                     "%s holds no private key in PEM form (-----BEGIN PRIVATE KEY-----): name the key's file",
                     file);
}

status pem_read_key(const char *file, EVP_PKEY **ret) {
  ERR_clear_error();
  struct buf bytes = {0};
  mode_t mode = 0;
  status result = read_file(file, &bytes, &mode);
  EVP_PKEY *key = NULL;
  if (status_is_ok(&result)) {
    BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.len);
    if (bio != NULL)
      key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (key == NULL)
      result = no_key(file, &bytes);
  }
  if (status_is_ok(&result)) {
    if ((mode & (S_IROTH | S_IWOTH)) != 0)
      log_event(LOG_LEVEL_WARN, "everybody on this machine may read a private key: chmod o= the file",
                LOG_CSTR("file", file));
    *ret = key;
  }
  forget(&bytes);
  ERR_clear_error();
  return result;
}
