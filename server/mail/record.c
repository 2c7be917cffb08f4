#include "server/mail/record.h"

enum { RECORD_FORMAT = 1, TEXTS = 10 };

/* In the order of the bytes. */
static void list_texts(struct mail_record *record, str *ret[TEXTS]) {
  str *texts[TEXTS] = {&record->id,      &record->to,    &record->subject,   &record->text,
                       &record->project, &record->email, &record->new_email, &record->display_name,
                       &record->link,    &record->code};
  memcpy(ret, texts, sizeof texts);
}

static void put_number(uint64_t number, unsigned bytes, struct buf *out) {
  for (unsigned i = bytes; i-- > 0;)
    buf_append_byte(out, (uint8_t)(number >> 8 * i));
}

void mail_record_encode(const struct mail_record *record, struct buf *out) {
  struct mail_record copy = *record;
  str *texts[TEXTS];
  list_texts(&copy, texts);
  put_number(RECORD_FORMAT, 1, out);
  put_number(record->kind, 1, out);
  put_number((uint64_t)record->created_us, 8, out);
  put_number((uint64_t)record->expires_us, 8, out);
  for (unsigned i = 0; i < TEXTS; i++) {
    put_number(texts[i]->len, 4, out);
    buf_append_str(out, *texts[i]);
  }
}

static bool take_number(str *bytes, unsigned count, uint64_t *ret) {
  uint64_t number = 0;
  if (bytes->len < count)
    return false;
  for (unsigned i = 0; i < count; i++)
    number = number << 8 | (uint8_t)bytes->ptr[i];
  *bytes = str_from(*bytes, count);
  *ret = number;
  return true;
}

bool mail_record_decode(str bytes, struct mail_record *ret) {
  struct mail_record record = {0};
  str *texts[TEXTS];
  uint64_t format, kind, created_us, expires_us, len;
  list_texts(&record, texts);
  if (bytes.len > MAIL_RECORD_BYTES_MAX || !take_number(&bytes, 1, &format) || format != RECORD_FORMAT ||
      !take_number(&bytes, 1, &kind) || kind >= MAIL_KINDS || !take_number(&bytes, 8, &created_us) ||
      !take_number(&bytes, 8, &expires_us))
    return false;
  record.kind = (enum mail_kind)kind;
  record.created_us = (int64_t)created_us;
  record.expires_us = (int64_t)expires_us;
  for (unsigned i = 0; i < TEXTS; i++) {
    if (!take_number(&bytes, 4, &len) || len > bytes.len)
      return false;
    *texts[i] = str_make(bytes.ptr, (size_t)len);
    bytes = str_from(bytes, (size_t)len);
  }
  if (bytes.len > 0 || record.id.len != MAIL_ID_BYTES)
    return false;
  *ret = record;
  return true;
}
