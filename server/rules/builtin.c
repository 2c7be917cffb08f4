#include "server/rules/builtin.h"

static const struct rules_builtin_info infos[] = {
#define X(id, name, space, least, most) [id] = {name, space, least, most},
    RULES_BUILTINS(X)
#undef X
};

const struct rules_builtin_info *rules_builtin_info(enum rules_builtin id) {
  return &infos[id];
}

enum rules_builtin rules_builtin_find(str space, str name) {
  for (unsigned id = 0; id < RULES_BUILTIN_COUNT; id++)
    if (str_eq(name, str_from_cstr(infos[id].name)) && str_eq(space, str_from_cstr(infos[id].space)))
      return (enum rules_builtin)id;
  return RULES_BUILTIN_COUNT;
}

bool rules_builtin_is_space(str name) {
  static const char *const spaces[] = {"math", "timestamp", "duration", "latlng", "hashing", "firestore"};
  for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
    if (str_eq(name, str_from_cstr(spaces[i])))
      return true;
  return false;
}
