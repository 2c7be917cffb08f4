/* The matcher: one thread that reads what commits changed, once, and tells those who watch.
 *
 * Parties. A `change_listener` is who listens, with a bounded queue of events; a `change_target` is what it
 * watches: documents by name, or a query. Both are the owner's memory. The matcher takes published versions
 * in batches: (M, V] becomes one step, in which each changed document is read as it was at M and as it is at
 * V, is matched against the targets found by an index of places (target_index.h), and the events are put into
 * the queues. Then M is V. So every event of a batch has the version V, nothing is seen of a commit but all
 * of it, and after the batch each listener that it touched gets CHANGE_SNAPSHOT: everything up to V is before
 * it in its queue.
 *
 * Joining. change_target_add gives the target a version, `since`, and puts CHANGE_ADDED into the queue: the
 * owner evaluates the target at that version when it comes to the event, and what follows in the queue are
 * the changes after it, all of them and no others. No gap, no overlap, and nobody waits for anybody.
 *
 * Slow owners. A queue holds a number of events and bytes; when one does not fit, the queue is emptied and
 * the owner finds CHANGE_LOST: it calls change_listener_recover, which gives all its targets a new `since`,
 * and brings each up to it from what it knows. Nobody else notices. Documents in queues are shared by all
 * queues.
 *
 * Threads. Everything of one listener and its targets is called by one thread at a time; different listeners
 * by any. One mutex guards the index, the listeners and their queues; it is not held while the store is read.
 */
#ifndef SKERRY_STORAGE_CHANGE_MATCHER_H
#define SKERRY_STORAGE_CHANGE_MATCHER_H

#include "base/memory_budget.h"
#include "storage/change/target_index.h"
#include "storage/document/record.h"
#include "storage/kv.h"
#include "storage/query/query.h"

struct change_matcher;
struct port;

struct change_matcher_options {
  struct kv_store *store; /* the matcher is its subscriber */
  struct port *port;
  struct memory_budget *budget;             /* for documents in queues; or NULL */
  size_t queue_events_max, queue_bytes_max; /* of one listener */
  int64_t heartbeat_us; /* a listener without events gets a snapshot after this time, if there were commits */
};
STATUS_MUST_USE status change_matcher_new(const struct change_matcher_options *options,
                                          struct change_matcher **ret);
/* After all listeners are gone; the store may still be open but commits no more. NULL is allowed. */
void change_matcher_free(struct change_matcher *matcher);

struct change_stats {
  size_t targets;
  uint64_t lost; /* ever: how often a listener got CHANGE_LOST */
};
void change_matcher_stats(struct change_matcher *matcher, struct change_stats *ret); /* any thread */

/* A document as of a batch's version; shared, and never changed. */
struct change_document {
  _Atomic size_t references;
  str key, name;
  bool exists;
  struct doc_record record; /* if it exists */
  size_t size_bytes;
  struct memory_budget *budget;
};
void change_document_release(struct change_document *document); /* NULL is allowed */

enum change_kind {
  CHANGE_ADDED,    /* evaluate the target at its `since` */
  CHANGE_MATCHED,  /* the document is in the target, new or changed */
  CHANGE_LEFT,     /* it was, and is not: changed, or deleted */
  CHANGE_TOUCHED,  /* something happened to a target with a limit or an offset: evaluate it again at `version`
                    */
  CHANGE_SNAPSHOT, /* all targets are complete up to `version` */
  CHANGE_LOST,     /* the queue did not hold what came: change_listener_recover */
};

struct change_event {
  enum change_kind kind;
  struct change_target *target;     /* not of SNAPSHOT and LOST */
  struct change_document *document; /* of MATCHED and LEFT: the taker's to release */
  kv_version version;
};

struct change_listener {
  /* Set by the owner. Called when the queue is no longer empty, with the matcher's mutex held: hands the news
   * on, without blocking and without calling here. */
  void (*wake)(struct change_listener *listener);

  /* Private. */
  struct change_matcher *matcher;
  struct change_listener *next, **link;                 /* all of the matcher */
  struct change_listener *next_touched, **touched_link; /* to get a snapshot at the end of the batch */
  struct change_target *targets;
  struct change_event *ring;
  size_t first, count, capacity, bytes;
  size_t not_counted; /* events that the limit leaves out: one ADDED a target */
  kv_version due;     /* no snapshot before this version: a target was added at it */
  kv_version told;    /* the newest snapshot that was put into the queue */
  int64_t told_us;
  bool lost;
};

struct change_target {
  /* Set by the owner, and constant while it is added. */
  const struct query *query; /* prepared; NULL: documents */
  const str *keys;           /* in KV_DOCUMENTS, without a query */
  size_t key_count;
  bool alone; /* see change_listener_take_same */

  kv_version since; /* only later changes come */

  /* Private. */
  struct change_listener *listener;
  struct change_target *next, **link; /* of the listener */
  struct target_node *nodes;          /* key_count of them, or one */
  struct target_node one;
  str place, field_text; /* malloc'd: of a query that is found by an equality */
  bool by_field, windowed;
  kv_version touched; /* the last CHANGE_TOUCHED: one a batch */
};

void change_listener_init(struct change_listener *listener, struct change_matcher *matcher,
                          void (*wake)(struct change_listener *listener));
/* Removes all its targets too. The owner may free it then. */
void change_listener_fini(struct change_listener *listener);

/* The next event. False: there is none; `wake` will be called. */
bool change_listener_take(struct change_listener *listener, struct change_event *ret);
/* The next event if it is about the same document, for a target that is not `alone`. */
bool change_listener_take_same(struct change_listener *listener, const struct change_document *document,
                               struct change_event *ret);
/* Whether the next event is CHANGE_ADDED. */
bool change_listener_is_next_added(struct change_listener *listener);
/* After CHANGE_LOST: all targets begin again at the version that is given; CHANGE_SNAPSHOT follows for it. */
kv_version change_listener_recover(struct change_listener *listener);

/* RESOURCE_EXHAUSTED without memory. */
STATUS_MUST_USE status change_target_add(struct change_listener *listener, struct change_target *target);
/* No event of the target is in the queue afterwards. Of one that is not added: nothing. */
void change_target_remove(struct change_target *target);

/* Whether the target's answer has to be found as a whole at each change. */
static inline bool change_target_is_windowed(const struct query *query) {
  return query->has_limit || query->offset > 0;
}

#endif
