/* Which of several URLs of google.firestore.v1's bindings a path can be: "documents/rooms/lobby" is a
 * document by the one and a collection under a document by the other. */
#ifndef SKERRY_SERVER_FIRESTORE_REST_NAMES_H
#define SKERRY_SERVER_FIRESTORE_REST_NAMES_H

#include "rpc/method.h"

/* False: the value is a name below ".../documents" with an odd number of segments behind that, which no
 * document and no parent has. */
bool firestore_rest_fits(const struct rpc_method *method, str field, str value);

#endif
