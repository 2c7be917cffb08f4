/* The second factor: what its handlers share. What a client holds between two steps is sealed and handed out,
 * so the server keeps nothing for those that do not come back. Inside of the directory. */
#ifndef SKERRY_SERVER_IDENTITY_MFA_H
#define SKERRY_SERVER_IDENTITY_MFA_H

#include "server/identity/handlers.h"
#include "server/identity/totp.h"

enum {
  MFA_PENDING_S = 10 * 60, /* between the two halves of a sign-in */
  MFA_ENROLL_S = 10 * 60,  /* between the two steps of an enrolment */
};

/* The user's second factors for a response, in the arena. False: no memory. */
bool mfa_describe(struct arena *arena, const user_record *user, Skerry__Identity__V1__MfaEnrollment ***ret,
                  size_t *ret_count);

/* What says that the first half succeeded, in the arena. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status mfa_make_pending(const struct task *task, const user_record *user,
                                        const char *provider, char **ret);

typedef Skerry__Identity__V1__StoredStep step_record;
/* Seals a step for `purpose`, as text in the arena. */
STATUS_MUST_USE status mfa_seal_step(const struct task *task, const char *purpose, const step_record *step,
                                     char **ret);
/* INVALID_ARGUMENT with `code`: it is not one of that purpose and project, or its time has passed. */
STATUS_MUST_USE status mfa_open_step(const struct task *task, const char *purpose, const char *text,
                                     const char *code, step_record **ret);

/* The secret of the app, unsealed, in the arena. DATA_LOSS: not with this server's key. */
STATUS_MUST_USE status mfa_secret(const struct task *task, const user_record *user, str *ret);
STATUS_MUST_USE status mfa_seal_secret(const struct task *task, const char *uid, str secret,
                                       ProtobufCBinaryData *ret);

#endif
