/* ListenResponse messages, written as bytes: a document's stored fields are copied once, into the memory that
 * gRPC sends. All give false without memory. */
#ifndef SKERRY_SERVER_FIRESTORE_LISTEN_MESSAGE_H
#define SKERRY_SERVER_FIRESTORE_LISTEN_MESSAGE_H

#include "base/status.h"
#include "rpc/message.h"
#include "storage/change/bloom_filter.h"
#include "storage/document/record.h"

/* TargetChange.TargetChangeType. */
enum listen_target_change {
  LISTEN_NO_CHANGE = 0,
  LISTEN_ADD = 1,
  LISTEN_REMOVE = 2,
  LISTEN_CURRENT = 3,
  LISTEN_RESET = 4
};

struct listen_target_news {
  enum listen_target_change type;
  int32_t target_id;   /* 0: all targets of the stream */
  const status *cause; /* or NULL */
  str token;           /* or empty */
  int64_t read_us;     /* or 0 */
};
bool listen_message_target(const struct listen_target_news *news, rpc_message *ret);

struct listen_ids {
  const int32_t *ids;
  size_t count;
};
/* DocumentChange: the document as it is now, in `ids` and no longer in `removed`. */
bool listen_message_change(str name, const struct doc_record *record, struct listen_ids ids,
                           struct listen_ids removed, rpc_message *ret);
/* DocumentDelete, or DocumentRemove of one that exists. */
bool listen_message_gone(str name, bool exists, struct listen_ids removed, int64_t read_us, rpc_message *ret);
/* ExistenceFilter. */
bool listen_message_filter(int32_t target_id, size_t count, const struct bloom_filter *names,
                           rpc_message *ret);

#endif
