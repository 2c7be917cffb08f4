#include "rpc/peers.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"

/* Numbers above what files and listeners of this process take. The range is bounded because the kernel's
 * table of descriptors grows to the highest number in use: 8 bytes each. */
enum { RANGE_FIRST = 1024, RANGE_COUNT_MAX = 64 * 1024 };
/* A million entries; the table of blocks is 64 KiB, touched as it fills. */
enum { BLOCK_ENTRIES = 128, BLOCKS_MAX = 8192 };

/* Memory of entries is reused for entries only and freed with the table, so that a thread that loses the race
 * in rpc_peers_find or rpc_peers_find_key reads a stale count, never freed memory. What it finds it may read
 * only while it holds a reference: entries change with refs 0 alone. */
struct entry {
  struct rpc_peer peer;        /* first: found again from the pointer that callers hold */
  struct memory_budget memory; /* a share */
  _Atomic uint32_t refs;
  _Atomic bool has_key;        /* not forgotten */
  struct rpc_connection_id id; /* the slot is its place for good */
  uint64_t inode;
  int fd;
  struct entry *next_free;
};

/* An entry outlives its connection until the descriptor's number comes round again. One by one between the
 * memory of thousands of connections they would keep the heap from giving that back. */
struct block {
  struct entry entries[BLOCK_ENTRIES];
};

struct rpc_peers {
  struct entry unknown;         /* refs is not used */
  struct memory_budget *memory; /* the whole */
  size_t fd_count;
  _Atomic(struct entry *) *by_fd;
  _Atomic(struct block *) blocks[BLOCKS_MAX]; /* the first ones, then NULL */
  pthread_mutex_t mutex;                      /* the rest, and adding a block */
  struct entry *free;
  size_t block_count;
  int next_fd, range_end;
  uint64_t total, keys_open;
};

struct rpc_peers *rpc_peers_new(uint64_t descriptors_max, struct memory_budget *memory) {
  struct rpc_peers *peers = calloc(1, sizeof *peers);
  if (peers == NULL)
    return NULL;
  peers->fd_count = descriptors_max < RANGE_FIRST + RANGE_COUNT_MAX ? (size_t)descriptors_max
                                                                    : RANGE_FIRST + RANGE_COUNT_MAX;
  peers->by_fd = calloc(peers->fd_count, sizeof *peers->by_fd); /* touched as numbers are used */
  if (peers->by_fd == NULL || pthread_mutex_init(&peers->mutex, NULL) != 0) {
    free(peers->by_fd);
    free(peers);
    return NULL;
  }
  strcpy(peers->unknown.peer.address, "unknown");
  peers->memory = memory;
  peers->next_fd = RANGE_FIRST;
  peers->range_end = (int)peers->fd_count;
  return peers;
}

void rpc_peers_free(struct rpc_peers *peers) {
  if (peers == NULL)
    return;
  for (size_t i = 0; i < peers->block_count; i++)
    free(atomic_load(&peers->blocks[i]));
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
static void add_block(struct rpc_peers *peers) {
  struct block *block = peers->block_count < BLOCKS_MAX ? calloc(1, sizeof *block) : NULL;
  if (block == NULL)
    return;
  for (size_t i = 0; i < BLOCK_ENTRIES; i++) {
    block->entries[i].id.slot = (uint32_t)(peers->block_count * BLOCK_ENTRIES + i);
    memory_budget_init_share(&block->entries[i].memory, peers->memory);
    block->entries[i].next_free = peers->free;
    peers->free = &block->entries[i];
  }
  atomic_store_explicit(&peers->blocks[peers->block_count++], block, memory_order_release);
}

/* With the mutex held. */
static struct entry *take_entry(struct rpc_peers *peers) {
  if (peers->free == NULL)
    add_block(peers);
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

/* Not before everything else is written: a thread that looks for somebody may have its eye on this memory. */
static void publish(struct entry *entry) {
  entry->next_free = NULL;
  atomic_store_explicit(&entry->refs, 1, memory_order_release);
}

/* False: the entry is not in use. */
static bool ref_if_used(struct entry *entry) {
  uint32_t refs = atomic_load_explicit(&entry->refs, memory_order_relaxed);
  while (refs > 0 && !atomic_compare_exchange_weak_explicit(&entry->refs, &refs, refs + 1,
                                                            memory_order_acq_rel, memory_order_relaxed))
    continue;
  return refs > 0;
}

/* ---- By descriptor ---- */

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
    publish(entry);
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
    if (!ref_if_used(entry))
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

struct memory_budget *rpc_peers_memory(struct rpc_peers *peers, const struct rpc_peer *peer) {
  return peer == &peers->unknown.peer ? peers->memory : &((struct entry *)(uintptr_t)peer)->memory;
}

/* ---- By key ---- */

bool rpc_peers_enter_guarded(struct rpc_peers *peers, int fd, const struct rpc_peer *peer,
                             struct rpc_connection_key *ret_key) {
  uint8_t secret[RPC_CONNECTION_SECRET_BYTES];
  crypto_random(secret, sizeof secret);
  pthread_mutex_lock(&peers->mutex);
  struct entry *entry = take_entry(peers), *old = NULL;
  if (entry != NULL) {
    entry->peer = *peer;
    entry->peer.connection_id = ++peers->total;
    entry->fd = -1;
    memcpy(entry->id.secret, secret, sizeof secret);
    rpc_connection_key_write(&entry->id, ret_key);
    atomic_store_explicit(&entry->has_key, true, memory_order_relaxed);
    publish(entry);
    peers->keys_open++;
    if (fd >= 0 && (uint64_t)fd < peers->fd_count)
      old = atomic_exchange_explicit(&peers->by_fd[fd], NULL, memory_order_acq_rel);
  }
  pthread_mutex_unlock(&peers->mutex);
  if (old != NULL)
    unref(peers, old);
  return entry != NULL;
}

static struct entry *find_key(struct rpc_peers *peers, const struct rpc_connection_id *id) {
  if (id->slot >= BLOCKS_MAX * BLOCK_ENTRIES)
    return NULL;
  struct block *block = atomic_load_explicit(&peers->blocks[id->slot / BLOCK_ENTRIES], memory_order_acquire);
  struct entry *entry = block == NULL ? NULL : &block->entries[id->slot % BLOCK_ENTRIES];
  if (entry == NULL || !ref_if_used(entry))
    return NULL;
  /* The entry cannot become another's from here on. */
  if (atomic_load_explicit(&entry->has_key, memory_order_acquire) &&
      crypto_equal(str_make(entry->id.secret, sizeof entry->id.secret),
                   str_make(id->secret, sizeof id->secret)))
    return entry;
  unref(peers, entry);
  return NULL;
}

const struct rpc_peer *rpc_peers_find_key(struct rpc_peers *peers, const struct rpc_connection_id *id) {
  struct entry *entry = find_key(peers, id);
  return entry == NULL ? NULL : &entry->peer;
}

void rpc_peers_forget(struct rpc_peers *peers, const struct rpc_connection_key *key) {
  struct rpc_connection_id id;
  struct entry *entry = rpc_connection_key_read(key, &id) ? find_key(peers, &id) : NULL;
  if (entry == NULL)
    return;
  if (atomic_exchange_explicit(&entry->has_key, false, memory_order_acq_rel)) {
    pthread_mutex_lock(&peers->mutex);
    peers->keys_open--;
    pthread_mutex_unlock(&peers->mutex);
    unref(peers, entry); /* the table's */
  }
  unref(peers, entry);
}

/* ---- Counts ---- */

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
  struct entry *gone = NULL;
  pthread_mutex_lock(&peers->mutex); /* nobody enters meanwhile; fstat does not block on sockets */
  uint64_t open = peers->keys_open;
  for (size_t b = 0; b < peers->block_count; b++) {
    struct block *block = atomic_load(&peers->blocks[b]);
    for (size_t i = 0; i < BLOCK_ENTRIES; i++)
      if (take_gone(peers, &block->entries[i], &open)) {
        block->entries[i].next_free = gone; /* free for use: entries in the table are in no list */
        gone = &block->entries[i];
      }
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
