/* Accounts in the hands of those who run the app. */
#include "server/identity/admin.h"

#include "server/identity/fields.h"
#include "server/identity/user_change.h"

enum { LOOKUP_MAX = 100 }; /* names in one call, documented */

status admin_enter(struct task *task, struct rpc_call *call, const char *project) {
  STATUS_TRY(task_init(task, call, project, ""));
  status result = access_enter_owner(task->service->access, call, task->project);
  if (result.code == STATUS_PERMISSION_DENIED)
    return status_make(STATUS_PERMISSION_DENIED, "INSUFFICIENT_PERMISSION : %s", result.message);
  return result;
}

/* ---- Create and update ---- */

/* sign_in_hash wants what a sign-in has: the password as it came and as it is stored. */
struct edit {
  struct sign_in in; /* first */
  struct user_change change;
  bool creates, ends_sessions;
};

static status commit_edit(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct edit *edit = (struct edit *)task;
  user_record made, *before = NULL;
  if (edit->creates) {
    user_record_init(&made, task->project.ptr, edit->in.uid.ptr, task->now_us);
  } else {
    STATUS_TRY(user_store_find(view, task->project, edit->in.uid, task->arena, &before));
    if (before == NULL)
      return status_make(STATUS_NOT_FOUND, "USER_NOT_FOUND");
  }
  user_record *user = user_record_copy(task->arena, before == NULL ? &made : before);
  if (user == NULL)
    return task_no_memory();
  edit->change.password = edit->in.hash;
  STATUS_TRY(user_change_apply(&edit->change, task->now_us, user));
  if (edit->ends_sessions)
    user_store_end_sessions(batch, user, STR(""));
  if (edit->ends_sessions || edit->change.valid_since_s != 0)
    user_store_delete_codes(batch, user);
  edit->in.user = user;
  return user_store_put(view, batch, task->arena, before, user);
}

static void reply_edit(struct task *task) {
  struct edit *edit = (struct edit *)task;
  if (edit->creates) {
    Skerry__Identity__V1__CreateAccountResponse created = SKERRY__IDENTITY__V1__CREATE_ACCOUNT_RESPONSE__INIT;
    created.local_id = edit->in.user->uid;
    identity_count(&task->service->counts.made[IDENTITY_ADMINISTRATOR], 1);
    skerry_identity_v1_account_admin_create_account_reply(task->call, &created);
    return;
  }
  Skerry__Identity__V1__UpdateAccountResponse updated = SKERRY__IDENTITY__V1__UPDATE_ACCOUNT_RESPONSE__INIT;
  updated.local_id = edit->in.user->uid;
  task_doubt(task, edit->in.user); /* disabled, revoked, other claims */
  skerry_identity_v1_account_admin_update_account_reply(task->call, &updated);
}

static void commit(struct task *task) {
  task_commit(task, commit_edit, reply_edit);
}

/* Checks the change and the password, and goes on. */
static void start_edit(struct edit *edit, status result, const char *password) {
  struct task *task = &edit->in.task;
  if (status_is_ok(&result))
    result = user_change_check(&edit->change, task->arena);
  if (status_is_ok(&result) && password != NULL) {
    edit->in.password = str_from_cstr(password);
    result = password_check_policy(edit->in.password);
  }
  if (!status_is_ok(&result))
    task_fail(task, result);
  else if (password != NULL)
    task_hash(task, sign_in_hash_memory(task->service), sign_in_hash, commit);
  else
    commit(task);
}

static status choose_uid(struct edit *edit, const char *wanted) {
  char *uid = arena_alloc(edit->in.task.arena, FIELDS_UID_MADE_BYTES + 1);
  if (uid == NULL)
    return task_no_memory();
  fields_make_uid(uid);
  edit->in.uid = *wanted == '\0' ? str_make(uid, FIELDS_UID_MADE_BYTES) : str_from_cstr(wanted);
  return fields_check_uid(edit->in.uid);
}

void identity_create_account(struct rpc_call *call,
                             const Skerry__Identity__V1__CreateAccountRequest *request) {
  struct edit *edit = TASK_NEW(call, edit);
  if (edit == NULL)
    return;
  status result = admin_enter(&edit->in.task, call, request->target_project_id);
  if (status_is_ok(&result))
    result = choose_uid(edit, request->local_id);
  edit->creates = true;
  edit->change = (struct user_change){.email = request->_email_case != 0 ? request->email : NULL,
                                      .display_name = request->display_name,
                                      .photo_url = request->photo_url,
                                      .email_verified = request->email_verified ? USER_SET : USER_UNCHANGED,
                                      .disabled = request->disabled ? USER_SET : USER_UNCHANGED};
  start_edit(edit, result, request->_password_case != 0 ? request->password : NULL);
}

static enum user_flag flag(bool is_there, bool value) {
  return !is_there ? USER_UNCHANGED : value ? USER_SET : USER_CLEARED;
}

void identity_update_account(struct rpc_call *call,
                             const Skerry__Identity__V1__UpdateAccountRequest *request) {
  struct edit *edit = TASK_NEW(call, edit);
  if (edit == NULL)
    return;
  status result = admin_enter(&edit->in.task, call, request->target_project_id);
  edit->in.uid = str_from_cstr(request->local_id);
  if (status_is_ok(&result) && edit->in.uid.len == 0)
    result = status_make(STATUS_INVALID_ARGUMENT, "MISSING_LOCAL_ID");
  if (status_is_ok(&result) && request->_valid_since_case != 0 && request->valid_since < 0)
    result = status_make(STATUS_INVALID_ARGUMENT, "INVALID_CLAIMS : valid_since is a time in seconds.");
  const char *claims = request->_custom_attributes_case == 0 ? NULL : request->custom_attributes;
  edit->change = (struct user_change){
      .email = request->_email_case != 0 ? request->email : NULL,
      .display_name = request->_display_name_case != 0 ? request->display_name : NULL,
      .photo_url = request->_photo_url_case != 0 ? request->photo_url : NULL,
      .custom_claims = claims,
      .email_verified = flag(request->_email_verified_case != 0, request->email_verified),
      .disabled = flag(request->_disable_user_case != 0, request->disable_user),
      .valid_since_s = request->_valid_since_case != 0 ? request->valid_since : 0,
      .withdraws_mfa = request->withdraw_mfa,
      .delete_attributes = request->delete_attribute,
      .delete_attribute_count = request->n_delete_attribute,
      .delete_providers = request->delete_provider,
      .delete_provider_count = request->n_delete_provider,
  };
  edit->ends_sessions = request->_password_case != 0 || request->_email_case != 0;
  start_edit(edit, result, request->_password_case != 0 ? request->password : NULL);
}

/* ---- Lookup and list ---- */

struct found {
  Skerry__Identity__V1__User **items;
  size_t count;
};

static status add_found(struct task *task, const user_record *user, struct found *found) {
  if (user == NULL)
    return status_ok();
  for (size_t i = 0; i < found->count; i++) /* under several of its names */
    if (strcmp(found->items[i]->local_id, user->uid) == 0)
      return status_ok();
  found->items[found->count] = user_describe(task->arena, user);
  return found->items[found->count++] == NULL ? task_no_memory() : status_ok();
}

static status find_all(struct task *task, const Skerry__Identity__V1__LookupAccountsRequest *request,
                       struct found *found) {
  struct user_view view;
  user_record *user;
  str email;
  size_t count = request->n_local_id + request->n_email + request->n_federated_user_id;
  if (request->n_local_id > LOOKUP_MAX || request->n_email > LOOKUP_MAX ||
      request->n_federated_user_id > LOOKUP_MAX || count > LOOKUP_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "TOO_MANY_IDS : At most %d at once.", LOOKUP_MAX);
  found->items = ARENA_NEW_ARRAY(task->arena, Skerry__Identity__V1__User *, count);
  if (found->items == NULL)
    return task_no_memory();
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  for (size_t i = 0; i < request->n_local_id; i++) {
    STATUS_TRY(
        user_store_find(&view, task->project, str_from_cstr(request->local_id[i]), task->arena, &user));
    STATUS_TRY(add_found(task, user, found));
  }
  for (size_t i = 0; i < request->n_email; i++) {
    STATUS_TRY(fields_canonical_email(str_from_cstr(request->email[i]), task->arena, &email));
    STATUS_TRY(user_store_find_email(&view, task->project, email, task->arena, &user));
    STATUS_TRY(add_found(task, user, found));
  }
  for (size_t i = 0; i < request->n_federated_user_id; i++) {
    const Skerry__Identity__V1__FederatedUserIdentifier *id = request->federated_user_id[i];
    STATUS_TRY(user_store_find_provider(&view, task->project, str_from_cstr(id->provider_id),
                                        str_from_cstr(id->raw_id), task->arena, &user));
    STATUS_TRY(add_found(task, user, found));
  }
  return status_ok();
}

void identity_lookup_accounts(struct rpc_call *call,
                              const Skerry__Identity__V1__LookupAccountsRequest *request) {
  struct task *task = TASK_NEW(call, task);
  struct found found = {0};
  if (task == NULL)
    return;
  status result = admin_enter(task, call, request->target_project_id);
  if (status_is_ok(&result))
    result = find_all(task, request, &found);
  if (!status_is_ok(&result)) {
    task_fail(task, result);
    return;
  }
  Skerry__Identity__V1__LookupResponse response = SKERRY__IDENTITY__V1__LOOKUP_RESPONSE__INIT;
  response.users = found.items;
  response.n_users = found.count;
  skerry_identity_v1_account_admin_lookup_accounts_reply(call, &response);
}

static status list(struct task *task, const Skerry__Identity__V1__ListAccountsRequest *request,
                   Skerry__Identity__V1__ListAccountsResponse *response) {
  struct user_view view;
  size_t max = request->max_results == 0 ? USER_PAGE_MAX : (size_t)request->max_results, count = 0;
  if (request->max_results < 0 || request->max_results > USER_PAGE_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_PAGE_SELECTION : A page has 1 to %d accounts.",
                       USER_PAGE_MAX);
  user_record **users = ARENA_NEW_ARRAY(task->arena, user_record *, max);
  response->users = ARENA_NEW_ARRAY(task->arena, Skerry__Identity__V1__User *, max);
  if (users == NULL || response->users == NULL)
    return task_no_memory();
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  STATUS_TRY(user_store_list(&view, task->project, str_from_cstr(request->next_page_token), max, task->arena,
                             users, &count));
  for (size_t i = 0; i < count; i++) {
    Skerry__Identity__V1__User *user = user_describe(task->arena, users[i]);
    if (user == NULL)
      return task_no_memory();
    if (*users[i]->password != '\0') {
      char *hash = users[i]->password;
      user->password_hash = (ProtobufCBinaryData){strlen(hash), (uint8_t *)(uintptr_t)hash};
    }
    response->users[response->n_users++] = user;
  }
  if (count == max)
    response->next_page_token = users[count - 1]->uid;
  return status_ok();
}

void identity_list_accounts(struct rpc_call *call, const Skerry__Identity__V1__ListAccountsRequest *request) {
  struct task *task = TASK_NEW(call, task);
  Skerry__Identity__V1__ListAccountsResponse response = SKERRY__IDENTITY__V1__LIST_ACCOUNTS_RESPONSE__INIT;
  if (task == NULL)
    return;
  status result = admin_enter(task, call, request->target_project_id);
  if (status_is_ok(&result))
    result = list(task, request, &response);
  if (status_is_ok(&result))
    skerry_identity_v1_account_admin_list_accounts_reply(call, &response);
  else
    task_fail(task, result);
}
