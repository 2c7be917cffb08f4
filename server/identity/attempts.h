/* How often secrets may be guessed: passwords, one-time codes, recovery codes. Failures are counted against
 * the account and against the address that tried. Past a number of free ones each further attempt has to
 * wait, twice as long as the one before up to a cap, and until then is refused without being checked.
 *
 *   counted against               free   then  doubled up to  one is forgotten every
 *   account, by strangers           10    1 s         15 min                  15 min
 *   account, from a known place     10    1 s         15 min                  15 min
 *   address (IPv4; IPv6: its /64)   30    1 s         15 min                   2 min
 *   network (IPv6: its /48)        240    1 s         15 min                    15 s
 *   sign-ups of an address         100    1 s         15 min                    36 s
 *
 * So who goes on for ever gets four guesses an hour at an account. An attempt is counted before it is
 * checked, so that a thousand at once do not pass together; one that succeeds takes its own count back and no
 * other's, so that knowing one password is of no use for guessing others.
 *
 * Sign-ups count whatever becomes of them, in a record of their own: a crowd of new users behind one address
 * does not keep others there from signing in. Of IPv6 both the /64 and the /48 have one.
 *
 * Strangers and the owner. Whoever guesses at one account from many addresses gets those four attempts an
 * hour altogether, and so uses up the turns of all strangers. The owner still signs in from where he signed
 * in before (struct attempts_known, stored with the user): there nothing counts but a record of that account
 * from that place alone, so neither strangers nor a guesser behind the same address keep him out. From a new
 * place he has to find a turn, or resets the password by mail, which is not counted here and clears the
 * strangers' count. That is the trade: a guesser can cost the owner new places, never old ones.
 *
 * Loopback is not counted as an address: behind a proxy on this machine everybody has it. The proxy has to
 * limit addresses then; accounts are limited here all the same. So are Unix sockets.
 *
 * Memory and disk are fixed. Two tables, one for accounts and one for addresses, of ATTEMPTS_SETS sets with
 * ATTEMPTS_WAYS places each. The set of a record is found by a keyed hash, so nobody can choose whom he
 * shares one with. A new record takes the place of the one that has the least count for its kind: to push his
 * own out, a guesser needs as many failures as are in it in every other place of the set, and as he cannot
 * aim, in most of the table. Names and addresses are not kept, only their keyed hashes.
 *
 * Time. While the server runs the monotonic clock counts, so steps of the wall clock do nothing. Over a
 * restart it is the wall clock: backwards counts as no time, forwards is believed.
 *
 * Threads: any; one mutex, never held during a call of `changed`. */
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
  ATTEMPTS_RECORD_BYTES = 30,
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
 * also of accounts that do not exist); `address` is as struct rpc_peer has it ("192.0.2.1:5000",
 * "[2001:db8::1]:5000"), without a port too. What is no address is not counted against any. */
struct attempts_who {
  str account; /* empty: there is none (anonymous sign-up); only the address counts */
  str address;
  bool known;    /* attempts_is_known */
  bool signs_up; /* `account` does not count */
};

/* One attempt that is under way. By value; holds nothing. */
struct attempts_ticket {
  uint8_t kinds[3];
  uint64_t keys[3];
  int64_t until_us[3]; /* the waits that it began */
  unsigned count;
};

/* Counts it. RESOURCE_EXHAUSTED: too early, and *ret_wait_ms says how long; the message is Firebase's
 * ("TOO_MANY_ATTEMPTS_TRY_LATER : ...") and the same for accounts that do not exist. Refused ones are not
 * counted, and *ret_wait_ms is 0 otherwise. */
STATUS_MUST_USE status attempts_begin(struct attempts *attempts, const struct attempts_who *who,
                                      struct attempts_ticket *ret, int64_t *ret_wait_ms);
/* Once for each that began. NOT_MADE: it was not checked after all (the pool was full, the store failed).
 * FAILED leaves the count, the other two take it back. */
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
