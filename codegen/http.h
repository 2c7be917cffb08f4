/* The google.api.http option of a method. */
#ifndef SKERRY_CODEGEN_HTTP_H
#define SKERRY_CODEGEN_HTTP_H

#include "codegen/schema.h"

/* Strings that are not given are "". */
struct http_rule {
  const char *verb, *path, *body, *response_body;
};

/* The bindings of a method, the additional ones after the first; *ret_count is 0 without the option. */
const struct http_rule *http_rules(struct schema *schema, const struct schema_place *place,
                                   const proto_method *method, size_t *ret_count);

#endif
