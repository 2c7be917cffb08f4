#include "server/firestore/service.h"

#include <assert.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "ports/port.h"
#include "server/firestore/handlers.h"
#include "server/firestore/listen.h"
#include "server/firestore/request.h"
#include "storage/index/derive.h"

/* ---- The secret: made once for a store, so that page tokens outlive a restart ---- */

#define SECRET_KEY STR("firestore/page_token_secret")

static status put_secret_if_missing(void *argument, struct kv_reader *reader, kv_version version,
                                    struct kv_batch *batch) {
  (void)version;
  struct firestore_service *service = argument;
  struct kv_value stored = {0};
  STATUS_TRY(kv_reader_get(reader, KV_SYSTEM, SECRET_KEY, &stored));
  bool usable = stored.found && stored.bytes.len == sizeof service->secret;
  if (usable) {
    memcpy(service->secret, stored.bytes.ptr, sizeof service->secret);
  } else {
    crypto_random(service->secret, sizeof service->secret);
    kv_batch_put(batch, KV_SYSTEM, SECRET_KEY, str_make(service->secret, sizeof service->secret));
  }
  kv_value_release(&stored);
  return status_ok();
}

void firestore_forget_secret(struct kv_batch *batch) {
  kv_batch_delete(batch, KV_SYSTEM, SECRET_KEY);
}

static status load_secret(struct firestore_service *service) {
  struct kv_txn txn = {.resolve = put_secret_if_missing, .argument = service};
  kv_version version;
  status result = kv_commit_wait(service->options.store, &txn, &version);
  if (result.code == STATUS_RESOURCE_EXHAUSTED || result.code == STATUS_UNAVAILABLE) {
    /* A full disk must not keep the server from serving reads: tokens then last as long as this run. */
    crypto_random(service->secret, sizeof service->secret);
    return status_ok();
  }
  return result;
}

/* ---- What later versions bring ---- */

static void finish_later(struct rpc_call *call, const char *what) {
  rpc_call_finish(call, status_make(STATUS_UNIMPLEMENTED, "This version has no %s yet.", what));
}
static void execute_pipeline(struct rpc_call *call,
                             const Google__Firestore__V1__ExecutePipelineRequest *request) {
  (void)request;
  finish_later(call, "pipelines");
}
static const struct google_firestore_v1_firestore_handlers handlers = {
    .get_document = firestore_get_document,
    .list_documents = firestore_list_documents,
    .create_document = firestore_create_document,
    .update_document = firestore_update_document,
    .delete_document = firestore_delete_document,
    .batch_get_documents = firestore_batch_get_documents,
    .commit = firestore_commit,
    .batch_write = firestore_batch_write,
    .list_collection_ids = firestore_list_collection_ids,
    .run_query = firestore_run_query,
    .execute_pipeline = execute_pipeline,
    .run_aggregation_query = firestore_run_aggregation_query,
    .partition_query = firestore_partition_query,
    .begin_transaction = firestore_begin_transaction,
    .rollback = firestore_rollback,
    .listen = {.open = firestore_listen_open,
               .message = firestore_listen_message,
               .half_close = firestore_listen_half_close},
    .write = {.open = firestore_write_open,
              .message = firestore_write_message,
              .half_close = firestore_write_half_close},
};

status firestore_service_new(const struct firestore_options *options, struct firestore_service **ret) {
  assert(options->indexes != NULL);
  struct firestore_service *service = calloc(1, sizeof *service);
  if (service == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  service->options = *options;
  pthread_mutex_init(&service->write_streams.mutex, NULL);
  service->derive = index_derive(options->indexes);
  if (service->options.port == NULL)
    service->options.port = port_linux();
  status result = load_secret(service);
  if (status_is_ok(&result))
    result = transactions_new(options->store, service->options.port,
                              str_make(service->secret, sizeof service->secret),
                              options->transactions_memory_bytes_max, &service->transactions);
  if (status_is_ok(&result)) {
    size_t memory = options->listen_memory_bytes_max;
    result = listen_service_new(service, memory > 0 ? memory : LIMIT_LISTEN_MEMORY_BYTES, &service->listen);
  }
  if (status_is_ok(&result))
    *ret = service;
  else
    firestore_service_free(service);
  return result;
}

void firestore_service_stop(struct firestore_service *service) {
  listen_service_stop(service->listen);
  firestore_write_stop(&service->write_streams);
}

status firestore_service_register(struct firestore_service *service, struct rpc_server *server) {
  return rpc_server_add_service(server, &google_firestore_v1_firestore_service, &handlers, service);
}

void firestore_service_tick(struct firestore_service *service) {
  transactions_tick(service->transactions);
  firestore_write_tick(&service->write_streams);
  listen_service_tick(service->listen);
}

void firestore_service_stats(struct firestore_service *service, struct firestore_stats *ret) {
  *ret = (struct firestore_stats){0};
  transactions_stats(service->transactions, ret);
  listen_service_stats(service->listen, ret);
}

void firestore_service_free(struct firestore_service *service) {
  if (service == NULL)
    return;
  listen_service_free(service->listen);
  transactions_free(service->transactions);
  pthread_mutex_destroy(&service->write_streams.mutex);
  free(service);
}
