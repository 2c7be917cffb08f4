/* What strangers and operators give to mails: an address that is taken never ends its header, a message never
 * has another header than its own nor a long line, and records of the outbox come back as they were. */
#include <stdlib.h>

#include "server/mail/message.h"
#include "server/mail/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(str bytes) {
  struct mailbox box = {.address = STR("a@b.example")};
  struct buf out = {0};
  if (mailbox_parse(bytes, &box) && !mail_address_is_valid(box.address))
    abort();
  box.name = bytes;
  struct mail_message message = {
      .from = box, .to = STR("a@b.example"), .subject = bytes, .text = bytes, .id = STR("1@b.example")};
  mail_message_append(&message, &out);
  if (out.failed)
    abort();
  size_t column = 0, lines = 0, headers = 0;
  bool in_head = true;
  for (size_t i = 0; i < out.len; i++) {
    uint8_t c = out.data[i];
    bool ends = c == '\r' && i + 1 < out.len && out.data[i + 1] == '\n';
    if (c >= 0x7f || (c < ' ' && c != '\t' && c != '\n' && !ends) || (c == '\n' && out.data[i - 1] != '\r'))
      abort();
    if (in_head && column == 0 && !ends)
      headers += c != ' ';
    if (ends && column == 0)
      in_head = false;
    column = c == '\n' ? 0 : ends ? column : column + 1;
    lines += c == '\n';
    if (column > (in_head ? 500 : 76)) /* a name in quotes and an address are not broken up */
      abort();
  }
  if (headers != 9 || lines < 10)
    abort();
  buf_fini(&out);
}

static void check_record(str bytes) {
  struct mail_record record;
  struct buf again = {0};
  if (!mail_record_decode(bytes, &record))
    return;
  mail_record_encode(&record, &again);
  if (!str_eq(buf_str(&again), bytes))
    abort();
  buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  str bytes = str_make(data, size);
  if (mail_address_is_valid(bytes) && memchr(data, '\n', size) != NULL)
    abort();
  check_message(bytes);
  check_record(bytes);
  return 0;
}
