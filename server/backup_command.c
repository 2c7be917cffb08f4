/* `skerry backup [DIR] | list DIR | verify DIR`: backups of a data directory, of its running server or, where
 * none runs, of the directory itself; and a look at those that there are. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/backup/archive.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/print.h"
#include "skerry/admin/v1/admin.skerry.h"
#include "storage/rocksdb/store.h"

struct backup_words {
  const char *data, *verb, *directory;
  uint64_t id, rate;
  bool has_rate, quiet;
};

static bool is_verb(const char *word) {
  return strcmp(word, "list") == 0 || strcmp(word, "verify") == 0;
}

static bool take_number(const char *text, uint64_t max, uint64_t *ret) {
  return str_to_u64(str_from_cstr(text), ret) && *ret <= max;
}

static bool read_words(int argc, char **argv, struct backup_words *ret) {
  *ret = (struct backup_words){.data = client_default_data()};
  for (int i = 0; i < argc; i++) {
    const char *value;
    if (client_take_flag("--data", argc, argv, &i, &ret->data))
      continue;
    if (client_take_flag("--id", argc, argv, &i, &value)) {
      if (!take_number(value, UINT32_MAX, &ret->id) || ret->id == 0)
        return false;
    } else if (client_take_flag("--rate", argc, argv, &i, &value)) {
      ret->has_rate = true;
      if (!take_number(value, INT64_MAX, &ret->rate))
        return false;
    } else if (strcmp(argv[i], "--quiet") == 0) {
      ret->quiet = true;
    } else if (argv[i][0] == '-') {
      return false;
    } else if (i == 0 && is_verb(argv[i])) {
      ret->verb = argv[i];
    } else if (ret->directory == NULL) {
      ret->directory = argv[i];
    } else {
      return false;
    }
  }
  bool looks = ret->verb != NULL;
  return (!looks || ret->directory != NULL) && (ret->id == 0 || (looks && strcmp(ret->verb, "verify") == 0));
}

/* ---- Making one ---- */

/* On a terminal a line that is written over; elsewhere nothing. */
static bool show_progress(void *argument, const char *what, uint64_t bytes_done, uint64_t bytes_total) {
  const struct backup_words *words = argument;
  if (!words->quiet && isatty(STDERR_FILENO))
    fprintf(stderr, "\r%-9s %" PRIu64 " of %" PRIu64 " MiB ", what, bytes_done >> 20, bytes_total >> 20);
  return true;
}

static void end_progress(const struct backup_words *words) {
  if (!words->quiet && isatty(STDERR_FILENO))
    fputs("\r                                        \r", stderr);
}

static void print_made(const char *directory, uint64_t id, uint64_t copied_bytes, bool same_medium) {
  printf("Backup %" PRIu64 " in %s is made and verified; %.1f MiB are new.\n", id, directory,
         (double)copied_bytes / (1 << 20));
  if (same_medium)
    fputs("It lies on the same medium as the data, so it does not help when that fails.\n", stderr);
}

static char *absolute(const char *path) {
  char here[PATH_MAX];
  struct buf whole = {0};
  if (path[0] != '/' && getcwd(here, sizeof here) != NULL)
    buf_printf(&whole, "%s/", here);
  buf_append(&whole, path, strlen(path) + 1);
  if (whole.failed)
    abort(); /* no memory for one line of text: nothing sensible is left to do */
  return (char *)whole.data;
}

static status ask(struct rpc_client *client, const struct backup_words *words, char *directory) {
  Skerry__Admin__V1__BackupRequest request = SKERRY__ADMIN__V1__BACKUP_REQUEST__INIT;
  struct rpc_client_options options = {.timeout_us = -1};
  struct skerry_admin_v1_admin_backup_stream stream;
  const Skerry__Admin__V1__BackupResponse *response;
  struct arena arena;
  request.directory = directory;
  if (words->has_rate) {
    request._bytes_per_second_case = SKERRY__ADMIN__V1__BACKUP_REQUEST___BYTES_PER_SECOND_BYTES_PER_SECOND;
    request.bytes_per_second = (int64_t)words->rate;
  }
  STATUS_TRY(skerry_admin_v1_admin_backup_open(client, &options, &request, &stream));
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  while (skerry_admin_v1_admin_backup_receive(stream, &arena, &response)) {
    const Skerry__Admin__V1__Backup *made = response->backup;
    if (made != NULL) {
      end_progress(words);
      print_made(made->directory, (uint64_t)made->backup_id, (uint64_t)made->copied_bytes, made->same_medium);
    } else {
      show_progress((void *)(uintptr_t)words, response->phase, (uint64_t)response->bytes_done,
                    (uint64_t)response->bytes_total);
    }
    arena_reset(&arena);
  }
  status s = skerry_admin_v1_admin_backup_finish(stream, &arena, NULL);
  arena_fini(&arena);
  return s;
}

/* A server that was killed leaves its socket behind. */
static bool is_running(const char *data) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int len = snprintf(address.sun_path, sizeof address.sun_path, "%s/admin.sock", data);
  if (len < 0 || (size_t)len >= sizeof address.sun_path)
    return true; /* the client will say */
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool runs = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
  if (fd >= 0)
    close(fd);
  return runs;
}

/* What root writes there, the server's user could not open any more. */
static status check_owner(const char *data) {
  struct stat facts;
  if (stat(data, &facts) != 0)
    return status_make(STATUS_NOT_FOUND, "There is no data directory %s: name another with --data.", data);
  if (facts.st_uid != geteuid())
    return status_make(
        STATUS_FAILED_PRECONDITION,
        "No server runs on %s, so this command has to be run as the user whose it is: runuser -u NAME -- "
        "skerry backup ...",
        data);
  return status_ok();
}

static status back_up_stopped(const struct backup_words *words, const char *directory) {
  struct kv_rocksdb_options options = {.directory = words->data};
  struct kv_store *store;
  struct archive_made made;
  STATUS_TRY(check_owner(words->data));
  STATUS_TRY(kv_rocksdb_open(&options, &store));
  struct archive_job job = {.store = store,
                            .data = words->data,
                            .directory = directory,
                            .program = SKERRY_VERSION,
                            .port = port_linux(),
                            .bytes_per_second = words->rate,
                            .free_space_min_bytes = ARCHIVE_FREE_SPACE_MIN_BYTES,
                            .progress = {show_progress, (void *)(uintptr_t)words}};
  status s = archive_make(&job, &made);
  kv_close(store);
  end_progress(words);
  if (status_is_ok(&s))
    print_made(directory, made.id, made.copied_bytes, made.same_medium);
  return s;
}

static int back_up(const struct backup_words *words) {
  char *directory = words->directory == NULL ? strdup("") : absolute(words->directory);
  status s;
  if (is_running(words->data)) {
    struct rpc_client *client;
    if (!client_open_admin("backup", words->data, &client)) {
      free(directory);
      return 1;
    }
    s = ask(client, words, directory);
    rpc_client_close(client);
  } else if (words->directory == NULL) {
    s = status_make(STATUS_FAILED_PRECONDITION,
                    "No server runs on %s, so name the directory for the backup, or the data with --data.",
                    words->data);
  } else {
    s = back_up_stopped(words, directory);
  }
  free(directory);
  end_progress(words);
  return status_is_ok(&s) ? 0 : client_failed("backup", &s);
}

/* ---- Looking ---- */

static void print_backup(void *argument, const struct archive_facts *facts) {
  struct buf *out = argument;
  buf_printf(out, "%6" PRIu32 "  ", facts->id);
  if (facts->damage != NULL) {
    buf_printf(out, "DAMAGED: %s\n", facts->damage);
  } else if (facts->format > ARCHIVE_FORMAT) {
    buf_printf(out, "made by a newer program (format %d)\n", facts->format);
  } else {
    print_time(out, facts->time_us);
    buf_printf(out, "  %10.1f MiB  skerry %s\n", (double)facts->bytes / (1 << 20), facts->program);
  }
}

static status list(const char *directory) {
  struct buf out = {0};
  status s = archive_visit(directory, print_backup, &out);
  if (status_is_ok(&s) && out.len == 0)
    buf_printf(&out, "There are no backups in %s yet.\n", directory);
  client_print(&out);
  return s;
}

/* The newest that is damaged. */
struct damaged {
  uint32_t id;
  char why[256];
};

static void note_damaged(void *argument, const struct archive_facts *facts) {
  struct damaged *damaged = argument;
  if (facts->damage == NULL)
    return;
  damaged->id = facts->id;
  snprintf(damaged->why, sizeof damaged->why, "%s", facts->damage);
}

/* Without an id the newest that is not damaged is looked at, and damage of any other is not passed over. */
static status find_damaged(const struct backup_words *words, uint32_t whole_id) {
  struct damaged damaged = {0};
  if (words->id != 0)
    return status_ok();
  STATUS_TRY(archive_visit(words->directory, note_damaged, &damaged));
  if (damaged.id == 0)
    return status_ok();
  return status_make(STATUS_DATA_LOSS, "Backup %" PRIu32 " in %s is damaged: %s (%" PRIu32 " is whole)",
                     damaged.id, words->directory, damaged.why, whole_id);
}

static status verify(const struct backup_words *words) {
  struct archive_facts facts;
  struct archive_progress progress = {show_progress, (void *)(uintptr_t)words};
  STATUS_TRY(archive_find(words->directory, (uint32_t)words->id, &facts));
  status s = archive_verify(words->directory, facts.id, words->rate, &progress);
  end_progress(words);
  if (status_is_ok(&s))
    printf("Backup %" PRIu32 " in %s is whole: all of its files are what was written.\n", facts.id,
           words->directory);
  return status_is_ok(&s) ? find_damaged(words, facts.id) : s;
}

int command_backup(int argc, char **argv) {
  struct backup_words words;
  if (!read_words(argc, argv, &words)) {
    fputs("skerry backup: say one of\n"
          "  skerry backup [DIR]                  make a backup and verify it; without DIR in the setting "
          "backup_dir\n"
          "  skerry backup list DIR               the backups that there are\n"
          "  skerry backup verify DIR [--id N]    compare every file with its checksum; the newest, or "
          "backup N\n"
          "with --data DIR, if the server's data is not in ./data; --rate BYTES, so many a second (0: no "
          "limit);\n"
          "--quiet, without a line that says how far it is. A server that runs goes on meanwhile.\n",
          stderr);
    return 2;
  }
  umask(077);
  if (words.verb == NULL)
    return back_up(&words);
  status s = strcmp(words.verb, "list") == 0 ? list(words.directory) : verify(&words);
  return status_is_ok(&s) ? 0 : client_failed("backup", &s);
}
