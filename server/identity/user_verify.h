/* Whether what the store has of accounts agrees: for `skerry verify`, and for tests. */
#ifndef SKERRY_SERVER_IDENTITY_USER_VERIFY_H
#define SKERRY_SERVER_IDENTITY_USER_VERIFY_H

#include "server/identity/user_store.h"

struct user_verification {
  uint64_t users, sessions, codes;
  uint64_t damages;
};

/* Walks over the keys of user_store.h as of now, in memory of a few records. Each account has to be found by
 * its address and its providers and has the sessions that it names; whatever an address, a provider, a
 * session or a code leads to has to lead back. An account may name codes that are used up, but no others may
 * be there. `report` (may be NULL) gets a text for each of the first USER_VERIFY_REPORTS damages; no secret
 * and no address is in it. Statuses of kv.h: it could not be read to the end. */
enum { USER_VERIFY_REPORTS = 1000 };
STATUS_MUST_USE status user_verify(struct kv_store *store, void (*report)(void *argument, str text),
                                   void *argument, struct user_verification *ret);

#endif
