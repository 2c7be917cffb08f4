/* Accounts that administrators delete. */
#include "server/identity/admin.h"

struct removal {
  struct task task;
  char *const *uids;
  size_t count;
  bool only_disabled, is_batch;
  /* Of each: why it was not deleted; NULL: it was, or was not there. */
  const char **refusals;
  uint64_t deleted; /* as was committed */
};

static status commit_removal(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct removal *removal = (struct removal *)task;
  removal->deleted = 0;
  for (size_t i = 0; i < removal->count; i++) {
    user_record *user;
    STATUS_TRY(user_store_find(view, task->project, str_from_cstr(removal->uids[i]), task->arena, &user));
    if (user == NULL && !removal->is_batch)
      return status_make(STATUS_NOT_FOUND, "USER_NOT_FOUND");
    bool refused = user != NULL && removal->only_disabled && !user->disabled;
    removal->refusals[i] =
        refused ? "NOT_DISABLED : Disable the account before you batch delete it, or force it." : NULL;
    if (user == NULL || refused)
      continue;
    STATUS_TRY(user_store_delete(batch, task->arena, user));
    removal->deleted++;
  }
  return status_ok();
}

static void reply_removal(struct task *task) {
  struct removal *removal = (struct removal *)task;
  identity_count(&task->service->counts.deleted[IDENTITY_BY_ADMINISTRATOR], removal->deleted);
  for (size_t i = 0; i < removal->count; i++)
    tokens_doubt_user(task->service->tokens, str_from_cstr(removal->uids[i]));
  if (!removal->is_batch) {
    Skerry__Identity__V1__DeleteAccountResponse one = SKERRY__IDENTITY__V1__DELETE_ACCOUNT_RESPONSE__INIT;
    skerry_identity_v1_account_admin_delete_account_reply(task->call, &one);
    return;
  }
  Skerry__Identity__V1__BatchDeleteAccountsResponse response =
      SKERRY__IDENTITY__V1__BATCH_DELETE_ACCOUNTS_RESPONSE__INIT;
  response.errors = ARENA_NEW_ARRAY(task->arena, Skerry__Identity__V1__BatchDeleteAccountsResponse__Error *,
                                    removal->count);
  for (size_t i = 0; i < removal->count && response.errors != NULL; i++) {
    if (removal->refusals[i] == NULL)
      continue;
    Skerry__Identity__V1__BatchDeleteAccountsResponse__Error *error =
        ARENA_NEW(task->arena, Skerry__Identity__V1__BatchDeleteAccountsResponse__Error);
    if (error == NULL)
      break;
    skerry__identity__v1__batch_delete_accounts_response__error__init(error);
    error->index = (int32_t)i;
    error->local_id = removal->uids[i];
    error->message = task_text(removal->refusals[i]);
    response.errors[response.n_errors++] = error;
  }
  if (task->arena->exhausted)
    task_fail(task, task_no_memory());
  else
    skerry_identity_v1_account_admin_batch_delete_accounts_reply(task->call, &response);
}

static void start_removal(struct removal *removal, status result) {
  struct task *task = &removal->task;
  if (status_is_ok(&result) && removal->count > USER_PAGE_MAX)
    result = status_make(STATUS_INVALID_ARGUMENT, "TOO_MANY_IDS : At most %d at once.", USER_PAGE_MAX);
  if (status_is_ok(&result)) {
    removal->refusals = ARENA_NEW_ARRAY(task->arena, const char *, removal->count);
    if (removal->refusals == NULL)
      result = task_no_memory();
  }
  if (status_is_ok(&result))
    task_commit(task, commit_removal, reply_removal);
  else
    task_fail(task, result);
}

void identity_delete_account(struct rpc_call *call,
                             const Skerry__Identity__V1__DeleteAccountRequest *request) {
  struct removal *removal = TASK_NEW(call, removal);
  if (removal == NULL)
    return;
  status result = admin_enter(&removal->task, call, request->target_project_id);
  if (status_is_ok(&result) && *request->local_id == '\0')
    result = status_make(STATUS_INVALID_ARGUMENT, "MISSING_LOCAL_ID");
  removal->uids = &request->local_id;
  removal->count = 1;
  start_removal(removal, result);
}

void identity_batch_delete_accounts(struct rpc_call *call,
                                    const Skerry__Identity__V1__BatchDeleteAccountsRequest *request) {
  struct removal *removal = TASK_NEW(call, removal);
  if (removal == NULL)
    return;
  status result = admin_enter(&removal->task, call, request->target_project_id);
  removal->uids = request->local_ids;
  removal->count = request->n_local_ids;
  removal->is_batch = true;
  removal->only_disabled = !request->force;
  start_removal(removal, result);
}
