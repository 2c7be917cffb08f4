/* Refreshing. A refresh token is spent by its use, and the one before the last gets the last answer again for
 * a while (refresh_token.h): clients lose answers, and several pages of one browser share a token. Whoever
 * comes later with a spent one has a copy, or somebody else has, and nobody can say who: so the session ends.
 * That it was once good is known without a list of old ones, because what follows it can be computed: a text
 * that was made up from the session's id, which is in ID tokens, ends nothing. */
#include "base/log.h"
#include "server/identity/handlers.h"

enum { ANCESTORS_MAX = 1000 }; /* some 40 days of a phone that is always on; a millisecond of work */

struct exchange_call {
  struct task task;
  struct refresh_token token;
  struct sign_in_session session; /* as it becomes */
  user_record *user;
  bool was_spent; /* it is an ancestor of the one before the last */
  bool is_replay, has_ended;
};

static status expired(void) {
  return status_make(STATUS_INVALID_ARGUMENT, "TOKEN_EXPIRED");
}

static bool is_hash_of(ProtobufCBinaryData kept, const struct refresh_token *token) {
  uint8_t hash[CRYPTO_SHA256_BYTES];
  refresh_token_hash(token, hash);
  return crypto_equal(str_make(kept.data, kept.len), str_make(hash, sizeof hash));
}

static bool leads_to(const uint8_t *key, struct refresh_token token, ProtobufCBinaryData previous) {
  for (unsigned i = 0; i < ANCESTORS_MAX; i++) {
    refresh_token_next(key, &token, &token);
    if (is_hash_of(previous, &token))
      return true;
  }
  return false;
}

static status rotate(struct exchange_call *x, const session_record *before, struct kv_batch *batch) {
  uint8_t *hash = arena_alloc(x->task.arena, CRYPTO_SHA256_BYTES);
  if (hash == NULL)
    return task_no_memory();
  refresh_token_hash(&x->session.token, hash);
  x->session.record.previous = before->current;
  x->session.record.current = (ProtobufCBinaryData){CRYPTO_SHA256_BYTES, hash};
  x->session.record.rotated_us = x->task.now_us;
  return user_store_put_session(batch, x->task.arena, x->token.session, &x->session.record);
}

static status end_session(struct exchange_call *x, const struct user_view *view, struct kv_batch *batch) {
  user_record *user = user_record_copy(x->task.arena, x->user);
  if (user == NULL)
    return task_no_memory();
  x->has_ended = true;
  user_store_end_session(batch, user, str_make(x->token.session, REFRESH_TOKEN_SESSION_BYTES));
  return user_store_put(view, batch, x->task.arena, x->user, user);
}

static status commit_exchange(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct exchange_call *x = (struct exchange_call *)task;
  session_record *before;
  x->is_replay = x->has_ended = false;
  STATUS_TRY(user_store_find_session(view, x->token.session, task->arena, &before));
  if (before == NULL || !str_eq(str_from_cstr(before->project), task->project))
    return expired();
  STATUS_TRY(user_store_find(view, task->project, str_from_cstr(before->uid), task->arena, &x->user));
  if (x->user == NULL)
    return status_make(STATUS_NOT_FOUND, "USER_NOT_FOUND");
  x->session.record = *before;
  bool is_current = is_hash_of(before->current, &x->token),
       is_previous = is_hash_of(before->previous, &x->token);
  if (!is_current && !is_previous && !x->was_spent)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_REFRESH_TOKEN");
  if (x->user->disabled)
    return status_make(STATUS_PERMISSION_DENIED, "USER_DISABLED");
  if (before->auth_time_s < x->user->valid_since_s)
    return expired();
  if (is_current)
    return rotate(x, before, batch);
  x->is_replay = is_previous && task->now_us - before->rotated_us <= task->service->options.refresh_grace_us;
  return x->is_replay ? status_ok() : end_session(x, view, batch);
}

static void reply(struct task *task) {
  struct exchange_call *x = (struct exchange_call *)task;
  Skerry__Identity__V1__ExchangeTokenResponse response = SKERRY__IDENTITY__V1__EXCHANGE_TOKEN_RESPONSE__INIT;
  if (x->has_ended) {
    task_count(task, IDENTITY_REUSED);
    task_doubt(task, x->user);
    log_event(LOG_LEVEL_WARN, "a session ended: its refresh token was used again after it was spent",
              LOG_CSTR("uid", x->user->uid));
    task_fail(task, expired());
    return;
  }
  status result =
      sign_in_session_tokens(task, &x->session, x->user, &response.id_token, &response.refresh_token);
  if (!status_is_ok(&result)) {
    task_fail(task, result);
    return;
  }
  task_count(task, x->is_replay ? IDENTITY_AGAIN : IDENTITY_OK);
  response.access_token = response.id_token;
  response.expires_in = task->service->maker.lifetime_s;
  response.token_type = task_text("Bearer");
  response.user_id = x->user->uid;
  response.project_id = x->user->project;
  skerry_identity_v1_accounts_exchange_token_reply(task->call, &response);
}

static status begin(struct exchange_call *x, const Skerry__Identity__V1__ExchangeTokenRequest *request) {
  struct task *task = &x->task;
  struct user_view view;
  session_record *session;
  if (strcmp(request->grant_type, "refresh_token") != 0)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_GRANT_TYPE : The grant type is refresh_token.");
  if (*request->refresh_token == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_REFRESH_TOKEN");
  if (!refresh_token_read(str_from_cstr(request->refresh_token), &x->token))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_REFRESH_TOKEN");
  const uint8_t *key = signing_keys_refresh_key(task->service->keys);
  refresh_token_next(key, &x->token, &x->session.token);
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  STATUS_TRY(user_store_find_session(&view, x->token.session, task->arena, &session));
  if (session == NULL)
    return expired();
  if (*request->target_project_id == '\0') /* the token says whose it is */
    task->project = str_from_cstr(session->project);
  x->was_spent = !is_hash_of(session->current, &x->token) && !is_hash_of(session->previous, &x->token) &&
                 session->previous.len > 0 && leads_to(key, x->token, session->previous);
  return status_ok();
}

void identity_exchange_token(struct rpc_call *call,
                             const Skerry__Identity__V1__ExchangeTokenRequest *request) {
  struct exchange_call *x = TASK_NEW(call, exchange_call);
  if (x == NULL)
    return;
  status result = task_init(&x->task, call, request->target_project_id, "");
  x->task.way = IDENTITY_REFRESH;
  if (status_is_ok(&result))
    result = begin(x, request);
  if (status_is_ok(&result))
    task_commit(&x->task, commit_exchange, reply);
  else
    task_fail(&x->task, result);
}
