#include "server/identity/user_verify.h"

enum { ARENA_BYTES = 16 * 1024 * 1024 };

struct verifying {
  struct user_view view;
  void (*report)(void *argument, str text);
  void *argument;
  struct user_verification result;
  struct arena arena; /* of what is looked at */
};

/* `whose`: a uid. Ids of sessions and codes are no use to a reader, and addresses are nobody's business. */
static void tell(struct verifying *v, const char *what, str whose) {
  struct buf text = {0};
  v->result.damages++;
  if (v->report == NULL || v->result.damages > USER_VERIFY_REPORTS)
    return;
  buf_printf(&text, "account " STR_FMT ": %s", STR_ARG(whose), what);
  v->report(v->argument, text.failed ? STR("an account (no memory to say which)") : buf_str(&text));
  buf_fini(&text);
}

/* A record that cannot be read is a damage, and the walk goes on. Whether there was one; *result is then OK.
 */
static bool is_unreadable(struct verifying *v, status *result, str whose) {
  if (result->code != STATUS_DATA_LOSS)
    return false;
  tell(v, "a record of it cannot be read", whose);
  *result = status_ok();
  return true;
}

static bool is_user(const user_record *user, const char *project, const char *uid) {
  return user != NULL && strcmp(user->project, project) == 0 && strcmp(user->uid, uid) == 0;
}

static bool names(ProtobufCBinaryData *const list, size_t count, str key) {
  for (size_t i = 0; i < count; i++)
    if (str_eq(str_make(list[i].data, list[i].len), key))
      return true;
  return false;
}

/* PROJECT 0 REST. False: it has no separator. */
static bool split(str key, str *ret_project, str *ret_rest) {
  const char *zero = key.len == 0 ? NULL : memchr(key.ptr, '\0', key.len);
  if (zero == NULL)
    return false;
  *ret_project = str_make(key.ptr, (size_t)(zero - key.ptr));
  *ret_rest = str_from(key, ret_project->len + 1);
  return true;
}

/* ---- Accounts ---- */

static status check_sessions(struct verifying *v, const user_record *user, str uid) {
  for (size_t i = 0; i < user->n_sessions; i++) {
    session_record *session = NULL;
    if (user->sessions[i].len != REFRESH_TOKEN_SESSION_BYTES) {
      tell(v, "the id of a session is damaged", uid);
      continue;
    }
    STATUS_TRY(user_store_find_session(&v->view, user->sessions[i].data, &v->arena, &session));
    if (session == NULL)
      tell(v, "it names a session that is not there", uid);
  }
  return status_ok();
}

static status check_ways(struct verifying *v, const user_record *user, str project, str uid) {
  user_record *found;
  if (*user->email != '\0') {
    STATUS_TRY(user_store_find_email(&v->view, project, str_from_cstr(user->email), &v->arena, &found));
    if (!is_user(found, user->project, user->uid))
      tell(v, "it is not found by its address", uid);
  }
  for (size_t i = 0; i < user->n_providers; i++) {
    const provider_record *p = user->providers[i];
    STATUS_TRY(user_store_find_provider(&v->view, project, str_from_cstr(p->provider_id),
                                        str_from_cstr(p->raw_id), &v->arena, &found));
    if (!is_user(found, user->project, user->uid))
      tell(v, "it is not found by a provider that it has", uid);
  }
  return status_ok();
}

static status check_user(struct verifying *v, str key, str value) {
  user_record *user;
  str project, uid;
  v->result.users++;
  if (!split(key, &project, &uid)) {
    tell(v, "its key is damaged", STR("(which?)"));
    return status_ok();
  }
  status result = stored_decode(&skerry__identity__v1__stored_user__descriptor, value, &v->arena, &user);
  if (is_unreadable(v, &result, uid) || !status_is_ok(&result))
    return result;
  if (!str_eq(str_from_cstr(user->project), project) || !str_eq(str_from_cstr(user->uid), uid)) {
    tell(v, "its record is another's", uid);
    return status_ok();
  }
  result = check_ways(v, user, project, uid);
  if (status_is_ok(&result))
    result = check_sessions(v, user, uid);
  is_unreadable(v, &result, uid);
  return result;
}

/* ---- What leads to them ---- */

static status check_email(struct verifying *v, str key, str uid) {
  user_record *user = NULL;
  str project, email;
  if (!split(key, &project, &email)) {
    tell(v, "the key of an address is damaged", uid);
    return status_ok();
  }
  status result = user_store_find(&v->view, project, uid, &v->arena, &user);
  if (is_unreadable(v, &result, uid) || !status_is_ok(&result))
    return result;
  if (user == NULL || !str_eq(str_from_cstr(user->email), email))
    tell(v, "an address leads to it that it does not have", uid);
  return status_ok();
}

static status check_provider(struct verifying *v, str key, str uid) {
  user_record *user = NULL;
  str project, rest, provider_id, raw_id;
  if (!split(key, &project, &rest) || !split(rest, &provider_id, &raw_id)) {
    tell(v, "the key of a provider is damaged", uid);
    return status_ok();
  }
  status result = user_store_find(&v->view, project, uid, &v->arena, &user);
  if (is_unreadable(v, &result, uid) || !status_is_ok(&result))
    return result;
  const provider_record *provider = user == NULL ? NULL : user_record_provider(user, provider_id);
  if (provider == NULL || !str_eq(str_from_cstr(provider->raw_id), raw_id))
    tell(v, "a provider leads to it that it does not have", uid);
  return status_ok();
}

static status check_session(struct verifying *v, str id, str value) {
  session_record *session;
  user_record *user = NULL;
  v->result.sessions++;
  status result =
      stored_decode(&skerry__identity__v1__stored_session__descriptor, value, &v->arena, &session);
  if (is_unreadable(v, &result, STR("(of a session)")) || !status_is_ok(&result))
    return result;
  str uid = str_from_cstr(session->uid);
  result = user_store_find(&v->view, str_from_cstr(session->project), uid, &v->arena, &user);
  if (is_unreadable(v, &result, uid) || !status_is_ok(&result))
    return result;
  if (user == NULL || !names(user->sessions, user->n_sessions, id))
    tell(v, "a session is there that it does not name", uid);
  return status_ok();
}

static status check_code(struct verifying *v, str hash, str value) {
  code_record *code;
  user_record *user = NULL;
  v->result.codes++;
  status result = stored_decode(&skerry__identity__v1__stored_code__descriptor, value, &v->arena, &code);
  if (is_unreadable(v, &result, STR("(of a code)")) || !status_is_ok(&result))
    return result;
  str uid = str_from_cstr(code->uid);
  if (uid.len == 0)
    return status_ok(); /* of nobody yet */
  result = user_store_find(&v->view, str_from_cstr(code->project), uid, &v->arena, &user);
  if (is_unreadable(v, &result, uid) || !status_is_ok(&result))
    return result;
  if (user == NULL ||
      (!names(user->codes, user->n_codes, hash) && !names(user->recoveries, user->n_recoveries, hash)))
    tell(v, "a code is there that it does not name", uid);
  return status_ok();
}

/* ---- The walk ---- */

static const struct {
  const char *prefix;
  status (*check)(struct verifying *v, str key, str value); /* the key without the prefix */
} kinds[] = {
    {"identity/user/", check_user},         {"identity/email/", check_email},
    {"identity/provider/", check_provider}, {"identity/session/", check_session},
    {"identity/code/", check_code},
};

static status walk(struct verifying *v, const char *prefix,
                   status (*check)(struct verifying *v, str key, str value)) {
  struct kv_iter *iter;
  char upper[32];
  size_t len = strlen(prefix);
  memcpy(upper, prefix, len);
  upper[len - 1]++; /* behind the slash */
  STATUS_TRY(
      kv_iter_open(v->view.snapshot, KV_SYSTEM, str_make(prefix, len), str_make(upper, len), false, &iter));
  status result = status_ok();
  while (status_is_ok(&result) && kv_iter_next(iter)) {
    result = check(v, str_from(kv_iter_key(iter), len), kv_iter_value(iter));
    arena_reset(&v->arena);
  }
  if (status_is_ok(&result))
    result = kv_iter_status(iter);
  kv_iter_close(iter);
  return result;
}

status user_verify(struct kv_store *store, void (*report)(void *argument, str text), void *argument,
                   struct user_verification *ret) {
  struct verifying v = {.report = report, .argument = argument};
  STATUS_TRY(user_view_now(store, &v.view));
  arena_init(&v.arena, NULL, 0, ARENA_BYTES);
  status result = status_ok();
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && status_is_ok(&result); i++)
    result = walk(&v, kinds[i].prefix, kinds[i].check);
  arena_fini(&v.arena);
  *ret = v.result;
  return result;
}
