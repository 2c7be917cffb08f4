/* What was last fetched of an issuer, on disk: DIRECTORY/issuer-HASH.json, an object with the issuer's URL,
 * the URL of its keys, the time of the fetch, and the document as it came. For issuers.c. */
#ifndef SKERRY_SERVER_TOKENS_ISSUER_FILE_H
#define SKERRY_SERVER_TOKENS_ISSUER_FILE_H

#include "base/status.h"
#include "base/str.h"

struct issuer_file {
  struct buf keys_url; /* owned, without NUL */
  struct buf document;
  int64_t fetched_us; /* wall clock */
};
void issuer_file_fini(struct issuer_file *file);

/* NOT_FOUND: there is none; FAILED_PRECONDITION: it is damaged or another's; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status issuer_file_read(const char *directory, str issuer, struct issuer_file *ret);
/* Atomic (file.h). */
STATUS_MUST_USE status issuer_file_write(const char *directory, str issuer, const struct issuer_file *file);

#endif
