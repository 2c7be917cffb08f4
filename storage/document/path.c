#include "storage/document/path.h"

#include <assert.h>

#include "base/limits.h"
#include "base/utf8.h"

/* Names in messages are cut, so that what is wrong with them still fits. */
enum { SHOWN_BYTES = 240 };

#define SHOWN_FMT "\"" STR_FMT "%s\""
#define SHOWN_ARG(text) STR_ARG(shown(text)), ((text).len > SHOWN_BYTES ? "..." : "")

static str shown(str text) {
  if (text.len <= SHOWN_BYTES)
    return text;
  size_t length = SHOWN_BYTES; /* not within a character */
  while (length > 0 && ((uint8_t)text.ptr[length] & 0xC0) == 0x80)
    length--;
  return str_make(text.ptr, length);
}

/* ---- Ids ---- */

static bool is_reserved(str id) {
  return id.len >= 4 && str_has_prefix(id, STR("__")) && str_has_suffix(id, STR("__"));
}

bool doc_id_number(str id, struct doc_id_number *ret) {
  if (id.len < sizeof "__id0__" - 1 || id.len > LIMIT_ID_BYTES || !is_reserved(id) ||
      !str_has_prefix(id, STR("__id")))
    return false;
  if (str_eq(id, DOC_ID_LOWEST)) {
    *ret = (struct doc_id_number){{NULL, 0}, 0};
    return true;
  }
  str digits = str_make(id.ptr + 4, id.len - 6);
  size_t zeros = 0;
  for (size_t i = 0; i < digits.len; i++) {
    if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
      return false;
    if (digits.ptr[i] == '0' && zeros == i)
      zeros++;
  }
  *ret = (struct doc_id_number){str_from(digits, zeros), zeros};
  return true;
}

static int compare_sizes(size_t a, size_t b) {
  return (a > b) - (a < b);
}

int doc_id_compare(str a, str b) {
  struct doc_id_number x, y;
  bool a_is_number = doc_id_number(a, &x), b_is_number = doc_id_number(b, &y);
  if (!a_is_number || !b_is_number)
    return a_is_number ? -1 : b_is_number ? 1 : str_cmp(a, b);
  int order = compare_sizes(x.digits.len, y.digits.len);
  if (order == 0)
    order = str_cmp(x.digits, y.digits);
  return order != 0 ? order : compare_sizes(x.zeros, y.zeros);
}

/* The rules that need no look at every byte. `what` is "Collection id" or "Resource id", as Firestore says.
 */
static status check_id_shape(str id, const char *what, bool number_allowed) {
  struct doc_id_number number;
  if (id.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "%s \"\" is invalid because it is empty.", what);
  if (id.len > LIMIT_ID_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " is longer than %d bytes.", what,
                       SHOWN_ARG(id), LIMIT_ID_BYTES);
  if (str_eq(id, STR(".")) || str_eq(id, STR("..")))
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " is invalid because it is \".\" or \"..\".",
                       what, SHOWN_ARG(id));
  if (is_reserved(id) && !(number_allowed && doc_id_number(id, &number)))
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " is invalid because it is reserved.", what,
                       SHOWN_ARG(id));
  return status_ok();
}

static status check_id(str id, const char *what, bool number_allowed) {
  STATUS_TRY(check_id_shape(id, what, number_allowed));
  if (!utf8_is_valid(id.ptr, id.len))
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " is not valid UTF-8.", what, SHOWN_ARG(id));
  if (memchr(id.ptr, '/', id.len) != NULL)
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " is invalid because it contains \"/\".",
                       what, SHOWN_ARG(id));
  return status_ok();
}

status doc_collection_id_check(str id) {
  return check_id(id, "Collection id", false);
}

status doc_document_id_check(str id) {
  return check_id(id, "Resource id", true);
}

static bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
static bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

/* Documented are 6 to 30 lower-case letters, digits and hyphens, and ids with a domain. Tests and emulators
 * are used with shorter ones and other letters, so those pass: which projects are served is a setting. */
static bool project_is_valid(str id) {
  if (id.len == 0 || id.len > DOC_PROJECT_ID_BYTES)
    return false;
  for (size_t i = 0; i < id.len; i++) {
    char c = id.ptr[i];
    bool inner = c == '-' || c == '_' || c == '.' || c == ':';
    if (!is_lower(c) && !is_digit(c) && !is_upper(c) && !(inner && i > 0))
      return false;
  }
  return true;
}

/* "(default)", or lower-case letters, digits and hyphens, a letter first and no hyphen last. The documented
 * minimum of 4 is not asked for. */
static bool database_is_valid(str id) {
  if (str_eq(id, STR("(default)")))
    return true;
  if (id.len == 0 || id.len > DOC_DATABASE_ID_BYTES || !is_lower(id.ptr[0]) || id.ptr[id.len - 1] == '-')
    return false;
  for (size_t i = 1; i < id.len; i++)
    if (!is_lower(id.ptr[i]) && !is_digit(id.ptr[i]) && id.ptr[i] != '-')
      return false;
  return true;
}

/* ---- Parsing ---- */

/* What a message calls the name. */
static const char a_name[] = "Resource name", a_document[] = "Document name",
                  a_parent[] = "Document parent name", a_database[] = "Database name";

struct reader {
  str name;
  const char *what;
  size_t at;
};

static status lacks(const struct reader *r, const char *wanted, size_t index) {
  return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " lacks \"%s\" at index %zu.", r->what,
                     SHOWN_ARG(r->name), wanted, index);
}

/* Up to the next '/' or the end. */
static inline str read_segment(struct reader *r) {
  if (r->at == r->name.len)
    return (str){NULL, 0};
  str segment = str_from(r->name, r->at);
  const char *slash = memchr(segment.ptr, '/', segment.len);
  if (slash != NULL)
    segment.len = (size_t)(slash - segment.ptr);
  r->at += segment.len;
  return segment;
}

static inline status read_slash(struct reader *r) {
  if (r->at == r->name.len)
    return lacks(r, "/", r->at);
  r->at++; /* segments end before one, or at the end */
  return status_ok();
}

static inline status read_word(struct reader *r, str word) {
  size_t start = r->at;
  str segment = read_segment(r);
  return str_eq(segment, word) ? status_ok() : lacks(r, word.ptr, start);
}

/* What is before the documents. Its ids are ASCII alone, so it needs no look at UTF-8. */
static status read_database(struct reader *r, struct doc_path *path) {
  if (r->name.len > LIMIT_NAME_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " is longer than %d bytes.", r->what,
                       SHOWN_ARG(r->name), LIMIT_NAME_BYTES);
  STATUS_TRY(read_word(r, STR("projects")));
  STATUS_TRY(read_slash(r));
  path->project = read_segment(r);
  if (!project_is_valid(path->project))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "Project id " SHOWN_FMT
                       " is malformed: it is empty, contains invalid characters or is "
                       "longer than %d bytes.",
                       SHOWN_ARG(path->project), DOC_PROJECT_ID_BYTES);
  STATUS_TRY(read_slash(r));
  STATUS_TRY(read_word(r, STR("databases")));
  STATUS_TRY(read_slash(r));
  path->database = read_segment(r);
  if (!database_is_valid(path->database))
    return status_make(STATUS_INVALID_ARGUMENT,
                       "Database id " SHOWN_FMT
                       " is malformed: use \"(default)\", or lower-case letters, digits "
                       "and hyphens, at most %d, a letter first and no hyphen last.",
                       SHOWN_ARG(path->database), DOC_DATABASE_ID_BYTES);
  return status_ok();
}

/* One id of a path. Ids that begin with neither '.' nor '_' (nearly all) need no further look. */
static inline status check_segment(const struct reader *r, str id, bool is_document) {
  if (id.len > 0 && id.len <= LIMIT_ID_BYTES && id.ptr[0] != '_' && id.ptr[0] != '.')
    return status_ok();
  if (id.len == 0 && r->at == r->name.len)
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " has invalid trailing \"/\".", r->what,
                       SHOWN_ARG(r->name));
  if (id.len == 0)
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " lacks a resource id at index %zu.", r->what,
                       SHOWN_ARG(r->name), r->at);
  return check_id_shape(id, is_document ? "Resource id" : "Collection id", is_document);
}

static status check_depth(const char *what, str name, size_t segment_count) {
  if (segment_count > 2 * (size_t)LIMIT_PATH_DEPTH)
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " has more than %d collections.", what,
                       SHOWN_ARG(name), LIMIT_PATH_DEPTH);
  return status_ok();
}

static status parse(str name, const char *what, struct doc_path *ret) {
  struct reader r = {.name = name, .what = what};
  struct doc_path path = {.name = name};
  STATUS_TRY(read_database(&r, &path));
  STATUS_TRY(read_slash(&r));
  STATUS_TRY(read_word(&r, STR("documents")));
  size_t start = r.at + 1;
  if (!utf8_is_valid(name.ptr + r.at, name.len - r.at))
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " is not valid UTF-8.", what,
                       SHOWN_ARG(name));
  while (r.at < name.len) {
    r.at++; /* the slash */
    str id = read_segment(&r);
    STATUS_TRY(check_segment(&r, id, path.segment_count % 2 == 1));
    path.segment_count++;
  }
  STATUS_TRY(check_depth(what, name, path.segment_count));
  if (path.segment_count > 0)
    path.relative = str_from(name, start);
  *ret = path;
  return status_ok();
}

status doc_path_parse(str name, struct doc_path *ret) {
  return parse(name, a_name, ret);
}

status doc_path_parse_document(str name, struct doc_path *ret) {
  struct doc_path path;
  STATUS_TRY(parse(name, a_document, &path));
  if (!doc_path_is_document(&path))
    return lacks(&(struct reader){.name = name, .what = a_document}, "/", name.len);
  *ret = path;
  return status_ok();
}

status doc_path_parse_parent(str name, struct doc_path *ret) {
  struct doc_path path;
  STATUS_TRY(parse(name, a_parent, &path));
  if (doc_path_is_collection(&path))
    return lacks(&(struct reader){.name = name, .what = a_parent}, "/", name.len);
  *ret = path;
  return status_ok();
}

status doc_path_parse_database(str name, struct doc_path *ret) {
  struct reader r = {.name = name, .what = a_database};
  struct doc_path path = {.name = name};
  STATUS_TRY(read_database(&r, &path));
  if (r.at < name.len)
    return status_make(STATUS_INVALID_ARGUMENT,
                       "%s " SHOWN_FMT " must end after the database id, at index %zu.", a_database,
                       SHOWN_ARG(name), r.at);
  *ret = path;
  return status_ok();
}

/* ---- Parts of a path ---- */

/* Where the last segment of relative begins. */
static size_t last_start(str relative) {
  const char *slash = relative.len == 0 ? NULL : memrchr(relative.ptr, '/', relative.len);
  return slash == NULL ? 0 : (size_t)(slash - relative.ptr) + 1;
}

str doc_path_id(const struct doc_path *path) {
  return path->segment_count == 0 ? (str){NULL, 0} : str_from(path->relative, last_start(path->relative));
}

str doc_path_collection_id(const struct doc_path *path) {
  if (!doc_path_is_document(path))
    return (str){NULL, 0};
  struct doc_path parent = doc_path_parent(path);
  return doc_path_id(&parent);
}

struct doc_path doc_path_parent(const struct doc_path *path) {
  assert(path->segment_count > 0);
  struct doc_path parent = *path;
  size_t last = last_start(path->relative);
  parent.relative.len = last == 0 ? 0 : last - 1;
  parent.name.len -= path->relative.len - parent.relative.len;
  if (last == 0)
    parent.name.len--; /* the slash after "documents" */
  parent.segment_count--;
  return parent;
}

bool doc_path_same_database(const struct doc_path *a, const struct doc_path *b) {
  return str_eq(a->project, b->project) && str_eq(a->database, b->database);
}

int doc_path_compare(const struct doc_path *a, const struct doc_path *b) {
  int order = str_cmp(a->project, b->project);
  if (order == 0)
    order = str_cmp(a->database, b->database);
  str x = a->relative, y = b->relative;
  while (order == 0 && x.len > 0 && y.len > 0) {
    str id = str_split(x, '/', &x), other = str_split(y, '/', &y);
    order = doc_id_compare(id, other);
  }
  return order != 0 ? order : (x.len > 0) - (y.len > 0);
}

/* ---- Making names ---- */

static void put(char **at, str text) {
  if (text.len > 0)
    memcpy(*at, text.ptr, text.len);
  *at += text.len;
}

status doc_path_child(const struct doc_path *parent, str collection_id, str document_id, struct arena *arena,
                      struct doc_path *ret) {
  assert(!doc_path_is_collection(parent));
  STATUS_TRY(doc_collection_id_check(collection_id));
  if (document_id.len > 0)
    STATUS_TRY(doc_document_id_check(document_id));
  const str parts[] = {STR("projects/"),   parent->project,
                       STR("/databases/"), parent->database,
                       STR("/documents"),  str_make("/", parent->relative.len > 0),
                       parent->relative,   STR("/"),
                       collection_id,      str_make("/", document_id.len > 0),
                       document_id};
  size_t length = 0;
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    length += parts[i].len;
  char *text = arena_alloc(arena, length), *at = text;
  if (text == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    put(&at, parts[i]);

  struct doc_path path = {.name = str_make(text, length)};
  path.project = str_make(text + parts[0].len, parent->project.len);
  path.database = str_make(path.project.ptr + path.project.len + parts[2].len, parent->database.len);
  path.relative = str_from(path.name, (size_t)(path.database.ptr - text) + parent->database.len +
                                          sizeof "/documents/" - 1);
  path.segment_count = parent->segment_count + (document_id.len > 0 ? 2 : 1);
  if (length > LIMIT_NAME_BYTES)
    return status_make(STATUS_INVALID_ARGUMENT, "%s " SHOWN_FMT " is longer than %d bytes.", a_name,
                       SHOWN_ARG(path.name), LIMIT_NAME_BYTES);
  STATUS_TRY(check_depth(a_name, path.name, path.segment_count));
  *ret = path;
  return status_ok();
}
