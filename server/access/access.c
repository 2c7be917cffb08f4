#include "server/access/access.h"

static bool is_write(enum access_operation operation) {
  return operation == ACCESS_CREATE || operation == ACCESS_UPDATE || operation == ACCESS_DELETE;
}

status access_check(const struct access_policy *policy, const struct rpc_call *call,
                    enum access_operation operation, str resource) {
  (void)resource;
  if (policy->dev || policy->mode == ACCESS_OPEN)
    return status_ok();
  if (policy->mode == ACCESS_MTLS) {
    if (rpc_call_peer(call)->has_certificate)
      return status_ok();
    /* SDKs keep what they queued: the certificate can still be put in place. */
    return status_make(STATUS_UNAUTHENTICATED, "This server wants to see a client certificate.");
  }
  if (is_write(operation))
    return status_make(
        STATUS_UNAVAILABLE,
        "This server has no access rules yet, so it takes no writes. Its operator can set them.");
  return status_default(STATUS_PERMISSION_DENIED);
}
