/* A file of cases for security rules, in JSON: documents that exist at the start, and cases, each a request
 * and what the rules should say of it. docs/rules.md shows one.
 *
 *   {"project", "database"      of what the cases are about; without them "demo" and "(default)"
 *    "time"                     request.time, as in "2026-08-01T12:00:00Z"; without it, now
 *    "documents": {PATH: FIELDS, ...}
 *    "cases": [CASE, ...]}
 *   CASE is an object of
 *    "name", "expect"           a text; "allow" or "deny"
 *    "auth"                     null or missing: signed out; {"uid": TEXT, "token": CLAIMS}
 *    "time"                     of this case alone
 *    "documents"                added to those of the file; null takes one away
 *   and one of
 *    "get": PATH
 *    "list": PATH OF A COLLECTION, or "listGroup": ID OF A COLLECTION (or PATH/ID: below a document); with
 *      "where": [FILTER, ...]   ["field", "==", VALUE], operators as in SDKs; {"or": [...]}, {"and": [...]}
 *      "orderBy": [ORDER, ...]  "field" or ["field", "desc"]
 *      "limit", "offset"
 *    a write, or "commit": [WRITE, ...], all of them or none. A write is an object of one of
 *      "create", "set", "update": PATH, with "data": all fields after it. set and update may have instead
 *        "merge": fields that it changes, maps field by field; "remove": [FIELD PATH, ...]
 *      "delete": PATH
 *   FIELDS and VALUE are plain JSON. What JSON has no form for is written as in Firestore's REST API:
 *   {"timestampValue": ...}, bytesValue, referenceValue, geoPointValue, doubleValue and the others (a map
 *   with one field of such a name has to be a mapValue). In data and merge {"setToServerValue":
 *   "REQUEST_TIME"} is the time of the request. CLAIMS are plain JSON; sub and user_id are added.
 *
 * Every case starts from the documents of the file. Unknown names are refused: a case that tests something
 * else than it says is worse than none. No I/O; any thread. */
#ifndef SKERRY_SERVER_CASES_CASES_H
#define SKERRY_SERVER_CASES_CASES_H

#include "server/cases/store.h"
#include "server/rules/rules.h"
#include "storage/document/write.h"
#include "storage/query/query.h"

enum {
  CASES_FILE_BYTES_MAX = 8 * 1024 * 1024,
  CASES_MAX = 10000,
  CASES_DOCUMENTS_MAX = 10000, /* at the start; as many again in each case */
  CASES_WRITES_MAX = 500,      /* of one case: what a commit used to be limited to */
  CASES_NAME_BYTES_MAX = 256,
  CASES_ARENA_BYTES = 512 * 1024 * 1024, /* for a whole file: far more than one of 8 MiB takes */
};

enum cases_kind { CASES_GET, CASES_LIST, CASES_COMMIT };

struct cases_case {
  str name;
  bool expects_allow;
  bool is_signed_in;
  struct rules_auth auth; /* if so */
  int64_t time_us;
  struct cases_state state; /* what is there before */
  enum cases_kind kind;
  struct doc_path path;     /* CASES_GET */
  struct query query;       /* CASES_LIST; prepared */
  struct doc_write *writes; /* CASES_COMMIT; not prepared */
  size_t write_count;
};

struct cases {
  struct doc_path root; /* of the database */
  const struct cases_document *documents;
  size_t document_count;
  struct cases_case *items;
  size_t count;
};

/* Reads a file; *ret is in the arena. `now_us` is the time where none is given. INVALID_ARGUMENT says which
 * case, where in it, and what is wrong; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status cases_read(str text, int64_t now_us, struct arena *arena, struct cases *ret);

#endif
