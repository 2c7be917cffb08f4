/* Contended transactions against any Firestore server: CLIENTS at once, each reads one of DOCUMENTS counters
 * in a new transaction, adds one and commits, and tries again at once if it lost. Every committed transaction
 * must be in the counters at the end.
 *
 *   skerry-contention TARGET SECONDS CLIENTS DOCUMENTS [AUTHORIZATION]
 *
 * One line of JSON on standard output. The exit code: 0, 1 if something failed or was lost, 2 for a mistake
 * in how it was called. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/wire.h"
#include "bench/durations.h"
#include "bench/requests.h"
#include "google/firestore/v1/firestore.skerry.h"
#include "storage/document/codec.h"

#define DATABASE "projects/demo-bench/databases/(default)"

enum { CLIENTS_MAX = 256, CLIENTS_A_CONNECTION = 8, NAME_MAX_BYTES = 128, ID_MAX_BYTES = 1024 };

struct bench {
  struct rpc_client_options options;
  struct rpc_client_header header;
  int documents;
  double end_s;
  atomic_ulong committed, attempts, failed; /* failed: with another status than ABORTED */
};

struct client {
  struct bench *bench;
  struct rpc_client *connection;
  uint64_t random;
  struct durations latency; /* of whole transactions, with their attempts */
  pthread_t thread;
};

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void name_of(int document, char name[NAME_MAX_BYTES]) {
  snprintf(name, NAME_MAX_BYTES, DATABASE "/documents/counters/c%d", document);
}

/* A Document with one integer field. */
static ProtobufCBinaryData document_make(const char *name, int64_t n, uint8_t out[NAME_MAX_BYTES + 64]) {
  uint8_t value[16], entry[32];
  uint8_t *end = wire_put_varint(wire_put_tag(value, 2, WIRE_VARINT), (uint64_t)n);
  str value_bytes = str_make(value, (size_t)(end - value));
  end = wire_put_bytes(wire_put_bytes(entry, 1, STR("n")), 2, value_bytes);
  str entry_bytes = str_make(entry, (size_t)(end - entry));
  end = wire_put_bytes(wire_put_bytes(out, 1, str_from_cstr(name)), 2, entry_bytes);
  return (ProtobufCBinaryData){(size_t)(end - out), out};
}

static status commit(struct client *c, const char *name, int64_t n, ProtobufCBinaryData transaction,
                     struct arena *arena) {
  uint8_t document[NAME_MAX_BYTES + 64];
  char database[] = DATABASE;
  Google__Firestore__V1__Write write = GOOGLE__FIRESTORE__V1__WRITE__INIT, *writes[] = {&write};
  write.operation_case = GOOGLE__FIRESTORE__V1__WRITE__OPERATION_UPDATE;
  write.update = document_make(name, n, document);
  Google__Firestore__V1__CommitRequest request = GOOGLE__FIRESTORE__V1__COMMIT_REQUEST__INIT;
  request.database = database;
  request.writes = writes;
  request.n_writes = 1;
  request.transaction = transaction;
  const Google__Firestore__V1__CommitResponse *response;
  return google_firestore_v1_firestore_commit_call(c->connection, &c->bench->options, &request, arena,
                                                   &response);
}

/* Reads a counter; with `transaction`, in a new one that repeats the one there, whose id it becomes. */
static status read_counter(struct client *c, char *name, ProtobufCBinaryData *transaction,
                           struct arena *arena, int64_t *ret) {
  char database[] = DATABASE;
  Google__Firestore__V1__TransactionOptions options = GOOGLE__FIRESTORE__V1__TRANSACTION_OPTIONS__INIT;
  Google__Firestore__V1__TransactionOptions__ReadWrite read_write =
      GOOGLE__FIRESTORE__V1__TRANSACTION_OPTIONS__READ_WRITE__INIT;
  Google__Firestore__V1__BatchGetDocumentsRequest request =
      GOOGLE__FIRESTORE__V1__BATCH_GET_DOCUMENTS_REQUEST__INIT;
  request.database = database;
  request.documents = &name;
  request.n_documents = 1;
  if (transaction != NULL) {
    read_write.retry_transaction = *transaction;
    options.mode_case = GOOGLE__FIRESTORE__V1__TRANSACTION_OPTIONS__MODE_READ_WRITE;
    options.read_write = &read_write;
    request.consistency_selector_case =
        GOOGLE__FIRESTORE__V1__BATCH_GET_DOCUMENTS_REQUEST__CONSISTENCY_SELECTOR_NEW_TRANSACTION;
    request.new_transaction = &options;
  }
  struct google_firestore_v1_firestore_batch_get_documents_stream stream;
  STATUS_TRY(google_firestore_v1_firestore_batch_get_documents_open(c->connection, &c->bench->options,
                                                                    &request, &stream));
  const Google__Firestore__V1__BatchGetDocumentsResponse *response;
  status parsed = status_ok();
  while (google_firestore_v1_firestore_batch_get_documents_receive(stream, arena, &response)) {
    if (response->transaction.len > 0 && response->transaction.len <= ID_MAX_BYTES && transaction != NULL) {
      memcpy(transaction->data, response->transaction.data, response->transaction.len);
      transaction->len = response->transaction.len;
    }
    if (response->result_case != GOOGLE__FIRESTORE__V1__BATCH_GET_DOCUMENTS_RESPONSE__RESULT_FOUND)
      continue;
    struct doc_document document;
    parsed = doc_decode_document(str_make(response->found.data, response->found.len), arena, &document);
    const struct doc_value *n = status_is_ok(&parsed) ? doc_map_get(document.fields, STR("n")) : NULL;
    if (n != NULL)
      *ret = n->as.integer;
  }
  status ended = google_firestore_v1_firestore_batch_get_documents_finish(stream, NULL, NULL);
  return status_is_ok(&ended) ? parsed : ended;
}

static void roll_back(struct client *c, ProtobufCBinaryData transaction) {
  char database[] = DATABASE;
  Google__Firestore__V1__RollbackRequest request = GOOGLE__FIRESTORE__V1__ROLLBACK_REQUEST__INIT;
  request.database = database;
  request.transaction = transaction;
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 16);
  const Google__Protobuf__Empty *response;
  status ignored = google_firestore_v1_firestore_rollback_call(c->connection, &c->bench->options, &request,
                                                               &arena, &response);
  (void)ignored;
  arena_fini(&arena);
}

/* One transaction with all its attempts, as an SDK makes them but for the pauses in between. */
static status increment(struct client *c, int document) {
  char name[NAME_MAX_BYTES];
  uint8_t id[ID_MAX_BYTES];
  ProtobufCBinaryData transaction = {0, id};
  name_of(document, name);
  status result;
  do {
    struct arena arena;
    arena_init(&arena, NULL, 0, 1 << 20);
    int64_t n = 0;
    atomic_fetch_add(&c->bench->attempts, 1);
    result = read_counter(c, name, &transaction, &arena, &n);
    if (status_is_ok(&result))
      result = commit(c, name, n + 1, transaction, &arena);
    arena_fini(&arena);
    if (!status_is_ok(&result) && transaction.len > 0)
      roll_back(c, transaction);
  } while (result.code == STATUS_ABORTED && now_s() < c->bench->end_s);
  return result;
}

static void *client_main(void *argument) {
  struct client *c = argument;
  while (now_s() < c->bench->end_s) {
    double start = now_s();
    status result = increment(c, (int)(random_next(&c->random) % (uint64_t)c->bench->documents));
    if (status_is_ok(&result)) {
      durations_add(&c->latency, (int64_t)((now_s() - start) * 1e6));
      atomic_fetch_add(&c->bench->committed, 1);
    } else if (result.code != STATUS_ABORTED && atomic_fetch_add(&c->bench->failed, 1) == 0) {
      fprintf(stderr, "the first failure: %s: %s\n", status_code_name((int)result.code), result.message);
    }
  }
  return NULL;
}

/* Sets all counters to 0, or adds them up. */
static status all_counters(struct client *c, bool reset, int64_t *ret_sum) {
  *ret_sum = 0;
  for (int i = 0; i < c->bench->documents; i++) {
    struct arena arena;
    char name[NAME_MAX_BYTES];
    int64_t n = 0;
    name_of(i, name);
    arena_init(&arena, NULL, 0, 1 << 20);
    status result = reset ? commit(c, name, 0, (ProtobufCBinaryData){0}, &arena)
                          : read_counter(c, name, NULL, &arena, &n);
    arena_fini(&arena);
    STATUS_TRY(result);
    *ret_sum += n;
  }
  return status_ok();
}

static int measure(struct bench *bench, struct client *clients, int count, double seconds) {
  int64_t sum;
  status result = all_counters(&clients[0], true, &sum);
  double start = now_s();
  bench->end_s = start + seconds;
  for (int i = 0; i < count && status_is_ok(&result); i++)
    if (pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) != 0)
      abort();
  struct durations latency = {0};
  for (int i = 0; i < count && status_is_ok(&result); i++) {
    pthread_join(clients[i].thread, NULL);
    durations_merge(&latency, &clients[i].latency);
  }
  double took = now_s() - start;
  if (status_is_ok(&result))
    result = all_counters(&clients[0], false, &sum);
  if (!status_is_ok(&result)) {
    fprintf(stderr, "%s: %s\n", status_code_name((int)result.code), result.message);
    return 1;
  }
  unsigned long committed = atomic_load(&bench->committed), attempts = atomic_load(&bench->attempts);
  unsigned long failed = atomic_load(&bench->failed);
  bool lost = (unsigned long)sum < committed; /* what failed may have been done */
  printf("{\"ok\": %lu, \"failed\": %lu, \"attempts\": %lu, \"counted\": %lld, \"seconds\": %.3f, \"per_s\": "
         "%.1f, "
         "\"p50_us\": %.0f, \"p99_us\": %.0f}\n",
         committed, failed, attempts, (long long)sum, took, (double)committed / took,
         durations_quantile(&latency, 0.5), durations_quantile(&latency, 0.99));
  if (lost)
    fprintf(stderr, "updates were lost: %lu committed, %lld counted\n", committed, (long long)sum);
  return lost || failed > 0 ? 1 : 0;
}

int main(int argc, char **argv) {
  long count = argc > 3 ? strtol(argv[3], NULL, 10) : 0, documents = argc > 4 ? strtol(argv[4], NULL, 10) : 0;
  if (argc < 5 || count < 1 || count > CLIENTS_MAX || documents < 1 || documents > 1000000) {
    fprintf(stderr, "usage: %s TARGET SECONDS CLIENTS DOCUMENTS [AUTHORIZATION]\n", argv[0]);
    return 2;
  }
  struct bench bench = {.documents = (int)documents, .options.timeout_us = 5000000};
  if (argc > 5) {
    bench.header = (struct rpc_client_header){"authorization", str_from_cstr(argv[5])};
    bench.options.headers = &bench.header;
    bench.options.header_count = 1;
  }
  struct client *clients = calloc((size_t)count, sizeof *clients);
  if (clients == NULL)
    return 1;
  for (int i = 0; i < count; i++) {
    clients[i].bench = &bench;
    clients[i].random = (uint64_t)i * 7919 + 1;
    if (i % CLIENTS_A_CONNECTION != 0) {
      clients[i].connection = clients[i - 1].connection;
      continue;
    }
    status result = rpc_client_open(argv[1], true, &clients[i].connection);
    if (!status_is_ok(&result)) {
      fprintf(stderr, "%s\n", result.message);
      return 1;
    }
  }
  int code = measure(&bench, clients, (int)count, strtod(argv[2], NULL));
  for (int i = 0; i < count; i += CLIENTS_A_CONNECTION)
    rpc_client_close(clients[i].connection);
  free(clients);
  return code;
}
