#include "codegen/options.h"

#include "codegen/names.h"

enum option {
  OPTION_NONE,
  OPTION_OPAQUE,
  OPTION_INHERITED_OPAQUE,
  OPTION_INCLUDE_PREFIX,
  OPTION_PROTOC_GEN_C
};

static const struct {
  const char *name;
  enum option option;
} known[] = {
    {"opaque", OPTION_OPAQUE},
    {"inherited_opaque", OPTION_INHERITED_OPAQUE},
    {"include_prefix", OPTION_INCLUDE_PREFIX},
    {"protoc_gen_c", OPTION_PROTOC_GEN_C},
};

static enum option find(str name) {
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
    if (str_eq(name, str_from_cstr(known[i].name)))
      return known[i].option;
  }
  return OPTION_NONE;
}

bool options_parse(struct arena *arena, const char *parameter, struct options *ret, const char **ret_error) {
  struct options options = {.include_prefix = "", .protoc_gen_c = "protoc-gen-c"};
  str rest = str_from_cstr(parameter);
  options.opaque = arena_calloc(arena, rest.len / 2 + 1, sizeof(*options.opaque));
  enum option option = OPTION_NONE;
  while (rest.len > 0) {
    str item = str_split(rest, ',', &rest);
    if (item.len == 0)
      continue;
    str value;
    str name = str_split(item, '=', &value);
    if (name.len < item.len)
      option = find(name);
    else if (option == OPTION_OPAQUE || option == OPTION_INHERITED_OPAQUE)
      value = item; /* one more of the list */
    else
      option = OPTION_NONE;
    if (option == OPTION_NONE || value.len == 0) {
      *ret_error = name_printf(arena,
                               "unknown parameter \"" STR_FMT "\"; there are opaque=TYPE[,TYPE...], "
                               "inherited_opaque=TYPE[,TYPE...], include_prefix=DIR/ and protoc_gen_c=PATH",
                               STR_ARG(item));
      return false;
    }
    if (option == OPTION_PROTOC_GEN_C || option == OPTION_INCLUDE_PREFIX) {
      *(option == OPTION_PROTOC_GEN_C ? &options.protoc_gen_c : &options.include_prefix) =
          name_copy(arena, value);
      continue;
    }
    if (value.ptr[0] == '.')
      value = str_from(value, 1);
    options.opaque[options.opaque_count++] =
        (struct option_type){name_copy(arena, value), option == OPTION_INHERITED_OPAQUE};
  }
  *ret = options;
  return true;
}
