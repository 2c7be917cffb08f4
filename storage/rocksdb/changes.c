/* The change log. On disk: key = version (8 bytes, big-endian) and part (4 bytes, big-endian); value = for
 * each key: space (1 byte), 1 if it was deleted (1 byte), the key's length (2 bytes, little-endian), the key.
 * One record a commit, so that a commit of one document costs one small entry; long ones are cut into parts.
 */
#include <stdlib.h>

#include "storage/rocksdb/store_internal.h"

enum { CHANGE_HEAD_BYTES = 4 };

void change_key_encode(char key[CHANGE_KEY_BYTES], int64_t version, uint32_t part) {
  rocks_encode64(key, (uint64_t)version, true);
  for (unsigned i = 0; i < 4; i++)
    key[8 + i] = (char)(part >> (8 * (3 - i)));
}

void change_record_add(struct buf *record, enum kv_space space, bool deleted, str key) {
  const uint8_t head[CHANGE_HEAD_BYTES] = {(uint8_t)space, deleted ? 1 : 0, (uint8_t)key.len,
                                           (uint8_t)(key.len >> 8)};
  buf_append(record, head, sizeof head);
  buf_append_str(record, key);
}

bool change_record_take(str *rest, struct kv_change *ret) {
  if (rest->len < CHANGE_HEAD_BYTES)
    return false;
  const unsigned char *head = (const unsigned char *)rest->ptr;
  size_t len = head[2] | (size_t)head[3] << 8;
  if (head[0] >= KV_SPACE_COUNT || head[1] > 1 || len == 0 || len > rest->len - CHANGE_HEAD_BYTES)
    return false;
  ret->space = (enum kv_space)head[0];
  ret->deleted = head[1] == 1;
  ret->key = str_make(rest->ptr + CHANGE_HEAD_BYTES, len);
  *rest = str_from(*rest, CHANGE_HEAD_BYTES + len);
  return true;
}

struct rocks_changes {
  struct kv_changes base;
  struct rocks_store *store;
  struct engine_iter *at;
  bool started;
  str rest; /* of the record that `at` stands on */
  kv_version version;
  status failure;
};

static struct rocks_changes *changes_of(const struct kv_changes *changes) {
  return (struct rocks_changes *)(uintptr_t)changes;
}

static status reach_check(struct rocks_store *store, kv_version since) {
  if (since < atomic_load(&store->oldest_change))
    return status_make(STATUS_OUT_OF_RANGE, "The change log no longer reaches back to this version.");
  if (since > atomic_load(&store->newest) && since > rocks_clock_now(store))
    return status_make(STATUS_OUT_OF_RANGE, "The change log does not hold this version yet.");
  return status_ok();
}

status rocks_changes_open(struct kv_store *base, kv_version since, kv_version until,
                          struct kv_changes **ret) {
  struct rocks_store *store = rocks_of(base);
  kv_version newest = atomic_load(&store->newest);
  if (until == KV_LATEST)
    until = newest > since ? newest : since;
  STATUS_TRY(reach_check(store, since));
  STATUS_TRY(reach_check(store, until));
  char lower[CHANGE_KEY_BYTES], upper[CHANGE_KEY_BYTES];
  change_key_encode(lower, since + 1, 0);
  change_key_encode(upper, (until > since ? until : since) + 1, 0);
  STATUS_TRY(rocks_enter(store));
  struct rocks_changes *changes = calloc(1, sizeof *changes);
  if (changes == NULL) {
    rocks_leave(store);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  changes->base.driver = &rocks_driver;
  changes->store = store;
  changes->failure = status_ok();
  if (until > since) {
    status s = engine_iter_open(store->engine, ENGINE_CHANGES, str_make(lower, sizeof lower),
                                str_make(upper, sizeof upper), 0, true, &changes->at);
    /* The front may have been dropped since the check above; from here on it is pinned. */
    if (status_is_ok(&s))
      s = reach_check(store, since);
    if (!status_is_ok(&s)) {
      rocks_changes_close(&changes->base);
      return s;
    }
  }
  *ret = &changes->base;
  return status_ok();
}

static bool record_next(struct rocks_changes *changes) {
  if (changes->at == NULL || !status_is_ok(&changes->failure))
    return false;
  if (gate_is_closed(&changes->store->gate)) {
    changes->failure = status_make(STATUS_UNAVAILABLE, "The store is opening again. Please try again.");
    return false;
  }
  if (changes->started) {
    if (!engine_iter_valid(changes->at))
      return false;
    engine_iter_next(changes->at);
  } else {
    engine_iter_first(changes->at);
  }
  changes->started = true;
  if (!engine_iter_valid(changes->at)) {
    changes->failure = engine_iter_status(changes->at);
    rocks_saw(changes->store, &changes->failure);
    return false;
  }
  str key = engine_iter_key(changes->at);
  changes->rest = engine_iter_value(changes->at);
  changes->version = key.len == CHANGE_KEY_BYTES ? (kv_version)rocks_decode64(key.ptr, true) : 0;
  return true;
}

bool rocks_changes_next(struct kv_changes *base, struct kv_change *ret) {
  struct rocks_changes *changes = changes_of(base);
  if (changes->rest.len == 0 && !record_next(changes))
    return false;
  ret->version = changes->version;
  if (changes->version > 0 && change_record_take(&changes->rest, ret))
    return true;
  changes->rest = (str){0};
  changes->failure = status_make(STATUS_DATA_LOSS, "A record of the change log is damaged.");
  rocks_saw(changes->store, &changes->failure);
  return false;
}

status rocks_changes_status(const struct kv_changes *base) {
  return changes_of(base)->failure;
}

void rocks_changes_close(struct kv_changes *base) {
  struct rocks_changes *changes = changes_of(base);
  engine_iter_close(changes->at);
  rocks_leave(changes->store);
  free(changes);
}
