/* Inside of the server runtime: the structures that its files share. Nobody else includes this.
 *
 * Parties. A queue is one gRPC completion queue with one thread. A call is bound to the queue that it arrived
 * on, and all its events are that thread's, so they come one at a time. The handler's side (reply, finish,
 * send, receive_next, watch) may be any thread.
 *
 * Tags. Each thing that gRPC completes has a `struct rpc_tag` in the object it belongs to; the queue's thread
 * runs it with the outcome. A call counts what is under way in `refs`: one for the final batch, from the
 * start, and one for each other batch from before it is started until its event has been dealt with. Only the
 * queue's thread takes away, so only it can see zero, and it recycles the call.
 *
 * Finishing. The handler gives the result once (asserted). Whoever then starts the final batch must not touch
 * the call afterwards: the queue's thread may already have recycled it.
 *
 * Unary calls take no lock. Two bits tell who starts the final batch: FINISHED (by the handler) and RETURNED
 * (by the queue's thread after the handler came back). The one that comes second does; if that is the queue's
 * thread, one batch carries headers, message, status and the close. Otherwise the close was asked for when
 * the handler returned, so that a cancellation is noticed while it works.
 *
 * Streams: rpc/stream.c. */
#ifndef SKERRY_RPC_RUNTIME_H
#define SKERRY_RPC_RUNTIME_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/memory_budget.h"
#include "ports/port.h"
#include "rpc/call.h"
#include "rpc/codec.h"
#include "rpc/gate.h"
#include "rpc/laggards.h"
#include "rpc/peers.h"
#include "rpc/request_id.h"
#include "rpc/server.h"
#include "rpc/shedding.h"
#include "rpc/stats.h"
#include "rpc/tsan.h"

struct rpc_health;
struct rpc_local;
struct rpc_reflection;

struct rpc_tag {
  void (*run)(struct rpc_tag *tag, bool ok);
  struct rpc_tag *next_posted; /* by rpc_queue_post */
  bool posted_ok;
};
#define RPC_OWNER(tag, type, member) ((type *)(void *)((char *)(tag)-offsetof(type, member)))

/* A method of an added service. */
struct rpc_entry {
  const struct rpc_method *method; /* NULL in the one that stands for unknown methods */
  const void *handlers;
  void *service_state;
  void *registered; /* gRPC's handle, or NULL: calls come through the generic request */
  size_t index;     /* of its counters; the unknown one is the last */
  bool is_implemented;
  bool is_never_shed;
  bool is_own; /* health and reflection */
};

/* A request for one call of one method, posted with gRPC. Small, because there are several for each method.
 */
struct rpc_slot {
  struct rpc_tag tag;
  struct rpc_queue *queue;
  const struct rpc_entry *entry; /* NULL: the generic request */
  grpc_call *call;
  struct rpc_local *local; /* instead of it, of a call that begins in this process */
  gpr_timespec deadline;
  grpc_metadata_array metadata;
  grpc_byte_buffer *payload;
  grpc_call_details details;
};

struct rpc_queue {
  struct rpc_server *server;
  unsigned index;
  grpc_completion_queue *cq;
  pthread_t thread;
  bool is_running;
  struct rpc_slot *slots;
  size_t slot_count;
  /* What this process posts to itself (rpc_queue_post), newest first; gRPC's queue is told when the first
   * comes, by a batch of nothing on a call that serves for that alone. */
  struct rpc_tag *_Atomic posted;
  grpc_channel *bell_channel;
  grpc_call *bell_call;
  struct rpc_tag bell_tag, locals_tag;
  struct rpc_tag pulse_tag;       /* asks the thread for a sign of life */
  _Atomic int64_t pulse_asked_us; /* when, by the monotonic clock; 0: it has answered */
  struct rpc_call *free_calls;    /* the thread's, like the rest from here on */
  size_t free_count;
  uint64_t calls_begun;
  struct rpc_local *locals;            /* calls that began in this process */
  int64_t locals_deadline_us;          /* none of them has an earlier one */
  struct rpc_call *turns, *turns_last; /* calls that yielded, first come first: completion.c */
  _Atomic uint64_t calls_active;       /* written by the thread, read by any */
  struct rpc_counters *counters;       /* one set for each entry */
  struct rpc_shedding *shedding;       /* one for each entry, likewise */
  struct rpc_laggards laggards;
};

enum server_state { SERVER_NEW, SERVER_STARTED, SERVER_DRAINING, SERVER_DRAINED };

struct rpc_server {
  struct rpc_server_options options; /* with the defaults filled in */
  grpc_server *grpc;
  grpc_server_credentials *credentials;
  struct rpc_peers *peers;
  struct rpc_queue *queues;
  struct rpc_entry **entries; /* by index; pointers, because gRPC's slots keep them */
  size_t entry_count;
  struct rpc_entry unknown;
  const struct rpc_service **services;
  size_t service_count;
  struct rpc_entry **by_path; /* open addressing; a power of two */
  size_t by_path_mask;
  struct rpc_gate *gates; /* by the index of the entry; from the start on */
  size_t gate_count;
  _Atomic int64_t overloaded_until_us; /* of any method: the latest watched_until_us */
  struct memory_budget calls_memory;   /* arenas, requests, responses */
  struct rpc_request_ids request_ids;
  int64_t logged_from_us;       /* calls that take so long are told to the log; INT64_MAX: none */
  _Atomic uint32_t locals;      /* begun in this process and not released */
  _Atomic unsigned locals_turn; /* the queue that is next */
  _Atomic uint64_t local_requests;
  _Atomic int64_t relieved_us; /* when laggards were ended last */
  struct rpc_health *health;
  struct rpc_reflection *reflection;
  struct rpc_tag shutdown_tag;
  pthread_mutex_t mutex; /* state and what drain waits for */
  pthread_cond_t changed;
  enum server_state state;
  bool adds_own; /* the services that are added now are the runtime's */
  bool shutdown_done;
  int64_t drain_deadline_us;
};

/* Less goes uncounted: it is small against the call itself. */
enum { RPC_CHARGED_BYTES_MIN = 4096 };

enum { RPC_CALL_FINISHED = 1, RPC_CALL_RETURNED = 2, RPC_CALL_CANCELLED = 4 };

/* Most calls of the document service fit: the decoded request and what its handler needs. */
enum { RPC_CALL_FIRST_BLOCK_BYTES = 4096 };

struct rpc_metadata_list {
  grpc_metadata *items; /* in the call's arena; the slices are gRPC's own copies */
  size_t count, capacity, bytes;
};

/* A stream's responses: a ring of messages. */
struct rpc_send_queue {
  rpc_message *ring;
  size_t first, count, capacity;
  size_t bytes;           /* of the messages and their places */
  size_t in_flight_bytes; /* of the one that gRPC has */
};

struct rpc_call {
  struct rpc_tag final_tag, close_tag, receive_tag, send_tag, kick_tag, wake_tag;
  struct rpc_server *server;
  struct rpc_queue *queue;
  const struct rpc_entry *entry;
  grpc_call *grpc;         /* or, of a call that began in this process, */
  struct rpc_local *local; /* this */
  const struct rpc_peer *peer;
  grpc_metadata_array metadata;
  grpc_byte_buffer *payload; /* the request, or the message of the stream that came last */
  uint64_t id;
  int64_t started_us, deadline_us;
  int64_t waited_us; /* since the guard saw the request, until started_us; -1: not known */
  void *attached;
  void (*release_attached)(void *attached);
  struct rpc_call *next_free;
  struct rpc_call *next_turn;
  struct rpc_call *laggard_before, *laggard_after; /* with the mutex of the queue's laggards */
  int64_t laggard_since_us;
  enum rpc_laggard laggard;
  bool was_laggard;  /* ever */
  bool says_nothing; /* a stream without a message so far: the queue's thread's */

  _Atomic uint32_t refs;
  _Atomic uint32_t flags;
  int close_cancelled;        /* gRPC writes it */
  enum rpc_encoding encoding; /* of the request, and so of large responses */
  bool headers_sent, close_asked, final_has_message;

  enum status_code refused_code; /* what the runtime told the client, whatever the handler says later */
  enum status_code code;         /* the result */
  const char *text;              /* its message, static or in the arena; NULL: none */
  rpc_message reply;
  uint64_t request_bytes, response_bytes; /* of messages, as they came and before they are compressed */
  str note;                               /* for the log; in the arena, or static */
  struct memory_budget *memory;           /* its connection's share of the server's, or all of that */
  size_t charged_bytes;                   /* to it, beside the arenas and the queue; until the call ends */
  struct rpc_metadata_list headers, trailers;
  grpc_byte_buffer out; /* of the batch under way: one at a time */

  /* Guards what follows, for streams and watched calls. Never held while gRPC or a handler runs. */
  pthread_mutex_t mutex;
  const struct rpc_call_events *events;
  void *state;
  bool cancel_delivered;
  struct rpc_send_queue sending;
  bool in_handler;            /* messages gather until it returns */
  bool is_corked;             /* likewise, by rpc_call_cork */
  bool send_busy;             /* a batch that sends is under way */
  bool finished;              /* the handler gave the result */
  bool keeps_queue;           /* an error goes out after what is queued */
  bool final_started;         /* nothing more is sent */
  bool broken;                /* the client is gone: what is sent is dropped */
  bool was_full;              /* `drained` is owed */
  bool half_closed;           /* the last message came */
  struct arena message_arena; /* of the stream's message that came last */
  bool has_message_arena;

  struct arena arena;
  _Alignas(max_align_t) char first_block[RPC_CALL_FIRST_BLOCK_BYTES];
};

static inline bool rpc_call_is_stream(const struct rpc_call *call) {
  return call->entry->method != NULL && call->entry->method->kind != RPC_UNARY;
}
static inline struct rpc_counters *rpc_call_counters(struct rpc_call *call) {
  return &call->queue->counters[call->entry->index];
}

/* Whether the message that came last has the compressed flag of gRPC's framing. gRPC core 1.51 takes an
 * encoding that it does not know for none and would hand a compressed message over as a plain one: the bytes
 * could even decode. Its C API does not show the flag; this exported function of its own tests does, so it is
 * called by its C++ name. */
uint32_t
rpc_grpc_message_flags(grpc_call *call) __asm__("_Z37grpc_call_test_only_get_message_flagsP9grpc_call");
#define RPC_GRPC_MESSAGE_COMPRESSED 0x80000000U

/* completion.c: queue threads. */
bool rpc_queue_init(struct rpc_queue *queue, struct rpc_server *server, unsigned index);
bool rpc_queue_start(struct rpc_queue *queue); /* posts the requests and starts the thread */
void rpc_queue_fini(struct rpc_queue *queue);
/* Asks the thread for a sign of life, if it has answered the last time; since when it is asked, 0: not. */
int64_t rpc_queue_pulse(struct rpc_queue *queue, int64_t now_us);
/* Has the tag run on the queue's thread. Any thread, but not after the server was drained. */
void rpc_queue_post(struct rpc_queue *queue, struct rpc_tag *tag, bool ok);

/* call_life.c: from arrival to recycling; on the queue's thread. */
void rpc_call_begin(struct rpc_queue *queue, const struct rpc_entry *entry, struct rpc_slot *slot);
void rpc_call_free(struct rpc_call *call);
/* Ends a call that no handler saw. `text` outlives it. Do not touch it afterwards. */
void rpc_call_refuse(struct rpc_call *call, enum status_code code, const char *text);
void rpc_call_unref(struct rpc_call *call);     /* an event was dealt with */
void rpc_call_ask_close(struct rpc_call *call); /* be told when the client goes */
void rpc_call_start(struct rpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag);
/* A handler did with its call what must not be done. Going on could give another call its answer, so the
 * program ends, and says whose mistake it was. */
_Noreturn void rpc_call_misused(const struct rpc_call *call, const char *how);
/* What the call received last, decoded into `arena`. */
STATUS_MUST_USE status rpc_call_decode(struct rpc_call *call, struct arena *arena, const void **ret);
void rpc_call_charge(struct rpc_call *call, size_t bytes); /* memory that the call holds until it ends */
void rpc_call_set_result(struct rpc_call *call, const status *result); /* any thread */
/* The operations that end a call, into `ops` (room for 4); returns how many. Any thread. */
size_t rpc_call_final_ops(struct rpc_call *call, grpc_op *ops, grpc_slice *details, bool with_headers,
                          bool with_close);
/* Puts the message into call->out and an operation for it into *op. */
void rpc_call_message_op(struct rpc_call *call, rpc_message *message, uint32_t flags, grpc_op *op);
grpc_op rpc_call_headers_op(struct rpc_call *call);

/* admission.c. Gives the call its peer, and says whether it may go on; false: it was refused. */
bool rpc_call_admit(struct rpc_call *call);
/* As many calls as may be at once. */
bool rpc_server_is_crowded(const struct rpc_server *server);

/* stream.c */
void rpc_stream_open(struct rpc_call *call);
void rpc_stream_request(struct rpc_call *call, const void *message); /* of a server stream */
void rpc_stream_finish(struct rpc_call *call, rpc_message *message);
void rpc_stream_cancelled(struct rpc_call *call);
void rpc_stream_fini(struct rpc_call *call);
void rpc_call_take_turn(struct rpc_call *call); /* after a yield; gives back its reference */
void rpc_call_deliver_cancel(struct rpc_call *call);

/* call.c: grpc-status-details-bin. Past what clients accept, and without memory, the details stay behind; the
 * code and the message go. */
void rpc_call_add_details(struct rpc_call *call, enum status_code code, str text,
                          const struct rpc_detail *details, size_t count);

/* call_log.c: when the call is over; says what there is to say. */
void rpc_call_log(struct rpc_call *call, int64_t duration_us);

/* metadata.c */
bool rpc_metadata_add(struct rpc_call *call, struct rpc_metadata_list *list, const char *name, str value);
void rpc_metadata_add_request_id(struct rpc_call *call, struct rpc_metadata_list *list);
void rpc_metadata_fini(struct rpc_metadata_list *list);

/* server.c */
const struct rpc_entry *rpc_server_lookup(const struct rpc_server *server, str path);

#endif
