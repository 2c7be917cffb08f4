/* `skerry bench`, and skerry-bench where the server is not built in. */
#include "bench/command.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/listen_command.h"
#include "bench/load.h"

static const char usage[] =
    "skerry bench MODE [options]\n"
    "  MODE  echo, get (GetDocument), commit (upserts), fill (writes documents 0 to "
    "N-1), list (ListDocuments),\n"
    "        batchget (BatchGetDocuments), stream (20 messages a call, of the bench's echo), query-fill,\n"
    "        query-fill-leaves, query-batchget, query-equal, query-join, query-range, query-contains,\n"
    "        query-or, query-group, query-count; and `listen`, which has a usage of its own\n"
    "  --target ADDRESS     127.0.0.1:8080\n"
    "  --connections N      16\n"
    "  --in-flight N        calls at once on a connection (16)\n"
    "  --rate N             calls a second by the clock, whatever is answered; those above are the most "
    "then\n"
    "  --seconds S          of measuring (5); for fill at the most\n"
    "  --warm-up S          before it (1)\n"
    "  --documents N        how many there are to choose from (10000)\n"
    "  --bytes N            of a document's fields, or of an echo (200)\n"
    "  --fields N           of a document (1), texts and numbers by turns\n"
    "  --writes N           writes, or documents, of one call (1)\n"
    "  --unique FIRST       commit: names never used before, from this number on\n"
    "  --collection ID      items\n"
    "  --database NAME      projects/demo-bench/databases/(default)\n"
    "  --authorization TEXT the header (\"Bearer owner\" for the emulator)\n"
    "  --label TEXT         for the output\n";

enum option_kind { TEXT, NUMBER };

/* Where an option goes, and what it may be. */
struct option_rule {
  const char *name;
  enum option_kind kind;
  double least, most;
  const char **text;
  double *number;
};

struct arguments {
  const char *target, *collection, *database, *authorization, *label;
  double connections, in_flight, rate, seconds, warm_up, documents, bytes, fields, writes, unique;
};

static bool parse_number(const char *text, const struct option_rule *rule) {
  char *end;
  double number = strtod(text, &end);
  if (end == text || *end != '\0' || !(number >= rule->least && number <= rule->most))
    return false;
  *rule->number = number;
  return true;
}

/* Explains a mistake itself. */
static bool parse_option(const struct option_rule *rules, size_t count, const char *name, const char *value) {
  for (const struct option_rule *rule = rules; rule < rules + count; rule++) {
    if (strncmp(name, "--", 2) != 0 || strcmp(name + 2, rule->name) != 0)
      continue;
    if (value == NULL) {
      fprintf(stderr, "%s needs a value\n", name);
    } else if (rule->kind == TEXT) {
      *rule->text = value;
      return true;
    } else if (parse_number(value, rule)) {
      return true;
    } else {
      fprintf(stderr, "%s takes a number from %g to %g, not \"%s\"\n", name, rule->least, rule->most, value);
    }
    return false;
  }
  fprintf(stderr, "there is no option \"%s\"\n", name);
  return false;
}

static bool parse(int argc, char **argv, struct arguments *to) {
  const struct option_rule rules[] = {
      {.name = "target", .text = &to->target},
      {.name = "collection", .text = &to->collection},
      {.name = "database", .text = &to->database},
      {.name = "authorization", .text = &to->authorization},
      {.name = "label", .text = &to->label},
      {"connections", NUMBER, 1, 1000, NULL, &to->connections},
      {"in-flight", NUMBER, 1, 10000, NULL, &to->in_flight},
      {"rate", NUMBER, 1, 1e7, NULL, &to->rate},
      {"seconds", NUMBER, 0.01, 600, NULL, &to->seconds},
      {"warm-up", NUMBER, 0, 60, NULL, &to->warm_up},
      {"documents", NUMBER, 1, 1e9, NULL, &to->documents},
      {"bytes", NUMBER, 0, 1000000, NULL, &to->bytes},
      {"fields", NUMBER, 1, 1000, NULL, &to->fields},
      {"writes", NUMBER, 1, 5000, NULL, &to->writes},
      {"unique", NUMBER, 0, 1e9, NULL, &to->unique},
  };
  for (int i = 0; i < argc; i += 2)
    if (!parse_option(rules, sizeof rules / sizeof rules[0], argv[i], i + 1 < argc ? argv[i + 1] : NULL))
      return false;
  return true;
}

static bool parse_mode(const char *text, enum load_mode *ret) {
  for (int mode = 0; mode < LOAD_MODES; mode++)
    if (strcmp(text, load_mode_names[mode]) == 0) {
      *ret = (enum load_mode)mode;
      return true;
    }
  fprintf(stderr, "there is no mode \"%s\"\n", text);
  return false;
}

static void print_result(const struct load_options *load, const char *label,
                         const struct load_result *result) {
  double calls = (double)result->latency.total, per_s = result->seconds > 0 ? calls / result->seconds : 0;
  double p50 = durations_quantile(&result->latency, 0.5), p99 = durations_quantile(&result->latency, 0.99);
  printf("{\"label\":\"%s\",\"mode\":\"%s\",\"connections\":%u,\"in_flight\":%u,\"bytes\":%u,\"writes\":%u,"
         "\"seconds\":%.3f,\"ok\":%.0f,\"per_s\":%.1f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%lld,"
         "\"client_cpu_s\":%.3f,\"bytes_in\":%llu,\"failed\":%llu,\"unsent\":%llu,\"next\":%llu,\"errors\":{",
         label, load_mode_names[load->request.mode], load->connections, load->in_flight, load->request.bytes,
         load->request.writes, result->seconds, calls, per_s, p50, p99, (long long)result->latency.max_us,
         result->cpu_s, (unsigned long long)result->bytes_in, (unsigned long long)result->failed,
         (unsigned long long)result->unsent, (unsigned long long)result->next);
  const char *separator = "";
  for (int code = 0; code <= STATUS_CODE_MAX; code++)
    if (result->by_code[code] > 0) {
      printf("%s\"%s\":%llu", separator, status_code_name(code), (unsigned long long)result->by_code[code]);
      separator = ",";
    }
  puts("}}");
  fprintf(stderr,
          "%-24s %-9s %4u x %-4u %10.0f calls/s   p50 %7.0f us   p99 %7.0f us   max %8lld us   failed %llu\n",
          label, load_mode_names[load->request.mode], load->connections, load->in_flight, per_s, p50, p99,
          (long long)result->latency.max_us, (unsigned long long)result->failed);
  if (!status_is_ok(&result->first_failure))
    fprintf(stderr, "  first failure: %s: %s\n", status_code_name((int)result->first_failure.code),
            result->first_failure.message);
}

int bench_command(int argc, char **argv) {
  if (argc > 0 && strcmp(argv[0], "listen") == 0)
    return listen_command(argc - 1, argv + 1);
  struct arguments arguments = {.target = "127.0.0.1:8080",
                                .database = "projects/demo-bench/databases/(default)",
                                .label = "",
                                .connections = 16,
                                .in_flight = 16,
                                .seconds = 5,
                                .warm_up = 1,
                                .documents = 10000,
                                .bytes = 200,
                                .fields = 1,
                                .writes = 1,
                                .unique = -1};
  struct load_options load = {0};
  if (argc < 1 || !parse_mode(argv[0], &load.request.mode) || !parse(argc - 1, argv + 1, &arguments)) {
    fputs(usage, stderr);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  load.target = arguments.target;
  load.authorization = arguments.authorization;
  load.connections = (unsigned)arguments.connections;
  load.in_flight = (unsigned)arguments.in_flight;
  load.rate = arguments.rate;
  load.measure_s = arguments.seconds;
  load.warm_up_s = arguments.warm_up;
  load.request.collection = arguments.collection;
  load.request.database = arguments.database;
  load.request.documents = (uint64_t)arguments.documents;
  load.request.bytes = (uint32_t)arguments.bytes;
  load.request.fields = (uint32_t)arguments.fields;
  load.request.writes = (uint32_t)arguments.writes;
  load.request.unique = arguments.unique >= 0;
  load.first = load.request.unique ? (uint64_t)arguments.unique : 0;
  struct load_result result;
  status ran = load_run(&load, &result);
  if (!status_is_ok(&ran)) {
    fprintf(stderr, "skerry bench: %s\n", ran.message);
    return 1;
  }
  print_result(&load, arguments.label, &result);
  return result.failed > 0 ? 1 : 0;
}
