/* `skerry restore DIR [--id N] --data NEWDIR`: a data directory from a backup, without a server. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/backup/archive.h"
#include "server/backup/renew.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/print.h"
#include "storage/rocksdb/store.h"

struct restore_words {
  const char *directory, *data;
  uint64_t id;
};

static bool read_words(int argc, char **argv, struct restore_words *ret) {
  *ret = (struct restore_words){0};
  for (int i = 0; i < argc; i++) {
    const char *value;
    if (client_take_flag("--data", argc, argv, &i, &ret->data))
      continue;
    if (client_take_flag("--id", argc, argv, &i, &value)) {
      if (!str_to_u64(str_from_cstr(value), &ret->id) || ret->id == 0 || ret->id > UINT32_MAX)
        return false;
    } else if (argv[i][0] == '-' || ret->directory != NULL) {
      return false;
    } else {
      ret->directory = argv[i];
    }
  }
  return ret->directory != NULL && ret->data != NULL && *ret->data != '\0';
}

/* Versions of the restored store must be later than all that was given out before. */
static status check_clock(const struct archive_facts *facts) {
  struct port *port = port_linux();
  int64_t now_us = port->wall_us(port);
  int64_t made_us = facts->time_us > facts->version ? facts->time_us : facts->version;
  if (now_us > made_us)
    return status_ok();
  struct buf text = {0};
  buf_append_str(&text, STR("This machine's clock says "));
  print_time(&text, now_us);
  buf_append_str(&text, STR(", and the backup was made at "));
  print_time(&text, made_us);
  buf_append_str(
      &text, STR(". Set the clock (date -s), since what is restored must become newer than all that clients "
                 "have seen, and restore again."));
  status s = status_make(STATUS_FAILED_PRECONDITION, STR_FMT, STR_ARG(buf_str(&text)));
  buf_fini(&text);
  return s;
}

static void report(void *argument, str text) {
  (void)argument;
  fprintf(stderr, "DAMAGED  " STR_FMT "\n", STR_ARG(text));
}

/* Opens what was copied, makes it usable, and reads all of it. A power cut meanwhile means to begin again, so
 * not every write is synced. */
static status finish(const char *data, const struct archive_facts *facts, uint64_t *ret_documents) {
  struct kv_rocksdb_options options = {
      .directory = data, .restoring = true, .clock_trusted = true, .sync = KV_SYNC_RELAXED};
  struct kv_store *store;
  uint64_t damages = 0;
  STATUS_TRY(kv_rocksdb_open(&options, &store));
  status s = status_ok();
  if (kv_newest_version(store) < facts->version)
    s = status_make(STATUS_DATA_LOSS,
                    "The backup does not have all that was there when it began: take another one.");
  if (status_is_ok(&s))
    s = renew_store(store, ret_documents);
  if (status_is_ok(&s))
    s = kv_verify(store, report, NULL, &damages);
  kv_close(store);
  if (status_is_ok(&s) && damages > 0)
    s = status_make(STATUS_DATA_LOSS, "What was restored is damaged: take another backup.");
  return s;
}

static status restore(const struct restore_words *words) {
  struct archive_facts facts;
  uint64_t documents = 0;
  STATUS_TRY(archive_find(words->directory, (uint32_t)words->id, &facts));
  STATUS_TRY(check_clock(&facts));
  STATUS_TRY(archive_restore(words->directory, facts.id, words->data, port_linux(), &facts));
  STATUS_TRY(finish(words->data, &facts, &documents));
  STATUS_TRY(archive_restore_end(words->data));
  struct buf out = {0};
  buf_printf(&out, "Restored backup %" PRIu32 ", made at ", facts.id);
  print_time(&out, facts.time_us);
  buf_printf(&out, ", into %s: %" PRIu64 " documents, verified.\n", words->data, documents);
  client_print(&out);
  return status_ok();
}

int command_restore(int argc, char **argv) {
  struct restore_words words;
  if (!read_words(argc, argv, &words)) {
    fputs("skerry restore: say\n"
          "  skerry restore DIR --data NEWDIR [--id N]\n"
          "the directory of the backups, and an empty or missing one for the data; the newest backup, or "
          "backup N.\n"
          "Run it as the server's user. `skerry backup list DIR` shows what there is.\n",
          stderr);
    return 2;
  }
  umask(077);
  status s = restore(&words);
  return status_is_ok(&s) ? 0 : client_failed("restore", &s);
}
