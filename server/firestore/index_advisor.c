#include "server/firestore/index_advisor.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"

struct index_advisor {
  struct port *port;
  pthread_mutex_t lock; /* guards what follows */
  struct index_advice kept[ADVISOR_INDEXES];
  size_t count;
};

struct index_advisor *index_advisor_new(struct port *port) {
  struct index_advisor *advisor = calloc(1, sizeof *advisor);
  if (advisor == NULL)
    return NULL;
  advisor->port = port;
  pthread_mutex_init(&advisor->lock, NULL);
  return advisor;
}

static void forget(struct index_advice *advice) {
  free((char *)(uintptr_t)advice->index.ptr);
  *advice = (struct index_advice){0};
}

void index_advisor_free(struct index_advisor *advisor) {
  if (advisor == NULL)
    return;
  for (size_t i = 0; i < advisor->count; i++)
    forget(&advisor->kept[i]);
  pthread_mutex_destroy(&advisor->lock);
  free(advisor);
}

/* The one of that index; or a new one, if need be in the place of the one that was not wanted for longest.
 * NULL without memory. */
static struct index_advice *take(struct index_advisor *advisor, str index) {
  size_t oldest = 0;
  for (size_t i = 0; i < advisor->count; i++) {
    if (str_eq(advisor->kept[i].index, index))
      return &advisor->kept[i];
    if (advisor->kept[i].last_us < advisor->kept[oldest].last_us)
      oldest = i;
  }
  char *copy = malloc(index.len);
  if (copy == NULL)
    return NULL;
  memcpy(copy, index.ptr, index.len);
  struct index_advice *place = &advisor->kept[oldest];
  if (advisor->count < ADVISOR_INDEXES)
    place = &advisor->kept[advisor->count++];
  forget(place);
  place->index = str_make(copy, index.len);
  return place;
}

void index_advisor_note(struct index_advisor *advisor, str index, int64_t duration_us) {
  static struct log_limiter limiter;
  if (advisor == NULL || index.len == 0 || index.len > ADVISOR_INDEX_BYTES)
    return;
  int64_t now_us = advisor->port->wall_us(advisor->port);
  bool is_first = false;
  pthread_mutex_lock(&advisor->lock);
  struct index_advice *advice = take(advisor, index);
  if (advice != NULL) {
    is_first = advice->queries++ == 0;
    advice->last_us = now_us;
    advice->duration_us += duration_us;
  }
  pthread_mutex_unlock(&advisor->lock);
  uint32_t suppressed;
  if (is_first && log_limiter_pass(&limiter, 5, &suppressed))
    log_event(LOG_LEVEL_INFO, "a composite index would help a query: see `skerry index suggest`",
              LOG_STR("index", index), LOG_INT("suppressed", suppressed));
}

static int compare_wanted(const void *a, const void *b) {
  const struct index_advice *left = a, *right = b;
  if (left->queries != right->queries)
    return left->queries < right->queries ? 1 : -1;
  return str_cmp(left->index, right->index);
}

void index_advisor_visit(struct index_advisor *advisor,
                         void (*visit)(void *argument, const struct index_advice *advice), void *argument) {
  pthread_mutex_lock(&advisor->lock);
  if (advisor->count > 0)
    qsort(advisor->kept, advisor->count, sizeof *advisor->kept, compare_wanted);
  for (size_t i = 0; i < advisor->count; i++)
    visit(argument, &advisor->kept[i]);
  pthread_mutex_unlock(&advisor->lock);
}
