#include "server/identity/task.h"

#include <assert.h>

#include "server/tokens/jwt.h"

enum {
  PROJECT_BYTES_MAX = 64,
  HASH_WAIT_US = 30000000, /* whoever waits longer for a hash has given up, or should try again later */
};

/* ---- Beginning ---- */

/* A wall clock that is behind the data is wrong. */
static int64_t now_us(const struct identity_service *service) {
  int64_t wall_us = service->options.port->wall_us(service->options.port);
  int64_t newest_us = kv_newest_version(service->options.store);
  return wall_us > newest_us ? wall_us : newest_us;
}

static bool is_served(const struct identity_service_options *options, str project) {
  for (size_t i = 0; i < options->project_count; i++)
    if (str_eq(project, str_from_cstr(options->projects[i])))
      return true;
  return options->dev && project.len <= PROJECT_BYTES_MAX;
}

void *task_new(struct rpc_call *call, size_t size) {
  void *task = arena_calloc(rpc_call_arena(call), 1, size);
  if (task == NULL)
    rpc_call_finish(call, task_no_memory());
  return task;
}

status task_init(struct task *task, struct rpc_call *call, const char *target, const char *tenant) {
  struct identity_service *service = rpc_call_service(call);
  *task = (struct task){.call = call,
                        .service = service,
                        .arena = rpc_call_arena(call),
                        .now_us = now_us(service),
                        .project = str_from_cstr(*target != '\0' ? target : service->options.projects[0])};
  if (*tenant != '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "UNSUPPORTED_TENANT_OPERATION : This server has no tenants.");
  if (!is_served(&service->options, task->project))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "INVALID_PROJECT_ID : This server does not serve the project.");
  return status_ok();
}

/* ---- Steps ---- */

static void on_wake(struct rpc_call *call, void *state) {
  struct task *task = state;
  (void)call;
  if (status_is_ok(&task->result))
    task->next(task);
  else
    task_fail(task, task->result);
}

static const struct rpc_call_events events = {.drained = on_wake};

static void begin_step(struct task *task, void (*next)(struct task *task)) {
  if (rpc_call_state(task->call) == NULL)
    rpc_call_watch(task->call, &events, task);
  task->next = next;
}

static void run_work(struct slow_job *job, const status *go) {
  struct task *task = (struct task *)(void *)((char *)job - offsetof(struct task, job));
  task->result = status_is_ok(go) ? task->work(task) : *go;
  if (go->code == STATUS_DEADLINE_EXCEEDED && job->deadline_us < rpc_call_deadline_us(task->call))
    task->result = status_make(STATUS_RESOURCE_EXHAUSTED,
                               "The server has more passwords to check than it can. Please try again later.");
  rpc_call_wake(task->call);
}

void task_hash(struct task *task, size_t memory_bytes, status (*work)(struct task *task),
               void (*next)(struct task *task)) {
  begin_step(task, next);
  struct port *port = task->service->options.port;
  int64_t wait_end_us = port->monotonic_us(port) + HASH_WAIT_US;
  int64_t deadline_us = rpc_call_deadline_us(task->call);
  task->work = work;
  task->job = (struct slow_job){.run = run_work,
                                .deadline_us = deadline_us < wait_end_us ? deadline_us : wait_end_us,
                                .memory_bytes = memory_bytes};
  status submitted = slow_pool_submit(task->service->pool, &task->job);
  if (!status_is_ok(&submitted))
    task_fail(task, submitted);
}

static status resolve(void *argument, struct kv_reader *reader, kv_version version, struct kv_batch *batch) {
  struct task *task = argument;
  const struct user_view view = {.reader = reader};
  (void)version;
  // cppcheck-suppress returnDanglingLifetime ; a status has no pointer to it
  return task->change(task, &view, batch);
}

static void on_committed(void *argument, status result, kv_version version) {
  struct task *task = argument;
  (void)version;
  task->result = result;
  rpc_call_wake(task->call);
}

void task_commit(struct task *task,
                 status (*change)(struct task *task, const struct user_view *view, struct kv_batch *batch),
                 void (*next)(struct task *task)) {
  begin_step(task, next);
  task->change = change;
  task->txn = (struct kv_txn){.resolve = resolve, .done = on_committed, .argument = task};
  kv_commit(task->service->options.store, &task->txn);
}

/* What the client can do nothing about and need not know. */
static status outward(status why) {
  if (why.code == STATUS_DATA_LOSS)
    return status_make(STATUS_UNAVAILABLE,
                       "The server cannot read the account. Its operator has to look at it.");
  return why;
}

void task_count(struct task *task, enum identity_result result) {
  if (task->way != IDENTITY_NO_WAY)
    identity_count(&task->service->counts.calls[task->way][result], 1);
  task->way = IDENTITY_NO_WAY;
}

void task_fail(struct task *task, status why) {
  task_count(task, identity_result_of(why.code));
  if (task->is_counted) {
    task->is_counted = false;
    attempts_end(attempts_kv_attempts(task->service->attempts), &task->ticket,
                 why.code == STATUS_INVALID_ARGUMENT || why.code == STATUS_ALREADY_EXISTS
                     ? ATTEMPTS_FAILED
                     : ATTEMPTS_NOT_MADE);
  }
  if (task->has_mail)
    mail_item_abandon(&task->mail);
  task->has_mail = false;
  rpc_call_finish(task->call, outward(why));
}

/* ---- Attempts ---- */

status task_begin_attempt(struct task *task, str account) {
  struct attempts *attempts = attempts_kv_attempts(task->service->attempts);
  struct user_view view;
  user_record *user;
  str name = arena_printf(task->arena, STR_FMT "/" STR_FMT, STR_ARG(task->project), STR_ARG(account));
  if (name.ptr == NULL)
    return task_no_memory();
  struct attempts_who who = {.account = name, .address = str_from_cstr(rpc_call_peer(task->call)->address)};
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  STATUS_TRY(user_store_find_email(&view, task->project, account, task->arena, &user));
  if (user != NULL) {
    struct attempts_known known =
        attempts_known_decode(str_make(user->known_places.data, user->known_places.len));
    who.known = attempts_is_known(attempts, &known, who.account, who.address);
  }
  int64_t wait_ms;
  STATUS_TRY(attempts_begin(attempts, &who, &task->ticket, &wait_ms));
  task->is_counted = true;
  return status_ok();
}

/* No address has a space in it, so such a name is nobody's. */
status task_begin_attempt_at(struct task *task, const char *what, str whom) {
  str name = arena_printf(task->arena, "%s " STR_FMT, what, STR_ARG(whom));
  return name.ptr == NULL ? task_no_memory() : task_begin_attempt(task, name);
}

status task_begin_sign_up(struct task *task) {
  const struct attempts_who who = {.address = str_from_cstr(rpc_call_peer(task->call)->address),
                                   .signs_up = true};
  int64_t wait_ms;
  STATUS_TRY(attempts_begin(attempts_kv_attempts(task->service->attempts), &who, &task->ticket, &wait_ms));
  task->is_counted = true;
  return status_ok();
}

void task_end_attempt(struct task *task, bool succeeded) {
  if (!task->is_counted)
    return;
  task->is_counted = false;
  attempts_end(attempts_kv_attempts(task->service->attempts), &task->ticket,
               succeeded ? ATTEMPTS_SUCCEEDED : ATTEMPTS_FAILED);
}

/* ---- ID tokens in requests ---- */

status task_read_id_token(struct task *task, const char *text, struct id_token *ret, user_record **ret_user) {
  struct jwt jwt;
  if (*text == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_ID_TOKEN");
  status result = jwt_parse(str_from_cstr(text), task->arena, &jwt);
  if (status_is_ok(&result))
    result = id_token_check(&task->service->maker, &jwt, task->now_us, task->arena, ret, ret_user);
  else if (result.code == STATUS_UNAUTHENTICATED)
    result = status_make(STATUS_INVALID_ARGUMENT, "INVALID_ID_TOKEN");
  if (result.code == STATUS_UNAUTHENTICATED) { /* of the request, not of the call */
    enum status_code code = strcmp(result.message, "USER_DISABLED") == 0    ? STATUS_PERMISSION_DENIED
                            : strcmp(result.message, "USER_NOT_FOUND") == 0 ? STATUS_NOT_FOUND
                                                                            : STATUS_INVALID_ARGUMENT;
    result = status_make(code, "%s", result.message);
  }
  if (status_is_ok(&result))
    task->project = ret->project;
  return result;
}

status task_find_signed_in(const struct task *task, const struct user_view *view,
                           const struct id_token *token, user_record **ret_user,
                           session_record **ret_session) {
  user_record *user;
  session_record *session;
  STATUS_TRY(user_store_find(view, task->project, token->uid, task->arena, &user));
  STATUS_TRY(user_store_find_session(view, token->session, task->arena, &session));
  if (user == NULL)
    return status_make(STATUS_NOT_FOUND, "USER_NOT_FOUND");
  if (user->disabled)
    return status_make(STATUS_PERMISSION_DENIED, "USER_DISABLED");
  if (session == NULL || token->auth_time_s < user->valid_since_s)
    return status_make(STATUS_INVALID_ARGUMENT, "TOKEN_EXPIRED");
  *ret_user = user;
  *ret_session = session;
  return status_ok();
}

status task_check_recent(const struct task *task, const struct id_token *token, const user_record *user) {
  if (!user->anonymous && task->now_us / 1000000 - token->auth_time_s > TASK_RECENT_S)
    return status_make(STATUS_INVALID_ARGUMENT, "CREDENTIAL_TOO_OLD_LOGIN_AGAIN");
  return status_ok();
}

status task_read_linked(struct task *task, const char *id_token, struct id_token *ret,
                        user_record **ret_user) {
  STATUS_TRY(task_read_id_token(task, id_token, ret, ret_user));
  return task_check_recent(task, ret, *ret_user);
}

/* ---- Sessions ---- */

void task_doubt(const struct task *task, const user_record *user) {
  tokens_doubt_user(task->service->tokens, str_from_cstr(user->uid));
}

void sign_in_session_init(const struct task *task, const char *provider, const char *claims,
                          struct sign_in_session *ret) {
  skerry__identity__v1__stored_session__init(&ret->record);
  refresh_token_make(&ret->token);
  ret->record.created_us = ret->record.rotated_us = task->now_us;
  ret->record.auth_time_s = task->now_us / 1000000;
  ret->record.sign_in_provider = task_text(provider);
  ret->record.claims = task_text(claims);
}

status sign_in_session_put(const struct task *task, struct sign_in_session *session, user_record *user,
                           struct kv_batch *batch) {
  uint8_t *hash = arena_alloc(task->arena, CRYPTO_SHA256_BYTES);
  if (hash == NULL)
    return task_no_memory();
  refresh_token_hash(&session->token, hash);
  session->record.current = (ProtobufCBinaryData){CRYPTO_SHA256_BYTES, hash};
  session->record.project = user->project;
  session->record.uid = user->uid;
  user->last_login_us = task->now_us;
  session->displaces = user->n_sessions >= USER_SESSIONS_MAX;
  return user_store_add_session(batch, task->arena, user, session->token.session, &session->record);
}

status sign_in_session_renew(const struct task *task, struct sign_in_session *session,
                             const session_record *old, user_record *user, struct kv_batch *batch) {
  int64_t last_login_us = user->last_login_us;
  session->record.auth_time_s = old->auth_time_s;
  session->record.claims = old->claims;
  session->record.sign_in_provider = old->sign_in_provider;
  session->record.second_factor_id = old->second_factor_id;
  user_store_end_sessions(batch, user, STR(""));
  user_store_delete_codes(batch, user); /* whoever had a session may have asked for them */
  STATUS_TRY(sign_in_session_put(task, session, user, batch));
  user->last_login_us = last_login_us; /* nobody has signed in */
  return status_ok();
}

status sign_in_session_tokens(const struct task *task, const struct sign_in_session *session,
                              const user_record *user, char **ret_id_token, char **ret_refresh_token) {
  struct buf token = {0};
  char *refresh = arena_alloc(task->arena, REFRESH_TOKEN_TEXT_BYTES + 1);
  if (session->displaces)
    task_doubt(task, user);
  if (refresh == NULL)
    return task_no_memory();
  refresh_token_write(&session->token, refresh);
  status result = id_token_make(&task->service->maker, user, session->token.session, &session->record,
                                task->now_us / 1000000, &token);
  str copy = status_is_ok(&result) ? arena_str_copy(task->arena, buf_str(&token)) : (str){0};
  buf_fini(&token);
  STATUS_TRY(result);
  if (copy.ptr == NULL)
    return task_no_memory();
  *ret_id_token = task_text(copy.ptr);
  *ret_refresh_token = refresh;
  return status_ok();
}
