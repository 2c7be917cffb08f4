#include "server/settings.h"

#include <assert.h>
#include <ctype.h>
#include <ini.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "server/backup/schedule.h"

enum { IDENTITY_ISSUER_BYTES_MAX = 512 };

/* Where a value came from; a higher rank wins. */
enum { RANK_DEFAULT, RANK_FILE, RANK_ENVIRONMENT, RANK_FLAG };

enum setting_type { SWITCH, TEXT, LIST, FILES, PHRASES, NUMBER, BYTES, DURATION, CHOICE };

struct setting {
  const char *name; /* as in the file; flags have - for _ */
  enum setting_type type;
  size_t offset;
  const char *initial;
  int64_t min, max;    /* NUMBER, BYTES, DURATION (ms) */
  const char *choices; /* CHOICE: "a|b|c", the value is the place in it */
  const char *help;
};

#define AT(member) offsetof(struct settings, member)
#define KIB 1024LL
#define MIB (1024LL * 1024)
#define GIB (1024LL * 1024 * 1024)
/* Half of what a process of 32 bits can have, for all that is not counted against the limit. */
#define MEMORY_LIMIT_MAX (SIZE_MAX > UINT32_MAX ? 1024 * GIB : 2 * GIB)
#define SECOND 1000LL
/* In the place of a default: settings_apply_profile has it. */
#define BY_PROFILE "by profile"
#define DAY (86400 * SECOND)

static const struct setting table[] = {
    {"profile", CHOICE, AT(profile), "auto", 0, 0, "auto|tiny|small|medium|large",
     "budgets for a box of 256 MB, 1 GB, 4 GB or more (`skerry help profiles`); auto: as this machine is"},
    {"listen", LIST, AT(listen), "127.0.0.1:8080", 0, 0, NULL,
     "address to serve on: host:port, [ipv6]:port or unix:/path; port 0 takes a free one; host:port,grpc "
     "gives "
     "HTTP/2 to clients that offer HTTP/1.1 too"},
    {"tls_cert", FILES, AT(tls_cert), "", 0, 0, NULL,
     "PEM file of a certificate and its chain; as often as there are certificates, each with its tls_key. "
     "Files "
     "that change are read again"},
    {"tls_key", FILES, AT(tls_key), "", 0, 0, NULL, "PEM file of a certificate's key, in the same order"},
    {"tls_client_ca", TEXT, AT(tls_client_ca), "", 0, 0, NULL,
     "PEM file of the authorities whose client certificates are taken"},
    {"tls_client_certificates", CHOICE, AT(tls_client_certificates), "none", 0, 0, "none|optional|required",
     "whether clients are asked for a certificate"},
    {"certificate", PHRASES, AT(certificate), "", 0, 0, NULL,
     "who a client's certificate is: NAME role=viewer|editor|owner, or NAME uid=UID (for rules); NAME is its "
     "name, sha256:HEX, or * for all. As often as there are some; the first that fits counts"},
    {"issuer", PHRASES, AT(issuer), "", 0, 0, NULL,
     "whose sign-in tokens are taken: https://securetoken.google.com/PROJECT (Firebase Authentication), or "
     "an "
     "OpenID Connect issuer's URL audience=A[,B] [project=P] [keys=URL] [provider=ID: for signing in to "
     "accounts]. As often as there are issuers"},
    {"issuer_ca", TEXT, AT(issuer_ca), "", 0, 0, NULL,
     "PEM file of authorities that are trusted for issuers, beside the system's"},
    {"net_program", TEXT, AT(net_program), "", 0, 0, NULL,
     "path of skerry-net, which makes outgoing requests, where it is not beside this program"},
    {"net_user", TEXT, AT(net_user), "", 0, 0, NULL, "whom skerry-net becomes if the server runs as root"},
    {"net_proxy", TEXT, AT(net_proxy), "", 0, 0, NULL,
     "http://host:port of an HTTP proxy that skerry-net goes through, to all but this machine"},
    {"smtp", TEXT, AT(smtp), "", 0, 0, NULL,
     "mail server for the mails of accounts: smtp://host:port (with STARTTLS, which is required) or "
     "smtps://host:port"},
    {"smtp_user", TEXT, AT(smtp_user), "", 0, 0, NULL, "whom the mail server lets in"},
    {"smtp_password_file", TEXT, AT(smtp_password_file), "", 0, 0, NULL,
     "file that holds the password of smtp_user"},
    {"smtp_insecure", SWITCH, AT(smtp_insecure), "false", 0, 0, NULL,
     "send mails to smtp://... without TLS: whoever is in between can read the links in them"},
    {"mail_from", TEXT, AT(mail_from), "", 0, 0, NULL,
     "sender of mails: box@example.com, or Name <box@example.com>"},
    {"mail_webhook", TEXT, AT(mail_webhook), "", 0, 0, NULL,
     "https URL that gets the mails of accounts as JSON, instead of smtp"},
    {"mail_webhook_key_file", TEXT, AT(mail_webhook_key_file), "", 0, 0, NULL,
     "file that holds the key that requests to mail_webhook are signed with, 16 bytes or more"},
    {"mail_templates", TEXT, AT(mail_templates), "", 0, 0, NULL,
     "directory of texts in the place of the built-in ones (docs/mail.md)"},
    {"mail_app_name", TEXT, AT(mail_app_name), "", 0, 0, NULL,
     "name of the app in mails; without it, the project's id"},
    {"mail_ca", TEXT, AT(mail_ca), "", 0, 0, NULL,
     "PEM file of authorities that are trusted for smtp and mail_webhook, beside the system's"},
    {"plaintext", SWITCH, AT(plaintext), "false", 0, 0, NULL,
     "serve without TLS, for a proxy in front that has it; the HTTP/2 guard stays"},
    {"data", TEXT, AT(data), "./data", 0, 0, NULL, "directory of the store; made if it is missing"},
    {"dev", SWITCH, AT(dev), "false", 0, 0, NULL,
     "development: any project, all access, emulator conventions; loopback only"},
    {"lan", SWITCH, AT(lan), "false", 0, 0, NULL,
     "with dev and accept_open_access: listen beyond loopback, for phones on this network"},
    {"accept_open_access", SWITCH, AT(accept_open_access), "false", 0, 0, NULL,
     "yes, everybody who reaches the port may read and write everything (flag: --i-accept-open-access)"},
    {"access", CHOICE, AT(access), "deny", 0, 0, "deny|mtls|open",
     "who may use the API while there are no rules: deny, mtls (a client certificate), open"},
    {"projects", LIST, AT(projects), "skerry", 0, 0, NULL, "project ids that are served; dev serves any"},
    {"memory_limit", BYTES, AT(memory_limit_bytes), "0", 0, MEMORY_LIMIT_MAX, NULL,
     "all the memory that the server takes, whatever clients do; at least 48M; 0: by profile, at most a "
     "quarter of the "
     "machine's"},
    {"sync", CHOICE, AT(sync), "on", 0, 0, "on|relaxed",
     "on: acknowledged means on the medium; relaxed: a power cut may lose the last second"},
    {"clock", CHOICE, AT(clock), "auto", 0, 0, "auto|trusted",
     "auto: trust the wall clock when the kernel says that it is synchronised; trusted: always"},
    {"history", DURATION, AT(history_ms), "1h", 60 * SECOND, 7 * DAY, NULL, "how far back read_time may go"},
    {"change_log", DURATION, AT(change_log_ms), "7d", 3600 * SECOND, 90 * DAY, NULL,
     "how long listeners can resume after"},
    {"change_log_max", BYTES, AT(change_log_max_bytes), "0", 0, 1024 * GIB, NULL,
     "size of the change log; 0: 5% of the disk"},
    {"free_space_min", BYTES, AT(free_space_min_bytes), "0", 0, 1024 * GIB, NULL,
     "writes stop when less disk is free; 0: 64M or 2% of the disk, whichever is less"},
    {"backup_dir", TEXT, AT(backup_dir), "", 0, 0, NULL,
     "absolute path of the directory for backups, on another medium than the data"},
    {"backup_schedule", TEXT, AT(backup_schedule), "off", 0, 0, NULL,
     "when a backup is made: off, every 6h (30m, 1d, ...), or daily 03:00 (local time)"},
    {"backup_keep", NUMBER, AT(backup_keep), "7", 0, 1000, NULL,
     "how many backups a scheduled one leaves there, itself included; 0: all"},
    {"backup_keep_for", DURATION, AT(backup_keep_for_ms), "0", 0, 3660 * DAY, NULL,
     "backups that are older are deleted too, but never the last; 0: none for its age"},
    {"backup_rate", BYTES, AT(backup_bytes_per_second), "10M", 0, GIB, NULL,
     "bytes a second that a backup writes, and reads to verify itself; 0: as fast as it can"},
    {"accounts", CHOICE, AT(accounts), "auto", 0, 0, "auto|off|on",
     "accounts of the app's users on this server: sign-up, sign-in, their administration; auto: in "
     "development"},
    {"sign_up", CHOICE, AT(sign_up), "open", 0, 0, "open|closed",
     "closed: only administrators and custom tokens make accounts"},
    {"identity_issuer", TEXT, AT(identity_issuer), "https://securetoken.google.com/{project}", 0, 0, NULL,
     "what ID tokens of these accounts say as `iss`; {project} stands for the project"},
    {"id_token", CHOICE, AT(id_token), "es256", 0, 0, "es256|rs256|none",
     "how ID tokens are signed; none, as the emulator's: in development only"},
    {"id_token_lifetime", DURATION, AT(id_token_lifetime_ms), "1h", 300 * SECOND, 3600 * SECOND, NULL,
     "how long an ID token is good"},
    {"refresh_grace", DURATION, AT(refresh_grace_ms), "5m", 0, 30 * DAY, NULL,
     "how long a spent refresh token still gets the answer that was perhaps lost; used later, it ends its "
     "session"},
    {"anonymous_lifetime", DURATION, AT(anonymous_lifetime_ms), "0", 0, 3660 * DAY, NULL,
     "anonymous accounts that were not used for so long, a day or more, are deleted; 0: never"},
    {"session_lifetime", DURATION, AT(session_lifetime_ms), "0", 0, 3660 * DAY, NULL,
     "sessions of users that were not refreshed for so long, a day or more, end; 0: never"},
    {"action_url", TEXT, AT(action_url), "", 0, 0, NULL,
     "page of the app that links in mails of accounts lead to; it gets the parameters mode and oobCode"},
    {"link_origins", LIST, AT(link_origins), "", 0, 0, NULL,
     "origins (https://app.example), besides that of action_url, whose pages such links may lead to; dev "
     "allows all"},
    {"cors_origins", LIST, AT(cors_origins), "", 0, 0, NULL,
     "origins whose web pages may use this server over HTTP (https://app.example), or *; dev allows all if "
     "there is none"},
    {"metrics", CHOICE, AT(metrics), "off", 0, 0, "off|local|all",
     "GET /metrics for Prometheus: for nobody, for this machine (a proxy on it included), for everybody"},
    {"http_body_max", BYTES, AT(http_body_bytes_max), BY_PROFILE, 64 * KIB, 256 * MIB, NULL,
     "size of a request's body over HTTP/1.1; JSON is longer than the message that it becomes"},
    {"http_idle_timeout", DURATION, AT(http_idle_timeout_ms), "60s", SECOND, 3600 * SECOND, NULL,
     "a connection of HTTP/1.1 without a request is closed after so long"},
    {"document_max", BYTES, AT(document_bytes_max), "1048576", 1024, 8 * MIB, NULL, "size of a document"},
    {"threads", NUMBER, AT(threads), "0", 0, 64, NULL, "completion-queue threads; 0: one a core"},
    {"message_max", BYTES, AT(message_bytes_max), BY_PROFILE, 64 * KIB, 64 * MIB, NULL,
     "size of a request, inflated"},
    {"call_memory_max", BYTES, AT(call_memory_bytes_max), BY_PROFILE, MIB, GIB, NULL, "memory of one call"},
    {"query_memory_max", BYTES, AT(query_memory_bytes_max), BY_PROFILE, 64 * KIB, GIB, NULL,
     "memory of one query's positions and sorting; past it, sorting goes to temporary files in data/spill"},
    {"query_spill_max", BYTES, AT(query_spill_bytes_max), "1G", MIB, 1024 * GIB, NULL,
     "size of one query's temporary files"},
    {"rules", TEXT, AT(rules), "", 0, 0, NULL,
     "security rules: a firestore.rules, or a firebase.json that names one; without it, what `skerry rules "
     "deploy` brought"},
    {"indexes", TEXT, AT(indexes), "", 0, 0, NULL,
     "a firestore.indexes.json that is applied at each start; without it, `skerry index apply` says what "
     "holds"},
    {"index_mode", CHOICE, AT(index_mode), "auto", 0, 0, "auto|strict",
     "a query without its composite index is: served and reported (auto), refused as in production (strict)"},
    {"metadata_max", BYTES, AT(metadata_bytes_max), "8K", KIB, 64 * KIB, NULL, "size of a call's headers"},
    {"streams_per_connection_max", NUMBER, AT(streams_per_connection_max), "100", 1, 10000, NULL,
     "calls at once on one connection"},
    {"send_queue_max", BYTES, AT(send_queue_bytes_max), BY_PROFILE, 64 * KIB, 64 * MIB, NULL,
     "responses of one stream that wait for a slow reader"},
    {"calls_max", NUMBER, AT(calls_max), BY_PROFILE, 16, 1000000, NULL, "calls at once on this server"},
    {"shed_target", DURATION, AT(shed_target_ms), "5ms", 0, SECOND, NULL,
     "while all calls of a method wait for longer than this, those that waited twice as long are refused and "
     "may come "
     "back later; 0: never"},
    {"connections_max", NUMBER, AT(connections_max), BY_PROFILE, 1, 1000000, NULL, "connections at once"},
    {"connections_per_address_max", NUMBER, AT(connections_per_address_max), "0", 0, 1000000, NULL,
     "connections at once from one address; 0: no limit of its own"},
    {"handshakes_max", NUMBER, AT(handshakes_max), BY_PROFILE, 16, 100000, NULL,
     "connections at once that have not said yet what they want; past it the oldest gives way"},
    {"handshake_timeout", DURATION, AT(handshake_timeout_ms), "10s", SECOND, 300 * SECOND, NULL,
     "time to say it, TLS included, and for a request's headers to arrive whole"},
    {"reader_timeout", DURATION, AT(reader_timeout_ms), "30s", SECOND, 3600 * SECOND, NULL,
     "a client that takes nothing for so long, while there is something for it, is disconnected"},
    {"pump_threads", NUMBER, AT(pump_threads), "0", 0, 16, NULL,
     "threads for TLS and the HTTP/2 guard; 0: one, and one more for every four cores"},
    {"connection_idle_max", DURATION, AT(connection_idle_max_ms), "30m", 0, 30 * DAY, NULL,
     "connections without a call are closed after so long; 0: never"},
    {"keepalive", DURATION, AT(keepalive_ms), "2m", 10 * SECOND, DAY, NULL,
     "a connection without a byte for so long is asked for a sign of life"},
    {"keepalive_timeout", DURATION, AT(keepalive_timeout_ms), "20s", SECOND, 600 * SECOND, NULL,
     "and closed if it gives none for so long"},
    {"connection_age_max", DURATION, AT(connection_age_max_ms), "0", 0, 30 * DAY, NULL,
     "connections are asked to reconnect after so long; 0: never"},
    {"drain_timeout", DURATION, AT(drain_timeout_ms), "10s", 0, 3600 * SECOND, NULL,
     "at the end, calls under way get so long to finish"},
    {"log_level", CHOICE, AT(log_level), "info", 0, 0, "debug|info|warn|error|off", "what is logged"},
    {"access_log", SWITCH, AT(access_log), "false", 0, 0, NULL,
     "a line for every call, at most 5,000 a second; without it for calls that fail"},
    {"slow_call_log", DURATION, AT(slow_call_log_ms), "0", 0, 3600 * SECOND, NULL,
     "a line for calls that take longer, of queries with the plan; 0: none"},
    {"log_format", CHOICE, AT(log_format), "logfmt", 0, 0, "logfmt|json",
     "how it is logged, to standard error"},
};

enum { SETTING_COUNT = sizeof table / sizeof table[0] };

/* A load in progress: the rank of each setting's value. */
struct loading {
  struct settings *settings;
  int ranks[SETTING_COUNT];
  status result;
};

static void *member(struct settings *s, const struct setting *setting) {
  return (char *)s + setting->offset;
}

static bool parse_switch(const char *text, bool *ret) {
  bool yes = strcmp(text, "true") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "on") == 0 ||
             strcmp(text, "1") == 0;
  bool no = strcmp(text, "false") == 0 || strcmp(text, "no") == 0 || strcmp(text, "off") == 0 ||
            strcmp(text, "0") == 0;
  *ret = yes;
  return yes || no;
}

/* A whole number with one of the units; units[0] is the one that is meant without. */
struct unit {
  const char *name;
  int64_t factor;
};
static bool parse_units(const char *text, const struct unit *units, int64_t *ret) {
  size_t digits = strspn(text, "0123456789");
  uint64_t number;
  if (!str_to_u64(str_make(text, digits), &number))
    return false;
  for (; units->name != NULL; units++) {
    if (strcmp(text + digits, units->name) != 0)
      continue;
    return !__builtin_mul_overflow((int64_t)(number > INT64_MAX ? INT64_MAX : number), units->factor, ret);
  }
  return false;
}

static bool parse_number(const struct setting *setting, const char *text, int64_t *ret) {
  static const struct unit plain[] = {{"", 1}, {NULL, 0}};
  static const struct unit bytes[] = {{"", 1}, {"K", KIB}, {"M", MIB}, {"G", GIB}, {NULL, 0}};
  static const struct unit times[] = {{"", SECOND},         {"ms", 1},  {"s", SECOND}, {"m", 60 * SECOND},
                                      {"h", 3600 * SECOND}, {"d", DAY}, {NULL, 0}};
  return parse_units(text, setting->type == BYTES ? bytes : setting->type == DURATION ? times : plain, ret);
}

static bool parse_choice(const char *choices, const char *text, int64_t *ret) {
  size_t len = strlen(text);
  int64_t place = 0;
  for (const char *at = choices;; place++) {
    size_t size = strcspn(at, "|");
    if (size == len && memcmp(at, text, len) == 0) {
      *ret = place;
      return true;
    }
    if (at[size] == '\0')
      return false;
    at += size + 1;
  }
}

static void list_clear(struct settings_list *list) {
  for (unsigned i = 0; i < list->count; i++)
    free(list->items[i]);
  list->count = 0;
}

static bool append(char **item, const char *text) {
  size_t len = strlen(*item), more = strlen(text) + 1;
  char *grown = realloc(*item, len + more);
  if (grown == NULL)
    return false;
  memcpy(grown + len, text, more);
  *item = grown;
  return true;
}

static status list_add(const struct setting *setting, struct settings_list *list, const char *text,
                       int rank) {
  if (list->rank != rank)
    list_clear(list);
  list->rank = rank;
  unsigned most = setting->offset == AT(projects) || setting->type == PHRASES ? SETTINGS_PROJECTS_MAX
                                                                              : SETTINGS_LISTEN_MAX;
  const char *separators = setting->type == PHRASES ? ";"
                           : setting->type == FILES ? "," /* names of files may have spaces */
                                                    : ", \t";
  while (*text != '\0') {
    text += strspn(text, separators);
    size_t size = strcspn(text, separators);
    if (size == 0)
      break;
    if (setting->offset == AT(listen) && size == 4 && strncmp(text, "grpc", 4) == 0 && list->count > 0) {
      if (!append(&list->items[list->count - 1], ",grpc")) /* it belongs to the address before it */
        return status_default(STATUS_RESOURCE_EXHAUSTED);
      text += size;
      continue;
    }
    if (list->count == most)
      return status_make(STATUS_INVALID_ARGUMENT, "more than %u values for %s", most, setting->name);
    char *item = strndup(text, size);
    if (item == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    list->items[list->count++] = item;
    text += size;
  }
  return list->count > 0 ? status_ok()
                         : status_make(STATUS_INVALID_ARGUMENT, "%s has no value", setting->name);
}

static status setting_assign(struct settings *s, const struct setting *setting, const char *text, int rank) {
  int64_t number = 0;
  switch (setting->type) {
  case SWITCH:
    if (!parse_switch(text, member(s, setting)))
      return status_make(STATUS_INVALID_ARGUMENT, "%s is \"%s\": say true or false", setting->name, text);
    return status_ok();
  case TEXT: {
    if (*text == '\0' && *setting->initial != '\0')
      return status_make(STATUS_INVALID_ARGUMENT, "%s has no value", setting->name);
    char *copy = strdup(text), **place = member(s, setting);
    if (copy == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    free(*place);
    *place = copy;
    return status_ok();
  }
  case LIST:
  case FILES:
  case PHRASES:
    if (*text == '\0' && rank == RANK_DEFAULT)
      return status_ok();
    return list_add(setting, member(s, setting), text, rank);
  case CHOICE:
    if (!parse_choice(setting->choices, text, &number))
      return status_make(STATUS_INVALID_ARGUMENT, "%s is \"%s\": it is one of %s", setting->name, text,
                         setting->choices);
    break;
  case NUMBER:
  case BYTES:
  case DURATION:
    if (rank == RANK_DEFAULT && strcmp(text, BY_PROFILE) == 0) {
      number = SETTINGS_BY_PROFILE;
      break;
    }
    if (!parse_number(setting, text, &number))
      return status_make(STATUS_INVALID_ARGUMENT, "%s is \"%s\": not a number%s", setting->name, text,
                         setting->type == BYTES      ? " of bytes, such as 64M"
                         : setting->type == DURATION ? " with a unit of time, such as 30s"
                                                     : "");
    if (number < setting->min || number > setting->max)
      return status_make(STATUS_INVALID_ARGUMENT, "%s is \"%s\": it must lie between %lld and %lld%s",
                         setting->name, text, (long long)setting->min, (long long)setting->max,
                         setting->type == BYTES      ? " bytes"
                         : setting->type == DURATION ? " ms"
                                                     : "");
    break;
  }
  memcpy(member(s, setting), &number, sizeof number);
  return status_ok();
}

/* The setting of that name, where - and _ are one; --i-accept-open-access is what people must type. */
static const struct setting *find(const char *name, size_t len) {
  if (len == strlen("i-accept-open-access") && strncmp(name, "i-accept-open-access", len) == 0) {
    name += 2;
    len -= 2;
  }
  for (const struct setting *setting = table; setting < table + SETTING_COUNT; setting++) {
    size_t i = 0;
    while (i < len && setting->name[i] != '\0' &&
           (setting->name[i] == name[i] || (setting->name[i] == '_' && name[i] == '-') ||
            setting->name[i] == tolower((unsigned char)name[i])))
      i++;
    if (i == len && setting->name[i] == '\0')
      return setting;
  }
  return NULL;
}

static status assign_ranked(struct loading *loading, const struct setting *setting, const char *text,
                            int rank) {
  int *current = &loading->ranks[setting - table];
  if (rank < *current)
    return status_ok();
  *current = rank;
  return setting_assign(loading->settings, setting, text, rank);
}

static int from_file(void *argument, const char *section, const char *name, const char *value) {
  (void)section;
  struct loading *loading = argument;
  const struct setting *setting = find(name, strlen(name));
  status result = setting == NULL ? status_make(STATUS_INVALID_ARGUMENT, "there is no setting \"%s\"", name)
                                  : assign_ranked(loading, setting, value, RANK_FILE);
  if (status_is_ok(&result))
    return 1;
  if (status_is_ok(&loading->result))
    loading->result = result;
  return 0; /* ini_parse goes on, and gives the number of the first line that failed */
}

static status load_file(struct loading *loading, const char *path) {
  int line = ini_parse(path, from_file, loading);
  if (!status_is_ok(&loading->result))
    return status_make(loading->result.code, "%s:%d: %s", path, line, loading->result.message);
  if (line < 0)
    return status_make(STATUS_INVALID_ARGUMENT, "%s: cannot be read", path);
  if (line > 0)
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "%s:%d: not a setting (name = value), or a line of more than 199 characters (which count as two)",
        path, line);
  return status_ok();
}

static status load_environment(struct loading *loading, char *const *environment, const char **config) {
  static const char prefix[] = "SKERRY_";
  for (; environment != NULL && *environment != NULL; environment++) {
    if (strncmp(*environment, prefix, sizeof prefix - 1) != 0)
      continue;
    const char *name = *environment + sizeof prefix - 1, *equals = strchr(name, '=');
    if (equals == NULL)
      continue;
    size_t len = (size_t)(equals - name);
    if (len == strlen("CONFIG") && strncmp(name, "CONFIG", len) == 0) {
      *config = equals + 1;
      continue;
    }
    char lower[64];
    if (len >= sizeof lower)
      continue;
    for (size_t i = 0; i < len; i++)
      lower[i] = (char)tolower((unsigned char)name[i]);
    const struct setting *setting = find(lower, len);
    if (setting == NULL) /* not ours alone: tests and scripts have such names too */
      continue;
    status result = assign_ranked(loading, setting, equals + 1, RANK_ENVIRONMENT);
    if (!status_is_ok(&result))
      return status_make(result.code, "environment SKERRY_%.*s: %s", (int)len, name, result.message);
  }
  return status_ok();
}

static status load_flags(struct loading *loading, int argc, char *const *argv, const char **config) {
  for (int i = 0; i < argc; i++) {
    const char *flag = argv[i];
    if (strncmp(flag, "--", 2) != 0)
      return status_make(STATUS_INVALID_ARGUMENT, "\"%s\" is not a flag: see `skerry help settings`", flag);
    size_t len = strcspn(flag + 2, "=");
    const char *value = flag[2 + len] == '=' ? flag + 3 + len : NULL;
    bool is_config = len == strlen("config") && strncmp(flag + 2, "config", len) == 0;
    const struct setting *setting = is_config ? NULL : find(flag + 2, len);
    if (setting == NULL && !is_config)
      return status_make(STATUS_INVALID_ARGUMENT, "there is no flag --%.*s: see `skerry help settings`",
                         (int)len, flag + 2);
    if (value == NULL && setting != NULL && setting->type == SWITCH)
      value = "true";
    if (value == NULL) {
      if (i + 1 == argc)
        return status_make(STATUS_INVALID_ARGUMENT, "--%.*s has no value", (int)len, flag + 2);
      value = argv[++i];
    }
    if (is_config) {
      *config = value;
      continue;
    }
    status result = assign_ranked(loading, setting, value, RANK_FLAG);
    if (!status_is_ok(&result))
      return status_make(result.code, "--%.*s: %s", (int)len, flag + 2, result.message);
  }
  return status_ok();
}

status settings_load(struct settings *s, int argc, char *const *argv, char *const *environment) {
  *s = (struct settings){0};
  struct loading loading = {.settings = s, .result = status_ok()};
  for (const struct setting *setting = table; setting < table + SETTING_COUNT; setting++) {
    status result = setting_assign(s, setting, setting->initial, RANK_DEFAULT);
    assert(status_is_ok(&result));
  }
  const char *config = NULL;
  STATUS_TRY(load_environment(&loading, environment, &config));
  STATUS_TRY(load_flags(&loading, argc, argv, &config));
  return config == NULL || *config == '\0' ? status_ok() : load_file(&loading, config);
}

struct decided {
  size_t setting, profile;
};

static void by_plan(int64_t *setting, int64_t value) {
  if (*setting == SETTINGS_BY_PROFILE)
    *setting = value;
}

struct memory_plan settings_memory_plan(const struct settings *s) {
  return memory_plan_for((uint64_t)s->memory_limit_bytes, s->accounts == SETTINGS_ACCOUNTS_ON);
}

status settings_apply_profile(struct settings *s, const struct profile *profile, struct port *port) {
#define DECIDES(member, by)                                                                                  \
  { offsetof(struct settings, member), offsetof(struct profile, by) }
  static const struct decided all[] = {
      DECIDES(query_memory_bytes_max, query_memory_max),
      DECIDES(send_queue_bytes_max, send_queue_max),
      DECIDES(calls_max, calls_max),
      DECIDES(connections_max, connections_max),
      DECIDES(handshakes_max, handshakes_max),
  };
#undef DECIDES
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    int64_t *value = (void *)((char *)s + all[i].setting);
    if (*value == SETTINGS_BY_PROFILE)
      memcpy(value, (const char *)profile + all[i].profile, sizeof *value);
  }
  unsigned cores = port->cores(port);
  if (s->threads == 0 && profile->cores_max > 0)
    s->threads = cores < profile->cores_max ? cores : profile->cores_max;
  if (s->memory_limit_bytes == 0)
    s->memory_limit_bytes = (int64_t)profile_memory_limit(profile, port);
  if (s->memory_limit_bytes < MEMORY_PLAN_LIMIT_MIN)
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "memory_limit is %lld bytes, and the server needs 48M for itself, the store, and calls with a "
        "document of 1M: give at least that, or leave it out for what the profile says (%s).",
        (long long)s->memory_limit_bytes, profile->name);
  if (s->accounts == SETTINGS_ACCOUNTS_ON && s->memory_limit_bytes < MEMORY_PLAN_LIMIT_MIN_WITH_ACCOUNTS)
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "memory_limit is %lld bytes, and with accounts = on the server needs 64M: a check of a "
        "password alone takes 16M.",
        (long long)s->memory_limit_bytes);
  struct memory_plan plan = settings_memory_plan(s);
  by_plan(&s->message_bytes_max, plan.message_max);
  by_plan(&s->call_memory_bytes_max, plan.call_memory_max);
  by_plan(&s->http_body_bytes_max, plan.http_body_max);
  return status_ok();
}

status settings_take_sockets(struct settings *s, const int *fds, const char *const *addresses,
                             unsigned count) {
  assert(count <= SETTINGS_LISTEN_MAX);
  list_clear(&s->listen);
  for (unsigned i = 0; i < count; i++) {
    s->listen.items[i] = strdup(addresses[i]);
    if (s->listen.items[i] == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    s->listen.count++;
    s->taken[i] = fds[i];
  }
  s->taken_count = count;
  return status_ok();
}

void settings_fini(struct settings *s) {
  for (const struct setting *setting = table; setting < table + SETTING_COUNT; setting++)
    if (setting->type == TEXT)
      free(*(char **)member(s, setting));
  list_clear(&s->listen);
  list_clear(&s->projects);
  list_clear(&s->tls_cert);
  list_clear(&s->tls_key);
  list_clear(&s->issuer);
  list_clear(&s->certificate);
  list_clear(&s->link_origins);
  list_clear(&s->cors_origins);
  *s = (struct settings){0};
}

bool settings_address_is_local(const char *address) {
  if (strncmp(address, "unix:", 5) == 0)
    return true;
  return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0 ||
         strncmp(address, "localhost:", 10) == 0;
}

bool settings_have_strangers(const struct settings *s) {
  return !s->dev || s->lan || s->tls_cert.count > 0;
}

static status check_tls(const struct settings *s) {
  enum { CLIENT_NONE }; /* of tls_client_certificates */
  if (s->tls_cert.count != s->tls_key.count)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "There are %u values of tls_cert and %u of tls_key: each certificate needs its key.",
                       s->tls_cert.count, s->tls_key.count);
  if (s->tls_cert.count > 0 && s->plaintext)
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "plaintext serves without TLS, so it does not go with tls_cert. Leave one of them out.");
  if (s->tls_client_certificates != CLIENT_NONE && *s->tls_client_ca == '\0')
    return status_make(STATUS_INVALID_ARGUMENT,
                       "tls_client_certificates needs tls_client_ca: who signs the certificates of clients?");
  if (s->tls_cert.count == 0 && *s->tls_client_ca != '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "tls_client_ca needs TLS: give tls_cert and tls_key.");
  if (!s->dev && s->access == ACCESS_MTLS && s->tls_client_certificates == CLIENT_NONE)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "access = mtls lets in who shows a client certificate: that needs TLS that asks for "
                       "one. Give tls_cert, "
                       "tls_key, tls_client_ca and tls_client_certificates = required (or optional).");
  return status_ok();
}

static status check_address(const struct settings *s, const char *address) {
  if (settings_address_is_local(address) || (s->dev && s->lan && s->accept_open_access))
    return status_ok();
  if (s->dev)
    return status_make(
        STATUS_FAILED_PRECONDITION,
        "--dev has no access control, so it listens on this machine only, and %s is beyond it. To serve "
        "phones on your network during development, add: --lan --i-accept-open-access",
        address);
  if (s->tls_cert.count > 0 || s->plaintext)
    return status_ok();
  return status_make(STATUS_FAILED_PRECONDITION,
                     "%s can be reached from outside, so it needs TLS: give tls_cert and tls_key (`skerry "
                     "cert new` makes a pair "
                     "to try). Behind a proxy that has TLS, say so with plaintext.",
                     address);
}

/* The server may be started from anywhere, and a relative path would mean another place each time. */
static status check_backups(const struct settings *s) {
  struct schedule schedule;
  STATUS_TRY(schedule_parse(s->backup_schedule, &schedule));
  if (*s->backup_dir != '\0' && *s->backup_dir != '/')
    return status_make(STATUS_INVALID_ARGUMENT, "backup_dir is \"%s\": give an absolute path.",
                       s->backup_dir);
  if (schedule.kind != SCHEDULE_OFF && *s->backup_dir == '\0')
    return status_make(STATUS_INVALID_ARGUMENT, "backup_schedule needs backup_dir: where do backups go?");
  return status_ok();
}

/* ID tokens are good for an hour without a refresh. */
static status check_lifetime(const char *name, int64_t ms) {
  if (ms == 0 || ms >= DAY)
    return status_ok();
  return status_make(STATUS_INVALID_ARGUMENT, "%s is a day (1d) or more, or 0: for ever.", name);
}

status settings_check_safe(const struct settings *s) {
  STATUS_TRY(check_backups(s));
  STATUS_TRY(check_lifetime("anonymous_lifetime", s->anonymous_lifetime_ms));
  STATUS_TRY(check_lifetime("session_lifetime", s->session_lifetime_ms));
  STATUS_TRY(check_tls(s));
  for (unsigned i = 0; i < s->listen.count; i++)
    STATUS_TRY(check_address(s, s->listen.items[i]));
  if (!s->dev && s->access == ACCESS_OPEN && *s->rules != '\0')
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "access = open lets everybody in, so nobody would ask the rules in %s. Leave out one of "
        "the two.",
        s->rules);
  if (!s->dev && s->access == ACCESS_OPEN && !s->accept_open_access)
    return status_make(
        STATUS_FAILED_PRECONDITION,
        "access = open lets everybody who reaches the port read and write everything. If that is what you "
        "want, add: --i-accept-open-access");
  if (strlen(s->identity_issuer) > IDENTITY_ISSUER_BYTES_MAX ||
      strncmp(s->identity_issuer, "https://", 8) != 0)
    return status_make(STATUS_INVALID_ARGUMENT, "identity_issuer is an https URL of at most %d bytes.",
                       IDENTITY_ISSUER_BYTES_MAX);
  if (!s->dev && s->id_token == SETTINGS_ID_TOKEN_NONE)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "id_token = none lets everybody be any user. It is for development (--dev) alone.");
  return status_ok();
}

void settings_print_help(FILE *out) {
  fputs("Settings, as flag, environment variable or line of the file named by --config:\n\n", out);
  for (const struct setting *setting = table; setting < table + SETTING_COUNT; setting++) {
    fprintf(out, "  %-28s %s\n", setting->name, setting->help);
    fprintf(out, "  %-28s default %s%s%s\n", "", *setting->initial == '\0' ? "none" : setting->initial,
            setting->choices == NULL ? "" : ", one of ", setting->choices == NULL ? "" : setting->choices);
  }
  fputs("\nA flag is --name value (with - for _), a variable SKERRY_NAME=value, a line name = value.\n"
        "Flags win over variables, variables over the file. Sizes: 64K, 10M, 1G. Times: 500ms, 30s, 5m, 1h, "
        "7d.\n",
        out);
}
