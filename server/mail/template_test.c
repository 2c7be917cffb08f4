#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/mail/template.h"
#include "tests/support/unit.h"

static char directory[] = "/tmp/skerry-mail-template-XXXXXX";
static struct buf subject, text;

static int make_directory(void **state) {
  (void)state;
  return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", directory);
  return system(command);
}

static int forget(void **state) {
  (void)state;
  buf_fini(&subject);
  buf_fini(&text);
  subject = text = (struct buf){0};
  return 0;
}

static void put_file(const char *name, str content) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "we");
  assert_non_null(file);
  assert_int_equal(fwrite(content.ptr, 1, content.len, file), content.len);
  fclose(file);
}

static const struct mail_fields ann = {.link = {"https://box/?oobCode=1%25&x=%EMAIL%", 35},
                                       .email = {"ann@example.com", 15},
                                       .new_email = {"new@example.com", 15},
                                       .display_name = {"Ann\r\nBcc: x", 11},
                                       .app_name = {"Harbour", 7}};

static void fill(const struct mail_templates *templates, enum mail_kind kind) {
  forget(NULL);
  assert_status_ok(mail_template_fill(templates, kind, &ann, &subject, &text));
}

static bool has(const char *wanted) {
  return memmem(text.data, text.len, wanted, strlen(wanted)) != NULL;
}

static void all_kinds_have_a_text(void **state) {
  (void)state;
  struct mail_templates *templates;
  assert_status_ok(mail_templates_read(NULL, &templates));
  for (enum mail_kind kind = 0; kind < MAIL_KINDS; kind++) {
    fill(templates, kind);
    assert_true(subject.len > 10);
    assert_true(memmem(subject.data, subject.len, "Harbour", 7) != NULL);
    assert_true(has("https://box/?oobCode=1%25&x=%EMAIL%\n")); /* what was filled in is not looked at again */
    assert_false(has("Ann"));                                  /* no stranger's words */
    assert_true(has("ann@example.com"));
    assert_true(has("new@example.com") == (kind == MAIL_CHANGE_EMAIL || kind == MAIL_EMAIL_CHANGED));
  }
  assert_string_equal(mail_kind_name(MAIL_EMAIL_LINK), "email_link");
  mail_templates_free(templates);
}

static void files_take_their_place(void **state) {
  (void)state;
  struct mail_templates *templates;
  put_file("verify_email.txt",
           STR("Subject: Hallo %DISPLAY_NAME%\r\n\r\n100%% %LINK% %UNKNOWN% %\n50% %EMAIL%, %APP_NAME%"));
  assert_status_ok(mail_templates_read(directory, &templates));
  fill(templates, MAIL_VERIFY_EMAIL);
  assert_str_is(buf_str(&subject), "Hallo Ann  Bcc: x");
  assert_str_is(buf_str(&text),
                "100% https://box/?oobCode=1%25&x=%EMAIL% %UNKNOWN% %\n50% ann@example.com, Harbour");
  fill(templates, MAIL_RESET_PASSWORD); /* built in */
  assert_true(has("choose a new password"));
  mail_templates_free(templates);
}

static void broken_files_are_refused(void **state) {
  (void)state;
  static char large[MAIL_TEMPLATE_BYTES_MAX + 1];
  memset(large, 'x', sizeof large);
  const struct {
    str content;
    const char *wrong;
  } cases[] = {{STR(""), "Subject"},
               {STR("Hello\n\n%LINK%"), "Subject"},
               {STR("Subject: \n\n%LINK%"), "Subject"},
               {STR("Subject: a\n%LINK%"), "empty line"},
               {STR("Subject: a\n\n"), "no text"},
               {STR("Subject: a\n\nno link"), "%LINK%"},
               {STR("Subject: a\n\n%LINK% \xff"), "UTF-8"},
               {STR("Subject: a\n\n%LINK% \0"), "UTF-8"},
               {{large, sizeof large}, "at most"}};
  for (size_t i = 0; i < UNIT_COUNT(cases); i++) {
    struct mail_templates *templates;
    put_file("verify_email.txt", cases[i].content);
    status result = mail_templates_read(directory, &templates);
    assert_int_equal(result.code, STATUS_FAILED_PRECONDITION);
    if (strstr(result.message, cases[i].wrong) == NULL || strstr(result.message, "verify_email.txt") == NULL)
      fail_msg("%s", result.message);
  }
}

static void long_fields_are_cut(void **state) {
  (void)state;
  struct mail_templates *templates;
  static char name[2000];
  for (size_t i = 0; i + 1 < sizeof name; i += 2)
    memcpy(name + i, "\xc3\xa9", 2);
  put_file("verify_email.txt", STR("Subject: %APP_NAME%%APP_NAME%%APP_NAME%\n\n%LINK% [%APP_NAME%]"));
  assert_status_ok(mail_templates_read(directory, &templates));
  struct mail_fields fields = {.link = STR("l"), .app_name = {name + 1, sizeof name - 2}};
  fields.app_name = str_make(name, sizeof name - 1);
  assert_status_ok(mail_template_fill(templates, MAIL_VERIFY_EMAIL, &fields, &subject, &text));
  assert_int_equal(subject.len, 512);
  assert_int_equal(text.len, 4 + 256);
  assert_int_equal(text.data[3 + 255], 0xa9); /* whole characters */
  mail_templates_free(templates);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(all_kinds_have_a_text, forget),
      cmocka_unit_test_teardown(files_take_their_place, forget),
      cmocka_unit_test_teardown(broken_files_are_refused, forget),
      cmocka_unit_test_teardown(long_fields_are_cut, forget),
  };
  return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
