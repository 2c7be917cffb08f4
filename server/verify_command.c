/* `skerry verify`: checks everything that is stored, with no server running on it: the engine's checksums,
 * then that each document is what the server would read (its key a path, its record and fields in the
 * canonical form), then that documents and index entries agree, and the records of accounts among each other.
 */
#include <stdio.h>
#include <unistd.h>

#include "server/commands.h"
#include "server/identity/user_verify.h"
#include "server/settings.h"
#include "storage/document/codec.h"
#include "storage/document/key.h"
#include "storage/document/record.h"
#include "storage/index/verify.h"
#include "storage/rocksdb/store.h"

enum { DOCUMENT_MEMORY_MAX = 64 * 1024 * 1024 };

static void report(void *argument, str text) {
  (void)argument;
  printf("DAMAGED  " STR_FMT "\n", STR_ARG(text));
}

static status check_document(str key, str value, struct arena *arena) {
  struct doc_path path;
  struct doc_record record;
  struct doc_map fields;
  str again;
  STATUS_TRY(doc_key_to_path(key, arena, &path));
  STATUS_TRY(doc_record_decode(value, &record));
  STATUS_TRY(doc_decode_fields(record.fields, arena, &fields));
  STATUS_TRY(doc_encode_fields(fields, arena, &again));
  return str_eq(again, record.fields)
             ? status_ok()
             : status_make(STATUS_DATA_LOSS, "its fields are not in the canonical form");
}

static status check_documents(struct kv_store *store, uint64_t *ret_documents, uint64_t *ret_damages) {
  kv_snapshot snapshot;
  struct kv_iter *iter;
  struct arena arena;
  STATUS_TRY(kv_snapshot_at(store, KV_LATEST, &snapshot));
  STATUS_TRY(kv_iter_open(snapshot, KV_DOCUMENTS, (str){NULL, 0}, (str){NULL, 0}, false, &iter));
  arena_init(&arena, NULL, 0, DOCUMENT_MEMORY_MAX);
  while (kv_iter_next(iter)) {
    status result = check_document(kv_iter_key(iter), kv_iter_value(iter), &arena);
    ++*ret_documents;
    if (!status_is_ok(&result)) {
      struct doc_path path;
      status named = doc_key_to_path(kv_iter_key(iter), &arena, &path);
      printf("DAMAGED  document " STR_FMT ": %s\n",
             STR_ARG(status_is_ok(&named) ? path.name : STR("(its key cannot be read)")), result.message);
      ++*ret_damages;
    }
    arena_reset(&arena);
  }
  status result = kv_iter_status(iter);
  arena_fini(&arena);
  kv_iter_close(iter);
  return result;
}

static status check_indexes(struct kv_store *store, uint64_t *ret_entries, uint64_t *ret_damages) {
  struct index_catalog *catalog;
  struct index_verification found;
  STATUS_TRY(index_catalog_load(store, &catalog));
  status result = index_verify(store, catalog, report, NULL, &found);
  index_catalog_unref(catalog);
  STATUS_TRY(result);
  uint64_t damages = index_verification_damages(&found);
  if (damages > INDEX_VERIFY_REPORTS)
    printf("DAMAGED  index entries: %llu more\n", (unsigned long long)(damages - INDEX_VERIFY_REPORTS));
  *ret_entries = found.entries;
  *ret_damages += damages;
  return result;
}

static status check_accounts(struct kv_store *store, uint64_t *ret_accounts, uint64_t *ret_damages) {
  struct user_verification found = {0};
  status result = user_verify(store, report, NULL, &found);
  if (found.damages > USER_VERIFY_REPORTS)
    printf("DAMAGED  accounts: %llu more\n", (unsigned long long)(found.damages - USER_VERIFY_REPORTS));
  *ret_accounts = found.users;
  *ret_damages += found.damages;
  return result;
}

static int failed(const char *what, const status *result) {
  fprintf(stderr, "skerry verify: %s: %s\n", what, result->message);
  if (result->code == STATUS_DATA_LOSS)
    fputs("skerry verify: what lies beyond could not be checked. Put back a copy (docs/operating.md).\n",
          stderr);
  return 1;
}

int command_verify(int argc, char **argv) {
  struct settings settings;
  status result = settings_load(&settings, argc, argv, environ);
  if (!status_is_ok(&result)) {
    fprintf(stderr, "skerry verify: %s\n", result.message);
    settings_fini(&settings);
    return 2;
  }
  if (access(settings.data, F_OK) != 0) {
    fprintf(stderr, "skerry verify: there is no data directory %s. Name another with --data.\n",
            settings.data);
    settings_fini(&settings);
    return 1;
  }
  struct kv_rocksdb_options options = {.directory = settings.data, .read_only = true};
  struct kv_store *store;
  int code = 0;
  result = kv_rocksdb_open(&options, &store);
  if (!status_is_ok(&result)) {
    code = failed(settings.data, &result);
    settings_fini(&settings);
    return code;
  }
  uint64_t damages = 0, documents = 0, entries = 0, accounts = 0;
  result = kv_verify(store, report, NULL, &damages);
  if (!status_is_ok(&result))
    code = failed("the engine", &result);
  result = check_documents(store, &documents, &damages);
  if (!status_is_ok(&result))
    code = failed("documents", &result);
  result = check_indexes(store, &entries, &damages);
  if (!status_is_ok(&result))
    code = failed("indexes", &result);
  result = check_accounts(store, &accounts, &damages);
  if (!status_is_ok(&result))
    code = failed("accounts", &result);
  kv_close(store);
  printf("%llu documents, %llu index entries, ", (unsigned long long)documents, (unsigned long long)entries);
  if (accounts > 0)
    printf("%llu accounts, ", (unsigned long long)accounts);
  printf("%llu damages\n", (unsigned long long)damages);
  settings_fini(&settings);
  return damages > 0 ? 1 : code;
}
