/* Who may do what. Every handler asks before it touches data; there is no other way in. Until security rules
 * exist, one policy for the whole server decides; rules will be evaluated behind the same function. */
#ifndef SKERRY_SERVER_ACCESS_H
#define SKERRY_SERVER_ACCESS_H

#include "base/status.h"
#include "rpc/call.h"

enum access_mode {
  ACCESS_DENY, /* nobody: the default */
  ACCESS_MTLS, /* who shows a client certificate */
  ACCESS_OPEN, /* everybody, as the operator said in so many words */
};

enum access_operation { ACCESS_GET, ACCESS_LIST, ACCESS_CREATE, ACCESS_UPDATE, ACCESS_DELETE, ACCESS_ADMIN };

struct access_policy {
  enum access_mode mode;
  bool dev; /* emulator conventions: everybody is the owner */
};

/* OK, PERMISSION_DENIED, or UNAUTHENTICATED (mode mtls, and no certificate). `resource` is a full name. On
 * the write path of the SDKs a refusal that is the server's state rather than a verdict on this write (mode
 * deny: no rules yet) is UNAVAILABLE, because SDKs throw away what they queued when they are denied. */
STATUS_MUST_USE status access_check(const struct access_policy *policy, const struct rpc_call *call,
                                    enum access_operation operation, str resource);

#endif
