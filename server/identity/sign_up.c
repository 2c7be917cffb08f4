/* New accounts, and anonymous ones that become permanent. */
#include "server/identity/fields.h"
#include "server/identity/handlers.h"
#include "server/identity/user_change.h"

struct sign_up {
  struct sign_in in; /* first */
  struct user_change change;
};

/* A new account, or the one that is linked, with its fields and a session. */
static status commit_sign_up(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct sign_up *up = (struct sign_up *)task;
  struct sign_in *in = &up->in;
  user_record made, *before = NULL;
  if (in->is_linking) {
    session_record *session;
    STATUS_TRY(task_find_signed_in(task, view, &in->linked, &before, &session));
    in->session.record.second_factor_id = session->second_factor_id;
    STATUS_TRY(user_change_check_email(up->change.email, false, before));
    if (*before->password != '\0')
      return status_make(STATUS_INVALID_ARGUMENT, "PROVIDER_ALREADY_LINKED");
  } else {
    user_record_init(&made, task->project.ptr, in->uid.ptr, task->now_us);
    made.anonymous = true; /* until a change gives it something else */
  }
  user_record *user = user_record_copy(task->arena, before == NULL ? &made : before);
  if (user == NULL)
    return task_no_memory();
  up->change.password = in->hash;
  STATUS_TRY(user_change_apply(&up->change, task->now_us, user));
  if (in->is_linking) {
    user_store_end_sessions(batch, user, STR(""));
    user_store_delete_codes(batch, user);
  }
  STATUS_TRY(sign_in_session_put(task, &in->session, user, batch));
  in->user = user;
  return user_store_put(view, batch, task->arena, before, user);
}

static void reply(struct task *task) {
  task_end_attempt(task, false);
  const struct sign_in *in = (const struct sign_in *)task;
  if (in->is_linking) /* its sessions ended */
    task_doubt(task, in->user);
  sign_in_reply(task);
}

static void commit(struct task *task) {
  struct sign_in *in = (struct sign_in *)task;
  in->way = in->hash == NULL ? IDENTITY_ANONYMOUS : IDENTITY_PASSWORD;
  sign_in_session_init(task, in->hash == NULL ? "anonymous" : "password", "", &in->session);
  task_commit(task, commit_sign_up, reply);
}

static status read_credentials(struct sign_up *up, const Skerry__Identity__V1__SignUpRequest *request) {
  struct sign_in *in = &up->in;
  struct user_view view;
  user_record *user;
  if (*request->email == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_EMAIL");
  if (*request->password == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_PASSWORD");
  up->change.email = request->email;
  in->password = str_from_cstr(request->password);
  STATUS_TRY(password_check_policy(in->password));
  STATUS_TRY(user_change_check(&up->change, in->task.arena));
  STATUS_TRY(task_begin_sign_up(&in->task)); /* what follows tells whether an address is taken */
  /* Before the expensive part; the commit looks again. */
  STATUS_TRY(user_view_now(in->task.service->options.store, &view));
  STATUS_TRY(
      user_store_find_email(&view, in->task.project, str_from_cstr(up->change.email), in->task.arena, &user));
  if (user != NULL && !(in->is_linking && str_eq(str_from_cstr(user->uid), in->uid)))
    return status_make(STATUS_ALREADY_EXISTS, "EMAIL_EXISTS");
  return status_ok();
}

static status begin(struct sign_up *up, const Skerry__Identity__V1__SignUpRequest *request,
                    bool *ret_has_password) {
  struct sign_in *in = &up->in;
  in->is_linking = *request->id_token != '\0';
  in->is_new = !in->is_linking;
  if (in->is_linking) {
    STATUS_TRY(task_read_linked(&in->task, request->id_token, &in->linked, &in->user));
    in->uid = in->linked.uid;
  } else {
    char *uid = arena_alloc(in->task.arena, FIELDS_UID_MADE_BYTES + 1);
    if (uid == NULL)
      return task_no_memory();
    if (in->task.service->options.sign_up_closed)
      return status_make(STATUS_PERMISSION_DENIED,
                         "ADMIN_ONLY_OPERATION : This server takes no new accounts.");
    fields_make_uid(uid);
    in->uid = str_make(uid, FIELDS_UID_MADE_BYTES);
  }
  if (*request->display_name != '\0')
    up->change.display_name = request->display_name;
  if (*request->photo_url != '\0')
    up->change.photo_url = request->photo_url;
  *ret_has_password = request->_email_case != 0 || request->_password_case != 0 || in->is_linking;
  if (*ret_has_password)
    return read_credentials(up, request);
  STATUS_TRY(user_change_check(&up->change, in->task.arena));
  return task_begin_sign_up(&in->task);
}

void identity_sign_up(struct rpc_call *call, const Skerry__Identity__V1__SignUpRequest *request) {
  struct sign_up *up = TASK_NEW(call, sign_up);
  if (up == NULL)
    return;
  bool has_password = false;
  status result = task_init(&up->in.task, call, request->target_project_id, request->tenant_id);
  if (status_is_ok(&result))
    result = begin(up, request, &has_password);
  if (!status_is_ok(&result))
    task_fail(&up->in.task, result);
  else if (has_password)
    task_hash(&up->in.task, sign_in_hash_memory(up->in.task.service), sign_in_hash, commit);
  else
    commit(&up->in.task);
}
