/* URLs: the path templates of google.api.http, percent-encoding, query strings. No I/O; any thread.
 *
 * A template is a path such as "/v1/{field.path}/things/{name=STARS}:verb": literals; `*`, which stands for
 * one segment, and `**`, for any number of them (once, at most); variables that bind what matched, one
 * segment if they do not say what; and a verb at the end (proto/google/api/http.proto). */
#ifndef SKERRY_SERVER_GATEWAY_URL_H
#define SKERRY_SERVER_GATEWAY_URL_H

#include "base/arena.h"
#include "base/status.h"

enum { URL_SEGMENTS_MAX = 256, URL_VARIABLES_MAX = 8 };

struct url_segment {
  enum { URL_LITERAL, URL_STAR, URL_STARS } kind;
  str literal;
};

struct url_variable {
  str field; /* "document.name" */
  size_t first, count;
};

struct url_template {
  const struct url_segment *segments;
  size_t segment_count, literal_count;
  const struct url_variable *variables;
  size_t variable_count;
  size_t stars; /* the segment that is `**`; segment_count: none */
  str verb;     /* empty: none */
};

/* A path's segments as they stand in the request, still encoded. */
struct url_path {
  str segments[URL_SEGMENTS_MAX];
  size_t count;
};

/* INVALID_ARGUMENT: the text is no template. Everything is in the arena, but literals are in the text. */
STATUS_MUST_USE status url_template_parse(str text, struct arena *arena, struct url_template *ret);

/* Takes "/a/b" apart. False: it does not begin with a slash, has an empty segment, one that is "." or ".."
 * (encoded or not), a broken escape, or more than URL_SEGMENTS_MAX. */
bool url_path_split(str path, struct url_path *ret);

/* Whether the template matches; then ret_values has the decoded values of its variables, in order, in the
 * arena. In a value of several segments "%2F" stays as it is. False with arena->exhausted: no memory. */
bool url_template_match(const struct url_template *t, const struct url_path *path, struct arena *arena,
                        str ret_values[URL_VARIABLES_MAX]);

/* Percent-decodes; `plus_is_space` for query strings, `keep_slash` leaves "%2F". False: a broken escape, or
 * no memory. */
bool url_decode(str text, bool plus_is_space, bool keep_slash, struct arena *arena, str *ret);

/* Takes the next "name=value" off a query string, decoded; empty ones are passed over. False: the end, or
 * with *ret_bad a broken escape or no memory. */
bool url_query_next(str *rest, struct arena *arena, str *ret_name, str *ret_value, bool *ret_bad);

#endif
