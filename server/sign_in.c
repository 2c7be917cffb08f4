#include "server/sign_in.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/tokens/net_fetcher.h"

enum { PATH_BYTES_MAX = 4096, ARENA_BYTES_MAX = 1024 * 1024 };

struct sign_in {
  struct net_client *net; /* NULL: no issuer needs it */
  struct tokens *tokens;
};

/* While they are read. */
struct reading {
  const struct settings *settings;
  const struct tokens_own *own;
  struct arena arena;
  struct issuer_setting issuers[ISSUERS_MAX];
  struct certificate_rule certificates[CERTIFICATE_RULES_MAX];
  const char *origins[ISSUERS_MAX]; /* where their keys are */
  size_t issuer_count;
};

/* Lines of files are short, so audiences may come in several values. */
static status merge(struct issuer_setting *into, const struct issuer_setting *more) {
  if (!str_eq(into->project, more->project) || !str_eq(into->keys_url, more->keys_url) ||
      !str_eq(into->provider, more->provider))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "issuer %s is there twice, with another project, other keys or another provider",
                       into->url.ptr);
  if (into->audience_count + more->audience_count > ISSUER_AUDIENCES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "issuer %s has more than %d audiences", into->url.ptr,
                       ISSUER_AUDIENCES_MAX);
  memcpy(into->audiences + into->audience_count, more->audiences, more->audience_count * sizeof(str));
  into->audience_count += more->audience_count;
  return status_ok();
}

static status read_issuers(struct reading *reading) {
  const struct settings_list *list = &reading->settings->issuer;
  for (unsigned i = 0; i < list->count; i++) {
    struct issuer_setting issuer;
    STATUS_TRY(issuer_setting_parse(str_from_cstr(list->items[i]), reading->settings->dev, &reading->arena,
                                    &issuer));
    size_t same = 0;
    while (same < reading->issuer_count && !str_eq(reading->issuers[same].url, issuer.url))
      same++;
    if (same < reading->issuer_count) {
      STATUS_TRY(merge(&reading->issuers[same], &issuer));
      continue;
    }
    if (reading->issuer_count == ISSUERS_MAX)
      return status_make(STATUS_INVALID_ARGUMENT, "more than %d issuers", ISSUERS_MAX);
    reading->issuers[reading->issuer_count] = issuer;
    reading->origins[reading->issuer_count++] =
        issuer.keys_url.len > 0 ? issuer.keys_url.ptr : issuer.url.ptr;
  }
  return status_ok();
}

static status read_certificates(struct reading *reading) {
  const struct settings_list *list = &reading->settings->certificate;
  if (list->count > CERTIFICATE_RULES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "more than %d values for certificate", CERTIFICATE_RULES_MAX);
  for (unsigned i = 0; i < list->count; i++)
    STATUS_TRY(
        certificate_rule_parse(str_from_cstr(list->items[i]), &reading->arena, &reading->certificates[i]));
  if (list->count > 0 && *reading->settings->tls_client_ca == '\0')
    return status_make(STATUS_INVALID_ARGUMENT,
                       "certificate says who clients with certificates are, so it needs tls_client_ca and "
                       "tls_client_certificates.");
  return status_ok();
}

static const char *text_or_null(const char *text) {
  return *text == '\0' ? NULL : text;
}

static status open_net(struct sign_in *sign_in, const struct reading *reading) {
  const struct settings *s = reading->settings;
  struct net_client_options options = {.program = text_or_null(s->net_program),
                                       .origins = reading->origins,
                                       .origin_count = reading->issuer_count,
                                       .ca_file = text_or_null(s->issuer_ca),
                                       .user = text_or_null(s->net_user),
                                       .proxy = text_or_null(s->net_proxy),
                                       .loopback_http = s->dev};
  return net_client_open(&options, &sign_in->net);
}

static status open_tokens(struct sign_in *sign_in, const struct reading *reading, struct port *port) {
  char directory[PATH_BYTES_MAX];
  int len = snprintf(directory, sizeof directory, "%s/tokens", reading->settings->data);
  if (len < 0 || (size_t)len >= sizeof directory)
    return status_make(STATUS_INVALID_ARGUMENT, "The path of the data directory is too long.");
  struct tokens_options options = {.port = port,
                                   .directory = directory,
                                   .issuers = reading->issuers,
                                   .issuer_count = reading->issuer_count,
                                   .certificates = reading->certificates,
                                   .certificate_count = reading->settings->certificate.count,
                                   .own = *reading->own,
                                   .dev = reading->settings->dev};
  if (sign_in->net != NULL)
    options.fetcher = net_fetcher(sign_in->net);
  return tokens_open(&options, &sign_in->tokens);
}

static status open_all(struct sign_in *sign_in, struct reading *reading, struct port *port) {
  STATUS_TRY(read_issuers(reading));
  STATUS_TRY(read_certificates(reading));
  if (reading->issuer_count > 0)
    STATUS_TRY(open_net(sign_in, reading));
  return open_tokens(sign_in, reading, port);
}

status sign_in_open(const struct settings *settings, struct port *port, const struct tokens_own *own,
                    struct sign_in **ret) {
  struct sign_in *sign_in = calloc(1, sizeof *sign_in);
  struct reading *reading = calloc(1, sizeof *reading);
  status result = status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to check who calls.");
  if (sign_in != NULL && reading != NULL) {
    reading->settings = settings;
    reading->own = own;
    arena_init(&reading->arena, NULL, 0, ARENA_BYTES_MAX);
    result = open_all(sign_in, reading, port);
    arena_fini(&reading->arena);
  }
  free(reading);
  if (status_is_ok(&result)) {
    *ret = sign_in;
    return result;
  }
  sign_in_close(sign_in);
  return result;
}

void sign_in_close(struct sign_in *sign_in) {
  if (sign_in == NULL)
    return;
  if (sign_in->net != NULL)
    net_client_stop(sign_in->net); /* lets the thread go that fetches */
  tokens_close(sign_in->tokens);
  net_client_close(sign_in->net);
  free(sign_in);
}

struct tokens *sign_in_tokens(const struct sign_in *sign_in) {
  return sign_in->tokens;
}
