/* Every size that a client can push on, with its reason. Sizes that an operator may change are settings; the
 * numbers here are their defaults and bounds. Past a limit the answer is RESOURCE_EXHAUSTED or
 * INVALID_ARGUMENT, never more memory. */
#ifndef SKERRY_BASE_LIMITS_H
#define SKERRY_BASE_LIMITS_H

enum {
  /* rpc */
  LIMIT_MESSAGE_BYTES = 10 * 1024 * 1024, /* a request: Firestore's documented limit */
  LIMIT_MESSAGE_DEPTH = 100,              /* nested messages: protobuf's own default in other languages */
  LIMIT_CALL_ARENA_BYTES =
      64 * 1024 * 1024,        /* one call's memory: the largest request, decoded, and its working copies */
  LIMIT_METADATA_BYTES = 8192, /* a call's request metadata: gRPC's default */
  LIMIT_SEND_QUEUE_BYTES = 1024 * 1024, /* responses of one stream that wait for a slow reader */
  LIMIT_STREAMS_PER_CONNECTION =
      100, /* calls at once on a connection: nghttp2's and Firestore's usual value */

  /* documents: shared rules of google.firestore.v1 (documented quotas) */
  LIMIT_ID_BYTES = 1500,               /* a collection or document id, a field name, a field path */
  LIMIT_PATH_DEPTH = 100,              /* collections in a path */
  LIMIT_NAME_BYTES = 6 * 1024,         /* a document's full name */
  LIMIT_DOCUMENT_BYTES = 1048576,      /* by the storage-size formula */
  LIMIT_VALUE_BYTES = 1048487,         /* a field's value */
  LIMIT_VALUE_DEPTH = 20,              /* maps and arrays in each other */
  LIMIT_INDEXED_VALUE_BYTES = 1500,    /* what counts of a value in an index */
  LIMIT_TRANSFORMS_PER_DOCUMENT = 500, /* in one commit */
  LIMIT_VECTOR_DIMENSIONS = 2048,      /* documented */
  /* What the array transforms of one commit may take, in values to compare: a third of a second, in which no
   * other commit goes on. 300 transforms of an array of a hundred thousand numbers are within it. */
  LIMIT_COMMIT_COMPARISONS = 32 * 1024 * 1024,

  /* indexes: documented quotas of Firestore */
  LIMIT_INDEX_ENTRIES = 40000,                 /* of one document */
  LIMIT_INDEX_ENTRY_BYTES = 7680,              /* 7.5 KiB, the key of one entry */
  LIMIT_INDEX_ENTRIES_BYTES = 8 * 1024 * 1024, /* of one document, together */
  LIMIT_INDEX_COLUMNS = 100,                   /* of a composite index */
  LIMIT_COMPOSITE_INDEXES = 1000,              /* production's highest number */
  LIMIT_INDEX_OVERRIDES = 1000,                /* likewise */
  LIMIT_INDEX_FILE_BYTES = 4 * 1024 * 1024,    /* a thousand indexes of many columns */

  /* queries: documented rules */
  LIMIT_QUERY_DISJUNCTIONS = 30,      /* in the normal form */
  LIMIT_QUERY_NOT_IN = 10,            /* values of one not-in */
  LIMIT_QUERY_INEQUALITY_FIELDS = 10, /* different fields with ranges and inequalities */
  LIMIT_QUERY_PARTS = 100,            /* filters, orders and the parent together */
  LIMIT_QUERY_FILTER_DEPTH = 30, /* composite filters in each other: protects our stack; SDKs send a few */
  LIMIT_QUERY_PARTITIONS =
      1024, /* cursors of one PartitionQuery; asked for more, it gives fewer, as allowed */
  LIMIT_NEAREST_RESULTS = 1000, /* find_nearest.limit */

  /* listening */
  LIMIT_LISTEN_TARGETS = 2000,        /* of one stream: SDKs have one stream, apps hundreds of listeners */
  LIMIT_LISTEN_DOCUMENTS = 1000,      /* of one target: SDKs ask for one */
  LIMIT_LISTEN_INBOX = 64,            /* messages of one stream that wait for their turn */
  LIMIT_LISTEN_QUEUE_EVENTS = 4096,   /* of one stream that reads slowly; past it, it catches up by the log */
  LIMIT_LISTEN_QUEUE_BYTES = 2097152, /* documents in that queue; they are shared with other streams */
  LIMIT_LISTEN_HEARTBEAT_MS =
      30000, /* between snapshots of a stream without news, so that it resumes cheaply */
  LIMIT_LISTEN_MEMORY_BYTES = 67108864, /* targets, queues and evaluations of all: 30,000 targets */

  /* transactions */
  LIMIT_TRANSACTION_MS = 270 * 1000,                /* documented: 270 s in all */
  LIMIT_TRANSACTION_IDLE_MS = 60 * 1000,            /* documented: 60 s idle */
  LIMIT_TRANSACTIONS = 10000,                       /* open at once */
  LIMIT_TRANSACTION_READ_BYTES = 4 * 1024 * 1024,   /* the read set of one: 40,000 names of 100 bytes */
  LIMIT_TRANSACTIONS_READ_BYTES = 32 * 1024 * 1024, /* the read sets of all together */
};

#endif
