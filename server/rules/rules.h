/* Firebase Security Rules, versions 1 and 2: a file of rules is compiled once and then asked about requests.
 * The language: https://firebase.google.com/docs/rules/rules-language and
 * https://firebase.google.com/docs/reference/rules. No I/O here: documents that a rule asks for come through
 * a callback. docs/rules.md has what differs from the official emulator.
 *
 * How a request is judged
 *   Every `match` whose path covers the document counts, wherever it stands; the first `allow` of the
 *   request's method whose condition is true allows it. A condition that is false, is no bool or has an error
 *   does not, and the next is looked at. `||` and `&&` absorb errors as the language says: `error || true` is
 *   true, `error && false` is false.
 *
 * Queries (RULES_LIST) are decided by their constraints, not by looking at documents. `resource.data` then
 *   holds what the query's filters say of every possible result: a field that is compared with `==` has that
 *   value, one in a range has these bounds, and so on (struct rules_filter). All else is unknown, and so is
 *   what is computed from it, in a logic of three values. Each conjunction of the query's normal form must be
 *   proven by a statement. What is true for all results is allowed, nothing else.
 *
 * Bounds, for any file and any request: RULES_EVALUATIONS_MAX expressions (a query: for each of its
 *   conjunctions), RULES_WORK_MAX, memory from the arena and its cap, and RULES_DEPTH_MAX levels of
 * recursion, each of some 700 bytes of stack. Past a bound the request is refused with an error. */
#ifndef SKERRY_SERVER_RULES_RULES_H
#define SKERRY_SERVER_RULES_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "storage/document/field_path.h"

enum {
  /* Documented limits of the language. */
  RULES_SOURCE_BYTES_MAX = 256 * 1024,
  RULES_MATCH_DEPTH_MAX = 10, /* match blocks in each other */
  RULES_CALL_DEPTH_MAX = 20,  /* functions that call each other */
  RULES_PARAMETERS_MAX = 7,
  RULES_LETS_MAX = 10,          /* of one function */
  RULES_EVALUATIONS_MAX = 1000, /* expressions of one request; literals do not count */
  RULES_READS_SINGLE = 10, /* documents that get() and the like may read: request for one document, query */
  RULES_READS_MULTIPLE =
      20, /* for all documents of one request together; for each still RULES_READS_SINGLE */
  /* Limits of this implementation. */
  RULES_EXPRESSION_DEPTH_MAX = 100, /* operators and calls in each other, as written */
  RULES_DEPTH_MAX = 256,            /* the same while functions call each other: protects the stack */
  RULES_CAPTURES_MAX = 100, /* wildcards of match blocks in each other: as many as a path has collections */
  RULES_WORK_MAX =
      4 * 1024 * 1024,     /* elements compared, 64 bytes looked through, ...: a few hundredths of a second */
  RULES_PROBLEMS_MAX = 20, /* that are reported of one file */
  RULES_TRACE_MAX = 64,    /* statements that a trace shows */
};

/* ---- Compiling ---- */

/* Something that is wrong with a file. Warnings (a function that does not exist: its call is an error when it
 * is evaluated) do not keep it from being used. */
struct rules_problem {
  uint32_t line, column; /* from 1; columns count bytes */
  bool is_warning;
  str text;
};

struct rules_problems {
  struct rules_problem items[RULES_PROBLEMS_MAX]; /* in the order of the file */
  size_t count;
  size_t error_count;
  bool has_more; /* than are in `items` */
};

/* A compiled file. Immutable and counted: any number of threads may use it. */
struct rules;

/* Compiles; *ret (and only it) is written on success, with one reference. What is wrong is in *ret_problems
 * in any case, texts in the arena. INVALID_ARGUMENT if there are errors, with the first of them as "3:14:
 * ..." in the message; RESOURCE_EXHAUSTED for lack of memory. Takes milliseconds for a thousand lines. */
STATUS_MUST_USE status rules_compile(str source, struct arena *arena, struct rules_problems *ret_problems,
                                     struct rules **ret);
struct rules *rules_ref(struct rules *rules);
void rules_unref(struct rules *rules); /* NULL is allowed */

/* The text that was compiled; lives as long as `rules`. */
str rules_source(const struct rules *rules);

/* ---- Requests ---- */

enum rules_operation { RULES_GET, RULES_LIST, RULES_CREATE, RULES_UPDATE, RULES_DELETE };

/* A document as it is stored. */
struct rules_document {
  str path;   /* relative: "rooms/a" */
  str fields; /* canonical bytes, map<string, Value> with the tag of Document.fields
                 (storage/document/codec.h) */
};

/* Who asks. */
struct rules_auth {
  str uid;
  str claims; /* the token's payload, in the form of rules_document.fields: request.auth.token */
};

/* Reads for get(), exists() and, with `after`, getAfter() and existsAfter(), which see the state that the
 * request's commit would leave. */
enum rules_read {
  RULES_READ_FOUND,
  RULES_READ_MISSING,
  RULES_READ_FAILED, /* the store's fault: the evaluation ends with RULES_FAILED */
  RULES_READ_LATER,  /* not here: the evaluation ends with RULES_LATER, and may be begun again where it is */
};
struct rules_reader {
  /* `path` is a relative path of a document, "rooms/a", in the request's database. ret->fields lives as long
   * as the cache (struct rules_reads) of the request. */
  enum rules_read (*read)(void *argument, str path, bool after, struct rules_document *ret);
  void *argument;
};

/* What the evaluations of one request to the server have read together: their budget and cache. Zeroed with
 * budget and arena set. One thread at a time. */
struct rules_reads {
  uint32_t budget; /* reads left: RULES_READS_SINGLE or RULES_READS_MULTIPLE at the start */
  struct arena *arena;
  struct rules_read_entry *entries; /* private */
};

/* What a query's filter says of each result. Those of query_conjunction (storage/query/query.h) one to one.
 */
enum rules_filter_op {
  RULES_EQUAL,
  RULES_NOT_EQUAL,
  RULES_LESS,
  RULES_LESS_OR_EQUAL,
  RULES_GREATER,
  RULES_GREATER_OR_EQUAL,
  RULES_NOT_IN, /* value: an array */
  RULES_ARRAY_CONTAINS,
  RULES_NOT_NULL, /* is-not-null, is-not-nan; no value */
  RULES_EXISTS,   /* the field is there: what an order by it says; no value */
};
struct rules_filter {
  struct doc_field_path field; /* count 0: __name__; the value of RULES_EQUAL is then a reference */
  enum rules_filter_op op;
  str value; /* canonical bytes of a Value message (doc_encode_value) */
};
/* One way in which a document may be in the result: all of these hold. `document` may be given where a filter
 * says which document it is (`__name__ ==`): then it is the resource, as stored (`is_known`, NULL: missing).
 */
struct rules_conjunction {
  const struct rules_filter *filters;
  size_t filter_count;
  bool is_known;
  const struct rules_document *document;
};

struct rules_order {
  str field; /* as written in the query: "a.b" */
  bool descending;
};

struct rules_query {
  bool all_descendants; /* a collection group; see rules_request.path */
  bool has_limit;
  int64_t limit, offset;
  const struct rules_order *orders; /* as asked for */
  size_t order_count;
  const struct rules_conjunction *conjunctions; /* none: no document can match; judged as if any could */
  size_t conjunction_count;
};

/* What happened, for `skerry rules test` and debug logs. */
enum rules_outcome {
  RULES_ALLOW,
  RULES_DENY,
  RULES_LATER,  /* a read could not be done here */
  RULES_FAILED, /* a read failed, or the arena is at its cap: a condition of the server, no verdict */
};
struct rules_trace_entry {
  uint32_t line, column; /* of the allow statement */
  enum rules_outcome outcome;
  str reason; /* "", or what the error was and where */
};
struct rules_trace {
  struct rules_trace_entry entries[RULES_TRACE_MAX]; /* in the order of evaluation */
  size_t count;
  bool has_more;
};
/* How often an expression was evaluated to what. */
struct rules_coverage {
  uint32_t true_count, false_count, null_count, error_count, other_count, unknown_count;
};

struct rules_request {
  enum rules_operation operation;
  str service; /* empty: "cloud.firestore" */
  str project, database;
  /* Relative. A document: "rooms/a". For RULES_LIST the collection: "rooms", "rooms/a/messages"; with
   * all_descendants "rooms/a/messages" means collections "messages" anywhere below rooms/a. For services
   * other than cloud.firestore the whole path, as in "b/bucket/o/images/x.png". */
  str path;
  const struct rules_auth *auth;         /* NULL: signed out */
  int64_t time_us;                       /* request.time, since 1970 */
  const struct rules_query *query;       /* RULES_LIST only */
  const struct rules_document *resource; /* as it is now; NULL: missing */
  const struct rules_document *after;    /* request.resource: as the write would leave it; NULL: missing */
  const struct rules_reader *reader;     /* NULL: get() and the like are errors */
  struct rules_reads *reads;             /* with a reader */

  /* Explanations; all may be NULL, and cost nothing then. */
  struct rules_trace *trace;
  struct rules_coverage *coverage;                        /* rules_expression_count() of them, added to */
  void (*debug)(void *argument, uint32_t line, str text); /* for debug(); `text` lives for the call */
  void *debug_argument;
};

struct rules_decision {
  enum rules_outcome outcome;
  /* The statement that allowed, or the last error that kept one from allowing. 0 if there is none. */
  uint32_t line, column;
  str reason; /* why not: for logs and developers. Tells clients nothing but with --dev. In the arena. */
};

/* Judges. Takes memory from the arena; runs in the caller's thread and never blocks unless the reader does.
 * An owner-only rule takes about a microsecond. */
struct rules_decision rules_decide(const struct rules *rules, const struct rules_request *request,
                                   struct arena *arena);

/* ---- Coverage ---- */

/* Expressions are numbered in the order of the file. */
size_t rules_expression_count(const struct rules *rules);
struct rules_position {
  uint32_t line, column, end_line, end_column;
};
struct rules_position rules_expression_position(const struct rules *rules, size_t expression);

#endif
