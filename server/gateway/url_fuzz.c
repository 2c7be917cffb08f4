/* The first line is a template, the second a path, the third a query string. */
#include <assert.h>
#include <stddef.h>

#include "server/gateway/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  _Alignas(max_align_t) char block[1024];
  struct arena arena;
  arena_init(&arena, block, sizeof block, 1 << 20);
  str rest = str_make(data, size), name, value, values[URL_VARIABLES_MAX];
  str template = str_split(rest, '\n', &rest), path = str_split(rest, '\n', &rest);
  struct url_template parsed;
  struct url_path split;
  bool is_bad;
  status result = url_template_parse(template, &arena, &parsed);
  bool is_path = url_path_split(path, &split);
  if (status_is_ok(&result) && is_path && url_template_match(&parsed, &split, &arena, values)) {
    for (size_t i = 0; i < parsed.variable_count; i++)
      assert(values[i].len <= path.len);
    for (size_t i = 0; i < split.count; i++)
      assert(!str_eq(split.segments[i], STR("..")) && split.segments[i].len > 0);
  }
  while (url_query_next(&rest, &arena, &name, &value, &is_bad))
    assert(name.len + value.len <= size);
  arena_fini(&arena);
  return 0;
}
