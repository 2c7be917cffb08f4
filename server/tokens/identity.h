/* Who calls: what a token, a certificate or the lack of both says. Never changed after it is made, and
 * counted by references, so calls, streams and the cache of tokens share one. Any thread. */
#ifndef SKERRY_SERVER_TOKENS_IDENTITY_H
#define SKERRY_SERVER_TOKENS_IDENTITY_H

#include <stdatomic.h>

#include "base/str.h"

enum identity_kind {
  IDENTITY_SIGNED_OUT,      /* showed nothing */
  IDENTITY_USER,            /* of an issuer: rules decide, with uid and claims */
  IDENTITY_SERVICE_ACCOUNT, /* another service: its role decides, rules do not apply */
  IDENTITY_OWNER,           /* the emulator's "owner", in development only: may do everything */
};

/* What a service account may do. A user has none. */
enum identity_role {
  IDENTITY_ROLE_NONE,
  IDENTITY_ROLE_VIEWER, /* reads everything */
  IDENTITY_ROLE_EDITOR, /* reads and writes all documents */
  IDENTITY_ROLE_OWNER,  /* and whatever else services may be asked to do */
};
enum { IDENTITY_ROLES = 4 };
/* "viewer", ...; "none". */
const char *identity_role_name(enum identity_role role);
/* False: it is no name of a role that can be given (viewer, editor, owner). */
bool identity_role_parse(str name, enum identity_role *ret);

#define IDENTITY_NEVER_EXPIRES INT64_MAX

struct identity {
  enum identity_kind kind;
  enum identity_role role;
  str uid;     /* a user's `sub`; an account's e-mail address or a certificate's name; else empty */
  str issuer;  /* of the token; empty for others */
  str project; /* the only project that it counts for; empty: any that is served */
  /* Canonical bytes of a map<string, google.firestore.v1.Value> (storage/document/codec.h): all claims of the
   * token; empty without one. */
  str claims;
  int64_t expires_us; /* wall clock, the clock tolerance included */
  /* As they were when it was checked (generations.h): of keys and of the user. 0: it depends on neither, as
   * that of a certificate. */
  uint64_t generation;
  uint32_t generation_slot;
  _Atomic unsigned references; /* private */
};

/* A copy of what `facts` says, bytes included, with one reference. NULL: no memory. */
struct identity *identity_new(const struct identity *facts);
struct identity *identity_ref(struct identity *identity);
void identity_unref(struct identity *identity); /* NULL is fine */
/* Bytes of memory that it takes. */
size_t identity_size(const struct identity *identity);

#endif
