/* Judges requests by rules without a server: JSON lines in, JSON lines out, for tests that compare with
 * others.
 *
 *   {"rules": SOURCE}                     compiles, and is what later requests are judged by
 *     -> {"ok": true|false, "problems": [{"line", "column", "warning", "text"}]}
 *   {"documents": {PATH: DOCUMENT|null}}  what get() finds; adds to what was said before, null takes away
 *   {"request": {"operation", "project", "database", "path", "uid", "claims": DOCUMENT, "time_us",
 *                "resource": DOCUMENT, "after": DOCUMENT, "afterDocuments": {PATH: DOCUMENT|null},
 *                "parent", "query": STRUCTURED_QUERY}}
 *     -> {"outcome": "allow"|"deny"|"failed", "line", "column", "reason"}
 * DOCUMENT and STRUCTURED_QUERY are wire messages in base64; of a Document only the fields count. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "server/firestore/query_request.h"
#include "server/rules/query.h"
#include "server/rules/rules.h"
#include "storage/document/codec.h"

enum { ARENA_BYTES = 256 << 20, LINE_BYTES = 8 << 20 };

static struct rules *rules;
static json_t *documents;       /* path: base64 */
static json_t *after_documents; /* of this request, or NULL */
static struct arena arena;

static void die(const char *what) {
  fprintf(stderr, "rules_driver: %s\n", what);
  exit(1);
}

static str text_of(const json_t *object, const char *name) {
  const json_t *value = json_object_get(object, name);
  return json_is_string(value) ? str_make(json_string_value(value), json_string_length(value))
                               : (str){NULL, 0};
}

static str from_base64(str text) {
  struct buf bytes = {0};
  if (!base64_decode(text, &bytes))
    die("this is no base64");
  str copy = arena_str_copy(&arena, buf_str(&bytes));
  buf_fini(&bytes);
  return copy;
}

/* The canonical fields of a Document message. */
static str fields_of(const json_t *base64) {
  struct doc_document document;
  str fields = {NULL, 0};
  str wire = from_base64(str_make(json_string_value(base64), json_string_length(base64)));
  status s = doc_decode_document(wire, &arena, &document);
  if (status_is_ok(&s))
    s = doc_encode_fields(document.fields, &arena, &fields);
  if (!status_is_ok(&s))
    die(s.message);
  return fields;
}

static const struct rules_document *document_of(const json_t *request, const char *name, str path) {
  const json_t *value = json_object_get(request, name);
  if (!json_is_string(value))
    return NULL;
  struct rules_document *document = ARENA_NEW(&arena, struct rules_document);
  if (document == NULL)
    die("no memory");
  *document = (struct rules_document){path, fields_of(value)};
  return document;
}

static enum rules_read read_document(void *argument, str path, bool after, struct rules_document *ret) {
  (void)argument;
  str name = arena_str_copy(&arena, path);
  const json_t *value = after && after_documents != NULL ? json_object_get(after_documents, name.ptr) : NULL;
  if (value == NULL)
    value = json_object_get(documents, name.ptr);
  if (!json_is_string(value))
    return RULES_READ_MISSING;
  *ret = (struct rules_document){path, fields_of(value)};
  return RULES_READ_FOUND;
}

static void print(json_t *answer) {
  char *line = json_dumps(answer, JSON_COMPACT);
  if (line == NULL)
    die("an answer is no UTF-8");
  puts(line);
  fflush(stdout);
  free(line);
  json_decref(answer);
}

static void compile(const json_t *source) {
  struct rules_problems problems;
  struct rules *compiled = NULL;
  status s = rules_compile(str_make(json_string_value(source), json_string_length(source)), &arena, &problems,
                           &compiled);
  json_t *list = json_array();
  for (size_t i = 0; i < problems.count; i++) {
    const struct rules_problem *problem = &problems.items[i];
    json_array_append_new(list, json_pack("{s:i,s:i,s:b,s:s%}", "line", (int)problem->line, "column",
                                          (int)problem->column, "warning", problem->is_warning, "text",
                                          problem->text.ptr, problem->text.len));
  }
  rules_unref(rules);
  rules = compiled;
  print(json_pack("{s:b,s:s,s:o}", "ok", status_is_ok(&s), "message", s.message, "problems", list));
}

static void *unpack_alloc(void *allocator_data, size_t size) {
  return arena_alloc(allocator_data, size);
}
static void unpack_free(void *allocator_data, void *memory) {
  (void)allocator_data;
  (void)memory;
}

static void read_query(const json_t *from, struct rules_request *request, struct rules_query *query) {
  struct doc_path parent;
  struct query_request parsed;
  ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &arena};
  str wire = from_base64(text_of(from, "query"));
  const Google__Firestore__V1__StructuredQuery *message =
      google__firestore__v1__structured_query__unpack(&allocator, wire.len, (const uint8_t *)wire.ptr);
  if (message == NULL)
    die("this is no StructuredQuery");
  status s = doc_path_parse_parent(text_of(from, "parent"), &parent);
  if (status_is_ok(&s))
    s = query_request_parse(&parent, message, &arena, &parsed);
  if (status_is_ok(&s))
    s = rules_query_make(&parsed.query, &arena, query, &request->path);
  if (!status_is_ok(&s))
    die(s.message);
  request->query = query;
}

static void judge(const json_t *from) {
  static const char *const operations[] = {"get", "list", "create", "update", "delete"};
  static const char *const outcomes[] = {"allow", "deny", "later", "failed"};
  const struct rules_reader reader = {read_document, NULL};
  struct rules_reads reads = {.budget = RULES_READS_SINGLE, .arena = &arena};
  struct rules_auth auth;
  struct rules_query query;
  str operation = text_of(from, "operation");
  struct rules_request request = {.project = text_of(from, "project"),
                                  .database = text_of(from, "database"),
                                  .path = text_of(from, "path"),
                                  .reader = &reader,
                                  .reads = &reads};
  if (rules == NULL)
    die("a request comes before rules that compile");
  for (int i = 0; i < 5; i++)
    if (str_eq(operation, str_from_cstr(operations[i])))
      request.operation = (enum rules_operation)i;
  request.time_us = (int64_t)json_integer_value(json_object_get(from, "time_us"));
  if (json_is_string(json_object_get(from, "uid"))) {
    auth = (struct rules_auth){text_of(from, "uid"), fields_of(json_object_get(from, "claims"))};
    request.auth = &auth;
  }
  request.resource = document_of(from, "resource", request.path);
  request.after = document_of(from, "after", request.path);
  after_documents = json_object_get(from, "afterDocuments");
  if (json_is_string(json_object_get(from, "query")))
    read_query(from, &request, &query);
  struct rules_decision decision = rules_decide(rules, &request, &arena);
  print(json_pack("{s:s,s:i,s:i,s:s%}", "outcome", outcomes[decision.outcome], "line", (int)decision.line,
                  "column", (int)decision.column, "reason", decision.reason.ptr, decision.reason.len));
}

int main(void) {
  char *line = malloc(LINE_BYTES);
  documents = json_object();
  if (line == NULL || documents == NULL)
    die("no memory");
  arena_init(&arena, NULL, 0, ARENA_BYTES);
  while (fgets(line, LINE_BYTES, stdin) != NULL) {
    json_t *command = json_loads(line, 0, NULL);
    if (command == NULL)
      die("a line is no JSON");
    if (json_object_get(command, "rules") != NULL)
      compile(json_object_get(command, "rules"));
    else if (json_object_get(command, "documents") != NULL)
      json_object_update(documents, json_object_get(command, "documents"));
    else
      judge(json_object_get(command, "request"));
    json_decref(command);
    arena_reset(&arena);
  }
  rules_unref(rules);
  arena_fini(&arena);
  json_decref(documents);
  free(line);
  return 0;
}
