#include "server/gateway/url.h"

/* ---- Percent-encoding ---- */

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* The byte of "%XY" at text.ptr[at]; -1: it is none. */
static int escaped(str text, size_t at) {
  if (at + 2 >= text.len)
    return -1;
  int high = hex_digit(text.ptr[at + 1]), low = hex_digit(text.ptr[at + 2]);
  return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Decodes to `out`, which has room for text.len; how many came, or SIZE_MAX at a broken escape. */
static size_t decode_to(str text, bool plus_is_space, bool keep_slash, char *out) {
  size_t len = 0;
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    if (c == '+' && plus_is_space)
      c = ' ';
    if (c == '%') {
      int byte = escaped(text, i);
      if (byte < 0)
        return SIZE_MAX;
      if (byte != '/' || !keep_slash) {
        c = (char)byte;
        i += 2;
      }
    }
    out[len++] = c;
  }
  return len;
}

bool url_decode(str text, bool plus_is_space, bool keep_slash, struct arena *arena, str *ret) {
  char *out = arena_alloc(arena, text.len);
  if (out == NULL)
    return false;
  size_t len = decode_to(text, plus_is_space, keep_slash, out);
  *ret = str_make(out, len);
  return len != SIZE_MAX;
}

bool url_query_next(str *rest, struct arena *arena, str *ret_name, str *ret_value, bool *ret_bad) {
  *ret_bad = false;
  while (rest->len > 0) {
    str next, value, pair = str_split(*rest, '&', &next);
    *rest = next;
    if (pair.len == 0)
      continue;
    str name = str_split(pair, '=', &value);
    *ret_bad =
        !url_decode(name, true, false, arena, ret_name) || !url_decode(value, true, false, arena, ret_value);
    return !*ret_bad;
  }
  return false;
}

/* ---- Paths ---- */

/* A segment that a file system, or a proxy that cleans paths, would take for another place. */
static bool is_dots(str segment) {
  char plain[8];
  if (segment.len == 0 || segment.len > sizeof plain)
    return false;
  size_t len = decode_to(segment, false, false, plain);
  return (len == 1 && plain[0] == '.') || (len == 2 && plain[0] == '.' && plain[1] == '.');
}

static bool has_broken_escape(str segment) {
  for (size_t i = 0; i < segment.len; i++)
    if (segment.ptr[i] == '%' && escaped(segment, i) < 0)
      return true;
  return false;
}

bool url_path_split(str path, struct url_path *ret) {
  if (path.len == 0 || path.ptr[0] != '/')
    return false;
  ret->count = 0;
  str rest = str_from(path, 1);
  do {
    str segment = str_split(rest, '/', &rest);
    if (segment.len == 0 || ret->count == URL_SEGMENTS_MAX || is_dots(segment) || has_broken_escape(segment))
      return false;
    ret->segments[ret->count++] = segment;
  } while (rest.ptr != NULL);
  return true;
}

/* ---- Templates ---- */

struct parser {
  str rest;
  struct url_segment segments[URL_SEGMENTS_MAX];
  struct url_variable variables[URL_VARIABLES_MAX];
  size_t segment_count, variable_count, stars_count;
};

static bool is_word(char c) {
  return c != '/' && c != '{' && c != '}' && c != '*' && c != '=' && c != ':';
}

static str take_word(struct parser *p) {
  size_t len = 0;
  while (len < p->rest.len && is_word(p->rest.ptr[len]))
    len++;
  str word = str_make(p->rest.ptr, len);
  p->rest = str_from(p->rest, len);
  return word;
}

static bool take(struct parser *p, const char *text) {
  if (!str_has_prefix(p->rest, str_from_cstr(text)))
    return false;
  p->rest = str_from(p->rest, strlen(text));
  return true;
}

static bool add_segment(struct parser *p, struct url_segment segment) {
  if (p->segment_count == URL_SEGMENTS_MAX)
    return false;
  p->stars_count += segment.kind == URL_STARS;
  p->segments[p->segment_count++] = segment;
  return p->stars_count <= 1;
}

/* A literal or stars. */
static bool parse_plain(struct parser *p) {
  if (take(p, "**"))
    return add_segment(p, (struct url_segment){.kind = URL_STARS});
  if (take(p, "*"))
    return add_segment(p, (struct url_segment){.kind = URL_STAR});
  str word = take_word(p);
  return word.len > 0 && add_segment(p, (struct url_segment){.kind = URL_LITERAL, .literal = word});
}

/* Behind "{". */
static bool parse_variable(struct parser *p) {
  if (p->variable_count == URL_VARIABLES_MAX)
    return false;
  struct url_variable *variable = &p->variables[p->variable_count++];
  *variable = (struct url_variable){.field = take_word(p), .first = p->segment_count};
  if (variable->field.len == 0)
    return false;
  if (take(p, "=")) {
    do
      if (!parse_plain(p))
        return false;
    while (take(p, "/"));
  } else if (!add_segment(p, (struct url_segment){.kind = URL_STAR})) {
    return false;
  }
  variable->count = p->segment_count - variable->first;
  return take(p, "}");
}

static bool parse(struct parser *p, str *ret_verb) {
  if (!take(p, "/"))
    return false;
  do
    if (!(take(p, "{") ? parse_variable(p) : parse_plain(p)))
      return false;
  while (take(p, "/"));
  *ret_verb = STR("");
  if (take(p, ":")) {
    *ret_verb = take_word(p);
    if (ret_verb->len == 0)
      return false;
  }
  return p->rest.len == 0;
}

status url_template_parse(str text, struct arena *arena, struct url_template *ret) {
  struct parser p = {.rest = text};
  str verb;
  if (!parse(&p, &verb))
    return status_make(STATUS_INVALID_ARGUMENT, "\"" STR_FMT "\" is not a path template.", STR_ARG(text));
  struct url_segment *segments = ARENA_NEW_ARRAY(arena, struct url_segment, p.segment_count);
  struct url_variable *variables = ARENA_NEW_ARRAY(arena, struct url_variable, p.variable_count);
  if (segments == NULL || variables == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  memcpy(segments, p.segments, p.segment_count * sizeof *segments);
  memcpy(variables, p.variables, p.variable_count * sizeof *variables);
  *ret = (struct url_template){.segments = segments,
                               .segment_count = p.segment_count,
                               .variables = variables,
                               .variable_count = p.variable_count,
                               .stars = p.segment_count,
                               .verb = verb};
  for (size_t i = 0; i < p.segment_count; i++) {
    ret->literal_count += segments[i].kind == URL_LITERAL;
    if (segments[i].kind == URL_STARS)
      ret->stars = i;
  }
  return status_ok();
}

/* ---- Matching ---- */

/* The path's segment `at`, of the last one without the verb. */
static str segment_at(const struct url_template *t, const struct url_path *path, size_t at) {
  str segment = path->segments[at];
  if (at + 1 == path->count && t->verb.len > 0)
    segment.len -= t->verb.len + 1;
  return segment;
}

static bool has_verb(const struct url_template *t, const struct url_path *path) {
  str last = path->segments[path->count - 1];
  return t->verb.len == 0 || (last.len > t->verb.len + 1 && str_has_suffix(last, t->verb) &&
                              last.ptr[last.len - t->verb.len - 1] == ':');
}

/* Where the template's segment `at` begins in the path. */
static size_t place(const struct url_template *t, const struct url_path *path, size_t at) {
  return at <= t->stars ? at : at + path->count - t->segment_count;
}

static bool bind(const struct url_template *t, const struct url_path *path,
                 const struct url_variable *variable, struct arena *arena, str *ret) {
  size_t first = place(t, path, variable->first), end = place(t, path, variable->first + variable->count);
  bool is_many = variable->count > 1 || t->segments[variable->first].kind == URL_STARS;
  size_t room = 0;
  for (size_t i = first; i < end; i++)
    room += segment_at(t, path, i).len + 1;
  char *out = arena_alloc(arena, room);
  if (out == NULL)
    return false;
  size_t len = 0;
  for (size_t i = first; i < end; i++) {
    if (i > first)
      out[len++] = '/';
    len += decode_to(segment_at(t, path, i), false, is_many, out + len); /* split has checked the escapes */
  }
  *ret = str_make(out, len);
  return true;
}

bool url_template_match(const struct url_template *t, const struct url_path *path, struct arena *arena,
                        str ret_values[URL_VARIABLES_MAX]) {
  bool has_stars = t->stars < t->segment_count;
  size_t least = t->segment_count - has_stars;
  if (path->count == 0 || path->count < least || (!has_stars && path->count != t->segment_count) ||
      !has_verb(t, path))
    return false;
  for (size_t i = 0; i < t->segment_count; i++)
    if (t->segments[i].kind == URL_LITERAL &&
        !str_eq(segment_at(t, path, place(t, path, i)), t->segments[i].literal))
      return false;
  for (size_t i = 0; i < t->variable_count; i++)
    if (!bind(t, path, &t->variables[i], arena, &ret_values[i]))
      return false;
  return true;
}
