/* What the settings say of who may call, put together: issuers, service accounts, certificates, and
 * skerry-net where issuers' keys have to be fetched. */
#ifndef SKERRY_SERVER_SIGN_IN_H
#define SKERRY_SERVER_SIGN_IN_H

#include "ports/port.h"
#include "server/settings.h"
#include "server/tokens/tokens.h"

struct sign_in;

/* Files lie in DATA/tokens. INVALID_ARGUMENT with what is wrong in a setting; FAILED_PRECONDITION,
 * RESOURCE_EXHAUSTED. */
/* `own`: of this server's accounts, zeroed without any; outlives it. */
STATUS_MUST_USE status sign_in_open(const struct settings *settings, struct port *port,
                                    const struct tokens_own *own, struct sign_in **ret);
/* No call is under way. Ends at once, also while keys are being fetched. NULL is fine. */
void sign_in_close(struct sign_in *sign_in);

struct tokens *sign_in_tokens(const struct sign_in *sign_in);

#endif
