/* The process skerry-net, from outside: started with one end of a socket pair. For client.c. */
#ifndef SKERRY_NET_CHILD_H
#define SKERRY_NET_CHILD_H

#include <sys/types.h>

#include "base/status.h"

struct child {
  pid_t pid;
  int fd; /* our end; non-blocking */
};

/* arguments[0] is the program; NULL at the end. It inherits descriptors 0 to 2 and its end as 3, an empty
 * environment and no blocked signals. UNAVAILABLE. */
STATUS_MUST_USE status child_start(char *const *arguments, struct child *ret);

/* Closes our end and waits until it is gone, which is at once, or it is killed. */
void child_end(struct child *child);

#endif
