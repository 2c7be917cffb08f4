/* A `tls` is a pointer to the set of certificates in use. `mutex` guards the pointer and the counts, for the
 * time of taking a reference; `load_mutex` lets one thread at a time read files and guards what is known of
 * them. load_mutex is taken first. */
#include "server/listener/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "server/listener/certificate_facts.h"
#include "server/listener/tls_certificates.h"
#include "server/listener/tls_context.h"

static const int64_t SECOND_US = 1000000, DAY_US = INT64_C(86400) * 1000000;
enum { EXPIRY_WARNING_DAYS = 14 };

/* By what a change of a file is seen; zeroed: it is not there. */
struct mark {
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec written, changed;
};

struct tls {
  struct tls_options options; /* its arrays and texts are ours */

  pthread_mutex_t load_mutex;
  size_t file_count;
  struct mark *tried;    /* of each file before it was last read */
  struct mark *seen;     /* at the last tick */
  int64_t seen_since_us; /* since when it is so; 0: as tried */
  int64_t warn_next_us;  /* when expiry is looked at again */

  pthread_mutex_t mutex;
  struct tls_certificates *current;
  struct tls_stats stats;
};

static int64_t monotonic_us(const struct tls *tls) {
  return tls->options.port->monotonic_us(tls->options.port);
}

static struct tls_certificates *take_current(struct tls *tls) {
  pthread_mutex_lock(&tls->mutex);
  struct tls_certificates *set = tls->current;
  tls_certificates_ref(set);
  pthread_mutex_unlock(&tls->mutex);
  return set;
}

/* ---- Files ---- */

static const char *file_at(const struct tls *tls, size_t i) {
  const struct tls_options *o = &tls->options;
  if (i < o->count)
    return o->certificate_files[i];
  return i < 2 * o->count ? o->key_files[i - o->count] : o->client_ca_file;
}

static void look(const struct tls *tls, struct mark *ret) {
  for (size_t i = 0; i < tls->file_count; i++) {
    struct stat facts;
    bool there = stat(file_at(tls, i), &facts) == 0;
    ret[i] = there ? (struct mark){facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtim, facts.st_ctim}
                   : (struct mark){0};
  }
}

static bool same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same(const struct tls *tls, const struct mark *a, const struct mark *b) {
  for (size_t i = 0; i < tls->file_count; i++)
    if (a[i].device != b[i].device || a[i].inode != b[i].inode || a[i].size != b[i].size ||
        !same_time(a[i].written, b[i].written) || !same_time(a[i].changed, b[i].changed))
      return false;
  return true;
}

static void free_texts(const char *const *texts, size_t count) {
  for (size_t i = 0; texts != NULL && i < count; i++)
    free((void *)(uintptr_t)texts[i]);
  free((void *)(uintptr_t)texts);
}

static const char *const *copy_texts(const char *const *texts, size_t count) {
  const char **copy = calloc(count == 0 ? 1 : count, sizeof *copy);
  bool whole = copy != NULL;
  for (size_t i = 0; whole && i < count; i++)
    whole = (copy[i] = strdup(texts[i])) != NULL;
  if (whole)
    return copy;
  free_texts(copy, count);
  return NULL;
}

/* ---- Expiry ---- */

static void warn_of_expiry(const char *what, const char *file, int64_t not_after_s, int64_t now_s) {
  if (not_after_s <= now_s)
    log_event(LOG_LEVEL_ERROR, "a certificate has expired: clients refuse it or are refused, renew it",
              LOG_CSTR("which", what), LOG_CSTR("file", file),
              LOG_INT("expired_days_ago", (now_s - not_after_s) / 86400));
  else if (not_after_s - now_s < (int64_t)EXPIRY_WARNING_DAYS * 86400)
    log_event(LOG_LEVEL_WARN, "a certificate expires soon: renew it", LOG_CSTR("which", what),
              LOG_CSTR("file", file), LOG_INT("days_left", (not_after_s - now_s) / 86400));
}

static void look_at_expiry(struct tls *tls, const struct tls_certificates *set) {
  struct port *port = tls->options.port;
  int64_t now_s = port->wall_us(port) / 1000000;
  for (size_t i = 0; i < set->count; i++)
    warn_of_expiry("server", tls->options.certificate_files[i], certificate_not_after_s(set->all[i].x509),
                   now_s);
  if (set->client_ca_not_after_s != INT64_MAX)
    warn_of_expiry("CA of clients", tls->options.client_ca_file, set->client_ca_not_after_s, now_s);
  tls->warn_next_us = monotonic_us(tls) + DAY_US;
}

/* ---- Loading ---- */

/* Under load_mutex, or before there is another thread. Connections that are being made keep the old set. */
static status load(struct tls *tls, struct tls_tickets *tickets) {
  look(tls, tls->tried); /* before reading: what changes meanwhile is then seen as a change */
  tls->seen_since_us = 0;
  struct tls_certificates *set;
  STATUS_TRY(tls_certificates_load(&tls->options, tickets, &set));
  look_at_expiry(tls, set);
  pthread_mutex_lock(&tls->mutex);
  struct tls_certificates *old = tls->current;
  tls->current = set;
  pthread_mutex_unlock(&tls->mutex);
  tls_certificates_unref(old);
  return status_ok();
}

static status reload(struct tls *tls) {
  status result = load(tls, tls->current->tickets);
  pthread_mutex_lock(&tls->mutex);
  tls->stats.reloads += status_is_ok(&result);
  tls->stats.reloads_failed += !status_is_ok(&result);
  pthread_mutex_unlock(&tls->mutex);
  return result;
}

status tls_reload(struct tls *tls) {
  pthread_mutex_lock(&tls->load_mutex);
  status result = reload(tls);
  pthread_mutex_unlock(&tls->load_mutex);
  return result;
}

static status check_options(const struct tls_options *options) {
  if (options->count == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "TLS needs a certificate and its key: name both files");
  for (size_t i = 0; i < options->count; i++)
    if (options->certificate_files[i] == NULL || options->key_files[i] == NULL)
      return status_make(STATUS_INVALID_ARGUMENT, "TLS needs a key file for each certificate file");
  if (options->client_certificates != TLS_CLIENT_NONE && options->client_ca_file == NULL)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "client certificates are asked for, but no CA that they are checked against: name its "
                       "file, or ask for none");
  return status_ok();
}

static status copy_options(const struct tls_options *options, struct tls *tls) {
  tls->options = *options;
  tls->options.certificate_files = copy_texts(options->certificate_files, options->count);
  tls->options.key_files = copy_texts(options->key_files, options->count);
  tls->options.client_ca_file = options->client_ca_file == NULL ? NULL : strdup(options->client_ca_file);
  if (options->port == NULL)
    tls->options.port = port_linux();
  tls->file_count = 2 * options->count + (options->client_ca_file != NULL);
  tls->tried = calloc(tls->file_count + 1, sizeof *tls->tried);
  tls->seen = calloc(tls->file_count + 1, sizeof *tls->seen);
  if (tls->options.certificate_files == NULL || tls->options.key_files == NULL || tls->tried == NULL ||
      tls->seen == NULL || (options->client_ca_file != NULL && tls->options.client_ca_file == NULL))
    return status_make(STATUS_RESOURCE_EXHAUSTED, "no memory for TLS");
  return status_ok();
}

status tls_open(const struct tls_options *options, struct tls **ret) {
  STATUS_TRY(check_options(options));
  struct tls *tls = calloc(1, sizeof *tls);
  if (tls == NULL)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "no memory for TLS");
  pthread_mutex_init(&tls->load_mutex, NULL);
  pthread_mutex_init(&tls->mutex, NULL);
  status result = copy_options(options, tls);
  struct tls_tickets *tickets = status_is_ok(&result) ? tls_tickets_new(tls->options.port) : NULL;
  if (status_is_ok(&result))
    result =
        tickets == NULL ? status_make(STATUS_RESOURCE_EXHAUSTED, "no memory for TLS") : load(tls, tickets);
  tls_tickets_unref(tickets); /* the set has its own */
  if (status_is_ok(&result))
    *ret = tls;
  else
    tls_close(tls);
  return result;
}

void tls_close(struct tls *tls) {
  if (tls == NULL)
    return;
  tls_certificates_unref(tls->current);
  free_texts(tls->options.certificate_files, tls->options.count);
  free_texts(tls->options.key_files, tls->options.count);
  free((void *)(uintptr_t)tls->options.client_ca_file);
  free(tls->tried);
  free(tls->seen);
  pthread_mutex_destroy(&tls->load_mutex);
  pthread_mutex_destroy(&tls->mutex);
  free(tls);
}

/* ---- The tick ---- */

static void reload_and_log(struct tls *tls) {
  status result = reload(tls);
  if (status_is_ok(&result))
    log_event(LOG_LEVEL_INFO, "certificates reloaded", LOG_INT("certificates", tls->options.count));
  else
    log_event(LOG_LEVEL_ERROR, "certificates have changed but cannot be used, the old ones stay",
              LOG_CSTR("reason", result.message));
}

/* Whoever renews writes several files one after the other: only when all are quiet are they read. */
static bool has_settled(struct tls *tls, int64_t now_us) {
  struct mark *now = calloc(tls->file_count, sizeof *now);
  if (now == NULL)
    return false;
  look(tls, now);
  bool settled = false;
  if (same(tls, now, tls->tried)) {
    tls->seen_since_us = 0;
  } else if (tls->seen_since_us == 0 || !same(tls, now, tls->seen)) {
    memcpy(tls->seen, now, tls->file_count * sizeof *now);
    tls->seen_since_us = now_us;
  } else {
    settled = now_us - tls->seen_since_us >= SECOND_US;
  }
  free(now);
  return settled;
}

void tls_tick(struct tls *tls) {
  pthread_mutex_lock(&tls->load_mutex);
  struct tls_certificates *set = take_current(tls);
  tls_tickets_rotate(set->tickets);
  int64_t now_us = monotonic_us(tls);
  if (has_settled(tls, now_us))
    reload_and_log(tls);
  else if (now_us >= tls->warn_next_us)
    look_at_expiry(tls, set);
  tls_certificates_unref(set);
  pthread_mutex_unlock(&tls->load_mutex);
}

/* ---- Connections ---- */

SSL *tls_accept(struct tls *tls, int fd, bool always_h2) {
  struct tls_certificates *set = take_current(tls);
  SSL *ssl = tls_context_accept(set, fd, always_h2);
  tls_certificates_unref(set);
  ERR_clear_error();
  return ssl;
}

enum tls_protocol tls_protocol(const SSL *ssl) {
  const uint8_t *name;
  unsigned len;
  SSL_get0_alpn_selected(ssl, &name, &len);
  str chosen = str_make(name, len);
  if (str_eq(chosen, STR("h2")))
    return TLS_PROTOCOL_HTTP2;
  return str_eq(chosen, STR("http/1.1")) ? TLS_PROTOCOL_HTTP1 : TLS_PROTOCOL_UNKNOWN;
}

void tls_peer(const SSL *ssl, struct rpc_peer *ret) {
  static_assert(sizeof ret->certificate_sha256 == SHA256_DIGEST_LENGTH, "a digest fits");
  X509 *x509 = SSL_get_peer_certificate(ssl);
  if (x509 == NULL)
    return;
  if (X509_digest(x509, EVP_sha256(), ret->certificate_sha256, NULL)) {
    ret->has_certificate = true;
    certificate_name(x509, ret->certificate_name, sizeof ret->certificate_name);
  }
  X509_free(x509);
}

/* ---- What is in use ---- */

bool tls_certificate(struct tls *tls, size_t index, struct tls_certificate_info *ret) {
  struct tls_certificates *set = take_current(tls);
  bool there = index < set->count;
  if (there) {
    struct certificate_facts facts;
    certificate_facts_of(set->all[index].x509, &facts);
    *ret =
        (struct tls_certificate_info){.not_before_s = facts.not_before_s, .not_after_s = facts.not_after_s};
    certificate_names(set->all[index].x509, ret->names, sizeof ret->names);
    memcpy(ret->key_type, facts.key_type, sizeof ret->key_type);
    memcpy(ret->sha256, facts.sha256, sizeof ret->sha256);
  }
  tls_certificates_unref(set);
  return there;
}

void tls_stats(struct tls *tls, struct tls_stats *ret) {
  pthread_mutex_lock(&tls->mutex);
  *ret = tls->stats;
  pthread_mutex_unlock(&tls->mutex);
}
