/* Commits of documents against a real store. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/document/write.h"
#include "storage/rocksdb/store.h"
#include "storage/rocksdb/test_support.h"

#define ROOT "projects/p/databases/(default)/documents/"

static char directory[64];
static struct kv_store *store;
static struct arena arena;

static int group_setup(void **state) {
  (void)state;
  test_directory_make(directory);
  struct kv_rocksdb_options options = {.directory = directory, .clock_trusted = true};
  status result = kv_rocksdb_open(&options, &store);
  arena_init(&arena, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  return status_is_ok(&result) ? 0 : 1;
}

static int group_teardown(void **state) {
  (void)state;
  kv_close(store);
  arena_fini(&arena);
  test_directory_remove(directory);
  return 0;
}

/* ---- Commits, waited for ---- */

struct waiter {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool done;
  status result;
  kv_version version;
};

static void wake(struct doc_commit *commit, status result, kv_version version) {
  struct waiter *waiter = commit->user;
  pthread_mutex_lock(&waiter->mutex);
  waiter->done = true;
  waiter->result = result;
  waiter->version = version;
  pthread_cond_signal(&waiter->changed);
  pthread_mutex_unlock(&waiter->mutex);
}

static status run(struct doc_commit *commit, kv_version *ret_version) {
  struct waiter waiter = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  commit->arena = &arena;
  commit->done = wake;
  commit->user = &waiter; // cppcheck-suppress autoVariables ; it is waited for below
  if (commit->limits.document_bytes == 0)
    commit->limits = DOC_LIMITS_DEFAULT;
  STATUS_TRY(doc_commit_prepare(commit));
  doc_commit_start(store, commit);
  pthread_mutex_lock(&waiter.mutex);
  while (!waiter.done)
    pthread_cond_wait(&waiter.changed, &waiter.mutex);
  pthread_mutex_unlock(&waiter.mutex);
  *ret_version = waiter.version;
  return waiter.result;
}

static struct doc_path path_of(const char *relative) {
  struct doc_path path;
  str name = arena_printf(&arena, ROOT "%s", relative);
  status result = doc_path_parse_document(name, &path);
  assert_true(status_is_ok(&result));
  return path;
}

static struct doc_map one_field(const char *name, int64_t number) {
  struct doc_field *field = ARENA_NEW(&arena, struct doc_field);
  *field = (struct doc_field){str_from_cstr(name), {.type = DOC_INTEGER, .as.integer = number}};
  return (struct doc_map){field, 1};
}

static struct doc_write set(const char *relative, int64_t number) {
  return (struct doc_write){
      .kind = DOC_WRITE_SET, .path = path_of(relative), .fields = one_field("n", number)};
}

static struct doc_write delete (const char *relative) {
  return (struct doc_write){.kind = DOC_WRITE_DELETE, .path = path_of(relative)};
}

static struct doc_write increment(const char *relative, int64_t by) {
  static const str name = {"n", 1};
  struct doc_transform *transform = ARENA_NEW(&arena, struct doc_transform);
  *transform = (struct doc_transform){.path = {&name, 1},
                                      .kind = DOC_TRANSFORM_INCREMENT,
                                      .operand = {.type = DOC_INTEGER, .as.integer = by}};
  struct doc_write write = {.kind = DOC_WRITE_TRANSFORM, .path = path_of(relative)};
  status result = doc_transform_plan_make(transform, 1, &arena, &write.transforms);
  assert_true(status_is_ok(&result));
  return write;
}

static struct doc_precondition exists(bool value) {
  return (struct doc_precondition){.kind = DOC_PRECONDITION_EXISTS, .exists = value};
}

#define COMMIT(ret_version, ...)                                                                             \
  commit_writes((struct doc_write[]){__VA_ARGS__},                                                           \
                sizeof((struct doc_write[]){__VA_ARGS__}) / sizeof(struct doc_write), (ret_version), NULL)

static status commit_writes(struct doc_write *writes, size_t count, kv_version *ret_version,
                            struct doc_write_result **ret_results) {
  struct doc_commit *commit = ARENA_NEW(&arena, struct doc_commit);
  *commit = (struct doc_commit){.writes = writes, .write_count = count};
  status result = run(commit, ret_version);
  if (ret_results != NULL)
    *ret_results = commit->results;
  return result;
}

/* What is stored: the field n, or -1 without the document. */
static int64_t read_n(const char *relative, struct doc_record *ret_record) {
  kv_snapshot snapshot;
  struct kv_value value = {0};
  struct doc_path path = path_of(relative);
  str key;
  status result = kv_snapshot_at(store, KV_LATEST, &snapshot);
  assert_true(status_is_ok(&result));
  result = doc_key_from_path(&path, &arena, &key);
  assert_true(status_is_ok(&result));
  result = kv_get(snapshot, KV_DOCUMENTS, key, &value);
  assert_true(status_is_ok(&result));
  if (!value.found)
    return -1;
  struct doc_record record;
  result = doc_record_decode(arena_str_copy(&arena, value.bytes), &record);
  assert_true(status_is_ok(&result));
  kv_value_release(&value);
  struct doc_map map;
  result = doc_decode_fields(record.fields, &arena, &map);
  assert_true(status_is_ok(&result));
  if (ret_record != NULL)
    *ret_record = record;
  const struct doc_value *n = doc_map_get(map, STR("n"));
  return n == NULL ? -2 : n->as.integer;
}

static void assert_code(status result, enum status_code code) {
  if (result.code != code)
    fail_msg("wanted %s, got %s: %s", status_code_name((int)code), status_code_name((int)result.code),
             result.message);
}

/* ---- Tests ---- */

static struct doc_write verify(const char *relative, struct doc_precondition precondition) {
  return (struct doc_write){
      .kind = DOC_WRITE_VERIFY, .path = path_of(relative), .precondition = precondition};
}

static struct doc_precondition updated_at(kv_version version) {
  return (struct doc_precondition){.kind = DOC_PRECONDITION_UPDATE_TIME, .update_time_us = version};
}

static void test_verify(void **state) {
  (void)state;
  kv_version first, version;
  struct doc_record record;
  assert_code(COMMIT(&first, set("v/a", 1)), STATUS_OK);
  assert_code(COMMIT(&version, verify("v/a", updated_at(first)), verify("v/none", exists(false))), STATUS_OK);
  assert_int_equal(read_n("v/a", &record), 1);
  assert_int_equal(record.update_us, first);
  assert_int_equal(read_n("v/none", NULL), -1);
  assert_code(COMMIT(&version, set("v/b", 1), verify("v/a", updated_at(first - 1))),
              STATUS_FAILED_PRECONDITION);
  assert_code(COMMIT(&version, set("v/b", 1), verify("v/none", exists(true))), STATUS_NOT_FOUND);
  assert_int_equal(read_n("v/b", NULL), -1);
  /* Beside writes to the same document, before and after. */
  assert_code(COMMIT(&version, verify("v/a", updated_at(first)), set("v/a", 2), verify("v/a", exists(true))),
              STATUS_OK);
  assert_int_equal(read_n("v/a", &record), 2);
  assert_int_equal(record.update_us, version);
  assert_code(COMMIT(&version, delete ("v/a"), verify("v/a", exists(false))), STATUS_OK);
  assert_int_equal(read_n("v/a", NULL), -1);
}

static void test_set_and_times(void **state) {
  (void)state;
  kv_version first, second, third;
  struct doc_record record;
  assert_code(COMMIT(&first, set("t/a", 1)), STATUS_OK);
  assert_int_equal(read_n("t/a", &record), 1);
  assert_int_equal(record.create_us, first);
  assert_int_equal(record.update_us, first);
  assert_code(COMMIT(&second, set("t/a", 2)), STATUS_OK);
  assert_true(second > first);
  assert_int_equal(read_n("t/a", &record), 2);
  assert_int_equal(record.create_us, first);
  assert_int_equal(record.update_us, second);
  /* The same again changes nothing, its update time included. */
  assert_code(COMMIT(&third, set("t/a", 2)), STATUS_OK);
  assert_int_equal(read_n("t/a", &record), 2);
  assert_int_equal(record.update_us, second);
}

static void test_preconditions(void **state) {
  (void)state;
  kv_version version;
  struct doc_write write = set("p/a", 1);
  write.precondition = exists(true);
  status result = COMMIT(&version, write);
  assert_code(result, STATUS_NOT_FOUND);
  assert_string_equal(result.message, "No document to update: " ROOT "p/a");
  write.precondition = exists(false);
  assert_code(COMMIT(&version, write), STATUS_OK);
  assert_code(COMMIT(&version, write), STATUS_ALREADY_EXISTS);
  struct doc_record record;
  read_n("p/a", &record);
  write = set("p/a", 5);
  write.precondition =
      (struct doc_precondition){.kind = DOC_PRECONDITION_UPDATE_TIME, .update_time_us = record.update_us - 1};
  assert_code(COMMIT(&version, write), STATUS_FAILED_PRECONDITION);
  assert_int_equal(read_n("p/a", NULL), 1);
  write.precondition.update_time_us = record.update_us;
  assert_code(COMMIT(&version, write), STATUS_OK);
  assert_int_equal(read_n("p/a", NULL), 5);
  write = delete ("p/none");
  assert_code(COMMIT(&version, write), STATUS_OK);
  write.precondition = exists(true);
  assert_code(COMMIT(&version, write), STATUS_NOT_FOUND);
}

static void test_all_or_nothing(void **state) {
  (void)state;
  kv_version version;
  struct doc_write last = set("all/c", 3);
  last.precondition = exists(true);
  assert_code(COMMIT(&version, set("all/a", 1), set("all/b", 2), last), STATUS_NOT_FOUND);
  assert_int_equal(read_n("all/a", NULL), -1);
  assert_int_equal(read_n("all/b", NULL), -1);
}

static void test_writes_see_each_other(void **state) {
  (void)state;
  kv_version version;
  struct doc_write must_exist = increment("chain/a", 5);
  must_exist.precondition = exists(true);
  assert_code(COMMIT(&version, set("chain/a", 1), set("chain/b", 7), increment("chain/a", 10), must_exist),
              STATUS_OK);
  assert_int_equal(read_n("chain/a", NULL), 16);
  assert_int_equal(read_n("chain/b", NULL), 7);

  struct doc_record record;
  kv_version second;
  struct doc_write again = set("chain/a", 2);
  again.precondition = exists(false);
  assert_code(COMMIT(&second, delete ("chain/a"), again), STATUS_OK);
  assert_int_equal(read_n("chain/a", &record), 2);
  assert_int_equal(record.create_us, second); /* deleted and made anew */

  assert_code(COMMIT(&version, set("chain/a", 9), delete ("chain/a")), STATUS_OK);
  assert_int_equal(read_n("chain/a", NULL), -1);
  assert_code(COMMIT(&version, set("chain/new", 9), delete ("chain/new")), STATUS_OK);
  assert_int_equal(read_n("chain/new", NULL), -1);
}

static void test_results(void **state) {
  (void)state;
  kv_version first, second;
  struct doc_write_result *results;
  struct doc_write writes[] = {set("r/a", 1), increment("r/a", 4), delete ("r/b")};
  assert_code(commit_writes(writes, 3, &first, &results), STATUS_OK);
  assert_int_equal(results[0].update_time_us, first);
  assert_int_equal(results[1].update_time_us, first);
  assert_int_equal(results[1].transform_results[0].as.integer, 5);
  assert_int_equal(results[2].update_time_us, 0);
  struct doc_write back[] = {set("r/a", 6), set("r/a", 5)}; /* the commit as a whole changes nothing */
  assert_code(commit_writes(back, 2, &second, &results), STATUS_OK);
  assert_int_equal(results[0].update_time_us, first);
  assert_int_equal(results[1].update_time_us, first);
  struct doc_write unchanged[] = {set("r/a", 5)};
  assert_code(commit_writes(unchanged, 1, &second, &results), STATUS_OK);
  assert_int_equal(results[0].update_time_us, first);
}

static void test_mask(void **state) {
  (void)state;
  kv_version version;
  struct doc_mask mask;
  const str paths[] = {STR("m")};
  status result = doc_mask_parse(paths, 1, DOC_MASK_WRITE, &arena, &mask);
  assert_code(result, STATUS_OK);
  struct doc_write write = set("mask/a", 1);
  assert_code(COMMIT(&version, write), STATUS_OK);
  write.mask = &mask; /* n is not in it, so it stays as it was; m is deleted, which it is already */
  write.fields = one_field("n", 50);
  assert_code(COMMIT(&version, write), STATUS_OK);
  assert_int_equal(read_n("mask/a", NULL), 1);
  const str both[] = {STR("n")};
  assert_code(doc_mask_parse(both, 1, DOC_MASK_WRITE, &arena, &mask), STATUS_OK);
  assert_code(COMMIT(&version, write), STATUS_OK);
  assert_int_equal(read_n("mask/a", NULL), 50);
}

static void test_limits(void **state) {
  (void)state;
  kv_version version;
  struct doc_commit commit = {.limits = {.document_bytes = 60}};
  struct doc_write write = set("size/a", 1); /* 16 + 6 + 2 for its name, 2 + 8 + 32 for its fields: 66 */
  commit.writes = &write;
  commit.write_count = 1;
  assert_code(run(&commit, &version), STATUS_INVALID_ARGUMENT);
  struct doc_commit grows = {.limits = {.document_bytes = 60}};
  struct doc_write transform = increment("size/a", 1);
  grows.writes = &transform;
  grows.write_count = 1;
  assert_code(run(&grows, &version), STATUS_INVALID_ARGUMENT);
  assert_int_equal(read_n("size/a", NULL), -1);

  size_t count = LIMIT_TRANSFORMS_PER_DOCUMENT + 1;
  struct doc_write *many = ARENA_NEW_ARRAY(&arena, struct doc_write, count);
  for (size_t i = 0; i < count; i++)
    many[i] = increment("size/many", 1);
  assert_code(commit_writes(many, count, &version, NULL), STATUS_INVALID_ARGUMENT);
  assert_code(commit_writes(many, count - 1, &version, NULL), STATUS_OK);
  assert_int_equal(read_n("size/many", NULL), LIMIT_TRANSFORMS_PER_DOCUMENT);
}

static void test_empty_document_and_commit(void **state) {
  (void)state;
  kv_version version;
  struct doc_write empty = {.kind = DOC_WRITE_SET, .path = path_of("e/a")};
  assert_code(COMMIT(&version, empty), STATUS_OK);
  assert_int_equal(read_n("e/a", NULL), -2);
  assert_code(commit_writes(NULL, 0, &version, NULL), STATUS_OK);
  assert_true(version > 0);
}

/* ---- What is written with documents ---- */

static int64_t n_of(const str *fields) {
  struct doc_map map;
  if (fields == NULL)
    return -1;
  status result = doc_decode_fields(*fields, &arena, &map);
  assert_true(status_is_ok(&result));
  return map.count == 1 ? map.fields[0].value.as.integer : -2;
}

/* Writes down each call, and puts what it saw under the document's path. It refuses the number 13. */
static status write_down(void *argument, const struct doc_path *document, const str *old_fields,
                         const str *new_fields, struct arena *scratch, struct kv_batch *batch) {
  struct buf *calls = argument;
  assert_ptr_equal(scratch, &arena);
  if (n_of(new_fields) == 13)
    return status_make(STATUS_INVALID_ARGUMENT, "Thirteen is refused.");
  size_t start = calls->len;
  buf_printf(calls, STR_FMT " %d>%d;", STR_ARG(document->relative), (int)n_of(old_fields),
             (int)n_of(new_fields));
  kv_batch_put(batch, KV_INDEX, document->relative, str_from(buf_str(calls), start));
  return status_ok();
}

static status derived_commit(struct doc_write *writes, size_t count, struct buf *calls) {
  const struct doc_derive derive = {write_down, calls};
  struct doc_commit commit = {.writes = writes, .write_count = count, .derive = &derive};
  kv_version version;
  buf_clear(calls);
  return run(&commit, &version);
}

#define DERIVED(wanted, ...)                                                                                 \
  do {                                                                                                       \
    struct doc_write writes[] = {__VA_ARGS__};                                                               \
    assert_code(derived_commit(writes, sizeof writes / sizeof *writes, &calls), STATUS_OK);                  \
    buf_append_byte(&calls, 0);                                                                              \
    assert_string_equal((const char *)calls.data, (wanted));                                                 \
  } while (0)

static void assert_derived(const char *relative, const char *wanted) {
  kv_snapshot snapshot;
  struct kv_value value;
  status result = kv_snapshot_at(store, KV_LATEST, &snapshot);
  assert_true(status_is_ok(&result));
  result = kv_get(snapshot, KV_INDEX, str_from_cstr(relative), &value);
  assert_true(status_is_ok(&result));
  assert_int_equal(value.found, wanted != NULL);
  assert_true(wanted == NULL || str_eq(value.bytes, str_from_cstr(wanted)));
  kv_value_release(&value);
}

static void test_derived(void **state) {
  (void)state;
  struct buf calls = {0};
  DERIVED("d/a -1>1;", set("d/a", 1));
  assert_derived("d/a", "d/a -1>1;");
  DERIVED("d/a 1>2;", set("d/a", 2));
  DERIVED("", set("d/a", 2));                              /* unchanged */
  DERIVED("", set("d/a", 5), set("d/a", 2));               /* in the end */
  DERIVED("d/a 2>4;", set("d/a", 3), increment("d/a", 1)); /* once, after the last write */
  DERIVED("d/a 4>6;", delete ("d/a"), set("d/a", 6));      /* a new document: as it was before the commit */
  DERIVED("d/a 6>6;", delete ("d/a"), set("d/a", 6));      /* with another create time */
  DERIVED("d/b -1>1;d/a 6>7;", set("d/b", 1), set("d/a", 7));
  DERIVED("d/a 7>-1;", set("d/a", 9), delete ("d/a"));
  DERIVED("", delete ("d/a"));
  DERIVED("", set("d/a", 9), delete ("d/a"));
  struct doc_write refused[] = {set("d/c", 1), set("d/d", 13)};
  assert_code(derived_commit(refused, 2, &calls), STATUS_INVALID_ARGUMENT);
  assert_int_equal(read_n("d/c", NULL), -1);
  assert_derived("d/c", NULL);
  buf_fini(&calls);
}

/* ---- Reviews ---- */

/* What a review sees, and what it says. */
struct reviewer {
  struct buf seen;     /* "u d/a 1>2;" for each document: what it wants, n before and after, -1 without it */
  const char *look_at; /* a document that it reads before and after, or NULL */
  enum status_code says;
  int64_t met; /* count_up: n before the commit */
};

static int64_t found_n(const struct doc_found *found) {
  return n_of(found->exists ? &found->fields : NULL);
}

static status look(void *argument, struct doc_view *view) {
  static const char letters[] = {[DOC_WANTS_TO_READ] = 'r',
                                 [DOC_WANTS_TO_CREATE] = 'c',
                                 [DOC_WANTS_TO_UPDATE] = 'u',
                                 [DOC_WANTS_TO_DELETE] = 'd'};
  struct reviewer *reviewer = argument;
  struct doc_reviewed document;
  char text[128];
  assert_true(doc_view_version(view) > 0);
  while (doc_view_next(view, &document)) {
    snprintf(text, sizeof text, "%c " STR_FMT " %lld>%lld;", letters[document.wants],
             STR_ARG(document.path->relative), (long long)found_n(&document.before),
             (long long)found_n(&document.after));
    buf_append_str(&reviewer->seen, str_from_cstr(text));
  }
  if (reviewer->look_at != NULL) {
    struct doc_path path = path_of(reviewer->look_at);
    struct doc_found before, after;
    STATUS_TRY(doc_view_read(view, &path, false, &before));
    STATUS_TRY(doc_view_read(view, &path, true, &after));
    snprintf(text, sizeof text, "%lld>%lld", (long long)found_n(&before), (long long)found_n(&after));
    buf_append_str(&reviewer->seen, str_from_cstr(text));
  }
  return reviewer->says == STATUS_OK ? status_ok() : status_default(reviewer->says);
}

/* Keeps what it met; decodes in an arena of its own, since it runs while the test does. */
static status count_up(void *argument, struct doc_view *view) {
  struct reviewer *reviewer = argument;
  struct doc_reviewed document;
  struct arena scratch;
  struct doc_map map;
  arena_init(&scratch, NULL, 0, LIMIT_CALL_ARENA_BYTES);
  status result = doc_view_next(view, &document) ? status_ok() : status_default(STATUS_INTERNAL);
  if (status_is_ok(&result))
    result = doc_decode_fields(document.before.fields, &scratch, &map);
  if (status_is_ok(&result))
    reviewer->met = doc_map_get(map, STR("n"))->as.integer;
  arena_fini(&scratch);
  STATUS_TRY(result);
  return reviewer->says == STATUS_OK ? status_ok() : status_default(reviewer->says);
}

static status reviewed_commit(struct doc_write *writes, size_t count, struct reviewer *reviewer) {
  kv_version version;
  struct doc_review review = {look, reviewer};
  struct doc_commit commit = {.writes = writes, .write_count = count, .review = &review};
  buf_clear(&reviewer->seen);
  return run(&commit, &version);
}

#define REVIEWED(code, wanted, ...)                                                                          \
  do {                                                                                                       \
    struct doc_write writes[] = {__VA_ARGS__};                                                               \
    assert_code(reviewed_commit(writes, sizeof writes / sizeof *writes, &reviewer), (code));                 \
    buf_append_byte(&reviewer.seen, 0);                                                                      \
    assert_string_equal((const char *)reviewer.seen.data, (wanted));                                         \
  } while (0)

static struct doc_write demand(struct doc_write write, struct doc_precondition precondition) {
  write.precondition = precondition;
  return write;
}

static void test_review(void **state) {
  (void)state;
  struct reviewer reviewer = {.says = STATUS_OK};
  REVIEWED(STATUS_OK, "c w/a -1>1;", set("w/a", 1));
  REVIEWED(STATUS_OK, "u w/a 1>1;", set("w/a", 1)); /* although nothing changes */
  REVIEWED(STATUS_OK, "c w/b -1>5;u w/a 1>3;", set("w/a", 2), set("w/b", 5), increment("w/a", 1));
  REVIEWED(STATUS_OK, "d w/b 5>-1;", set("w/b", 6), delete ("w/b"));
  REVIEWED(STATUS_OK, "d w/b -1>-1;", delete ("w/b"));
  REVIEWED(STATUS_OK, "u w/a 3>7;", delete ("w/a"), set("w/a", 7));
  REVIEWED(STATUS_OK, "r w/a 7>7;", verify("w/a", exists(true)));
  REVIEWED(STATUS_OK, "u w/a 7>8;", verify("w/a", exists(true)), set("w/a", 8));
  reviewer.says = STATUS_PERMISSION_DENIED;
  REVIEWED(STATUS_PERMISSION_DENIED, "u w/a 8>9;c w/c -1>1;", set("w/a", 9), set("w/c", 1));
  assert_int_equal(read_n("w/a", NULL), 8);
  assert_int_equal(read_n("w/c", NULL), -1);
  buf_fini(&reviewer.seen);
}

static void test_review_reads(void **state) {
  (void)state;
  struct reviewer reviewer = {.look_at = "v/b", .says = STATUS_OK};
  REVIEWED(STATUS_OK, "c v/a -1>1;-1>-1", set("v/a", 1));
  REVIEWED(STATUS_OK, "c v/b -1>3;-1>3", set("v/b", 2), increment("v/b", 1));
  REVIEWED(STATUS_OK, "u v/a 1>2;3>3", set("v/a", 2)); /* it is not of the commit */
  REVIEWED(STATUS_OK, "u v/a 2>4;d v/b 3>-1;3>-1", set("v/a", 4), delete ("v/b"));
  buf_fini(&reviewer.seen);
}

/* Whoever may write hears what is wrong, others hear the same whatever is there. */
static void test_review_of_failures(void **state) {
  (void)state;
  kv_version first, ignored;
  assert_code(COMMIT(&first, set("f/a", 1)), STATUS_OK);
  assert_code(COMMIT(&ignored, set("f/z", 1)), STATUS_OK);
  struct reviewer reviewer = {.says = STATUS_OK};
  for (int denied = 0; denied < 2; denied++) {
    reviewer.says = denied ? STATUS_PERMISSION_DENIED : STATUS_OK;
#define OR_DENIED(code) (denied ? STATUS_PERMISSION_DENIED : (code))
    REVIEWED(OR_DENIED(STATUS_NOT_FOUND), "u f/b -1>2;", demand(set("f/b", 2), exists(true)));
    REVIEWED(OR_DENIED(STATUS_ALREADY_EXISTS), "c f/a 1>2;", demand(set("f/a", 2), exists(false)));
    REVIEWED(OR_DENIED(STATUS_NOT_FOUND), "d f/b -1>-1;", demand(delete ("f/b"), exists(true)));
    REVIEWED(OR_DENIED(STATUS_NOT_FOUND), "r f/b -1>-1;", verify("f/b", exists(true)));
    /* All of the commit, in whatever order, and the first failure. */
    REVIEWED(OR_DENIED(STATUS_NOT_FOUND), "u f/a 1>3;u f/b -1>2;c f/z 1>4;", set("f/a", 3),
             demand(set("f/b", 2), exists(true)), demand(set("f/z", 4), exists(false)));
    /* An update time that is another comes before everything, also for those who are not asked. */
    REVIEWED(STATUS_FAILED_PRECONDITION, "", demand(set("f/b", 2), exists(true)),
             demand(set("f/a", 2), updated_at(first - 1)));
    REVIEWED(STATUS_FAILED_PRECONDITION, "", demand(set("f/b", 2), updated_at(first)));
    REVIEWED(OR_DENIED(STATUS_OK), "u f/a 1>1;", demand(set("f/a", 1), updated_at(first)));
  }
  assert_int_equal(read_n("f/a", NULL), 1);
  assert_int_equal(read_n("f/b", NULL), -1);
  buf_fini(&reviewer.seen);
}

/* What cannot be carried out leaves its document as it was. */
static void test_review_of_what_is_too_large(void **state) {
  (void)state;
  kv_version ignored;
  static const str name = {"n", 1};
  const struct doc_field_path path = {&name, 1};
  const struct doc_mask mask = {.paths = &path, .count = 1};
  const struct doc_field text = {STR("n"), {.type = DOC_STRING, .as.text = STR(ROOT ROOT)}};
  struct reviewer reviewer = {.says = STATUS_OK};
  struct doc_review review = {look, &reviewer};
  assert_code(COMMIT(&ignored, set("l/a", 1)), STATUS_OK);
  for (int denied = 0; denied < 2; denied++) {
    struct doc_write writes[] = {set("l/a", 1), demand(set("l/b", 2), exists(true))};
    writes[0].fields = (struct doc_map){&text, 1};
    writes[0].mask = &mask;
    struct doc_commit commit = {
        .writes = writes, .write_count = 2, .review = &review, .limits = DOC_LIMITS_DEFAULT};
    commit.limits.document_bytes = 80;
    reviewer.says = denied ? STATUS_PERMISSION_DENIED : STATUS_OK;
    buf_clear(&reviewer.seen);
    assert_code(run(&commit, &ignored), denied ? STATUS_PERMISSION_DENIED : STATUS_INVALID_ARGUMENT);
    assert_true(str_eq(buf_str(&reviewer.seen), STR("u l/a 1>1;u l/b -1>2;")));
  }
  buf_fini(&reviewer.seen);
}

/* Many at once: each review sees what the commit meets, in the group that is written together too. */
static void test_review_sees_what_the_commit_meets(void **state) {
  (void)state;
  enum { COUNT = 64 };
  static struct waiter waiters[COUNT];
  static struct doc_commit commits[COUNT];
  static struct doc_write writes[COUNT];
  static struct reviewer reviewers[COUNT];
  static struct doc_review reviews[COUNT];
  static struct arena arenas[COUNT]; /* handed over with the commits, which run on another thread */
  kv_version ignored;
  assert_code(COMMIT(&ignored, set("m/n", 0)), STATUS_OK);
  for (size_t i = 0; i < COUNT; i++) {
    waiters[i] = (struct waiter){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    writes[i] = increment("m/n", 1);
    reviewers[i] = (struct reviewer){.says = i % 4 == 3 ? STATUS_PERMISSION_DENIED : STATUS_OK};
    reviews[i] = (struct doc_review){count_up, &reviewers[i]};
    arena_init(&arenas[i], NULL, 0, LIMIT_CALL_ARENA_BYTES);
    commits[i] = (struct doc_commit){.writes = &writes[i],
                                     .write_count = 1,
                                     .limits = DOC_LIMITS_DEFAULT,
                                     .arena = &arenas[i],
                                     .done = wake,
                                     .user = &waiters[i],
                                     .review = &reviews[i]};
    status result = doc_commit_prepare(&commits[i]);
    assert_true(status_is_ok(&result));
  }
  for (size_t i = 0; i < COUNT; i++)
    doc_commit_start(store, &commits[i]);
  int64_t met = 0;
  for (size_t i = 0; i < COUNT; i++) {
    pthread_mutex_lock(&waiters[i].mutex);
    while (!waiters[i].done)
      pthread_cond_wait(&waiters[i].changed, &waiters[i].mutex);
    pthread_mutex_unlock(&waiters[i].mutex);
    assert_code(waiters[i].result, reviewers[i].says);
    assert_int_equal(reviewers[i].met, met);
    met += reviewers[i].says == STATUS_OK;
    arena_fini(&arenas[i]);
  }
  assert_int_equal(read_n("m/n", NULL), met);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_set_and_times),
      cmocka_unit_test(test_preconditions),
      cmocka_unit_test(test_all_or_nothing),
      cmocka_unit_test(test_writes_see_each_other),
      cmocka_unit_test(test_results),
      cmocka_unit_test(test_mask),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_empty_document_and_commit),
      cmocka_unit_test(test_derived),
      cmocka_unit_test(test_verify),
      cmocka_unit_test(test_review),
      cmocka_unit_test(test_review_reads),
      cmocka_unit_test(test_review_of_failures),
      cmocka_unit_test(test_review_of_what_is_too_large),
      cmocka_unit_test(test_review_sees_what_the_commit_meets),
  };
  return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
