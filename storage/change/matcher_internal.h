/* What matcher.c (the thread and its batches), listener.c (queues) and target.c (where targets are found, and
 * whom a document touches) share. */
#ifndef SKERRY_STORAGE_CHANGE_MATCHER_INTERNAL_H
#define SKERRY_STORAGE_CHANGE_MATCHER_INTERNAL_H

#include <pthread.h>

#include "ports/port.h"
#include "storage/change/matcher.h"

struct change_matcher {
  struct change_matcher_options options;
  pthread_t thread;

  pthread_mutex_t signal_mutex; /* what follows; the store's thread takes it; inside of `mutex` if both */
  pthread_cond_t signal;
  kv_version published;
  bool stopping;
  bool watched; /* there are targets: the thread is woken for each published version, not once a second */

  pthread_mutex_t mutex; /* all that follows */
  struct target_index index;
  kv_version done;    /* M: all up to here is in the queues */
  kv_version claimed; /* V of the batch under way; else M */
  struct change_listener *listeners, *touched;
  struct change_stats stats;
};

/* One changed document in a batch. Trees and the old fields live in the batch's arena or in `old_value`. */
struct change_step {
  str key;
  struct doc_path path;
  bool wanted, wanted_fields; /* some target watches its place; and looks at fields */
  bool existed;               /* at M */
  struct doc_map old_fields, new_fields;
  struct kv_value old_value;
  struct change_document *document; /* as of V */
};

/* All with the mutex held. */
void change_push(struct change_listener *listener, enum change_kind kind, struct change_target *target,
                 struct change_document *document, kv_version version);
void change_touch(struct change_listener *listener);
void change_snapshots(struct change_matcher *matcher, kv_version version);
void change_heartbeat(struct change_matcher *matcher, int64_t now_us);
void change_lose(struct change_listener *listener);
void change_forget(struct change_listener *listener, const struct change_target *target);

/* A first target came, or the last one went. */
void change_watch(struct change_matcher *matcher, bool watched);
/* Before a target begins at `claimed`: so that this is not behind what is published, unless a batch is under
 * way. Wakes the thread. */
void change_claim(struct change_matcher *matcher);

bool change_index_add(struct target_index *index, struct change_target *target);
void change_index_remove(struct target_index *index, struct change_target *target);
/* Sets step->wanted. `scratch` is emptied. RESOURCE_EXHAUSTED without memory for a place. */
STATUS_MUST_USE status change_index_wants(const struct target_index *index, struct change_step *step,
                                          struct buf *scratch);
/* Puts the step's events into the queues. */
STATUS_MUST_USE status change_index_deliver(const struct target_index *index, const struct change_step *step,
                                            kv_version version, struct buf *scratch);

#endif
