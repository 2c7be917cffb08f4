/* The header: what a handler's author and a caller read, so it is written to be read. */
#include "codegen/emit.h"

/* A comment of the .proto as one of C. */
static void emit_comment(struct buf *out, const char *indent, const char *comment) {
  if (comment == NULL)
    return;
  str rest = str_from_cstr(comment);
  while (rest.len > 0 && (rest.ptr[rest.len - 1] == '\n' || rest.ptr[rest.len - 1] == ' '))
    rest.len--;
  const char *begin = "/*";
  while (rest.len > 0) {
    str line = str_split(rest, '\n', &rest);
    buf_printf(out, "%s%s", indent, begin);
    if (line.len > 0 && line.ptr[0] != ' ')
      buf_append_byte(out, ' ');
    for (size_t i = 0; i < line.len; i++) {
      char previous = i == 0 ? '*' : line.ptr[i - 1], c = line.ptr[i];
      bool is_mark = (previous == '*' && c == '/') || (previous == '/' && c == '*');
      bool is_trigraph = previous == '?' && c == '?';
      if (is_mark || is_trigraph)
        buf_append_byte(out, ' ');
      if (c != '\r')
        buf_append_byte(out, (uint8_t)c);
    }
    buf_append_str(out, rest.len > 0 ? STR("\n") : STR(" */\n"));
    begin = " *";
  }
}

static void emit_handler(struct buf *out, const struct service_method *method) {
  emit_comment(out, "  ", method->comment);
  if (!service_streams_requests(method)) {
    buf_printf(out, "  void (*%s)(struct rpc_call *call, const %s *request);\n", method->member,
               method->request.c_type);
    return;
  }
  buf_printf(out, "  struct {\n");
  buf_printf(out, "    void (*open)(struct rpc_call *call);\n");
  buf_printf(out, "    void (*message)(struct rpc_call *call, const %s *message);\n", method->request.c_type);
  buf_printf(out, "    void (*half_close)(struct rpc_call *call);\n");
  buf_printf(out, "  } %s;\n", method->member);
}

static void emit_handlers(struct buf *out, const struct service *service) {
  emit_comment(out, "", service->comment);
  buf_printf(out, "struct %s_handlers {\n", service->prefix);
  for (size_t i = 0; i < service->method_count; i++)
    emit_handler(out, &service->methods[i]);
  if (service->method_count == 0)
    buf_printf(out, "  char none; /* the service has no methods */\n");
  buf_printf(out, "};\n\n");
}

/* Indices into the method table. */
static void emit_enum(struct buf *out, const struct service *service) {
  buf_printf(out, "/* Indices into %s_service.methods. */\nenum {\n", service->prefix);
  for (size_t i = 0; i < service->method_count; i++)
    buf_printf(out, "  %s = %zu,\n", service->methods[i].constant, i);
  buf_printf(out, "  %s_METHOD_COUNT = %zu\n};\n\n", service->constant, service->method_count);
}

static void emit_reply(struct buf *out, const struct service_method *method) {
  const char *f = method->function;
  if (method->response.is_opaque) {
    buf_printf(out,
               "/* Finishes the call with the bytes of a %s. Takes the message. */\n"
               "static inline void %s_reply_bytes(\n    struct rpc_call *call, rpc_message *response) {\n"
               "  rpc_call_reply(call, response);\n}\n\n",
               method->response.full_name, f);
    return;
  }
  buf_printf(out,
             "/* Finishes the call. */\n"
             "static inline void %s_reply(\n"
             "    struct rpc_call *call,\n    const %s *response) {\n"
             "  rpc_typed_reply(call, response);\n}\n\n",
             f, method->response.c_type);
}

static void emit_send(struct buf *out, const struct service_method *method) {
  const char *f = method->function;
  if (method->response.is_opaque) {
    buf_printf(
        out,
        "/* Queues the bytes of a %s. Takes the message if RPC_SEND_OK. */\n"
        "static inline enum rpc_send %s_send_bytes(\n    struct rpc_call *call, rpc_message *response) {\n"
        "  return rpc_call_send(call, response);\n}\n\n",
        method->response.full_name, f);
    return;
  }
  buf_printf(out,
             "/* Queues a response. RPC_SEND_CLOSED also if there is no memory for it. */\n"
             "static inline enum rpc_send %s_send(\n"
             "    struct rpc_call *call,\n    const %s *response) {\n"
             "  return rpc_typed_send(call, response);\n}\n\n",
             f, method->response.c_type);
}

/* The method, in the code of its functions. */
#define METHOD "&%s_service.methods[%s]"

static void emit_unary_client(struct buf *out, const struct service *service,
                              const struct service_method *method) {
  const char *f = method->function, *request = method->request.c_type, *response = method->response.c_type;
  buf_printf(out,
             "/* Client: calls and waits. The response lives in `arena`. */\n"
             "STATUS_MUST_USE static inline status %s_call(\n"
             "    struct rpc_client *client, const struct rpc_client_options *options,\n"
             "    const %s *request, struct arena *arena,\n"
             "    const %s **ret_response) {\n"
             "  const void *response = NULL;\n"
             "  STATUS_TRY(rpc_client_unary(\n"
             "      client, " METHOD ",\n"
             "      options, request, arena, &response));\n"
             "  *ret_response = (const %s *)response;\n"
             "  return status_ok();\n}\n\n",
             f, request, response, service->prefix, method->constant, response);
  buf_printf(
      out,
      "/* Client: calls without waiting. What `done` gets as `response` is NULL unless OK, and else a\n"
      " * const %s *. */\n"
      "static inline void %s_start(\n"
      "    struct rpc_client *client, const struct rpc_client_options *options,\n"
      "    const %s *request,\n"
      "    void (*done)(void *argument, const status *result, const void *response), void *argument) {\n"
      "  rpc_client_unary_start(\n"
      "      client, " METHOD ",\n"
      "      options, request, done, argument);\n}\n\n",
      response, f, request, service->prefix, method->constant);
}

static void emit_open(struct buf *out, const struct service *service, const struct service_method *method) {
  const char *f = method->function;
  buf_printf(out,
             "/* Client: a call under way. `_finish` ends it and frees the stream. */\n"
             "struct %s_stream {\n  struct rpc_client_stream *stream;\n};\n\n",
             f);
  if (service_streams_requests(method)) {
    buf_printf(out,
               "STATUS_MUST_USE static inline status %s_open(\n"
               "    struct rpc_client *client, const struct rpc_client_options *options,\n"
               "    struct %s_stream *ret) {\n"
               "  return rpc_client_stream_open(\n"
               "      client, " METHOD ",\n"
               "      options, &ret->stream);\n}\n\n",
               f, f, service->prefix, method->constant);
    return;
  }
  buf_printf(out,
             "STATUS_MUST_USE static inline status %s_open(\n"
             "    struct rpc_client *client, const struct rpc_client_options *options,\n"
             "    const %s *request, struct %s_stream *ret) {\n"
             "  return rpc_typed_open(\n"
             "      client, " METHOD ",\n"
             "      options, request, &ret->stream);\n}\n\n",
             f, method->request.c_type, f, service->prefix, method->constant);
}

static void emit_stream_functions(struct buf *out, const struct service_method *method) {
  const char *f = method->function, *request = method->request.c_type, *response = method->response.c_type;
  if (service_streams_requests(method))
    buf_printf(out,
               "/* Blocks while the server takes no more. */\n"
               "STATUS_MUST_USE static inline status %s_send_request(\n"
               "    struct %s_stream stream, const %s *message) {\n"
               "  return rpc_client_stream_send(stream.stream, message);\n}\n\n",
               f, f, request);
  if (method->kind == RPC_BIDI)
    buf_printf(out,
               "/* No more requests come. */\n"
               "static inline void %s_half_close(\n    struct %s_stream stream) {\n"
               "  rpc_client_stream_half_close(stream.stream);\n}\n\n",
               f, f);
  if (service_streams_responses(method))
    buf_printf(out,
               "/* Blocks for the next response, which lives in `arena`. False at the end of the stream. */\n"
               "static inline bool %s_receive(\n"
               "    struct %s_stream stream, struct arena *arena,\n"
               "    const %s **ret_message) {\n"
               "  const void *message;\n"
               "  if (!rpc_client_stream_receive(stream.stream, arena, &message))\n"
               "    return false;\n"
               "  *ret_message = (const %s *)message;\n"
               "  return true;\n}\n\n",
               f, f, response, response);
  buf_printf(out,
             "static inline void %s_cancel(\n    struct %s_stream stream) {\n"
             "  rpc_client_stream_cancel(stream.stream);\n}\n\n",
             f, f);
}

static void emit_finish(struct buf *out, const struct service_method *method) {
  const char *f = method->function, *response = method->response.c_type;
  if (method->kind == RPC_CLIENT_STREAM) {
    buf_printf(
        out,
        "/* No more requests come: blocks for the response and the status. `ret_details` may be NULL. */\n"
        "STATUS_MUST_USE static inline status %s_finish(\n"
        "    struct %s_stream stream, struct arena *arena, str *ret_details,\n"
        "    const %s **ret_response) {\n"
        "  const void *response = NULL;\n"
        "  STATUS_TRY(rpc_typed_finish(stream.stream, arena, ret_details, &response));\n"
        "  *ret_response = (const %s *)response;\n"
        "  return status_ok();\n}\n\n",
        f, f, response, response);
    return;
  }
  buf_printf(out,
             "/* Blocks for the server's status. `ret_details` may be NULL. */\n"
             "STATUS_MUST_USE static inline status %s_finish(\n"
             "    struct %s_stream stream, struct arena *arena, str *ret_details) {\n"
             "  return rpc_client_stream_finish(stream.stream, arena, ret_details);\n}\n\n",
             f, f);
}

static void emit_method(struct buf *out, const struct service *service, const struct service_method *method) {
  buf_printf(out, "/* ---- %s ---- */\n\n", method->name);
  if (service_streams_responses(method))
    emit_send(out, method);
  else
    emit_reply(out, method);
  if (method->kind == RPC_UNARY) {
    emit_unary_client(out, service, method);
    return;
  }
  emit_open(out, service, method);
  emit_stream_functions(out, method);
  emit_finish(out, method);
}

static void emit_service(struct buf *out, const struct service *service) {
  buf_printf(out, "/* ======== service %s ======== */\n\n", service->full_name);
  emit_handlers(out, service);
  buf_printf(out, "extern const struct rpc_service %s_service;\n\n", service->prefix);
  emit_enum(out, service);
  for (size_t i = 0; i < service->method_count; i++)
    emit_method(out, service, &service->methods[i]);
}

void emit_header(struct buf *out, const struct service_file *file, const char *include_prefix) {
  buf_printf(out, "/* Generated by protoc-gen-skerry from %s. Do not edit. */\n", file->name);
  buf_printf(out, "#ifndef SKERRY_PROTO_%s_H\n#define SKERRY_PROTO_%s_H\n\n", file->ident, file->ident);
  buf_printf(out, "#include \"%s.pb-c.h\"\n", file->base);
  buf_printf(out, "#include \"%srpc/%s.h\"\n\n", include_prefix,
             file->service_count == 0 ? "method" : "typed");
  buf_printf(out, "/* The file itself, for reflection. */\nextern const struct rpc_file %s;\n\n",
             file->ident);
  for (size_t i = 0; i < file->service_count; i++)
    emit_service(out, &file->services[i]);
  buf_printf(out, "#endif\n");
}
