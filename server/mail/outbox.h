/* Mails that wait to be sent, in the store's system space ("mail/" and the time and the id), so that none is
 * lost once whoever asked was told that it is on its way: the mail is in the same commit as the code in it. A
 * thread sends them, the oldest first, and deletes what was sent.
 *
 *   at least once   a kill between sending and deleting sends it again, with the same Message-ID or id
 *   uplink down     nothing is tried more often than after 1 s, 2 s, ... 5 min; all wait together, and are
 *                   tried in turn: one at which the other side hangs up does not hold up the others
 *   not now         greylisting, a full mailbox: that one is tried again after 1 min, 2 min, ... 1 h
 *   refused         dropped, with a line in the log that does not say to whom
 *   too old         dropped when its code is worth nothing any more (expires_us)
 *   too many        OUTBOX_COUNT_MAX mails or OUTBOX_BYTES_MAX wait: outbox_reserve says RESOURCE_EXHAUSTED
 *
 * How often one was tried is not stored: a restart begins anew. A wall clock that steps moves expiry with it.
 *
 * Threads: any, but for open and close. A mutex guards what is in memory; it is never held across a call of
 * the store's or the sender's. */
#ifndef SKERRY_SERVER_MAIL_OUTBOX_H
#define SKERRY_SERVER_MAIL_OUTBOX_H

#include "ports/port.h"
#include "server/mail/sender.h"
#include "storage/kv.h"

enum {
  OUTBOX_COUNT_MAX = 1000,
  OUTBOX_BYTES_MAX = 16 * 1024 * 1024,
  OUTBOX_KEY_BYTES = 5 + 8 + MAIL_ID_BYTES
};

struct outbox_options {
  struct kv_store *store;
  struct port *port;
  struct mail_sender sender;
  int64_t retry_first_ms, retry_max_ms; /* 0: 1 s and 5 min; others are for tests */
};

struct outbox;

/* Reads what waits, and starts the thread. Statuses of kv.h; RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status outbox_open(const struct outbox_options *options, struct outbox **ret);
/* Begins nothing further. Does not wait: whoever carries the sender stops it next. */
void outbox_stop(struct outbox *outbox);
/* Waits for what is being sent, which may take as long as the sender does. Before the store closes. NULL is
 * fine. */
void outbox_close(struct outbox *outbox);

/* Place for one mail, held from before the commit until outbox_committed or outbox_abandon, one of which is
 * called once. Zeroed memory holds none. */
struct outbox_item {
  struct outbox *outbox;
  uint8_t key[OUTBOX_KEY_BYTES];
  struct buf record; /* owned */
};
/* Copies the mail; fills in its id and created_us, whatever is there. RESOURCE_EXHAUSTED: too many wait. */
STATUS_MUST_USE status outbox_reserve(struct outbox *outbox, const struct mail_record *record,
                                      struct outbox_item *ret);
/* In a resolve of kv.h, which may run again. */
void outbox_item_put(const struct outbox_item *item, struct kv_batch *batch);
/* The commit was made: it goes out. Does not block. */
void outbox_committed(struct outbox_item *item);
void outbox_abandon(struct outbox_item *item);

struct outbox_info {
  unsigned waiting;
  uint64_t waiting_bytes;
  int64_t oldest_us;                      /* created, of those that wait; 0: none */
  uint64_t sent, refused, expired, tries; /* since the start */
  char problem[256];                      /* why the last try failed; "" if it did not */
};
void outbox_info(struct outbox *outbox, struct outbox_info *ret);

#endif
