/* `skerry export`: documents of a running server as lines of JSON, all as of one moment. A client of the
 * documents' API on the administration's socket, so no rules decide. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wire.h"
#include "google/firestore/v1/firestore.skerry.h"
#include "server/backup/export_line.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/print.h"
#include "skerry/admin/v1/admin.skerry.h"
#include "storage/document/codec.h"

enum { TRIES_MAX = 6, LINE_ROOM_BYTES = 1024 * 1024 };

struct export_words {
  const char *data, *project, *database, *collection, *group, *file;
};

/* An export under way. */
struct exporting {
  const struct export_words *words;
  struct rpc_client *client;
  struct export_format *format;
  int64_t read_us; /* of all of it */
  FILE *out;
  struct buf line;
  struct buf last; /* the name of the document that came last, of this query */
  uint64_t documents;
};

static bool read_words(int argc, char **argv, struct export_words *ret) {
  *ret = (struct export_words){.data = client_default_data(), .database = "(default)"};
  for (int i = 0; i < argc; i++) {
    if (client_take_flag("--data", argc, argv, &i, &ret->data) ||
        client_take_flag("--project", argc, argv, &i, &ret->project) ||
        client_take_flag("--database", argc, argv, &i, &ret->database) ||
        client_take_flag("--collection", argc, argv, &i, &ret->collection) ||
        client_take_flag("--group", argc, argv, &i, &ret->group))
      continue;
    if ((argv[i][0] == '-' && argv[i][1] != '\0') || ret->file != NULL)
      return false;
    ret->file = argv[i];
  }
  return ret->file != NULL && (ret->collection == NULL || ret->group == NULL);
}

/* ---- One query ---- */

/* What to ask for. Texts are in the arena. */
struct selection {
  char *parent, *collection_id;
  bool all_descendants;
};

static status no_memory(void) {
  return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory.");
}

static status select_documents(const struct export_words *words, const char *project, struct arena *arena,
                               struct selection *ret) {
  struct buf parent = {0};
  buf_printf(&parent, "projects/%s/databases/%s/documents", project, words->database);
  const char *collection = words->collection == NULL ? "" : words->collection;
  const char *last = strrchr(collection, '/');
  if (last != NULL)
    buf_printf(&parent, "/%.*s", (int)(last - collection), collection);
  buf_append_byte(&parent, 0);
  if (parent.failed) {
    buf_fini(&parent);
    return no_memory();
  }
  const char *id = words->group != NULL ? words->group : last != NULL ? last + 1 : collection;
  ret->parent = (char *)(uintptr_t)arena_str_copy(arena, buf_str(&parent)).ptr;
  ret->collection_id = (char *)(uintptr_t)arena_str_copy(arena, str_make(id, strlen(id) + 1)).ptr;
  ret->all_descendants = words->collection == NULL;
  buf_fini(&parent);
  return ret->parent != NULL && ret->collection_id != NULL ? status_ok() : no_memory();
}

static status write_document(struct exporting *e, str wire) {
  struct arena arena;
  struct doc_document document;
  buf_clear(&e->line);
  if (!export_line_write(e->format, wire, &e->line))
    return status_make(STATUS_INTERNAL, "The server sent a document that cannot be read.");
  if (e->line.failed)
    return no_memory();
  if (fwrite(e->line.data, 1, e->line.len, e->out) != e->line.len)
    return status_make(STATUS_FAILED_PRECONDITION, "The export cannot be written: %s.", strerror(errno));
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  status s = doc_decode_document(wire, &arena, &document);
  if (status_is_ok(&s)) {
    buf_clear(&e->last);
    buf_append_str(&e->last, document.name);
    e->documents++;
  }
  arena_fini(&arena);
  return s;
}

/* The place after the last document, as bytes of a Value. */
static status cursor_after(str name, struct arena *arena, ProtobufCBinaryData *ret) {
  struct doc_value value = {.type = DOC_REFERENCE, .as.text = name};
  str bytes;
  STATUS_TRY(doc_encode_value(&value, arena, &bytes));
  *ret = (ProtobufCBinaryData){bytes.len, (uint8_t *)(uintptr_t)bytes.ptr};
  return status_ok();
}

static status receive(struct exporting *e, const Google__Firestore__V1__RunQueryRequest *request,
                      struct arena *arena) {
  struct rpc_client_options options = {.timeout_us = -1};
  struct google_firestore_v1_firestore_run_query_stream stream;
  const Google__Firestore__V1__RunQueryResponse *response;
  STATUS_TRY(google_firestore_v1_firestore_run_query_open(e->client, &options, request, &stream));
  status s = status_ok();
  while (status_is_ok(&s) && google_firestore_v1_firestore_run_query_receive(stream, arena, &response)) {
    if (response->document.len > 0)
      s = write_document(e, str_make(response->document.data, response->document.len));
    arena_reset(arena);
  }
  if (!status_is_ok(&s))
    google_firestore_v1_firestore_run_query_cancel(stream);
  status ended = google_firestore_v1_firestore_run_query_finish(stream, arena, NULL);
  return status_is_ok(&s) ? ended : s;
}

/* From the beginning, or from after the document that came last. */
static status run_query(struct exporting *e, const struct selection *selection) {
  struct arena arena;
  ProtobufCBinaryData after = {0};
  struct wire_timestamp when = wire_timestamp_from_us(e->read_us);
  Google__Protobuf__Timestamp read_time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  Google__Firestore__V1__StructuredQuery__CollectionSelector from =
      GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__COLLECTION_SELECTOR__INIT;
  Google__Firestore__V1__StructuredQuery__FieldReference field =
      GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__FIELD_REFERENCE__INIT;
  Google__Firestore__V1__StructuredQuery__Order order = GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__ORDER__INIT;
  Google__Firestore__V1__Cursor cursor = GOOGLE__FIRESTORE__V1__CURSOR__INIT;
  Google__Firestore__V1__StructuredQuery query = GOOGLE__FIRESTORE__V1__STRUCTURED_QUERY__INIT;
  Google__Firestore__V1__RunQueryRequest request = GOOGLE__FIRESTORE__V1__RUN_QUERY_REQUEST__INIT;
  char name_field[] = "__name__";
  from.collection_id = selection->collection_id;
  from.all_descendants = selection->all_descendants;
  field.field_path = name_field;
  order.field = &field;
  query.n_from = query.n_order_by = 1;
  query.from = &(Google__Firestore__V1__StructuredQuery__CollectionSelector *){&from};
  query.order_by = &(Google__Firestore__V1__StructuredQuery__Order *){&order};
  read_time.seconds = when.seconds;
  read_time.nanos = when.nanos;
  request.parent = selection->parent;
  request.query_type_case = GOOGLE__FIRESTORE__V1__RUN_QUERY_REQUEST__QUERY_TYPE_STRUCTURED_QUERY;
  request.structured_query = &query;
  request.consistency_selector_case =
      GOOGLE__FIRESTORE__V1__RUN_QUERY_REQUEST__CONSISTENCY_SELECTOR_READ_TIME;
  request.read_time = &read_time;
  struct arena cursor_arena;
  arena_init(&cursor_arena, NULL, 0, LINE_ROOM_BYTES);
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  status s = status_ok();
  if (e->last.len > 0) {
    s = cursor_after(buf_str(&e->last), &cursor_arena, &after);
    cursor.n_values = 1;
    cursor.values = &after;
    query.start_at = &cursor;
  }
  if (status_is_ok(&s))
    s = receive(e, &request, &arena);
  arena_fini(&arena);
  arena_fini(&cursor_arena);
  return s;
}

/* A server that restarts, or reopens its store, does not end an export. */
static status export_project(struct exporting *e, const char *project) {
  struct arena arena;
  struct selection selection = {0};
  arena_init(&arena, NULL, 0, LINE_ROOM_BYTES);
  buf_clear(&e->last);
  status s = select_documents(e->words, project, &arena, &selection);
  uint64_t documents = e->documents;
  for (unsigned tries = 1; status_is_ok(&s); tries++) {
    s = run_query(e, &selection);
    if (s.code != STATUS_UNAVAILABLE && s.code != STATUS_RESOURCE_EXHAUSTED)
      break;
    if (e->documents > documents)
      tries = 1;
    documents = e->documents;
    if (tries == TRIES_MAX)
      break;
    sleep(tries);
    s = status_ok();
  }
  arena_fini(&arena);
  return s;
}

/* ---- All of it ---- */

static status export_all(struct exporting *e) {
  Skerry__Admin__V1__GetStatusRequest request = SKERRY__ADMIN__V1__GET_STATUS_REQUEST__INIT;
  const Skerry__Admin__V1__GetStatusResponse *about;
  struct arena arena;
  arena_init(&arena, NULL, 0, CLIENT_RESPONSE_BYTES_MAX);
  status s = skerry_admin_v1_admin_get_status_call(e->client, NULL, &request, &arena, &about);
  if (status_is_ok(&s) && about->store == NULL)
    s = status_make(STATUS_UNAVAILABLE, "The server does not say how far its store is.");
  if (status_is_ok(&s) && e->words->project == NULL && about->n_project_ids == 0)
    s = status_make(STATUS_INVALID_ARGUMENT, "This server serves any project: name one with --project.");
  if (status_is_ok(&s)) {
    e->read_us = about->store->last_version_us;
    if (e->words->project != NULL)
      s = export_project(e, e->words->project);
    for (size_t i = 0; e->words->project == NULL && i < about->n_project_ids && status_is_ok(&s); i++)
      s = export_project(e, about->project_ids[i]);
  }
  arena_fini(&arena);
  if (s.code == STATUS_FAILED_PRECONDITION && e->documents > 0 && strstr(s.message, "history") != NULL)
    return status_make(s.code,
                       "The export took longer than the past is kept. Raise the setting history, or take a "
                       "part at a time. (%s)",
                       s.message);
  return s;
}

static status not_written(const char *path) {
  return status_make(STATUS_FAILED_PRECONDITION, "%s cannot be written: %s", path, strerror(errno));
}

/* To what is there and is no file: a device, a pipe. */
static status export_into(struct exporting *e, const char *path) {
  e->out = fopen(path, "we");
  if (e->out == NULL)
    return not_written(path);
  status s = export_all(e);
  if (fclose(e->out) != 0 && status_is_ok(&s))
    s = not_written(path);
  return s;
}

/* Into a file of its own, new and nobody else's, that gets its name when it is whole. */
static status export_file(struct exporting *e, const char *path) {
  char part[4096];
  int len = snprintf(part, sizeof part, "%s.part-XXXXXX", path);
  if (len < 0 || (size_t)len >= sizeof part)
    return status_make(STATUS_INVALID_ARGUMENT, "The file's path is too long.");
  int fd = mkostemp(part, O_CLOEXEC); /* mode 0600 */
  if (fd < 0)
    return not_written(path);
  e->out = fdopen(fd, "w");
  if (e->out == NULL) {
    close(fd);
    unlink(part);
    return not_written(path);
  }
  status s = export_all(e);
  bool written = fflush(e->out) == 0 && fsync(fileno(e->out)) == 0;
  written = fclose(e->out) == 0 && written;
  if (status_is_ok(&s) && (!written || rename(part, path) != 0))
    s = not_written(path);
  if (!status_is_ok(&s))
    unlink(part);
  return s;
}

static status export_to(struct exporting *e, const char *path) {
  struct stat there;
  if (stat(path, &there) != 0)
    return export_file(e, path);
  if (S_ISDIR(there.st_mode))
    return status_make(STATUS_FAILED_PRECONDITION, "%s cannot be written: it is a directory", path);
  if (!S_ISREG(there.st_mode))
    return export_into(e, path);
  char *target = realpath(path, NULL); /* so that a link stays one */
  status s = export_file(e, target != NULL ? target : path);
  free(target);
  return s;
}

static status export_stdout(struct exporting *e) {
  e->out = stdout;
  STATUS_TRY(export_all(e));
  if (fflush(stdout) != 0)
    return status_make(STATUS_FAILED_PRECONDITION, "The export cannot be written: %s", strerror(errno));
  return status_ok();
}

int command_export(int argc, char **argv) {
  struct export_words words;
  if (!read_words(argc, argv, &words)) {
    fputs("skerry export: say\n"
          "  skerry export FILE                   all documents, a line of JSON for each; - is standard "
          "output\n"
          "    --project P --database D           of one project (else all that are served), of another "
          "database\n"
          "    --collection rooms/a/messages      those of one collection, without what lies below them\n"
          "    --group messages                   those of all collections of that name\n"
          "with --data DIR, if the server's data is not in ./data. All is as of the moment when it begins.\n",
          stderr);
    return 2;
  }
  umask(077);
  struct exporting e = {.words = &words};
  if (!client_open_admin("export", words.data, &e.client))
    return 1;
  status s = export_format_new(&e.format);
  if (status_is_ok(&s))
    s = strcmp(words.file, "-") == 0 ? export_stdout(&e) : export_to(&e, words.file);
  export_format_free(e.format);
  rpc_client_close(e.client);
  buf_fini(&e.line);
  buf_fini(&e.last);
  if (!status_is_ok(&s))
    return client_failed("export", &s);
  struct buf time = {0};
  print_time(&time, e.read_us);
  fprintf(stderr, "Exported %" PRIu64 " documents as of " STR_FMT ".\n", e.documents,
          STR_ARG(buf_str(&time)));
  buf_fini(&time);
  return 0;
}
