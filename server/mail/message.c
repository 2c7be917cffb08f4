#include "server/mail/message.h"

#include <time.h>

#include "base/base64.h"
#include "base/utf8.h"

enum {
  WORD_BYTES_MAX = 39,    /* in an encoded word: 52 characters of base64, 12 around them, and a name before */
  PLAIN_SUBJECT_MAX = 60, /* so that its line stays under 78 */
  LINE_MAX_BYTES = 76,
};

/* ---- Headers ---- */

/* Control characters become spaces, what is not UTF-8 becomes U+FFFD. */
static void append_clean(str text, struct buf *out) {
  for (size_t i = 0; i < text.len;) {
    size_t len = utf8_character_length(text.ptr + i, text.len - i);
    unsigned char c = (unsigned char)text.ptr[i];
    if (len == 0)
      buf_append_str(out, STR("\xef\xbf\xbd"));
    else if (len == 1 && (c < ' ' || c == 0x7f))
      buf_append_byte(out, ' ');
    else
      buf_append(out, text.ptr + i, len);
    i += len == 0 ? 1 : len;
  }
}

/* RFC 2047, in as many words as it needs, no character cut in two. */
static void append_encoded(str text, struct buf *out) {
  for (size_t i = 0; i < text.len;) {
    size_t end = i, len;
    while (end < text.len && (len = utf8_character_length(text.ptr + end, text.len - end)) > 0 &&
           end - i + len <= WORD_BYTES_MAX)
      end += len;
    if (i > 0)
      buf_append_str(out, STR("\r\n "));
    buf_append_str(out, STR("=?utf-8?B?"));
    base64_encode(str_make(text.ptr + i, end - i), out);
    buf_append_str(out, STR("?="));
    i = end;
  }
}

static bool is_plain(str text, size_t most) {
  for (size_t i = 0; i < text.len; i++)
    if (text.ptr[i] < ' ' || text.ptr[i] > '~' ||
        (text.ptr[i] == '=' && i + 1 < text.len && text.ptr[i + 1] == '?'))
      return false;
  return text.len <= most;
}

static void append_subject(str text, struct buf *out) {
  struct buf clean = {0};
  append_clean(text, &clean);
  if (is_plain(buf_str(&clean), PLAIN_SUBJECT_MAX))
    buf_append_str(out, buf_str(&clean));
  else
    append_encoded(buf_str(&clean), out);
  out->failed = out->failed || clean.failed;
  buf_fini(&clean);
}

static void append_mailbox(const struct mailbox *box, struct buf *out) {
  struct buf clean = {0};
  append_clean(box->name, &clean);
  str name = buf_str(&clean);
  if (name.len > 0 && is_plain(name, PLAIN_SUBJECT_MAX)) {
    buf_append_byte(out, '"');
    for (size_t i = 0; i < name.len; i++) {
      if (name.ptr[i] == '"' || name.ptr[i] == '\\')
        buf_append_byte(out, '\\');
      buf_append_byte(out, (uint8_t)name.ptr[i]);
    }
    buf_append_str(out, STR("\" "));
  } else if (name.len > 0) {
    append_encoded(name, out);
    buf_append_str(out, STR("\r\n "));
  }
  buf_printf(out, "<" STR_FMT ">", STR_ARG(box->address));
  out->failed = out->failed || clean.failed;
  buf_fini(&clean);
}

/* RFC 5322, section 3.3, in UTC. */
static void append_date(int64_t date_us, struct buf *out) {
  static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  time_t seconds = (time_t)(date_us / 1000000);
  struct tm parts = {0};
  gmtime_r(&seconds, &parts);
  buf_printf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n", days[parts.tm_wday], parts.tm_mday,
             months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

/* ---- The text ---- */

/* A byte of a line: how many characters it becomes. White space at a line's end is not safe as it is. */
static unsigned width_of(unsigned char c, bool last) {
  bool as_it_is = ((c == ' ' || c == '\t') && !last) || (c > ' ' && c < 0x7f && c != '=');
  return as_it_is ? 1 : 3;
}

static void append_line(str line, struct buf *out) {
  unsigned column = 0;
  for (size_t i = 0; i < line.len; i++) {
    unsigned char c = (unsigned char)line.ptr[i];
    unsigned width = width_of(c, i + 1 == line.len);
    if (column + width > LINE_MAX_BYTES - 1) { /* one for the "=" */
      buf_append_str(out, STR("=\r\n"));
      column = 0;
    }
    if (width == 1)
      buf_append_byte(out, c);
    else
      buf_printf(out, "=%02X", (unsigned)c);
    column += width;
  }
  buf_append_str(out, STR("\r\n"));
}

static void append_text(str text, struct buf *out) {
  struct buf clean = {0};
  while (text.ptr != NULL && text.len > 0) {
    str line = str_split(text, '\n', &text);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
      line.len--;
    buf_clear(&clean);
    append_clean(line, &clean);
    append_line(buf_str(&clean), out);
  }
  out->failed = out->failed || clean.failed;
  buf_fini(&clean);
}

void mail_message_append(const struct mail_message *message, struct buf *out) {
  append_date(message->date_us, out);
  buf_append_str(out, STR("From: "));
  append_mailbox(&message->from, out);
  buf_printf(out, "\r\nTo: <" STR_FMT ">\r\nSubject: ", STR_ARG(message->to));
  append_subject(message->subject, out);
  buf_printf(out, "\r\nMessage-ID: <" STR_FMT ">\r\n", STR_ARG(message->id));
  buf_append_str(out, STR("MIME-Version: 1.0\r\n"
                          "Content-Type: text/plain; charset=utf-8\r\n"
                          "Content-Transfer-Encoding: quoted-printable\r\n"
                          "Auto-Submitted: auto-generated\r\n\r\n"));
  append_text(message->text, out);
}
