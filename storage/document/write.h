/* Writes of documents: what a Commit is made of, and how it becomes a transaction of the store.
 *
 * A commit is an array of writes, applied in order, all or none. The part that can be done beforehand
 * (parsing, checking, encoding what does not depend on the stored document) is done by the caller's thread;
 * the rest runs in the store's `resolve`: preconditions, masks, transforms, and the comparison with what is
 * stored. Rules (google/firestore/v1/write.proto and the documented errors):
 *   - several writes to one document see each other's effect;
 *   - a document that a commit leaves as it was keeps its update time and costs nothing;
 *   - all documents that a commit changes get its version as update time. */
#ifndef SKERRY_STORAGE_DOCUMENT_WRITE_H
#define SKERRY_STORAGE_DOCUMENT_WRITE_H

#include "base/arena.h"
#include "base/status.h"
#include "storage/document/mask.h"
#include "storage/document/path.h"
#include "storage/document/record.h"
#include "storage/document/size.h"
#include "storage/document/transform.h"
#include "storage/document/value.h"
#include "storage/kv.h"

enum doc_write_kind {
  DOC_WRITE_SET,       /* fields, merged into the stored ones if there is a mask; then transforms */
  DOC_WRITE_TRANSFORM, /* transforms alone */
  DOC_WRITE_DELETE,
  DOC_WRITE_VERIFY, /* changes nothing: its precondition is checked */
};

struct doc_precondition {
  enum { DOC_PRECONDITION_NONE, DOC_PRECONDITION_EXISTS, DOC_PRECONDITION_UPDATE_TIME } kind;
  bool exists;
  int64_t update_time_us;
};

struct doc_write {
  enum doc_write_kind kind;
  struct doc_path path; /* of a document */
  struct doc_precondition precondition;
  struct doc_map fields;                /* DOC_WRITE_SET */
  const struct doc_mask *mask;          /* DOC_WRITE_SET; NULL: replace all fields */
  struct doc_transform_plan transforms; /* zeroed: none */

  /* Set by doc_commit_prepare. */
  str key;
  str canonical;         /* the encoded fields, where they do not depend on the stored document */
  size_t previous, next; /* the writes to the same document before and after this one, or SIZE_MAX */
};

struct doc_write_result {
  int64_t update_time_us;                    /* 0 after a delete */
  const struct doc_value *transform_results; /* as many as the write has transforms */
  struct doc_record record; /* the document after the commit; with keep_records, at the last write of a
                               document, and not after a delete */
};

/* What else is written with a document, such as its index entries (storage/index). Called in `resolve`, once
 * for each document that a commit really changes, after its last write: as it was before the commit and as it
 * is after (canonical fields, NULL where it does not exist). It may be called again, as resolve. A failure
 * refuses the commit. */
struct doc_derive {
  status (*write)(void *argument, const struct doc_path *document, const str *old_fields,
                  const str *new_fields, struct arena *arena, struct kv_batch *batch);
  void *argument;
};

/* ---- Reviews ---- */

/* A document as a review sees it. */
struct doc_found {
  bool exists;
  str fields; /* canonical, if it exists; for the time of the review */
};

enum doc_wants {
  DOC_WANTS_TO_READ /* verify alone */,
  DOC_WANTS_TO_CREATE,
  DOC_WANTS_TO_UPDATE,
  DOC_WANTS_TO_DELETE
};

struct doc_reviewed {
  const struct doc_path *path;
  enum doc_wants wants;
  struct doc_found before, after; /* the whole commit */
};

/* What a commit does, for who has a say in it. */
struct doc_view;

/* The documents of the commit, one after the other, each once; false: there are no more.
 *
 * Of a commit that fails too, as if its preconditions held: who may not write a document must not learn what
 * is there, by this or another write. `wants` is then what the write that fails demanded. A write that cannot
 * be carried out (the document would become too large) leaves its document as it was. */
bool doc_view_next(struct doc_view *view, struct doc_reviewed *ret);
kv_version doc_view_version(const struct doc_view *view); /* the commit's */
/* Any document, as it is before the commit or after it. Without a read of the store for those of the commit.
 * RESOURCE_EXHAUSTED, and what kv_reader_get says. */
STATUS_MUST_USE status doc_view_read(struct doc_view *view, const struct doc_path *path, bool after,
                                     struct doc_found *ret);

/* Called in `resolve` when all writes were applied and nothing is stored yet; perhaps again, as resolve. A
 * failure refuses the commit, with that status, and comes before NOT_FOUND, ALREADY_EXISTS and
 * INVALID_ARGUMENT. Not called when an update time is another: that comes first. Works in the commit's arena.
 */
struct doc_review {
  status (*review)(void *argument, struct doc_view *view);
  void *argument;
};

/* A commit under way, in the caller's memory (its arena) until `done` is called. */
struct doc_commit {
  struct doc_write *writes;
  size_t write_count;
  struct doc_limits limits;
  struct arena *arena; /* handed over with the commit: the store's thread works in it until `done` */
  /* Called once, on a thread of the store's, as kv_txn.done; results are valid if the status is OK. */
  void (*done)(struct doc_commit *commit, status result, kv_version version);
  void *user;
  bool keep_records;               /* fill doc_write_result.record */
  const struct doc_derive *derive; /* or NULL; lives as long as the commit */
  const struct doc_review *review; /* likewise */

  struct doc_write_result *results; /* set by doc_commit_prepare, filled by the commit */
  struct kv_txn txn; /* read set: the caller's, may stay zeroed; the rest is set by doc_commit_start */
  struct doc_write_state *states; /* private */
  size_t comparisons_left;        /* private */
};

/* Checks what can be checked beforehand and encodes. INVALID_ARGUMENT for a document that is too large or has
 * more transforms in this commit than allowed; RESOURCE_EXHAUSTED past the arena's cap. */
STATUS_MUST_USE status doc_commit_prepare(struct doc_commit *commit);

/* Hands a prepared commit to the store. Statuses that `done` gets, beside those of kv.h:
 *   NOT_FOUND            a write needs a document that is not there
 *   ALREADY_EXISTS       a write needs a document not to be there
 *   FAILED_PRECONDITION  its update time is another
 *   INVALID_ARGUMENT     the document would become too large */
void doc_commit_start(struct kv_store *store, struct doc_commit *commit);

#endif
