#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"
#include "tests/support/unit.h"

static int pipe_fds[2];

static int open_pipe(void **state) {
  (void)state;
  return pipe2(pipe_fds, O_CLOEXEC);
}

static int close_pipe(void **state) {
  (void)state;
  log_configure(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT, STDERR_FILENO);
  close(pipe_fds[0]);
  return close(pipe_fds[1]);
}

/* What was written since, as a C string in static memory. */
static char *logged(void) {
  static char text[8192];
  fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
  ssize_t got = read(pipe_fds[0], text, sizeof text - 1);
  text[got < 0 ? 0 : got] = '\0';
  return text;
}

/* The same without the time, which is checked for its form. */
static const char *logged_after_time(const char *before, const char *after) {
  const char *text = logged(), *form = "dddd-dd-ddTdd:dd:dd.ddddddZ";
  assert_memory_equal(text, before, strlen(before));
  text += strlen(before);
  for (size_t i = 0; form[i] != '\0'; i++)
    assert_true(form[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == form[i]);
  text += strlen(form);
  assert_memory_equal(text, after, strlen(after));
  return text + strlen(after);
}

static void logfmt_is_as_documented(void **state) {
  (void)state;
  log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT, pipe_fds[1]);
  log_event(LOG_LEVEL_WARN, "disk is nearly full", LOG_INT("free_bytes", 1048576), LOG_INT("low", INT64_MIN),
            LOG_CSTR("path", "/var/lib"), LOG_CSTR("name", "a b"), LOG_CSTR("empty", ""),
            LOG_CSTR("null", NULL));
  assert_string_equal(logged_after_time("ts=", " "),
                      "level=warn msg=\"disk is nearly full\" free_bytes=1048576 low=-9223372036854775808 "
                      "path=/var/lib name=\"a b\" empty=\"\" null=\"\"\n");
}

static void json_is_as_documented(void **state) {
  (void)state;
  log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON, pipe_fds[1]);
  log_event(LOG_LEVEL_ERROR, "m", LOG_INT("n", -5), LOG_CSTR("path", "/x"), LOG_STR("bytes", STR("a\0b")));
  assert_string_equal(
      logged_after_time("{\"ts\":\"", "\","),
      "\"level\":\"error\",\"msg\":\"m\",\"n\":-5,\"path\":\"/x\",\"bytes\":\"a\\u0000b\"}\n");
}

static void levels_below_are_silent(void **state) {
  (void)state;
  for (int configured = LOG_LEVEL_DEBUG; configured <= LOG_LEVEL_OFF; configured++) {
    log_configure((enum log_level)configured, LOG_FORMAT_LOGFMT, pipe_fds[1]);
    for (int level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_OFF; level++) {
      bool wanted = level >= configured && level != LOG_LEVEL_OFF;
      assert_int_equal(log_enabled((enum log_level)level), wanted);
      log_event((enum log_level)level, "m", LOG_INT("n", 1));
      assert_int_equal(strlen(logged()) > 0, wanted);
    }
  }
}

/* What hostile values become; the same in both formats, because logfmt quotes them all. */
static const struct {
  const char *value;
  const char *wanted;
} hostile[] = {
    {"a\nts=2026 level=error msg=forged", "a\\nts=2026 level=error msg=forged"},
    {"a\r\n", "a\\r\\n"},
    {"x\" level=error y=\"", "x\\\" level=error y=\\\""},
    {"back\\slash", "back\\\\slash"},
    {"a=b", "a=b"},
    {"\x1b[31m", "\\u001b[31m"},
    {"\x7f \b", "\\u007f \\u0008"},
    {"\xc2\x85 \xc2\x9b", "\\u0085 \\u009b"},         /* C1: next line, control sequence */
    {"\xe2\x80\xa8 \xe2\x80\xa9", "\\u2028 \\u2029"}, /* line and paragraph separator */
    {"\xe2\x80\xae \xe2\x81\xa6 \xe2\x80\x8f", "\\u202e \\u2066 \\u200f"}, /* right-to-left */
    {"\xff \xc0\x8a \xed\xa0\x80",
     "\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"caf\xc3\xa9 \xf0\x9f\xa6\xad", "caf\xc3\xa9 \xf0\x9f\xa6\xad"},
};

static void hostile_values_stay_in_their_quotes(void **state) {
  (void)state;
  for (size_t i = 0; i < UNIT_COUNT(hostile); i++) {
    char wanted[256];
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_LOGFMT, pipe_fds[1]);
    log_event(LOG_LEVEL_INFO, hostile[i].value, LOG_CSTR("v", hostile[i].value));
    snprintf(wanted, sizeof wanted, "level=info msg=\"%s\" v=\"%s\"\n", hostile[i].wanted, hostile[i].wanted);
    assert_string_equal(logged_after_time("ts=", " "), wanted);

    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON, pipe_fds[1]);
    log_event(LOG_LEVEL_INFO, hostile[i].value, LOG_CSTR("v", hostile[i].value));
    snprintf(wanted, sizeof wanted, "\"level\":\"info\",\"msg\":\"%s\",\"v\":\"%s\"}\n", hostile[i].wanted,
             hostile[i].wanted);
    assert_string_equal(logged_after_time("{\"ts\":\"", "\","), wanted);
  }
}

/* One line, valid UTF-8, no control character but the newline at its end. */
static void assert_is_one_line(const char *text) {
  size_t length = strlen(text);
  assert_in_range(length, 1, 4096);
  assert_int_equal(text[length - 1], '\n');
  for (size_t i = 0; i < length - 1; i++)
    assert_true((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
  assert_true(utf8_is_valid(text, length));
}

static void every_byte_pair_gives_one_line(void **state) {
  (void)state;
  for (int format = LOG_FORMAT_LOGFMT; format <= LOG_FORMAT_JSON; format++) {
    log_configure(LOG_LEVEL_DEBUG, (enum log_format)format, pipe_fds[1]);
    for (unsigned pair = 0; pair < 65536; pair++) {
      const char bytes[] = {(char)(pair >> 8), (char)(pair & 0xFF)};
      log_event(LOG_LEVEL_INFO, "m", LOG_STR("v", str_make(bytes, 2)));
      assert_is_one_line(logged());
    }
  }
}

static void long_values_and_lines_are_cut(void **state) {
  (void)state;
  static char huge[100001];
  const char *fillings[] = {"x", "\n", "\xe2\x82\xac", "\xff", "\x01"};
  for (size_t f = 0; f < UNIT_COUNT(fillings); f++) {
    size_t step = strlen(fillings[f]);
    for (size_t i = 0; i + step < sizeof huge; i += step)
      memcpy(huge + i, fillings[f], step);
    for (int format = LOG_FORMAT_LOGFMT; format <= LOG_FORMAT_JSON; format++) {
      const char *end = format == LOG_FORMAT_JSON ? ",\"last\":1}\n" : " last=1\n";
      log_configure(LOG_LEVEL_DEBUG, (enum log_format)format, pipe_fds[1]);
      log_event(LOG_LEVEL_INFO, huge, LOG_CSTR("v", huge), LOG_INT("last", 1));
      const char *text = logged();
      assert_is_one_line(text);
      assert_non_null(strstr(text, "...\""));
      assert_string_equal(text + strlen(text) - strlen(end), end);

      end = format == LOG_FORMAT_JSON ? "\"first\":1,\"a\":" : "first=1 a=";
      log_event(LOG_LEVEL_INFO, huge, LOG_INT("first", 1), LOG_CSTR("a", huge), LOG_CSTR("b", huge),
                LOG_CSTR("c", huge), LOG_CSTR("d", huge), LOG_INT("last", 1));
      text = logged();
      assert_is_one_line(text);
      assert_non_null(strstr(text, end));
      assert_null(strstr(text, "last"));
      end = format == LOG_FORMAT_JSON ? "...\",\"cut\":true}\n" : "...\" cut=true\n";
      assert_string_equal(text + strlen(text) - strlen(end), end);
    }
  }
}

enum { WRITERS = 4, LINES = 300 };

static void *write_lines(void *argument) {
  char text[900];
  memset(text, *(const char *)argument, sizeof text);
  for (int i = 0; i < LINES; i++)
    log_event(LOG_LEVEL_INFO, "m", LOG_STR("a", str_make(text, sizeof text)),
              LOG_STR("b", str_make(text, sizeof text)), LOG_STR("c", str_make(text, sizeof text)));
  return NULL;
}

static void *write_all(void *argument) {
  pthread_t threads[WRITERS];
  static const char letters[WRITERS] = {'p', 'q', 'r', 's'};
  for (size_t i = 0; i < WRITERS; i++)
    if (pthread_create(&threads[i], NULL, write_lines, (void *)(uintptr_t)&letters[i]) != 0)
      abort();
  for (size_t i = 0; i < WRITERS; i++)
    pthread_join(threads[i], NULL);
  log_configure(LOG_LEVEL_OFF, LOG_FORMAT_LOGFMT, -1);
  close(*(int *)argument);
  return NULL;
}

/* The pipe is small and always full, which is when long writes would be torn. */
static void lines_of_threads_do_not_mix(void **state) {
  (void)state;
  int fds[2];
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  fcntl(fds[0], F_SETPIPE_SZ, 4096);
  log_configure(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, fds[1]);
  pthread_t writer;
  assert_int_equal(pthread_create(&writer, NULL, write_all, &fds[1]), 0);
  FILE *file = fdopen(fds[0], "r");
  assert_non_null(file);
  char line[8192];
  int lines = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    lines++;
    assert_int_equal(strncmp(line, "ts=", 3), 0);
    const char *value = strstr(line, " a=");
    assert_non_null(value);
    char letter = value[3];
    for (int field = 0; field < 3; field++) {
      value += 3; /* " a=" */
      assert_int_equal(strspn(value, (char[]){letter, '\0'}), 900);
      value += 900;
    }
    assert_string_equal(value, "\n");
  }
  fclose(file);
  pthread_join(writer, NULL);
  assert_int_equal(lines, WRITERS * LINES);
}

static void wait_for_next_second(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  for (time_t second = now.tv_sec; now.tv_sec == second;) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  }
}

static void limiter_passes_a_burst_a_second_and_counts_the_rest(void **state) {
  (void)state;
  struct log_limiter limiter = {0};
  uint32_t suppressed = 99;
  wait_for_next_second();
  for (int i = 0; i < 3; i++) {
    assert_true(log_limiter_pass(&limiter, 3, &suppressed));
    assert_int_equal(suppressed, 0);
  }
  suppressed = 99;
  for (int i = 0; i < 7; i++)
    assert_false(log_limiter_pass(&limiter, 3, &suppressed));
  assert_int_equal(suppressed, 99);
  wait_for_next_second();
  assert_true(log_limiter_pass(&limiter, 3, &suppressed));
  assert_int_equal(suppressed, 7);
  assert_true(log_limiter_pass(&limiter, 3, &suppressed));
  assert_int_equal(suppressed, 0);
  struct log_limiter never = {0};
  assert_false(log_limiter_pass(&never, 0, &suppressed));
}

struct limited {
  struct log_limiter limiter;
  _Atomic uint32_t passed, told;
};

static void *pass_often(void *argument) {
  struct limited *limited = argument;
  for (int i = 0; i < 1000; i++) {
    uint32_t suppressed;
    if (log_limiter_pass(&limited->limiter, 5, &suppressed)) {
      limited->passed++;
      limited->told += suppressed;
    }
  }
  return NULL;
}

static void limiter_counts_every_line_of_threads(void **state) {
  (void)state;
  struct limited limited = {0};
  pthread_t threads[WRITERS];
  wait_for_next_second();
  for (size_t i = 0; i < WRITERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, pass_often, &limited), 0);
  for (size_t i = 0; i < WRITERS; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(limited.passed + limited.told + limited.limiter.suppressed, WRITERS * 1000);
  assert_in_range(limited.passed, 5, 50); /* 5 a second, on however slow a machine */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(logfmt_is_as_documented, open_pipe, close_pipe),
      cmocka_unit_test_setup_teardown(json_is_as_documented, open_pipe, close_pipe),
      cmocka_unit_test_setup_teardown(levels_below_are_silent, open_pipe, close_pipe),
      cmocka_unit_test_setup_teardown(hostile_values_stay_in_their_quotes, open_pipe, close_pipe),
      cmocka_unit_test_setup_teardown(every_byte_pair_gives_one_line, open_pipe, close_pipe),
      cmocka_unit_test_setup_teardown(long_values_and_lines_are_cut, open_pipe, close_pipe),
      cmocka_unit_test(lines_of_threads_do_not_mix),
      cmocka_unit_test(limiter_passes_a_burst_a_second_and_counts_the_rest),
      cmocka_unit_test(limiter_counts_every_line_of_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
