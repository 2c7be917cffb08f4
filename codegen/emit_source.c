/* The source: the descriptor's bytes, and per service a table of methods with typed thunks. */
#include "codegen/emit.h"
#include "codegen/names.h"

void emit_string(struct buf *out, const char *text) {
  buf_append_byte(out, '"');
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\' || c == '?') /* ? because of trigraphs */
      buf_printf(out, "\\%c", c);
    else if (c < 0x20 || c == 0x7f)
      buf_printf(out, "\\%03o", c);
    else
      buf_append_byte(out, c);
  }
  buf_append_byte(out, '"');
}

static void emit_file(struct buf *out, struct arena *arena, const struct service_file *file) {
  str bytes = file->schema->descriptor;
  buf_printf(out, "static const uint8_t descriptor[] = {");
  for (size_t i = 0; i < bytes.len; i++)
    buf_printf(out, "%s0x%02x,", i % 16 == 0 ? "\n    " : " ", (unsigned char)bytes.ptr[i]);
  buf_printf(out, "\n};\n\n");
  if (file->dependency_count > 0) {
    buf_printf(out, "static const struct rpc_file *const dependencies[] = {\n");
    for (size_t i = 0; i < file->dependency_count; i++)
      buf_printf(out, "    &%s,\n", name_of_file(arena, file->dependencies[i]));
    buf_printf(out, "};\n\n");
  }
  buf_printf(out, "const struct rpc_file %s = {\n    .name = ", file->ident);
  emit_string(out, file->name);
  buf_printf(out, ",\n    .descriptor = {(const char *)descriptor, sizeof(descriptor)},\n");
  if (file->dependency_count > 0)
    buf_printf(out, "    .dependencies = dependencies,\n");
  buf_printf(out, "    .dependency_count = %zu,\n};\n", file->dependency_count);
}

/* A call of the runtime's, passed on to the handler. */
static void emit_thunks(struct buf *out, const struct service *service, const struct service_method *method) {
  const char *f = method->function, *m = method->member;
  bool is_stream = service_streams_requests(method);
  buf_printf(out, "\nstatic bool on_%s_is_implemented(const void *handlers) {\n", f);
  buf_printf(out, "  const struct %s_handlers *h = handlers;\n", service->prefix);
  if (is_stream)
    buf_printf(out, "  return h->%s.open != NULL || h->%s.message != NULL;\n}\n", m, m);
  else
    buf_printf(out, "  return h->%s != NULL;\n}\n", m);
  buf_printf(
      out,
      "\nstatic void on_%s_message(struct rpc_call *call, const void *handlers, const void *message) {\n", f);
  buf_printf(out, "  const struct %s_handlers *h = handlers;\n", service->prefix);
  if (!is_stream) {
    buf_printf(out, "  h->%s(call, message);\n}\n", m);
    return;
  }
  buf_printf(out, "  if (h->%s.message != NULL)\n    h->%s.message(call, message);\n}\n", m, m);
  static const char *const events[] = {"open", "half_close"};
  for (size_t i = 0; i < 2; i++) {
    const char *e = events[i];
    buf_printf(out, "\nstatic void on_%s_%s(struct rpc_call *call, const void *handlers) {\n", f, e);
    buf_printf(out, "  const struct %s_handlers *h = handlers;\n", service->prefix);
    buf_printf(out, "  if (h->%s.%s != NULL)\n    h->%s.%s(call);\n}\n", m, e, m, e);
  }
}

static void emit_http(struct buf *out, const struct service_method *method) {
  if (method->http_count == 0)
    return;
  buf_printf(out, "\nstatic const struct rpc_http_rule http_%s[] = {\n", method->function);
  for (size_t i = 0; i < method->http_count; i++) {
    const struct http_rule *rule = &method->http[i];
    const char *const parts[] = {rule->verb, rule->path, rule->body, rule->response_body};
    buf_printf(out, "    {");
    for (size_t k = 0; k < 4; k++) {
      buf_append_str(out, k == 0 ? STR("") : STR(", "));
      emit_string(out, parts[k]);
    }
    buf_printf(out, "},\n");
  }
  buf_printf(out, "};\n");
}

static void emit_type(struct buf *out, const char *member, const struct service_type *type) {
  buf_printf(out, "        .%s = {\"%s\", ", member, type->full_name);
  if (type->is_opaque)
    buf_printf(out, "NULL},\n");
  else
    buf_printf(out, "&%s__descriptor},\n", type->lower);
}

static void emit_method(struct buf *out, const struct service *service, const struct service_method *method) {
  static const char *const kinds[] = {"RPC_UNARY", "RPC_SERVER_STREAM", "RPC_CLIENT_STREAM", "RPC_BIDI"};
  buf_printf(out, "    [%s] = {\n", method->constant);
  buf_printf(out, "        .name = \"%s\",\n", method->name);
  buf_printf(out, "        .path = \"/%s/%s\",\n", service->full_name, method->name);
  buf_printf(out, "        .service = &%s_service,\n", service->prefix);
  buf_printf(out, "        .kind = %s,\n", kinds[method->kind]);
  emit_type(out, "request", &method->request);
  emit_type(out, "response", &method->response);
  if (method->http_count > 0)
    buf_printf(out, "        .http = http_%s,\n        .http_count = %zu,\n", method->function,
               method->http_count);
  buf_printf(out, "        .is_implemented = on_%s_is_implemented,\n", method->function);
  buf_printf(out, "        .message = on_%s_message,\n", method->function);
  if (service_streams_requests(method)) {
    buf_printf(out, "        .open = on_%s_open,\n", method->function);
    buf_printf(out, "        .half_close = on_%s_half_close,\n", method->function);
  }
  buf_printf(out, "    },\n");
}

static void emit_service(struct buf *out, const struct service_file *file, const struct service *service) {
  buf_printf(out, "\n/* ---- service %s ---- */\n", service->full_name);
  for (size_t i = 0; i < service->method_count; i++) {
    emit_thunks(out, service, &service->methods[i]);
    emit_http(out, &service->methods[i]);
  }
  if (service->method_count > 0) {
    buf_printf(out, "\nstatic const struct rpc_method %s_methods[] = {\n", service->prefix);
    for (size_t i = 0; i < service->method_count; i++)
      emit_method(out, service, &service->methods[i]);
    buf_printf(out, "};\n");
  }
  buf_printf(out, "\nconst struct rpc_service %s_service = {\n", service->prefix);
  buf_printf(out, "    .name = \"%s\",\n", service->full_name);
  if (service->method_count > 0)
    buf_printf(out, "    .methods = %s_methods,\n", service->prefix);
  buf_printf(out, "    .method_count = %zu,\n", service->method_count);
  buf_printf(out, "    .file = &%s,\n};\n", file->ident);
}

void emit_source(struct buf *out, struct arena *arena, const struct service_file *file) {
  buf_printf(out, "/* Generated by protoc-gen-skerry from %s. Do not edit. */\n", file->name);
  buf_printf(out, "#include \"%s.skerry.h\"\n\n", file->base);
  for (size_t i = 0; i < file->dependency_count; i++)
    buf_printf(out, "#include \"%s.skerry.h\"\n", name_without_proto(arena, file->dependencies[i]));
  buf_append_str(out, file->dependency_count > 0 ? STR("\n") : STR(""));
  emit_file(out, arena, file);
  for (size_t i = 0; i < file->service_count; i++)
    emit_service(out, file, &file->services[i]);
}
