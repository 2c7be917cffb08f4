/* Inside of server/cases: reading the file. Every function on the way down knows its place in the file, as a
 * list of names on the stack, and says it only when something is wrong there. */
#ifndef SKERRY_SERVER_CASES_READER_H
#define SKERRY_SERVER_CASES_READER_H

#include "server/cases/cases.h"
#include "server/tokens/json.h"

enum {
  CASES_JSON_DEPTH_MAX = 80, /* 20 maps in each other take 3 each as mapValue, and some are around them */
  CASES_VALUE_DEPTH_MAX = LIMIT_VALUE_DEPTH + 4, /* of this reader; the codec has the limit that counts */
};

struct cases_place {
  const struct cases_place *up;
  str name;     /* empty: it is an element, by its index */
  size_t index; /* CASES_NO_INDEX: none */
  bool is_case; /* `name` is that of a case */
};
#define CASES_NO_INDEX SIZE_MAX

struct cases_reader {
  struct arena *arena;
  struct doc_path root;
  int64_t time_us;       /* of the case */
  bool has_request_time; /* in what is read now: a write's data */
};

/* INVALID_ARGUMENT with the place. */
STATUS_MUST_USE status cases_wrong(const struct cases_place *at, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* `failure` with the place, if it is about what was read. */
STATUS_MUST_USE status cases_wrong_status(const struct cases_place *at, status failure);
STATUS_MUST_USE static inline status cases_no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED,
                     "The cases need too much memory: make several files of them.");
}

#ifdef __clang_analyzer__ /* as in base/status.h: this tells it that a failure is one */
#define cases_wrong(...) status_failed_((cases_wrong)(__VA_ARGS__))
#define cases_wrong_status(...) status_failed_((cases_wrong_status)(__VA_ARGS__))
#endif

/* ---- Pieces of JSON ---- */

/* An object whose names are all in `known`, NULL at its end. */
STATUS_MUST_USE status cases_check_object(const json_t *json, const struct cases_place *at,
                                          const char *const *known);
/* An array of at most `most`. */
STATUS_MUST_USE status cases_check_array(const json_t *json, const struct cases_place *at, size_t most);
/* A text, in the arena. */
STATUS_MUST_USE status cases_read_text(struct cases_reader *reader, const json_t *json,
                                       const struct cases_place *at, str *ret);
/* The path of a document in the database. */
STATUS_MUST_USE status cases_read_path(struct cases_reader *reader, str relative,
                                       const struct cases_place *at, struct doc_path *ret);

/* ---- Parts of the file ---- */

/* What stands for fields of a document, checked by the codec: at the start, or in a write. */
STATUS_MUST_USE status cases_read_fields(struct cases_reader *reader, const json_t *json,
                                         const struct cases_place *at, struct doc_map *ret);
/* An operand of a query. */
STATUS_MUST_USE status cases_read_operand(struct cases_reader *reader, const json_t *json,
                                          const struct cases_place *at, struct doc_value *ret);
/* The query of a case with list or listGroup; prepared. */
STATUS_MUST_USE status cases_read_query(struct cases_reader *reader, const json_t *json,
                                        const struct cases_place *at, struct query *ret);
/* One write; of `json` only the names that belong to writes count. */
STATUS_MUST_USE status cases_read_write(struct cases_reader *reader, const json_t *json,
                                        const struct cases_place *at, struct doc_write *ret);

#endif
