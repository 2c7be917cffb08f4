/* The handlers of both services. Inside of the directory. */
#ifndef SKERRY_SERVER_IDENTITY_HANDLERS_H
#define SKERRY_SERVER_IDENTITY_HANDLERS_H

#include "server/identity/task.h"
#include "skerry/identity/v1/account_admin.skerry.h"
#include "skerry/identity/v1/accounts.skerry.h"

/* sign_up.c */
void identity_sign_up(struct rpc_call *call, const Skerry__Identity__V1__SignUpRequest *request);
/* sign_in.c */
void identity_sign_in_with_password(struct rpc_call *call,
                                    const Skerry__Identity__V1__SignInWithPasswordRequest *request);
void identity_sign_in_with_custom_token(struct rpc_call *call,
                                        const Skerry__Identity__V1__SignInWithCustomTokenRequest *request);
/* exchange.c */
void identity_exchange_token(struct rpc_call *call,
                             const Skerry__Identity__V1__ExchangeTokenRequest *request);
/* code_send.c */
void identity_send_oob_code(struct rpc_call *call, const Skerry__Identity__V1__SendOobCodeRequest *request);
void identity_create_oob_link(struct rpc_call *call,
                              const Skerry__Identity__V1__CreateOobLinkRequest *request);
void identity_create_auth_uri(struct rpc_call *call,
                              const Skerry__Identity__V1__CreateAuthUriRequest *request);
/* code_use.c */
void identity_reset_password(struct rpc_call *call,
                             const Skerry__Identity__V1__ResetPasswordRequest *request);
void identity_sign_in_with_email_link(struct rpc_call *call,
                                      const Skerry__Identity__V1__SignInWithEmailLinkRequest *request);
void identity_apply_code(struct rpc_call *call, const Skerry__Identity__V1__UpdateRequest *request);
/* idp.c */
void identity_sign_in_with_idp(struct rpc_call *call,
                               const Skerry__Identity__V1__SignInWithIdpRequest *request);
/* mfa_enroll.c */
void identity_start_mfa_enrollment(struct rpc_call *call,
                                   const Skerry__Identity__V1__StartMfaEnrollmentRequest *request);
void identity_finalize_mfa_enrollment(struct rpc_call *call,
                                      const Skerry__Identity__V1__FinalizeMfaEnrollmentRequest *request);
void identity_withdraw_mfa(struct rpc_call *call, const Skerry__Identity__V1__WithdrawMfaRequest *request);
/* mfa_sign_in.c */
void identity_finalize_mfa_sign_in(struct rpc_call *call,
                                   const Skerry__Identity__V1__FinalizeMfaSignInRequest *request);
/* profile.c */
void identity_lookup(struct rpc_call *call, const Skerry__Identity__V1__LookupRequest *request);
void identity_update(struct rpc_call *call, const Skerry__Identity__V1__UpdateRequest *request);
void identity_delete(struct rpc_call *call, const Skerry__Identity__V1__DeleteRequest *request);
/* sessions.c */
void identity_list_sessions(struct rpc_call *call, const Skerry__Identity__V1__ListSessionsRequest *request);
void identity_revoke_sessions(struct rpc_call *call,
                              const Skerry__Identity__V1__RevokeSessionsRequest *request);
/* published.c */
void identity_get_password_policy(struct rpc_call *call,
                                  const Skerry__Identity__V1__GetPasswordPolicyRequest *request);
void identity_get_open_id_configuration(struct rpc_call *call,
                                        const Skerry__Identity__V1__GetOpenIdConfigurationRequest *request);
void identity_get_keys(struct rpc_call *call, const Skerry__Identity__V1__GetKeysRequest *request);
/* admin.c */
void identity_create_account(struct rpc_call *call,
                             const Skerry__Identity__V1__CreateAccountRequest *request);
void identity_lookup_accounts(struct rpc_call *call,
                              const Skerry__Identity__V1__LookupAccountsRequest *request);
void identity_update_account(struct rpc_call *call,
                             const Skerry__Identity__V1__UpdateAccountRequest *request);
void identity_list_accounts(struct rpc_call *call, const Skerry__Identity__V1__ListAccountsRequest *request);
/* admin_import.c */
void identity_import_accounts(struct rpc_call *call,
                              const Skerry__Identity__V1__ImportAccountsRequest *request);
/* admin_delete.c */
void identity_delete_account(struct rpc_call *call,
                             const Skerry__Identity__V1__DeleteAccountRequest *request);
void identity_batch_delete_accounts(struct rpc_call *call,
                                    const Skerry__Identity__V1__BatchDeleteAccountsRequest *request);

/* ---- What they share (sign_in.c) ---- */

/* The end of a sign-in: who it was, with both tokens. */
struct sign_in {
  struct task task;
  str email;          /* canonical */
  str password;       /* as it came */
  const char *hash;   /* as it is to be stored; NULL: it is not */
  const char *stored; /* as it was stored when it was read; "": there is none */
  bool matches;
  str uid;
  const char *claims;
  struct sign_in_session session;
  user_record *user;      /* as it was committed */
  struct id_token linked; /* sign-up with an ID token: whose */
  bool is_linking, is_new;
  enum identity_way way; /* by which it came, or the account was made */
  bool ends_sessions;    /* of the account's, beside this one */
  bool is_first_half;    /* a second factor is needed: there is no session yet */
};
/* After task_init: that it is a sign-in, and of which way. Then sign_in_count, once, if it succeeds. */
void sign_in_begin(struct sign_in *in, enum identity_way way);
void sign_in_count(struct sign_in *in);
void sign_in_reply(struct task *task); /* counts */
/* Somebody has shown that the account's address is his, and whoever made the account never did: its password,
 * providers, second factor, sessions and codes go. Of a copy. */
void sign_in_take_over(user_record *user, struct kv_batch *batch);
/* Work on the pool: sets `hash` from `password`. */
status sign_in_hash(struct task *task);
size_t sign_in_hash_memory(const struct identity_service *service);

#endif
