/* Mails of accounts: by SMTP or a webhook, from a durable outbox (outbox.h); or, in development, into the log
 * and a list that the emulator's oobCodes endpoint reads. Where neither is set up, mail_prepare refuses.
 *
 * Whoever changes an account sends a mail like this, so that the mail is on its way exactly if the change was
 * made:
 *
 *   status s = mail_prepare(mail, &order, &item);        on the call's thread; the first thing that may fail
 *   mail_item_put(&item, batch);                         in the commit's resolve
 *   mail_item_committed(&item), or mail_item_abandon     in the commit's done
 *
 * Any thread, nothing blocks, but for open, stop and close. */
#ifndef SKERRY_SERVER_MAIL_MAIL_H
#define SKERRY_SERVER_MAIL_MAIL_H

#include "server/mail/outbox.h"

struct mail_options {
  struct kv_store *store; /* outlives it */
  struct port *port;
  bool dev;         /* the log and the list, unless a way is set */
  const char *smtp; /* smtp://host:port, smtps://host:port; "" or NULL: not by SMTP; likewise below */
  const char *smtp_user;
  const char *smtp_password_file;
  bool smtp_insecure; /* no TLS to a host that is not this machine */
  const char *from;
  const char *webhook;
  const char *webhook_key_file;
  const char *templates;                      /* a directory */
  const char *app_name;                       /* %APP_NAME%; without it, the project */
  const char *ca_file;                        /* PEM, authorities beside the system's */
  const char *net_program, *net_user, *proxy; /* of skerry-net */
  int64_t retry_first_ms, retry_max_ms;       /* 0; for tests */
};

struct mail;

/* Opens the outbox, and skerry-net's client if there is a way out. INVALID_ARGUMENT: a setting is wrong, and
 * which; FAILED_PRECONDITION: a file or program is missing; statuses of kv.h; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status mail_open(const struct mail_options *options, struct mail **ret);
/* Before mail_close, to end what is being sent. */
void mail_stop(struct mail *mail);
void mail_close(struct mail *mail); /* before the store; NULL is fine */

/* Checks the settings alone, as mail_open does, without files. */
STATUS_MUST_USE status mail_check_options(const struct mail_options *options);

/* Whether mails are sent, or listed. */
bool mail_is_set_up(const struct mail *mail);

/* What is to be sent. Borrows everything. */
struct mail_order {
  enum mail_kind kind;
  str to;                                      /* the recipient */
  str project, email, new_email, display_name; /* may be empty, but for project */
  str link, code;                              /* the link has the code in it */
  int64_t expires_us;                          /* wall clock: when the code ends */
};

struct mail_item {
  struct mail *mail;
  struct outbox_item item; /* of a way out */
  struct mail_seen *seen;  /* of the list; owned */
};

/* FAILED_PRECONDITION: no mail is set up here; INVALID_ARGUMENT ("INVALID_EMAIL : ..."): `to` is no address
 * that is taken, or a field is too long; RESOURCE_EXHAUSTED: too many mails wait, or memory. */
STATUS_MUST_USE status mail_prepare(struct mail *mail, const struct mail_order *order, struct mail_item *ret);
void mail_item_put(const struct mail_item *item, struct kv_batch *batch);
/* One of the two, once. */
void mail_item_committed(struct mail_item *item);
void mail_item_abandon(struct mail_item *item);

/* The development list: the last MAIL_SEEN_MAX, oldest first; in memory. Strings are valid during the visit,
 * in which no function of mail is called. */
enum { MAIL_SEEN_MAX = 1000 };
struct mail_seen_view {
  enum mail_kind kind;
  str project, to, email, new_email, code, link;
};
void mail_seen_list(struct mail *mail, str project,
                    void (*visit)(void *argument, const struct mail_seen_view *view), void *argument);
/* Forgets those of a project, as the emulator does with its accounts. */
void mail_seen_clear(struct mail *mail, str project);

/* Zeros where there is no outbox. */
void mail_info(struct mail *mail, struct outbox_info *ret);

#endif
