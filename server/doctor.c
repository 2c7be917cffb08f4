#include "server/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "server/profile.h"
#include "storage/rocksdb/layout.h"

enum {
  SYNCS = 48,
  SYNC_BYTES = 4096,
  SYNC_MOST_US = 3 * 1000000,
  SYNC_SLOW_US = 20 * 1000, /* an SD card's; the profiles for those spare it */
  SYNC_BAD_US = 250 * 1000, /* commits would time out in apps */
  SYNC_HARDLY_US = 25,      /* no medium is so fast */
  PATH_BYTES = 4096,
  DESCRIPTORS_A_CONNECTION = 3, /* as server/front.c counts */
  DESCRIPTORS_RESERVED = 512,
  DESCRIPTORS_LEAST = 1024,
  WRAP = 96,
};
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define MEMORY_LEAST (96 * MIB) /* the smallest limit, the program, and a system around them */
#define SPACE_LEAST (256 * MIB)
#define SPACE_LITTLE GIB
#define YEAR_2025_US (INT64_C(1735689600) * 1000000)

struct doctor {
  const struct settings *settings;
  struct port *port;
  const struct profile *profile;
  FILE *out;
  struct buf wrongs, notes;
  unsigned wrong_count;
};

/* ---- Words ---- */

__attribute__((format(printf, 3, 4))) static void line(struct doctor *d, const char *what, const char *format,
                                                       ...) {
  va_list arguments;
  fprintf(d->out, "  %-12s", what);
  va_start(arguments, format);
  vfprintf(d->out, format, arguments);
  va_end(arguments);
  fputc('\n', d->out);
}

/* A paragraph under a head, folded at words. */
static void fold(struct buf *out, const char *head, str text) {
  size_t column = strlen(head);
  buf_printf(out, "%s", head);
  while (text.len > 0) {
    str word = str_split(text, ' ', &text);
    if (column + word.len + 1 > WRAP) {
      buf_printf(out, "\n%*s", (int)strlen(head), "");
      column = strlen(head);
    }
    buf_printf(out, " " STR_FMT, STR_ARG(word));
    column += word.len + 1;
  }
  buf_append_byte(out, '\n');
}

__attribute__((format(printf, 2, 3))) static void wrong(struct doctor *d, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fold(&d->wrongs, "  WRONG    ", str_from_cstr(text));
  d->wrong_count++;
}

__attribute__((format(printf, 2, 3))) static void note(struct doctor *d, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fold(&d->notes, "  note     ", str_from_cstr(text));
}

struct size_text {
  char text[24];
};

static struct size_text size_of(uint64_t bytes) {
  struct size_text ret;
  if (bytes >= 10 * GIB)
    snprintf(ret.text, sizeof ret.text, "%" PRIu64 " GiB", bytes / GIB);
  else if (bytes >= GIB)
    snprintf(ret.text, sizeof ret.text, "%.1f GiB", (double)bytes / (double)GIB);
  else
    snprintf(ret.text, sizeof ret.text, "%" PRIu64 " MiB", bytes / MIB);
  return ret;
}

static struct size_text time_of(int64_t us) {
  struct size_text ret;
  if (us < 10000)
    snprintf(ret.text, sizeof ret.text, "%.2f ms", (double)us / 1000);
  else
    snprintf(ret.text, sizeof ret.text, "%" PRId64 " ms", us / 1000);
  return ret;
}

/* ---- The medium ---- */

static int compare_times(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

static status sync_failed(const char *directory, int error) {
  return status_make(STATUS_UNAVAILABLE, "No file can be written in %s: %s.", directory, strerror(error));
}

static status measure_on(int fd, const char *directory, int64_t most_us, struct doctor_syncs *ret) {
  static char bytes[SYNC_BYTES];
  struct port *port = port_linux();
  int64_t times[SYNCS], begin_us = port->monotonic_us(port), last_us = begin_us;
  memset(bytes, 's', sizeof bytes);
  ret->count = 0;
  while (ret->count < SYNCS && last_us - begin_us < most_us) {
    errno = ENOSPC; /* what a short write means */
    if (write(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes || fdatasync(fd) != 0)
      return sync_failed(directory, errno);
    int64_t now_us = port->monotonic_us(port);
    times[ret->count++] = now_us - last_us;
    last_us = now_us;
  }
  qsort(times, ret->count, sizeof *times, compare_times);
  ret->median_us = times[ret->count / 2];
  ret->slowest_us = times[ret->count - 1];
  return status_ok();
}

status doctor_measure_syncs(const char *directory, int64_t most_us, struct doctor_syncs *ret) {
  char path[PATH_BYTES];
  int length = snprintf(path, sizeof path, "%s/.skerry-doctor-XXXXXX", directory);
  if (length < 0 || (size_t)length >= sizeof path)
    return status_make(STATUS_INVALID_ARGUMENT, "The path of the data directory is too long.");
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    return sync_failed(directory, errno);
  unlink(path); /* whatever happens now, nothing stays */
  status result = measure_on(fd, directory, most_us, ret);
  close(fd);
  return result;
}

/* The directory itself, or the nearest one above it that exists: where it would be made. */
static void existing_part(const char *directory, char path[PATH_BYTES]) {
  struct stat about;
  snprintf(path, PATH_BYTES, "%s", directory);
  while (stat(path, &about) != 0) {
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
      snprintf(path, PATH_BYTES, ".");
      return;
    }
    if (slash == path) {
      snprintf(path, PATH_BYTES, "/");
      return;
    }
    *slash = '\0';
  }
}

static void examine_directory(struct doctor *d) {
  const char *directory = d->settings->data;
  struct layout layout;
  struct stat about;
  if (stat(directory, &about) != 0 && errno == ENOENT) {
    line(d, "data", "%s (not there yet: the server makes it)", directory);
    return;
  }
  status s = layout_open(directory, true, &layout);
  if (s.code == STATUS_NOT_FOUND) {
    line(d, "data", "%s (no store yet)", directory);
  } else if (status_is_ok(&s)) {
    line(d, "data", "%s (a store of format %d)", directory, layout.format);
  } else {
    line(d, "data", "%s", directory);
    wrong(d, "%s", s.message);
  }
}

static void judge_syncs(struct doctor *d, const struct doctor_syncs *syncs) {
  struct size_text median = time_of(syncs->median_us), slowest = time_of(syncs->slowest_us);
  line(d, "medium", "a sync takes %s (middle of %u, slowest %s): %" PRId64 " commits/s, one after the other",
       median.text, syncs->count, slowest.text, 1000000 / (syncs->median_us > 0 ? syncs->median_us : 1));
  if (syncs->median_us > SYNC_BAD_US)
    wrong(d,
          "The medium takes %s for a sync, so apps would wait for each write. A card that was fast once and "
          "is slow "
          "now is worn out: replace it.",
          median.text);
  else if (syncs->median_us > SYNC_SLOW_US && d->profile->store.gather_us == 0)
    note(d, "The medium is slow to sync. `profile = small` spares it; with it, memory_limit may be as large "
            "as now.");
  else if (syncs->median_us < SYNC_HARDLY_US)
    note(d,
         "A sync is so fast here that the data may lie in memory (tmpfs), or on a disk that says yes too "
         "early. What "
         "was acknowledged must survive a power cut: see `findmnt -T %s`.",
         d->settings->data);
}

static void examine_medium(struct doctor *d) {
  char path[PATH_BYTES];
  struct port_disk disk;
  struct doctor_syncs syncs;
  examine_directory(d);
  existing_part(d->settings->data, path);
  status s = d->port->disk(d->port, path, &disk);
  if (!status_is_ok(&s)) {
    wrong(d, "%s", s.message);
    return;
  }
  if (disk.read_only) {
    line(d, "medium", "can only be read");
    wrong(d,
          "The file system of %s is mounted for reading only. Mount it for writing; if the kernel took that "
          "away "
          "(see `dmesg`), the medium is failing: copy the data and replace it.",
          path);
  } else {
    s = doctor_measure_syncs(path, SYNC_MOST_US, &syncs);
    if (status_is_ok(&s))
      judge_syncs(d, &syncs);
    else
      wrong(d, "%s Run `skerry doctor` as the server's user; the directory must belong to it.", s.message);
  }
  struct size_text free_text = size_of(disk.free_bytes), total = size_of(disk.total_bytes);
  line(d, "space", "%s of %s free", free_text.text, total.text);
  if (disk.free_bytes < SPACE_LEAST)
    wrong(d, "Only %s are free: writes stop when the disk is nearly full (free_space_min). Make room.",
          free_text.text);
  else if (disk.free_bytes < SPACE_LITTLE)
    note(d, "Only %s are free. Deletions need space too, so do not let it run full.", free_text.text);
}

/* ---- The machine ---- */

static void examine_memory(struct doctor *d) {
  struct port_memory memory = d->port->memory(d->port);
  struct port_pressure pressure = d->port->pressure(d->port, 200);
  struct size_text all = size_of(memory.limit_bytes), used = size_of(pressure.used_bytes),
                   limit = size_of(pressure.limit_bytes);
  line(d, "memory", "%s for this process; %s of %s in use%s", all.text, used.text, limit.text,
       pressure.stalled ? ", and processes are waiting for memory" : "");
  if (memory.limit_bytes < MEMORY_LEAST)
    wrong(d,
          "%s are too little: the server needs 96 MiB with the system around it (memory_limit = 48M). If "
          "this is a "
          "control group, raise its limit.",
          all.text);
  if (pressure.stalled)
    note(d, "The system is short of memory now: caches would be kept small. Look what else runs "
            "(`systemd-cgtop -m`).");
}

static void examine_clock(struct doctor *d) {
  int64_t now_us = d->port->wall_us(d->port);
  time_t seconds = (time_t)(now_us / 1000000);
  struct tm utc;
  char text[40] = "?";
  if (gmtime_r(&seconds, &utc) != NULL)
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &utc);
  bool synchronised = d->port->clock_is_synchronised(d->port);
  bool trusted = d->settings->clock == SETTINGS_CLOCK_TRUSTED;
  line(d, "clock", "%s, %s", text,
       synchronised ? "synchronised"
       : trusted    ? "not synchronised, trusted by the settings"
                    : "not synchronised");
  if (now_us < YEAR_2025_US)
    wrong(d, "The clock is years behind: this box has no battery for it, or an empty one. Let "
             "systemd-timesyncd or chrony "
             "set it, or set it by hand (`date -s`). Until then TLS certificates do not count as good.");
  else if (!synchronised && !trusted)
    wrong(
        d,
        "Nobody keeps the clock right, so commit times would follow the time since the start instead. Enable "
        "systemd-timesyncd or chrony; without a network set the clock and say clock = trusted.");
}

static void examine_processor(struct doctor *d) {
  const char *features = port_processor_features();
  unsigned cores = d->port->cores(d->port);
  line(d, "processor", "%u %s, pages of %" PRIu32 " KiB%s%s", cores, cores == 1 ? "core" : "cores",
       d->port->page_bytes(d->port) / 1024, *features == '\0' ? "" : ", ", features);
  if (strstr(features, "AES") == NULL)
    note(d, "No AES in hardware: TLS works with ChaCha20 where clients offer it, and is slower where they do "
            "not.");
  if (!d->port->entropy_is_ready(d->port))
    wrong(d, "The kernel has no random numbers yet, and the server waits for them at the start. Give the box "
             "a source: "
             "rng-tools for a hardware generator, or systemd-random-seed.service.");
}

static void examine_descriptors(struct doctor *d) {
  uint64_t limit = d->port->descriptors_max(d->port);
  uint64_t connections =
      limit > DESCRIPTORS_RESERVED ? (limit - DESCRIPTORS_RESERVED) / DESCRIPTORS_A_CONNECTION : 0;
  int64_t wanted = d->settings->connections_max == SETTINGS_BY_PROFILE ? d->profile->connections_max
                                                                       : d->settings->connections_max;
  line(d, "descriptors", "%" PRIu64 ", enough for %" PRIu64 " connections", limit, connections);
  if (limit < DESCRIPTORS_LEAST)
    wrong(d,
          "The limit of open files is %" PRIu64
          ", and the store alone needs some hundreds: LimitNOFILE=32768 in the "
          "unit, or `ulimit -n`.",
          limit);
  else if ((int64_t)connections < wanted)
    note(d,
         "connections_max is %" PRId64 "; for so many the limit of open files must be %" PRId64
         " (LimitNOFILE=).",
         wanted, wanted * DESCRIPTORS_A_CONNECTION + DESCRIPTORS_RESERVED);
}

static void examine_profile(struct doctor *d) {
  const struct profile *fits = profile_for_machine(d->port, (uint64_t)d->settings->memory_limit_bytes);
  uint64_t machine = d->port->memory(d->port).limit_bytes;
  uint64_t memory_limit = d->settings->memory_limit_bytes > 0 ? (uint64_t)d->settings->memory_limit_bytes
                                                              : profile_memory_limit(d->profile, d->port);
  struct size_text limit = size_of(memory_limit), wall = size_of(profile_memory_max(memory_limit)),
                   all = size_of(machine);
  line(d, "profile", "%s fits%s%s", fits->name, d->profile == fits ? "" : ", the settings say ",
       d->profile == fits ? "" : d->profile->name);
  line(d, "", "memory_limit %s; set MemoryMax= of the unit to %s or more", limit.text, wall.text);
  if (d->profile->memory_from_bytes > fits->memory_from_bytes)
    wrong(d, "profile = %s is for larger machines than this one: say auto, or %s.", d->profile->name,
          fits->name);
  if (memory_limit < (uint64_t)MEMORY_PLAN_LIMIT_MIN)
    wrong(d, "memory_limit must be 48M at least.");
  else if (memory_limit > machine / 4 * 3)
    wrong(d, "memory_limit is %s of %s: leave a quarter for the program, the system and its cache of files.",
          limit.text, all.text);
}

unsigned doctor_examine(const struct settings *settings, struct port *port, FILE *out) {
  struct doctor d = {.settings = settings, .port = port, .out = out};
  d.profile =
      profile_choose((enum profile_choice)settings->profile, port, (uint64_t)settings->memory_limit_bytes);
  examine_medium(&d);
  examine_memory(&d);
  examine_clock(&d);
  examine_processor(&d);
  examine_descriptors(&d);
  examine_profile(&d);
  if (d.wrongs.len + d.notes.len > 0)
    fputc('\n', out);
  fprintf(out, STR_FMT STR_FMT, STR_ARG(buf_str(&d.wrongs)), STR_ARG(buf_str(&d.notes)));
  if (d.wrong_count == 0)
    fputs(d.notes.len > 0 ? "\nNothing is wrong.\n" : "\nAll is well.\n", out);
  buf_fini(&d.wrongs);
  buf_fini(&d.notes);
  return d.wrong_count;
}
