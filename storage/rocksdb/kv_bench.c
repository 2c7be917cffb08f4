/* How fast the store is by itself: kv_bench [DIRECTORY [DOCUMENTS]]. Not a test. The directory should be on
 * the medium that counts; a new one under it is used and removed. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ports/port.h"
#include "storage/rocksdb/store.h"
#include "storage/rocksdb/test_support.h"

enum { VALUE_BYTES = 300, IN_FLIGHT = 256, LOAD_BATCH = 500 };

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(status s, const char *what) {
  if (status_is_ok(&s))
    return;
  fprintf(stderr, "%s: %s\n", what, s.message);
  exit(1);
}

static double resident_mb(void) {
  return (double)port_linux()->memory(port_linux()).resident_bytes / 1e6;
}

static size_t key_of(uint64_t n, char key[64]) {
  return (size_t)snprintf(key, 64, "projects/p/databases/d/documents/c/%012llu",
                          (unsigned long long)(n * UINT64_C(0x9e3779b97f4a7c15) >> 24));
}

/* Half of it compresses, like JSON-ish documents do. */
static void value_of(uint64_t n, char value[VALUE_BYTES]) {
  memset(value, 'x', VALUE_BYTES);
  for (size_t i = 0; i + 8 <= VALUE_BYTES / 2; i += 8) {
    n = n * UINT64_C(6364136223846793005) + 1442695040888963407U;
    memcpy(value + i, &n, 8);
  }
}

struct load {
  uint64_t first, count;
};

static status load_resolve(void *argument, struct kv_reader *reader, kv_version version,
                           struct kv_batch *batch) {
  const struct load *load = argument;
  char key[64], value[VALUE_BYTES];
  (void)reader, (void)version;
  for (uint64_t n = load->first; n < load->first + load->count; n++) {
    size_t len = key_of(n, key);
    value_of(n, value);
    kv_batch_put(batch, KV_DOCUMENTS, str_make(key, len), str_make(value, sizeof value));
  }
  return status_ok();
}

static void bench_load(struct kv_store *store, uint64_t documents) {
  double start = now_s();
  for (uint64_t n = 0; n < documents; n += LOAD_BATCH) {
    struct load load = {n, LOAD_BATCH};
    struct kv_txn txn = {.resolve = load_resolve, .argument = &load};
    must(kv_commit_wait(store, &txn, NULL), "load");
  }
  double took = now_s() - start;
  printf("load, %d a commit          %10.0f documents/s   resident %.1f MB\n", LOAD_BATCH,
         (double)documents / took, resident_mb());
}

struct flight {
  struct kv_store *store;
  struct kv_txn txn;
  uint64_t next;
  _Atomic uint64_t *left;
  _Atomic int *open;
  double started;
  double *latencies;
  _Atomic uint64_t *latency_count;
};

static void flight_start(struct flight *f);

static status flight_resolve(void *argument, struct kv_reader *reader, kv_version version,
                             struct kv_batch *batch) {
  struct flight *f = argument;
  char key[64], value[VALUE_BYTES];
  struct kv_value old;
  (void)version;
  size_t len = key_of(f->next, key);
  STATUS_TRY(kv_reader_get(reader, KV_DOCUMENTS, str_make(key, len), &old));
  kv_value_release(&old);
  value_of(f->next, value);
  kv_batch_put(batch, KV_DOCUMENTS, str_make(key, len), str_make(value, sizeof value));
  return status_ok();
}

static void flight_done(void *argument, status result, kv_version version) {
  struct flight *f = argument;
  (void)version;
  must(result, "commit");
  f->latencies[atomic_fetch_add(f->latency_count, 1)] = now_s() - f->started;
  if (atomic_fetch_sub(f->left, 1) > IN_FLIGHT)
    flight_start(f);
  else
    atomic_fetch_sub(f->open, 1);
}

static void flight_start(struct flight *f) {
  f->next = f->next * UINT64_C(6364136223846793005) + 1442695040888963407U;
  f->txn = (struct kv_txn){.resolve = flight_resolve, .done = flight_done, .argument = f};
  f->started = now_s();
  kv_commit(f->store, &f->txn);
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void bench_commits(struct kv_store *store, size_t count) {
  static struct flight flights[IN_FLIGHT];
  double *latencies = calloc(count + IN_FLIGHT, sizeof *latencies);
  _Atomic uint64_t left = count, latency_count = 0;
  _Atomic int open = IN_FLIGHT;
  struct kv_info before, after;
  kv_info(store, &before);
  double start = now_s(), cpu = cpu_s();
  for (int i = 0; i < IN_FLIGHT; i++) {
    flights[i] = (struct flight){.store = store,
                                 .next = (uint64_t)i + 77,
                                 .left = &left,
                                 .open = &open,
                                 .latencies = latencies,
                                 .latency_count = &latency_count};
    flight_start(&flights[i]);
  }
  while (atomic_load(&open) > 0)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  double took = now_s() - start;
  cpu = cpu_s() - cpu;
  kv_info(store, &after);
  size_t n = (size_t)latency_count;
  qsort(latencies, n, sizeof *latencies, by_size);
  printf("commits, %d in flight     %10.0f /s   p50 %.2f ms  p99 %.2f ms  %.1f us CPU each  %.0f a group  "
         "%.0f bytes written each\n",
         IN_FLIGHT, (double)n / took, latencies[n / 2] * 1e3, latencies[n * 99 / 100] * 1e3,
         cpu / (double)n * 1e6,
         (double)(after.commits - before.commits) / (double)(after.groups - before.groups),
         (double)(after.written_bytes - before.written_bytes) / (double)n);
  free(latencies);
}

static void bench_alone(struct kv_store *store, const char *directory) {
  enum { COUNT = 1000 };
  char path[128];
  static char block[512];
  snprintf(path, sizeof path, "%s/sync", directory);
  FILE *file = fopen(path, "w");
  double start = now_s();
  for (int i = 0; i < COUNT; i++) {
    if (file == NULL || fwrite(block, sizeof block, 1, file) != 1 || fflush(file) != 0)
      exit(1);
    fdatasync(fileno(file));
  }
  double sync_s = (now_s() - start) / COUNT;
  fclose(file);
  unlink(path);
  static double each[COUNT];
  char key[64], value[VALUE_BYTES];
  for (uint64_t n = 0; n < COUNT; n++) {
    size_t len = key_of(n * 31, key);
    value_of(n, value);
    double began = now_s();
    must(test_put(store, str_make(key, len), str_make(value, sizeof value), NULL), "put");
    each[n] = now_s() - began;
  }
  double sum = 0;
  for (int i = 0; i < COUNT; i++)
    sum += each[i];
  qsort(each, COUNT, sizeof each[0], by_size);
  printf(
      "a commit alone             mean %.0f us  p50 %.0f us  p99 %.0f us; append and fdatasync of %zu bytes: "
      "%.0f us\n",
      sum / COUNT * 1e6, each[COUNT / 2] * 1e6, each[COUNT * 99 / 100] * 1e6, sizeof block, sync_s * 1e6);
}

struct gets {
  struct kv_store *store;
  uint64_t documents, count, seed;
};

static void *gets_main(void *argument) {
  struct gets *g = argument;
  char key[64];
  for (uint64_t i = 0; i < g->count; i++) {
    kv_snapshot snapshot;
    struct kv_value value;
    g->seed = g->seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
    size_t len = key_of((g->seed >> 20) % g->documents, key);
    must(kv_snapshot_at(g->store, KV_LATEST, &snapshot), "snapshot");
    must(kv_get(snapshot, KV_DOCUMENTS, str_make(key, len), &value), "get");
    if (!value.found)
      exit(1);
    kv_value_release(&value);
  }
  return NULL;
}

static void bench_gets(struct kv_store *store, const char *what, uint64_t documents, uint64_t count,
                       int threads) {
  pthread_t ids[8];
  struct gets work[8];
  double start = now_s(), cpu = cpu_s();
  for (int i = 0; i < threads; i++) {
    work[i] = (struct gets){store, documents, count / (uint64_t)threads, (uint64_t)i + 5};
    pthread_create(&ids[i], NULL, gets_main, &work[i]);
  }
  for (int i = 0; i < threads; i++)
    pthread_join(ids[i], NULL);
  double took = now_s() - start;
  cpu = cpu_s() - cpu;
  printf("gets, %-20s %10.0f /s   %.2f us CPU each   %d threads  resident %.1f MB\n", what,
         (double)count / took, cpu / (double)count * 1e6, threads, resident_mb());
}

static void bench_scans(struct kv_store *store, bool reverse) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  uint64_t entries = 0;
  must(kv_snapshot_at(store, KV_LATEST, &snapshot), "snapshot");
  must(kv_iter_open(snapshot, KV_DOCUMENTS, (str){0}, (str){0}, reverse, &iter), "scan");
  double start = now_s();
  while (kv_iter_next(iter))
    entries++;
  double took = now_s() - start;
  must(kv_iter_status(iter), "scan");
  kv_iter_close(iter);
  printf("scan, %s            %10.0f entries/s of %llu\n", reverse ? "backwards" : "forwards ",
         (double)entries / took, (unsigned long long)entries);
  enum { COUNT = 20000 };
  char key[64];
  start = now_s();
  for (uint64_t i = 0; i < COUNT; i++) {
    size_t len = key_of(i * 48271, key);
    must(kv_iter_open(snapshot, KV_DOCUMENTS, reverse ? (str){0} : str_make(key, len),
                      reverse ? str_make(key, len) : (str){0}, reverse, &iter),
         "scan");
    for (int k = 0; k < 20 && kv_iter_next(iter); k++)
      ;
    kv_iter_close(iter);
  }
  printf("open, seek, 20 entries     %10.0f /s\n", COUNT / (now_s() - start));
}

/* ---- Validation ---- */

static status nothing_resolve(void *argument, struct kv_reader *reader, kv_version version,
                              struct kv_batch *batch) {
  (void)argument, (void)reader, (void)version, (void)batch;
  return status_ok();
}

static status other_resolve(void *argument, struct kv_reader *reader, kv_version version,
                            struct kv_batch *batch) {
  const struct load *load = argument;
  (void)reader, (void)version;
  char key[64];
  for (uint64_t n = load->first; n < load->first + load->count; n++) {
    int len = snprintf(key, sizeof key, "index/of/something/else/%012llu", (unsigned long long)n);
    kv_batch_put(batch, KV_INDEX, str_make(key, (size_t)len), (str){0});
  }
  return status_ok();
}

/* A transaction that read everything commits after so many writes of others elsewhere. */
static void bench_validation(struct kv_store *store, uint64_t writes) {
  kv_snapshot snapshot;
  must(kv_snapshot_at(store, KV_LATEST, &snapshot), "snapshot");
  for (uint64_t n = 0; n < writes; n += LOAD_BATCH) {
    struct load load = {n, writes - n < LOAD_BATCH ? writes - n : LOAD_BATCH};
    struct kv_txn txn = {.resolve = other_resolve, .argument = &load};
    must(kv_commit_wait(store, &txn, NULL), "writes of others");
  }
  struct kv_range all = {.space = KV_DOCUMENTS};
  struct kv_txn txn = {
      .read_version = snapshot.version, .ranges = &all, .range_count = 1, .resolve = nothing_resolve};
  double start = now_s();
  status s = kv_commit_wait(store, &txn, NULL);
  printf("validate all, %6llu writes %10.3f ms   %s\n", (unsigned long long)writes, (now_s() - start) * 1e3,
         status_code_name((int)s.code));
}

int main(int argc, char **argv) {
  char directory[64];
  if (argc > 1)
    setenv("TMPDIR", argv[1], 1);
  uint64_t documents = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
  documents = documents / LOAD_BATCH * LOAD_BATCH;
  setvbuf(stdout, NULL, _IOLBF, 0);
  port_memory_configure();
  test_directory_make(directory);
  struct kv_store *store;
  char path[80];
  snprintf(path, sizeof path, "%s/store", directory);
  struct kv_rocksdb_options options = {.directory = path, .clock_trusted = true};
  must(kv_rocksdb_open(&options, &store), "open");
  printf("empty                      resident %.1f MB\n", resident_mb());
  bool gets_only = argc > 3;
  if (!gets_only) {
    bench_alone(store, directory);
    bench_commits(store, 200000);
  }
  bench_load(store, documents);
  bench_gets(store, "all", documents, documents, 1);
  bench_gets(store, "all", documents, documents, 2);
  bench_gets(store, "2,000 in cache", 2000, 400000, 1);
  bench_gets(store, "2,000 in cache", 2000, 400000, 2);
  if (gets_only)
    sleep(3);
  bench_gets(store, "2,000 in cache", 2000, 400000, 1);
  bench_validation(store, 0);
  bench_validation(store, 1);
  bench_validation(store, 10000);
  bench_validation(store, 100000); /* past the window */
  bench_scans(store, false);
  bench_scans(store, true);
  struct kv_info info;
  kv_info(store, &info);
  printf("on disk %.1f MB, written %.1f MB, cache %.1f MB, write buffers %.1f MB, resident %.1f MB\n",
         (double)info.data_bytes / 1e6, (double)info.written_bytes / 1e6, (double)info.cache_bytes / 1e6,
         (double)info.write_buffer_bytes / 1e6, resident_mb());
  double start = now_s();
  kv_close(store);
  double closed = now_s();
  must(kv_rocksdb_open(&options, &store), "open again");
  printf("close %.0f ms, open again %.0f ms\n", (closed - start) * 1e3, (now_s() - closed) * 1e3);
  kv_close(store);
  test_directory_remove(directory);
  return 0;
}
