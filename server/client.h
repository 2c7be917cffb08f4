/* What the commands that ask a running server share. */
#ifndef SKERRY_SERVER_CLIENT_H
#define SKERRY_SERVER_CLIENT_H

#include <stdbool.h>

#include "base/status.h"
#include "base/str.h"
#include "rpc/client.h"

enum { CLIENT_RESPONSE_BYTES_MAX = 64 * 1024 * 1024 };

/* Whether argv[*at] is `name` with a value, which becomes *ret; the value may be the next argument. */
bool client_take_flag(const char *name, int argc, char **argv, int *at, const char **ret);

/* Where the server's data directory is without --data. */
const char *client_default_data(void);

/* Connects to the administration of the server on a data directory. Says on standard error what is wrong, and
 * gives false. */
bool client_open_admin(const char *command, const char *data, struct rpc_client **ret);

/* Prints a message on standard error, after `head`, with a line break. What strangers wrote in it does not
 * steer the terminal. */
void client_say(const char *head, const char *message);
/* Says what failed; the exit code. */
int client_failed(const char *command, const status *result);

/* Prints and frees. */
void client_print(struct buf *out);

#endif
