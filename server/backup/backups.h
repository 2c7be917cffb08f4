/* The backups of a running server: made when somebody asks and by the schedule, one at a time, by a thread of
 * their own. A scheduled one that fails is logged, shown and tried again (schedule.h); one that succeeds is
 * followed by the deletion of old ones. Any thread. */
#ifndef SKERRY_SERVER_BACKUP_BACKUPS_H
#define SKERRY_SERVER_BACKUP_BACKUPS_H

#include "server/backup/archive.h"
#include "server/backup/schedule.h"

struct backups;

/* Texts and pointers outlive it. */
struct backups_options {
  struct kv_store *store;
  struct port *port;
  const char *data, *program;
  const char *directory; /* of scheduled ones, and of those that name none; "": none */
  struct schedule schedule;
  uint64_t keep;  /* scheduled ones: how many, 0: all */
  int64_t age_us; /* and for how long, 0: for good */
  uint64_t bytes_per_second, free_space_min_bytes;
};

STATUS_MUST_USE status backups_open(const struct backups_options *options, struct backups **ret);
/* The server begins to stop: one under way is stopped and leaves nothing, and there are no others. */
void backups_stop(struct backups *backups);
void backups_close(struct backups *backups); /* NULL allowed */

/* A backup that somebody asks for. Both are called on the thread of the backups, `done` once and last. */
struct backups_request {
  char *directory;                /* absolute; NULL: the setting's. Freed with free() */
  int64_t limit_bytes_per_second; /* -1: the setting's */
  /* What happens, every second or so. False: nobody waits any more, so it is stopped. */
  bool (*progress)(void *argument, const char *what, uint64_t bytes_done, uint64_t bytes_total);
  void (*done)(void *argument, const char *directory, status result, const struct archive_made *made);
  void *argument;
};
/* Takes the request, and its directory, if it is OK; otherwise `done` is not called. FAILED_PRECONDITION: one
 * is under way, or there is no directory. UNAVAILABLE: the server stops. */
STATUS_MUST_USE status backups_start(struct backups *backups, const struct backups_request *request);

struct backups_facts {
  bool is_scheduled;
  const char *directory; /* "": none */
  bool is_running;
  char what[16]; /* "copying", "verifying" */
  uint64_t bytes_done, bytes_total;
  /* Of all since the start, and the newest of `directory` from before it. */
  int64_t last_success_us; /* wall clock; 0: none is known */
  uint64_t last_copied_bytes;
  int64_t last_duration_us;
  bool same_medium; /* the last one lies on the medium of the data */
  uint64_t succeeded, failed, copied_bytes;
  unsigned failures; /* of scheduled ones, in a row until now */
  char problem[256]; /* why the last one failed; "": it did not */
};
void backups_facts(struct backups *backups, struct backups_facts *ret);

#endif
