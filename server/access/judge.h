/* Inside of server/access: what judging reads and commits share. */
#ifndef SKERRY_SERVER_ACCESS_JUDGE_H
#define SKERRY_SERVER_ACCESS_JUDGE_H

#include "server/access/access.h"

/* The time of a request that reads. */
int64_t access_now_us(const struct access_caller *caller);
struct kv_store *access_store(const struct access_caller *caller);
/* Whether refusals say why. */
bool access_explains(const struct access_caller *caller);

/* The part of a request that the caller and the database are. `auth` lives as long as it. */
struct rules_request judge_request(const struct access_caller *caller, const struct doc_path *where,
                                   struct rules_auth *auth);
/* The rules' word as a status. */
STATUS_MUST_USE status judge(const struct access_caller *caller, const struct rules_request *request,
                             struct arena *arena);
#endif
