/* The claims of a token, JSON, as values that rules look at: request.auth.token. */
#ifndef SKERRY_SERVER_TOKENS_CLAIMS_H
#define SKERRY_SERVER_TOKENS_CLAIMS_H

#include "server/tokens/json.h"
#include "storage/document/value.h"

/* The claims in the object `json`; *ret lies in the arena. INVALID_ARGUMENT for what documents cannot hold
 * either, with what it is: arrays directly in arrays, empty names, `__type__` within a claim.
 * RESOURCE_EXHAUSTED. Recurses as deep as the JSON is, which was bounded when it was read. */
STATUS_MUST_USE status json_to_claims(const json_t *json, struct arena *arena, struct doc_map *ret);

#endif
