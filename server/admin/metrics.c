#include "server/admin/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "server/listener/tls.h"

static void head(struct buf *out, const char *name, const char *type, const char *help) {
  buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(struct buf *out, const char *name, const char *type, const char *help, uint64_t value) {
  head(out, name, type, help);
  buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void counter(struct buf *out, const char *name, const char *help, uint64_t value) {
  number(out, name, "counter", help, value);
}

static void gauge(struct buf *out, const char *name, const char *help, uint64_t value) {
  number(out, name, "gauge", help, value);
}

/* ---- Calls; each metric is a walk of its own, because its lines stand together ---- */

/* Paths are ours: they need no escapes. */
static void put_started(void *argument, const struct rpc_method_stats *stats) {
  if (stats->started > 0)
    buf_printf(argument, "skerry_calls_started_total{method=\"%s\"} %" PRIu64 "\n", stats->method->path,
               stats->started);
}

static void put_codes(void *argument, const struct rpc_method_stats *stats) {
  for (int code = 0; code <= STATUS_CODE_MAX; code++)
    if (stats->by_code[code] > 0)
      buf_printf(argument, "skerry_calls_finished_total{method=\"%s\",code=\"%s\"} %" PRIu64 "\n",
                 stats->method->path, status_code_name(code), stats->by_code[code]);
}

static void put_received(void *argument, const struct rpc_method_stats *stats) {
  if (stats->messages_in > 0)
    buf_printf(argument, "skerry_messages_received_total{method=\"%s\"} %" PRIu64 "\n", stats->method->path,
               stats->messages_in);
}

static void put_sent(void *argument, const struct rpc_method_stats *stats) {
  if (stats->messages_out > 0)
    buf_printf(argument, "skerry_messages_sent_total{method=\"%s\"} %" PRIu64 "\n", stats->method->path,
               stats->messages_out);
}

static void put_latency(void *argument, const struct rpc_method_stats *stats) {
  const uint64_t us[] = {stats->latency_us_p50, stats->latency_us_p99};
  static const char *const quantiles[] = {"0.5", "0.99"};
  for (int i = 0; i < 2 && stats->ok + stats->failed > 0; i++)
    buf_printf(argument,
               "skerry_call_latency_seconds{method=\"%s\",quantile=\"%s\"} %" PRIu64 ".%06" PRIu64 "\n",
               stats->method->path, quantiles[i], us[i] / 1000000, us[i] % 1000000);
}

static void put_calls(struct rpc_server *server, struct buf *out) {
  struct rpc_server_stats stats;
  rpc_server_stats(server, &stats);
  gauge(out, "skerry_calls_active", "Calls under way.", stats.calls_active);
  counter(out, "skerry_calls_shed_total", "Calls refused because they had waited for too long.", stats.shed);
  gauge(out, "skerry_overloaded", "1 while calls are refused so.", stats.is_shedding);
  head(out, "skerry_calls_started_total", "counter", "Calls that began.");
  rpc_server_visit_methods(server, put_started, out);
  head(out, "skerry_calls_finished_total", "counter", "Calls that ended, by the code that they ended with.");
  rpc_server_visit_methods(server, put_codes, out);
  head(out, "skerry_messages_received_total", "counter", "Messages of requests.");
  rpc_server_visit_methods(server, put_received, out);
  head(out, "skerry_messages_sent_total", "counter", "Messages of responses.");
  rpc_server_visit_methods(server, put_sent, out);
  head(out, "skerry_call_latency_seconds", "summary",
       "From arrival to finish, to about 10%, since the start.");
  rpc_server_visit_methods(server, put_latency, out);
}

/* ---- The rest ---- */

static void put_connections(struct front *front, struct buf *out) {
  struct front_stats stats;
  front_stats(front, &stats);
  gauge(out, "skerry_connections", "Connections that are open.", stats.listener.open);
  counter(out, "skerry_connections_accepted_total", "Connections that came.", stats.listener.accepted);
  counter(out, "skerry_connections_refused_total", "For a limit, silence, or another protocol.",
          stats.listener.refused);
  gauge(out, "skerry_http_connections", "Connections of HTTP/1.1.", stats.gateway.open);
  counter(out, "skerry_http_requests_total", "Requests over HTTP/1.1.", stats.gateway.requests);
  counter(out, "skerry_http_refused_total", "Requests over HTTP/1.1 that reached no method.",
          stats.gateway.refused);
  counter(out, "skerry_http_offences_total", "Connections of HTTP/1.1 ended for what they sent.",
          stats.pumps.http_offences);
  counter(out, "skerry_tls_handshakes_total", "TLS handshakes that succeeded.", stats.pumps.handshakes);
  counter(out, "skerry_tls_resumed_total", "Of these, by a ticket.", stats.pumps.resumed);
  counter(out, "skerry_tls_handshakes_failed_total", "TLS handshakes that failed.",
          stats.pumps.handshakes_failed);
  head(out, "skerry_guard_offences_total", "counter", "Connections of HTTP/2 ended for what they sent.");
  for (int i = 0; i < GUARD_OFFENCE_COUNT; i++)
    if (i != GUARD_NO_OFFENCE)
      buf_printf(out, "skerry_guard_offences_total{offence=\"%s\"} %" PRIu64 "\n",
                 guard_offence_name((enum guard_offence)i), stats.pumps.offences[i]);
}

static void put_certificates(struct tls *tls, struct buf *out) {
  struct tls_certificate_info info;
  if (tls == NULL)
    return;
  head(out, "skerry_certificate_not_after_seconds", "gauge", "When the certificate expires, since 1970.");
  for (size_t i = 0; i < SETTINGS_LISTEN_MAX && tls_certificate(tls, i, &info); i++)
    buf_printf(out, "skerry_certificate_not_after_seconds{index=\"%zu\"} %" PRId64 "\n", i,
               (int64_t)info.not_after_s);
}

static void put_store(struct kv_store *store, struct buf *out) {
  struct kv_info info;
  kv_info(store, &info);
  gauge(out, "skerry_store_healthy", "1: reads and writes work.", info.health == KV_HEALTHY);
  counter(out, "skerry_commits_total", "Transactions that were committed.", info.commits);
  counter(out, "skerry_commit_groups_total", "Groups of them that were written at once.", info.groups);
  counter(out, "skerry_syncs_total", "Writes of the log to the medium.", info.syncs);
  counter(out, "skerry_written_bytes_total", "Bytes that commits wrote.", info.written_bytes);
  gauge(out, "skerry_commit_queue", "Transactions that wait for the commit thread.", info.commit_queue_len);
  gauge(out, "skerry_store_cache_bytes", "The block cache.", info.cache_bytes);
  gauge(out, "skerry_store_write_buffer_bytes", "Memory of what was written last.", info.write_buffer_bytes);
  gauge(out, "skerry_store_data_bytes", "The store on disk.", info.data_bytes);
  gauge(out, "skerry_disk_free_bytes", "Free on the store's disk.", info.disk_free_bytes);
  gauge(out, "skerry_clock_trusted", "1: commit times follow the wall clock.", info.clock_trusted);
}

void admin_metrics(const struct admin *admin, struct buf *out) {
  head(out, "skerry_build_info", "gauge", "1, with the version.");
  buf_printf(out, "skerry_build_info{version=\"%s\"} 1\n", SKERRY_VERSION);
  int64_t up_us = admin->port->monotonic_us(admin->port) - admin->started_monotonic_us;
  gauge(out, "skerry_uptime_seconds", "Since the start.", (uint64_t)(up_us / 1000000));
  gauge(out, "skerry_resident_bytes", "Memory of the process.",
        admin->port->memory(admin->port).resident_bytes);
  gauge(out, "skerry_memory_limit_bytes", "The setting memory_limit.", admin->memory_limit_bytes);
  gauge(out, "skerry_transactions_open", "Transactions of clients.",
        firestore_service_transactions_open(admin->firestore));
  put_calls(admin->server, out);
  put_connections(admin->front, out);
  put_certificates(front_tls(admin->front), out);
  put_store(admin->store, out);
}

/* ---- GET /metrics ---- */

static bool is_local(const struct rpc_peer *peer) {
  str address = str_from_cstr(peer->address);
  return peer->is_local_socket || str_has_prefix(address, STR("127.")) ||
         str_has_prefix(address, STR("[::1]:"));
}

static void answer(struct admin *admin, struct gateway_request *request) {
  struct buf out = {0};
  if (atomic_load(&admin->state) == ADMIN_STARTING) {
    gateway_answer_status(request, status_default(STATUS_UNAVAILABLE));
    return;
  }
  admin_metrics(admin, &out);
  if (out.failed)
    gateway_answer_status(request, status_default(STATUS_RESOURCE_EXHAUSTED));
  else
    gateway_answer(request, 200, METRICS_CONTENT_TYPE, buf_str(&out));
  buf_fini(&out);
}

static void answer_everybody(void *argument, struct gateway_request *request) {
  answer(argument, request);
}

static void answer_local(void *argument, struct gateway_request *request) {
  if (is_local(gateway_request_peer(request)))
    answer(argument, request);
  else
    gateway_answer_status(request, status_make(STATUS_NOT_FOUND, "There is nothing at GET /metrics."));
}

status admin_metrics_register(struct admin *admin, struct gateway *gateway, bool for_everybody) {
  return gateway_route(gateway, "GET", "/metrics", for_everybody ? answer_everybody : answer_local, admin);
}
