/* What a verified address gets that its account gives up, which only a mail to the new one can bring about: a
 * mail with a code that takes it back for a week. One that never was shown to be the user's gets none: its
 * owner would take back what he never had, an account with somebody else's password. Nor do those that
 * administrators change: they may have their reasons. Inside of the directory. */
#ifndef SKERRY_SERVER_IDENTITY_RECOVERY_H
#define SKERRY_SERVER_IDENTITY_RECOVERY_H

#include "server/identity/handlers.h"

struct recovery {
  bool is_made, was_put;
  uint8_t key[CRYPTO_SHA256_BYTES];
  code_record record;
};

/* Before the commit: the mail to the old address, as task->mail, if `user` is to have another one and mails
 * go out at all. Statuses of mail_prepare, so that nobody fills the outbox to change an address unseen. */
STATUS_MUST_USE status recovery_prepare(struct task *task, const user_record *user, const char *new_email,
                                        struct recovery *ret);
/* Within the change, of `before` to `user`, a copy. Nothing if the address stays or was not verified.
 * UNAVAILABLE: it was verified only since recovery_prepare; RESOURCE_EXHAUSTED as user_store_add_recovery. */
STATUS_MUST_USE status recovery_put(struct recovery *recovery, const struct task *task,
                                    const struct user_view *view, struct kv_batch *batch,
                                    const user_record *before, user_record *user);
/* After the commit. */
void recovery_committed(const struct recovery *recovery, struct task *task);

#endif
