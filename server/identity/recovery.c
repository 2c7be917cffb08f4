#include "server/identity/recovery.h"

#include "server/identity/code.h"

/* Without a page there is nothing that a link could lead to. */
static bool goes_out(const struct identity_service *service) {
  return service->mail != NULL && mail_is_set_up(service->mail) && *service->options.action_url != '\0';
}

static bool is_needed(const struct identity_service *service, const user_record *before,
                      const char *new_email) {
  return goes_out(service) && before->email_verified && *before->email != '\0' &&
         strcmp(before->email, new_email) != 0;
}

status recovery_prepare(struct task *task, const user_record *user, const char *new_email,
                        struct recovery *ret) {
  uint8_t code[CODE_BYTES];
  char text[CODE_TEXT_BYTES + 1];
  str link;
  *ret = (struct recovery){0};
  if (!is_needed(task->service, user, new_email))
    return status_ok();
  crypto_random(code, sizeof code);
  code_write(code, text);
  user_store_code_key(code, ret->key);
  skerry__identity__v1__stored_code__init(&ret->record);
  ret->record.project = user->project;
  ret->record.uid = user->uid;
  ret->record.email = user->email;
  ret->record.new_email = task_text(new_email);
  ret->record.request_type = task_text(code_kind_name(CODE_RECOVER_EMAIL));
  ret->record.expires_us = task->now_us + code_kind_lifetime_us(CODE_RECOVER_EMAIL);
  STATUS_TRY(code_link(task, CODE_RECOVER_EMAIL, text, "", false, &link));
  struct mail_order order = {.kind = code_kind_mail(CODE_RECOVER_EMAIL),
                             .to = str_from_cstr(user->email),
                             .project = task->project,
                             .email = str_from_cstr(user->email),
                             .new_email = str_from_cstr(new_email),
                             .link = link,
                             .code = str_from_cstr(text),
                             .expires_us = ret->record.expires_us};
  STATUS_TRY(mail_prepare(task->service->mail, &order, &task->mail));
  task->has_mail = ret->is_made = true;
  return status_ok();
}

status recovery_put(struct recovery *recovery, const struct task *task, const struct user_view *view,
                    struct kv_batch *batch, const user_record *before, user_record *user) {
  recovery->was_put = false;
  if (!is_needed(task->service, before, user->email))
    return status_ok();
  if (!recovery->is_made || strcmp(recovery->record.email, before->email) != 0)
    return status_make(STATUS_UNAVAILABLE, "The account has changed meanwhile. Try again.");
  STATUS_TRY(user_store_add_recovery(view, batch, task->arena, user, recovery->key, &recovery->record));
  mail_item_put(&task->mail, batch);
  recovery->was_put = true;
  return status_ok();
}

void recovery_committed(const struct recovery *recovery, struct task *task) {
  if (task->has_mail && recovery->was_put)
    mail_item_committed(&task->mail);
  else if (task->has_mail)
    mail_item_abandon(&task->mail);
  task->has_mail = false;
}
