/* The setting `access`: what decides about callers for whom neither a role nor rules do. */
#ifndef SKERRY_SERVER_ACCESS_MODE_H
#define SKERRY_SERVER_ACCESS_MODE_H

enum access_mode {
  ACCESS_DENY, /* the default: nobody without a role or rules that say so */
  ACCESS_MTLS, /* who shows a client certificate, too */
  ACCESS_OPEN, /* everybody, as the operator said in so many words */
};

#endif
