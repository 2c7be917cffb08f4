/* The parameter of the plug-in: what stands after --skerry_opt, split at commas.
 *
 *   opaque=pkg.A,pkg.B      these message types stay bytes in C; a file must define each of them
 *   inherited_opaque=pkg.A  the same, but a request that does not know the type is no error
 *   include_prefix=skerry/  before the names of the runtime's headers ("skerry/rpc/typed.h"); as installed
 *   protoc_gen_c=/path      the program to run for the messages; without it protoc-gen-c from PATH */
#ifndef SKERRY_CODEGEN_OPTIONS_H
#define SKERRY_CODEGEN_OPTIONS_H

#include "base/arena.h"

struct options {
  struct option_type {
    const char *name; /* without a leading dot */
    bool is_inherited;
  } * opaque;
  size_t opaque_count;
  const char *include_prefix; /* "" without */
  const char *protoc_gen_c;
};

/* False and a message in `ret_error` (in the arena) if the parameter is wrong. */
bool options_parse(struct arena *arena, const char *parameter, struct options *ret, const char **ret_error);

#endif
