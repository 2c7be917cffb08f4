#include "bench/requests.h"

#include "base/wire.h"
#include "bench/query_requests.h"
#include "google/firestore/v1/firestore.skerry.h"

const char *const load_mode_names[LOAD_MODES] = {"echo",
                                                 "get",
                                                 "commit",
                                                 "fill",
                                                 "list",
                                                 "batchget",
                                                 "stream",
                                                 "query-fill",
                                                 "query-fill-leaves",
                                                 "query-batchget",
                                                 "query-equal",
                                                 "query-join",
                                                 "query-range",
                                                 "query-contains",
                                                 "query-or",
                                                 "query-group",
                                                 "query-count"};

/* google.firestore.v1 field numbers. */
enum {
  DOCUMENT_NAME = 1,
  DOCUMENT_FIELDS = 2,
  ENTRY_KEY = 1,
  ENTRY_VALUE = 2,
  VALUE_INTEGER = 2,
  VALUE_STRING = 17
};

static const struct rpc_method echo_method = {.name = "Unary",
                                              .path = "/skerry.test.v1.Echo/Unary",
                                              .kind = RPC_UNARY,
                                              .request = {"skerry.test.v1.EchoRequest", NULL},
                                              .response = {"skerry.test.v1.EchoResponse", NULL}};

static const struct rpc_method stream_method = {.name = "ServerStream",
                                                .path = "/skerry.test.v1.Echo/ServerStream",
                                                .kind = RPC_SERVER_STREAM,
                                                .request = {"skerry.test.v1.EchoRequest", NULL},
                                                .response = {"skerry.test.v1.EchoResponse", NULL}};

/* skerry.test.v1.EchoRequest */
enum { ECHO_TEXT = 1, ECHO_REPEAT = 3 };

uint64_t random_next(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * UINT64_C(0x2545F4914F6CDD1D);
}

const struct rpc_method *request_method(enum load_mode mode) {
  const struct rpc_method *methods = google_firestore_v1_firestore_service.methods;
  switch (mode) {
  case LOAD_GET:
    return &methods[GOOGLE_FIRESTORE_V1_FIRESTORE_GET_DOCUMENT];
  case LOAD_COMMIT:
  case LOAD_FILL:
  case LOAD_QUERY_FILL:
  case LOAD_QUERY_FILL_LEAVES:
    return &methods[GOOGLE_FIRESTORE_V1_FIRESTORE_COMMIT];
  case LOAD_LIST:
    return &methods[GOOGLE_FIRESTORE_V1_FIRESTORE_LIST_DOCUMENTS];
  case LOAD_BATCH_GET:
  case LOAD_QUERY_BATCH_GET:
    return &methods[GOOGLE_FIRESTORE_V1_FIRESTORE_BATCH_GET_DOCUMENTS];
  case LOAD_STREAM:
    return &stream_method;
  case LOAD_QUERY_EQUAL:
  case LOAD_QUERY_JOIN:
  case LOAD_QUERY_RANGE:
  case LOAD_QUERY_CONTAINS:
  case LOAD_QUERY_OR:
  case LOAD_QUERY_GROUP:
    return &methods[GOOGLE_FIRESTORE_V1_FIRESTORE_RUN_QUERY];
  case LOAD_QUERY_COUNT:
    return &methods[GOOGLE_FIRESTORE_V1_FIRESTORE_RUN_AGGREGATION_QUERY];
  case LOAD_ECHO:
  case LOAD_MODES:
    break;
  }
  return &echo_method;
}

/* ---- Documents ---- */

str random_text(struct arena *arena, uint64_t *random, size_t len) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
  char *text = arena_alloc(arena, len);
  if (text == NULL)
    return (str){0};
  for (size_t i = 0; i < len;) {
    uint64_t bits = random_next(random);
    for (int letter = 0; letter < 10 && i < len; letter++, bits >>= 6)
      text[i++] = letters[bits & 63];
  }
  return str_make(text, len);
}

static const char *collection_of(const struct request_options *options) {
  return options->collection == NULL ? "items" : options->collection;
}

static str name_of(const struct request_options *options, const char *prefix, uint64_t number,
                   struct arena *arena) {
  return arena_printf(arena, "%s/documents/%s/%s%010llu", options->database, collection_of(options), prefix,
                      (unsigned long long)number);
}

/* A document of fields that can be queried. */
static ProtobufCBinaryData make_query_document(const struct request_options *options, uint64_t number,
                                               uint64_t *random, struct arena *arena) {
  str name = query_document_name(options, number, options->mode == LOAD_QUERY_FILL_LEAVES, arena);
  str fields = query_document_fields(number, options->bytes, random, arena);
  size_t size = wire_bytes_field_size(DOCUMENT_NAME, name.len) + fields.len;
  uint8_t *document = arena_alloc(arena, size);
  if (document == NULL || name.ptr == NULL || fields.ptr == NULL)
    return (ProtobufCBinaryData){0};
  memcpy(wire_put_bytes(document, DOCUMENT_NAME, name), fields.ptr, fields.len);
  return (ProtobufCBinaryData){size, document};
}

/* One field in a document: {name: value}. */
static uint8_t *put_field(uint8_t *at, str name, str text, uint64_t number, bool is_number) {
  size_t value = is_number ? 1 + wire_varint_size(number) : wire_bytes_field_size(VALUE_STRING, text.len);
  at = wire_put_bytes_head(at, DOCUMENT_FIELDS,
                           wire_bytes_field_size(ENTRY_KEY, name.len) +
                               wire_bytes_field_size(ENTRY_VALUE, value));
  at = wire_put_bytes(at, ENTRY_KEY, name);
  at = wire_put_bytes_head(at, ENTRY_VALUE, value);
  return is_number ? wire_put_varint(wire_put_tag(at, VALUE_INTEGER, WIRE_VARINT), number)
                   : wire_put_bytes(at, VALUE_STRING, text);
}

/* A document of one text, or of several texts and numbers, the encoded fields about `bytes` long. */
static ProtobufCBinaryData make_document(const struct request_options *options, str name, uint64_t *random,
                                         struct arena *arena) {
  enum { OVERHEAD = 15 }; /* tags and lengths around a text */
  uint32_t fields = options->fields < 2 ? 1 : options->fields, each = options->bytes / fields;
  uint8_t *document = arena_alloc(arena, name.len + 16 + (size_t)fields * (each + 40)), *at = document;
  if (document == NULL)
    return (ProtobufCBinaryData){0};
  at = wire_put_bytes(at, DOCUMENT_NAME, name);
  for (uint32_t i = 0; i < fields; i++) {
    str field = fields == 1 ? STR("text") : arena_printf(arena, "f%03u", i);
    str text = random_text(arena, random, each > OVERHEAD ? each - OVERHEAD : 0);
    if (text.ptr == NULL || field.ptr == NULL)
      return (ProtobufCBinaryData){0};
    at = put_field(at, field, text, random_next(random) >> 32, i % 2 == 1);
  }
  return (ProtobufCBinaryData){(size_t)(at - document), document};
}

/* ---- Requests ---- */

static char *text_of(str s) {
  return (char *)(uintptr_t)s.ptr; /* protobuf-c's strings are not const; nobody writes them */
}

static char *database_of(const struct request_options *options) {
  return (char *)(uintptr_t)options->database;
}

static uint64_t random_number(const struct request_options *options, uint64_t *random) {
  return random_next(random) % (options->documents == 0 ? 1 : options->documents);
}

static const void *make_get(const struct request_options *options, uint64_t *random, struct arena *arena) {
  Google__Firestore__V1__GetDocumentRequest *request = arena_alloc(arena, sizeof *request);
  if (request == NULL)
    return NULL;
  google__firestore__v1__get_document_request__init(request);
  request->name = text_of(name_of(options, "", random_number(options, random), arena));
  return request->name == NULL ? NULL : request;
}

static const void *make_list(const struct request_options *options, struct arena *arena) {
  Google__Firestore__V1__ListDocumentsRequest *request = arena_alloc(arena, sizeof *request);
  if (request == NULL)
    return NULL;
  google__firestore__v1__list_documents_request__init(request);
  request->parent = text_of(arena_printf(arena, "%s/documents", options->database));
  request->collection_id = (char *)(uintptr_t)collection_of(options); /* nobody writes it */
  request->page_size = (int32_t)options->writes;
  return request->parent == NULL ? NULL : request;
}

static const void *make_batch_get(const struct request_options *options, uint64_t *random,
                                  struct arena *arena) {
  Google__Firestore__V1__BatchGetDocumentsRequest *request = arena_alloc(arena, sizeof *request);
  char **names = ARENA_NEW_ARRAY(arena, char *, options->writes);
  if (request == NULL || names == NULL)
    return NULL;
  google__firestore__v1__batch_get_documents_request__init(request);
  request->database = database_of(options);
  request->n_documents = options->writes;
  request->documents = names;
  uint64_t first = random_number(options, random) / options->writes * options->writes;
  for (uint32_t i = 0; i < options->writes; i++) {
    names[i] = text_of(options->mode == LOAD_QUERY_BATCH_GET
                           ? query_document_name(options, first + i, false, arena)
                           : name_of(options, "", random_number(options, random), arena));
    if (names[i] == NULL)
      return NULL;
  }
  return request;
}

static const void *make_commit(const struct request_options *options, uint64_t *random, struct arena *arena) {
  bool queried = options->mode == LOAD_QUERY_FILL || options->mode == LOAD_QUERY_FILL_LEAVES;
  bool fills = request_mode_fills(options->mode);
  bool counts = fills || options->unique;
  uint64_t first = counts ? *options->next : 0;
  size_t count = options->writes;
  if (fills) {
    if (first >= options->documents)
      return NULL;
    if (count > options->documents - first)
      count = (size_t)(options->documents - first);
  }
  if (counts)
    *options->next += count;
  Google__Firestore__V1__CommitRequest *request = arena_alloc(arena, sizeof *request);
  Google__Firestore__V1__Write *writes = ARENA_NEW_ARRAY(arena, Google__Firestore__V1__Write, count);
  Google__Firestore__V1__Write **pointers = ARENA_NEW_ARRAY(arena, Google__Firestore__V1__Write *, count);
  if (request == NULL || writes == NULL || pointers == NULL)
    return NULL;
  google__firestore__v1__commit_request__init(request);
  request->database = database_of(options);
  request->n_writes = count;
  request->writes = pointers;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t number = counts ? first + i : random_number(options, random);
    str name = name_of(options, options->mode == LOAD_COMMIT && options->unique ? "w" : "", number, arena);
    pointers[i] = &writes[i];
    google__firestore__v1__write__init(&writes[i]);
    writes[i].operation_case = GOOGLE__FIRESTORE__V1__WRITE__OPERATION_UPDATE;
    writes[i].update = queried ? make_query_document(options, number, random, arena)
                               : make_document(options, name, random, arena);
    if (writes[i].update.data == NULL)
      return NULL;
  }
  return request;
}

static const void *make_echo(const struct request_options *options, uint64_t *random, struct arena *arena) {
  str *request = arena_alloc(arena, sizeof *request);
  if (request != NULL)
    *request = random_text(arena, random, options->bytes);
  return request;
}

static const void *make_stream(const struct request_options *options, uint64_t *random, struct arena *arena) {
  str *request = arena_alloc(arena, sizeof *request);
  str text = random_text(arena, random, options->bytes);
  size_t size = wire_bytes_field_size(ECHO_TEXT, text.len) + 1 + wire_varint_size(options->writes);
  uint8_t *bytes = arena_alloc(arena, size);
  if (request == NULL || bytes == NULL)
    return NULL;
  uint8_t *at = wire_put_bytes(bytes, ECHO_TEXT, text);
  wire_put_varint(wire_put_tag(at, ECHO_REPEAT, WIRE_VARINT), options->writes);
  *request = str_make(bytes, size);
  return request;
}

const void *request_make(const struct request_options *options, uint64_t *random, struct arena *arena) {
  switch (options->mode) {
  case LOAD_GET:
    return make_get(options, random, arena);
  case LOAD_COMMIT:
  case LOAD_FILL:
  case LOAD_QUERY_FILL:
  case LOAD_QUERY_FILL_LEAVES:
    return make_commit(options, random, arena);
  case LOAD_LIST:
    return make_list(options, arena);
  case LOAD_BATCH_GET:
  case LOAD_QUERY_BATCH_GET:
    return make_batch_get(options, random, arena);
  case LOAD_STREAM:
    return make_stream(options, random, arena);
  case LOAD_QUERY_EQUAL:
  case LOAD_QUERY_JOIN:
  case LOAD_QUERY_RANGE:
  case LOAD_QUERY_CONTAINS:
  case LOAD_QUERY_OR:
  case LOAD_QUERY_GROUP:
  case LOAD_QUERY_COUNT:
    return query_request_make(options, random, arena);
  case LOAD_ECHO:
  case LOAD_MODES:
    break;
  }
  return make_echo(options, random, arena);
}
