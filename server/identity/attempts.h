/* How often secrets may be guessed: passwords, one-time codes, recovery codes. Failures are counted against
 * the account and against the address that tried; past a number of free ones each further attempt has to
 * wait, twice as long as the one before up to a cap, and is refused without being checked until then.
 *
 *   counted against              free   then   up to      forgotten
 *   account, from strangers      10     1 s    15 min     halves every hour
 *   account, from a known place   10     1 s    15 min     halves every hour; a count of its own
 *   address (IPv4; IPv6: /64)    30     1 s    1 h        halves every 10 minutes
 *   network (IPv6: /48)          240    1 s    1 h        halves every 10 minutes
 *
 * An attempt is counted before it is checked, so a thousand at once do not pass together; a success takes
 * its own count back, and clears the account's (not the address's: who knows one password could else go on
 * guessing others).
 *
 * Strangers and the owner. Whoever guesses one account from many addresses gets four attempts an hour
 * altogether, and so keeps strangers' turns used up. The owner still signs in from a place that he signed in
 * from before (struct attempts_known, stored with the user), because what strangers do is not counted there;
 * from a new place he has to wait for a turn, or resets the password by mail, which is not counted here and
 * clears the account. That is the trade: a guesser can cost the owner new places, never old ones.
 *
 * Memory and disk are fixed. Records are in a table of ATTEMPTS_SETS sets with ATTEMPTS_WAYS places each,
 * found by a keyed hash, so nobody can choose whom he shares a set with. A new record takes the place of the
 * one with the least count; to push one's own record out takes more failures than are in it, in every place
 * of the set. For accounts and for addresses there is a table each, so neither pushes out the other. Names
 * and addresses themselves are not kept, only their keyed hashes.
 *
 * Time. While the server runs, the monotonic clock counts, so steps of the wall clock do nothing. Over a
 * restart it is the wall clock: backwards counts as no time, forwards is believed.
 *
 * Threads: any; a mutex inside, never held across a call of the store's. */
#ifndef SKERRY_SERVER_IDENTITY_ATTEMPTS_H
#define SKERRY_SERVER_IDENTITY_ATTEMPTS_H

#include "base/status.h"
#include "base/str.h"
#include "ports/port.h"

enum {
  ATTEMPTS_SETS = 512, /* of each table */
  ATTEMPTS_WAYS = 8,
  ATTEMPTS_SLOTS = 2 * ATTEMPTS_SETS * ATTEMPTS_WAYS,
  ATTEMPTS_SECRET_BYTES = 16,
  ATTEMPTS_RECORD_BYTES = 41,
};

/* ---- Where it is kept ---- */

/* `attempts_kv` (attempts_kv.h) keeps it in a store; tests give their own. */
struct attempts_persistence {
  /* Called whenever records changed that are to be stored, with no lock held, from the thread that made the
   * change. It does not wait: it sees to it that attempts_take_changed is called soon. NULL: nothing is kept.
   */
  void (*changed)(void *argument);
  void *argument;
};

struct attempts;

/* `secret`: ATTEMPTS_SECRET_BYTES of the keyed hash, the same for as long as records are kept. Empty
 * otherwise. RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status attempts_new(struct port *port, str secret, struct attempts_persistence persistence,
                                    struct attempts **ret);
void attempts_free(struct attempts *attempts); /* NULL is fine */

/* Before the first attempt: a record as it was stored. What is not one is passed over: false. */
bool attempts_restore(struct attempts *attempts, uint16_t slot, str record);
/* Takes up to `max` records that changed since they were taken last. How many. */
struct attempts_changed {
  uint16_t slot;
  uint8_t record[ATTEMPTS_RECORD_BYTES];
};
size_t attempts_take_changed(struct attempts *attempts, struct attempts_changed *ret, size_t max);
/* They could not be stored: they count as changed again, unless they did meanwhile. */
void attempts_give_back(struct attempts *attempts, const struct attempts_changed *changed, size_t count);

/* ---- Places that an account was signed in from ---- */

/* The last few addresses (IPv6: /64) as keyed hashes: bytes for the user's record, no more than
 * ATTEMPTS_KNOWN_BYTES_MAX. */
enum { ATTEMPTS_KNOWN_MAX = 4, ATTEMPTS_KNOWN_BYTES_MAX = 1 + ATTEMPTS_KNOWN_MAX * 8 };
struct attempts_known {
  uint64_t places[ATTEMPTS_KNOWN_MAX]; /* newest first */
  unsigned count;
};
/* Broken bytes are none. */
struct attempts_known attempts_known_decode(str bytes);
size_t attempts_known_encode(const struct attempts_known *known, uint8_t out[ATTEMPTS_KNOWN_BYTES_MAX]);
/* After a sign-in. True: it was not there or not the newest, so the user's record has to be written; where
 * the caller wants to write seldom, it writes only if attempts_is_known was false. */
bool attempts_known_add(const struct attempts *attempts, struct attempts_known *known, str account,
                        str address);
bool attempts_is_known(const struct attempts *attempts, const struct attempts_known *known, str account,
                       str address);

/* ---- Attempts ---- */

/* Who tries what. `account` is what names it (project and uid, or project and e-mail address in lower case,
 * also of accounts that do not exist); `address` is as rpc gives a peer's ("192.0.2.1:5000",
 * "[2001:db8::1]:5000", without a port too). What is no address (a Unix socket) is not counted against any.
 * Loopback is one like others: behind a proxy on this machine everybody has it, see docs. */
struct attempts_who {
  str account; /* empty: there is none (anonymous sign-up); only the address counts */
  str address;
  bool known; /* attempts_is_known */
};

/* One attempt that is under way. By value; holds nothing. */
struct attempts_ticket {
  uint64_t keys[3][2];
  unsigned count;
  bool has_account;
};

/* Counts it. RESOURCE_EXHAUSTED: too early, and *ret_wait_ms says how long (else it is 0); the message is
 * Firebase's
 * ("TOO_MANY_ATTEMPTS_TRY_LATER : ...") and the same for accounts that do not exist. A refused one is not
 * counted. */
STATUS_MUST_USE status attempts_begin(struct attempts *attempts, const struct attempts_who *who,
                                      struct attempts_ticket *ret, int64_t *ret_wait_ms);
/* Once for each that began. FAILED keeps the count; SUCCEEDED takes it back and clears the account's;
 * NOT_MADE takes it back (the pool was full, the store failed). */
enum attempts_outcome { ATTEMPTS_FAILED, ATTEMPTS_SUCCEEDED, ATTEMPTS_NOT_MADE };
void attempts_end(struct attempts *attempts, const struct attempts_ticket *ticket,
                  enum attempts_outcome outcome);

/* The account's secret was reset by its owner, or the account deleted: strangers' count is cleared. */
void attempts_clear_account(struct attempts *attempts, str account);

struct attempts_info {
  uint64_t begun, refused, failed; /* since the start */
  unsigned accounts, addresses;    /* records in use */
};
void attempts_info(struct attempts *attempts, struct attempts_info *ret);

#endif
