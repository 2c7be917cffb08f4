#include "storage/rocksdb/test_support.h"

#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "storage/rocksdb/store_internal.h"

struct port_simulated *test_port_new(void) {
  struct port_simulated *simulated = port_simulated_new();
  assert(simulated != NULL);
  port_simulated_set_wall(simulated, INT64_C(2000000000) * 1000000); /* the year 2033 */
  return simulated;
}

void test_directory_make(char path[64]) {
  const char *parent = getenv("TMPDIR");
  int len =
      snprintf(path, 64, "%s/skerry-kv-XXXXXX", parent != NULL && strlen(parent) < 40 ? parent : "/tmp");
  assert(len < 64);
  char *made = mkdtemp(path);
  assert(made != NULL);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *at) {
  (void)s, (void)type, (void)at;
  return remove(path);
}

void test_directory_remove(const char *path) {
  nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void test_let_go(struct kv_store *store) {
  keeper_round(rocks_of(store)); /* refused from here on */
  keeper_round(rocks_of(store)); /* and given up */
  status compacted = engine_compact(rocks_of(store)->engine);
  assert(compacted.code == STATUS_OK);
}

/* nftw has no argument. */
static str searched;
static unsigned found_in;

static int search_one(const char *path, const struct stat *s, int type, struct FTW *at) {
  (void)at;
  if (type != FTW_F || s->st_size == 0)
    return 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert(fd >= 0);
  void *bytes = mmap(NULL, (size_t)s->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  assert(bytes != MAP_FAILED);
  found_in += memmem(bytes, (size_t)s->st_size, searched.ptr, searched.len) != NULL;
  munmap(bytes, (size_t)s->st_size);
  close(fd);
  return 0;
}

unsigned test_files_with(const char *directory, str bytes) {
  searched = bytes;
  found_in = 0;
  nftw(directory, search_one, 16, FTW_PHYS);
  return found_in;
}

struct one_put {
  str key, value;
};

static status one_put_resolve(void *argument, struct kv_reader *reader, kv_version version,
                              struct kv_batch *batch) {
  const struct one_put *p = argument;
  (void)reader, (void)version;
  kv_batch_put(batch, KV_DOCUMENTS, p->key, p->value);
  return status_ok();
}

status test_put(struct kv_store *store, str key, str value, kv_version *ret) {
  struct one_put p = {key, value};
  struct kv_txn txn = {.resolve = one_put_resolve, .argument = &p};
  return kv_commit_wait(store, &txn, ret);
}

status test_get(struct kv_store *store, str key, char *value, size_t capacity, bool *ret_found) {
  kv_snapshot snapshot;
  struct kv_value got;
  STATUS_TRY(kv_snapshot_at(store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_get(snapshot, KV_DOCUMENTS, key, &got));
  *ret_found = got.found;
  size_t len = got.bytes.len < capacity ? got.bytes.len : capacity - 1;
  if (len > 0)
    memcpy(value, got.bytes.ptr, len);
  value[len] = '\0';
  kv_value_release(&got);
  return status_ok();
}
