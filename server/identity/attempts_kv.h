/* Attempts (attempts.h) kept in the store's system space: one key a record that is in use, "attempts/" and
 * its slot, so there is a fixed number of them; "attempts/secret" is the key of the hashes. Written in the
 * background, many in one commit, one commit at a time: a kill loses the counts of the last few milliseconds.
 */
#ifndef SKERRY_SERVER_IDENTITY_ATTEMPTS_KV_H
#define SKERRY_SERVER_IDENTITY_ATTEMPTS_KV_H

#include "server/identity/attempts.h"
#include "storage/kv.h"

struct attempts_kv;

/* Waits for the store: start-up only. Statuses of kv.h. */
STATUS_MUST_USE status attempts_kv_open(struct kv_store *store, struct port *port, struct attempts_kv **ret);
/* Waits for what is being written. No attempt is under way. Before the store is closed. NULL is fine. */
void attempts_kv_close(struct attempts_kv *kv);

struct attempts *attempts_kv_attempts(const struct attempts_kv *kv);

#endif
