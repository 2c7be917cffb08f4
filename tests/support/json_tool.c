/* The JSON mapping as a program, for the test that compares it with another implementation. Each line of
 * standard input is "w TYPE BASE64" (wire form to JSON) or "r TYPE BASE64" (JSON to wire form); the answer is
 * a line with the other form in base64, or "!" and what is wrong. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "google/firestore/v1/firestore.skerry.h"
#include "google/protobuf/field_mask.skerry.h"
#include "google/protobuf/struct.skerry.h"
#include "google/protobuf/wrappers.skerry.h"
#include "google/rpc/error_details.skerry.h"
#include "google/rpc/status.skerry.h"
#include "grpc/health/v1/health.skerry.h"
#include "grpc/reflection/v1/reflection.skerry.h"
#include "grpc/reflection/v1alpha/reflection.skerry.h"
#include "server/json/json_read.h"
#include "server/json/json_write.h"
#include "skerry/admin/v1/admin.skerry.h"
#include "skerry/identity/v1/account_admin.skerry.h"
#include "skerry/identity/v1/accounts.skerry.h"
#include "skerry/identity/v1/stored.skerry.h"
#include "skerry/test/v1/test_service.skerry.h"

static status convert(const struct schema *schema, char kind, str type, str bytes, struct buf *out) {
  const struct schema_message *message = schema_find(schema, type);
  if (message == NULL)
    return status_make(STATUS_NOT_FOUND, "no such type");
  if (kind == 'r')
    return json_read_message(schema, message, bytes, out);
  return json_write_message(schema, message, bytes, out) ? status_ok() : status_default(STATUS_INTERNAL);
}

static void answer(const struct schema *schema, char *line) {
  struct buf bytes = {0}, out = {0}, text = {0};
  char *type = strchr(line, ' '), *encoded = type == NULL ? NULL : strchr(type + 1, ' ');
  assert(encoded != NULL);
  bool decoded = base64_decode(str_from_cstr(encoded + 1), &bytes);
  assert(decoded);
  (void)decoded;
  str name = str_make(type + 1, (size_t)(encoded - type - 1));
  status result = convert(schema, line[0], name, bytes.len == 0 ? STR("") : buf_str(&bytes), &out);
  if (status_is_ok(&result)) {
    base64_encode(out.len == 0 ? STR("") : buf_str(&out), &text);
    printf(STR_FMT "\n", (int)text.len, text.len == 0 ? "" : (const char *)text.data);
  } else {
    printf("!%s\n", result.message);
  }
  buf_fini(&bytes);
  buf_fini(&out);
  buf_fini(&text);
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  const struct rpc_file *const files[] = {&google_firestore_v1_firestore_proto,
                                          &google_protobuf_field_mask_proto,
                                          &google_protobuf_struct_proto,
                                          &google_protobuf_wrappers_proto,
                                          &google_rpc_error_details_proto,
                                          &google_rpc_status_proto,
                                          &grpc_health_v1_health_proto,
                                          &skerry_admin_v1_admin_proto,
                                          &skerry_identity_v1_account_admin_proto,
                                          &skerry_identity_v1_accounts_proto,
                                          &skerry_identity_v1_stored_proto,
                                          &skerry_test_v1_test_service_proto,
                                          &grpc_reflection_v1_reflection_proto,
                                          &grpc_reflection_v1alpha_reflection_proto};
  struct schema *schema;
  status result = schema_new(files, sizeof files / sizeof files[0], &schema);
  if (!status_is_ok(&result)) {
    fprintf(stderr, "%s\n", result.message);
    return 1;
  }
  char *line = NULL;
  size_t room = 0;
  ssize_t len;
  while ((len = getline(&line, &room, stdin)) > 0) {
    if (line[len - 1] == '\n')
      line[len - 1] = '\0';
    answer(schema, line);
  }
  free(line);
  schema_free(schema);
  return 0;
}
