/* What makes of a store that was put back a store that clients may use.
 *
 * Clients may have seen what was written after the backup: they hold documents with later update times,
 * listeners' tokens, read times. SDKs ignore a document that is older than the one that they have. So every
 * document is written once more, as it is, by commits of now; the secret that signs tokens goes, so that
 * each of them is one of another store, and listeners begin anew; and nobody reads before this moment. */
#ifndef SKERRY_SERVER_BACKUP_RENEW_H
#define SKERRY_SERVER_BACKUP_RENEW_H

#include "base/status.h"
#include "storage/kv.h"

/* The clock of the store must be right: versions have to be later than all that was ever given out. Blocks,
 * for a second or so a 100,000 documents. DATA_LOSS: a document cannot be read. */
STATUS_MUST_USE status renew_store(struct kv_store *store, uint64_t *ret_documents);

#endif
