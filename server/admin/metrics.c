#include "server/admin/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/admin/accounts.h"
#include "server/admin/metrics_text.h"
#include "server/listener/tls.h"

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

static void put_duration(void *argument, const struct rpc_method_stats *stats) {
  char label[256];
  int length = snprintf(label, sizeof label, "method=\"%s\"", stats->method->path);
  if (stats->latency_us.total > 0 && length > 0 && (size_t)length < sizeof label)
    metrics_histogram_us(argument, "skerry_call_duration_seconds", label, &stats->latency_us);
}

static void put_calls(struct rpc_server *server, struct buf *out) {
  struct rpc_server_stats stats;
  rpc_server_stats(server, &stats);
  metrics_gauge(out, "skerry_calls_active", "Calls under way.", stats.calls_active);
  metrics_counter(out, "skerry_calls_shed_total", "Calls refused because they had waited for too long.",
                  stats.shed);
  metrics_counter(out, "skerry_calls_turned_away_total", "Of these, at the door, before they were read.",
                  stats.turned_away);
  metrics_gauge(out, "skerry_overloaded", "1 while calls are refused so.", stats.is_shedding);
  metrics_head(out, "skerry_calls_started_total", "counter", "Calls that began.");
  rpc_server_visit_methods(server, put_started, out);
  metrics_head(out, "skerry_calls_finished_total", "counter",
               "Calls that ended, by the code that they ended with.");
  rpc_server_visit_methods(server, put_codes, out);
  metrics_head(out, "skerry_messages_received_total", "counter", "Messages of requests.");
  rpc_server_visit_methods(server, put_received, out);
  metrics_head(out, "skerry_messages_sent_total", "counter", "Messages of responses.");
  rpc_server_visit_methods(server, put_sent, out);
  metrics_head(out, "skerry_call_duration_seconds", "histogram",
               "From arrival to the end, of calls that ended; of streams that is how long they lasted.");
  rpc_server_visit_methods(server, put_duration, out);
}

/* ---- The rest ---- */

static void put_connections(struct front *front, struct buf *out) {
  struct front_stats stats;
  front_stats(front, &stats);
  metrics_gauge(out, "skerry_connections", "Connections that are open.", stats.listener.open);
  metrics_counter(out, "skerry_connections_accepted_total", "Connections that came.",
                  stats.listener.accepted);
  metrics_counter(out, "skerry_connections_refused_total", "For a limit, silence, or another protocol.",
                  stats.listener.refused);
  metrics_gauge(out, "skerry_http_connections", "Connections of HTTP/1.1.", stats.gateway.open);
  metrics_counter(out, "skerry_http_requests_total", "Requests over HTTP/1.1.", stats.gateway.requests);
  metrics_counter(out, "skerry_http_refused_total", "Requests over HTTP/1.1 that reached no method.",
                  stats.gateway.refused);
  metrics_gauge(out, "skerry_http_large_bodies_queue", "Large bodies of requests that wait to be read.",
                stats.gateway.bodies_waiting);
  metrics_counter(out, "skerry_http_offences_total", "Connections of HTTP/1.1 ended for what they sent.",
                  stats.pumps.http_offences);
  metrics_gauge(out, "skerry_http_line", "Connections of HTTP/1.1 in line for a place.",
                stats.pumps.http_line);
  metrics_counter(out, "skerry_http_busy_total", "Connections of HTTP/1.1 told that there was no place.",
                  stats.pumps.http_busy);
  metrics_counter(out, "skerry_tls_handshakes_total", "TLS handshakes that succeeded.",
                  stats.pumps.handshakes);
  metrics_counter(out, "skerry_tls_resumed_total", "Of these, by a ticket.", stats.pumps.resumed);
  metrics_counter(out, "skerry_tls_handshakes_failed_total", "TLS handshakes that failed.",
                  stats.pumps.handshakes_failed);
  metrics_head(out, "skerry_guard_offences_total", "counter",
               "Connections of HTTP/2 ended for what they sent.");
  for (int i = 0; i < GUARD_OFFENCE_COUNT; i++)
    if (i != GUARD_NO_OFFENCE)
      buf_printf(out, "skerry_guard_offences_total{offence=\"%s\"} %" PRIu64 "\n",
                 guard_offence_name((enum guard_offence)i), stats.pumps.offences[i]);
}

static void put_certificates(struct tls *tls, struct buf *out) {
  struct tls_certificate_info info;
  if (tls == NULL)
    return;
  metrics_head(out, "skerry_certificate_not_after_seconds", "gauge",
               "When the certificate expires, since 1970.");
  for (size_t i = 0; i < SETTINGS_LISTEN_MAX && tls_certificate(tls, i, &info); i++)
    buf_printf(out, "skerry_certificate_not_after_seconds{index=\"%zu\"} %" PRId64 "\n", i,
               (int64_t)info.not_after_s);
}

/* Figures of one name follow each other. */
struct figures {
  struct buf *out;
  const char *last;
};

static void put_figure(void *argument, const struct kv_figure *figure) {
  struct figures *figures = argument;
  char name[96];
  snprintf(name, sizeof name, "skerry_%s", figure->name);
  if (figures->last == NULL || strcmp(figures->last, figure->name) != 0)
    metrics_head(figures->out, name, figure->is_counter ? "counter" : "gauge", figure->help);
  figures->last = figure->name;
  if (figure->label_name != NULL)
    buf_printf(figures->out, "%s{%s=\"%s\"} %" PRIu64 "\n", name, figure->label_name, figure->label,
               figure->value);
  else
    buf_printf(figures->out, "%s %" PRIu64 "\n", name, figure->value);
}

static void put_store(struct kv_store *store, const struct kv_info *info, int64_t wall_us, struct buf *out) {
  metrics_gauge(out, "skerry_store_healthy", "1: reads and writes work.", info->health == KV_HEALTHY);
  metrics_counter(out, "skerry_commits_total", "Transactions that were committed.", info->commits);
  metrics_counter(out, "skerry_commit_groups_total", "Groups of them that were written at once.",
                  info->groups);
  metrics_head(out, "skerry_commit_group_size", "histogram", "Transactions in a group.");
  metrics_histogram_count(out, "skerry_commit_group_size", "", &info->group_size);
  metrics_head(out, "skerry_commit_write_seconds", "histogram",
               "Writing a group to the log, with the sync where each write is synced.");
  metrics_histogram_us(out, "skerry_commit_write_seconds", "", &info->group_write_us);
  metrics_counter(out, "skerry_syncs_total", "Writes of the log to the medium.", info->syncs);
  metrics_head(out, "skerry_background_sync_seconds", "histogram",
               "Syncs of the log apart from writes, where not each write is synced (sync = relaxed).");
  metrics_histogram_us(out, "skerry_background_sync_seconds", "", &info->late_sync_us);
  metrics_counter(out, "skerry_written_bytes_total", "Bytes that commits wrote.", info->written_bytes);
  metrics_gauge(out, "skerry_commit_queue", "Transactions that wait for the commit thread.",
                info->commit_queue_len);
  metrics_gauge(out, "skerry_store_keys", "Keys of the store, estimated.", info->keys_estimate);
  metrics_gauge(out, "skerry_store_data_bytes", "The store on disk.", info->data_bytes);
  metrics_gauge(out, "skerry_disk_free_bytes", "Free on the disk of the store.", info->disk_free_bytes);
  metrics_gauge(out, "skerry_disk_size_bytes", "The size of that disk.", info->disk_total_bytes);
  metrics_gauge(out, "skerry_clock_trusted", "1: commit times follow the wall clock.", info->clock_trusted);
  metrics_head(
      out, "skerry_clock_ahead_seconds", "gauge",
      "How far commit times are ahead of the wall clock; much, if it was set back or began in 1970.");
  buf_printf(out, "skerry_clock_ahead_seconds %.6f\n", (double)(info->now - wall_us) / 1e6);
  struct figures figures = {.out = out};
  kv_figures(store, put_figure, &figures);
}

static void put_live(const struct firestore_stats *stats, struct buf *out) {
  metrics_gauge(out, "skerry_transactions_open", "Transactions of clients.", stats->transactions);
  metrics_gauge(out, "skerry_listen_streams", "Listen streams that are open.", stats->listen_streams);
  metrics_gauge(out, "skerry_listen_targets", "Targets that they watch.", stats->listen_targets);
  metrics_gauge(out, "skerry_listen_queue", "Streams with news that wait for a thread.",
                stats->listen_queued);
  metrics_gauge(out, "skerry_listen_evaluating", "Streams whose targets are being read.",
                stats->listen_evaluating);
  metrics_gauge(out, "skerry_listen_evaluation_queue", "Streams that wait for that.", stats->listen_waiting);
  metrics_counter(out, "skerry_listeners_lost_total",
                  "Times that a client read too slowly and had to catch up.", stats->listeners_lost);
}

static void put_tokens(struct tokens *tokens, struct buf *out) {
  struct identity_cache_stats stats;
  tokens_cache_stats(tokens, &stats);
  metrics_counter(out, "skerry_tokens_cache_hits_total", "Tokens that were known.", stats.hits);
  metrics_counter(out, "skerry_tokens_cache_misses_total", "Tokens that were checked.", stats.misses);
  metrics_gauge(out, "skerry_tokens_cache_entries", "Tokens that are known.", stats.entries);
  metrics_gauge(out, "skerry_tokens_cache_bytes", "Their memory.", stats.bytes);
  size_t count = tokens_issuer_count(tokens);
  if (count > 0)
    metrics_head(out, "skerry_issuer_failures", "gauge",
                 "Requests for the keys of an issuer that failed in a row; the last ones are kept.");
  for (size_t i = 0; i < count; i++) {
    struct issuers_info info;
    tokens_issuer_info(tokens, i, &info);
    buf_printf(out, "skerry_issuer_failures{index=\"%zu\"} %u\n", i, info.failures);
  }
}

static void put_mails(struct mail *mail, struct buf *out) {
  struct outbox_info info;
  mail_info(mail, &info);
  metrics_gauge(out, "skerry_mails_waiting", "Mails that wait to be sent.", info.waiting);
  metrics_seconds(out, "skerry_mails_oldest_time_seconds", "gauge",
                  "When the oldest of them was made, since 1970; 0: none waits.", (uint64_t)info.oldest_us);
  metrics_head(out, "skerry_mails_total", "counter", "Mails that wait no more.");
  buf_printf(out, "skerry_mails_total{end=\"sent\"} %" PRIu64 "\n", info.sent);
  buf_printf(out, "skerry_mails_total{end=\"refused\"} %" PRIu64 "\n", info.refused);
  buf_printf(out, "skerry_mails_total{end=\"expired\"} %" PRIu64 "\n", info.expired);
}

/* ---- Memory and the process ---- */

struct share {
  const char *name;
  uint64_t bytes, bytes_max;
};

static void put_shares(const struct admin *admin, const struct kv_info *store,
                       const struct firestore_stats *documents, struct buf *out) {
  struct rpc_server_stats calls;
  rpc_server_stats(admin->server, &calls);
  struct front_stats front;
  front_stats(admin->front, &front);
  const struct share shares[] = {
      {"calls", calls.calls_memory_bytes, calls.calls_memory_bytes_max},
      {"http", front.gateway.memory_bytes, front.gateway.memory_bytes_max},
      {"listen", documents->listen_memory_bytes, documents->listen_memory_bytes_max},
      {"transactions", documents->transactions_memory_bytes, documents->transactions_memory_bytes_max},
      {"store_cache", store->cache_bytes, 0},
      {"store_write_buffers", store->write_buffer_bytes, 0},
  };
  const size_t count = sizeof shares / sizeof *shares;
  metrics_head(out, "skerry_memory_bytes", "gauge", "What each part holds.");
  for (size_t i = 0; i < count; i++)
    buf_printf(out, "skerry_memory_bytes{share=\"%s\"} %" PRIu64 "\n", shares[i].name, shares[i].bytes);
  metrics_head(out, "skerry_memory_share_limit_bytes", "gauge", "What it may hold; past it, it refuses.");
  for (size_t i = 0; i < count; i++)
    if (shares[i].bytes_max > 0)
      buf_printf(out, "skerry_memory_share_limit_bytes{share=\"%s\"} %" PRIu64 "\n", shares[i].name,
                 shares[i].bytes_max);
}

static void put_process(const struct admin *admin, struct buf *out) {
  struct port_process process;
  port_process_read(&process);
  metrics_seconds(out, "process_start_time_seconds", "gauge", "When it was started, since 1970.",
                  (uint64_t)admin->started_wall_us);
  metrics_seconds(out, "process_cpu_seconds_total", "counter", "Time that its threads ran.", process.cpu_us);
  metrics_gauge(out, "process_resident_memory_bytes", "Resident memory.",
                admin->port->memory(admin->port).resident_bytes);
  metrics_gauge(out, "process_resident_memory_max_bytes", "The most that it ever was.",
                process.resident_bytes_max);
  metrics_counter(out, "process_major_page_faults_total", "Page faults that needed the disk.",
                  process.page_faults);
  metrics_counter(out, "skerry_disk_read_bytes_total", "What it read of the disk, past the system's cache.",
                  process.disk_read_bytes);
  metrics_counter(out, "skerry_disk_written_bytes_total", "What it wrote to the disk.",
                  process.disk_written_bytes);
  metrics_gauge(out, "process_threads", "Threads.", process.threads);
  metrics_gauge(out, "process_open_fds", "Open descriptors.", process.descriptors);
  metrics_gauge(out, "process_max_fds", "How many there may be.", admin->port->descriptors_max(admin->port));
  metrics_gauge(out, "skerry_memory_limit_bytes", "The setting memory_limit.", admin->memory_limit_bytes);
  struct relief_info relief;
  relief_info(admin->relief, &relief);
  metrics_gauge(out, "skerry_memory_surroundings_used_bytes",
                "Used of the control group, or the machine, that is fullest.", relief.used_bytes);
  metrics_gauge(out, "skerry_memory_surroundings_limit_bytes", "What there is of it.", relief.limit_bytes);
  metrics_gauge(out, "skerry_caches_sixteenths",
                "What caches may have of their share; 16 unless memory is short.",
                relief_sixteenths(relief.level));
  metrics_counter(out, "skerry_memory_relief_total", "Steps by which caches shrank because memory was short.",
                  relief.steps_down);
}

static void put_backups(struct backups *backups, struct buf *out) {
  struct backups_facts facts;
  backups_facts(backups, &facts);
  metrics_gauge(out, "skerry_backup_scheduled", "1: the settings say when backups are made.",
                facts.is_scheduled);
  metrics_gauge(out, "skerry_backup_running", "1: one is being made.", facts.is_running);
  metrics_counter(out, "skerry_backups_total", "Backups that were made and verified.", facts.succeeded);
  metrics_counter(out, "skerry_backups_failed_total", "Backups that failed.", facts.failed);
  metrics_gauge(out, "skerry_backup_failures", "Scheduled ones that failed in a row.", facts.failures);
  metrics_counter(out, "skerry_backup_copied_bytes_total", "Bytes of the store that they copied.",
                  facts.copied_bytes);
  metrics_seconds(out, "skerry_backup_last_success_seconds", "gauge",
                  "When the last one began, since 1970; 0: none.", (uint64_t)facts.last_success_us);
  metrics_seconds(out, "skerry_backup_last_duration_seconds", "gauge", "How long it took.",
                  (uint64_t)facts.last_duration_us);
}

void admin_metrics(const struct admin *admin, struct buf *out) {
  struct kv_info store;
  kv_info(admin->store, &store);
  struct firestore_stats documents;
  firestore_service_stats(admin->firestore, &documents);
  metrics_head(out, "skerry_build_info", "gauge", "1, with the version.");
  buf_printf(out, "skerry_build_info{version=\"%s\"} 1\n", SKERRY_VERSION);
  put_process(admin, out);
  put_shares(admin, &store, &documents, out);
  put_calls(admin->server, out);
  put_connections(admin->front, out);
  put_certificates(front_tls(admin->front), out);
  put_tokens(admin->tokens, out);
  admin_accounts_metrics(admin, out);
  put_mails(admin->mail, out);
  put_live(&documents, out);
  put_store(admin->store, &store, admin->port->wall_us(admin->port), out);
  put_backups(admin->backups, out);
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
