#include "rpc/peers.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Numbers above what files and listeners of this process take. The range is bounded because the kernel's
 * table of descriptors grows to the highest number in use: 8 bytes each. */
enum { RANGE_FIRST = 1024, RANGE_COUNT_MAX = 64 * 1024, BLOCK_ENTRIES = 128 };

/* Memory of entries is reused for entries only and freed with the table, so that a thread that loses the race
 * in rpc_peers_find reads a stale count, never freed memory. */
struct entry {
  struct rpc_peer peer; /* first: found again from the pointer that callers hold */
  _Atomic uint32_t refs;
  uint64_t inode;
  int fd;
  struct entry *next_free;
};

/* An entry outlives its connection until the descriptor's number comes round again. One by one between the
 * memory of thousands of connections they would keep the heap from giving that back. */
struct block {
  struct block *next;
  struct entry entries[BLOCK_ENTRIES];
};

struct rpc_peers {
  struct entry unknown; /* refs is not used */
  uint64_t fd_count;
  _Atomic(struct entry *) *by_fd;
  pthread_mutex_t mutex; /* the rest */
  struct entry *free;
  struct block *blocks;
  int next_fd, range_end;
  uint64_t total;
};

struct rpc_peers *rpc_peers_new(uint64_t descriptors_max) {
  struct rpc_peers *peers = calloc(1, sizeof *peers);
  if (peers == NULL)
    return NULL;
  peers->fd_count =
      descriptors_max < RANGE_FIRST + RANGE_COUNT_MAX ? descriptors_max : RANGE_FIRST + RANGE_COUNT_MAX;
  peers->by_fd = calloc(peers->fd_count, sizeof *peers->by_fd); /* touched as numbers are used */
  if (peers->by_fd == NULL || pthread_mutex_init(&peers->mutex, NULL) != 0) {
    free(peers->by_fd);
    free(peers);
    return NULL;
  }
  strcpy(peers->unknown.peer.address, "unknown");
  peers->next_fd = RANGE_FIRST;
  peers->range_end = (int)peers->fd_count;
  return peers;
}

void rpc_peers_free(struct rpc_peers *peers) {
  if (peers == NULL)
    return;
  while (peers->blocks != NULL) {
    struct block *next = peers->blocks->next;
    free(peers->blocks);
    peers->blocks = next;
  }
  pthread_mutex_destroy(&peers->mutex);
  free(peers->by_fd);
  free(peers);
}

static void recycle(struct rpc_peers *peers, struct entry *entry) {
  pthread_mutex_lock(&peers->mutex);
  entry->next_free = peers->free;
  peers->free = entry;
  pthread_mutex_unlock(&peers->mutex);
}

static void unref(struct rpc_peers *peers, struct entry *entry) {
  uint32_t before = atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel);
  assert(before > 0);
  if (before == 1)
    recycle(peers, entry);
}

static uint64_t socket_inode(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) ? (uint64_t)info.st_ino : 0;
}

/* With the mutex held. */
static struct entry *take_entry(struct rpc_peers *peers) {
  struct block *block = peers->free != NULL ? NULL : calloc(1, sizeof *block);
  if (block != NULL) {
    block->next = peers->blocks;
    peers->blocks = block;
    for (size_t i = 0; i < BLOCK_ENTRIES; i++) {
      block->entries[i].next_free = peers->free;
      peers->free = &block->entries[i];
    }
  }
  struct entry *entry = peers->free;
  if (entry != NULL)
    peers->free = entry->next_free;
  return entry;
}

/* With the mutex held: the socket under the next free number of the range, or `fd`. */
static int move_fd(struct rpc_peers *peers, int fd) {
  for (int attempt = 0; attempt < 2 && peers->range_end > RANGE_FIRST; attempt++) {
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, peers->next_fd);
    if (moved >= 0 && moved < peers->range_end) {
      close(fd);
      peers->next_fd = moved + 1 < peers->range_end ? moved + 1 : RANGE_FIRST;
      return moved;
    }
    if (moved >= 0)
      close(moved);
    peers->next_fd = RANGE_FIRST; /* past the end: once more from the start */
  }
  return fd;
}

int rpc_peers_enter(struct rpc_peers *peers, int fd, const struct rpc_peer *peer) {
  pthread_mutex_lock(&peers->mutex);
  struct entry *entry = take_entry(peers), *old = NULL;
  int moved = -1;
  if (entry != NULL) {
    moved = move_fd(peers, fd);
    entry->peer = *peer;
    entry->peer.connection_id = ++peers->total;
    entry->fd = moved;
    entry->inode = socket_inode(moved);
    entry->next_free = NULL;
    /* Not before everything above is written: a thread in rpc_peers_find may have its eye on this memory. */
    atomic_store_explicit(&entry->refs, 1, memory_order_release);
    if ((uint64_t)moved < peers->fd_count) {
      old = atomic_exchange_explicit(&peers->by_fd[moved], entry, memory_order_acq_rel);
      entry = NULL;
    }
  }
  pthread_mutex_unlock(&peers->mutex);
  if (old != NULL)
    unref(peers, old);
  if (moved >= 0 && entry != NULL)
    unref(peers, entry); /* a number past the table: its calls come from "unknown" */
  return moved;
}

const struct rpc_peer *rpc_peers_find(struct rpc_peers *peers, const char *name) {
  if (name == NULL || strncmp(name, "fd:", 3) != 0)
    return &peers->unknown.peer;
  uint64_t fd;
  if (!str_to_u64(str_from_cstr(name + 3), &fd) || fd >= peers->fd_count)
    return &peers->unknown.peer;
  for (;;) {
    struct entry *entry = atomic_load_explicit(&peers->by_fd[fd], memory_order_acquire);
    if (entry == NULL)
      return &peers->unknown.peer;
    uint32_t refs = atomic_load_explicit(&entry->refs, memory_order_relaxed);
    while (refs > 0 && !atomic_compare_exchange_weak_explicit(&entry->refs, &refs, refs + 1,
                                                              memory_order_acq_rel, memory_order_relaxed))
      continue;
    if (refs == 0)
      continue; /* it has just left the table */
    if (atomic_load_explicit(&peers->by_fd[fd], memory_order_acquire) == entry)
      return &entry->peer;
    unref(peers, entry); /* it was replaced, and may have become somebody else's before we counted */
  }
}

void rpc_peers_release(struct rpc_peers *peers, const struct rpc_peer *peer) {
  if (peer == NULL || peer == &peers->unknown.peer)
    return;
  /* The peer is the first member; the cast gives back what rpc_peers_find took away. */
  unref(peers, (struct entry *)(uintptr_t)peer);
}

/* With the mutex held. Takes the entry out if its connection is gone. */
static bool take_gone(struct rpc_peers *peers, struct entry *entry, uint64_t *open) {
  int fd = entry->fd;
  if ((uint64_t)fd >= peers->fd_count || atomic_load(&peers->by_fd[fd]) != entry)
    return false;
  if (socket_inode(fd) == entry->inode) {
    ++*open;
    return false;
  }
  atomic_store_explicit(&peers->by_fd[fd], NULL, memory_order_release);
  return true;
}

uint64_t rpc_peers_count(struct rpc_peers *peers) {
  uint64_t open = 0;
  struct entry *gone = NULL;
  pthread_mutex_lock(&peers->mutex); /* nobody enters meanwhile; fstat does not block on sockets */
  for (struct block *block = peers->blocks; block != NULL; block = block->next)
    for (size_t i = 0; i < BLOCK_ENTRIES; i++)
      if (take_gone(peers, &block->entries[i], &open)) {
        block->entries[i].next_free = gone; /* free for use: entries in the table are in no list */
        gone = &block->entries[i];
      }
  pthread_mutex_unlock(&peers->mutex);
  while (gone != NULL) {
    struct entry *next = gone->next_free;
    unref(peers, gone);
    gone = next;
  }
  return open;
}

uint64_t rpc_peers_total(struct rpc_peers *peers) {
  pthread_mutex_lock(&peers->mutex);
  uint64_t total = peers->total;
  pthread_mutex_unlock(&peers->mutex);
  return total;
}
