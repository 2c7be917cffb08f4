/* A crowd of Listen streams over some connections, and one writer, on one thread. What comes is counted, not
 * kept. The same crowd subscribes to bare_broadcast, which sends such messages without any database. */
#ifndef SKERRY_BENCH_LISTENERS_H
#define SKERRY_BENCH_LISTENERS_H

#include "base/arena.h"
#include "bench/channel.h"

enum listen_kind {
  LISTEN_ONE,       /* every target is the same document */
  LISTEN_EACH,      /* each target is a document of its own */
  LISTEN_QUERY,     /* a target is a whole collection: number `target % collections` */
  LISTEN_BROADCAST, /* of bare_broadcast */
};

struct listeners_options {
  const char *target, *authorization; /* as of channel_options */
  const char *database, *collection;
  enum listen_kind kind;
  unsigned connections, streams, targets; /* of each connection; of each stream */
  unsigned collections;
};

struct listener {
  struct channel_call call; /* first: the channel gives it back */
  struct listeners *all;
  uint64_t first_target;
  struct buf requests, split; /* `split`: a message whose end has not come */
  uint8_t token[64];          /* of the last snapshot */
  size_t token_len;
  unsigned current;
  int64_t again_us; /* opened again then, after RESOURCE_EXHAUSTED or UNAVAILABLE; 0: it is open */
  unsigned tries;
};

struct listeners {
  struct listeners_options options;
  int epoll;
  struct channel **channels; /* the last one is the writer's */
  struct listener *streams;
  unsigned stream_count;
  uint64_t random;

  /* Counted since the last open, but `changes` for good. */
  uint64_t changes; /* documents that came, for each target */
  uint64_t last_target;
  int64_t last_change_us;
  uint64_t current, bytes_in, resets, refused, lost;

  struct channel_call commit;
  struct arena arena;
  bool is_writing;
  status written;
};

int64_t listeners_now_us(void);

/* Connects the writer. */
STATUS_MUST_USE status listeners_init(struct listeners *all, const struct listeners_options *options);
void listeners_fini(struct listeners *all);

/* Connects, and opens all streams at once, with the last token of each if `resumes`. */
STATUS_MUST_USE status listeners_open(struct listeners *all, bool resumes);
void listeners_close(struct listeners *all);
static inline uint64_t listeners_target_count(const struct listeners *all) {
  return (uint64_t)all->options.connections * all->options.streams * all->options.targets;
}

/* Reads and writes whatever is there, waits up to `timeout_ms` for it. */
void listeners_turn(struct listeners *all, int timeout_ms);

/* Starts a Commit of document `number`, or of `count` documents of a collection from 0 on (LISTEN_QUERY). Not
 * while `is_writing`, which ends with `written`. False: the connection is gone. */
bool listeners_write(struct listeners *all, uint64_t number, uint32_t count, uint32_t bytes);

#endif
