/* Two passes: every file against its own checksums, which finds damage wherever it is; then every record,
 * whether it decodes at this driver's level. */
#include <stdio.h>
#include <string.h>

#include "storage/rocksdb/store_internal.h"

struct verification {
  struct rocks_store *store;
  void (*report)(void *argument, str text);
  void *argument;
  uint64_t damages;
};

static void damage(struct verification *v, const char *where, const char *what) {
  char text[1024];
  v->damages++;
  snprintf(text, sizeof text, "%s: %s", where, what);
  if (v->report != NULL)
    v->report(v->argument, str_from_cstr(text));
}

static void file_damage(void *argument, const char *text) {
  damage(argument, "file", text);
}

static const char *versioned_check(const struct verification *v, str key, str value) {
  if (key.len == 0 || key.len > KV_KEY_MAX_BYTES)
    return "a key has an impossible length";
  if (value.len < ENGINE_VALUE_PREFIX_BYTES)
    return "a value is shorter than its version";
  int64_t version = (int64_t)rocks_decode64(value.ptr, false);
  if (version <= 0 || version > atomic_load(&v->store->newest))
    return "a value has an impossible version";
  return NULL;
}

static const char *change_check(str key, str value) {
  if (key.len != CHANGE_KEY_BYTES || value.len == 0)
    return "a record of the change log has an impossible length";
  while (value.len > 0) {
    struct kv_change change;
    if (!change_record_take(&value, &change))
      return "a record of the change log does not decode";
  }
  return NULL;
}

static void family_walk(struct verification *v, unsigned family, const char *name, int64_t version) {
  struct engine_iter *at = NULL;
  status s = engine_iter_open(v->store->engine, family, (str){0}, (str){0}, version, false, &at);
  if (!status_is_ok(&s)) {
    damage(v, name, s.message);
    return;
  }
  for (engine_iter_first(at); engine_iter_valid(at) && !gate_is_closed(&v->store->gate);
       engine_iter_next(at)) {
    const char *wrong = NULL;
    if (family < ENGINE_VERSIONED_COUNT)
      wrong = versioned_check(v, engine_iter_key(at), engine_iter_value(at));
    else if (family == ENGINE_CHANGES)
      wrong = change_check(engine_iter_key(at), engine_iter_value(at));
    if (wrong != NULL)
      damage(v, name, wrong);
  }
  s = engine_iter_status(at);
  if (!status_is_ok(&s))
    damage(v, name, s.message);
  engine_iter_close(at);
}

status rocks_verify(struct kv_store *base, void (*report)(void *argument, str text), void *argument,
                    uint64_t *ret_damages) {
  static const char *const names[ENGINE_FAMILY_COUNT] = {"documents", "index", "system", "change log",
                                                         "meta"};
  struct rocks_store *store = rocks_of(base);
  struct verification v = {store, report, argument, 0};
  STATUS_TRY(rocks_enter(store));
  status s = engine_verify_files(store->engine, file_damage, &v);
  for (unsigned family = 0; family < ENGINE_FAMILY_COUNT; family++)
    family_walk(&v, family, names[family], atomic_load(&store->newest));
  bool interrupted = gate_is_closed(&store->gate);
  rocks_leave(store);
  STATUS_TRY(s);
  if (interrupted)
    return status_make(STATUS_UNAVAILABLE, "The store is opening again. Please try again.");
  if (v.damages > 0)
    rocks_health_set(store, KV_DAMAGED, "`verify` found damage: restore a backup.");
  *ret_damages = v.damages;
  return status_ok();
}
