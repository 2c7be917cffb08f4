#include "server/profile.h"

#include <inttypes.h>

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* tiny and small spare the medium, which is an SD card or eMMC there: compactions come late and take much at
 * once, tables are small by zstd, and their writing is held down. From medium on reads come first. `auto`
 * leaves room for what boards keep for themselves: one of 1 GB shows 900 MB. */
static const struct profile table[PROFILE_COUNT] = {
    {
        .name = "tiny",
        .memory_from_bytes = 0,
        .cores_from = 1,
        .memory_limit_bytes = 64 * MIB,
        .memory_floor_mib = 48,
        .cores_max = 2,
        .stack_bytes = 512 * KIB,
        .query_memory_max = 2 * MIB,
        .send_queue_max = 256 * KIB,
        .calls_max = 1000,
        .connections_max = 500,
        .handshakes_max = 64,
        .store = {.write_buffer_sixteenths = 6,
                  .level0_tables = 8,
                  .level_base_bytes = 16 * MIB,
                  .level_multiplier = 10,
                  .lazy_merges = true,
                  .zstd = true,
                  .background_bytes_per_second = 8 * MIB,
                  .background_jobs = 2,
                  .gather_us = 2000},
    },
    {
        .name = "small",
        .memory_from_bytes = 700 * MIB,
        .cores_from = 1,
        .memory_limit_bytes = 256 * MIB,
        .memory_floor_mib = 64,
        .cores_max = 4,
        .stack_bytes = 512 * KIB,
        .query_memory_max = 4 * MIB,
        .send_queue_max = 512 * KIB,
        .calls_max = 10000,
        .connections_max = 4000,
        .handshakes_max = 512,
        .store = {.write_buffer_sixteenths = 10,
                  .level0_tables = 16,
                  .level_base_bytes = 64 * MIB,
                  .level_multiplier = 10,
                  .lazy_merges = true,
                  .zstd = true,
                  .background_bytes_per_second = 24 * MIB,
                  .background_jobs = 2,
                  .gather_us = 1000},
    },
    {
        .name = "medium",
        .memory_from_bytes = 3 * GIB,
        .cores_from = 2,
        .memory_limit_bytes = 512 * MIB,
        .memory_floor_mib = 64,
        .cores_max = 0,
        .stack_bytes = MIB,
        .query_memory_max = 8 * MIB,
        .send_queue_max = MIB,
        .calls_max = 20000,
        .connections_max = 10000,
        .handshakes_max = 1024,
        .store = {.write_buffer_sixteenths = 4,
                  .level0_tables = 4,
                  .level_base_bytes = 64 * MIB,
                  .level_multiplier = 10,
                  .background_jobs = 2},
    },
    {
        .name = "large",
        .memory_from_bytes = 12 * GIB,
        .cores_from = 4,
        .memory_limit_bytes = 2 * GIB,
        .memory_floor_mib = 64,
        .cores_max = 0,
        .stack_bytes = MIB,
        .query_memory_max = 16 * MIB,
        .send_queue_max = MIB,
        .calls_max = 100000,
        .connections_max = 50000,
        .handshakes_max = 4096,
        .costly_passwords = true,
        .store = {.write_buffer_sixteenths = 4,
                  .level0_tables = 4,
                  .level_base_bytes = 256 * MIB,
                  .level_multiplier = 10,
                  .background_jobs = 4},
    },
};

enum {
  OF_MACHINE = 4,        /* memory_limit takes a quarter at most */
  BESIDE_LIMIT_MIB = 64, /* skerry-net, and what a control group counts beside: files, sockets */
  BESIDE_LIMIT_PART = 4,
  PAGE_BYTES_MOST = 64 * 1024,
};

static uint64_t physical_bytes(const struct port_memory *memory) {
  return memory->physical_bytes > memory->limit_bytes ? memory->physical_bytes : memory->limit_bytes;
}

/* Whether the wall leaves room for this memory_limit. The kernel cuts the wall to whole pages. */
static bool has_room(const struct port_memory *memory, uint64_t memory_limit_bytes) {
  return memory->limit_bytes + PAGE_BYTES_MOST > profile_memory_max(memory_limit_bytes);
}

static const struct profile *fitting(uint64_t memory_bytes, unsigned cores) {
  unsigned best = 0;
  for (unsigned i = 0; i < PROFILE_COUNT; i++)
    if (memory_bytes >= table[i].memory_from_bytes && cores >= table[i].cores_from)
      best = i;
  return &table[best];
}

/* Of so much memory. */
static uint64_t limit_of(const struct profile *profile, uint64_t memory_bytes) {
  uint64_t part = memory_bytes / OF_MACHINE;
  uint64_t floor = (uint64_t)profile->memory_floor_mib * (uint64_t)MIB;
  if (part < floor)
    part = floor;
  return part < profile->memory_limit_bytes ? part : profile->memory_limit_bytes;
}

const struct profile *profile_for_machine(struct port *port, uint64_t memory_limit_bytes) {
  struct port_memory memory = port->memory(port);
  unsigned cores = port->cores(port);
  const struct profile *machine = fitting(physical_bytes(&memory), cores);
  uint64_t limit = memory_limit_bytes > 0 ? memory_limit_bytes : limit_of(machine, physical_bytes(&memory));
  return has_room(&memory, limit) ? machine : fitting(memory.limit_bytes, cores);
}

const struct profile *profile_choose(enum profile_choice choice, struct port *port,
                                     uint64_t memory_limit_bytes) {
  return choice == PROFILE_AUTO ? profile_for_machine(port, memory_limit_bytes)
                                : &table[choice - PROFILE_TINY];
}

const struct profile *profile_at(unsigned index) {
  return &table[index];
}

uint64_t profile_memory_limit(const struct profile *profile, struct port *port) {
  struct port_memory memory = port->memory(port);
  uint64_t limit = limit_of(profile, physical_bytes(&memory));
  return has_room(&memory, limit) ? limit : limit_of(profile, memory.limit_bytes);
}

uint64_t profile_memory_max(uint64_t memory_limit_bytes) {
  return memory_limit_bytes + memory_limit_bytes / BESIDE_LIMIT_PART + BESIDE_LIMIT_MIB * (uint64_t)MIB;
}

/* ---- For people ---- */

enum unit { PLAIN, BYTES, BYTES_A_SECOND, SIXTEENTH, MICROSECONDS, ALGORITHM, STYLE, SCRYPT, CORES };

struct row {
  const char *what;
  enum unit unit;
  int64_t values[PROFILE_COUNT];
};

static void put_value(FILE *out, enum unit unit, int64_t value) {
  char text[32];
  const char *rate = unit == BYTES_A_SECOND ? "/s" : "";
  if ((unit == BYTES || unit == BYTES_A_SECOND) && value == 0)
    snprintf(text, sizeof text, "-");
  else if ((unit == BYTES || unit == BYTES_A_SECOND) && value % GIB == 0)
    snprintf(text, sizeof text, "%" PRId64 "G%s", value / GIB, rate);
  else if ((unit == BYTES || unit == BYTES_A_SECOND) && value % MIB == 0)
    snprintf(text, sizeof text, "%" PRId64 "M%s", value / MIB, rate);
  else if ((unit == BYTES || unit == BYTES_A_SECOND) && value >= MIB)
    snprintf(text, sizeof text, "%.1fM%s", (double)value / (double)MIB, rate);
  else if (unit == BYTES || unit == BYTES_A_SECOND)
    snprintf(text, sizeof text, "%" PRId64 "K%s", value / KIB, rate);
  else if (unit == SIXTEENTH)
    snprintf(text, sizeof text, "%" PRId64 "/16", value);
  else if (unit == MICROSECONDS)
    snprintf(text, sizeof text, "%g ms", (double)value / 1000);
  else if (unit == ALGORITHM)
    snprintf(text, sizeof text, "%s", value != 0 ? "zstd" : "LZ4");
  else if (unit == STYLE)
    snprintf(text, sizeof text, "%s", value != 0 ? "lazy" : "levels");
  else if (unit == SCRYPT)
    snprintf(text, sizeof text, "%s", value != 0 ? "32M" : "16M");
  else if (unit == CORES && value == 0)
    snprintf(text, sizeof text, "all");
  else
    snprintf(text, sizeof text, "%" PRId64, value);
  fprintf(out, " %9s", text);
}

#define ROW(what, unit, member)                                                                              \
  {                                                                                                          \
    what, unit, {                                                                                            \
      (int64_t) table[0].member, (int64_t)table[1].member, (int64_t)table[2].member,                         \
          (int64_t)table[3].member                                                                           \
    }                                                                                                        \
  }

/* With the profile's memory_limit. */
#define PLANNED(what, member)                                                                                \
  {                                                                                                          \
    what, BYTES, {                                                                                           \
      (int64_t) plans[0].member, (int64_t)plans[1].member, (int64_t)plans[2].member,                         \
          (int64_t)plans[3].member                                                                           \
    }                                                                                                        \
  }

static void put_rows(FILE *out, const char *title, const struct row *rows, size_t count) {
  fprintf(out, "\n%s\n", title);
  for (size_t i = 0; i < count; i++) {
    fprintf(out, "  %-38s", rows[i].what);
    for (unsigned k = 0; k < PROFILE_COUNT; k++)
      put_value(out, rows[i].unit, rows[i].values[k]);
    fputc('\n', out);
  }
}

void profile_print_help(FILE *out) {
  struct memory_plan plans[PROFILE_COUNT];
  for (unsigned i = 0; i < PROFILE_COUNT; i++)
    plans[i] = memory_plan_for(table[i].memory_limit_bytes, false);
  const struct row machine[] = {
      ROW("memory, from (auto)", BYTES, memory_from_bytes),
      ROW("processors, from (auto)", PLAIN, cores_from),
  };
  const struct row memory[] = {
      ROW("memory_limit, at most", BYTES, memory_limit_bytes),
      PLANNED("  of it the store", store),
      ROW("  of that, not yet in tables", SIXTEENTH, store.write_buffer_sixteenths),
      PLANNED("  calls", calls),
      PLANNED("  connections: gRPC's buffers", connections),
      PLANNED("  HTTP/1.1", http),
      PLANNED("  live queries", listen),
      ROW("  a hash of a password (scrypt)", SCRYPT, costly_passwords),
      ROW("threads, for so many processors", CORES, cores_max),
      ROW("  stack of each, at most", BYTES, stack_bytes),
  };
  const struct row settings[] = {
      PLANNED("message_max", message_max),
      PLANNED("call_memory_max", call_memory_max),
      PLANNED("http_body_max", http_body_max),
      ROW("query_memory_max", BYTES, query_memory_max),
      ROW("send_queue_max", BYTES, send_queue_max),
      ROW("calls_max", PLAIN, calls_max),
      ROW("connections_max", PLAIN, connections_max),
      ROW("handshakes_max", PLAIN, handshakes_max),
  };
  const struct row medium[] = {
      ROW("tables merged at once", PLAIN, store.level0_tables),
      ROW("first level", BYTES, store.level_base_bytes),
      ROW("compression", ALGORITHM, store.zstd),
      ROW("merges of runs", STYLE, store.lazy_merges),
      ROW("background writing, at most", BYTES_A_SECOND, store.background_bytes_per_second),
      ROW("background jobs", PLAIN, store.background_jobs),
      ROW("commits gather for a sync, at most", MICROSECONDS, store.gather_us),
  };
  fprintf(out,
          "Profiles: budgets for boxes of a size (setting `profile`; auto takes the machine's).\n\n  %-38s",
          "");
  for (unsigned i = 0; i < PROFILE_COUNT; i++)
    fprintf(out, " %9s", table[i].name);
  fputc('\n', out);
  put_rows(out, "The machine", machine, sizeof machine / sizeof *machine);
  put_rows(out, "Memory and threads", memory, sizeof memory / sizeof *memory);
  put_rows(out, "Defaults of settings", settings, sizeof settings / sizeof *settings);
  put_rows(out, "The store, and how it spares the medium", medium, sizeof medium / sizeof *medium);
  fputs("\nmemory_limit is a quarter of the machine's memory, up to the figure above; where a control group "
        "has no room for\nthat, its limit counts as the machine's memory. "
        "Settings that\nare given win over the profile. `skerry profile` says which one fits this machine.\n",
        out);
}
