/* `skerry import`: documents from lines of JSON into a running server, by commits of its API on the
 * administration's socket, so no rules decide. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "google/firestore/v1/firestore.skerry.h"
#include "server/backup/export_line.h"
#include "server/client.h"
#include "server/commands.h"

enum {
  BATCH_DOCUMENTS_MAX = 500,
  BATCH_BYTES_MAX = 2 * 1024 * 1024,         /* a document that is larger goes alone */
  BATCH_ARENA_BYTES_MAX = 128 * 1024 * 1024, /* as trees, the smallest values take some ten times that */
  TRIES_MAX = 6,                             /* with waits of 1, 2, ... seconds */
  ERRORS_MAX = 100,
  CHUNK_BYTES = 64 * 1024,
};

enum import_mode { IMPORT_NEW, IMPORT_MERGE, IMPORT_OVERWRITE, IMPORT_SKIP };

struct import_words {
  const char *data, *file;
  enum import_mode mode;
  uint64_t from_line;
};

struct item {
  uint64_t line;
  struct export_document document;
  bool is_done;
};

/* An import under way. */
struct importing {
  const struct import_words *words;
  struct rpc_client *client;
  struct export_format *format;
  struct arena arena; /* of the batch */
  struct item items[BATCH_DOCUMENTS_MAX];
  size_t count, bytes;
  uint64_t line;      /* that was read last */
  uint64_t done_line; /* up to which nothing is left to do */
  uint64_t written, skipped, errors;
};

static bool set_mode(struct import_words *words, enum import_mode mode) {
  bool was_new = words->mode == IMPORT_NEW;
  words->mode = mode;
  return was_new;
}

static bool read_words(int argc, char **argv, struct import_words *ret) {
  *ret = (struct import_words){.data = client_default_data(), .from_line = 1};
  bool ok = true;
  for (int i = 0; i < argc && ok; i++) {
    const char *value;
    if (client_take_flag("--data", argc, argv, &i, &ret->data))
      continue;
    if (client_take_flag("--from-line", argc, argv, &i, &value))
      ok = str_to_u64(str_from_cstr(value), &ret->from_line) && ret->from_line > 0;
    else if (strcmp(argv[i], "--merge") == 0)
      ok = set_mode(ret, IMPORT_MERGE);
    else if (strcmp(argv[i], "--overwrite") == 0)
      ok = set_mode(ret, IMPORT_OVERWRITE);
    else if (strcmp(argv[i], "--skip") == 0)
      ok = set_mode(ret, IMPORT_SKIP);
    else if ((argv[i][0] == '-' && argv[i][1] != '\0') || ret->file != NULL)
      ok = false;
    else
      ret->file = argv[i];
  }
  return ok && ret->file != NULL;
}

/* ---- A batch ---- */

/* Of a line. Stops the import when there are too many. */
static status refuse(struct importing *im, uint64_t line, const char *why) {
  char head[32];
  snprintf(head, sizeof head, "line %" PRIu64, line);
  client_say(head, why);
  if (++im->errors < ERRORS_MAX)
    return status_ok();
  return status_make(STATUS_INVALID_ARGUMENT, "There are %d lines that are wrong.", ERRORS_MAX);
}

static char *text_of(str text, struct arena *arena) {
  char *copy = arena_alloc(arena, text.len + 1);
  if (copy != NULL) {
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
  }
  return copy;
}

static Google__Firestore__V1__DocumentMask *mask_of(const struct export_document *document,
                                                    struct arena *arena) {
  Google__Firestore__V1__DocumentMask *mask = ARENA_NEW(arena, Google__Firestore__V1__DocumentMask);
  char **paths = ARENA_NEW_ARRAY(arena, char *, document->masked_count);
  if (mask == NULL || (paths == NULL && document->masked_count > 0))
    return NULL;
  google__firestore__v1__document_mask__init(mask);
  for (size_t i = 0; i < document->masked_count; i++) {
    paths[i] = text_of(document->masked[i], arena);
    if (paths[i] == NULL)
      return NULL;
  }
  mask->n_field_paths = document->masked_count;
  mask->field_paths = paths;
  return mask;
}

static Google__Firestore__V1__Write *write_of(const struct export_document *document, enum import_mode mode,
                                              struct arena *arena) {
  Google__Firestore__V1__Write *write = ARENA_NEW(arena, Google__Firestore__V1__Write);
  if (write == NULL)
    return NULL;
  google__firestore__v1__write__init(write);
  write->operation_case = GOOGLE__FIRESTORE__V1__WRITE__OPERATION_UPDATE;
  write->update = (ProtobufCBinaryData){document->wire.len, (uint8_t *)(uintptr_t)document->wire.ptr};
  if (mode == IMPORT_MERGE) {
    write->update_mask = mask_of(document, arena);
    return write->update_mask == NULL ? NULL : write;
  }
  if (mode == IMPORT_OVERWRITE)
    return write;
  Google__Firestore__V1__Precondition *missing = ARENA_NEW(arena, Google__Firestore__V1__Precondition);
  if (missing == NULL)
    return NULL;
  google__firestore__v1__precondition__init(missing);
  missing->condition_type_case = GOOGLE__FIRESTORE__V1__PRECONDITION__CONDITION_TYPE_EXISTS;
  missing->exists = false;
  write->current_document = missing;
  return write;
}

static bool comes_back(int code) {
  return code == STATUS_UNAVAILABLE || code == STATUS_RESOURCE_EXHAUSTED || code == STATUS_ABORTED;
}

/* What became of one document. *ret_problem: it is to be sent again, because of this. */
static status take_result(struct importing *im, struct item *item, int code, const char *message,
                          bool is_retry, status *ret_problem) {
  if (comes_back(code)) {
    *ret_problem = status_make((enum status_code)code, "%s", message);
    return status_ok();
  }
  item->is_done = true;
  bool was_there = code == STATUS_ALREADY_EXISTS;
  if (code == STATUS_OK || (was_there && is_retry && im->words->mode == IMPORT_NEW))
    im->written++; /* of a try whose answer was lost we cannot tell whose document it is */
  else if (was_there && im->words->mode == IMPORT_SKIP)
    im->skipped++;
  else if (was_there)
    return refuse(im, item->line,
                  "this document is there already: say --merge, --overwrite or --skip for those that are");
  else
    return refuse(im, item->line, message);
  return status_ok();
}

/* Sends those of items[first, end) that are not done, once. */
static status send(struct importing *im, size_t first, size_t end, bool is_retry, status *ret_problem) {
  struct arena arena;
  Google__Firestore__V1__Write *writes[BATCH_DOCUMENTS_MAX];
  size_t places[BATCH_DOCUMENTS_MAX];
  Google__Firestore__V1__BatchWriteRequest request = GOOGLE__FIRESTORE__V1__BATCH_WRITE_REQUEST__INIT;
  const Google__Firestore__V1__BatchWriteResponse *response = NULL;
  status s = status_ok();
  arena_init(&arena, NULL, 0, BATCH_ARENA_BYTES_MAX);
  for (size_t i = first; i < end && status_is_ok(&s); i++) {
    if (im->items[i].is_done)
      continue;
    places[request.n_writes] = i;
    writes[request.n_writes] = write_of(&im->items[i].document, im->words->mode, &arena);
    if (writes[request.n_writes++] == NULL)
      s = status_make(STATUS_INTERNAL, "There is no memory.");
  }
  const struct doc_path *path = &im->items[first].document.path;
  str root = str_make(path->name.ptr, (size_t)(path->database.ptr + path->database.len - path->name.ptr));
  request.database = text_of(root, &arena);
  request.writes = writes;
  if (status_is_ok(&s) && request.database == NULL)
    s = status_make(STATUS_INTERNAL, "There is no memory.");
  if (status_is_ok(&s) && request.n_writes > 0)
    s = google_firestore_v1_firestore_batch_write_call(im->client, NULL, &request, &arena, &response);
  if (status_is_ok(&s) && response != NULL && response->n_status != request.n_writes)
    s = status_make(STATUS_INTERNAL, "The server's answer is not for all documents.");
  for (size_t i = 0; status_is_ok(&s) && response != NULL && i < response->n_status; i++)
    s = take_result(im, &im->items[places[i]], response->status[i]->code, response->status[i]->message,
                    is_retry, ret_problem);
  arena_fini(&arena);
  return s;
}

/* Until all are done or refused. A condition of the server's that does not pass ends the import. */
static status send_all(struct importing *im, size_t first, size_t end) {
  for (unsigned tries = 1;; tries++) {
    status problem = status_ok();
    status s = send(im, first, end, tries > 1, &problem);
    if (comes_back((int)s.code))
      problem = s;
    else if (!status_is_ok(&s) || status_is_ok(&problem))
      return s;
    if (tries == TRIES_MAX)
      return problem;
    sleep(tries);
  }
}

static status flush(struct importing *im) {
  status s = im->count == 0 ? status_ok() : send_all(im, 0, im->count);
  if (s.code == STATUS_INVALID_ARGUMENT && im->errors < ERRORS_MAX) { /* of one of them: which? */
    s = status_ok();
    for (size_t i = 0; i < im->count && status_is_ok(&s); i++) {
      s = im->items[i].is_done ? status_ok() : send_all(im, i, i + 1);
      if (s.code == STATUS_INVALID_ARGUMENT && im->errors < ERRORS_MAX)
        s = refuse(im, im->items[i].line, s.message);
    }
  }
  STATUS_TRY(s);
  im->count = im->bytes = 0;
  im->done_line = im->line;
  arena_reset(&im->arena);
  return s;
}

/* One commit takes one write a document, and documents of one database. */
static bool goes_along(const struct importing *im, const struct export_document *document) {
  if (im->count == 0)
    return true;
  if (im->count == BATCH_DOCUMENTS_MAX || im->bytes + document->wire.len > BATCH_BYTES_MAX)
    return false;
  if (!doc_path_same_database(&im->items[0].document.path, &document->path))
    return false;
  for (size_t i = 0; i < im->count; i++)
    if (str_eq(im->items[i].document.path.name, document->path.name))
      return false;
  return true;
}

static bool is_blank(str line) {
  for (size_t i = 0; i < line.len; i++)
    if (strchr(" \t\r", line.ptr[i]) == NULL || line.ptr[i] == '\0')
      return false;
  return true;
}

static status add_line(struct importing *im, str line) {
  struct export_document document;
  if (is_blank(line))
    return status_ok();
  if (im->count == 0)
    arena_reset(&im->arena); /* of what lines that were refused took */
  status s = export_line_read(im->format, line, &im->arena, &document);
  bool is_full = s.code == STATUS_RESOURCE_EXHAUSTED && im->count > 0; /* with them, before the batch is */
  if (is_full || (status_is_ok(&s) && !goes_along(im, &document))) {
    im->line--; /* what is sent ends before this line */
    s = flush(im);
    im->line++;
    STATUS_TRY(s);
    s = export_line_read(im->format, line, &im->arena, &document); /* the arena was emptied */
  }
  if (!status_is_ok(&s))
    return refuse(im, im->line, s.message);
  im->items[im->count++] = (struct item){.line = im->line, .document = document};
  im->bytes += document.wire.len;
  return s;
}

/* ---- Lines ---- */

static status end_line(struct importing *im, struct buf *line) {
  im->line++;
  status s = status_ok();
  if (im->line < im->words->from_line)
    im->done_line = im->line;
  else if (line->failed)
    s = refuse(im, im->line, "The line is longer than any document.");
  else
    s = add_line(im, line->len == 0 ? STR("") : buf_str(line));
  line->failed = false;
  buf_clear(line);
  return s;
}

static status read_lines(struct importing *im, FILE *in) {
  char *chunk = malloc(CHUNK_BYTES);
  struct buf line = {.max_bytes = EXPORT_LINE_MAX_BYTES};
  status s = chunk != NULL ? status_ok() : status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t got; status_is_ok(&s) && (got = fread(chunk, 1, CHUNK_BYTES, in)) > 0;) {
    for (const char *at = chunk, *end = chunk + got; at < end && status_is_ok(&s);) {
      const char *stop = memchr(at, '\n', (size_t)(end - at));
      buf_append(&line, at, (size_t)((stop != NULL ? stop : end) - at));
      if (stop != NULL)
        s = end_line(im, &line);
      at = stop != NULL ? stop + 1 : end;
    }
  }
  if (status_is_ok(&s) && ferror(in) != 0)
    s = status_make(STATUS_FAILED_PRECONDITION, "The file cannot be read: %s", strerror(errno));
  if (status_is_ok(&s) && (line.len > 0 || line.failed))
    s = end_line(im, &line);
  buf_fini(&line);
  free(chunk);
  return status_is_ok(&s) ? flush(im) : s;
}

static status import_file(struct importing *im) {
  bool is_stdin = strcmp(im->words->file, "-") == 0;
  FILE *in = is_stdin ? stdin : fopen(im->words->file, "re");
  if (in == NULL)
    return status_make(STATUS_NOT_FOUND, "%s cannot be read: %s", im->words->file, strerror(errno));
  status s = read_lines(im, in);
  if (!is_stdin)
    fclose(in);
  return s;
}

int command_import(int argc, char **argv) {
  struct import_words words;
  if (!read_words(argc, argv, &words)) {
    fputs("skerry import: say\n"
          "  skerry import FILE             the documents of an export, a line of JSON for each; - is "
          "standard input\n"
          "    --merge                      into those that are there, field by field\n"
          "    --overwrite                  in the place of those that are there\n"
          "    --skip                       only those that are not there\n"
          "    --from-line N                goes on with an import that ended in the middle\n"
          "with --data DIR, if the server's data is not in ./data. Without one of the three, a document that "
          "is there\n"
          "already is an error of its line. Times of documents are those of the import.\n",
          stderr);
    return 2;
  }
  struct importing *im = calloc(1, sizeof *im);
  if (im == NULL)
    return 1;
  im->words = &words;
  if (!client_open_admin("import", words.data, &im->client)) {
    free(im);
    return 1;
  }
  arena_init(&im->arena, NULL, 0, BATCH_ARENA_BYTES_MAX);
  status s = export_format_new(&im->format);
  if (status_is_ok(&s))
    s = import_file(im);
  fprintf(stderr, "Imported %" PRIu64 " documents, skipped %" PRIu64 ", refused %" PRIu64 " lines.\n",
          im->written, im->skipped, im->errors);
  int code = im->errors > 0 ? 1 : 0;
  if (!status_is_ok(&s)) {
    code = client_failed("import", &s);
    fprintf(stderr, "Lines up to %" PRIu64 " are done: go on with --from-line %" PRIu64 ".\n", im->done_line,
            im->done_line + 1);
  }
  export_format_free(im->format);
  arena_fini(&im->arena);
  rpc_client_close(im->client);
  free(im);
  return code;
}
