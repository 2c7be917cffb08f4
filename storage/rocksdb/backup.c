#include "storage/rocksdb/backup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/rocksdb/store_internal.h"

/* A backup under way. */
struct backup {
  struct rocks_store *store;
  const struct kv_backup_options *options;
  uint64_t total_bytes;
  status stopped; /* why, if it was for a reason of ours */
};

static uint64_t free_bytes(struct port *port, const char *path) {
  struct port_disk disk;
  status asked = port->disk(port, path, &disk);
  return status_is_ok(&asked) ? disk.free_bytes : UINT64_MAX;
}

/* Whether `more` bytes fit. */
static status check_space(const struct backup *backup, uint64_t more) {
  const struct kv_backup_options *options = backup->options;
  struct port *port = backup->store->port;
  uint64_t free_there = free_bytes(port, options->directory);
  if (free_there < more || free_there - more < options->free_space_min_bytes)
    return status_make(STATUS_RESOURCE_EXHAUSTED,
                       "The backup needs %" PRIu64 " MiB more in %s, of %" PRIu64 " MiB free, and %" PRIu64
                       " MiB are kept in reserve: make room, or delete old backups.",
                       (more >> 20) + 1, options->directory, free_there >> 20,
                       options->free_space_min_bytes >> 20);
  if (free_bytes(port, backup->store->directory) < backup->store->options.free_space_min_bytes)
    return status_make(STATUS_RESOURCE_EXHAUSTED,
                       "The disk of the store is nearly full, and no file of it is deleted during a backup: "
                       "make room, and back up again.");
  return status_ok();
}

static bool step(void *argument, uint64_t bytes_done) {
  struct backup *backup = argument;
  const struct kv_backup_options *options = backup->options;
  if (gate_is_closed(&backup->store->gate))
    backup->stopped = status_make(STATUS_UNAVAILABLE, "The store is opening again. Please try again.");
  else
    backup->stopped = check_space(backup, 0);
  if (!status_is_ok(&backup->stopped))
    return false;
  uint64_t total = bytes_done > backup->total_bytes ? bytes_done : backup->total_bytes;
  return options->goes_on == NULL || options->goes_on(options->argument, bytes_done, total);
}

static status make(struct backup *backup, struct kv_backup_made *ret) {
  const struct kv_backup_options *options = backup->options;
  struct engine *engine = backup->store->engine;
  struct backup_job job = {.directory = options->directory,
                           .note = options->note,
                           .bytes_per_second = options->bytes_per_second,
                           .flush = atomic_load(&backup->store->health) == KV_HEALTHY,
                           .step = step,
                           .argument = backup};
  STATUS_TRY(backup_engine_needs(engine, options->directory, &backup->total_bytes));
  STATUS_TRY(check_space(backup, backup->total_bytes));
  struct kv_backup_made made = {0};
  status s = backup_engine_create(engine, &job, &made.id, &made.copied_bytes);
  if (s.code == STATUS_CANCELLED && !status_is_ok(&backup->stopped))
    return backup->stopped;
  STATUS_TRY(s);
  *ret = made;
  return s;
}

status kv_rocksdb_backup(struct kv_store *base, const struct kv_backup_options *options,
                         struct kv_backup_made *ret) {
  struct backup backup = {.store = rocks_of(base), .options = options, .stopped = status_ok()};
  if (options->note.len > BACKUP_NOTE_BYTES_MAX)
    return status_make(STATUS_INVALID_ARGUMENT, "The note of a backup has at most %d bytes.",
                       BACKUP_NOTE_BYTES_MAX);
  if (atomic_load(&backup.store->health) == KV_DAMAGED)
    return status_make(STATUS_DATA_LOSS,
                       "The store is damaged, and so would its backup be: restore an earlier one.");
  if (mkdir(options->directory, 0700) != 0 && errno != EEXIST)
    return status_make(errno == ENOSPC ? STATUS_RESOURCE_EXHAUSTED : STATUS_FAILED_PRECONDITION,
                       "The directory %s cannot be made: %s", options->directory, strerror(errno));
  STATUS_TRY(rocks_enter(backup.store));
  status s = make(&backup, ret);
  rocks_leave(backup.store);
  return s;
}

status kv_rocksdb_restore(const char *backups, uint32_t id, const char *directory) {
  struct layout layout;
  STATUS_TRY(layout_begin_restore(directory, &layout));
  return backup_engine_restore(backups, id, layout.engine_path);
}

status kv_rocksdb_restore_end(const char *directory) {
  return layout_mark_ready(directory);
}

status kv_rocksdb_forget_past(struct kv_store *base) {
  struct rocks_store *store = rocks_of(base);
  int64_t newest = atomic_load(&store->newest);
  STATUS_TRY(rocks_enter(store));
  pthread_mutex_lock(&store->round_lock);
  status s = rocks_meta_write(store, META_OLDEST_CHANGE, newest);
  if (status_is_ok(&s))
    s = rocks_meta_write(store, META_OLDEST_HISTORY, newest);
  if (status_is_ok(&s)) {
    atomic_store(&store->oldest_change, newest);
    atomic_store(&store->oldest_history, newest);
  }
  pthread_mutex_unlock(&store->round_lock);
  rocks_leave(store);
  return s;
}
