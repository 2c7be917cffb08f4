#include "server/backup/archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "server/backup/files.h"
#include "server/tokens/file.h"
#include "storage/rocksdb/backup.h"

enum { SMALL_FILE_MAX_BYTES = 4096, ID_BYTES = 16, NAME_BYTES = 48 };
#define HEAD_NAME "SKERRY-BACKUPS"
#define ID_NAME "backup-id" /* in the data directory: whose backups they are, over restores too */

/* A directory of backups that is in use. */
struct archive {
  const char *directory;
  char engine[FILES_PATH_MAX_BYTES], files[FILES_PATH_MAX_BYTES];
  int lock; /* -1: none, where there can be none */
};

/* ---- The directory ---- */

static status newer(const char *directory, int format) {
  return status_make(
      STATUS_FAILED_PRECONDITION,
      "The backups in %s have format %d, and this program knows up to %d: use the newer version "
      "that made them.",
      directory, format, ARCHIVE_FORMAT);
}

/* The id of the data whose backups are here. NOT_FOUND: this is no directory of backups. */
static status read_head(const char *directory, char ret_id[2 * ID_BYTES + 1]) {
  char path[FILES_PATH_MAX_BYTES];
  struct buf text = {0};
  int format = 0;
  STATUS_TRY(files_join(directory, HEAD_NAME, path));
  status s = file_read(path, SMALL_FILE_MAX_BYTES, &text);
  buf_append_byte(&text, 0);
  if (status_is_ok(&s) && text.failed)
    s = status_default(STATUS_RESOURCE_EXHAUSTED);
  // NOLINTBEGIN(cert-err34-c): nine digits always fit
  bool is_ours = status_is_ok(&s) && sscanf((char *)text.data, "skerry backups\nformat %9d\nof %32[0-9a-f]",
                                            &format, ret_id) >= 1;
  // NOLINTEND(cert-err34-c)
  if (status_is_ok(&s) && !is_ours)
    s = status_make(STATUS_DATA_LOSS, "The file %s is damaged.", path);
  if (status_is_ok(&s) && format > ARCHIVE_FORMAT)
    s = newer(directory, format);
  buf_fini(&text);
  return s;
}

static status lock(struct archive *archive, bool to_write) {
  char path[FILES_PATH_MAX_BYTES];
  STATUS_TRY(files_join(archive->directory, "LOCK", path));
  int fd = open(path, (to_write ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0600);
  if (fd < 0 && to_write)
    return status_make(errno == ENOSPC ? STATUS_RESOURCE_EXHAUSTED : STATUS_UNAVAILABLE,
                       "Nothing can be written into %s: %s", archive->directory, strerror(errno));
  if (fd >= 0 && flock(fd, (to_write ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    close(fd);
    return status_make(STATUS_FAILED_PRECONDITION,
                       "The backups in %s are in use by another process: wait until it is done.",
                       archive->directory);
  }
  archive->lock = fd; /* a medium without locks, or that cannot be written, has none */
  return status_ok();
}

static void archive_close(struct archive *archive) {
  if (archive->lock >= 0)
    close(archive->lock);
}

static status name_parts(const char *directory, struct archive *ret) {
  *ret = (struct archive){.directory = directory, .lock = -1};
  STATUS_TRY(files_join(directory, "engine", ret->engine));
  return files_join(directory, "files", ret->files);
}

static status open_to_read(const char *directory, struct archive *ret) {
  char id[2 * ID_BYTES + 1] = "";
  STATUS_TRY(name_parts(directory, ret));
  status s = read_head(directory, id);
  if (s.code == STATUS_NOT_FOUND)
    return status_make(STATUS_NOT_FOUND, "There are no backups in %s.", directory);
  STATUS_TRY(s);
  return lock(ret, false);
}

/* ---- A directory to write to ---- */

static status has_other_files(const char *directory, bool *ret) {
  DIR *d = opendir(directory);
  if (d == NULL)
    return status_make(STATUS_FAILED_PRECONDITION, "The directory %s cannot be read: %s", directory,
                       strerror(errno));
  *ret = false;
  for (struct dirent *entry; (entry = readdir(d)) != NULL;)
    *ret = *ret ||
           (entry->d_name[0] != '.' && strcmp(entry->d_name, "lost+found") != 0 &&
            strncmp(entry->d_name, HEAD_NAME, strlen(HEAD_NAME)) != 0 && strcmp(entry->d_name, "LOCK") != 0);
  closedir(d);
  return status_ok();
}

/* The id of the data, made if it has none yet. */
static status data_id(const char *data, char ret[2 * ID_BYTES + 1]) {
  char path[FILES_PATH_MAX_BYTES];
  struct buf text = {0};
  STATUS_TRY(files_join(data, ID_NAME, path));
  status s = file_read(path, SMALL_FILE_MAX_BYTES, &text);
  bool is_whole = status_is_ok(&s) && text.len >= 2 * ID_BYTES;
  if (is_whole)
    snprintf(ret, 2 * ID_BYTES + 1, "%.*s", 2 * ID_BYTES, (char *)text.data);
  buf_fini(&text);
  if (is_whole || (!status_is_ok(&s) && s.code != STATUS_NOT_FOUND))
    return s;
  uint8_t random[ID_BYTES];
  crypto_random(random, sizeof random);
  for (size_t i = 0; i < sizeof random; i++)
    snprintf(ret + 2 * i, 3, "%02x", random[i]);
  return file_replace(path, str_make(ret, 2 * ID_BYTES));
}

/* Backups within the data would go with it, and into each other. */
static status check_place(const char *directory, const char *data, bool *ret_same_medium) {
  char inner[FILES_PATH_MAX_BYTES], outer[FILES_PATH_MAX_BYTES];
  struct stat there, here;
  if (strlen(directory) >= sizeof inner / 2 || realpath(directory, inner) == NULL ||
      realpath(data, outer) == NULL || stat(inner, &there) != 0 || stat(outer, &here) != 0)
    return status_make(STATUS_FAILED_PRECONDITION, "The directory %s cannot be used: %s", directory,
                       strerror(errno));
  size_t len = strlen(outer);
  if (strncmp(inner, outer, len) == 0 && (inner[len] == '/' || inner[len] == '\0'))
    return status_make(
        STATUS_FAILED_PRECONDITION,
        "%s lies in the data directory, and would go with it: name a directory on another medium.",
        directory);
  *ret_same_medium = there.st_dev == here.st_dev;
  return status_ok();
}

static status write_head(const char *directory, const char *id) {
  char path[FILES_PATH_MAX_BYTES], text[128];
  STATUS_TRY(files_join(directory, HEAD_NAME, path));
  int len = snprintf(text, sizeof text, "skerry backups\nformat %d\nof %s\n", ARCHIVE_FORMAT, id);
  return file_replace(path, str_make(text, (size_t)len));
}

static status check_head(const char *directory, const char *data) {
  char theirs[2 * ID_BYTES + 1] = "", ours[2 * ID_BYTES + 1] = "";
  status s = read_head(directory, theirs);
  if (!status_is_ok(&s) && s.code != STATUS_NOT_FOUND)
    return s;
  STATUS_TRY(data_id(data, ours));
  if (status_is_ok(&s) && strcmp(theirs, ours) != 0)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "%s has the backups of other data: name another directory for this one.", directory);
  if (status_is_ok(&s))
    return s;
  bool foreign = false;
  STATUS_TRY(has_other_files(directory, &foreign));
  if (foreign)
    return status_make(STATUS_FAILED_PRECONDITION,
                       "%s holds other files than backups of Skerry: name an empty directory.", directory);
  return write_head(directory, ours);
}

static status open_to_write(const struct archive_job *job, struct archive *ret, bool *ret_same_medium) {
  STATUS_TRY(name_parts(job->directory, ret));
  bool is_made = mkdir(job->directory, 0700) == 0;
  if (!is_made && errno != EEXIST)
    return status_make(errno == ENOSPC ? STATUS_RESOURCE_EXHAUSTED : STATUS_FAILED_PRECONDITION,
                       "The directory %s cannot be made: %s", job->directory, strerror(errno));
  status s = check_place(job->directory, job->data, ret_same_medium);
  if (!status_is_ok(&s) && is_made)
    rmdir(job->directory);
  STATUS_TRY(s);
  STATUS_TRY(lock(ret, true));
  s = check_head(job->directory, job->data);
  if (!status_is_ok(&s))
    archive_close(ret);
  return s;
}

/* ---- Notes ---- */

struct note {
  struct archive_facts facts;
  char files[NAME_BYTES];
  uint32_t checksum;
};

static void note_write(const struct note *note, char *text, size_t capacity) {
  snprintf(text, capacity,
           "skerry backup\nformat %d\nprogram %s\ntime %" PRId64 "\nversion %" PRId64 "\nfiles %s %08" PRIx32
           "\n",
           ARCHIVE_FORMAT, note->facts.program, note->facts.time_us, note->facts.version, note->files,
           note->checksum);
}

static void note_parse(const struct backup_facts *backup, struct note *ret) {
  char text[512];
  int format = 0;
  *ret = (struct note){.facts = {.id = backup->id, .damage = backup->damage, .bytes = backup->bytes}};
  if (backup->damage != NULL)
    return;
  snprintf(text, sizeof text, STR_FMT, STR_ARG(backup->note));
  // NOLINTBEGIN(cert-err34-c): nine and eighteen digits always fit
  int found = sscanf(text,
                     "skerry backup\nformat %9d\nprogram %31s\ntime %18" SCNd64 "\nversion %18" SCNd64
                     "\nfiles %47[0-9a-f-] %8" SCNx32,
                     &format, ret->facts.program, &ret->facts.time_us, &ret->facts.version, ret->files,
                     &ret->checksum);
  // NOLINTEND(cert-err34-c)
  ret->facts.format = format;
  if (format <= ARCHIVE_FORMAT && found < 6)
    ret->facts.damage = "it does not say what it is";
}

struct note_visit {
  void (*visit)(void *argument, const struct note *note);
  void *argument;
};

static void visit_note(void *argument, const struct backup_facts *backup) {
  const struct note_visit *visit = argument;
  struct note note;
  note_parse(backup, &note);
  visit->visit(visit->argument, &note);
}

/* Before the first backup there may be no directory yet. */
static status notes_visit(const struct archive *archive,
                          void (*visit)(void *argument, const struct note *note), void *argument) {
  struct note_visit state = {visit, argument};
  if (access(archive->engine, F_OK) != 0 && errno == ENOENT)
    return status_ok();
  return backup_engine_visit(archive->engine, visit_note, &state);
}

/* ---- Looking ---- */

struct facts_visit {
  void (*visit)(void *argument, const struct archive_facts *facts);
  void *argument;
};

static void visit_facts(void *argument, const struct note *note) {
  const struct facts_visit *visit = argument;
  visit->visit(visit->argument, &note->facts);
}

status archive_visit(const char *directory, void (*visit)(void *argument, const struct archive_facts *facts),
                     void *argument) {
  struct archive archive;
  struct facts_visit state = {visit, argument};
  char id[2 * ID_BYTES + 1] = "";
  STATUS_TRY(name_parts(directory, &archive));
  status s = read_head(directory, id); /* no lock: a backup under way is not seen yet */
  if (s.code == STATUS_NOT_FOUND)
    return status_make(STATUS_NOT_FOUND, "There are no backups in %s.", directory);
  STATUS_TRY(s);
  return notes_visit(&archive, visit_facts, &state);
}

struct search {
  uint32_t id; /* 0: the newest */
  bool found;
  unsigned damaged;
  struct note note;
  char damage[256]; /* the text is gone after the visit */
};

static void look(void *argument, const struct note *note) {
  struct search *search = argument;
  search->damaged += note->facts.damage != NULL;
  if (search->id == 0 ? note->facts.damage != NULL : note->facts.id != search->id)
    return;
  search->found = true;
  search->note = *note;
  if (note->facts.damage != NULL)
    snprintf(search->damage, sizeof search->damage, "%s", note->facts.damage);
}

static status find(const struct archive *archive, uint32_t id, struct note *ret) {
  struct search search = {.id = id};
  STATUS_TRY(notes_visit(archive, look, &search));
  if (!search.found && id == 0 && search.damaged > 0)
    return status_make(STATUS_DATA_LOSS, "All backups in %s are damaged: `skerry backup list` says how.",
                       archive->directory);
  if (!search.found && id == 0)
    return status_make(STATUS_NOT_FOUND, "There is no backup in %s yet.", archive->directory);
  if (!search.found)
    return status_make(STATUS_NOT_FOUND, "There is no backup %" PRIu32 " in %s.", id, archive->directory);
  if (search.note.facts.damage != NULL)
    return status_make(STATUS_DATA_LOSS, "The backup %" PRIu32 " is damaged: %s", search.note.facts.id,
                       search.damage);
  if (search.note.facts.format > ARCHIVE_FORMAT)
    return newer(archive->directory, search.note.facts.format);
  *ret = search.note;
  return status_ok();
}

status archive_find(const char *directory, uint32_t id, struct archive_facts *ret) {
  struct archive archive;
  struct note note;
  STATUS_TRY(open_to_read(directory, &archive));
  status s = find(&archive, id, &note);
  archive_close(&archive);
  if (status_is_ok(&s))
    *ret = note.facts;
  return s;
}

/* ---- Verifying ---- */

struct verification {
  const struct archive_progress *progress;
  uint64_t total_bytes;
};

static bool verify_step(void *argument, uint64_t bytes_done) {
  const struct verification *v = argument;
  return v->progress == NULL || v->progress->goes_on == NULL ||
         v->progress->goes_on(v->progress->argument, "verifying", bytes_done, v->total_bytes);
}

static status verify(const struct archive *archive, const struct note *note, uint64_t bytes_per_second,
                     const struct archive_progress *progress) {
  char path[FILES_PATH_MAX_BYTES];
  struct verification v = {progress, note->facts.bytes};
  STATUS_TRY(backup_engine_verify(archive->engine, note->facts.id, bytes_per_second, verify_step, &v));
  STATUS_TRY(files_join(archive->files, note->files, path));
  return files_check(path, note->checksum, NULL);
}

status archive_verify(const char *directory, uint32_t id, uint64_t bytes_per_second,
                      const struct archive_progress *progress) {
  struct archive archive;
  struct note note;
  STATUS_TRY(open_to_read(directory, &archive));
  status s = find(&archive, id, &note);
  if (status_is_ok(&s))
    s = verify(&archive, &note, bytes_per_second, progress);
  archive_close(&archive);
  return s;
}

/* ---- Removing ---- */

struct names {
  struct buf all; /* each with its NUL */
};

static void add_name(void *argument, const struct note *note) {
  struct names *names = argument;
  if (note->facts.damage != NULL || note->facts.format > ARCHIVE_FORMAT)
    names->all.failed = true; /* whose files they are is not known */
  buf_append(&names->all, note->files, strlen(note->files) + 1);
}

static bool has_name(const struct names *names, const char *name) {
  const char *at = (const char *)names->all.data, *end = at + names->all.len;
  for (; at < end; at += strlen(at) + 1)
    if (strcmp(at, name) == 0)
      return true;
  return false;
}

/* The other files of backups that are gone, or never came to their end. */
static void sweep(const struct archive *archive) {
  struct names names = {{0}};
  char path[FILES_PATH_MAX_BYTES];
  status s = notes_visit(archive, add_name, &names);
  DIR *d = status_is_ok(&s) && !names.all.failed ? opendir(archive->files) : NULL;
  for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;) {
    if (entry->d_name[0] == '.' || has_name(&names, entry->d_name))
      continue;
    s = files_join(archive->files, entry->d_name, path);
    if (status_is_ok(&s))
      files_remove(path);
  }
  if (d != NULL)
    closedir(d);
  buf_fini(&names.all);
}

enum { PRUNE_MAX = 1024 };
struct pruning {
  struct archive_facts whole[PRUNE_MAX];
  size_t count;
};

static void gather(void *argument, const struct note *note) {
  struct pruning *pruning = argument;
  if (note->facts.damage == NULL && pruning->count < PRUNE_MAX)
    pruning->whole[pruning->count++] = note->facts;
}

status archive_prune(const char *directory, uint64_t keep, int64_t age_us, int64_t now_us,
                     unsigned *ret_deleted) {
  struct archive archive;
  uint32_t ids[PRUNE_MAX];
  size_t count = 0;
  struct pruning *pruning = calloc(1, sizeof *pruning);
  if (pruning == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  status s = name_parts(directory, &archive);
  if (status_is_ok(&s))
    s = lock(&archive, true);
  if (status_is_ok(&s))
    s = notes_visit(&archive, gather, pruning);
  for (size_t i = 0; status_is_ok(&s) && i + 1 < pruning->count; i++) {
    bool is_surplus = keep > 0 && pruning->count - i > keep;
    bool is_old = age_us > 0 && pruning->whole[i].time_us < now_us - age_us;
    if (is_surplus || is_old)
      ids[count++] = pruning->whole[i].id;
  }
  free(pruning);
  if (status_is_ok(&s) && count > 0)
    s = backup_engine_delete(archive.engine, ids, count);
  if (status_is_ok(&s) && count > 0)
    sweep(&archive);
  archive_close(&archive);
  *ret_deleted = (unsigned)count;
  return s;
}

/* ---- Making ---- */

static bool copy_step(void *argument, uint64_t bytes_done, uint64_t bytes_total) {
  const struct archive_job *job = argument;
  return job->progress.goes_on == NULL ||
         job->progress.goes_on(job->progress.argument, "copying", bytes_done, bytes_total);
}

static status save_files(const struct archive *archive, const char *data, struct note *note) {
  char path[FILES_PATH_MAX_BYTES];
  uint32_t random;
  crypto_random(&random, sizeof random);
  snprintf(note->files, sizeof note->files, "%016" PRIx64 "-%08" PRIx32, (uint64_t)note->facts.time_us,
           random);
  if (mkdir(archive->files, 0700) != 0 && errno != EEXIST)
    return status_make(errno == ENOSPC ? STATUS_RESOURCE_EXHAUSTED : STATUS_UNAVAILABLE,
                       "The directory %s cannot be made: %s", archive->files, strerror(errno));
  STATUS_TRY(files_join(archive->files, note->files, path));
  return files_save(data, path, &note->checksum);
}

static status make(const struct archive *archive, const struct archive_job *job, struct archive_made *ret) {
  struct note note = {
      .facts = {.time_us = job->port->wall_us(job->port), .version = kv_newest_version(job->store)}};
  snprintf(note.facts.program, sizeof note.facts.program, "%s", job->program);
  STATUS_TRY(save_files(archive, job->data, &note));
  char text[512];
  note_write(&note, text, sizeof text);
  struct kv_backup_options options = {.directory = archive->engine,
                                      .note = str_from_cstr(text),
                                      .bytes_per_second = job->bytes_per_second,
                                      .free_space_min_bytes = job->free_space_min_bytes,
                                      .goes_on = copy_step,
                                      .argument = (void *)(uintptr_t)job};
  struct kv_backup_made made;
  STATUS_TRY(kv_rocksdb_backup(job->store, &options, &made));
  struct note written;
  status s = find(archive, made.id, &written);
  if (status_is_ok(&s))
    s = verify(archive, &written, job->bytes_per_second, &job->progress);
  if (!status_is_ok(&s)) {
    status deleted = backup_engine_delete(archive->engine, &made.id, 1);
    (void)deleted; /* it is damaged, and says so */
    return s;
  }
  ret->id = made.id;
  ret->copied_bytes = made.copied_bytes;
  return s;
}

status archive_make(const struct archive_job *job, struct archive_made *ret) {
  struct archive archive;
  struct archive_made made = {0};
  STATUS_TRY(open_to_write(job, &archive, &made.same_medium));
  sweep(&archive);
  status s = make(&archive, job, &made);
  if (!status_is_ok(&s))
    sweep(&archive);
  archive_close(&archive);
  if (status_is_ok(&s))
    *ret = made;
  return s;
}

/* ---- Going back ---- */

/* The backup once, and once more for what a restore writes itself. */
static status check_room(const char *data, uint64_t bytes, struct port *port) {
  char parent[FILES_PATH_MAX_BYTES];
  struct port_disk disk;
  snprintf(parent, sizeof parent, "%s", data);
  char *slash = strrchr(parent, '/');
  if (slash == NULL)
    snprintf(parent, sizeof parent, ".");
  else
    slash[slash == parent] = '\0';
  status asked = port->disk(port, access(data, F_OK) == 0 ? data : parent, &disk);
  if (status_is_ok(&asked) && disk.free_bytes < 2 * bytes)
    return status_make(STATUS_RESOURCE_EXHAUSTED,
                       "The backup has %" PRIu64 " MiB, twice as much is needed to restore it, and %" PRIu64
                       " MiB are free in %s.",
                       (bytes >> 20) + 1, disk.free_bytes >> 20, parent);
  return status_ok();
}

static status restore(const struct archive *archive, const struct note *note, const char *data) {
  char path[FILES_PATH_MAX_BYTES];
  STATUS_TRY(kv_rocksdb_restore(archive->engine, note->facts.id, data));
  STATUS_TRY(files_join(archive->files, note->files, path));
  return files_check(path, note->checksum, data);
}

status archive_restore(const char *directory, uint32_t id, const char *data, struct port *port,
                       struct archive_facts *ret) {
  struct archive archive;
  struct note note;
  STATUS_TRY(open_to_read(directory, &archive));
  status s = find(&archive, id, &note);
  if (status_is_ok(&s))
    s = check_room(data, note.facts.bytes, port);
  if (status_is_ok(&s))
    s = restore(&archive, &note, data);
  archive_close(&archive);
  if (status_is_ok(&s))
    *ret = note.facts;
  return s;
}

status archive_restore_end(const char *data) {
  return kv_rocksdb_restore_end(data);
}
