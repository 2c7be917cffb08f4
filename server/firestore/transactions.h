/* Transactions that are open between calls.
 *
 * Concurrency control is optimistic: a read-write transaction reads at one snapshot and keeps the set of what
 * it read (documents, and ranges of keys for queries); Commit hands that set to the store, which refuses with
 * ABORTED if any of it was written since (storage/kv.h). So transactions are serializable, in the order of
 * their commit versions; nothing is locked, an abandoned one harms nobody. A read-only transaction is a
 * snapshot.
 *
 * Contention: of many transactions that read one document at once all but one are refused at commit. One that
 * begins as the retry of another therefore gets a turn on the document that it reads first (turns.h).
 *
 * Ids are 24 bytes: a random number of this run of the server, a number that is never used twice, and a
 * signature over both and the database. So nobody guesses an id, and one that this server gave and that is
 * over (committed, rolled back, expired, or from before a restart) is told from one that it never gave.
 *
 * Bounds: LIMIT_TRANSACTIONS open, LIMIT_TRANSACTION_MS in all and LIMIT_TRANSACTION_IDLE_MS between calls,
 * LIMIT_TRANSACTION_READ_BYTES of read set each and LIMIT_TRANSACTIONS_READ_BYTES together. Past the number,
 * the oldest idle one that has read nothing lately makes room, if it is idle for some seconds; else
 * RESOURCE_EXHAUSTED. Expired ones are freed in passing, by whoever calls. Any thread. */
#ifndef SKERRY_SERVER_FIRESTORE_TRANSACTIONS_H
#define SKERRY_SERVER_FIRESTORE_TRANSACTIONS_H

#include "base/arena.h"
#include "base/status.h"
#include "storage/kv.h"
#include "storage/query/run.h"

struct transactions; /* all of a server */
struct transaction;  /* one, while a call uses it */

struct port;
/* `secret` (copied) signs the ids; it is the same after a restart. read_bytes_max: for all read sets
 * together; 0: LIMIT_TRANSACTIONS_READ_BYTES. */
STATUS_MUST_USE status transactions_new(struct kv_store *store, struct port *port, str secret,
                                        size_t read_bytes_max, struct transactions **ret);
/* NULL is allowed. No call uses one any more. */
void transactions_free(struct transactions *all);
/* Frees what has expired and ends turns that last too long. To be called about once a second. */
void transactions_tick(struct transactions *all);

enum { TRANSACTION_ID_BYTES = 24 };

struct transaction_options {
  bool read_only;
  kv_version read_version; /* read-only: KV_LATEST, or that of its read_time */
  str retry_id;            /* read-write: the id of the attempt before, or empty; it is ended */
  str database;            /* its full name: the id is good there only */
};

/* Begins one and uses it. FAILED_PRECONDITION: read_version is out of the history; INVALID_ARGUMENT: retry_id
 * is not an id of this server's for this database. */
STATUS_MUST_USE status transactions_begin(struct transactions *all, const struct transaction_options *options,
                                          struct transaction **ret);
/* Uses one that is open, for reading. INVALID_ARGUMENT: the id is damaged, of another database, or "The
 * referenced transaction has expired or is no longer valid." Several reads of one transaction may run at
 * once. The snapshot of a read-write transaction is that of the first use that reads something. */
STATUS_MUST_USE status transactions_use(struct transactions *all, str id, str database,
                                        struct transaction **ret);
/* The call is over; what it added stays. NULL is allowed. */
void transaction_release(struct transaction *transaction);
/* The same, and the transaction is over too: its id never reached the client. */
void transaction_abandon(struct transaction *transaction);

/* Before the first read of documents. False: read now. True: `came(argument)` is called once, from any thread
 * and perhaps before this returns, when it is the transaction's turn or it waited long enough; call
 * transaction_turn_came then, and read. With transaction_turn_give_up it is not called any more, if that says
 * true. */
bool transaction_turn_wait(struct transaction *transaction, const str *keys, size_t count,
                           void (*came)(void *argument), void *argument);
void transaction_turn_came(struct transaction *transaction);
bool transaction_turn_give_up(struct transaction *transaction);

str transaction_id(const struct transaction *transaction);
kv_snapshot transaction_snapshot(const struct transaction *transaction);

/* Adds to the read set (nothing in a read-only one). RESOURCE_EXHAUSTED past its bounds: the transaction is
 * then over. */
STATUS_MUST_USE status transaction_read_document(struct transaction *transaction, str key);
STATUS_MUST_USE status transaction_read_range(struct transaction *transaction, enum kv_space space, str lower,
                                              str upper);
/* The same as callbacks for a query; a failure is kept and told by transaction_status. */
struct query_reads transaction_query_reads(struct transaction *transaction);
STATUS_MUST_USE status transaction_status(const struct transaction *transaction);

/* Takes one out to be committed, so that nothing else can use it. Its read set goes into `txn`: arrays in
 * `arena`, keys in *ret, which is to be released when the commit is over. Statuses as transactions_use;
 * INVALID_ARGUMENT for writes in a read-only one (has_writes), which stays open. */
STATUS_MUST_USE status transactions_take(struct transactions *all, str id, str database, bool has_writes,
                                         struct arena *arena, struct kv_txn *txn, struct transaction **ret);
/* Rollback. Of one that is over already: OK. INVALID_ARGUMENT: not an id of this server's for the database.
 */
STATUS_MUST_USE status transactions_rollback(struct transactions *all, str id, str database);

/* Open ones, for the status page. */
size_t transactions_open(struct transactions *all);
struct firestore_stats;
void transactions_stats(struct transactions *all, struct firestore_stats *ret); /* its part */

#endif
