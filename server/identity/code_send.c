/* Codes go out, in mails or as links for administrators. Whether there is an account is neither told nor seen
 * from how long it takes: a code is stored in any case, and one of nobody is sent to nobody. */
#include "server/identity/admin.h"
#include "server/identity/code.h"
#include "server/identity/fields.h"

struct sending {
  struct task task;
  enum code_kind kind;
  uint8_t key[CRYPTO_SHA256_BYTES];
  char text[CODE_TEXT_BYTES + 1];
  str link;
  code_record record;
  bool has_receiver; /* somebody is to get it */
  bool is_signed_in; /* it is asked for with an ID token: */
  struct id_token token;
};

static status commit_sending(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct sending *sending = (struct sending *)task;
  user_record *before = NULL, *user = NULL;
  session_record *session;
  if (sending->is_signed_in) /* or else a code could outlive the session that it was asked for with */
    STATUS_TRY(task_find_signed_in(task, view, &sending->token, &before, &session));
  else if (*sending->record.uid != '\0')
    STATUS_TRY(
        user_store_find(view, task->project, str_from_cstr(sending->record.uid), task->arena, &before));
  if (before != NULL && (user = user_record_copy(task->arena, before)) == NULL)
    return task_no_memory();
  if (user != NULL || *sending->record.uid == '\0') /* deleted meanwhile: what the mail has is no code */
    STATUS_TRY(user_store_add_code(batch, task->arena, user, sending->key, &sending->record));
  if (task->has_mail)
    mail_item_put(&task->mail, batch);
  return user == NULL ? status_ok() : user_store_put(view, batch, task->arena, before, user);
}

static void sent(struct task *task) {
  if (task->has_mail)
    mail_item_committed(&task->mail);
  task->has_mail = false;
  task_end_attempt(task, false); /* mails are counted, whatever becomes of them */
}

static void reply_sending(struct task *task) {
  struct sending *sending = (struct sending *)task;
  Skerry__Identity__V1__SendOobCodeResponse response = SKERRY__IDENTITY__V1__SEND_OOB_CODE_RESPONSE__INIT;
  sent(task);
  response.email = sending->record.email;
  skerry_identity_v1_accounts_send_oob_code_reply(task->call, &response);
}

static void reply_link(struct task *task) {
  struct sending *sending = (struct sending *)task;
  Skerry__Identity__V1__CreateOobLinkResponse response = SKERRY__IDENTITY__V1__CREATE_OOB_LINK_RESPONSE__INIT;
  response.email = sending->record.email;
  response.oob_code = sending->text;
  response.oob_link = task_text(sending->link.ptr);
  skerry_identity_v1_account_admin_create_oob_link_reply(task->call, &response);
}

/* What all have: the kind, the code and the link. */
static status prepare(struct sending *sending, const char *request_type, const char *continue_url,
                      bool in_app) {
  struct task *task = &sending->task;
  uint8_t code[CODE_BYTES];
  if (!code_kind_read(request_type, &sending->kind) || sending->kind == CODE_RECOVER_EMAIL)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_REQ_TYPE");
  crypto_random(code, sizeof code);
  code_write(code, sending->text);
  user_store_code_key(code, sending->key);
  skerry__identity__v1__stored_code__init(&sending->record);
  sending->record.project = task_text(task->project.ptr);
  sending->record.request_type = task_text(code_kind_name(sending->kind));
  sending->record.expires_us = task->now_us + code_kind_lifetime_us(sending->kind);
  return code_link(task, sending->kind, sending->text, continue_url, in_app, &sending->link);
}

static status set_email(struct sending *sending, const char *email, user_record **ret_user) {
  struct task *task = &sending->task;
  struct user_view view;
  str canonical;
  if (*email == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_EMAIL");
  STATUS_TRY(fields_canonical_email(str_from_cstr(email), task->arena, &canonical));
  sending->record.email = task_text(canonical.ptr);
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  return user_store_find_email(&view, task->project, canonical, task->arena, ret_user);
}

/* The address that the account is to have. Another's gets no mail. */
static status set_new_email(struct sending *sending, const char *email) {
  struct task *task = &sending->task;
  struct user_view view;
  user_record *other;
  str canonical;
  if (*email == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_NEW_EMAIL");
  STATUS_TRY(fields_canonical_email(str_from_cstr(email), task->arena, &canonical));
  sending->record.new_email = task_text(canonical.ptr);
  STATUS_TRY(user_view_now(task->service->options.store, &view));
  STATUS_TRY(user_store_find_email(&view, task->project, canonical, task->arena, &other));
  sending->has_receiver = other == NULL;
  return status_ok();
}

static status prepare_mail(struct sending *sending, const user_record *user) {
  struct task *task = &sending->task;
  const code_record *record = &sending->record;
  bool changes = sending->kind == CODE_CHANGE_EMAIL;
  if (task->service->mail == NULL || !mail_is_set_up(task->service->mail))
    return status_make(STATUS_PERMISSION_DENIED, "OPERATION_NOT_ALLOWED : This server sends no mails.");
  struct mail_order order = {.kind = code_kind_mail(sending->kind),
                             .to = str_from_cstr(changes ? record->new_email : record->email),
                             .project = task->project,
                             .email = str_from_cstr(record->email),
                             .new_email = str_from_cstr(record->new_email),
                             .display_name = str_from_cstr(user == NULL ? "" : user->display_name),
                             .link = sending->link,
                             .code = str_from_cstr(sending->text),
                             .expires_us = record->expires_us};
  STATUS_TRY(task_begin_attempt_at(task, "mail to", order.to));
  /* What hinders a mail hinders it for accounts that are not there as well: a full outbox, an odd address. */
  STATUS_TRY(mail_prepare(task->service->mail, &order, &task->mail));
  task->has_mail = sending->has_receiver;
  if (!task->has_mail) {
    mail_item_abandon(&task->mail);
    sending->record.expires_us = task->now_us; /* the next sweep takes it */
  }
  return status_ok();
}

static status begin(struct sending *sending, const Skerry__Identity__V1__SendOobCodeRequest *request) {
  struct task *task = &sending->task;
  user_record *user = NULL;
  STATUS_TRY(prepare(sending, request->request_type, request->continue_url, request->can_handle_code_in_app));
  sending->has_receiver = true;
  if (sending->kind == CODE_PASSWORD_RESET || sending->kind == CODE_EMAIL_SIGNIN) {
    STATUS_TRY(set_email(sending, request->email, &user));
    bool makes = sending->kind == CODE_EMAIL_SIGNIN && !task->service->options.sign_up_closed;
    sending->has_receiver = user != NULL ? !user->disabled : makes;
  } else {
    STATUS_TRY(task_read_id_token(task, request->id_token, &sending->token, &user));
    sending->is_signed_in = true;
    if (sending->kind == CODE_CHANGE_EMAIL) {
      STATUS_TRY(task_check_recent(task, &sending->token, user));
      STATUS_TRY(set_new_email(sending, request->new_email));
    } else if (*user->email == '\0') {
      return status_make(STATUS_INVALID_ARGUMENT, "MISSING_EMAIL");
    }
    sending->record.project = user->project;
    sending->record.email = user->email;
  }
  if (user != NULL)
    sending->record.uid = user->uid;
  return prepare_mail(sending, user);
}

void identity_send_oob_code(struct rpc_call *call, const Skerry__Identity__V1__SendOobCodeRequest *request) {
  struct sending *sending = TASK_NEW(call, sending);
  if (sending == NULL)
    return;
  status result = task_init(&sending->task, call, request->target_project_id, request->tenant_id);
  if (status_is_ok(&result))
    result = begin(sending, request);
  if (status_is_ok(&result))
    task_commit(&sending->task, commit_sending, reply_sending);
  else
    task_fail(&sending->task, result);
}

static status begin_link(struct sending *sending, const Skerry__Identity__V1__CreateOobLinkRequest *request) {
  user_record *user;
  STATUS_TRY(prepare(sending, request->request_type, request->continue_url, request->can_handle_code_in_app));
  STATUS_TRY(set_email(sending, request->email, &user));
  if (user == NULL && sending->kind != CODE_EMAIL_SIGNIN)
    return status_make(STATUS_NOT_FOUND, "EMAIL_NOT_FOUND");
  if (sending->kind == CODE_CHANGE_EMAIL)
    STATUS_TRY(set_new_email(sending, request->new_email));
  if (user != NULL)
    sending->record.uid = user->uid;
  return status_ok();
}

void identity_create_oob_link(struct rpc_call *call,
                              const Skerry__Identity__V1__CreateOobLinkRequest *request) {
  struct sending *sending = TASK_NEW(call, sending);
  if (sending == NULL)
    return;
  status result = admin_enter(&sending->task, call, request->target_project_id);
  if (status_is_ok(&result))
    result = begin_link(sending, request);
  if (status_is_ok(&result))
    task_commit(&sending->task, commit_sending, reply_link);
  else
    task_fail(&sending->task, result);
}

void identity_create_auth_uri(struct rpc_call *call,
                              const Skerry__Identity__V1__CreateAuthUriRequest *request) {
  Skerry__Identity__V1__CreateAuthUriResponse response = SKERRY__IDENTITY__V1__CREATE_AUTH_URI_RESPONSE__INIT;
  (void)request;
  skerry_identity_v1_accounts_create_auth_uri_reply(call, &response);
}
