/* What nobody uses any more. A walk over all accounts, in small steps and again an hour after its end,
 *   - counts them;
 *   - deletes anonymous accounts that nobody refreshed for `anonymous_us`. Only a session leads to such an
 *     account, so who comes back later than that cannot have it;
 *   - ends sessions that were not refreshed for `session_us`.
 *
 * A step looks at IDLE_STEP accounts, and at IDLE_LOOKS sessions, at most, and changes what it found in one
 * commit. What is due is judged again within that commit, where it meets refreshes and sign-ins that were
 * faster. Memory does not depend on how many accounts there are. A kill leaves all of a step or nothing, and
 * the walk begins anew.
 *
 * Time is the store's (storage/kv.h), which does not believe every clock. And users cannot refresh while the
 * box is off: when more than a day is missing since the server last saw the time, or the clock has jumped by
 * as much, all are spared for as long from then on, at most for the longer of the two times. When it saw the
 * time is in the store (`identity/idle`), once an hour. */
#ifndef SKERRY_SERVER_IDENTITY_IDLE_H
#define SKERRY_SERVER_IDENTITY_IDLE_H

#include "server/identity/user_store.h"

enum { IDLE_STEP = 1000, IDLE_LOOKS = 100, IDLE_REST_TICKS = 3600, IDLE_SAVE_TICKS = 3600 };

struct idle_options {
  struct kv_store *store;
  int64_t anonymous_us, session_us; /* 0: for ever */
  /* A user's sessions ended, some or with the account: after the commit, on a thread of the store's. */
  void (*ended)(void *argument, str uid);
  void *argument;
};

struct idle;

STATUS_MUST_USE status idle_new(const struct idle_options *options,
                                struct idle **ret); /* RESOURCE_EXHAUSTED */
void idle_free(struct idle *idle);                  /* after idle_wait; NULL is fine */
/* About once a second, by one thread. Reads; commits without waiting. */
void idle_tick(struct idle *idle);
/* Until what the last tick began is done. */
void idle_wait(struct idle *idle);

struct idle_info {
  uint64_t begun, walks;            /* that began, that came to their end */
  uint64_t accounts;                /* that the last of these saw, without those to be deleted */
  uint64_t deleted, sessions_ended; /* since the start; sessions of deleted accounts are not counted */
};
void idle_info(struct idle *idle, struct idle_info *ret);

#endif
