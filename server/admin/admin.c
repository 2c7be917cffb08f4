#include "server/admin/admin.h"

#include <stdlib.h>

#include "base/wire.h"
#include "server/admin/accounts.h"
#include "server/admin/backups.h"
#include "server/admin/front_status.h"
#include "server/admin/indexes.h"
#include "server/admin/keys.h"
#include "server/admin/rules.h"
#include "skerry/admin/v1/admin.skerry.h"

static Skerry__Admin__V1__StoreStatus__Health health_of(enum kv_health health) {
  switch (health) {
  case KV_HEALTHY:
    return SKERRY__ADMIN__V1__STORE_STATUS__HEALTH__HEALTH_OK;
  case KV_NO_SPACE:
    return SKERRY__ADMIN__V1__STORE_STATUS__HEALTH__HEALTH_NO_SPACE;
  case KV_READ_ONLY:
    return SKERRY__ADMIN__V1__STORE_STATUS__HEALTH__HEALTH_READ_ONLY;
  case KV_RECOVERING:
    return SKERRY__ADMIN__V1__STORE_STATUS__HEALTH__HEALTH_RECOVERING;
  case KV_DAMAGED:
    return SKERRY__ADMIN__V1__STORE_STATUS__HEALTH__HEALTH_CORRUPT;
  }
  return SKERRY__ADMIN__V1__STORE_STATUS__HEALTH__HEALTH_UNSPECIFIED;
}

static Skerry__Admin__V1__GetStatusResponse__ServingState state_of(const struct admin *admin,
                                                                   const struct kv_info *info) {
  switch (atomic_load(&admin->state)) {
  case ADMIN_STARTING:
    return SKERRY__ADMIN__V1__GET_STATUS_RESPONSE__SERVING_STATE__STARTING;
  case ADMIN_DRAINING:
    return SKERRY__ADMIN__V1__GET_STATUS_RESPONSE__SERVING_STATE__DRAINING;
  case ADMIN_SERVING:
    break;
  }
  return info->health == KV_HEALTHY && info->clock_trusted
             ? SKERRY__ADMIN__V1__GET_STATUS_RESPONSE__SERVING_STATE__SERVING
             : SKERRY__ADMIN__V1__GET_STATUS_RESPONSE__SERVING_STATE__DEGRADED;
}

/* Text for a protobuf-c message, which wants `char *` but changes nothing. */
static char *text(const char *value) {
  return (char *)(uintptr_t)value;
}

struct method_list {
  struct arena *arena;
  Skerry__Admin__V1__MethodStatus **items;
  size_t count, capacity;
};

static void visit_method(void *argument, const struct rpc_method_stats *stats) {
  struct method_list *list = argument;
  if (stats->started == 0)
    return;
  Skerry__Admin__V1__MethodStatus *method = ARENA_NEW(list->arena, Skerry__Admin__V1__MethodStatus);
  if (method == NULL)
    return;
  if (list->count == list->capacity) {
    size_t capacity = list->capacity == 0 ? 32 : list->capacity * 2;
    Skerry__Admin__V1__MethodStatus **items =
        ARENA_NEW_ARRAY(list->arena, Skerry__Admin__V1__MethodStatus *, capacity);
    if (items == NULL)
      return;
    if (list->count > 0)
      memcpy(items, list->items, list->count * sizeof *items);
    list->items = items;
    list->capacity = capacity;
  }
  skerry__admin__v1__method_status__init(method);
  method->path = text(stats->method->path);
  method->started = (int64_t)stats->started;
  method->finished_ok = (int64_t)stats->ok;
  method->finished_failed = (int64_t)stats->failed;
  method->messages_in = (int64_t)stats->messages_in;
  method->messages_out = (int64_t)stats->messages_out;
  method->latency_p50_us = (int64_t)stats->latency_us_p50;
  method->latency_p99_us = (int64_t)stats->latency_us_p99;
  list->items[list->count++] = method;
}

static int compare_methods(const void *a, const void *b) {
  const Skerry__Admin__V1__MethodStatus *const *left = a, *const *right = b;
  return strcmp((*left)->path, (*right)->path);
}

static void fill_store(const struct admin *admin, struct kv_info *info, Skerry__Admin__V1__StoreStatus *ret) {
  ret->health = health_of(info->health);
  ret->health_message = info->health_text;
  ret->data_dir = admin->settings->data;
  ret->format_number = info->format;
  ret->last_version_us = info->newest;
  ret->oldest_version_us = info->oldest_history;
  ret->disk_free_bytes = (int64_t)info->disk_free_bytes;
  ret->disk_total_bytes = (int64_t)info->disk_total_bytes;
  ret->data_bytes = (int64_t)info->data_bytes;
  ret->keys_estimate = (int64_t)info->keys_estimate;
  ret->cache_bytes = (int64_t)info->cache_bytes;
  ret->memtable_bytes = (int64_t)info->write_buffer_bytes;
  ret->commits = (int64_t)info->commits;
  ret->syncs = (int64_t)info->syncs;
}

/* A box without a battery for its clock boots in 1970, or where it was switched off. */
enum { CLOCK_FAR_OFF_S = 24 * 3600 };

static const char *clock_source(const struct admin *admin, const struct kv_info *info) {
  int64_t behind_us = info->now - admin->port->wall_us(admin->port);
  if (behind_us / 1000000 > CLOCK_FAR_OFF_S)
    return info->clock_trusted
               ? "the wall clock is behind the newest commit by more than a day: is it right?"
               : "not synchronised, and behind the newest commit by more than a day: set the time";
  if (admin->settings->clock == SETTINGS_CLOCK_TRUSTED)
    return "clock = trusted";
  if (admin->settings->dev)
    return "trusted in development mode";
  return info->clock_trusted ? "synchronised by the kernel"
                             : "not synchronised: set the time, or clock = trusted";
}

static void get_status(struct rpc_call *call, const Skerry__Admin__V1__GetStatusRequest *request) {
  (void)request;
  struct admin *admin = rpc_call_service(call);
  struct kv_info info;
  kv_info(admin->store, &info);
  struct port_memory used = admin->port->memory(admin->port);
  struct rpc_server_stats stats;
  rpc_server_stats(admin->server, &stats);

  Skerry__Admin__V1__GetStatusResponse response = SKERRY__ADMIN__V1__GET_STATUS_RESPONSE__INIT;
  Skerry__Admin__V1__StoreStatus store = SKERRY__ADMIN__V1__STORE_STATUS__INIT;
  Skerry__Admin__V1__MemoryStatus memory = SKERRY__ADMIN__V1__MEMORY_STATUS__INIT;
  Skerry__Admin__V1__ClockStatus clock = SKERRY__ADMIN__V1__CLOCK_STATUS__INIT;
  Google__Protobuf__Timestamp start = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  struct wire_timestamp started = wire_timestamp_from_us(admin->started_wall_us);
  start.seconds = started.seconds;
  start.nanos = started.nanos;
  fill_store(admin, &info, &store);
  memory.limit_bytes = (int64_t)admin->memory_limit_bytes;
  memory.resident_bytes = (int64_t)used.resident_bytes;
  memory.profile = text(admin->profile->name);
  struct relief_info relief;
  relief_info(admin->relief, &relief);
  memory.surroundings_used_bytes = (int64_t)relief.used_bytes;
  memory.surroundings_limit_bytes = (int64_t)relief.limit_bytes;
  memory.caches_sixteenths = (int32_t)relief_sixteenths(relief.level);
  clock.trusted = info.clock_trusted;
  clock.source = text(clock_source(admin, &info));

  response.version = text(SKERRY_VERSION);
  response.start_time = &start;
  response.uptime_seconds = (admin->port->monotonic_us(admin->port) - admin->started_monotonic_us) / 1000000;
  response.serving_state = state_of(admin, &info);
  response.development_mode = admin->settings->dev;
  if (!admin->settings->dev) {
    response.project_ids = (char **)(uintptr_t)admin->settings->projects.items;
    response.n_project_ids = admin->settings->projects.count;
  }
  response.listen_addresses = (char **)(uintptr_t)admin->addresses;
  response.n_listen_addresses = admin->address_count;
  response.store = &store;
  response.memory = &memory;
  response.clock = &clock;
  response.calls_open = (int64_t)stats.calls_active;
  struct firestore_stats documents;
  firestore_service_stats(admin->firestore, &documents);
  response.transactions_open = (int64_t)documents.transactions;
  response.listen_streams = (int64_t)documents.listen_streams;
  response.listen_targets = (int64_t)documents.listen_targets;
  Skerry__Admin__V1__IndexWork indexes = SKERRY__ADMIN__V1__INDEX_WORK__INIT;
  status counted = admin_index_work(admin, &indexes);
  response.indexes = status_is_ok(&counted) ? &indexes : NULL;
  response.backups = admin_backup_status(admin, rpc_call_arena(call));
  response.front = admin_front_status(admin, rpc_call_arena(call));
  response.connections_open = (int64_t)stats.connections_open;
  if (response.front != NULL)
    response.connections_open += response.front->http_connections;
  response.accounts = admin_accounts_status(admin, rpc_call_arena(call));
  response.issuers = admin_issuers(admin, rpc_call_arena(call), &response.n_issuers);
  struct method_list methods = {.arena = rpc_call_arena(call)};
  rpc_server_visit_methods(admin->server, visit_method, &methods);
  if (methods.count > 0)
    qsort(methods.items, methods.count, sizeof *methods.items, compare_methods);
  response.methods = methods.items;
  response.n_methods = methods.count;
  skerry_admin_v1_admin_get_status_reply(call, &response);
}

static const struct skerry_admin_v1_admin_handlers handlers = {
    .get_status = get_status,
    .backup = admin_backup,
    .apply_indexes = admin_apply_indexes,
    .list_indexes = admin_list_indexes,
    .suggest_indexes = admin_suggest_indexes,
    .create_service_account_key = admin_create_key,
    .list_service_account_keys = admin_list_keys,
    .deploy_rules = admin_deploy_rules,
    .get_rules = admin_get_rules,
    .revoke_service_account_key = admin_revoke_key,
};

status admin_register(struct admin *admin, struct rpc_server *on) {
  return rpc_server_add_service(on, &skerry_admin_v1_admin_service, &handlers, admin);
}
