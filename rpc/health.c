/* The mutex guards all of it. It is held while a change is sent to watchers, across rpc_call_send and
 * rpc_call_finish: what those complete comes back through a completion queue, never from inside, and nobody
 * asks for this mutex with a call's held; so the order is health, then call. */
#include "rpc/health.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "grpc/health/v1/health.skerry.h"

typedef Grpc__Health__V1__HealthCheckRequest check_request;
typedef Grpc__Health__V1__HealthCheckResponse check_response;
typedef Grpc__Health__V1__HealthListResponse__StatusesEntry statuses_entry;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;
#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN
#define NEVER_SENT GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__UNKNOWN

struct subject {
  const char *name;
  bool serving;
};

/* One Watch call; in its arena. */
struct watcher {
  struct rpc_health *health;
  struct rpc_call *call;
  const char *service;
  serving_status sent;
  bool is_listed;
  struct watcher *previous, *next;
};

struct rpc_health {
  pthread_mutex_t mutex;
  struct subject *subjects;
  size_t subject_count;
  struct watcher *watchers;
  bool is_closed;
};

/* ---- With the mutex held ---- */

static struct subject *find(struct rpc_health *health, const char *service) {
  for (size_t i = 0; i < health->subject_count; i++)
    if (strcmp(health->subjects[i].name, service) == 0)
      return &health->subjects[i];
  return NULL;
}

static serving_status status_of(struct rpc_health *health, const char *service) {
  const struct subject *subject = find(health, service);
  return subject == NULL ? SERVICE_UNKNOWN : subject->serving ? SERVING : NOT_SERVING;
}

static void unlist(struct watcher *watcher) {
  if (!watcher->is_listed)
    return;
  if (watcher->previous != NULL)
    watcher->previous->next = watcher->next;
  else
    watcher->health->watchers = watcher->next;
  if (watcher->next != NULL)
    watcher->next->previous = watcher->previous;
  watcher->is_listed = false;
}

/* Sends the status if the watcher has not heard it. A full queue is tried again when it drains. */
static void tell(struct watcher *watcher) {
  serving_status now = status_of(watcher->health, watcher->service);
  if (now == watcher->sent)
    return;
  check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  response.status = now;
  if (grpc_health_v1_health_watch_send(watcher->call, &response) == RPC_SEND_OK)
    watcher->sent = now;
}

/* ---- Handlers ---- */

static void check(struct rpc_call *call, const check_request *request) {
  struct rpc_health *health = rpc_call_service(call);
  pthread_mutex_lock(&health->mutex);
  serving_status now = status_of(health, request->service);
  pthread_mutex_unlock(&health->mutex);
  if (now == SERVICE_UNKNOWN) {
    rpc_call_finish(call, status_make(STATUS_NOT_FOUND, "unknown service %s", request->service));
    return;
  }
  check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  response.status = now;
  grpc_health_v1_health_check_reply(call, &response);
}

static void on_drained(struct rpc_call *call, void *state) {
  (void)call;
  struct watcher *watcher = state;
  struct rpc_health *health = watcher->health;
  pthread_mutex_lock(&health->mutex);
  if (watcher->is_listed)
    tell(watcher);
  pthread_mutex_unlock(&health->mutex);
}

/* Whoever takes a watcher off the list finishes its call. */
static void on_cancelled(struct rpc_call *call, void *state) {
  struct watcher *watcher = state;
  struct rpc_health *health = watcher->health;
  pthread_mutex_lock(&health->mutex);
  bool was_listed = watcher->is_listed;
  unlist(watcher);
  pthread_mutex_unlock(&health->mutex);
  if (was_listed)
    rpc_call_finish(call, status_default(STATUS_CANCELLED));
}

static const struct rpc_call_events watch_events = {.drained = on_drained, .cancelled = on_cancelled};

static void watch(struct rpc_call *call, const check_request *request) {
  struct rpc_health *health = rpc_call_service(call);
  struct watcher *watcher = ARENA_NEW(rpc_call_arena(call), struct watcher);
  if (watcher == NULL) {
    rpc_call_finish(call, status_default(STATUS_RESOURCE_EXHAUSTED));
    return;
  }
  *watcher =
      (struct watcher){.health = health, .call = call, .service = request->service, .sent = NEVER_SENT};
  rpc_call_watch(call, &watch_events, watcher);
  pthread_mutex_lock(&health->mutex);
  tell(watcher);
  if (health->is_closed) {
    rpc_call_finish(call, status_ok());
  } else {
    watcher->next = health->watchers;
    if (watcher->next != NULL)
      watcher->next->previous = watcher;
    health->watchers = watcher;
    watcher->is_listed = true;
  }
  pthread_mutex_unlock(&health->mutex);
}

static void list(struct rpc_call *call, const Grpc__Health__V1__HealthListRequest *request) {
  (void)request;
  struct rpc_health *health = rpc_call_service(call);
  struct arena *arena = rpc_call_arena(call);
  size_t count = health->subject_count;
  statuses_entry *entries = ARENA_NEW_ARRAY(arena, statuses_entry, count);
  statuses_entry **pointers = ARENA_NEW_ARRAY(arena, statuses_entry *, count);
  check_response *statuses = ARENA_NEW_ARRAY(arena, check_response, count);
  if (entries == NULL || pointers == NULL || statuses == NULL) {
    rpc_call_finish(call, status_default(STATUS_RESOURCE_EXHAUSTED));
    return;
  }
  pthread_mutex_lock(&health->mutex);
  for (size_t i = 0; i < count; i++) {
    grpc__health__v1__health_check_response__init(&statuses[i]);
    statuses[i].status = health->subjects[i].serving ? SERVING : NOT_SERVING;
    grpc__health__v1__health_list_response__statuses_entry__init(&entries[i]);
    entries[i].key = (char *)(uintptr_t)health->subjects[i].name;
    entries[i].value = &statuses[i];
    pointers[i] = &entries[i];
  }
  pthread_mutex_unlock(&health->mutex);
  Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
  response.n_statuses = count;
  response.statuses = pointers;
  grpc_health_v1_health_list_reply(call, &response);
}

static const struct grpc_health_v1_health_handlers handlers = {.check = check, .watch = watch, .list = list};

/* ---- The runtime's side ---- */

status rpc_health_new(struct rpc_server *server, const struct rpc_service *const *services, size_t count,
                      struct rpc_health **ret) {
  struct rpc_health *health = calloc(1, sizeof *health);
  if (health == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  health->subjects = calloc(count + 1, sizeof *health->subjects);
  if (health->subjects == NULL) {
    free(health);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  pthread_mutex_init(&health->mutex, NULL);
  health->subjects[0].name = "";
  for (size_t i = 0; i < count; i++)
    health->subjects[i + 1].name = services[i]->name;
  health->subject_count = count + 1;
  status result = rpc_server_add_service(server, &grpc_health_v1_health_service, &handlers, health);
  if (result.code != STATUS_OK) {
    rpc_health_free(health);
    return result;
  }
  *ret = health;
  return result;
}

void rpc_health_free(struct rpc_health *health) {
  if (health == NULL)
    return;
  assert(health->watchers == NULL);
  pthread_mutex_destroy(&health->mutex);
  free(health->subjects);
  free(health);
}

void rpc_health_set(struct rpc_health *health, const char *service, bool serving) {
  pthread_mutex_lock(&health->mutex);
  struct subject *subject = find(health, service);
  if (subject != NULL && !health->is_closed && subject->serving != serving) {
    subject->serving = serving;
    for (struct watcher *watcher = health->watchers; watcher != NULL; watcher = watcher->next)
      tell(watcher);
  }
  pthread_mutex_unlock(&health->mutex);
}

bool rpc_health_get(struct rpc_health *health, const char *service) {
  pthread_mutex_lock(&health->mutex);
  bool serving = status_of(health, service) == SERVING;
  pthread_mutex_unlock(&health->mutex);
  return serving;
}

void rpc_health_close(struct rpc_health *health) {
  if (health == NULL)
    return;
  pthread_mutex_lock(&health->mutex);
  health->is_closed = true;
  for (size_t i = 0; i < health->subject_count; i++)
    health->subjects[i].serving = false;
  while (health->watchers != NULL) {
    struct watcher *watcher = health->watchers;
    tell(watcher);
    unlist(watcher);
    /* With an error what is queued would be dropped, and the watcher would not hear NOT_SERVING. */
    rpc_call_finish(watcher->call, status_ok());
  }
  pthread_mutex_unlock(&health->mutex);
}
