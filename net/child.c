#include "net/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILD_FD = 3, WAIT_STEP_MS = 10, WAIT_STEPS = 200 };

static status cannot_start(const char *program, int error) {
  return status_make(STATUS_UNAVAILABLE, "%s cannot be started: %s", program, strerror(error));
}

/* 0 or an errno. */
static int spawn(char *const *arguments, int their_end, pid_t *ret) {
  static char *const environment[] = {NULL};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0)
    return error;
  error = posix_spawnattr_init(&attributes);
  if (error != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  /* Onto itself it only loses close-on-exec. */
  error = posix_spawn_file_actions_adddup2(&actions, their_end, CHILD_FD);
  if (error == 0)
    error = posix_spawn_file_actions_addclosefrom_np(&actions, CHILD_FD + 1);
  if (error == 0)
    error = posix_spawnattr_setsigmask(&attributes, &none);
  if (error == 0)
    error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (error == 0)
    error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  if (error == 0)
    error = posix_spawn(ret, arguments[0], &actions, &attributes, arguments, environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error;
}

status child_start(char *const *arguments, struct child *ret) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return cannot_start(arguments[0], errno);
  pid_t pid = -1;
  int error = fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 ? errno : spawn(arguments, ends[1], &pid);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return cannot_start(arguments[0], error);
  }
  *ret = (struct child){pid, ends[0]};
  return status_ok();
}

void child_end(struct child *child) {
  close(child->fd);
  pid_t ended = 0;
  for (unsigned i = 0; i < WAIT_STEPS && ended == 0; i++) {
    ended = waitpid(child->pid, NULL, WNOHANG);
    if (ended == 0)
      nanosleep(&(struct timespec){.tv_nsec = WAIT_STEP_MS * 1000000L}, NULL);
  }
  if (ended == 0) {
    kill(child->pid, SIGKILL);
    waitpid(child->pid, NULL, 0);
  }
  *child = (struct child){.pid = -1, .fd = -1};
}
