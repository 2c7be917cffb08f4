#include "codegen/service.h"

#include "codegen/names.h"

/* Field numbers in descriptor.proto, for places. */
enum { FILE_SERVICE = 6, SERVICE_METHOD = 2 };

static const char *comment_at(const struct schema_place *place) {
  const proto_location *location = schema_location(place);
  if (location == NULL)
    return NULL;
  return location->leading_comments != NULL ? location->leading_comments : location->trailing_comments;
}

static struct service_type type_of(struct schema *schema, const struct schema_place *place,
                                   const char *name) {
  bool is_opaque = schema_is_opaque(schema, name);
  if (!is_opaque && schema_is_inside_opaque(schema, name))
    schema_error(
        schema, place,
        "%s lies inside of an opaque message and is left out of the C code: move that type out, or make "
        "it opaque too",
        name + 1);
  return (struct service_type){
      .full_name = name + 1,
      .c_type = is_opaque ? "str" : schema_type_name(schema, name),
      .lower = is_opaque ? NULL : schema_type_lower(schema, name),
      .is_opaque = is_opaque,
  };
}

static enum rpc_method_kind kind_of(const proto_method *method) {
  bool requests = method->has_client_streaming && method->client_streaming;
  bool responses = method->has_server_streaming && method->server_streaming;
  if (requests)
    return responses ? RPC_BIDI : RPC_CLIENT_STREAM;
  return responses ? RPC_SERVER_STREAM : RPC_UNARY;
}

/* What a method of each kind defines beside its constant, as endings of its function's name. */
static const char *const endings[][8] = {
    [RPC_UNARY] = {"_reply", "_call", "_start"},
    [RPC_SERVER_STREAM] = {"_send", "_open", "_stream", "_receive", "_cancel", "_finish"},
    [RPC_CLIENT_STREAM] = {"_reply", "_open", "_stream", "_send_request", "_cancel", "_finish"},
    [RPC_BIDI] = {"_send", "_open", "_stream", "_send_request", "_half_close", "_receive", "_cancel",
                  "_finish"},
};

static void claim_method(struct schema *schema, const struct schema_place *place,
                         const struct service_method *method) {
  const char *what = name_printf(schema->arena, "method %s", method->name);
  size_t errors_before = schema->errors.len;
  schema_claim(schema, place, method->constant, what);
  for (size_t i = 0; i < 8 && endings[method->kind][i] != NULL; i++) {
    if (schema->errors.len != errors_before)
      return; /* one clash says it all */
    const char *ending = endings[method->kind][i];
    const char *bytes = i == 0 && method->response.is_opaque ? "_bytes" : "";
    schema_claim(schema, place, name_printf(schema->arena, "%s%s%s", method->function, ending, bytes), what);
  }
}

static void make_method(struct schema *schema, struct schema_place place, const struct service *service,
                        const proto_method *proto, struct service_method *ret) {
  struct arena *arena = schema->arena;
  const char *snake = name_snake(arena, proto->name);
  *ret = (struct service_method){
      .name = proto->name,
      .member = name_member(arena, snake),
      .function = name_printf(arena, "%s_%s", service->prefix, snake),
      .comment = comment_at(&place),
      .kind = kind_of(proto),
      .request = type_of(schema, &place, proto->input_type),
      .response = type_of(schema, &place, proto->output_type),
  };
  ret->constant = name_upper(arena, ret->function);
  ret->http = http_rules(schema, &place, proto, &ret->http_count);
  claim_method(schema, &place, ret);
}

static void make_service(struct schema *schema, const struct schema_file *file, size_t index,
                         struct service *ret) {
  const proto_service *proto = file->proto->service[index];
  struct arena *arena = schema->arena;
  const char *package = file->proto->package == NULL ? "" : file->proto->package;
  struct schema_place place = schema_place_in(schema_place(file), FILE_SERVICE, index);
  ret->full_name = name_printf(arena, "%s%s%s", package, package[0] == '\0' ? "" : ".", proto->name);
  ret->prefix = name_prefix(arena, ret->full_name);
  ret->constant = name_upper(arena, ret->prefix);
  ret->comment = comment_at(&place);
  const char *what = name_printf(arena, "service %s", proto->name);
  size_t errors_before = schema->errors.len;
  const char *const names[] = {
      name_printf(arena, "%s_handlers", ret->prefix),
      name_printf(arena, "%s_service", ret->prefix),
      name_printf(arena, "%s_METHOD_COUNT", ret->constant),
  };
  for (size_t i = 0; i < 3 && schema->errors.len == errors_before; i++)
    schema_claim(schema, &place, names[i], what);
  ret->method_count = proto->n_method;
  ret->methods = schema_alloc(schema, proto->n_method + 1, sizeof(*ret->methods));
  for (size_t i = 0; i < proto->n_method; i++)
    make_method(schema, schema_place_in(place, SERVICE_METHOD, i), ret, proto->method[i], &ret->methods[i]);
}

static void make_file(struct schema *schema, const struct schema_file *file, struct service_file *ret) {
  const proto_file *proto = file->proto;
  struct schema_place place = schema_place(file);
  *ret = (struct service_file){
      .schema = file,
      .name = proto->name,
      .base = name_without_proto(schema->arena, proto->name),
      .ident = name_of_file(schema->arena, proto->name),
      .services = schema_alloc(schema, proto->n_service + 1, sizeof(*ret->services)),
      .service_count = proto->n_service,
      .dependencies = (const char *const *)proto->dependency,
      .dependency_count = proto->n_dependency,
  };
  schema_claim(schema, &place, ret->ident, "the file");
  for (size_t i = 0; i < proto->n_service; i++)
    make_service(schema, file, i, &ret->services[i]);
}

struct service_file *service_files(struct schema *schema, size_t *ret_count) {
  struct service_file *files = schema_alloc(schema, schema->file_count + 1, sizeof(*files));
  size_t count = 0;
  for (size_t i = 0; i < schema->file_count; i++) {
    if (schema->files[i].is_generated)
      make_file(schema, &schema->files[i], &files[count++]);
  }
  *ret_count = count;
  return files;
}
