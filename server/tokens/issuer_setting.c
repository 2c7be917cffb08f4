#include "server/tokens/issuer_setting.h"

#include "net/url.h"

static const char FIREBASE[] = "https://securetoken.google.com/";
static const char FIREBASE_KEYS[] =
    "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com";
static const char GOOGLE[] = "https://accounts.google.com";
static const char GOOGLE_KEYS[] = "https://www.googleapis.com/oauth2/v3/certs";

enum { PROJECT_BYTES_MAX = 64 };

static status wrong(str setting, const char *what) {
  return status_make(STATUS_INVALID_ARGUMENT, "issuer \"" STR_FMT "\": %s", STR_ARG(setting), what);
}

static bool is_project(str id) {
  for (size_t i = 0; i < id.len; i++) {
    char c = id.ptr[i];
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != ':')
      return false;
  }
  return id.len > 0 && id.len <= PROJECT_BYTES_MAX;
}

/* What apps call a way to sign in; these are others already. */
static bool is_provider(str id) {
  static const char *const taken[] = {"password",  "email",  "emailLink", "phone",
                                      "anonymous", "custom", "firebase"};
  for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
    if (str_eq(id, str_from_cstr(taken[i])))
      return false;
  for (size_t i = 0; i < id.len; i++) {
    char c = id.ptr[i];
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_')
      return false;
  }
  return id.len > 0 && id.len <= ISSUER_PROVIDER_BYTES_MAX;
}

/* Past white space; the next word, or an empty one at the end. */
static str next_word(str *rest) {
  size_t start = 0;
  while (start < rest->len && (rest->ptr[start] == ' ' || rest->ptr[start] == '\t'))
    start++;
  size_t end = start;
  while (end < rest->len && rest->ptr[end] != ' ' && rest->ptr[end] != '\t')
    end++;
  str word = str_make(rest->len == 0 ? NULL : rest->ptr + start, end - start);
  *rest = str_from(*rest, end);
  return word;
}

static bool is_good_url(str text, bool allow_loopback_http) {
  struct url url;
  return url_parse(text, &url) && (url.scheme == URL_HTTPS || (allow_loopback_http && url_is_loopback(&url)));
}

static status add_audiences(str setting, str list, struct issuer_setting *ret) {
  while (list.ptr != NULL) {
    str one = str_split(list, ',', &list);
    if (one.len == 0)
      return wrong(setting, "an audience is empty");
    if (ret->audience_count == ISSUER_AUDIENCES_MAX)
      return wrong(setting, "it has more than 32 audiences");
    ret->audiences[ret->audience_count++] = one;
  }
  return status_ok();
}

static status read_option(str setting, str word, bool allow_loopback_http, struct issuer_setting *ret) {
  str value, name = str_split(word, '=', &value);
  if (str_eq(name, STR("audience")) && value.len > 0)
    return add_audiences(setting, value, ret);
  if (str_eq(name, STR("project"))) {
    ret->project = value;
    return is_project(value) ? status_ok() : wrong(setting, "`project` is no project id");
  }
  if (str_eq(name, STR("keys"))) {
    ret->keys_url = value;
    return is_good_url(value, allow_loopback_http) ? status_ok() : wrong(setting, "`keys` is no https URL");
  }
  if (str_eq(name, STR("provider"))) {
    ret->provider = value;
    return is_provider(value) ? status_ok()
                              : wrong(setting, "`provider` is a name such as google.com or oidc.works");
  }
  return wrong(setting, "after the URL there may be audience=A[,B], project=P, keys=URL and provider=ID");
}

/* What is known of Google's two issuers. */
static status fill_in_google(str setting, struct issuer_setting *ret) {
  if (str_has_prefix(ret->url, str_from_cstr(FIREBASE))) {
    str project = str_from(ret->url, strlen(FIREBASE));
    if (!is_project(project))
      return wrong(setting, "a project id must follow https://securetoken.google.com/");
    if (ret->audience_count == 0)
      ret->audiences[ret->audience_count++] = project;
    if (ret->project.len == 0)
      ret->project = project;
    if (ret->keys_url.len == 0)
      ret->keys_url = str_from_cstr(FIREBASE_KEYS);
  }
  if (str_eq(ret->url, str_from_cstr(GOOGLE)) && ret->keys_url.len == 0)
    ret->keys_url = str_from_cstr(GOOGLE_KEYS);
  return status_ok();
}

static bool copy(struct arena *arena, str *text) {
  *text = arena_str_copy(arena, *text);
  return text->ptr != NULL;
}

status issuer_setting_parse(str text, bool allow_loopback_http, struct arena *arena,
                            struct issuer_setting *ret) {
  struct issuer_setting setting = {0};
  str rest = text, word;
  setting.url = next_word(&rest);
  if (!is_good_url(setting.url, allow_loopback_http))
    return wrong(text, "it must begin with the issuer's https URL");
  while ((word = next_word(&rest)).len > 0)
    STATUS_TRY(read_option(text, word, allow_loopback_http, &setting));
  STATUS_TRY(fill_in_google(text, &setting));
  if (setting.audience_count == 0)
    return wrong(text, "it needs audience=A: the client ids of your apps, or else it would let in the users "
                       "of everybody's apps");
  bool copied = copy(arena, &setting.url) && copy(arena, &setting.project) &&
                copy(arena, &setting.keys_url) && copy(arena, &setting.provider);
  for (size_t i = 0; i < setting.audience_count; i++)
    copied = copied && copy(arena, &setting.audiences[i]);
  if (!copied)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the issuers.");
  *ret = setting;
  return status_ok();
}
