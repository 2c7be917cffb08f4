/* Reads certificates and private keys from PEM files, with errors that name the file and say what to do.
 *
 * All functions block for the time of reading a file, may be called from any thread, and leave BoringSSL's
 * queue of errors empty. A file that cannot be used is FAILED_PRECONDITION. */
#ifndef SKERRY_SERVER_LISTENER_PEM_H
#define SKERRY_SERVER_LISTENER_PEM_H

#include <openssl/base.h>
#include <openssl/x509.h>

#include "base/status.h"

enum { PEM_FILE_BYTES_MAX = 1024 * 1024, PEM_CERTIFICATES_MAX = 1000 };

/* All certificates of the file in their order, at least one; whatever else is in it is skipped. Free with
 * sk_X509_pop_free(certificates, X509_free). */
STATUS_MUST_USE status pem_read_certificates(const char *file, STACK_OF(X509) * *ret);

/* The first private key of the file, which is not encrypted. Logs a warning if everybody may read the file.
 * Free with EVP_PKEY_free. */
STATUS_MUST_USE status pem_read_key(const char *file, EVP_PKEY **ret);

#endif
