/* What users do with their own accounts. */
#include "server/identity/handlers.h"
#include "server/identity/user_change.h"

/* ---- Lookup ---- */

void identity_lookup(struct rpc_call *call, const Skerry__Identity__V1__LookupRequest *request) {
  struct task *task = TASK_NEW(call, task);
  struct id_token token;
  user_record *user;
  if (task == NULL)
    return;
  status result = task_init(task, call, request->target_project_id, request->tenant_id);
  if (status_is_ok(&result))
    result = task_read_id_token(task, request->id_token, &token, &user);
  Skerry__Identity__V1__LookupResponse response = SKERRY__IDENTITY__V1__LOOKUP_RESPONSE__INIT;
  Skerry__Identity__V1__User *users[1] = {NULL};
  if (status_is_ok(&result)) {
    users[0] = user_describe(task->arena, user);
    if (users[0] == NULL)
      result = task_no_memory();
  }
  if (!status_is_ok(&result)) {
    task_fail(task, result);
    return;
  }
  users[0]->custom_attributes = task_text(""); /* apps see claims in their tokens */
  response.users = users;
  response.n_users = 1;
  skerry_identity_v1_accounts_lookup_reply(call, &response);
}

/* ---- Update ---- */

struct update {
  struct sign_in in; /* first */
  struct user_change change;
  struct id_token token;
  bool renews; /* the other sessions end, and there is a new one */
};

static status commit_update(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct update *update = (struct update *)task;
  struct sign_in *in = &update->in;
  user_record *before;
  session_record *session;
  STATUS_TRY(task_find_signed_in(task, view, &update->token, &before, &session));
  STATUS_TRY(user_change_check_email(update->change.email, false, before));
  user_record *user = user_record_copy(task->arena, before);
  if (user == NULL)
    return task_no_memory();
  update->change.password = in->hash;
  STATUS_TRY(user_change_apply(&update->change, task->now_us, user));
  if (update->renews) {
    STATUS_TRY(sign_in_session_renew(task, &in->session, session, user, batch));
    if (before->anonymous && !user->anonymous) {
      in->session.record.sign_in_provider = task_text("password");
      STATUS_TRY(user_store_put_session(batch, task->arena, in->session.token.session, &in->session.record));
    }
  }
  in->user = user;
  return user_store_put(view, batch, task->arena, before, user);
}

static void reply_update(struct task *task) {
  struct update *update = (struct update *)task;
  const user_record *user = update->in.user;
  Skerry__Identity__V1__UpdateResponse response = SKERRY__IDENTITY__V1__UPDATE_RESPONSE__INIT;
  status result = status_ok();
  task_end_attempt(task, update->change.email == NULL);
  if (update->renews) {
    task_doubt(task, user);
    result =
        sign_in_session_tokens(task, &update->in.session, user, &response.id_token, &response.refresh_token);
    response.expires_in = task->service->maker.lifetime_s;
  }
  if (status_is_ok(&result) && !user_describe_providers(task->arena, user, &response.provider_user_info,
                                                        &response.n_provider_user_info))
    result = task_no_memory();
  if (!status_is_ok(&result)) {
    task_fail(task, result);
    return;
  }
  response.local_id = user->uid;
  response.email = user->email;
  response.display_name = user->display_name;
  response.photo_url = user->photo_url;
  response.email_verified = user->email_verified;
  skerry_identity_v1_accounts_update_reply(task->call, &response);
}

static void commit(struct task *task) {
  struct update *update = (struct update *)task;
  if (update->renews)
    sign_in_session_init(task, "", "", &update->in.session);
  task_commit(task, commit_update, reply_update);
}

static status begin_update(struct update *update, const Skerry__Identity__V1__UpdateRequest *request) {
  struct task *task = &update->in.task;
  user_record *user;
  STATUS_TRY(task_read_id_token(task, request->id_token, &update->token, &user));
  update->change = (struct user_change){
      .email = request->_email_case != 0 ? request->email : NULL,
      .display_name = request->_display_name_case != 0 ? request->display_name : NULL,
      .photo_url = request->_photo_url_case != 0 ? request->photo_url : NULL,
      .delete_attributes = request->delete_attribute,
      .delete_attribute_count = request->n_delete_attribute,
      .delete_providers = request->delete_provider,
      .delete_provider_count = request->n_delete_provider,
  };
  if (update->change.email != NULL && *update->change.email == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_EMAIL");
  STATUS_TRY(user_change_check(&update->change, task->arena));
  if (request->_password_case != 0) {
    update->in.password = str_from_cstr(request->password);
    STATUS_TRY(password_check_policy(update->in.password));
  }
  update->renews = update->change.email != NULL || request->_password_case != 0;
  if (update->renews || request->n_delete_provider > 0)
    STATUS_TRY(task_check_recent(task, &update->token, user));
  /* New addresses tell which are taken, and new passwords keep the thread busy that everybody waits for. */
  return update->renews ? task_begin_attempt_at(task, "change of", update->token.uid) : status_ok();
}

void identity_update(struct rpc_call *call, const Skerry__Identity__V1__UpdateRequest *request) {
  if (*request->oob_code != '\0') {
    identity_apply_code(call, request);
    return;
  }
  struct update *update = TASK_NEW(call, update);
  if (update == NULL)
    return;
  status result = task_init(&update->in.task, call, request->target_project_id, request->tenant_id);
  if (status_is_ok(&result))
    result = begin_update(update, request);
  if (!status_is_ok(&result))
    task_fail(&update->in.task, result);
  else if (update->in.password.len > 0)
    task_hash(&update->in.task, sign_in_hash_memory(update->in.task.service), sign_in_hash, commit);
  else
    commit(&update->in.task);
}

/* ---- Delete ---- */

struct deletion {
  struct task task;
  struct id_token token;
};

static status commit_delete(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  const struct deletion *deletion = (const struct deletion *)task;
  user_record *user;
  session_record *session;
  STATUS_TRY(task_find_signed_in(task, view, &deletion->token, &user, &session));
  return user_store_delete(batch, task->arena, user);
}

static void reply_delete(struct task *task) {
  Skerry__Identity__V1__DeleteResponse response = SKERRY__IDENTITY__V1__DELETE_RESPONSE__INIT;
  identity_count(&task->service->counts.deleted[IDENTITY_BY_OWNER], 1);
  tokens_doubt_user(task->service->tokens, ((const struct deletion *)task)->token.uid);
  skerry_identity_v1_accounts_delete_reply(task->call, &response);
}

void identity_delete(struct rpc_call *call, const Skerry__Identity__V1__DeleteRequest *request) {
  struct deletion *deletion = TASK_NEW(call, deletion);
  user_record *user;
  if (deletion == NULL)
    return;
  status result = task_init(&deletion->task, call, request->target_project_id, request->tenant_id);
  if (status_is_ok(&result))
    result = task_read_id_token(&deletion->task, request->id_token, &deletion->token, &user);
  if (status_is_ok(&result))
    result = task_check_recent(&deletion->task, &deletion->token, user);
  if (status_is_ok(&result))
    task_commit(&deletion->task, commit_delete, reply_delete);
  else
    task_fail(&deletion->task, result);
}
