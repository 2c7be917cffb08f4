#include "storage/document/key.h"

#include <assert.h>

#include "base/limits.h"
#include "storage/kv.h"

/* The bytes of the format in key.h. */
enum {
  TAG_NUMBER = 0x02,
  TAG_TEXT = 0x03,
  ESCAPE = 0x00,      /* followed by one of the next */
  ESCAPED_NUL = 0xFF, /* a byte 0x00 of the id */
  END = 0x01,         /* of the segment */
  AFTER_END = 0x02,   /* in no key: the end of a range */
  FRAME_BYTES = 3,    /* of a segment: tag, ESCAPE, END; a number's counts fit in its `__id` and `__` */
};

static_assert(FRAME_BYTES * (2 * LIMIT_PATH_DEPTH + 2) + 2 * LIMIT_NAME_BYTES + 1 <= KV_KEY_MAX_BYTES,
              "every name has a key, and one byte more for the bound of a range");

/* ---- Writing ---- */

static uint8_t *put_u16(uint8_t *at, size_t number) {
  assert(number <= LIMIT_ID_BYTES);
  *at++ = (uint8_t)(number >> 8);
  *at++ = (uint8_t)number;
  return at;
}

static uint8_t *put_bytes(uint8_t *at, str bytes) {
  if (bytes.len > 0)
    memcpy(at, bytes.ptr, bytes.len);
  return at + bytes.len;
}

static uint8_t *put_escaped(uint8_t *at, str text) {
  const char *nul;
  while (text.len > 0 && (nul = memchr(text.ptr, 0, text.len)) != NULL) {
    size_t before = (size_t)(nul - text.ptr);
    at = put_bytes(at, str_make(text.ptr, before));
    *at++ = ESCAPE;
    *at++ = ESCAPED_NUL;
    text = str_from(text, before + 1);
  }
  return put_bytes(at, text);
}

static uint8_t *put_segment(uint8_t *at, str id) {
  struct doc_id_number number;
  if (id.len > 0 && id.ptr[0] == '_' && doc_id_number(id, &number)) {
    *at++ = TAG_NUMBER;
    at = put_u16(at, number.digits.len);
    at = put_bytes(at, number.digits);
    at = put_u16(at, number.zeros);
  } else {
    *at++ = TAG_TEXT;
    at = put_escaped(at, id);
  }
  *at++ = ESCAPE;
  *at++ = END;
  return at;
}

static size_t count_nuls(str text) {
  size_t count = 0;
  const char *nul;
  while (text.len > 0 && (nul = memchr(text.ptr, 0, text.len)) != NULL) {
    count++;
    text = str_from(text, (size_t)(nul - text.ptr) + 1);
  }
  return count;
}

/* The key of `path`, or of the collection below it if `collection_id` is not empty, with one byte to spare.
 */
static status build(const struct doc_path *path, str collection_id, struct arena *arena, str *ret) {
  size_t bound = FRAME_BYTES * (path->segment_count + 3) + path->project.len + path->database.len +
                 path->relative.len + count_nuls(path->relative) + collection_id.len +
                 count_nuls(collection_id) + 1;
  uint8_t *bytes = arena_alloc(arena, bound), *at = bytes;
  if (bytes == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  at = put_segment(at, path->project);
  at = put_segment(at, path->database);
  for (str rest = path->relative; rest.len > 0;)
    at = put_segment(at, str_split(rest, '/', &rest));
  if (collection_id.len > 0)
    at = put_segment(at, collection_id);
  assert((size_t)(at - bytes) < bound);
  *ret = str_make(bytes, (size_t)(at - bytes));
  return status_ok();
}

status doc_key_from_path(const struct doc_path *path, struct arena *arena, str *ret) {
  return build(path, (str){NULL, 0}, arena, ret);
}

void doc_key_put_segment(str id, struct buf *out) {
  if (!buf_reserve(out, FRAME_BYTES + id.len + count_nuls(id)))
    return;
  out->len = (size_t)(put_segment(out->data + out->len, id) - out->data);
}

void doc_key_put_database(const struct doc_path *path, struct buf *out) {
  doc_key_put_segment(path->project, out);
  doc_key_put_segment(path->database, out);
}

void doc_key_put_relative(const struct doc_path *path, struct buf *out) {
  for (str rest = path->relative; rest.len > 0;)
    doc_key_put_segment(str_split(rest, '/', &rest), out);
}

/* `key` must come from build, or have been checked. */
static status copy_after(str key, struct arena *arena, str *ret) {
  char *copy = arena_alloc(arena, key.len);
  if (copy == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  memcpy(copy, key.ptr, key.len);
  copy[key.len - 1] = AFTER_END;
  *ret = str_make(copy, key.len);
  return status_ok();
}

status doc_key_database_range(const struct doc_path *path, struct arena *arena, struct doc_key_range *ret) {
  struct doc_path root = *path;
  root.relative = (str){NULL, 0};
  root.segment_count = 0;
  struct doc_key_range range;
  STATUS_TRY(build(&root, (str){NULL, 0}, arena, &range.lower));
  STATUS_TRY(copy_after(range.lower, arena, &range.upper));
  *ret = range;
  return status_ok();
}

status doc_key_descendants_range(const struct doc_path *path, struct arena *arena,
                                 struct doc_key_range *ret) {
  str key;
  struct doc_key_range range;
  STATUS_TRY(build(path, (str){NULL, 0}, arena, &key));
  STATUS_TRY(copy_after(key, arena, &range.upper));
  char *lower = arena_alloc(arena, key.len + 1);
  if (lower == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  memcpy(lower, key.ptr, key.len);
  lower[key.len] = TAG_NUMBER; /* the smallest byte that a segment begins with */
  range.lower = str_make(lower, key.len + 1);
  *ret = range;
  return status_ok();
}

status doc_key_children_range(const struct doc_path *parent, str collection_id, struct arena *arena,
                              struct doc_key_range *ret) {
  assert(!doc_path_is_collection(parent) && collection_id.len > 0);
  struct doc_key_range range;
  STATUS_TRY(build(parent, collection_id, arena, &range.lower));
  STATUS_TRY(copy_after(range.lower, arena, &range.upper));
  *ret = range;
  return status_ok();
}

/* ---- Reading ---- */

static status damaged(void) {
  return status_make(STATUS_DATA_LOSS, "The stored name of a document is damaged. Run `skerry verify`.");
}

struct segment {
  bool is_number;
  str text; /* still escaped; of a number the digits */
  size_t zeros;
  size_t id_len; /* of the id that it stands for */
};

/* Takes TAG_TEXT's bytes off *rest. */
static bool read_text(str *rest, struct segment *ret) {
  size_t at = 0, escapes = 0;
  for (;;) {
    const char *nul = at == rest->len ? NULL : memchr(rest->ptr + at, ESCAPE, rest->len - at);
    if (nul == NULL)
      return false;
    size_t next = (size_t)(nul - rest->ptr) + 1;
    if (next == rest->len)
      return false;
    uint8_t byte = (uint8_t)rest->ptr[next];
    at = next + 1;
    if (byte == END)
      break;
    if (byte != ESCAPED_NUL)
      return false;
    escapes++;
  }
  *ret = (struct segment){.text = str_make(rest->ptr, at - 2), .id_len = at - 2 - escapes};
  *rest = str_from(*rest, at);
  return true;
}

static size_t get_u16(const char *bytes) {
  return (size_t)((unsigned)(uint8_t)bytes[0] << 8 | (uint8_t)bytes[1]);
}

static bool read_number(str *rest, struct segment *ret) {
  if (rest->len < 2)
    return false;
  size_t digits = get_u16(rest->ptr), size = 2 + digits + 2 + 2;
  if (rest->len < size)
    return false;
  size_t zeros = get_u16(rest->ptr + 2 + digits);
  struct segment segment = {.is_number = true,
                            .text = str_make(rest->ptr + 2, digits),
                            .zeros = zeros,
                            .id_len = digits + zeros == 0 ? DOC_ID_LOWEST.len : digits + zeros + 6};
  if (rest->ptr[size - 2] != ESCAPE || rest->ptr[size - 1] != END || (digits > 0 && rest->ptr[2] == '0'))
    return false;
  for (size_t i = 0; i < digits; i++)
    if (segment.text.ptr[i] < '0' || segment.text.ptr[i] > '9')
      return false;
  *rest = str_from(*rest, size);
  *ret = segment;
  return true;
}

static bool read_segment(str *rest, struct segment *ret) {
  if (rest->len == 0)
    return false;
  str body = str_from(*rest, 1);
  bool read = rest->ptr[0] == TAG_TEXT     ? read_text(&body, ret)
              : rest->ptr[0] == TAG_NUMBER ? read_number(&body, ret)
                                           : false;
  if (read)
    *rest = body;
  return read;
}

bool doc_key_take_segment(str *rest, str *ret) {
  struct segment segment;
  str all = *rest;
  if (!read_segment(rest, &segment))
    return false;
  *ret = str_make(all.ptr, all.len - rest->len);
  return true;
}

status doc_key_segment_count(str key, size_t *ret) {
  size_t count = 0;
  struct segment segment;
  for (str rest = key; rest.len > 0; count++)
    if (!read_segment(&rest, &segment))
      return damaged();
  if (count < 2)
    return damaged();
  *ret = count - 2;
  return status_ok();
}

status doc_key_ancestor(str key, size_t segment_count, str *ret) {
  struct segment segment;
  str rest = key;
  for (size_t i = 0; i < segment_count + 2; i++)
    if (!read_segment(&rest, &segment))
      return damaged();
  *ret = str_make(key.ptr, key.len - rest.len);
  return status_ok();
}

status doc_key_skip_descendants(str key, struct arena *arena, str *ret) {
  if (key.len < 2 || key.ptr[key.len - 2] != ESCAPE || key.ptr[key.len - 1] != END)
    return damaged();
  return copy_after(key, arena, ret);
}

static char *put_id(char *at, const struct segment *segment) {
  if (segment->is_number && segment->text.len + segment->zeros == 0) {
    memcpy(at, DOC_ID_LOWEST.ptr, DOC_ID_LOWEST.len);
    return at + DOC_ID_LOWEST.len;
  }
  if (segment->is_number) {
    memcpy(at, "__id", 4);
    memset(at + 4, '0', segment->zeros);
    at += 4 + segment->zeros;
    memcpy(at, segment->text.ptr, segment->text.len);
    at += segment->text.len;
    memcpy(at, "__", 2);
    return at + 2;
  }
  if (segment->id_len == segment->text.len) { /* nothing is escaped */
    memcpy(at, segment->text.ptr, segment->text.len);
    return at + segment->text.len;
  }
  for (size_t i = 0; i < segment->text.len; i++) {
    *at++ = segment->text.ptr[i];
    if (segment->text.ptr[i] == ESCAPE)
      i++; /* ESCAPED_NUL */
  }
  return at;
}

static char *put_word(char *at, const char *word) {
  size_t length = strlen(word);
  memcpy(at, word, length);
  return at + length;
}

status doc_key_to_path(str key, struct arena *arena, struct doc_path *ret) {
  static const char before_project[] = "projects/", before_database[] = "/databases/",
                    after_database[] = "/documents";
  size_t length = sizeof before_project + sizeof before_database + sizeof after_database - 3, count = 0;
  struct segment segment;
  for (str rest = key; rest.len > 0; count++) {
    if (!read_segment(&rest, &segment))
      return damaged();
    length += segment.id_len + (count < 2 ? 0 : 1);
  }
  if (count < 2 || length > LIMIT_NAME_BYTES)
    return damaged();

  char *name = arena_alloc(arena, length), *at = name;
  if (name == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  count = 0;
  for (str rest = key; rest.len > 0; count++) {
    at = put_word(at, count == 0 ? before_project : count == 1 ? before_database : "/");
    bool read = read_segment(&rest, &segment);
    assert(read);
    str id = str_make(at, segment.id_len);
    at = put_id(at, &segment);
    assert(at == id.ptr + id.len);
    struct doc_id_number number;
    bool has_other_key = !segment.is_number && doc_id_number(id, &number);
    if (has_other_key || (id.len > 0 && memchr(id.ptr, '/', id.len) != NULL))
      return damaged();
    if (count == 1)
      at = put_word(at, after_database);
  }
  assert(at == name + length);
  struct doc_path path;
  status parsed = doc_path_parse(str_make(name, length), &path);
  if (!status_is_ok(&parsed))
    return damaged();
  *ret = path;
  return status_ok();
}

bool doc_key_append_names(str rest, struct buf *out) {
  struct segment segment;
  while (rest.len > 0) {
    if (!read_segment(&rest, &segment))
      return false;
    buf_append_byte(out, '/');
    if (!buf_reserve(out, segment.id_len))
      return true; /* out->failed says it */
    put_id((char *)out->data + out->len, &segment);
    out->len += segment.id_len;
  }
  return true;
}
