/* The requests of a load: documents of a given size under numbered names, and the calls that read and write
 * them. */
#ifndef SKERRY_BENCH_REQUESTS_H
#define SKERRY_BENCH_REQUESTS_H

#include "base/arena.h"
#include "rpc/method.h"

enum load_mode {
  LOAD_ECHO,      /* skerry.test.v1.Echo/Unary of `bytes`: what bare_echo answers */
  LOAD_GET,       /* GetDocument of a random one of `documents` */
  LOAD_COMMIT,    /* Commit of `writes` upserts, of random or unique names */
  LOAD_FILL,      /* Commit of `writes` upserts until documents 0 to `documents` - 1 are there */
  LOAD_LIST,      /* ListDocuments, a page of `writes` documents */
  LOAD_BATCH_GET, /* BatchGetDocuments of `writes` random ones */
  LOAD_STREAM, /* skerry.test.v1.Echo/ServerStream: `writes` messages of `bytes` (of bare_echo always 20) */
  /* What query_requests.h says. */
  LOAD_QUERY_FILL,        /* as LOAD_FILL, the documents that are queried */
  LOAD_QUERY_FILL_LEAVES, /* the same for the collection group */
  LOAD_QUERY_BATCH_GET,   /* BatchGetDocuments of the 20 documents that LOAD_QUERY_EQUAL finds */
  LOAD_QUERY_EQUAL,
  LOAD_QUERY_JOIN,
  LOAD_QUERY_RANGE,
  LOAD_QUERY_CONTAINS,
  LOAD_QUERY_OR,
  LOAD_QUERY_GROUP,
  LOAD_QUERY_COUNT,
  LOAD_MODES
};

extern const char *const load_mode_names[LOAD_MODES];

struct request_options {
  enum load_mode mode;
  const char *database;   /* "projects/demo-bench/databases/(default)" */
  const char *collection; /* where the documents are; NULL: "items" */
  uint64_t documents;
  uint32_t bytes;  /* of the fields of a document, or of an echo */
  uint32_t fields; /* of a document: 1, a text; or so many, texts and numbers by turns */
  uint32_t writes; /* or documents, of one call */
  bool unique;     /* LOAD_COMMIT: names that were never used, by `next` */
  uint64_t *next;  /* LOAD_COMMIT with unique, LOAD_FILL and LOAD_QUERY_FILL...: the next number */
};

/* So many characters of 64. */
str random_text(struct arena *arena, uint64_t *random, size_t len);

/* xorshift64*: fast, and the same on every run for the same seed (not 0). */
uint64_t random_next(uint64_t *state);

/* Whether a load ends when all documents are written. */
static inline bool request_mode_fills(enum load_mode mode) {
  return mode == LOAD_FILL || mode == LOAD_QUERY_FILL || mode == LOAD_QUERY_FILL_LEAVES;
}

const struct rpc_method *request_method(enum load_mode mode);

/* The next request, in `arena`, as the method takes it. NULL: LOAD_FILL has nothing left, or no memory. */
const void *request_make(const struct request_options *options, uint64_t *random, struct arena *arena);

#endif
