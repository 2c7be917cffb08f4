/* Signing in with the ID token of somebody whom the settings trust: a provider (issuer_setting.h).
 *
 * Addresses. An account has an address, and so may the user at the provider; a provider's word on whether it
 * is verified counts. An account with the same address is the same person's if that account has proved it as
 * well: then its owner has to sign in first and link (need_confirmation). If the account has never proved it,
 * whoever made it need not be who has the address, and who has proved it now takes it over: its password,
 * providers and sessions go. Without the provider's word nothing is concluded from an address: the account is
 * made without. */
#include "server/gateway/url.h"
#include "server/identity/fields.h"
#include "server/identity/mfa.h"
#include "server/identity/user_change.h"

struct idp {
  struct sign_in in; /* first */
  provider_record provider;
  bool email_verified, may_create, needs_confirmation;
  const char *token, *claims;
};

/* ---- What comes ---- */

struct post_body {
  str id_token, provider_id, nonce;
};

static status read_post_body(struct arena *arena, const char *text, struct post_body *ret) {
  str name, value, rest = str_from_cstr(text);
  bool is_bad;
  *ret = (struct post_body){0};
  while (url_query_next(&rest, arena, &name, &value, &is_bad)) {
    if (str_eq(name, STR("id_token")))
      ret->id_token = value;
    else if (str_eq(name, STR("providerId")))
      ret->provider_id = value;
    else if (str_eq(name, STR("nonce")))
      ret->nonce = value;
  }
  if (is_bad || ret->provider_id.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "INVALID_CREDENTIAL_OR_PROVIDER_ID : The post body is not well formed.");
  if (ret->id_token.len == 0)
    return status_make(STATUS_PERMISSION_DENIED,
                       "OPERATION_NOT_ALLOWED : This server takes ID tokens of providers only.");
  return status_ok();
}

/* A claim as a text of an account: NUL-terminated, "" if it is not there or not such a text. */
static const char *claim_text(struct arena *arena, const struct jwt *jwt, str name,
                              status (*check)(str text)) {
  str value = jwt_claim_text(jwt, name);
  status good = memchr(value.len == 0 ? "" : value.ptr, '\0', value.len) == NULL
                    ? check(value)
                    : status_default(STATUS_INVALID_ARGUMENT);
  str copy = status_is_ok(&good) ? arena_str_copy(arena, value) : STR("");
  return copy.ptr == NULL ? "" : copy.ptr; /* without memory the arena is exhausted, which is seen later */
}

static bool claim_is_true(const struct jwt *jwt, str name) {
  const struct doc_value *value = doc_map_get(jwt->claims, name);
  return value != NULL && ((value->type == DOC_BOOLEAN && value->as.boolean) ||
                           (value->type == DOC_STRING && str_eq(value->as.text, STR("true")))); /* Apple's */
}

static status read_person(struct idp *idp, const struct jwt *jwt, str provider_id) {
  struct arena *arena = idp->in.task.arena;
  str email = jwt_claim_text(jwt, STR("email"));
  str id = arena_str_copy(arena, provider_id), raw_id = arena_str_copy(arena, jwt->subject);
  skerry__identity__v1__stored_provider__init(&idp->provider);
  idp->provider.provider_id = task_text(id.ptr);
  idp->provider.raw_id = task_text(raw_id.ptr);
  idp->provider.display_name = task_text(claim_text(arena, jwt, STR("name"), fields_check_display_name));
  idp->provider.photo_url = task_text(claim_text(arena, jwt, STR("picture"), fields_check_photo_url));
  if (email.len > 0) {
    str canonical;
    status good = fields_canonical_email(email, arena, &canonical);
    if (status_is_ok(&good)) {
      idp->provider.email = task_text(canonical.ptr);
      idp->email_verified = claim_is_true(jwt, STR("email_verified"));
    }
  }
  return arena->exhausted ? task_no_memory() : status_ok();
}

/* ---- The account ---- */

static bool can_add_provider(const user_record *user) {
  return user->n_providers < USER_PROVIDERS_MAX;
}

static status add_provider(struct idp *idp, user_record *user) {
  const provider_record *same = user_record_provider(user, str_from_cstr(idp->provider.provider_id));
  if (same != NULL && strcmp(same->raw_id, idp->provider.raw_id) != 0)
    return status_make(STATUS_INVALID_ARGUMENT, "PROVIDER_ALREADY_LINKED");
  if (same == NULL && !can_add_provider(user))
    return status_make(STATUS_RESOURCE_EXHAUSTED, "TOO_MANY_PROVIDERS : An account has at most %d.",
                       USER_PROVIDERS_MAX);
  idp->provider.linked_us = idp->in.task.now_us;
  if (same == NULL)
    user->providers[user->n_providers++] = &idp->provider;
  if (*user->display_name == '\0')
    user->display_name = idp->provider.display_name;
  if (*user->photo_url == '\0')
    user->photo_url = idp->provider.photo_url;
  user->anonymous = false;
  return status_ok();
}

/* The account that the person signs in to: *ret is a copy that may be changed; *ret_before is as it is
 * stored, NULL for a new one. *ret is NULL if it takes a confirmation first. */
static status find_account(struct idp *idp, const struct user_view *view, struct kv_batch *batch,
                           user_record **ret_before, user_record **ret) {
  struct task *task = &idp->in.task;
  user_record *before = NULL;
  STATUS_TRY(user_store_find_provider(view, task->project, str_from_cstr(idp->provider.provider_id),
                                      str_from_cstr(idp->provider.raw_id), task->arena, &before));
  bool is_known = before != NULL;
  if (!is_known && idp->email_verified)
    STATUS_TRY(
        user_store_find_email(view, task->project, str_from_cstr(idp->provider.email), task->arena, &before));
  idp->in.is_new = before == NULL;
  user_record made;
  if (before == NULL) {
    if (!idp->may_create)
      return status_make(STATUS_NOT_FOUND, "USER_NOT_FOUND");
    if (task->service->options.sign_up_closed)
      return status_make(STATUS_PERMISSION_DENIED,
                         "ADMIN_ONLY_OPERATION : This server takes no new accounts.");
    user_record_init(&made, task->project.ptr, idp->in.uid.ptr, task->now_us);
    made.email = idp->email_verified ? idp->provider.email : task_text("");
    made.email_verified = idp->email_verified;
  }
  user_record *user = user_record_copy(task->arena, before == NULL ? &made : before);
  if (user == NULL)
    return task_no_memory();
  *ret_before = before;
  *ret = user;
  if (before == NULL || is_known)
    return status_ok();
  if (before->email_verified) {
    *ret = NULL;
    return status_ok();
  }
  idp->in.ends_sessions = true;
  sign_in_take_over(user, batch);
  return status_ok();
}

static status find_linked(struct idp *idp, const struct user_view *view, user_record **ret_before,
                          user_record **ret) {
  struct task *task = &idp->in.task;
  user_record *before;
  session_record *session;
  STATUS_TRY(task_find_signed_in(task, view, &idp->in.linked, &before, &session));
  idp->in.session.record.second_factor_id = session->second_factor_id;
  *ret_before = before;
  *ret = user_record_copy(task->arena, before);
  if (*ret == NULL)
    return task_no_memory();
  if (*(*ret)->email != '\0' || !idp->email_verified)
    return status_ok();
  user_record *other;
  STATUS_TRY(
      user_store_find_email(view, task->project, str_from_cstr(idp->provider.email), task->arena, &other));
  if (other == NULL) {
    (*ret)->email = idp->provider.email;
    (*ret)->email_verified = true;
  }
  return status_ok();
}

static status commit_idp(struct task *task, const struct user_view *view, struct kv_batch *batch) {
  struct idp *idp = (struct idp *)task;
  struct sign_in *in = &idp->in;
  user_record *before = NULL, *user = NULL;
  if (in->is_linking)
    STATUS_TRY(find_linked(idp, view, &before, &user));
  else
    STATUS_TRY(find_account(idp, view, batch, &before, &user));
  idp->needs_confirmation = user == NULL;
  in->user = user == NULL ? before : user;
  if (before != NULL && before->disabled)
    return status_make(STATUS_PERMISSION_DENIED, "USER_DISABLED");
  if (user == NULL)
    return status_ok();
  STATUS_TRY(add_provider(idp, user));
  in->is_first_half = !in->is_linking && user->totp != NULL;
  if (in->is_linking)
    user_store_end_session(batch, user, str_make(in->linked.session, REFRESH_TOKEN_SESSION_BYTES));
  if (!in->is_first_half)
    STATUS_TRY(sign_in_session_put(task, &in->session, user, batch));
  return user_store_put(view, batch, task->arena, before, user);
}

/* ---- The answer ---- */

static status describe_ways(struct idp *idp, Skerry__Identity__V1__SignInWithIdpResponse *response) {
  Skerry__Identity__V1__ProviderUserInfo **ways;
  struct arena *arena = idp->in.task.arena;
  size_t count;
  if (!user_describe_providers(arena, idp->in.user, &ways, &count))
    return task_no_memory();
  char **names = ARENA_NEW_ARRAY(arena, char *, count);
  if (names == NULL)
    return task_no_memory();
  for (size_t i = 0; i < count; i++)
    names[i] = ways[i]->provider_id;
  response->verified_provider = names;
  response->n_verified_provider = count;
  response->need_confirmation = true;
  response->_need_confirmation_case =
      SKERRY__IDENTITY__V1__SIGN_IN_WITH_IDP_RESPONSE___NEED_CONFIRMATION_NEED_CONFIRMATION;
  return status_ok();
}

static status describe_sign_in(struct idp *idp, Skerry__Identity__V1__SignInWithIdpResponse *response) {
  struct sign_in *in = &idp->in;
  struct task *task = &in->task;
  response->local_id = in->user->uid;
  response->display_name = in->user->display_name;
  response->photo_url = in->user->photo_url;
  response->is_new_user = in->is_new;
  if (!in->is_first_half) {
    response->expires_in = task->service->maker.lifetime_s;
    return sign_in_session_tokens(task, &in->session, in->user, &response->id_token,
                                  &response->refresh_token);
  }
  if (!mfa_describe(task->arena, in->user, &response->mfa_info, &response->n_mfa_info))
    return task_no_memory();
  return mfa_make_pending(task, in->user, in->session.record.sign_in_provider,
                          &response->mfa_pending_credential);
}

static void reply_idp(struct task *task) {
  struct idp *idp = (struct idp *)task;
  Skerry__Identity__V1__SignInWithIdpResponse response =
      SKERRY__IDENTITY__V1__SIGN_IN_WITH_IDP_RESPONSE__INIT;
  if (idp->in.ends_sessions || idp->in.is_linking)
    task_doubt(task, idp->in.user);
  response.provider_id = idp->provider.provider_id;
  response.federated_id = idp->provider.raw_id;
  response.email = idp->provider.email;
  response.email_verified = idp->email_verified;
  response.oauth_id_token = task_text(idp->token);
  response.raw_user_info = task_text(idp->claims);
  status result = idp->needs_confirmation ? describe_ways(idp, &response) : describe_sign_in(idp, &response);
  if (!status_is_ok(&result)) {
    task_fail(task, result);
    return;
  }
  if (idp->needs_confirmation)
    task_count(task, IDENTITY_REFUSED);
  else
    sign_in_count(&idp->in);
  skerry_identity_v1_accounts_sign_in_with_idp_reply(task->call, &response);
}

/* ---- Beginning ---- */

static status begin(struct idp *idp, const Skerry__Identity__V1__SignInWithIdpRequest *request) {
  struct sign_in *in = &idp->in;
  struct task *task = &in->task;
  struct post_body body;
  struct jwt jwt;
  char *uid = arena_alloc(task->arena, FIELDS_UID_MADE_BYTES + 1);
  if (uid == NULL)
    return task_no_memory();
  fields_make_uid(uid);
  in->uid = str_make(uid, FIELDS_UID_MADE_BYTES);
  idp->may_create = request->_auto_create_case == 0 || request->auto_create;
  STATUS_TRY(read_post_body(task->arena, request->post_body, &body));
  in->is_linking = *request->id_token != '\0';
  if (in->is_linking) /* first: it says of which project the provider has to be */
    STATUS_TRY(task_read_linked(task, request->id_token, &in->linked, &in->user));
  STATUS_TRY(tokens_verify_provider(task->service->tokens, body.id_token, body.provider_id, body.nonce,
                                    task->project, task->now_us, task->arena, &jwt));
  STATUS_TRY(read_person(idp, &jwt, body.provider_id));
  str token = arena_str_copy(task->arena, body.id_token);
  if (token.ptr == NULL)
    return task_no_memory();
  idp->token = request->return_idp_credential ? token.ptr : "";
  str claims;
  STATUS_TRY(jwt_payload(token, task->arena, &claims));
  idp->claims = claims.ptr;
  sign_in_session_init(task, idp->provider.provider_id, "", &in->session);
  return status_ok();
}

void identity_sign_in_with_idp(struct rpc_call *call,
                               const Skerry__Identity__V1__SignInWithIdpRequest *request) {
  struct idp *idp = TASK_NEW(call, idp);
  if (idp == NULL)
    return;
  status result = task_init(&idp->in.task, call, request->target_project_id, request->tenant_id);
  sign_in_begin(&idp->in, IDENTITY_PROVIDER);
  if (status_is_ok(&result))
    result = begin(idp, request);
  if (status_is_ok(&result))
    task_commit(&idp->in.task, commit_idp, reply_idp);
  else
    task_fail(&idp->in.task, result);
}
