/* Queues of events. The mutex is the matcher's. */
#include <assert.h>
#include <stdlib.h>

#include "storage/change/matcher_internal.h"

enum { RING_MIN = 8, RING_KEPT = 64 };

void change_document_release(struct change_document *document) {
  if (document == NULL || atomic_fetch_sub_explicit(&document->references, 1, memory_order_acq_rel) > 1)
    return;
  if (document->budget != NULL)
    memory_budget_give(document->budget, document->size_bytes);
  free(document);
}

static struct change_event *event_at(const struct change_listener *listener, size_t i) {
  return &listener->ring[(listener->first + i) & (listener->capacity - 1)];
}

static void resize(struct change_listener *listener, size_t capacity, struct change_event *ring) {
  for (size_t i = 0; i < listener->count; i++)
    ring[i] = *event_at(listener, i);
  free(listener->ring);
  listener->ring = ring;
  listener->capacity = capacity;
  listener->first = 0;
}

static bool grow(struct change_listener *listener) {
  size_t capacity = listener->capacity == 0 ? RING_MIN : listener->capacity * 2;
  struct change_event *ring = malloc(capacity * sizeof *ring);
  if (ring != NULL)
    resize(listener, capacity, ring);
  return ring != NULL;
}

static size_t cost(const struct change_event *event) {
  return event->document == NULL ? 0 : event->document->size_bytes;
}

static void pop(struct change_listener *listener, struct change_event *ret) {
  *ret = *event_at(listener, 0);
  listener->first = (listener->first + 1) & (listener->capacity - 1);
  listener->count--;
  listener->bytes -= cost(ret);
  listener->not_counted -= ret->kind == CHANGE_ADDED;
  if (listener->count == 0 && listener->capacity > RING_KEPT) {
    free(listener->ring); /* one that rests holds little */
    listener->ring = NULL;
    listener->capacity = 0;
  }
}

static void empty(struct change_listener *listener) {
  struct change_event event;
  while (listener->count > 0) {
    pop(listener, &event);
    change_document_release(event.document);
  }
}

static void untouch(struct change_listener *listener) {
  if (listener->touched_link == NULL)
    return;
  *listener->touched_link = listener->next_touched;
  if (listener->next_touched != NULL)
    listener->next_touched->touched_link = listener->touched_link;
  listener->touched_link = NULL;
}

void change_touch(struct change_listener *listener) {
  struct change_matcher *matcher = listener->matcher;
  if (listener->touched_link != NULL)
    return;
  listener->next_touched = matcher->touched;
  listener->touched_link = &matcher->touched;
  if (matcher->touched != NULL)
    matcher->touched->touched_link = &listener->next_touched;
  matcher->touched = listener;
}

void change_lose(struct change_listener *listener) {
  bool was_empty = listener->count == 0 && !listener->lost;
  empty(listener);
  untouch(listener);
  listener->lost = true;
  listener->matcher->stats.lost++;
  if (was_empty)
    listener->wake(listener);
}

static bool has_room(const struct change_listener *listener, const struct change_event *event) {
  const struct change_matcher_options *options = &listener->matcher->options;
  if (event->kind == CHANGE_ADDED || event->kind == CHANGE_SNAPSHOT)
    return true; /* one a target, and one for each batch that brought something */
  if (options->budget != NULL && event->document != NULL && listener->count > 0 &&
      memory_budget_is_spent(options->budget))
    return false;
  return listener->count - listener->not_counted < options->queue_events_max &&
         (listener->bytes == 0 || listener->bytes + cost(event) <= options->queue_bytes_max);
}

void change_push(struct change_listener *listener, enum change_kind kind, struct change_target *target,
                 struct change_document *document, kv_version version) {
  struct change_event event = {kind, target, document, version};
  if (listener->lost)
    return;
  if (!has_room(listener, &event) || (listener->count == listener->capacity && !grow(listener))) {
    change_lose(listener);
    return;
  }
  if (document != NULL)
    atomic_fetch_add_explicit(&document->references, 1, memory_order_relaxed);
  *event_at(listener, listener->count++) = event;
  listener->bytes += cost(&event);
  listener->not_counted += kind == CHANGE_ADDED;
  if (kind != CHANGE_SNAPSHOT)
    change_touch(listener);
  if (listener->count == 1)
    listener->wake(listener);
}

/* The version is in the queues: who was touched may know it, unless a target was added at a later one. */
void change_snapshots(struct change_matcher *matcher, kv_version version) {
  int64_t now_us = matcher->options.port->monotonic_us(matcher->options.port);
  for (struct change_listener *at = matcher->touched, *next; at != NULL; at = next) {
    next = at->next_touched;
    if (at->due > version)
      continue;
    untouch(at);
    change_push(at, CHANGE_SNAPSHOT, NULL, NULL, version);
    at->told = version;
    at->told_us = now_us;
  }
}

void change_heartbeat(struct change_matcher *matcher, int64_t now_us) {
  for (struct change_listener *at = matcher->listeners; at != NULL; at = at->next) {
    bool rests = at->targets != NULL && at->count == 0 && !at->lost && at->touched_link == NULL;
    if (!rests || at->told >= matcher->done || now_us - at->told_us < matcher->options.heartbeat_us)
      continue;
    change_push(at, CHANGE_SNAPSHOT, NULL, NULL, matcher->done);
    at->told = matcher->done;
    at->told_us = now_us;
  }
}

/* Takes the events of a target out. */
void change_forget(struct change_listener *listener, const struct change_target *target) {
  size_t kept = 0;
  for (size_t i = 0; i < listener->count; i++) {
    struct change_event event = *event_at(listener, i);
    if (event.target == target) {
      listener->bytes -= cost(&event);
      listener->not_counted -= event.kind == CHANGE_ADDED;
      change_document_release(event.document);
    } else {
      *event_at(listener, kept++) = event;
    }
  }
  listener->count = kept;
}

/* ---- For the owner ---- */

void change_listener_init(struct change_listener *listener, struct change_matcher *matcher,
                          void (*wake)(struct change_listener *listener)) {
  *listener = (struct change_listener){.wake = wake, .matcher = matcher};
  pthread_mutex_lock(&matcher->mutex);
  listener->next = matcher->listeners;
  listener->link = &matcher->listeners;
  if (listener->next != NULL)
    listener->next->link = &listener->next;
  matcher->listeners = listener;
  pthread_mutex_unlock(&matcher->mutex);
}

static void detach(struct change_listener *listener, struct change_target *target) {
  change_index_remove(&listener->matcher->index, target);
  if (listener->matcher->index.count == 0)
    change_watch(listener->matcher, false);
  *target->link = target->next;
  if (target->next != NULL)
    target->next->link = target->link;
  target->listener = NULL;
  listener->matcher->stats.targets--;
}

void change_listener_fini(struct change_listener *listener) {
  struct change_matcher *matcher = listener->matcher;
  if (matcher == NULL)
    return;
  pthread_mutex_lock(&matcher->mutex);
  while (listener->targets != NULL)
    detach(listener, listener->targets);
  empty(listener);
  untouch(listener);
  *listener->link = listener->next;
  if (listener->next != NULL)
    listener->next->link = listener->link;
  pthread_mutex_unlock(&matcher->mutex);
  free(listener->ring);
  *listener = (struct change_listener){0};
}

bool change_listener_take(struct change_listener *listener, struct change_event *ret) {
  pthread_mutex_lock(&listener->matcher->mutex);
  bool taken = listener->lost || listener->count > 0;
  if (listener->lost)
    *ret = (struct change_event){.kind = CHANGE_LOST};
  else if (taken)
    pop(listener, ret);
  pthread_mutex_unlock(&listener->matcher->mutex);
  return taken;
}

bool change_listener_take_same(struct change_listener *listener, const struct change_document *document,
                               struct change_event *ret) {
  pthread_mutex_lock(&listener->matcher->mutex);
  const struct change_event *next = listener->count > 0 ? event_at(listener, 0) : NULL;
  bool taken = next != NULL && next->document == document && !next->target->alone;
  if (taken)
    pop(listener, ret);
  pthread_mutex_unlock(&listener->matcher->mutex);
  if (taken) {
    /* The taker holds the document by its first event. */
    size_t before = atomic_fetch_sub_explicit(&ret->document->references, 1, memory_order_relaxed);
    assert(before > 1);
    (void)before;
  }
  return taken;
}

bool change_listener_is_next_added(struct change_listener *listener) {
  pthread_mutex_lock(&listener->matcher->mutex);
  bool is_added = listener->count > 0 && event_at(listener, 0)->kind == CHANGE_ADDED;
  pthread_mutex_unlock(&listener->matcher->mutex);
  return is_added;
}

/* A target begins at V: no snapshot before that. If V is reached already, nothing else would bring one. */
static void begin(struct change_listener *listener, kv_version version) {
  struct change_matcher *matcher = listener->matcher;
  listener->due = version;
  change_touch(listener);
  if (version <= matcher->done && matcher->claimed == matcher->done) {
    untouch(listener);
    change_push(listener, CHANGE_SNAPSHOT, NULL, NULL, version);
    listener->told = version;
    listener->told_us = matcher->options.port->monotonic_us(matcher->options.port);
  }
}

kv_version change_listener_recover(struct change_listener *listener) {
  struct change_matcher *matcher = listener->matcher;
  pthread_mutex_lock(&matcher->mutex);
  assert(listener->lost && listener->count == 0);
  listener->lost = false;
  change_claim(matcher);
  kv_version version = matcher->claimed;
  for (struct change_target *target = listener->targets; target != NULL; target = target->next)
    target->since = version;
  begin(listener, version);
  pthread_mutex_unlock(&matcher->mutex);
  return version;
}

status change_target_add(struct change_listener *listener, struct change_target *target) {
  struct change_matcher *matcher = listener->matcher;
  pthread_mutex_lock(&matcher->mutex);
  bool is_first = matcher->index.count == 0, added = change_index_add(&matcher->index, target);
  if (added && is_first)
    change_watch(matcher, true);
  if (added) {
    change_claim(matcher);
    matcher->stats.targets++;
    target->listener = listener;
    target->since = matcher->claimed;
    target->next = listener->targets;
    target->link = &listener->targets;
    if (target->next != NULL)
      target->next->link = &target->next;
    listener->targets = target;
    change_push(listener, CHANGE_ADDED, target, NULL, target->since);
    if (!listener->lost)
      begin(listener, target->since);
  }
  pthread_mutex_unlock(&matcher->mutex);
  return added ? status_ok() : status_make(STATUS_RESOURCE_EXHAUSTED, "The server is out of memory.");
}

void change_target_remove(struct change_target *target) {
  struct change_listener *listener = target->listener;
  if (listener == NULL)
    return;
  pthread_mutex_lock(&listener->matcher->mutex);
  detach(listener, target);
  change_forget(listener, target);
  pthread_mutex_unlock(&listener->matcher->mutex);
}
