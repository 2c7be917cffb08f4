/* JSON by the bindings of google.api.http: the request's message from the path, the query and the body. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "google/protobuf/field_mask.skerry.h"
#include "google/protobuf/struct.skerry.h"
#include "google/protobuf/wrappers.skerry.h"
#include "google/rpc/error_details.skerry.h"
#include "google/rpc/status.skerry.h"
#include "server/gateway/call.h"
#include "server/gateway/gateway_inside.h"
#include "server/json/json_read.h"

enum { PARAMETERS_MAX = 1000, WIRE_MORE = 4 };

/* ---- At start ---- */

struct collector {
  struct gateway *gateway;
  const struct rpc_file **files;
  size_t file_count;
  size_t capacity; /* of the bindings */
  status failure;
};

static bool can_be_called(const struct rpc_method *method) {
  return method->kind == RPC_UNARY || method->kind == RPC_SERVER_STREAM;
}

static void count_method(void *argument, const struct rpc_method_stats *stats) {
  struct collector *c = argument;
  c->file_count++;
  c->capacity += can_be_called(stats->method) ? stats->method->http_count : 0;
}

static bool is_lenient(const struct gateway *gateway, const struct rpc_method *method) {
  for (size_t i = 0; i < gateway->options.lenient_service_count; i++)
    if (strcmp(gateway->options.lenient_services[i], method->service->name) == 0)
      return true;
  return false;
}

static void add_method(void *argument, const struct rpc_method_stats *stats) {
  struct collector *c = argument;
  struct gateway *gateway = c->gateway;
  const struct rpc_method *method = stats->method;
  c->files[c->file_count++] = method->service->file;
  for (size_t i = 0; i < method->http_count && can_be_called(method) && status_is_ok(&c->failure); i++) {
    const struct rpc_http_rule *rule = &method->http[i];
    struct binding *binding = &gateway->bindings[gateway->binding_count];
    *binding = (struct binding){.method = method,
                                .verb = rule->verb,
                                .body = str_from_cstr(rule->body),
                                .is_lenient = is_lenient(gateway, method)};
    c->failure = url_template_parse(str_from_cstr(rule->path), &gateway->arena, &binding->path);
    if (status_is_ok(&c->failure) && *rule->response_body != '\0')
      c->failure = status_make(STATUS_FAILED_PRECONDITION,
                               "The http binding of %s has a response_body, which "
                               "this server does not serve.",
                               method->path);
    if (status_is_ok(&c->failure))
      gateway->binding_count++;
  }
}

/* The more a template says, the earlier it is asked. */
static int compare(const void *a, const void *b) {
  const struct binding *left = a, *right = b;
  bool left_verb = left->path.verb.len > 0, right_verb = right->path.verb.len > 0;
  if (left_verb != right_verb)
    return left_verb ? -1 : 1;
  if (left->path.literal_count != right->path.literal_count)
    return left->path.literal_count > right->path.literal_count ? -1 : 1;
  return left < right ? -1 : 1;
}

/* Their fields and their bodies' must exist: nobody wants to hear of it from a client. */
static status check_bindings(const struct gateway *gateway) {
  for (size_t i = 0; i < gateway->binding_count; i++) {
    const struct binding *b = &gateway->bindings[i];
    const struct schema_message *type = schema_find(gateway->schema, str_from_cstr(b->method->request.name));
    bool is_field = b->body.len > 0 && !str_eq(b->body, STR("*"));
    if (type == NULL || (is_field && schema_field_named(type, b->body) == NULL))
      return status_make(STATUS_FAILED_PRECONDITION,
                         "The http binding of %s names a body that its request does not have.",
                         b->method->path);
    for (size_t v = 0; v < b->path.variable_count; v++) {
      struct buf ignored = {0};
      status known =
          json_read_parameter(gateway->schema, type, b->path.variables[v].field, STR("0"), &ignored);
      buf_fini(&ignored);
      if (!status_is_ok(&known))
        return status_make(STATUS_FAILED_PRECONDITION, "The http binding of %s: %s", b->method->path,
                           known.message);
    }
  }
  return status_ok();
}

status rest_init(struct gateway *gateway) {
  struct collector c = {.gateway = gateway, .failure = status_ok()};
  rpc_server_visit_methods(gateway->options.rpc, count_method, &c);
  /* What details of errors and values of any type may be. */
  const struct rpc_file *const more[] = {&google_rpc_error_details_proto, &google_rpc_status_proto,
                                         &google_protobuf_struct_proto, &google_protobuf_wrappers_proto,
                                         &google_protobuf_field_mask_proto};
  size_t more_count = sizeof more / sizeof more[0];
  c.files = calloc(c.file_count + more_count, sizeof *c.files);
  gateway->bindings = ARENA_NEW_ARRAY(&gateway->arena, struct binding, c.capacity);
  if (c.files == NULL || gateway->bindings == NULL) {
    free(c.files);
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  }
  c.file_count = 0;
  rpc_server_visit_methods(gateway->options.rpc, add_method, &c);
  memcpy(c.files + c.file_count, more, sizeof more);
  if (status_is_ok(&c.failure))
    c.failure = schema_new(c.files, c.file_count + more_count, &gateway->schema);
  free(c.files);
  STATUS_TRY(c.failure);
  if (gateway->binding_count > 0)
    qsort(gateway->bindings, gateway->binding_count, sizeof *gateway->bindings, compare);
  return check_bindings(gateway);
}

/* ---- The request's message ---- */

/* Of Google's APIs: they concern the transport, and this one has one answer to them. */
static bool is_system_parameter(str name) {
  static const char *const names[] = {"$alt",      "$prettyPrint", "$.xgafv",        "access_token",
                                      "alt",       "key",          "oauth_token",    "prettyPrint",
                                      "quotaUser", "uploadType",   "upload_protocol"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (str_eq(name, str_from_cstr(names[i])))
      return true;
  return false;
}

static status read_query(struct exchange *ex, const struct binding *b, const struct schema_message *type,
                         struct buf *wire) {
  str name, value, rest = ex->query;
  bool is_bad;
  for (unsigned count = 0; url_query_next(&rest, &ex->arena, &name, &value, &is_bad); count++) {
    if (count == PARAMETERS_MAX)
      return status_make(STATUS_INVALID_ARGUMENT, "The URL has more than %d parameters.",
                         (int)PARAMETERS_MAX);
    if (is_system_parameter(name) || (b->is_lenient && str_eq(b->body, STR("*"))))
      continue;
    if (str_eq(b->body, STR("*")))
      return status_make(STATUS_INVALID_ARGUMENT,
                         "This method takes its fields from the body; the URL has the parameter \"" STR_FMT
                         "\".",
                         STR_ARG(utf8_cut(name, JSON_NAME_SHOWN_BYTES)));
    STATUS_TRY(json_read_parameter(ex->gateway->schema, type, name, value, wire));
  }
  if (is_bad)
    return status_make(STATUS_INVALID_ARGUMENT, "The URL's parameters are not well formed.");
  return status_ok();
}

static bool has_form(const struct exchange *ex) {
  static const char form[] = "application/x-www-form-urlencoded";
  const char *type = exchange_header(ex, "content-type");
  return type != NULL && strncasecmp(type, form, sizeof form - 1) == 0;
}

static status read_form(struct exchange *ex, const struct schema_message *type, str rest, struct buf *wire) {
  str name, value;
  bool is_bad;
  for (unsigned count = 0; url_query_next(&rest, &ex->arena, &name, &value, &is_bad); count++) {
    if (count == PARAMETERS_MAX)
      return status_make(STATUS_INVALID_ARGUMENT, "The form has more than %d fields.", (int)PARAMETERS_MAX);
    if (schema_field_named(type, name) != NULL)
      STATUS_TRY(json_read_parameter(ex->gateway->schema, type, name, value, wire));
  }
  return is_bad ? status_make(STATUS_INVALID_ARGUMENT, "The form is not well formed.") : status_ok();
}

static status read_body(struct exchange *ex, const struct binding *b, const struct schema_message *type,
                        struct buf *wire) {
  str json = ex->body.len == 0 ? STR("") : buf_str(&ex->body);
  if (b->is_lenient && str_eq(b->body, STR("*")))
    return ex->is_form ? read_form(ex, type, json, wire)
                       : json_read_known_fields(ex->gateway->schema, type, json, wire);
  if (str_eq(b->body, STR("*")))
    return json_read_message(ex->gateway->schema, type, json, wire);
  if (b->body.len > 0)
    return json_read_field(ex->gateway->schema, schema_field_named(type, b->body), json, wire);
  return status_ok(); /* a body that nobody asked for, as some clients send with DELETE */
}

/* What stands in the path counts, whatever the body says: it comes last, and the last of a field counts. */
static status read_request(const struct call_request *request, rpc_message *ret) {
  struct exchange *ex = request->ex;
  const struct binding *b = request->binding;
  const struct schema_message *type =
      schema_find(ex->gateway->schema, str_from_cstr(b->method->request.name));
  size_t most = ex->gateway->options.message_bytes_max;
  struct buf wire = {.max_bytes = most}, merged = {.max_bytes = most};
  status result = read_body(ex, b, type, &wire);
  if (status_is_ok(&result))
    result = read_query(ex, b, type, &wire);
  for (size_t i = 0; i < b->path.variable_count && status_is_ok(&result); i++)
    result =
        json_read_parameter(ex->gateway->schema, type, b->path.variables[i].field, request->values[i], &wire);
  if (status_is_ok(&result)) {
    json_merge_fields(type, wire.len == 0 ? STR("") : buf_str(&wire), &merged);
    if (wire.failed || merged.failed || !rpc_message_alloc(merged.len, ret))
      result = status_make(STATUS_RESOURCE_EXHAUSTED,
                           "The message is larger than %zu bytes, or memory is out.", most);
    else if (merged.len > 0)
      memcpy(ret->data, merged.data, merged.len);
  }
  buf_fini(&wire);
  buf_fini(&merged);
  return result;
}

/* ---- Which binding ---- */

static bool all_fit(const struct gateway *gateway, const struct binding *b, const str *values) {
  for (size_t i = 0; i < b->path.variable_count && gateway->options.fits != NULL; i++)
    if (!gateway->options.fits(b->method, b->path.variables[i].field, values[i]))
      return false;
  return true;
}

static const struct binding *find(struct exchange *ex, const char *verb, const struct url_path *path,
                                  str values[URL_VARIABLES_MAX]) {
  const struct gateway *gateway = ex->gateway;
  for (size_t i = 0; i < gateway->binding_count && !ex->arena.exhausted; i++) {
    const struct binding *b = &gateway->bindings[i];
    if (strcmp(b->verb, verb) == 0 && url_template_match(&b->path, path, &ex->arena, values) &&
        all_fit(gateway, b, values))
      return b;
  }
  return NULL;
}

bool rest_matches(struct exchange *ex, const char *verb, const struct url_path *path) {
  str values[URL_VARIABLES_MAX];
  return find(ex, verb, path, values) != NULL;
}

bool rest_dispatch(struct exchange *ex, const char *verb, const struct url_path *path) {
  struct call_request request = {.ex = ex, .form = CALL_JSON, .content_type = "", .read = read_request};
  request.binding = find(ex, verb, path, request.values);
  if (request.binding == NULL)
    return false;
  ex->is_lenient = request.binding->is_lenient;
  ex->is_form = ex->is_lenient && has_form(ex);
  request.method = request.binding->method;
  call_start(&request);
  return true;
}
