/* Keys of service accounts: other programs that call with tokens that they sign themselves, as the libraries
 * of google-auth do. An account is a name in a project; each of its keys has a role and may expire. Only the
 * public half is here: DIRECTORY/service_accounts.json, replaced whole and synced (file.h) before a function
 * that changes it returns. Any thread; changes block for the time of the disk, others do not. */
#ifndef SKERRY_SERVER_TOKENS_ACCOUNTS_H
#define SKERRY_SERVER_TOKENS_ACCOUNTS_H

#include <stdatomic.h>

#include "base/crypto_key.h"
#include "base/status.h"
#include "server/tokens/identity.h"

enum {
  ACCOUNTS_KEYS_MAX = 1000,
  ACCOUNTS_NAME_BYTES_MAX = 30, /* as Google's */
  ACCOUNTS_PROJECT_BYTES_MAX = 64,
  ACCOUNTS_EMAIL_BYTES_MAX = 128,
  ACCOUNTS_KEY_ID_BYTES = 40, /* hex digits: the first 20 bytes of the key's fingerprint */
};
/* What follows NAME@PROJECT in an account's address. It says where it counts: on boxes, not at Google. */
#define ACCOUNTS_EMAIL_SUFFIX ".iam.skerry.local"

/* Never changed; counted by references. Texts end in NUL. */
struct account_key {
  char id[ACCOUNTS_KEY_ID_BYTES + 1];
  char name[ACCOUNTS_NAME_BYTES_MAX + 1];
  char project[ACCOUNTS_PROJECT_BYTES_MAX + 1];
  char email[ACCOUNTS_EMAIL_BYTES_MAX + 1];
  enum identity_role role;
  int64_t created_s;
  int64_t expires_s;      /* 0: never */
  struct crypto_key *key; /* RS256 */
  _Atomic unsigned references;
};
struct account_key *account_key_ref(struct account_key *key);
void account_key_unref(struct account_key *key); /* NULL is fine */

struct accounts;

/* Reads the file; there need not be one. FAILED_PRECONDITION: it is damaged (then nobody should come in by
 * accident, nor should the next change write over it); RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status accounts_open(const char *directory, struct accounts **ret);
void accounts_close(struct accounts *accounts); /* NULL is fine */

struct account_request {
  str name;    /* a-z, 0-9 and -, beginning with a letter */
  str project; /* a-z, 0-9, -, . and : */
  enum identity_role role;
  int64_t created_s, expires_s;
  str public_pem; /* SubjectPublicKeyInfo; RSA of 2048 to 4096 bits */
};
/* Durable when it returns; *ret with a reference for the caller. INVALID_ARGUMENT, ALREADY_EXISTS (that very
 * key is here), RESOURCE_EXHAUSTED (ACCOUNTS_KEYS_MAX, memory), UNAVAILABLE (the disk). */
STATUS_MUST_USE status accounts_create(struct accounts *accounts, const struct account_request *request,
                                       struct account_key **ret);
/* It is of no use from now on, also if the disk fails (UNAVAILABLE: it would be again after a restart).
 * NOT_FOUND. */
STATUS_MUST_USE status accounts_revoke(struct accounts *accounts, str key_id);

/* The key of that id, with a reference; NULL: none. */
struct account_key *accounts_find(struct accounts *accounts, str key_id);

/* All keys in the order of their making, each with a reference for the caller; *ret is freed with free().
 * RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status accounts_list(struct accounts *accounts, struct account_key ***ret, size_t *ret_count);

#endif
