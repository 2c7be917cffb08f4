#include "codegen/http.h"

#include "codegen/names.h"
#include "codegen/wire_read.h"

/* google/api/annotations.proto and http.proto */
enum {
  METHOD_OPTIONS_HTTP = 72295728,
  RULE_CUSTOM = 8,
  RULE_BODY = 7,
  RULE_ADDITIONAL_BINDINGS = 11,
  RULE_RESPONSE_BODY = 12,
  CUSTOM_KIND = 1,
  CUSTOM_PATH = 2,
  RULES_MAX = 100 /* of one method */
};

/* Members of the rule's oneof, by field number. */
static const char *const verbs[] = {NULL, NULL, "GET", "PUT", "POST", "DELETE", "PATCH"};

struct rules {
  struct schema *schema;
  const struct schema_place *place;
  struct http_rule rules[RULES_MAX];
  size_t count;
};

static void read_custom(struct rules *rules, str bytes, struct http_rule *rule) {
  for (struct wire_field field; wire_next(&bytes, &field);) {
    if (field.number == CUSTOM_KIND)
      rule->verb = name_copy(rules->schema->arena, field.bytes);
    else if (field.number == CUSTOM_PATH)
      rule->path = name_copy(rules->schema->arena, field.bytes);
  }
}

/* Reads a rule and the additional ones in it, which by definition have none of their own. */
static void read_rule(struct rules *rules, str bytes, bool is_additional) {
  if (rules->count == RULES_MAX) {
    schema_error(rules->schema, rules->place, "more than %d http bindings", RULES_MAX);
    return;
  }
  struct http_rule *rule = &rules->rules[rules->count++];
  *rule = (struct http_rule){"", "", "", ""};
  for (struct wire_field field; wire_next(&bytes, &field);) {
    if (field.type != WIRE_BYTES)
      continue;
    if (field.number < sizeof(verbs) / sizeof(verbs[0]) && verbs[field.number] != NULL) {
      rule->verb = verbs[field.number];
      rule->path = name_copy(rules->schema->arena, field.bytes);
    } else if (field.number == RULE_CUSTOM) {
      read_custom(rules, field.bytes, rule);
    } else if (field.number == RULE_BODY) {
      rule->body = name_copy(rules->schema->arena, field.bytes);
    } else if (field.number == RULE_RESPONSE_BODY) {
      rule->response_body = name_copy(rules->schema->arena, field.bytes);
    } else if (field.number == RULE_ADDITIONAL_BINDINGS && is_additional) {
      schema_error(rules->schema, rules->place, "additional_bindings inside of additional_bindings");
    } else if (field.number == RULE_ADDITIONAL_BINDINGS) {
      read_rule(rules, field.bytes, true);
    }
  }
  if (rule->path[0] != '/')
    schema_error(rules->schema, rules->place,
                 "the http binding has the path \"%s\": give it a verb and a path that starts with /, as in "
                 "get: \"/v1/things\"",
                 rule->path);
}

/* The option's bytes. It may come in pieces, which are one message when put together. */
static struct buf option_bytes(const proto_method *method) {
  struct buf bytes = {0};
  for (unsigned i = 0; method->options != NULL && i < method->options->base.n_unknown_fields; i++) {
    const ProtobufCMessageUnknownField *unknown = &method->options->base.unknown_fields[i];
    str rest = str_make(unknown->data, unknown->len); /* begins with the length */
    uint64_t len;
    if (unknown->tag == METHOD_OPTIONS_HTTP && wire_varint(&rest, &len) && len == rest.len)
      buf_append_str(&bytes, rest);
  }
  return bytes;
}

const struct http_rule *http_rules(struct schema *schema, const struct schema_place *place,
                                   const proto_method *method, size_t *ret_count) {
  struct buf bytes = option_bytes(method);
  struct rules *rules = schema_alloc(schema, 1, sizeof(*rules));
  rules->schema = schema;
  rules->place = place;
  if (bytes.len > 0)
    read_rule(rules, buf_str(&bytes), false);
  buf_fini(&bytes);
  *ret_count = rules->count;
  return rules->rules;
}
