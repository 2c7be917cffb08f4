/* Rules of many kinds over hostile data. The input: a byte that chooses the rules, one for the operation and
 * for how the rest is read (as canonical bytes or as anything), two lengths, and then the token's claims, the
 * stored document and the document after the write, which is the operand of a query's filters too. Every
 * evaluation ends, within its bounds, and says the same whether or not it is explained. */
#include <stdint.h>
#include <stdlib.h>

#include "server/rules/rules.h"
#include "storage/document/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

static const char *const conditions[] = {
    "request.auth.uid == resource.data.a && request.auth.token.b == request.resource.data.a",
    "request.resource.data.diff(resource.data).affectedKeys().hasOnly(['a', 'b']) || "
    "resource.data.diff(request.auth.token).unchangedKeys().size() > 0",
    "resource.data.keys().hasAll(['a']) && resource.data.a is string && resource.data.a.size() < 10 || "
    "resource.data.values().toSet().size() > 1",
    "resource.data.a.matches(resource.data.b) || resource.data.a.split(resource.data.b).size() == 2 || "
    "resource.data.a.replace(resource.data.b, 'x$1') == 'x'",
    "resource.data.a + resource.data.b == resource.data.a - resource.data.b || resource.data.a / "
    "resource.data.b > 1 || resource.data.a % resource.data.b == -resource.data.a",
    "resource.data.a.date().year() + resource.data.a.dayOfYear() > 1 || resource.data.a.time() < "
    "duration.value(1, 'h') || resource.data.a + duration.abs(resource.data.a - resource.data.b) > "
    "request.time",
    "resource.data.a[0] == resource.data.a[0:1] || resource.data.a[0] in resource.data.b || "
    "resource.data.a.concat(resource.data.b).join(',') == string(resource.data.a[1])",
    "resource.data.a.hasAll(resource.data.b) || "
    "resource.data.a.toSet().union(resource.data.b.toSet()).difference(resource.data.a.toSet()).hasAny("
    "resource.data.a) || resource.data.a.removeAll(resource.data.b) == []",
    "exists(resource.data.a) || get(/databases/$(database)/documents/x/$(resource.data.a)).data == "
    "resource.data || path(resource.data.a)[1] == 'x' || path(resource.data.a).bind(resource.data.b) == /a",
    "resource.data.get(['a', 'b'], 1) == 1 || resource.data.get(resource.data.a, null) == null || "
    "resource.data[resource.data.a] == 1 || debug(resource.data) == debug(request)",
    "int(resource.data.a) > float(resource.data.b) || string(resource.data.a) == 'x' || "
    "bool(resource.data.a) || hashing.md5(resource.data.a).toHexString() == "
    "hashing.crc32(resource.data.b).toBase64()",
    "resource.data.a.distance(latlng.value(resource.data.b, 1)) < 5 || "
    "math.round(math.sqrt(resource.data.a)) == 2 || math.pow(resource.data.a, resource.data.b) == 1 || "
    "timestamp.date(resource.data.a, 1, 1) is timestamp",
    "resource.data.a == resource.data.b || resource.data.a < resource.data.b || resource.data.a in "
    "[resource.data.b, {'a': resource.data.b}] || resource == request.resource || request.auth.token == "
    "resource.data",
    "resource.data.a.lower().upper().trim().toUtf8().size() == resource.data.b.size() || "
    "resource.data.a.toBase64() == resource.data.b.toHexString() || duration.time(resource.data.a, "
    "resource.data.b, 1, 1).nanos() == 1",
};
enum { CONDITIONS = sizeof conditions / sizeof *conditions };
static struct rules *compiled[CONDITIONS];

static void compile_all(void) {
  struct arena arena;
  arena_init(&arena, NULL, 0, 1 << 20);
  for (size_t i = 0; i < CONDITIONS; i++) {
    struct rules_problems problems;
    str source = arena_printf(
        &arena,
        "rules_version = '2'; service cloud.firestore { match /databases/{database}/documents { match "
        "/t/{id} { allow read, write: if %s; } match /{all=**} { allow read, write: if !(%s); } } }",
        conditions[i], conditions[i]);
    status s = rules_compile(source, &arena, &problems, &compiled[i]);
    CHECK(s.code == STATUS_OK && problems.count == 0);
  }
  arena_fini(&arena);
}

static str part(const uint8_t **data, size_t *size, size_t len, bool canonical, struct arena *arena) {
  struct doc_document document;
  str bytes = str_make(*data, len < *size ? len : *size), fields;
  *data += bytes.len;
  *size -= bytes.len;
  if (!canonical)
    return bytes;
  status s = doc_decode_document(bytes, arena, &document);
  if (s.code == STATUS_OK)
    s = doc_encode_fields(document.fields, arena, &fields);
  return s.code == STATUS_OK ? fields : (str){NULL, 0};
}

static enum rules_read read_resource(void *argument, str path, bool after, struct rules_document *ret) {
  (void)path;
  *ret = *(const struct rules_document *)argument;
  return after ? RULES_READ_MISSING : RULES_READ_FOUND;
}

static void ignore_debug(void *argument, uint32_t line, str text) {
  (void)argument;
  CHECK(line >= 1 && text.len < 65536);
}

static struct rules_decision decide(const struct rules *rules, struct rules_request request,
                                    struct arena *arena) {
  struct rules_reads reads = {.budget = RULES_READS_SINGLE, .arena = arena};
  request.reads = &reads;
  return rules_decide(rules, &request, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct rules_trace trace;
  if (compiled[0] == NULL)
    compile_all();
  if (size < 4 || size > 65536)
    return 0;
  struct arena arena;
  arena_init(&arena, NULL, 0, 64 << 20);
  const struct rules *rules = compiled[data[0] % CONDITIONS];
  struct rules_request request = {.operation = (enum rules_operation)(data[1] % 5),
                                  .project = STR("p"),
                                  .database = STR("(default)"),
                                  .path = STR("t/a"),
                                  .time_us = 1700000000000000};
  bool canonical = (data[1] & 0x80) == 0;
  size_t claims_len = data[2], resource_len = data[3] * (size_t)16;
  data += 4;
  size -= 4;
  const struct rules_auth auth = {STR("alice"), part(&data, &size, claims_len, canonical, &arena)};
  struct rules_document resource = {STR("t/a"), part(&data, &size, resource_len, canonical, &arena)};
  struct rules_document after = {STR("t/a"), part(&data, &size, size, canonical, &arena)};
  const struct rules_reader reader = {read_resource, &resource};
  request.auth = &auth;
  request.resource = &resource;
  request.after = &after;
  request.reader = &reader;
  str rest = after.fields, name = {NULL, 0}, value = {NULL, 0};
  bool damaged, has_value = doc_fields_next(&rest, &name, &value, &damaged);
  struct rules_filter filters[] = {
      {{(const str[]){STR("a")}, 1},
       has_value ? (enum rules_filter_op)(name.len % (RULES_ARRAY_CONTAINS + 1)) : RULES_EXISTS,
       value},
      {{(const str[]){STR("b"), STR("a")}, 2}, RULES_EXISTS, {NULL, 0}}};
  const struct rules_conjunction conjunction = {.filters = filters, .filter_count = 2};
  const struct rules_query query = {.conjunctions = &conjunction, .conjunction_count = 1};
  if (request.operation == RULES_LIST) {
    request.path = STR("t");
    request.query = &query;
  }
  struct rules_decision plain = decide(rules, request, &arena);
  CHECK(plain.outcome == RULES_ALLOW || plain.outcome == RULES_DENY ||
        (plain.outcome == RULES_FAILED && (!canonical || arena.exhausted)));
  trace.count = 0;
  request.trace = &trace;
  request.coverage = ARENA_NEW_ARRAY(&arena, struct rules_coverage, rules_expression_count(rules));
  request.debug = ignore_debug;
  if (request.coverage != NULL)
    CHECK(decide(rules, request, &arena).outcome == plain.outcome || arena.exhausted);
  arena_fini(&arena);
  return 0;
}
