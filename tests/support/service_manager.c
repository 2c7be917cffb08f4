/* Plays the service manager for a test: opens sockets for a program, starts it as systemd would, and prints
 * what it is told, one line each, so that the test reads.
 *
 *   service_manager [--socket NAME]... [--unix NAME PATH] [--datagram] [--watchdog MICROSECONDS] -- PROGRAM
 * [ARGUMENT...]
 *
 *   socket NAME 127.0.0.1:PORT      at the start, for each --socket, which the program gets
 *   started PID
 *   notify TEXT                     a datagram from the program; lines are joined by " | "
 *   ended CODE                      the program, and with it this one; 128 + the number of a signal
 *
 * It takes lines on standard input: "signal NUMBER" for the program; "freeze NAME" stops the one thread of
 * that name, "thaw" lets it go on; the end of the input kills the program. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = 3, SOCKETS_MAX = 8, LINE_BYTES = 1024 };

struct plan {
  int sockets[SOCKETS_MAX];
  char names[SOCKETS_MAX][32];
  unsigned count;
  const char *watchdog;
  char **program;
};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void keep(struct plan *plan, int fd, const char *name) {
  if (fd < 0 || plan->count == SOCKETS_MAX)
    fail("socket");
  snprintf(plan->names[plan->count], sizeof plan->names[0], "%s", name);
  plan->sockets[plan->count++] = fd;
}

static int loopback(int type) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
      (type == SOCK_STREAM && listen(fd, 16) != 0))
    fail("socket");
  return fd;
}

static int unix_socket(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 16) != 0)
    fail(path);
  return fd;
}

static void open_tcp(struct plan *plan, const char *name) {
  struct sockaddr_in bound;
  socklen_t size = sizeof bound;
  int fd = loopback(SOCK_STREAM);
  if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0)
    fail("getsockname");
  keep(plan, fd, name);
  printf("socket %s 127.0.0.1:%u\n", name, ntohs(bound.sin_port));
}

static void parse(struct plan *plan, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--socket") == 0 && i + 1 < argc) {
      open_tcp(plan, argv[++i]);
    } else if (strcmp(argv[i], "--unix") == 0 && i + 2 < argc) {
      keep(plan, unix_socket(argv[i + 2]), argv[i + 1]);
      i += 2;
    } else if (strcmp(argv[i], "--datagram") == 0) {
      keep(plan, loopback(SOCK_DGRAM), "odd");
    } else if (strcmp(argv[i], "--watchdog") == 0 && i + 1 < argc) {
      plan->watchdog = argv[++i];
    } else if (strcmp(argv[i], "--") == 0 && i + 1 < argc) {
      plan->program = argv + i + 1;
      return;
    } else {
      break;
    }
  }
  fprintf(stderr, "service_manager: see its source for how to call it\n");
  exit(2);
}

/* In the child: the sockets become 3, 4, ..., from above so that none is overwritten. */
static void become(const struct plan *plan, const char *notify_path) {
  char text[32], names[SOCKETS_MAX * 40] = "";
  int high[SOCKETS_MAX];
  for (unsigned i = 0; i < plan->count; i++) {
    high[i] = fcntl(plan->sockets[i], F_DUPFD, 100);
    snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i == 0 ? "" : ":", plan->names[i]);
  }
  for (unsigned i = 0; i < plan->count; i++)
    if (dup2(high[i], FIRST + (int)i) < 0 || close(high[i]) != 0)
      fail("dup2");
  setenv("NOTIFY_SOCKET", notify_path, 1);
  snprintf(text, sizeof text, "%d", (int)getpid());
  if (plan->count > 0) {
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDNAMES", names, 1);
  }
  if (plan->watchdog != NULL) {
    setenv("WATCHDOG_PID", text, 1);
    setenv("WATCHDOG_USEC", plan->watchdog, 1);
  }
  snprintf(text, sizeof text, "%u", plan->count);
  if (plan->count > 0)
    setenv("LISTEN_FDS", text, 1);
  execv(plan->program[0], plan->program);
  fail(plan->program[0]);
}

static int open_notify(char *path, size_t size) {
  char folder[] = "/tmp/skerry-manager-XXXXXX";
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (mkdtemp(folder) == NULL)
    fail("mkdtemp");
  snprintf(path, size, "%s/notify", folder);
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)
    fail("notify socket");
  return fd;
}

static void remove_notify(char *path) {
  unlink(path);
  *strrchr(path, '/') = '\0';
  rmdir(path);
}

static pid_t find_thread(pid_t pid, const char *name) {
  char path[300], comm[32];
  pid_t found = 0;
  snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  DIR *tasks = opendir(path);
  for (const struct dirent *entry; tasks != NULL && found == 0 && (entry = readdir(tasks)) != NULL;) {
    snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)pid, entry->d_name);
    FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
    if (file != NULL && fgets(comm, sizeof comm, file) != NULL) {
      comm[strcspn(comm, "\n")] = '\0';
      if (strcmp(comm, name) == 0)
        found = (pid_t)strtol(entry->d_name, NULL, 10);
    }
    if (file != NULL)
      fclose(file);
  }
  if (tasks != NULL)
    closedir(tasks);
  return found;
}

static pid_t freeze(pid_t pid, const char *name) {
  int state;
  pid_t thread = find_thread(pid, name);
  if (thread == 0 || ptrace(PTRACE_SEIZE, thread, NULL, NULL) != 0 ||
      ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) != 0 || waitpid(thread, &state, __WALL) != thread)
    fail("freeze");
  printf("frozen %s\n", name);
  return thread;
}

/* False: the input has ended. */
static bool obey(pid_t pid, pid_t *frozen) {
  char line[LINE_BYTES];
  if (fgets(line, sizeof line, stdin) == NULL)
    return false;
  line[strcspn(line, "\n")] = '\0';
  if (strncmp(line, "signal ", 7) == 0)
    kill(pid, (int)strtol(line + 7, NULL, 10));
  else if (strncmp(line, "freeze ", 7) == 0)
    *frozen = freeze(pid, line + 7);
  else if (strcmp(line, "thaw") == 0 && *frozen != 0 && ptrace(PTRACE_DETACH, *frozen, NULL, NULL) == 0)
    *frozen = 0;
  return true;
}

static void tell(int notify) {
  char text[LINE_BYTES];
  for (;;) {
    ssize_t got = recv(notify, text, sizeof text - 1, MSG_DONTWAIT);
    if (got < 0)
      return;
    text[got] = '\0';
    printf("notify ");
    for (const char *at = text; *at != '\0'; at++)
      if (*at == '\n')
        printf(" | ");
      else
        putchar(*at);
    putchar('\n');
  }
}

int main(int argc, char **argv) {
  struct plan plan = {0};
  char path[96];
  setvbuf(stdout, NULL, _IOLBF, 0);
  setvbuf(stdin, NULL, _IONBF, 0); /* what poll says of the descriptor is then true of the stream */
  parse(&plan, argc, argv);
  int notify = open_notify(path, sizeof path);
  pid_t pid = fork(), frozen = 0;
  if (pid == 0)
    become(&plan, path);
  printf("started %d\n", (int)pid);
  int state = 0;
  bool listens = true;
  while (waitpid(pid, &state, WNOHANG) == 0) {
    struct pollfd watched[] = {{.fd = notify, .events = POLLIN},
                               {.fd = listens ? STDIN_FILENO : -1, .events = POLLIN}};
    poll(watched, 2, 50);
    tell(notify);
    if (watched[1].revents != 0 && !obey(pid, &frozen)) {
      listens = false;
      kill(pid, SIGKILL);
    }
  }
  tell(notify);
  remove_notify(path);
  int code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  printf("ended %d\n", code);
  return code;
}
