#include "server/mail/template.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "server/tokens/file.h"

enum { PATH_BYTES_MAX = 4096, SUBJECT_BYTES_MAX = 512, FIELD_BYTES_MAX = 256 };

/* What people may have typed (%DISPLAY_NAME%) is in none of them: a mail that goes to anybody is no place for
 * a stranger's words. */
static const struct {
  const char *name, *text;
  bool needs_link;
} kinds[MAIL_KINDS] = {
    [MAIL_VERIFY_EMAIL] = {"verify_email",
                           "Subject: Verify your e-mail address for %APP_NAME%\n\n"
                           "Hello,\n\n"
                           "follow this link to verify that %EMAIL% is your e-mail address:\n\n"
                           "%LINK%\n\n"
                           "If you did not ask for this, you can ignore this mail.\n\n"
                           "%APP_NAME%\n",
                           true},
    [MAIL_RESET_PASSWORD] =
        {"reset_password",
         "Subject: Reset your password for %APP_NAME%\n\n"
         "Hello,\n\n"
         "follow this link to choose a new password for your account %EMAIL%:\n\n"
         "%LINK%\n\n"
         "If you did not ask for this, you can ignore this mail: your password stays as it is.\n\n"
         "%APP_NAME%\n",
         true},
    [MAIL_EMAIL_LINK] = {"email_link",
                         "Subject: Sign in to %APP_NAME%\n\n"
                         "Hello,\n\n"
                         "follow this link to sign in as %EMAIL%:\n\n"
                         "%LINK%\n\n"
                         "If you did not ask for this, you can ignore this mail.\n\n"
                         "%APP_NAME%\n",
                         true},
    [MAIL_CHANGE_EMAIL] = {"change_email",
                           "Subject: Verify your new e-mail address for %APP_NAME%\n\n"
                           "Hello,\n\n"
                           "follow this link to use %NEW_EMAIL% instead of %EMAIL% for your account:\n\n"
                           "%LINK%\n\n"
                           "If you did not ask for this, you can ignore this mail.\n\n"
                           "%APP_NAME%\n",
                           true},
    [MAIL_EMAIL_CHANGED] = {"email_changed",
                            "Subject: Your e-mail address for %APP_NAME% was changed\n\n"
                            "Hello,\n\n"
                            "the e-mail address of your account was changed from %EMAIL% to %NEW_EMAIL%.\n\n"
                            "If it was not you, follow this link to take it back:\n\n"
                            "%LINK%\n\n"
                            "%APP_NAME%\n",
                            false},
};

struct mail_templates {
  struct buf files[MAIL_KINDS]; /* those that were read */
  str subjects[MAIL_KINDS], texts[MAIL_KINDS];
};

const char *mail_kind_name(enum mail_kind kind) {
  assert(kind < MAIL_KINDS);
  return kinds[kind].name;
}

/* ---- Reading ---- */

static bool has(str text, const char *wanted) {
  return text.len > 0 && memmem(text.ptr, text.len, wanted, strlen(wanted)) != NULL;
}

/* NULL, or what is wrong. */
static const char *take_apart(enum mail_kind kind, str whole, str *ret_subject, str *ret_text) {
  str rest, text, head = STR("Subject: ");
  if (!utf8_is_valid(whole.ptr, whole.len) || (whole.len > 0 && memchr(whole.ptr, '\0', whole.len) != NULL))
    return "is not UTF-8 text";
  str first = str_split(whole, '\n', &rest), second = str_split(rest, '\n', &text);
  if (first.len > 0 && first.ptr[first.len - 1] == '\r')
    first.len--;
  if (second.len > 0 && second.ptr[second.len - 1] == '\r')
    second.len--;
  if (!str_has_prefix(first, head) || first.len == head.len)
    return "does not begin with a line \"Subject: ...\"";
  if (second.len > 0 || text.ptr == NULL)
    return "has no empty line after its subject";
  if (text.len == 0)
    return "has no text after its subject";
  if (kinds[kind].needs_link && !has(text, "%LINK%"))
    return "does not have %LINK% in its text";
  *ret_subject = str_from(first, head.len);
  *ret_text = text;
  return NULL;
}

static status read_file(struct mail_templates *templates, const char *directory, enum mail_kind kind) {
  char path[PATH_BYTES_MAX];
  int len = snprintf(path, sizeof path, "%s/%s.txt", directory, kinds[kind].name);
  if (len < 0 || (size_t)len >= sizeof path)
    return status_make(STATUS_FAILED_PRECONDITION, "The path of the mail templates is too long.");
  status result = file_read(path, MAIL_TEMPLATE_BYTES_MAX, &templates->files[kind]);
  if (result.code == STATUS_NOT_FOUND)
    return status_ok();
  STATUS_TRY(result);
  const char *wrong =
      take_apart(kind, buf_str(&templates->files[kind]), &templates->subjects[kind], &templates->texts[kind]);
  return wrong == NULL ? status_ok() : status_make(STATUS_FAILED_PRECONDITION, "%s %s.", path, wrong);
}

status mail_templates_read(const char *directory, struct mail_templates **ret) {
  struct mail_templates *templates = calloc(1, sizeof *templates);
  if (templates == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory for the mail templates.");
  status result = status_ok();
  for (enum mail_kind kind = 0; kind < MAIL_KINDS && status_is_ok(&result); kind++) {
    const char *wrong = take_apart(kind, str_from_cstr(kinds[kind].text), &templates->subjects[kind],
                                   &templates->texts[kind]);
    assert(wrong == NULL);
    if (directory != NULL)
      result = read_file(templates, directory, kind);
  }
  if (status_is_ok(&result))
    *ret = templates;
  else
    mail_templates_free(templates);
  return result;
}

void mail_templates_free(struct mail_templates *templates) {
  if (templates == NULL)
    return;
  for (unsigned i = 0; i < MAIL_KINDS; i++)
    buf_fini(&templates->files[i]);
  free(templates);
}

/* ---- Filling in ---- */

/* Without control characters, so that nothing that is filled in makes a line of its own. */
static void append_field(str value, size_t most, struct buf *out) {
  size_t len = value.len < most ? value.len : most;
  while (len < value.len && len > 0 && ((unsigned char)value.ptr[len] & 0xc0) == 0x80)
    len--; /* not within a character */
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)value.ptr[i];
    buf_append_byte(out, c < ' ' || c == 0x7f ? ' ' : c);
  }
}

static bool append_named(str name, const struct mail_fields *fields, struct buf *out) {
  const struct {
    str name, value;
    size_t most;
  } known[] = {{STR("LINK"), fields->link, SIZE_MAX},
               {STR("EMAIL"), fields->email, FIELD_BYTES_MAX},
               {STR("NEW_EMAIL"), fields->new_email, FIELD_BYTES_MAX},
               {STR("DISPLAY_NAME"), fields->display_name, FIELD_BYTES_MAX},
               {STR("APP_NAME"), fields->app_name, FIELD_BYTES_MAX},
               {STR(""), STR("%"), 1}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (str_eq(name, known[i].name)) {
      append_field(known[i].value, known[i].most, out);
      return true;
    }
  return false;
}

static void fill(str template, const struct mail_fields *fields, struct buf *out) {
  while (template.ptr != NULL) {
    str after, name, before = str_split(template, '%', &after);
    buf_append_str(out, before);
    if (after.ptr == NULL)
      return;
    str rest;
    name = str_split(after, '%', &rest);
    bool known = rest.ptr != NULL && append_named(name, fields, out);
    if (!known)
      buf_append_byte(out, '%');
    template = known ? rest : after;
  }
}

status mail_template_fill(const struct mail_templates *templates, enum mail_kind kind,
                          const struct mail_fields *fields, struct buf *ret_subject, struct buf *ret_text) {
  struct buf subject = {0}, text = {.max_bytes = MAIL_TEXT_BYTES_MAX};
  fill(templates->subjects[kind], fields, &subject);
  fill(templates->texts[kind], fields, &text);
  append_field(buf_str(&subject), SUBJECT_BYTES_MAX, ret_subject);
  buf_append_str(ret_text, buf_str(&text));
  bool failed = subject.failed || text.failed || ret_subject->failed || ret_text->failed;
  buf_fini(&subject);
  buf_fini(&text);
  return failed
             ? status_make(STATUS_RESOURCE_EXHAUSTED, "The mail is too long, or there is no memory for it.")
             : status_ok();
}
