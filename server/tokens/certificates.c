#include "server/tokens/certificates.h"

#include "server/tokens/jwt.h"

static status wrong(str rule, const char *what) {
  return status_make(STATUS_INVALID_ARGUMENT, "certificate \"" STR_FMT "\": %s", STR_ARG(rule), what);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Colons between the bytes are allowed, as tools print them. */
static bool parse_fingerprint(str text, uint8_t out[32]) {
  size_t bytes = 0, at = 0;
  while (bytes < 32 && at + 1 < text.len) {
    int high = hex_digit(text.ptr[at]), low = hex_digit(text.ptr[at + 1]);
    if (high < 0 || low < 0)
      return false;
    out[bytes++] = (uint8_t)(high << 4 | low);
    at += 2;
    if (at < text.len && text.ptr[at] == ':' && bytes < 32)
      at++;
  }
  return bytes == 32 && at == text.len;
}

static bool keep(struct arena *arena, str text, str *ret) {
  *ret = arena_str_copy(arena, text);
  return ret->ptr != NULL;
}

/* The name may have spaces: what follows the last one says what it is for. */
status certificate_rule_parse(str text, struct arena *arena, struct certificate_rule *ret) {
  struct certificate_rule rule = {0};
  while (text.len > 0 && text.ptr[0] == ' ')
    text = str_from(text, 1);
  while (text.len > 0 && text.ptr[text.len - 1] == ' ')
    text.len--;
  size_t end = text.len;
  while (end > 0 && text.ptr[end - 1] != ' ')
    end--;
  str name = str_make(text.ptr, end), meaning = str_from(text, end), value;
  while (name.len > 0 && name.ptr[name.len - 1] == ' ')
    name.len--;
  if (name.len == 0 || meaning.len == 0)
    return wrong(text, "say NAME role=viewer|editor|owner or NAME uid=UID");
  str option = str_split(meaning, '=', &value);
  if (str_eq(option, STR("role"))) {
    if (!identity_role_parse(value, &rule.role))
      return wrong(text, "a role is one of viewer, editor and owner");
  } else if (str_eq(option, STR("uid"))) {
    if (value.len == 0 || value.len > JWT_SUBJECT_BYTES_MAX)
      return wrong(text, "a uid has 1 to 128 bytes");
    if (!str_eq(value, STR("*")) && !keep(arena, value, &rule.uid))
      return status_default(STATUS_RESOURCE_EXHAUSTED);
  } else {
    return wrong(text, "say NAME role=viewer|editor|owner or NAME uid=UID");
  }
  rule.any = str_eq(name, STR("*"));
  rule.by_fingerprint = str_has_prefix(name, STR("sha256:"));
  if (rule.by_fingerprint && !parse_fingerprint(str_from(name, 7), rule.sha256))
    return wrong(text, "after sha256: there are 64 hex digits");
  if (!rule.any && !rule.by_fingerprint && name.len > CERTIFICATE_NAME_BYTES_MAX)
    return wrong(text, "a name has at most 94 bytes. Use sha256:HEX (`skerry cert show` prints it)");
  if (!keep(arena, name, &rule.name))
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  *ret = rule;
  return status_ok();
}

const struct certificate_rule *certificate_rule_find(const struct certificate_rule *rules, size_t count,
                                                     str name, const uint8_t sha256[32]) {
  for (size_t i = 0; i < count; i++) {
    const struct certificate_rule *rule = &rules[i];
    bool fits = rule->any              ? true
                : rule->by_fingerprint ? memcmp(rule->sha256, sha256, sizeof rule->sha256) == 0
                                       : str_eq(rule->name, name);
    /* Without a name of its own a certificate is nobody in particular, and one that was cut off may be two.
     */
    bool named = name.len > 0 && name.len <= CERTIFICATE_NAME_BYTES_MAX;
    if (fits && (rule->uid.len > 0 || named))
      return rule;
  }
  return NULL;
}
