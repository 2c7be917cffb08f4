#include "bench/listen_command.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "bench/durations.h"
#include "bench/listeners.h"

static const char usage[] =
    "skerry bench listen TARGET KIND CONNECTIONS STREAMS TARGETS [AUTHORIZATION]\n"
    "  STREAMS of each connection, TARGETS of each stream.\n"
    "  KIND  one (all listen to one document), each (each to one of its own), query (each to one of 100\n"
    "        collections), broadcast (of bare_broadcast)\n"
    "Then on standard input:\n"
    "  open SECONDS           all streams at once, at most so long until all are current\n"
    "  resume SECONDS         the same, from the last snapshot of each\n"
    "  close\n"
    "  rounds SECONDS BYTES   a document is written and has come everywhere, and again\n"
    "  rate SECONDS BYTES     one writer that waits for nothing but its answers\n"
    "  touch COUNT BYTES      so many documents are written: each comes to its own listener alone\n"
    "  fill COUNT BYTES       writes documents 0 to COUNT - 1 of each of the 100 collections\n";

enum { COLLECTIONS = 100, QUIET_MS = 300, LATE_S = 30 };

static double seconds_since(int64_t us) {
  return (double)(listeners_now_us() - us) * 1e-6;
}

static double cpu_seconds(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static bool say_failed(const char *what) {
  printf("{\"error\":\"%s\"}\n", what);
  return false;
}

/* Waits for the answer. */
static bool finish_write(struct listeners *all) {
  for (int64_t begin = listeners_now_us(); all->is_writing && seconds_since(begin) < LATE_S;)
    listeners_turn(all, 100);
  return !all->is_writing && status_is_ok(&all->written);
}

static bool do_open(struct listeners *all, bool resumes, double seconds) {
  uint64_t wanted = listeners_target_count(all), changes = all->changes;
  int64_t begin = listeners_now_us();
  status opened = listeners_open(all, resumes);
  if (!status_is_ok(&opened))
    return say_failed(opened.message);
  while (all->current + all->lost < wanted && seconds_since(begin) < seconds)
    listeners_turn(all, 100);
  double taken = seconds_since(begin);
  for (int64_t last = listeners_now_us(); seconds_since(last) < 0.1;)
    listeners_turn(all, 20); /* the snapshots, and their tokens */
  printf("{\"seconds\":%.4f,\"current\":%llu,\"wanted\":%llu,\"lost\":%llu,\"refused\":%llu,\"resets\":%llu,"
         "\"changes\":%llu,\"bytes_in\":%llu}\n",
         taken, (unsigned long long)all->current, (unsigned long long)wanted, (unsigned long long)all->lost,
         (unsigned long long)all->refused, (unsigned long long)all->resets,
         (unsigned long long)(all->changes - changes), (unsigned long long)all->bytes_in);
  return true;
}

static bool do_rounds(struct listeners *all, double seconds, uint32_t bytes) {
  struct durations last = {0}, answered = {0};
  uint64_t each = listeners_target_count(all);
  double cpu = cpu_seconds();
  int64_t begin = listeners_now_us();
  while (seconds_since(begin) < seconds) {
    uint64_t until = all->changes + each;
    int64_t round = listeners_now_us(), answer = 0;
    if (!listeners_write(all, 0, 1, bytes))
      return say_failed("a write could not be sent");
    while ((all->is_writing || all->changes < until) && seconds_since(round) < LATE_S) {
      listeners_turn(all, 100);
      if (answer == 0 && !all->is_writing)
        answer = listeners_now_us();
    }
    if (all->is_writing || !status_is_ok(&all->written) || all->changes != until)
      return say_failed("a change did not reach all listeners exactly once");
    durations_add(&last, all->last_change_us - round);
    durations_add(&answered, answer - round);
  }
  double taken = seconds_since(begin);
  printf("{\"calls\":%llu,\"per_s\":%.1f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%lld,"
         "\"answered_p50_us\":%.0f,\"client_cpu_s\":%.3f}\n",
         (unsigned long long)last.total * each, (double)last.total * (double)each / taken,
         durations_quantile(&last, 0.5), durations_quantile(&last, 0.99), (long long)last.max_us,
         durations_quantile(&answered, 0.5), cpu_seconds() - cpu);
  return true;
}

static bool do_rate(struct listeners *all, double seconds, uint32_t bytes) {
  uint64_t before = all->changes, commits = 0;
  double cpu = cpu_seconds();
  int64_t begin = listeners_now_us();
  while (seconds_since(begin) < seconds) {
    if (!all->is_writing && commits > 0 && !status_is_ok(&all->written))
      return say_failed(all->written.message);
    if (!all->is_writing && listeners_write(all, 0, 1, bytes))
      commits++;
    listeners_turn(all, 100);
  }
  finish_write(all);
  for (int64_t quiet = listeners_now_us(); seconds_since(quiet) * 1000 < QUIET_MS;) {
    uint64_t changes = all->changes;
    listeners_turn(all, QUIET_MS / 3);
    if (all->changes != changes)
      quiet = listeners_now_us();
  }
  double taken = (double)(all->last_change_us - begin) * 1e-6;
  uint64_t changes = all->changes - before;
  printf("{\"calls\":%llu,\"per_s\":%.1f,\"commits\":%llu,\"seconds\":%.3f,\"client_cpu_s\":%.3f}\n",
         (unsigned long long)changes, (double)changes / taken, (unsigned long long)commits, taken,
         cpu_seconds() - cpu);
  return true;
}

static bool do_touch(struct listeners *all, unsigned count, uint32_t bytes) {
  struct durations latency = {0};
  uint64_t before = all->changes, astray = 0;
  for (unsigned i = 0; i < count; i++) {
    uint64_t target = (uint64_t)i * UINT64_C(2654435761) % listeners_target_count(all);
    uint64_t until = all->changes + 1;
    int64_t begin = listeners_now_us();
    if (!listeners_write(all, target, 1, bytes))
      return say_failed("a write could not be sent");
    while ((all->is_writing || all->changes < until) && seconds_since(begin) < LATE_S)
      listeners_turn(all, 100);
    astray += all->last_target != target;
    durations_add(&latency, all->last_change_us - begin);
  }
  for (int64_t last = listeners_now_us(); seconds_since(last) * 1000 < QUIET_MS;)
    listeners_turn(all, QUIET_MS);
  printf("{\"written\":%u,\"came\":%llu,\"astray\":%llu,\"p50_us\":%.0f,\"p99_us\":%.0f}\n", count,
         (unsigned long long)(all->changes - before), (unsigned long long)astray,
         durations_quantile(&latency, 0.5), durations_quantile(&latency, 0.99));
  return true;
}

static bool do_fill(struct listeners *all, unsigned count, uint32_t bytes) {
  for (unsigned i = 0; i < COLLECTIONS; i++)
    if (!listeners_write(all, i, count, bytes) || !finish_write(all))
      return say_failed(all->written.message);
  puts("{}");
  return true;
}

static bool do_line(struct listeners *all, const char *line) {
  char command[16] = "", *end;
  int length = 0, count = sscanf(line, "%15s%n", command, &length);
  double number = strtod(line + length, &end);
  count += end != line + length;
  const char *rest = end;
  unsigned bytes = (unsigned)strtoul(rest, &end, 10);
  count += count == 2 && end != rest;
  if (strcmp(command, "open") == 0 && count == 2)
    return do_open(all, false, number);
  if (strcmp(command, "resume") == 0 && count == 2)
    return do_open(all, true, number);
  if (strcmp(command, "rounds") == 0 && count == 3)
    return do_rounds(all, number, bytes);
  if (strcmp(command, "rate") == 0 && count == 3)
    return do_rate(all, number, bytes);
  if (strcmp(command, "touch") == 0 && count == 3)
    return do_touch(all, (unsigned)number, bytes);
  if (strcmp(command, "fill") == 0 && count == 3)
    return do_fill(all, (unsigned)number, bytes);
  if (strcmp(command, "close") == 0) {
    listeners_close(all);
    puts("{}");
    return true;
  }
  return say_failed("no such command");
}

static bool parse_kind(const char *text, enum listen_kind *ret) {
  static const char *const names[] = {"one", "each", "query", "broadcast"};
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(text, names[i]) == 0) {
      *ret = (enum listen_kind)i;
      return true;
    }
  return false;
}

int listen_command(int argc, char **argv) {
  struct listeners_options options = {.database = "projects/demo-bench/databases/(default)",
                                      .collection = "live",
                                      .collections = COLLECTIONS};
  if (argc < 5 || argc > 6 || !parse_kind(argv[1], &options.kind)) {
    fputs(usage, stderr);
    return 2;
  }
  options.target = argv[0];
  options.connections = (unsigned)strtoul(argv[2], NULL, 10);
  options.streams = (unsigned)strtoul(argv[3], NULL, 10);
  options.targets = (unsigned)strtoul(argv[4], NULL, 10);
  options.authorization = argc > 5 ? argv[5] : NULL;
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct listeners all;
  status ready = listeners_init(&all, &options);
  bool ok = status_is_ok(&ready) || say_failed(ready.message);
  char line[256];
  while (ok && fgets(line, sizeof line, stdin) != NULL)
    ok = do_line(&all, line);
  listeners_fini(&all);
  return ok ? 0 : 1;
}
