/* Rules over commits: which request each document of a commit is to the rules. The server judges so
 * (server/access), and `skerry rules test` (server/cases). */
#ifndef SKERRY_SERVER_RULES_COMMIT_H
#define SKERRY_SERVER_RULES_COMMIT_H

#include "server/rules/rules.h"
#include "storage/document/write.h"

struct rules_commit {
  /* Project, database, who asks, and what explains. The rest is set for each document. */
  struct rules_request request;
  struct doc_path where; /* any path in the database */
  size_t write_count;    /* of the commit: more than one have the larger budget of reads */
  struct arena *arena;   /* the commit's */
  /* What becomes of a document's request. A failure ends the review with it. */
  status (*judge)(void *argument, const struct rules_request *request);
  void *argument;

  struct rules_reads reads; /* private */
  struct doc_view *view;    /* private */
};

/* Has `judge` called for each document of the commit, once, with what the whole commit does to it; getAfter()
 * sees all of it. For doc_review.review: runs on the thread that resolves the commit. */
STATUS_MUST_USE status rules_commit_review(struct rules_commit *commit, struct doc_view *view);

/* The document that a rule asks for by its relative path, in the database of `where`; an empty ret->name: no
 * document can have that name. False: no memory. */
bool rules_read_path(const struct doc_path *where, str relative, struct arena *arena, struct doc_path *ret);

#endif
