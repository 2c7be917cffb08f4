/* The server's settings: flags over environment over an INI file over defaults.
 *
 *   flag         --memory-limit 64M          (or --memory-limit=64M; a switch is --dev or --dev=false)
 *   environment  SKERRY_MEMORY_LIMIT=64M
 *   file         memory_limit = 64M          (sections are allowed and say nothing)
 *
 * One table (settings.c) has every setting's name, type, bounds, default and help; `skerry help settings`
 * prints it. What is unknown or out of bounds is refused with the place it came from. */
#ifndef SKERRY_SERVER_SETTINGS_H
#define SKERRY_SERVER_SETTINGS_H

#include <stdio.h>

#include "base/log.h"
#include "base/status.h"
#include "rpc/server.h"
#include "server/access/mode.h"
#include "server/profile.h"
#include "storage/rocksdb/store.h"

enum {
  SETTINGS_LISTEN_MAX = 16,   /* and certificates of the server */
  SETTINGS_PROJECTS_MAX = 64, /* and values of issuer, and of certificate */
  SETTINGS_TEXT_MAX = 4096
};

/* A list of words, comma-separated in one value, or given several times; where items have words of their own,
 * they are separated by semicolons. */
struct settings_list {
  char *items[SETTINGS_LISTEN_MAX > SETTINGS_PROJECTS_MAX ? SETTINGS_LISTEN_MAX : SETTINGS_PROJECTS_MAX];
  unsigned count;
  int rank; /* the source that set it: a stronger one replaces, the same one adds */
};

struct settings {
  int taken[SETTINGS_LISTEN_MAX]; /* sockets of the service manager, one for each of `listen`, if taken_count
                                     > 0 */
  unsigned taken_count;
  int64_t profile; /* enum profile_choice (server/profile.h) */
  bool dev, lan, accept_open_access;
  bool plaintext;
  struct settings_list listen, projects, tls_cert, tls_key, cors_origins;
  struct settings_list issuer, certificate; /* server/tokens: issuer_setting.h, certificates.h */
  char *tls_client_ca;                      /* a file's path; "": none */
  int64_t tls_client_certificates;          /* enum tls_client_certificates (server/listener/tls.h) */
  char *issuer_ca;                          /* a file's path; "": none */
  char *net_program;                        /* a program's path; "": where net/client.h looks */
  char *net_user;                           /* "": nobody else */
  char *net_proxy;                          /* "": none */
  /* server/mail/mail.h; "": not set */
  char *smtp, *smtp_user, *smtp_password_file, *mail_from, *mail_webhook, *mail_webhook_key_file,
      *mail_templates;
  char *mail_app_name, *mail_ca;
  bool smtp_insecure;
  char *data;
  char *backup_dir;      /* a directory's absolute path; "": none */
  char *backup_schedule; /* server/backup/schedule.h */
  int64_t backup_keep, backup_keep_for_ms, backup_bytes_per_second; /* 0: all, for good, no limit */
  char *indexes;                                                    /* a file's path; "": none */
  char *rules;                                                      /* likewise */
  int64_t index_mode;         /* enum query_index_mode (storage/query/run.h) */
  int64_t access;             /* enum access_mode */
  int64_t log_level;          /* enum log_level */
  int64_t log_format;         /* enum log_format */
  int64_t sync;               /* enum kv_sync */
  int64_t clock;              /* enum settings_clock */
  int64_t memory_limit_bytes; /* 0: from the machine */
  int64_t history_ms, change_log_ms, change_log_max_bytes, free_space_min_bytes;
  int64_t threads, message_bytes_max, call_memory_bytes_max, metadata_bytes_max, streams_per_connection_max;
  int64_t send_queue_bytes_max, calls_max, connections_max, connections_per_address_max;
  int64_t handshake_timeout_ms, reader_timeout_ms, handshakes_max, pump_threads, shed_target_ms;
  int64_t keepalive_ms, keepalive_timeout_ms, connection_age_max_ms, connection_idle_max_ms, drain_timeout_ms;
  int64_t metrics; /* enum settings_metrics */
  bool access_log;
  int64_t slow_call_log_ms; /* 0: none */
  int64_t http_body_bytes_max, http_idle_timeout_ms;
  int64_t accounts;      /* enum settings_accounts */
  int64_t sign_up;       /* enum settings_sign_up */
  char *identity_issuer; /* "{project}" in it stands for the project */
  int64_t id_token;      /* enum settings_id_token */
  int64_t id_token_lifetime_ms, refresh_grace_ms, anonymous_lifetime_ms, session_lifetime_ms;
  char *action_url; /* "": none */
  struct settings_list link_origins;
  int64_t document_bytes_max;
  int64_t query_memory_bytes_max, query_spill_bytes_max;
};

/* What a number is that nobody gave and that the profile decides, until settings_apply_profile. */
#define SETTINGS_BY_PROFILE INT64_C(-1)

enum settings_metrics { SETTINGS_METRICS_OFF, SETTINGS_METRICS_LOCAL, SETTINGS_METRICS_ALL };
enum settings_accounts {
  SETTINGS_ACCOUNTS_AUTO,
  SETTINGS_ACCOUNTS_OFF,
  SETTINGS_ACCOUNTS_ON
}; /* auto: in development */
enum settings_sign_up { SETTINGS_SIGN_UP_OPEN, SETTINGS_SIGN_UP_CLOSED };
enum settings_id_token { SETTINGS_ID_TOKEN_ES256, SETTINGS_ID_TOKEN_RS256, SETTINGS_ID_TOKEN_NONE };
enum settings_clock { SETTINGS_CLOCK_AUTO, SETTINGS_CLOCK_TRUSTED };

/* Reads the arguments after the subcommand, the environment and the file named by --config or SKERRY_CONFIG.
 * INVALID_ARGUMENT with the place of the mistake. Free with settings_fini, also after a failure. */
STATUS_MUST_USE status settings_load(struct settings *s, int argc, char *const *argv,
                                     char *const *environment);
void settings_fini(struct settings *s);

/* Fills in what the profile decides and nobody gave, memory_limit and threads among it. INVALID_ARGUMENT: a
 * memory_limit that the server cannot work with. */
STATUS_MUST_USE status settings_apply_profile(struct settings *s, const struct profile *profile,
                                              struct port *port);
/* What memory_limit is divided into, once the profile is applied. Of `accounts = auto`, which is for
 * development, the checks of passwords do not count. */
struct memory_plan settings_memory_plan(const struct settings *s);

/* Sockets of the service manager take the place of `listen`; `addresses` are theirs. */
STATUS_MUST_USE status settings_take_sockets(struct settings *s, const int *fds, const char *const *addresses,
                                             unsigned count);

/* Whether who comes over TCP is treated as a stranger: TLS if there are certificates, and the HTTP/2 guard.
 * Not so in development without certificates that only this machine reaches. */
bool settings_have_strangers(const struct settings *s);

/* Refuses what would serve strangers without protection, with what to do instead. */
STATUS_MUST_USE status settings_check_safe(const struct settings *s);

/* The table, for people. */
void settings_print_help(FILE *out);

/* Whether "host:port" can only be reached from this machine (loopback or a Unix socket). */
bool settings_address_is_local(const char *address);

#endif
