/* How a mail leaves the machine: one interface, two ways (smtp_sender.h, webhook_sender.h). */
#ifndef SKERRY_SERVER_MAIL_SENDER_H
#define SKERRY_SERVER_MAIL_SENDER_H

#include "server/mail/record.h"

enum mail_result {
  MAIL_SENT,    /* taken over by the other side */
  MAIL_REFUSED, /* by the other side, for good: sending it again is of no use */
  MAIL_LATER,   /* this one not now, by the other side's word: others may go */
  MAIL_AWAY,    /* the other side cannot be reached or used at all */
};

struct mail_sender {
  /* Blocks, for a minute at most, and less once `stop` of whoever carries it was called. `ret_reason` is for
   * the operator, holds nothing of the mail, and is empty for MAIL_SENT. One thread. */
  enum mail_result (*send)(void *argument, const struct mail_record *record, char *ret_reason,
                           size_t reason_size);
  void *argument;
};

#endif
