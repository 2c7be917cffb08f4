/* `skerry cert new DIR ... | show FILE`: certificates for TLS, and what one holds. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/client.h"
#include "server/commands.h"
#include "server/listener/certificate.h"
#include "server/print.h"

enum { HOST_NAME_BYTES = 256, DAY_S = 86400 };

struct cert_words {
  const char *verb, *word; /* DIR or FILE */
  const char *names[CERTIFICATE_NAMES_MAX];
  size_t name_count;
  const char *client;
  unsigned days;
  char host[HOST_NAME_BYTES]; /* this machine's, if it is among the names */
};

static bool read_days(const char *text, unsigned *ret) {
  uint64_t days;
  if (!str_to_u64(str_from_cstr(text), &days) || days == 0 || days > CERTIFICATE_DAYS_MAX)
    return false;
  *ret = (unsigned)days;
  return true;
}

static bool read_words(int argc, char **argv, struct cert_words *ret) {
  *ret = (struct cert_words){0};
  for (int i = 0; i < argc; i++) {
    const char *value = NULL;
    if (client_take_flag("--name", argc, argv, &i, &value)) {
      if (ret->name_count == CERTIFICATE_NAMES_MAX)
        return false;
      ret->names[ret->name_count++] = value;
    } else if (client_take_flag("--days", argc, argv, &i, &value)) {
      if (!read_days(value, &ret->days))
        return false;
    } else if (client_take_flag("--client", argc, argv, &i, &ret->client)) {
      continue;
    } else if (argv[i][0] == '-') {
      return false;
    } else if (ret->verb == NULL) {
      ret->verb = argv[i];
    } else if (ret->word == NULL) {
      ret->word = argv[i];
    } else {
      return false;
    }
  }
  if (ret->verb == NULL || ret->word == NULL || *ret->word == '\0')
    return false;
  if (strcmp(ret->verb, "show") == 0)
    return ret->name_count == 0 && ret->client == NULL && ret->days == 0;
  return strcmp(ret->verb, "new") == 0 && (ret->client == NULL || ret->name_count == 0);
}

/* ---- Printing ---- */

static void append_days_left(struct buf *out, const struct certificate_facts *facts) {
  struct port *port = port_linux();
  int64_t now_s = port->wall_us(port) / 1000000;
  if (now_s < facts->not_before_s)
    buf_append_str(out, STR("NOT VALID YET"));
  else if (now_s >= facts->not_after_s)
    buf_printf(out, "EXPIRED %lld days ago", (long long)(now_s - facts->not_after_s) / DAY_S);
  else
    buf_printf(out, "%lld days left", (long long)(facts->not_after_s - now_s + DAY_S - 1) / DAY_S);
}

/* Certificates know whole seconds. */
static void append_time(struct buf *out, int64_t time_s) {
  print_time(out, time_s * 1000000);
  if (!out->failed) {
    out->len -= strlen(".000000Z");
    buf_append_byte(out, 'Z');
  }
}

static void append_facts(struct buf *out, const struct certificate_facts *facts) {
  buf_printf(out, "  subject   %s%s\n", facts->subject, facts->is_ca ? " (a CA)" : "");
  if (strcmp(facts->subject, facts->issuer) != 0)
    buf_printf(out, "  issuer    %s\n", facts->issuer);
  if (facts->names[0] != '\0')
    buf_printf(out, "  names     %s\n", facts->names);
  buf_printf(out, "  key       %s\n  valid     ", facts->key_type);
  append_time(out, facts->not_before_s);
  buf_append_str(out, STR(" to "));
  append_time(out, facts->not_after_s);
  buf_append_str(out, STR(", "));
  append_days_left(out, facts);
  buf_printf(out, "\n  sha256    %s\n  pin       sha256/%s\n", facts->sha256, facts->key_sha256);
}

static status append_file(struct buf *out, const char *file) {
  struct certificate_facts *facts;
  size_t count;
  STATUS_TRY(certificate_read(file, &facts, &count));
  for (size_t i = 0; i < count; i++) {
    if (count > 1)
      buf_printf(out, "%s, number %zu\n", file, i + 1);
    else
      buf_printf(out, "%s\n", file);
    append_facts(out, &facts[i]);
  }
  free(facts);
  return status_ok();
}

/* ---- new ---- */

/* DIR/NAME.pem and DIR/NAME.key; the texts are owned and freed with free_files. */
static struct certificate_files files_in(const char *directory, const char *name) {
  struct buf certificate_file = {0}, key_file = {0};
  buf_printf(&certificate_file, "%s/%s.pem", directory, name);
  buf_printf(&key_file, "%s/%s.key", directory, name);
  buf_append_byte(&certificate_file, '\0');
  buf_append_byte(&key_file, '\0');
  if (certificate_file.failed || key_file.failed)
    abort(); /* no memory for a path: nothing sensible is left to do */
  return (struct certificate_files){(char *)certificate_file.data, (char *)key_file.data};
}

static void free_files(struct certificate_files files) {
  free((void *)(uintptr_t)files.certificate);
  free((void *)(uintptr_t)files.key);
}

/* The name of a client becomes that of its files. */
static status check_client(const char *name) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-";
  if (*name == '\0' || *name == '.' || *name == '-' || name[strspn(name, allowed)] != '\0' ||
      strcmp(name, "ca") == 0 || strcmp(name, "server") == 0)
    return status_make(
        STATUS_INVALID_ARGUMENT,
        "\"%s\" cannot be a client's name, because files are named by it: use letters, digits, "
        "\".\", \"_\", \"@\" and \"-\", and neither \"ca\" nor \"server\"",
        name);
  return status_ok();
}

static status make_directory(const char *directory) {
  if (mkdir(directory, 0700) == 0 || errno == EEXIST)
    return status_ok();
  return status_make(STATUS_FAILED_PRECONDITION, "cannot make the directory %s: %s", directory,
                     strerror(errno));
}

/* Half a CA is for the one who has the other half: certificate_make says what is missing. */
static status make_ca_if_needed(struct certificate_files ca, struct buf *out) {
  struct stat facts;
  if (lstat(ca.certificate, &facts) == 0 || lstat(ca.key, &facts) == 0)
    return status_ok();
  STATUS_TRY(certificate_make_ca(NULL, ca));
  STATUS_TRY(append_file(out, ca.certificate));
  buf_printf(out, "  its key   %s (whoever has it can make certificates: keep it to yourself)\n\n", ca.key);
  return status_ok();
}

/* What one reaches a server by while trying: this machine, and its name in the network. */
static void add_default_names(struct cert_words *words) {
  words->names[words->name_count++] = "localhost";
  words->names[words->name_count++] = "127.0.0.1";
  words->names[words->name_count++] = "::1";
  if (gethostname(words->host, sizeof words->host) != 0)
    return;
  words->host[sizeof words->host - 1] = '\0';
  if (strcmp(words->host, "localhost") != 0 && certificate_is_name(words->host))
    words->names[words->name_count++] = words->host;
}

static void append_next_steps(struct buf *out, const struct cert_words *words, struct certificate_files ca,
                              struct certificate_files made) {
  buf_printf(out, "  its key   %s\n\nTry next:\n", made.key);
  if (words->client == NULL)
    buf_printf(out, "  skerry serve --tls-cert %s --tls-key %s\n  clients trust the CA in %s\n",
               made.certificate, made.key, ca.certificate);
  else
    buf_printf(out,
               "  the client shows %s and proves with %s that it is its own\n"
               "  the server checks clients against the CA in %s\n",
               made.certificate, made.key, ca.certificate);
}

static status make_new(struct cert_words *words, struct certificate_files ca, struct certificate_files to,
                       struct buf *out) {
  if (words->client == NULL && words->name_count == 0)
    add_default_names(words);
  struct certificate_request request = {.is_client = words->client != NULL,
                                        .names = words->client != NULL ? &words->client : words->names,
                                        .name_count = words->client != NULL ? 1 : words->name_count,
                                        .days = words->days};
  STATUS_TRY(make_ca_if_needed(ca, out));
  STATUS_TRY(certificate_make(&request, ca, to));
  STATUS_TRY(append_file(out, to.certificate));
  append_next_steps(out, words, ca, to);
  return status_ok();
}

static status run_new(struct cert_words *words, struct buf *out) {
  if (words->client != NULL)
    STATUS_TRY(check_client(words->client));
  for (size_t i = 0; i < words->name_count; i++) /* before a CA is made for nothing */
    if (!certificate_is_name(words->names[i]))
      return status_make(STATUS_INVALID_ARGUMENT, "\"%s\" is neither a DNS name nor an IP address",
                         words->names[i]);
  STATUS_TRY(make_directory(words->word));
  struct certificate_files ca = files_in(words->word, "ca");
  struct certificate_files to = files_in(words->word, words->client != NULL ? words->client : "server");
  status result = make_new(words, ca, to, out);
  free_files(ca);
  free_files(to);
  return result;
}

int command_cert(int argc, char **argv) {
  struct cert_words words;
  if (!read_words(argc, argv, &words)) {
    fprintf(
        stderr,
        "skerry cert: say one of\n"
        "  skerry cert new DIR [--name NAME ...] [--days N]    a server's certificate, and a CA if DIR has "
        "none;\n"
        "                                                      names are DNS names or IP addresses\n"
        "  skerry cert new DIR --client NAME [--days N]        a client's certificate under the same CA\n"
        "  skerry cert show FILE                               what a PEM file holds\n"
        "N is 1 to %d, %d without it\n",
        CERTIFICATE_DAYS_MAX, CERTIFICATE_DAYS);
    return 2;
  }
  struct buf out = {0};
  status result = strcmp(words.verb, "show") == 0 ? append_file(&out, words.word) : run_new(&words, &out);
  if (out.len > 0)
    client_print(&out); /* also before a failure: a CA may have been made by then */
  if (status_is_ok(&result))
    return 0;
  fprintf(stderr, "skerry cert: %s\n", result.message);
  return result.code == STATUS_INVALID_ARGUMENT ? 2 : 1;
}
