/* Where a user is signed in. */
#include "base/base64url.h"
#include "server/identity/handlers.h"
#include "server/timestamp.h"

enum { SESSION_ID_TEXT_BYTES = 22 };

static char *write_id(struct arena *arena, str id) {
  struct buf text = {0};
  base64url_append(&text, id);
  str copy = text.failed ? (str){0} : arena_str_copy(arena, buf_str(&text));
  buf_fini(&text);
  return task_text(copy.ptr);
}

/* ---- List ---- */

static Skerry__Identity__V1__Session *describe(struct arena *arena, str id, const session_record *record,
                                               bool is_current) {
  Skerry__Identity__V1__Session *made = ARENA_NEW(arena, Skerry__Identity__V1__Session);
  if (made == NULL)
    return NULL;
  skerry__identity__v1__session__init(made);
  made->session_id = write_id(arena, id);
  made->create_time = timestamp_new(arena, record->created_us);
  made->refresh_time = timestamp_new(arena, record->rotated_us);
  made->sign_in_provider = record->sign_in_provider;
  made->current = is_current;
  return arena->exhausted || made->session_id == NULL ? NULL : made;
}

static status list(struct task *task, const Skerry__Identity__V1__ListSessionsRequest *request,
                   Skerry__Identity__V1__ListSessionsResponse *response) {
  struct id_token token;
  user_record *user;
  struct user_view view;
  STATUS_TRY(task_read_id_token(task, request->id_token, &token, &user));
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  response->sessions = ARENA_NEW_ARRAY(task->arena, Skerry__Identity__V1__Session *, user->n_sessions);
  for (size_t i = 0; i < user->n_sessions && response->sessions != NULL; i++) {
    session_record *record;
    str id = str_make(user->sessions[i].data, user->sessions[i].len);
    STATUS_TRY(user_store_find_session(&view, user->sessions[i].data, task->arena, &record));
    if (record == NULL) /* it ended meanwhile */
      continue;
    bool is_current = str_eq(id, str_make(token.session, REFRESH_TOKEN_SESSION_BYTES));
    Skerry__Identity__V1__Session *made = describe(task->arena, id, record, is_current);
    if (made == NULL)
      return task_no_memory();
    response->sessions[response->n_sessions++] = made;
  }
  return response->sessions == NULL ? task_no_memory() : status_ok();
}

void identity_list_sessions(struct rpc_call *call, const Skerry__Identity__V1__ListSessionsRequest *request) {
  struct task *task = TASK_NEW(call, task);
  Skerry__Identity__V1__ListSessionsResponse response = SKERRY__IDENTITY__V1__LIST_SESSIONS_RESPONSE__INIT;
  if (task == NULL)
    return;
  status result = task_init(task, call, request->target_project_id, "");
  if (status_is_ok(&result))
    result = list(task, request, &response);
  if (status_is_ok(&result))
    skerry_identity_v1_accounts_list_sessions_reply(call, &response);
  else
    task_fail(task, result);
}

/* ---- Revoke ---- */

struct revocation {
  struct task task;
  struct id_token token;
  bool all;
  uint8_t (*ids)[REFRESH_TOKEN_SESSION_BYTES];
  size_t count;
};

static status commit_revocation(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  const struct revocation *revocation = (const struct revocation *)task;
  user_record *before;
  session_record *session;
  STATUS_TRY(task_find_signed_in(task, view, &revocation->token, &before, &session));
  user_record *user = user_record_copy(task->arena, before);
  if (user == NULL)
    return task_no_memory();
  if (revocation->all) {
    user_store_end_sessions(batch, user, STR(""));
    user_store_delete_codes(batch, user);
  }
  for (size_t i = 0; i < revocation->count; i++)
    user_store_end_session(batch, user, str_make(revocation->ids[i], REFRESH_TOKEN_SESSION_BYTES));
  return user_store_put(view, batch, task->arena, before, user);
}

static void reply_revocation(struct task *task) {
  Skerry__Identity__V1__RevokeSessionsResponse response =
      SKERRY__IDENTITY__V1__REVOKE_SESSIONS_RESPONSE__INIT;
  tokens_doubt_user(task->service->tokens, ((const struct revocation *)task)->token.uid);
  skerry_identity_v1_accounts_revoke_sessions_reply(task->call, &response);
}

static status begin_revocation(struct revocation *revocation,
                               const Skerry__Identity__V1__RevokeSessionsRequest *request) {
  struct arena *arena = revocation->task.arena;
  user_record *user;
  STATUS_TRY(task_read_id_token(&revocation->task, request->id_token, &revocation->token, &user));
  if (request->n_session_id > USER_SESSIONS_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "TOO_MANY_SESSIONS : A user has at most %d.",
                       USER_SESSIONS_MAX);
  revocation->all = request->all;
  revocation->ids = arena_calloc(arena, request->n_session_id, sizeof *revocation->ids);
  if (revocation->ids == NULL)
    return task_no_memory();
  for (size_t i = 0; i < request->n_session_id; i++) {
    uint8_t bytes[(SESSION_ID_TEXT_BYTES + 3) / 4 * 3];
    size_t len;
    str text = str_from_cstr(request->session_id[i]);
    if (text.len != SESSION_ID_TEXT_BYTES || !base64url_decode(text, bytes, &len) ||
        len != REFRESH_TOKEN_SESSION_BYTES)
      return status_make(STATUS_INVALID_ARGUMENT, "INVALID_SESSION_ID");
    memcpy(revocation->ids[revocation->count++], bytes, len);
  }
  return status_ok();
}

void identity_revoke_sessions(struct rpc_call *call,
                              const Skerry__Identity__V1__RevokeSessionsRequest *request) {
  struct revocation *revocation = TASK_NEW(call, revocation);
  if (revocation == NULL)
    return;
  status result = task_init(&revocation->task, call, request->target_project_id, "");
  if (status_is_ok(&result))
    result = begin_revocation(revocation, request);
  if (status_is_ok(&result))
    task_commit(&revocation->task, commit_revocation, reply_revocation);
  else
    task_fail(&revocation->task, result);
}
