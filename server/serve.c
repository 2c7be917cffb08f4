/* `skerry serve`: puts the parts together, waits for a signal, takes them apart.
 *
 *   settings -> store -> indexes -> mails, accounts -> who may call -> services, at last the program's own
 *   -> runtimes (public, admin) -> listeners -> serving
 *
 * SIGTERM or SIGINT: health says NOT_SERVING, connections are asked to go away, calls under way finish or are
 * cancelled at the deadline (drain_timeout), the store closes, exit 0. A second one ends the process at once:
 * what was acknowledged is on the medium anyway. So do handlers that have not finished their calls some time
 * after those were cancelled: they may use the store, so it cannot be closed. SIGHUP: certificates and rules
 * are read again; in development, where it comes from a terminal that closes, it ends like the others.
 *
 * A service manager that speaks systemd's protocols may hand over sockets (instead of `listen`), hears
 * READY, RELOADING, STOPPING and STATUS, and while the server is alive (life.h) WATCHDOG. */
#include "server/serve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "ports/port.h"
#include "server/admin/admin.h"
#include "server/admin/metrics.h"
#include "server/backup/backups.h"
#include "server/embed/documents_inside.h"
#include "server/embed/server.h"
#include "server/emulator.h"
#include "server/firestore/rest_names.h"
#include "server/firestore/service.h"
#include "server/front.h"
#include "server/gateway/gateway.h"
#include "server/identity/password.h"
#include "server/identity/service.h"
#include "server/index_file.h"
#include "server/life.h"
#include "server/listener/listener.h"
#include "server/listener/socket.h"
#include "server/mail_settings.h"
#include "server/profile.h"
#include "server/relief.h"
#include "server/rules_source.h"
#include "server/settings.h"
#include "server/sign_in.h"
#include "storage/index/build.h"
#include "storage/rocksdb/store.h"

enum {
  ADMIN_SOCKET_PATH_MAX = 4096, /* and of the directory for queries */
  CORES_A_GATEWAY_THREAD = 4,
  CORES_A_HASH_THREAD = 4,           /* checks of passwords leave the other cores to the rest */
  TRIM_INTERVAL_S = 2,               /* between two walks through the heap */
  TRIM_TIMES = 3,                    /* after each growth */
  TRIM_GROWTH_BYTES = 512 * 1024,    /* that are worth one */
  TRIM_FREE_BYTES = 2 * 1024 * 1024, /* likewise: what has become free in the heap since the last */
  TRIM_FREE_INTERVAL_S = 5,          /* between two looks for that */
  SETTLE_PART = 4, /* less than such a part of memory_limit is left: pages of files are given back */
  ENTROPY_WAIT_MS = 60 * 1000, /* seeds come with the first interrupts, or the disk's */
  OWN_SERVICES_MAX = 64,       /* of the program */
  /* For handlers to finish calls that were cancelled; with drain_timeout's 10 s less than the 30 s after
   * which a service manager kills. */
  HANDLERS_GRACE_US = 15 * 1000000,
};

/* What `start` of a program sees. */
struct skerry_server {
  const struct skerry_program *program;
  struct rpc_server *rpc;
  struct skerry_documents *documents;
  const char *services[OWN_SERVICES_MAX]; /* their names */
  size_t service_count;
  bool is_started; /* `stop` is owed */
};

struct server {
  struct settings settings;
  struct skerry_server own;
  struct port *port;
  const struct profile *profile;
  struct memory_plan memory;
  struct kv_store *store;
  struct index_set *indexes;
  struct index_worker *index_worker;
  struct index_advisor *advisor;
  struct identity_service *identity; /* NULL: no accounts */
  struct mail *mail;
  struct sign_in *sign_in;
  struct access *access;
  struct rules_source *rules;
  struct emulator emulator;
  struct firestore_service *firestore;
  struct rpc_server *rpc, *admin_rpc; /* the admin service has a runtime of its own: see admin.h */
  struct front *front;
  struct listener *admin_listener;
  struct backups *backups;
  struct admin admin;
  struct life life;
  struct relief *relief;
  struct port_socket sockets[PORT_SOCKETS_MAX]; /* of the service manager */
  unsigned socket_count;
  char told[320]; /* the service manager, last */
  const char *addresses[SETTINGS_LISTEN_MAX];
  char admin_address[ADMIN_SOCKET_PATH_MAX];
  char spill_directory[ADMIN_SOCKET_PATH_MAX];
  size_t memory_limit_bytes;
};

static status open_store(struct server *server) {
  const struct settings *s = &server->settings;
  struct kv_rocksdb_options options = {
      .directory = s->data,
      .port = server->port,
      .sync = (enum kv_sync)s->sync,
      .memory_bytes = (size_t)server->memory.store,
      .tuning = server->profile->store,
      .history_us = s->history_ms * 1000,
      .change_log_us = s->change_log_ms * 1000,
      .change_log_max_bytes = (uint64_t)s->change_log_max_bytes,
      .free_space_min_bytes = (uint64_t)s->free_space_min_bytes,
      .clock_trusted = s->dev || s->clock == SETTINGS_CLOCK_TRUSTED,
  };
  return kv_rocksdb_open(&options, &server->store);
}

/* Where queries sort what does not fit into memory. */
static status make_spill_directory(struct server *server) {
  int length =
      snprintf(server->spill_directory, sizeof server->spill_directory, "%s/spill", server->settings.data);
  if (length < 0 || (size_t)length >= sizeof server->spill_directory)
    return status_make(STATUS_INVALID_ARGUMENT, "The path of the data directory is too long.");
  if (mkdir(server->spill_directory, 0700) != 0 && errno != EEXIST)
    return status_make(STATUS_UNAVAILABLE, "The directory %s cannot be made: %s", server->spill_directory,
                       strerror(errno));
  return status_ok();
}

/* The definitions of the file that the settings name. Where nothing can be written now, the old ones go on.
 */
static status apply_index_file(struct server *server) {
  const char *path = server->settings.indexes;
  struct arena arena;
  struct buf text = {0};
  struct index_definitions definitions;
  arena_init(&arena, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  status s = index_file_read(path, &text);
  if (status_is_ok(&s)) {
    s = index_definitions_parse(buf_str(&text), &arena, &definitions);
    if (!status_is_ok(&s))
      s = status_make(s.code, "%s: %s", path, s.message);
  }
  if (status_is_ok(&s)) {
    s = index_set_apply(server->indexes, &definitions);
    if (s.code == STATUS_RESOURCE_EXHAUSTED || s.code == STATUS_UNAVAILABLE) {
      log_event(LOG_LEVEL_WARN, "index definitions are not applied", LOG_CSTR("reason", s.message));
      s = status_ok();
    }
  }
  buf_fini(&text);
  arena_fini(&arena);
  return s;
}

static status start_indexes(struct server *server) {
  STATUS_TRY(index_set_open(server->store, &server->indexes));
  if (*server->settings.indexes != '\0')
    STATUS_TRY(apply_index_file(server));
  server->advisor = index_advisor_new(server->port);
  if (server->advisor == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  struct index_worker_options options = {
      .store = server->store, .set = server->indexes, .port = server->port};
  return index_worker_start(&options, &server->index_worker);
}

static struct rpc_server_options rpc_options(const struct server *server) {
  const struct settings *s = &server->settings;
  return (struct rpc_server_options){
      .port = server->port,
      .threads = (unsigned)s->threads,
      .message_bytes_max = (uint32_t)s->message_bytes_max,
      .call_memory_bytes_max = (uint32_t)s->call_memory_bytes_max,
      .metadata_bytes_max = (uint32_t)s->metadata_bytes_max,
      .streams_per_connection_max = (uint32_t)s->streams_per_connection_max,
      .send_queue_bytes_max = (uint32_t)s->send_queue_bytes_max,
      .calls_memory_bytes_max = (size_t)server->memory.calls,
      /* Half of the calls' share counts too, before its least size: what is complete is a call's. */
      .connections_memory_bytes_max =
          (size_t)(server->memory.connections + server->memory.connections / 12 * 7),
      .calls_max = (uint32_t)s->calls_max,
      .keepalive_ms = (uint32_t)s->keepalive_ms,
      .keepalive_timeout_ms = (uint32_t)s->keepalive_timeout_ms,
      .connection_age_max_ms = (uint32_t)s->connection_age_max_ms,
      .connection_idle_max_ms = (uint32_t)s->connection_idle_max_ms,
      .reflection = true,
      .shed_target_ms = (uint32_t)s->shed_target_ms,
      .sheds_never = s->shed_target_ms == 0,
      .slow_call_ms = (uint32_t)s->slow_call_log_ms,
      .access_log = s->access_log,
  };
}

static bool has_accounts(const struct settings *s) {
  return s->accounts == SETTINGS_ACCOUNTS_ON || (s->accounts == SETTINGS_ACCOUNTS_AUTO && s->dev);
}

static status start_mail(struct server *server) {
  struct mail_options options = mail_settings_options(&server->settings, server->store, server->port);
  return mail_open(&options, &server->mail);
}

static struct crypto_scrypt_cost password_cost(const struct server *server) {
  if (server->settings.memory_limit_bytes < MEMORY_PLAN_TIGHT)
    return PASSWORD_COST_TIGHT;
  return server->profile->costly_passwords ? PASSWORD_COST_LARGE : PASSWORD_COST_SMALL;
}

static status start_accounts(struct server *server) {
  const struct settings *s = &server->settings;
  if (!has_accounts(s))
    return status_ok();
  struct identity_service_options options = {
      .store = server->store,
      .port = server->port,
      .directory = s->data,
      .projects = (const char *const *)s->projects.items,
      .project_count = s->projects.count,
      .dev = s->dev,
      .sign_up_closed = s->sign_up == SETTINGS_SIGN_UP_CLOSED,
      .issuer = s->identity_issuer,
      .algorithm = s->id_token == SETTINGS_ID_TOKEN_RS256 ? CRYPTO_RS256 : CRYPTO_ES256,
      .tokens_unsigned = s->id_token == SETTINGS_ID_TOKEN_NONE,
      .id_token_lifetime_s = s->id_token_lifetime_ms / 1000,
      .refresh_grace_us = s->refresh_grace_ms * 1000,
      .anonymous_lifetime_us = s->anonymous_lifetime_ms * 1000,
      .session_lifetime_us = s->session_lifetime_ms * 1000,
      .mail = server->mail,
      .action_url = s->dev && *s->action_url == '\0' ? "http://localhost/auth/action" : s->action_url,
      .link_origins = (const char *const *)s->link_origins.items,
      .link_origin_count = s->link_origins.count,
      .hash_memory_bytes = (size_t)server->memory.passwords,
      .cost = password_cost(server),
      .hash_threads = 1 + (server->port->cores(server->port) - 1) / CORES_A_HASH_THREAD,
  };
  return identity_service_new(&options, &server->identity);
}

static status start_access(struct server *server) {
  const struct settings *s = &server->settings;
  struct tokens_own own = {0};
  if (server->identity != NULL)
    own = identity_service_tokens(server->identity);
  STATUS_TRY(sign_in_open(s, server->port, &own, &server->sign_in));
  struct access_options options = {.mode = (enum access_mode)s->access,
                                   .dev = s->dev,
                                   .port = server->port,
                                   .store = server->store,
                                   .tokens = sign_in_tokens(server->sign_in)};
  STATUS_TRY(access_new(&options, &server->access));
  struct rules_source_options rules = {
      .access = server->access, .file = *s->rules == '\0' ? NULL : s->rules, .directory = s->data};
  return rules_source_open(&rules, &server->rules);
}

/* 0 is a share of the medium of the data, and backups lie on another. */
static uint64_t backup_space_min(const struct settings *s) {
  return s->free_space_min_bytes > 0 ? (uint64_t)s->free_space_min_bytes : ARCHIVE_FREE_SPACE_MIN_BYTES;
}

static status start_backups(struct server *server) {
  const struct settings *s = &server->settings;
  struct backups_options options = {
      .store = server->store,
      .port = server->port,
      .data = s->data,
      .program = SKERRY_VERSION,
      .directory = s->backup_dir,
      .keep = (uint64_t)s->backup_keep,
      .age_us = s->backup_keep_for_ms * 1000,
      .bytes_per_second = (uint64_t)s->backup_bytes_per_second,
      .free_space_min_bytes = backup_space_min(s),
  };
  STATUS_TRY(schedule_parse(s->backup_schedule, &options.schedule));
  return backups_open(&options, &server->backups);
}

/* ---- The program's own services ---- */

status skerry_server_add_service(struct skerry_server *server, const struct rpc_service *service,
                                 const void *handlers, void *state) {
  if (server->service_count == OWN_SERVICES_MAX)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "A program has at most %d services of its own.",
                       (int)OWN_SERVICES_MAX);
  STATUS_TRY(rpc_server_add_service(server->rpc, service, handlers, state));
  server->services[server->service_count++] = service->name;
  return status_ok();
}

struct skerry_documents *skerry_server_documents(struct skerry_server *server) {
  return server->documents;
}

static status start_own_services(struct server *server) {
  const struct skerry_program *program = server->own.program;
  const char *project = server->settings.projects.count > 0 ? server->settings.projects.items[0] : "skerry";
  STATUS_TRY(skerry_documents_new(server->firestore, project, &server->own.documents));
  server->own.rpc = server->rpc;
  if (program->start == NULL)
    return status_ok();
  server->own.is_started = true;
  return program->start(&server->own, program->argument);
}

static void stop_own_services(struct server *server) {
  const struct skerry_program *program = server->own.program;
  if (server->own.is_started && program->stop != NULL)
    program->stop(program->argument);
  skerry_documents_free(server->own.documents);
}

static status start_services(struct server *server) {
  const struct settings *s = &server->settings;
  STATUS_TRY(make_spill_directory(server));
  struct firestore_options firestore = {
      .store = server->store,
      .port = server->port,
      .indexes = server->indexes,
      .advisor = server->advisor,
      .queries = {.index_mode = (enum query_index_mode)s->index_mode,
                  .memory_bytes_max = (size_t)s->query_memory_bytes_max,
                  .spill_bytes_max = (uint64_t)s->query_spill_bytes_max,
                  .spill_directory = server->spill_directory},
      .access = server->access,
      .transactions_memory_bytes_max = (size_t)server->memory.transactions,
      .listen_memory_bytes_max = (size_t)server->memory.listen,
      .projects = (const char *const *)s->projects.items,
      .project_count = s->projects.count,
      .any_project = s->dev,
      .limits = {.document_bytes = (size_t)s->document_bytes_max},
  };
  STATUS_TRY(firestore_service_new(&firestore, &server->firestore));
  struct rpc_server_options options = rpc_options(server);
  STATUS_TRY(rpc_server_new(&options, &server->rpc));
  STATUS_TRY(firestore_service_register(server->firestore, server->rpc));
  if (server->identity != NULL)
    STATUS_TRY(identity_service_register(server->identity, sign_in_tokens(server->sign_in), server->access,
                                         server->rpc));
  STATUS_TRY(start_own_services(server));
  STATUS_TRY(rpc_server_start(server->rpc));

  struct rpc_server_options admin_options = {.port = server->port,
                                             .threads = 1,
                                             .polled_by_another = true,
                                             .administration = true,
                                             .reflection = true};
  STATUS_TRY(rpc_server_new(&admin_options, &server->admin_rpc));
  STATUS_TRY(firestore_service_register(server->firestore, server->admin_rpc)); /* export and import */
  server->admin.store = server->store;
  server->admin.tokens = sign_in_tokens(server->sign_in);
  server->admin.access = server->access;
  server->admin.rules = server->rules;
  server->admin.mail = server->mail;
  server->admin.identity = server->identity;
  server->admin.indexes = server->indexes;
  server->admin.index_worker = server->index_worker;
  server->admin.advisor = server->advisor;
  server->admin.server = server->rpc;
  server->admin.firestore = server->firestore;
  server->admin.addresses = server->addresses;
  server->admin.memory_limit_bytes = server->memory_limit_bytes;
  server->admin.profile = server->profile;
  STATUS_TRY(start_backups(server));
  server->admin.backups = server->backups;
  STATUS_TRY(admin_register(&server->admin, server->admin_rpc));
  return rpc_server_start(server->admin_rpc);
}

static void adopt_admin(void *argument, int fd, const struct rpc_peer *peer) {
  struct server *server = argument;
  rpc_server_adopt(server->admin_rpc, fd, peer);
}

static status open_gateway(struct server *server, struct gateway **ret) {
  static const char *const everybody[] = {"*"};
  static const char *const lenient[] = {"skerry.identity.v1.Accounts", "skerry.identity.v1.AccountAdmin"};
  const struct settings *s = &server->settings;
  bool any_origin = s->dev && s->cors_origins.count == 0;
  struct gateway_options options = {
      .port = server->port,
      .rpc = server->rpc,
      .threads = 1 + server->port->cores(server->port) / CORES_A_GATEWAY_THREAD,
      .body_bytes_max = (uint32_t)s->http_body_bytes_max,
      .message_bytes_max = (uint32_t)s->message_bytes_max,
      .head_timeout_ms = (uint32_t)s->handshake_timeout_ms,
      .idle_timeout_ms = (uint32_t)s->http_idle_timeout_ms,
      .memory_bytes_max = server->memory.http,
      .cors_origins = any_origin ? everybody : (const char *const *)s->cors_origins.items,
      .cors_origin_count = any_origin ? 1 : s->cors_origins.count,
      .dev = s->dev,
      .lenient_services = lenient,
      .lenient_service_count = sizeof lenient / sizeof lenient[0],
      .fits = firestore_rest_fits,
  };
  return gateway_open(&options, ret);
}

static status start_listening(struct server *server) {
  const struct settings *s = &server->settings;
  struct gateway *gateway;
  server->emulator = (struct emulator){server->firestore, server->rules, server->identity, server->mail};
  STATUS_TRY(open_gateway(server, &gateway));
  status registered = s->dev ? emulator_register(gateway, &server->emulator) : status_ok();
  if (s->metrics != SETTINGS_METRICS_OFF && status_is_ok(&registered))
    registered = admin_metrics_register(&server->admin, gateway, s->metrics == SETTINGS_METRICS_ALL);
  if (!status_is_ok(&registered)) {
    gateway_close(gateway);
    return registered;
  }
  STATUS_TRY(front_open(s, server->port, server->rpc, gateway, &server->front));
  server->admin.front = server->front;
  server->admin.address_count = s->listen.count;
  for (unsigned i = 0; i < s->listen.count; i++)
    server->addresses[i] = front_address(server->front, i);

  int wanted = snprintf(server->admin_address, sizeof server->admin_address, "unix:%s/admin.sock", s->data);
  if (wanted < 0 || (size_t)wanted >= sizeof server->admin_address)
    return status_make(STATUS_INVALID_ARGUMENT, "The path of the data directory is too long.");
  const char *admin_addresses[] = {server->admin_address};
  struct listener_options admin_options = {.port = server->port,
                                           .addresses = admin_addresses,
                                           .address_count = 1,
                                           .connections_max = 64,
                                           .on_connection = adopt_admin,
                                           .argument = server};
  return listener_open(&admin_options, &server->admin_listener);
}

/* ---- The service manager ---- */

/* What it shows as the state of the service. */
static void tell_status(struct server *server, const char *state, const char *reason) {
  char text[sizeof server->told];
  snprintf(text, sizeof text, "STATUS=%s%s%s", state, *reason == '\0' ? "" : ": ", reason);
  if (strcmp(text, server->told) == 0)
    return;
  memcpy(server->told, text, sizeof text);
  port_notify(text);
}

/* Sockets that it has opened are served instead of `listen`. One with the name `grpc` gives HTTP/2 to clients
 * that offer HTTP/1.1 too, as an address with ",grpc" does. */
static status take_sockets(struct server *server) {
  struct listener_socket sockets[PORT_SOCKETS_MAX];
  char addresses[PORT_SOCKETS_MAX][sizeof sockets[0].address + sizeof ",grpc"];
  const char *pointers[PORT_SOCKETS_MAX];
  int fds[PORT_SOCKETS_MAX];
  STATUS_TRY(port_sockets_take(server->sockets, &server->socket_count));
  for (unsigned i = 0; i < server->socket_count; i++) {
    STATUS_TRY(listener_socket_take(server->sockets[i].fd, &sockets[i]));
    bool is_grpc = strcmp(server->sockets[i].name, "grpc") == 0 && !sockets[i].is_unix;
    snprintf(addresses[i], sizeof addresses[i], "%s%s", sockets[i].address, is_grpc ? ",grpc" : "");
    pointers[i] = addresses[i];
    fds[i] = server->sockets[i].fd;
  }
  return server->socket_count > 0
             ? settings_take_sockets(&server->settings, fds, pointers, server->socket_count)
             : status_ok();
}

static void say_no_entropy(void) {
  log_event(LOG_LEVEL_WARN, "waiting for the kernel's random numbers, which are not seeded yet",
            LOG_INT("at_most_ms", ENTROPY_WAIT_MS));
  port_notify("STATUS=Waiting for the kernel's random numbers");
}

static status start_relief(struct server *server) {
  struct relief_options options = {
      .port = server->port, .store = server->store, .tokens = sign_in_tokens(server->sign_in)};
  STATUS_TRY(relief_start(&options, &server->relief));
  server->admin.relief = server->relief;
  return status_ok();
}

static void say_machine(const struct server *server) {
  struct port *port = server->port;
  struct port_memory memory = port->memory(port);
  log_event(LOG_LEVEL_INFO, "starting", LOG_CSTR("profile", server->profile->name),
            LOG_INT("memory_limit", server->memory_limit_bytes), LOG_INT("memory", memory.limit_bytes),
            LOG_INT("cores", port->cores(port)), LOG_INT("page_bytes", port->page_bytes(port)));
  if (server->memory_limit_bytes > memory.limit_bytes / 4 * 3)
    log_event(LOG_LEVEL_WARN,
              "memory_limit leaves little of the machine's memory, or the control group's: lower it",
              LOG_INT("memory_limit", server->memory_limit_bytes), LOG_INT("memory", memory.limit_bytes));
}

static status start(struct server *server, int argc, char **argv) {
  server->port = port_linux();
  server->admin.port = server->port;
  server->admin.settings = &server->settings;
  server->admin.started_wall_us = server->port->wall_us(server->port);
  server->admin.started_monotonic_us = server->port->monotonic_us(server->port);
  STATUS_TRY(settings_load(&server->settings, argc, argv, environ));
  log_configure((enum log_level)server->settings.log_level, (enum log_format)server->settings.log_format,
                STDERR_FILENO);
  STATUS_TRY(take_sockets(server));
  STATUS_TRY(settings_check_safe(&server->settings));
  server->profile = profile_choose((enum profile_choice)server->settings.profile, server->port,
                                   (uint64_t)server->settings.memory_limit_bytes);
  STATUS_TRY(settings_apply_profile(&server->settings, server->profile, server->port));
  server->memory_limit_bytes = (size_t)server->settings.memory_limit_bytes;
  server->memory = settings_memory_plan(&server->settings);
  STATUS_TRY(port_stack_configure((size_t)server->profile->stack_bytes));
  say_machine(server);
  STATUS_TRY(port_entropy_await(server->port, ENTROPY_WAIT_MS, say_no_entropy));
  tell_status(server, "Opening the store", "");
  STATUS_TRY(open_store(server));
  STATUS_TRY(start_indexes(server));
  STATUS_TRY(start_mail(server));
  STATUS_TRY(start_accounts(server));
  STATUS_TRY(start_access(server));
  STATUS_TRY(start_services(server));
  server->life = (struct life){
      .port = server->port, .rpc = server->rpc, .admin_rpc = server->admin_rpc, .store = server->store};
  STATUS_TRY(start_relief(server));
  return start_listening(server);
}

static void set_serving(struct server *server, bool serving) {
  rpc_server_set_serving(server->rpc, "", serving);
  rpc_server_set_serving(server->rpc, "google.firestore.v1.Firestore", serving);
  for (size_t i = 0; i < server->own.service_count; i++)
    rpc_server_set_serving(server->rpc, server->own.services[i], serving);
  if (server->identity == NULL)
    return;
  rpc_server_set_serving(server->rpc, "skerry.identity.v1.Accounts", serving);
  rpc_server_set_serving(server->rpc, "skerry.identity.v1.AccountAdmin", serving);
}

/* Whether rules decide what users may do: those of a setting, or ones that were deployed. */
static bool has_rules(const struct server *server) {
  struct rules *rules = access_rules(server->access);
  rules_unref(rules);
  return rules != NULL;
}

static void announce(const struct server *server) {
  const struct settings *s = &server->settings;
  bool ruled = has_rules(server);
  if (s->dev && ruled)
    printf("Development mode%s: rules decide for users; tokens are believed without a signature, and `Bearer "
           "owner` may do everything.\n",
           s->lan ? " ON THE NETWORK" : ", this machine only");
  else if (s->dev && s->lan)
    puts("DEVELOPMENT MODE ON THE NETWORK: everybody who reaches this port may read and write everything.");
  else if (s->dev)
    puts("Development mode: no access control, this machine only.");
  else if (s->access == ACCESS_OPEN)
    puts("OPEN ACCESS: everybody who reaches this port may read and write everything.");
  else if (s->access == ACCESS_DENY && !ruled)
    puts("Access is denied to everybody: there are no rules yet (settings `access`, `dev`).");
  for (size_t i = 0; i < server->admin.address_count; i++)
    printf("Skerry %s listens on %s\n", SKERRY_VERSION, server->addresses[i]);
  printf("Data in %s. Stop with Ctrl-C.\n", s->data);
  if (s->dev)
    printf("Try:  %s status --data %s\nApps: FIRESTORE_EMULATOR_HOST=%s and a Google Cloud SDK (README.md)\n",
           program_invocation_name, s->data, server->addresses[0]);
  fflush(stdout);
}

/* ---- The end ---- */

struct drain {
  struct server *server;
  int64_t deadline_us;
  _Atomic int64_t calls_from_us; /* from when on calls were waited for; 0: not yet */
  atomic_bool done;
};

static void *drain_thread(void *argument) {
  struct drain *drain = argument;
  front_stop_accepting(drain->server->front);
  firestore_service_stop(drain->server->firestore);
  backups_stop(drain->server->backups);
  if (drain->server->identity != NULL)
    identity_service_stop(drain->server->identity);
  atomic_store(&drain->calls_from_us, drain->server->port->monotonic_us(drain->server->port));
  rpc_server_drain(drain->server->rpc, drain->deadline_us);
  listener_stop_accepting(drain->server->admin_listener);
  rpc_server_drain(drain->server->admin_rpc, drain->deadline_us);
  atomic_store(&drain->done, true);
  return NULL;
}

static void reload_rules(struct server *server) {
  if (*server->settings.rules == '\0')
    return;
  status result = rules_source_reload(server->rules);
  if (status_is_ok(&result))
    log_event(LOG_LEVEL_INFO, "security rules reloaded", LOG_CSTR("file", server->settings.rules));
  else
    log_event(LOG_LEVEL_ERROR, "security rules not reloaded, the old ones stay in use",
              LOG_CSTR("error", result.message));
}

/* Whether one came that ends the server. */
static bool wait_signal(struct server *server, const sigset_t *signals, int64_t wait_ms) {
  struct timespec timeout = {wait_ms / 1000, (long)(wait_ms % 1000) * 1000000};
  int number = sigtimedwait(signals, NULL, &timeout);
  if (number == SIGHUP && !server->settings.dev) {
    port_notify_reloading();
    front_reload(server->front);
    reload_rules(server);
    firestore_service_tick(server->firestore); /* streams are judged by the new ones */
    port_notify("READY=1");
    return false;
  }
  return number > 0;
}

static void name_unfinished(void *argument, const struct rpc_method_stats *stats) {
  uint64_t calls = stats->started - stats->ok - stats->failed;
  if (calls == 0)
    return;
  *(bool *)argument = true;
  log_event(LOG_LEVEL_ERROR, "handlers do not finish calls that were cancelled",
            LOG_CSTR("method", stats->method->path), LOG_INT("calls", (int64_t)calls));
}

/* Whether calls are left long after they were cancelled, and waiting for them is over. */
static bool gives_up(struct server *server, const struct drain *drain) {
  int64_t from_us = atomic_load(&drain->calls_from_us);
  if (from_us < drain->deadline_us)
    from_us = from_us == 0 ? INT64_MAX - HANDLERS_GRACE_US : drain->deadline_us;
  if (server->port->monotonic_us(server->port) < from_us + HANDLERS_GRACE_US)
    return false;
  bool is_left = false;
  rpc_server_visit_methods(server->rpc, name_unfinished, &is_left);
  return is_left;
}

/* Drains while it watches for the signal that ends everything at once. */
static void drain(struct server *server, const sigset_t *signals) {
  log_event(LOG_LEVEL_INFO, "stopping: calls under way may finish",
            LOG_INT("timeout_ms", server->settings.drain_timeout_ms));
  atomic_store(&server->admin.state, ADMIN_DRAINING);
  set_serving(server, false);
  struct drain state = {.server = server,
                        .deadline_us = server->port->monotonic_us(server->port) +
                                       server->settings.drain_timeout_ms * 1000};
  atomic_init(&state.calls_from_us, 0);
  atomic_init(&state.done, false);
  pthread_t thread;
  if (pthread_create(&thread, NULL, drain_thread, &state) != 0) {
    drain_thread(&state);
    return;
  }
  while (!atomic_load(&state.done)) {
    if (wait_signal(server, signals, 20)) {
      log_event(LOG_LEVEL_WARN, "ended at once by a second signal", LOG_INT("pid", getpid()));
      _exit(1);
    }
    if (gives_up(server, &state))
      _exit(1);
  }
  pthread_join(thread, NULL);
}

/* What requests took stays in malloc's free lists: gRPC's buffers are small and lie between what is in use.
 * So after the process has grown, free memory is given back to the system, a few times, because the first
 * time may be in the middle of what made it grow. Each costs some milliseconds. */
struct given_back {
  uint64_t resident_bytes, free_bytes;
  unsigned seconds_ago, looked_ago, times_left;
};

static void give_memory_back(struct server *server, struct given_back *last) {
  uint64_t resident = server->port->memory(server->port).resident_bytes;
  uint64_t limit = server->memory_limit_bytes;
  if (resident > limit - limit / SETTLE_PART)
    port_memory_settle(); /* what is needed of it is back within the second */
  if (resident > last->resident_bytes + TRIM_GROWTH_BYTES)
    last->times_left = TRIM_TIMES;
  if (resident < last->resident_bytes)
    last->resident_bytes = resident;
  if (++last->looked_ago >= TRIM_FREE_INTERVAL_S) {
    last->looked_ago = 0;
    uint64_t free_bytes = port_memory_free_bytes(); /* thousands of streams went: nothing grows then */
    if (free_bytes > last->free_bytes + TRIM_FREE_BYTES && last->times_left == 0)
      last->times_left = 1;
    if (free_bytes < last->free_bytes)
      last->free_bytes = free_bytes;
  }
  if (++last->seconds_ago < TRIM_INTERVAL_S || last->times_left == 0)
    return;
  port_memory_trim();
  last->resident_bytes = server->port->memory(server->port).resident_bytes;
  last->free_bytes = port_memory_free_bytes();
  last->seconds_ago = 0;
  last->times_left--;
}

/* What was told of the store and the clock. */
struct watched {
  bool serving, clock_trusted;
  enum kv_health health;
};

/* Health follows the store: damage found while serving makes the server not ready. */
static void watch_store(struct server *server, struct watched *last) {
  struct kv_info info;
  kv_info(server->store, &info);
  bool fit = info.health != KV_DAMAGED;
  if (fit != last->serving)
    set_serving(server, fit);
  if (info.health != last->health)
    log_event(info.health == KV_HEALTHY ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "the store's health changed",
              LOG_CSTR("health", info.health == KV_HEALTHY ? "healthy again" : info.health_text));
  if (info.clock_trusted != last->clock_trusted)
    log_event(info.clock_trusted ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
              info.clock_trusted
                  ? "the clock is trusted: commit times follow it"
                  : "the clock is not trusted: commit times follow the time since the start until it "
                    "is set (clock = trusted, or a time service)",
              LOG_INT("wall_us", server->port->wall_us(server->port)), LOG_INT("version_us", info.now));
  if (!fit || info.health != KV_HEALTHY)
    tell_status(server, fit ? "Serving, not everything works" : "Not serving", info.health_text);
  else
    tell_status(server, "Serving", info.clock_trusted ? "" : "the clock is not trusted");
  *last = (struct watched){fit, info.clock_trusted, info.health};
}

static void serve_until_signal(struct server *server, const sigset_t *signals) {
  struct watched watched = {.serving = true, .clock_trusted = true, .health = KV_HEALTHY};
  struct given_back given_back = {0};
  int64_t interval_ms = life_interval_ms(), done_us = 0;
  watch_store(server, &watched);
  while (!wait_signal(server, signals, interval_ms)) {
    life_tick(&server->life);
    int64_t now_us = server->port->monotonic_us(server->port);
    if (now_us - done_us < 900000 &&
        done_us != 0) /* the watchdog wants to hear more often than once a second */
      continue;
    done_us = now_us;
    give_memory_back(server, &given_back);
    front_tick(server->front);
    rpc_server_tick(server->rpc);
    firestore_service_tick(server->firestore);
    if (server->identity != NULL)
      identity_service_tick(server->identity);
    watch_store(server, &watched);
  }
}

static void stop(struct server *server) {
  front_close(server->front);
  listener_close(server->admin_listener);
  backups_close(server->backups);
  rpc_server_free(server->admin_rpc);
  rpc_server_free(server->rpc); /* it polled for both */
  relief_stop(server->relief);  /* nobody asks for metrics any more */
  stop_own_services(server);
  firestore_service_free(server->firestore);
  rules_source_close(server->rules);
  access_free(server->access);
  sign_in_close(server->sign_in);
  identity_service_free(server->identity);
  mail_close(server->mail);
  index_worker_stop(server->index_worker);
  index_advisor_free(server->advisor);
  index_set_close(server->indexes);
  if (server->store != NULL)
    kv_close(server->store);
  settings_fini(&server->settings);
}

int serve(const struct skerry_program *program, int argc, char **argv) {
  port_memory_configure();
  umask(077); /* all that it writes is its own user's: the data, and backups elsewhere */
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread starts, so that all inherit it */

  static struct server server;
  server.own.program = program;
  status result = start(&server, argc, argv);
  if (!status_is_ok(&result)) {
    fprintf(stderr, "%s serve: %s\n", program->name, result.message);
    if (server.firestore != NULL)
      firestore_service_stop(server.firestore);
    if (server.backups != NULL)
      backups_stop(server.backups);
    if (server.rpc != NULL) {
      int64_t now = server.port->monotonic_us(server.port);
      rpc_server_drain(server.rpc, now);
      if (server.admin_rpc != NULL)
        rpc_server_drain(server.admin_rpc, now);
    }
    stop(&server);
    return result.code == STATUS_INVALID_ARGUMENT ? 2 : 1;
  }
  atomic_store(&server.admin.state, ADMIN_SERVING);
  set_serving(&server, true);
  announce(&server);
  port_notify("READY=1");
  port_memory_settle();
  serve_until_signal(&server, &signals);
  port_notify("STOPPING=1\nSTATUS=Calls under way may finish");
  drain(&server, &signals);
  stop(&server);
  return 0;
}
