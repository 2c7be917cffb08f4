#include "server/identity/code.h"

#include "base/base64url.h"
#include "net/url.h"

static const struct {
  const char *name, *mode;
  int64_t minutes; /* Firebase's documented times; a change of the address is as a verification */
  enum mail_kind mail;
} kinds[CODE_KINDS] = {
    [CODE_PASSWORD_RESET] = {"PASSWORD_RESET", "resetPassword", 60, MAIL_RESET_PASSWORD},
    [CODE_VERIFY_EMAIL] = {"VERIFY_EMAIL", "verifyEmail", INT64_C(3) * 24 * 60, MAIL_VERIFY_EMAIL},
    [CODE_EMAIL_SIGNIN] = {"EMAIL_SIGNIN", "signIn", INT64_C(6) * 60, MAIL_EMAIL_LINK},
    [CODE_CHANGE_EMAIL] = {"VERIFY_AND_CHANGE_EMAIL", "verifyAndChangeEmail", INT64_C(24) * 60,
                           MAIL_CHANGE_EMAIL},
    [CODE_RECOVER_EMAIL] = {"RECOVER_EMAIL", "recoverEmail", INT64_C(7) * 24 * 60, MAIL_EMAIL_CHANGED},
};

bool code_kind_read(const char *name, enum code_kind *ret) {
  for (unsigned i = 0; i < CODE_KINDS; i++) {
    if (strcmp(kinds[i].name, name) != 0)
      continue;
    *ret = (enum code_kind)i;
    return true;
  }
  return false;
}

const char *code_kind_name(enum code_kind kind) {
  return kinds[kind].name;
}
int64_t code_kind_lifetime_us(enum code_kind kind) {
  return kinds[kind].minutes * 60 * 1000000;
}
enum mail_kind code_kind_mail(enum code_kind kind) {
  return kinds[kind].mail;
}

/* ---- Codes ---- */

void code_write(const uint8_t code[CODE_BYTES], char ret[CODE_TEXT_BYTES + 1]) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (size_t i = 0; i < CODE_TEXT_BYTES; i++) {
    size_t bit = 6 * i, byte = bit / 8;
    unsigned two = (unsigned)code[byte] << 8 | (byte + 1 < CODE_BYTES ? code[byte + 1] : 0u);
    ret[i] = digits[two >> (10 - bit % 8) & 63];
  }
  ret[CODE_TEXT_BYTES] = '\0';
}

status code_read(const char *text, uint8_t ret_key[CRYPTO_SHA256_BYTES]) {
  uint8_t bytes[CODE_BYTES + 1];
  size_t len;
  str coded = str_from_cstr(text);
  if (coded.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "MISSING_OOB_CODE");
  if (coded.len != CODE_TEXT_BYTES || !base64url_decode(coded, bytes, &len) || len != CODE_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_OOB_CODE");
  user_store_code_key(bytes, ret_key);
  return status_ok();
}

status code_find(const struct task *task, const struct user_view *view,
                 const uint8_t key[CRYPTO_SHA256_BYTES], code_record **ret) {
  code_record *code;
  STATUS_TRY(user_store_find_code(view, key, task->arena, &code));
  if (code == NULL || !str_eq(str_from_cstr(code->project), task->project))
    return status_make(STATUS_INVALID_ARGUMENT, "INVALID_OOB_CODE");
  if (code->expires_us <= task->now_us)
    return status_make(STATUS_INVALID_ARGUMENT, "EXPIRED_OOB_CODE");
  *ret = code;
  return status_ok();
}

/* ---- Links ---- */

static bool has_origin(str url, str origin) {
  struct url a, b;
  return url_parse(url, &a) && url_parse(origin, &b) && url_same_origin(&a, &b);
}

static bool is_allowed(const struct identity_service_options *options, str url) {
  if (url.len > URL_BYTES_MAX)
    return false;
  if (options->dev || (*options->action_url != '\0' && has_origin(url, str_from_cstr(options->action_url))))
    return true;
  for (size_t i = 0; i < options->link_origin_count; i++)
    if (has_origin(url, str_from_cstr(options->link_origins[i])))
      return true;
  return false;
}

static void put_encoded(struct buf *out, str text) {
  static const char digits[] = "0123456789ABCDEF";
  for (size_t i = 0; i < text.len; i++) {
    uint8_t c = (uint8_t)text.ptr[i];
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
        c == '.') {
      buf_append_byte(out, c);
    } else {
      buf_append_byte(out, '%');
      buf_append_byte(out, (uint8_t)digits[c >> 4]);
      buf_append_byte(out, (uint8_t)digits[c & 15]);
    }
  }
}

status code_link(const struct task *task, enum code_kind kind, const char *code, const char *continue_url,
                 bool in_app, str *ret) {
  const struct identity_service_options *options = &task->service->options;
  str page = str_from_cstr(options->action_url), next = str_from_cstr(continue_url);
  if (next.len > 0 && !is_allowed(options, next))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "UNAUTHORIZED_DOMAIN : The setting link_origins does not name it.");
  if (in_app && next.len > 0)
    page = next;
  if (page.len == 0)
    return status_make(STATUS_PERMISSION_DENIED,
                       "OPERATION_NOT_ALLOWED : The setting action_url names no page for links.");
  struct buf link = {0};
  str fragment, path = str_split(page, '#', &fragment); /* parameters come before it */
  buf_append_str(&link, path);
  buf_append_byte(&link, path.len > 0 && memchr(path.ptr, '?', path.len) != NULL ? '&' : '?');
  buf_printf(&link, "mode=%s&oobCode=%s&apiKey=none&lang=en", kinds[kind].mode, code);
  if (next.len > 0) {
    buf_append_str(&link, STR("&continueUrl="));
    put_encoded(&link, next);
  }
  if (fragment.ptr != NULL) {
    buf_append_byte(&link, '#');
    buf_append_str(&link, fragment);
  }
  str copy = link.failed ? (str){0} : arena_str_copy(task->arena, buf_str(&link));
  buf_fini(&link);
  *ret = copy;
  return copy.ptr == NULL ? task_no_memory() : status_ok();
}
