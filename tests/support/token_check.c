/* Checks tokens for tests of issuers and accounts, with the server's own settings and parts, skerry-net among
 * them (beside it, or the setting net_program), but without a server: token_check --data DIR [settings]. Each
 * line of standard input is the value of an authorization header, and answered by a line of JSON; "?" asks
 * for the issuers, the end ends it. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/sign_in.h"

enum { LINE_BYTES = 100000 };

static const char *kind_name(enum identity_kind kind) {
  static const char *const names[] = {"signed out", "user", "service account", "owner"};
  return names[kind];
}

static void print_text(const char *name, str text) {
  printf("\"%s\":\"", name);
  for (size_t i = 0; i < text.len; i++) {
    if (text.ptr[i] == '"' || text.ptr[i] == '\\')
      putchar('\\');
    putchar(text.ptr[i]);
  }
  putchar('"');
}

static void check(struct tokens *tokens, const char *line) {
  struct port *port = port_linux();
  struct identity *identity;
  int64_t begin_us = port->monotonic_us(port);
  status result = tokens_verify(tokens, str_from_cstr(line), port->wall_us(port), &identity);
  int64_t took_us = port->monotonic_us(port) - begin_us;
  printf("{\"code\":\"%s\",\"us\":%lld,", status_code_name((int)result.code), (long long)took_us);
  if (status_is_ok(&result)) {
    printf("\"kind\":\"%s\",\"role\":\"%s\",\"claims\":%zu,", kind_name(identity->kind),
           identity_role_name(identity->role), identity->claims.len);
    print_text("uid", identity->uid);
    putchar(',');
    print_text("project", identity->project);
    puts("}");
    identity_unref(identity);
  } else {
    print_text("message", str_from_cstr(result.message));
    puts("}");
  }
}

static void print_issuers(struct tokens *tokens) {
  putchar('[');
  for (size_t i = 0; i < tokens_issuer_count(tokens); i++) {
    struct issuers_info info;
    tokens_issuer_info(tokens, i, &info);
    printf("%s{\"keys\":%zu,\"requests\":%llu,\"failures\":%u,", i == 0 ? "" : ",", info.keys,
           (unsigned long long)info.requests, info.failures);
    print_text("problem", str_from_cstr(info.problem));
    putchar('}');
  }
  puts("]");
}

int main(int argc, char **argv) {
  struct settings settings;
  struct sign_in *sign_in = NULL;
  char *line = malloc(LINE_BYTES);
  status result = settings_load(&settings, argc - 1, argv + 1, environ);
  log_configure(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, STDERR_FILENO);
  if (status_is_ok(&result)) {
    mkdir(settings.data, 0700);
    result = sign_in_open(&settings, port_linux(), &(const struct tokens_own){0}, &sign_in);
  }
  if (!status_is_ok(&result))
    fprintf(stderr, "token_check: %s\n", result.message);
  while (sign_in != NULL && fgets(line, LINE_BYTES, stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "?") == 0)
      print_issuers(sign_in_tokens(sign_in));
    else
      check(sign_in_tokens(sign_in), line);
    fflush(stdout);
  }
  sign_in_close(sign_in);
  settings_fini(&settings);
  free(line);
  return status_is_ok(&result) ? 0 : 1;
}
