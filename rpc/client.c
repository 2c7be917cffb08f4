#include <arpa/inet.h>
#include <assert.h>
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/limits.h"
#include "rpc/client_call.h"
#include "rpc/tsan.h"

enum {
  TARGET_BYTES_MAX = 300, /* a DNS name (253), a port, gRPC's scheme */
  GIVEN_BYTES_MAX = 270,
  RECONNECT_FIRST_MS = 100,
  RECONNECT_MOST_MS = 2000,
};

/* ---- The target ---- */

static status bad_target(const char *target) {
  return status_make(STATUS_INVALID_ARGUMENT,
                     "\"%.100s\" is not an address to connect to: give HOST:PORT, [IPV6]:PORT or unix:/PATH.",
                     target);
}

static bool is_host_name(str host) {
  for (size_t i = 0; i < host.len; i++) {
    char c = host.ptr[i];
    bool is_alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!is_alphanumeric && c != '-' && c != '.' && c != '_')
      return false;
  }
  return host.len > 0;
}

/* Writes gRPC's name for the target. Addresses get their own scheme, so that no resolver thread starts. */
static status name_target(const char *target, char uri[TARGET_BYTES_MAX]) {
  str text = str_from_cstr(target);
  if (str_has_prefix(text, STR("unix:"))) {
    if (text.len - 5 >= sizeof(((struct sockaddr_un *)0)->sun_path) || text.len == 5)
      return bad_target(target);
    snprintf(uri, TARGET_BYTES_MAX, "%s", target);
    return status_ok();
  }
  const char *colon = strrchr(target, ':');
  uint64_t port;
  if (colon == NULL || text.len >= GIVEN_BYTES_MAX || !str_to_u64(str_from_cstr(colon + 1), &port) ||
      port < 1 || port > 65535)
    return bad_target(target);
  char host[GIVEN_BYTES_MAX];
  size_t host_len = (size_t)(colon - target);
  memcpy(host, target, host_len);
  host[host_len] = '\0';
  unsigned char address[sizeof(struct in6_addr)];
  if (inet_pton(AF_INET, host, address) == 1) {
    snprintf(uri, TARGET_BYTES_MAX, "ipv4:%s", target);
  } else if (host_len > 2 && host[0] == '[' && host[host_len - 1] == ']') {
    host[host_len - 1] = '\0';
    if (inet_pton(AF_INET6, host + 1, address) != 1)
      return bad_target(target);
    snprintf(uri, TARGET_BYTES_MAX, "ipv6:%%5B%s%%5D%s", host + 1, colon);
  } else if (is_host_name(str_make(host, host_len))) {
    snprintf(uri, TARGET_BYTES_MAX, "dns:///%s", target);
  } else {
    return bad_target(target);
  }
  return status_ok();
}

/* ---- The channel ---- */

static grpc_arg int_arg(const char *name, int value) {
  /* gRPC's struct wants a mutable name and does not change it. */
  union {
    const char *constant;
    char *given;
  } key = {name};
  return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = key.given, .value.integer = value};
}

static grpc_channel *create_channel(const char *uri, bool own_connection) {
  grpc_arg args[] = {
      int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, LIMIT_CALL_ARENA_BYTES),
      int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0), /* rpc/codec.h inflates, with a limit */
      int_arg(GRPC_ARG_ENABLE_RETRIES, 0),                   /* callers know what may be sent twice */
      int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
      int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
      int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
      int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_FIRST_MS),
      int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RECONNECT_MOST_MS),
      int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, own_connection ? 1 : 0),
  };
  grpc_channel_args all = {sizeof args / sizeof args[0], args};
  grpc_channel_credentials *plaintext = grpc_insecure_credentials_create();
  grpc_channel *channel = grpc_channel_create(uri, plaintext, &all);
  grpc_channel_credentials_release(plaintext);
  return channel;
}

/* ---- The client ---- */

static void *run_client(void *argument) {
  struct rpc_client *client = argument;
  for (;;) {
    grpc_event event = grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      return NULL;
    assert(event.type == GRPC_OP_COMPLETE);
    RPC_TSAN_ACQUIRE(event.tag);
    struct rpc_client_completion *completion = event.tag;
    completion->run(completion, event.success != 0);
  }
}

static void free_client(struct rpc_client *client) {
  grpc_completion_queue_destroy(client->queue);
  grpc_channel_destroy(client->channel);
  pthread_cond_destroy(&client->all_released);
  pthread_mutex_destroy(&client->mutex);
  arena_fini(&client->responses);
  free(client);
  grpc_shutdown();
}

status rpc_client_open(const char *target, bool own_connection, struct rpc_client **ret) {
  assert(target != NULL && ret != NULL);
  char uri[TARGET_BYTES_MAX];
  STATUS_TRY(name_target(target, uri));
  struct rpc_client *client = calloc(1, sizeof *client);
  if (client == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "No memory for a client.");
  grpc_init();
  arena_init(&client->responses, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  pthread_mutex_init(&client->mutex, NULL);
  pthread_cond_init(&client->all_released, NULL);
  client->channel = create_channel(uri, own_connection);
  client->queue = grpc_completion_queue_create_for_next(NULL);
  if (pthread_create(&client->thread, NULL, run_client, client) != 0) {
    grpc_completion_queue_shutdown(client->queue);
    while (grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN) {
    }
    free_client(client);
    return status_make(STATUS_RESOURCE_EXHAUSTED, "The system allows no thread for a client.");
  }
  *ret = client;
  return status_ok();
}

void rpc_client_close(struct rpc_client *client) {
  if (client == NULL)
    return;
  assert(!pthread_equal(pthread_self(), client->thread));
  pthread_mutex_lock(&client->mutex);
  client->closing = true;
  /* Under the mutex, against rpc_client_call_release; completions come by the queue, so nothing here waits
   * for a thread that wants the mutex. */
  for (struct rpc_client_call *call = client->calls; call != NULL; call = call->next) {
    if (status_is_ok(&call->failure))
      call->failure = status_make(STATUS_CANCELLED, "The client is closing.");
    grpc_call_cancel(call->core, NULL);
  }
  while (client->calls_unreleased > 0)
    pthread_cond_wait(&client->all_released, &client->mutex);
  pthread_mutex_unlock(&client->mutex);
  grpc_completion_queue_shutdown(client->queue);
  pthread_join(client->thread, NULL);
  free_client(client);
}
