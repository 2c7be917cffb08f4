#include "server/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/print.h"

bool client_take_flag(const char *name, int argc, char **argv, int *at, const char **ret) {
  const char *flag = argv[*at];
  size_t len = strlen(name);
  if (strncmp(flag, name, len) != 0)
    return false;
  if (flag[len] == '=') {
    *ret = flag + len + 1;
    return true;
  }
  if (flag[len] != '\0' || *at + 1 >= argc)
    return false;
  *ret = argv[++*at];
  return true;
}

const char *client_default_data(void) {
  const char *data = getenv("SKERRY_DATA");
  return data != NULL ? data : "./data";
}

void client_say(const char *head, const char *message) {
  struct buf text = {0};
  print_for_terminal(&text, str_from_cstr(message));
  fprintf(stderr, "%s: " STR_FMT "\n", head, STR_ARG(buf_str(&text)));
  buf_fini(&text);
}

int client_failed(const char *command, const status *result) {
  char head[128];
  snprintf(head, sizeof head, "skerry %s: %s", command, status_code_name((int)result->code));
  client_say(head, result->message);
  return 1;
}

bool client_open_admin(const char *command, const char *data, struct rpc_client **ret) {
  char target[4096];
  int wanted = snprintf(target, sizeof target, "unix:%s/admin.sock", data);
  if (wanted < 0 || (size_t)wanted >= sizeof target || access(target + strlen("unix:"), F_OK) != 0) {
    fprintf(stderr,
            "skerry %s: no server runs on the data directory %s (there is no admin.sock in it). Name another "
            "with --data.\n",
            command, data);
    return false;
  }
  status result = rpc_client_open(target, false, ret);
  if (!status_is_ok(&result))
    client_failed(command, &result);
  return status_is_ok(&result);
}

void client_print(struct buf *out) {
  if (out->failed)
    fputs("skerry: no memory to print\n", stderr);
  else if (out->len > 0)
    fwrite(out->data, 1, out->len, stdout);
  buf_fini(out);
}
