/* The keys of issuers: fetched, kept on disk, refreshed before they expire.
 *
 * One file an issuer in `directory` holds what was fetched last, so that after a restart without uplink, and
 * for as long as there is none, the keys that were known go on being good: who takes one away from an issuer
 * has to be reachable for that to be seen. A refresh is due when 4/5 of what the answer allowed have passed
 * (Cache-Control or Expires, taken as at least 5 minutes and at most 24 hours); after a failure in 10 s, then
 * less and less often, down to every 5 minutes. A token whose key is not known makes one early, but no two
 * requests for that reason within a minute, however many such tokens come.
 *
 * Threads: issuers_find from any, it never waits for a request. issuers_work fetches for one issuer, on a
 * thread of the owner's that is always the same for that issuer and sleeps in between, so an issuer that does
 * not answer holds up no other; `wake` says that there may be work before the time that it gave. One mutex
 * guards what all see; no request and no file is touched under it. */
#ifndef SKERRY_SERVER_TOKENS_ISSUERS_H
#define SKERRY_SERVER_TOKENS_ISSUERS_H

#include "ports/port.h"
#include "server/tokens/issuer_setting.h"
#include "server/tokens/key_set.h"

enum {
  ISSUERS_LIFETIME_MIN_S = 5 * 60,
  ISSUERS_LIFETIME_MAX_S = 24 * 3600,
  ISSUERS_EARLY_REFRESH_S = 60, /* between requests because of unknown keys */
  ISSUERS_RETRY_FIRST_S = 10,
  ISSUERS_RETRY_MAX_S = 5 * 60,
};

/* How documents come from elsewhere. `get` blocks, at most for some tens of seconds; it appends the body of a
 * 200 answer (at most KEY_SET_BYTES_MAX) and says for how many seconds it may be kept, -1 where the answer
 * does not say. Any failure is UNAVAILABLE with a text for the operator. */
struct issuers_fetcher {
  status (*get)(void *argument, const char *url, struct buf *ret_body, int64_t *ret_lifetime_s);
  void *argument;
};

struct issuers_options {
  struct port *port;
  const char *directory; /* exists; copied */
  const struct issuer_setting *settings;
  size_t count; /* at most ISSUERS_MAX */
  struct issuers_fetcher fetcher;
  void (*wake)(void *argument);    /* called from issuers_find, with no lock held */
  void (*changed)(void *argument); /* keys were replaced: what was verified with them is in doubt */
  void *argument;
};

struct issuers;

/* Copies the settings, reads what is on disk. RESOURCE_EXHAUSTED; damaged files are logged and fetched anew.
 */
STATUS_MUST_USE status issuers_open(const struct issuers_options *options, struct issuers **ret);
void issuers_close(struct issuers *issuers); /* no call is under way any more; NULL is fine */

/* Which of the settings has that `iss`; ISSUERS_MAX: none. */
size_t issuers_index(const struct issuers *issuers, str issuer);
const struct issuer_setting *issuers_setting(const struct issuers *issuers, size_t index);

/* The key that signed a token, and the set that it lives in, to be given back with key_set_unref.
 * UNAVAILABLE: no keys of this issuer were ever fetched, or this one is not among them and may be new, which
 * is being looked into. UNAUTHENTICATED: keys were fetched less than a minute ago, and it is not among them.
 */
STATUS_MUST_USE status issuers_find(struct issuers *issuers, size_t index, str key_id,
                                    enum crypto_algorithm algorithm, struct key_set **ret_set,
                                    const struct crypto_key **ret_key);

/* Fetches the keys of one issuer, if they are due. The monotonic time (port) when they are next. */
int64_t issuers_work(struct issuers *issuers, size_t index);

/* What is known of one, for people. */
struct issuers_info {
  const char *url;
  size_t keys;        /* 0: none was ever fetched */
  int64_t fetched_us; /* wall clock; 0: never */
  uint64_t requests;  /* since the start */
  unsigned failures;  /* in a row, now */
  char problem[256];  /* why the last one failed; "" */
};
void issuers_info(struct issuers *issuers, size_t index, struct issuers_info *ret);
size_t issuers_count(const struct issuers *issuers);

#endif
