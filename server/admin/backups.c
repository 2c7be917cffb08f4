#include "server/admin/backups.h"

#include <stdlib.h>

#include "server/timestamp.h"

/* Text for a protobuf-c message, which wants `char *` but changes nothing. */
static char *text(const char *value) {
  return (char *)(uintptr_t)value;
}

/* On the thread of the backups, which has the call until `done`. A client that reads slowly misses some. */
static bool tell_progress(void *argument, const char *what, uint64_t bytes_done, uint64_t bytes_total) {
  struct rpc_call *call = argument;
  if (rpc_call_is_cancelled(call))
    return false;
  Skerry__Admin__V1__BackupResponse response = SKERRY__ADMIN__V1__BACKUP_RESPONSE__INIT;
  response.phase = text(what);
  response.bytes_done = (int64_t)bytes_done;
  response.bytes_total = (int64_t)bytes_total;
  return skerry_admin_v1_admin_backup_send(call, &response) != RPC_SEND_CLOSED;
}

static void tell_result(void *argument, const char *directory, status result,
                        const struct archive_made *made) {
  struct rpc_call *call = argument;
  Skerry__Admin__V1__BackupResponse response = SKERRY__ADMIN__V1__BACKUP_RESPONSE__INIT;
  Skerry__Admin__V1__Backup backup = SKERRY__ADMIN__V1__BACKUP__INIT;
  backup.directory = text(directory);
  backup.backup_id = made->id;
  backup.copied_bytes = (int64_t)made->copied_bytes;
  backup.same_medium = made->same_medium;
  response.phase = text("done");
  response.backup = &backup;
  if (status_is_ok(&result) && skerry_admin_v1_admin_backup_send(call, &response) != RPC_SEND_OK)
    result = status_make(STATUS_UNAVAILABLE, "The backup is made, but this answer could not be sent.");
  rpc_call_finish(call, result);
}

void admin_backup(struct rpc_call *call, const Skerry__Admin__V1__BackupRequest *request) {
  const struct admin *admin = rpc_call_service(call);
  struct backups_request wanted = {
      .limit_bytes_per_second = -1, .progress = tell_progress, .done = tell_result, .argument = call};
  if (request->_bytes_per_second_case != SKERRY__ADMIN__V1__BACKUP_REQUEST___BYTES_PER_SECOND__NOT_SET)
    wanted.limit_bytes_per_second = request->bytes_per_second < 0 ? 0 : request->bytes_per_second;
  status result = status_ok();
  if (request->directory[0] == '/') {
    wanted.directory = strdup(request->directory);
    if (wanted.directory == NULL)
      result = status_default(STATUS_RESOURCE_EXHAUSTED);
  } else if (request->directory[0] != '\0') {
    result = status_make(STATUS_INVALID_ARGUMENT, "The directory of a backup is an absolute path.");
  }
  if (status_is_ok(&result))
    result = backups_start(admin->backups, &wanted);
  if (status_is_ok(&result))
    return;
  free(wanted.directory);
  rpc_call_finish(call, result);
}

Skerry__Admin__V1__BackupStatus *admin_backup_status(const struct admin *admin, struct arena *arena) {
  struct backups_facts *facts = ARENA_NEW(arena, struct backups_facts);
  Skerry__Admin__V1__BackupStatus *ret = ARENA_NEW(arena, Skerry__Admin__V1__BackupStatus);
  if (facts == NULL || ret == NULL)
    return NULL;
  backups_facts(admin->backups, facts);
  skerry__admin__v1__backup_status__init(ret);
  ret->directory = text(facts->directory);
  ret->schedule = facts->is_scheduled ? admin->settings->backup_schedule : text("");
  ret->phase = facts->is_running ? facts->what : text("");
  ret->bytes_done = (int64_t)facts->bytes_done;
  ret->bytes_total = (int64_t)facts->bytes_total;
  ret->last_success_time = facts->last_success_us == 0 ? NULL : timestamp_new(arena, facts->last_success_us);
  ret->last_copied_bytes = (int64_t)facts->last_copied_bytes;
  ret->last_duration_us = facts->last_duration_us;
  ret->same_medium = facts->same_medium;
  ret->succeeded = (int64_t)facts->succeeded;
  ret->failed = (int64_t)facts->failed;
  ret->problem = facts->problem;
  return ret;
}
