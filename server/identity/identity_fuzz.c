/* What strangers send to accounts: JSON bodies and forms of all methods, addresses, claims, custom tokens,
 * codes. The first byte chooses. Reading ends, stays within its memory, and what is taken can be read again
 * as the same. */
#include <stdlib.h>

#include "base/base64url.h"
#include "server/gateway/url.h"
#include "server/identity/fields.h"
#include "server/identity/refresh_token.h"
#include "server/json/json_read.h"
#include "server/json/json_write.h"
#include "server/tokens/custom_token.h"
#include "skerry/identity/v1/account_admin.skerry.h"
#include "skerry/identity/v1/accounts.skerry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
  do {                                                                                                       \
    if (!(condition))                                                                                        \
      abort();                                                                                               \
  } while (0)

enum { BYTES_MAX = 4 << 20, ARENA_BYTES = 4 << 20 };

/* ---- Bodies ---- */

static const struct schema *get_schema(void) {
  static struct schema *schema;
  static const struct rpc_file *const files[] = {&skerry_identity_v1_accounts_proto,
                                                 &skerry_identity_v1_account_admin_proto};
  if (schema == NULL)
    CHECK(schema_new(files, sizeof files / sizeof files[0], &schema).code == STATUS_OK);
  return schema;
}

static const struct rpc_method *method_at(size_t index) {
  size_t first = skerry_identity_v1_accounts_service.method_count;
  size_t all = first + skerry_identity_v1_account_admin_service.method_count;
  index %= all;
  return index < first ? &skerry_identity_v1_accounts_service.methods[index]
                       : &skerry_identity_v1_account_admin_service.methods[index - first];
}

static void try_body(const struct schema_message *type, str json) {
  struct buf wire = {.max_bytes = BYTES_MAX}, text = {0}, again = {.max_bytes = BYTES_MAX};
  status result = json_read_known_fields(get_schema(), type, json, &wire);
  CHECK(result.code == STATUS_OK || result.code == STATUS_INVALID_ARGUMENT ||
        result.code == STATUS_RESOURCE_EXHAUSTED);
  if (status_is_ok(&result) &&
      json_write_message(get_schema(), type, wire.len == 0 ? STR("") : buf_str(&wire), &text) &&
      !text.failed) {
    /* What was known is all that is left, so now nothing is unknown. */
    CHECK(json_read_message(get_schema(), type, buf_str(&text), &again).code == STATUS_OK);
  }
  buf_fini(&wire);
  buf_fini(&text);
  buf_fini(&again);
}

static void try_form(const struct schema_message *type, str rest) {
  struct arena arena;
  struct buf wire = {.max_bytes = BYTES_MAX};
  str name, value;
  bool is_bad;
  arena_init(&arena, NULL, 0, ARENA_BYTES);
  while (url_query_next(&rest, &arena, &name, &value, &is_bad)) {
    status result = schema_field_named(type, name) == NULL
                        ? status_ok()
                        : json_read_parameter(get_schema(), type, name, value, &wire);
    if (!status_is_ok(&result))
      break;
  }
  buf_fini(&wire);
  arena_fini(&arena);
}

/* ---- Fields ---- */

static void try_fields(str text) {
  struct arena arena;
  str once, twice;
  struct refresh_token token;
  arena_init(&arena, NULL, 0, ARENA_BYTES);
  status result = fields_canonical_email(text, &arena, &once);
  if (status_is_ok(&result)) {
    CHECK(fields_canonical_email(once, &arena, &twice).code == STATUS_OK && str_eq(once, twice));
    CHECK(memchr(once.ptr, '\n', once.len) == NULL && memchr(once.ptr, '\0', once.len) == NULL);
  }
  result = fields_canonical_claims(text, &arena, &once);
  if (status_is_ok(&result) && once.len > 0 && once.len <= FIELDS_CLAIMS_BYTES_MAX) {
    struct buf merged = {0};
    CHECK(fields_canonical_claims(once, &arena, &twice).code == STATUS_OK && str_eq(once, twice));
    CHECK(fields_append_claims(once, STR("{\"a\":1}"), &merged).code == STATUS_OK);
    buf_fini(&merged);
  }
  if (refresh_token_read(text, &token)) {
    char written[REFRESH_TOKEN_TEXT_BYTES + 1];
    refresh_token_write(&token, written);
    CHECK(str_eq(text, str_from_cstr(written)));
  }
  result = fields_check_uid(text);
  CHECK(!status_is_ok(&result) || (text.len > 0 && text.len <= FIELDS_UID_BYTES_MAX));
  result = fields_check_display_name(text);
  CHECK(!status_is_ok(&result) || text.len <= FIELDS_NAME_BYTES_MAX);
  arena_fini(&arena);
}

/* ---- Custom tokens ---- */

static void try_custom(str token) {
  struct arena arena;
  struct custom_token custom;
  arena_init(&arena, NULL, 0, ARENA_BYTES);
  status result = custom_token_verify(NULL, true, token, INT64_C(1700000000) * 1000000, &arena, &custom);
  CHECK(result.code == STATUS_OK || result.code == STATUS_INVALID_ARGUMENT ||
        result.code == STATUS_RESOURCE_EXHAUSTED);
  if (status_is_ok(&result))
    CHECK(custom.uid.len > 0 && custom.uid.len <= 128 && custom.uid.ptr[custom.uid.len] == '\0');
  arena_fini(&arena);
}

/* Not signed: what is signed is refused before its accounts are looked at, unless the signature counts. */
static void try_custom_payload(str payload) {
  struct buf token = {0};
  buf_append_str(&token, STR("eyJhbGciOiJub25lIn0.")); /* {"alg":"none"} */
  base64url_append(&token, payload);
  buf_append_byte(&token, '.');
  CHECK(!token.failed);
  try_custom(buf_str(&token));
  buf_fini(&token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  str rest = str_make(data + 2, size - 2);
  const struct schema_message *type =
      schema_find(get_schema(), str_from_cstr(method_at(data[1])->request.name));
  switch (data[0] % 4) {
  case 0:
    try_body(type, rest);
    break;
  case 1:
    try_form(type, rest);
    break;
  case 2:
    try_fields(rest);
    break;
  default:
    try_custom_payload(rest);
  }
  return 0;
}
