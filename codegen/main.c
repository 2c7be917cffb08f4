/* protoc-gen-skerry: protoc's plug-in that makes typed C of services, and of messages by protobuf-c's own
 * generator. protoc gives a CodeGeneratorRequest on standard input and takes a CodeGeneratorResponse from
 * standard output. docs/codegen.md says how it is used and what comes out. */
#include <stdio.h>
#include <stdlib.h>

#include "codegen/emit.h"
#include "codegen/messages.h"
#include "codegen/names.h"
#include "codegen/rewrite.h"

enum {
  ARENA_BYTES_MAX = 1 << 30, /* descriptors of thousands of files fit; past it something is wrong */
  REQUEST_BYTES_MAX = 1 << 28
};

static bool read_input(struct buf *out) {
  out->max_bytes = REQUEST_BYTES_MAX;
  while (buf_reserve(out, 65536)) {
    size_t got = fread(out->data + out->len, 1, 65536, stdin);
    out->len += got;
    if (got == 0)
      return !ferror(stdin);
  }
  return false;
}

static const char *to_string(struct schema *schema, struct buf *text) {
  char *copy = schema_alloc(schema, 1, text->len + 1);
  if (text->len > 0)
    memcpy(copy, text->data, text->len);
  bool failed = text->failed;
  buf_fini(text);
  if (failed) {
    fputs("protoc-gen-skerry: out of memory\n", stderr);
    exit(1);
  }
  return copy;
}

static void add_output(struct schema *schema, proto_response *response, const char *name,
                       struct buf *content) {
  proto_output *file = schema_alloc(schema, 1, sizeof(*file));
  google__protobuf__compiler__code_generator_response__file__init(file);
  file->name = (char *)(uintptr_t)name; /* only read */
  file->content = (char *)(uintptr_t)to_string(schema, content);
  response->file[response->n_file++] = file;
}

static bool has_output(const proto_response *response, const char *name) {
  for (size_t i = 0; i < response->n_file; i++) {
    if (response->file[i]->name != NULL && strcmp(response->file[i]->name, name) == 0)
      return true;
  }
  return false;
}

/* A .proto can tell protoc-gen-c to make nothing of it (option no_generate). A build that counts on the two
 * files gets them all the same. */
static void add_missing_messages(struct schema *schema, proto_response *response,
                                 const struct service_file *file) {
  const char *header_name = name_printf(schema->arena, "%s.pb-c.h", file->base);
  if (has_output(response, header_name))
    return;
  struct buf header = {0}, source = {0};
  buf_printf(&header, "/* %s asks protobuf-c for no code. */\n#include <protobuf-c/protobuf-c.h>\n",
             file->name);
  buf_printf(&source, "#include \"%s\"\n", header_name);
  add_output(schema, response, header_name, &header);
  add_output(schema, response, name_printf(schema->arena, "%s.pb-c.c", file->base), &source);
}

static void add_services(struct schema *schema, proto_response *response, const struct service_file *file) {
  struct buf header = {0}, source = {0};
  emit_header(&header, file, schema->options.include_prefix);
  add_output(schema, response, name_printf(schema->arena, "%s.skerry.h", file->base), &header);
  emit_source(&source, schema->arena, file);
  add_output(schema, response, name_printf(schema->arena, "%s.skerry.c", file->base), &source);
}

static void generate(struct schema *schema, str request, proto_response *response) {
  if (!schema_load(schema, request))
    return;
  size_t count;
  const struct service_file *files = service_files(schema, &count);
  rewrite_request(schema);
  if (schema->errors.len > 0)
    return;
  const proto_response *messages = messages_generate(schema);
  if (messages == NULL)
    return;
  response->file = schema_alloc(schema, messages->n_file + 4 * count + 1, sizeof(*response->file));
  for (size_t i = 0; i < messages->n_file; i++)
    response->file[response->n_file++] = messages->file[i];
  for (size_t i = 0; i < count; i++) {
    add_missing_messages(schema, response, &files[i]);
    add_services(schema, response, &files[i]);
  }
}

static bool write_output(struct schema *schema, proto_response *response) {
  size_t size = google__protobuf__compiler__code_generator_response__get_packed_size(response);
  uint8_t *bytes = schema_alloc(schema, 1, size + 1);
  google__protobuf__compiler__code_generator_response__pack(response, bytes);
  return fwrite(bytes, 1, size, stdout) == size && fflush(stdout) == 0;
}

int main(int argc, char **argv) {
  if (argc > 1) {
    fprintf(stderr,
            "%s is a plug-in of protoc: protoc --plugin=protoc-gen-skerry=%s --skerry_out=DIR FILE.proto\n",
            argv[0], argv[0]);
    return 2;
  }
  struct arena arena;
  arena_init(&arena, NULL, 0, ARENA_BYTES_MAX);
  struct schema schema = {.arena = &arena};
  struct buf input = {0};
  proto_response response;
  google__protobuf__compiler__code_generator_response__init(&response);
  response.has_supported_features = true;
  response.supported_features =
      GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__FEATURE__FEATURE_PROTO3_OPTIONAL;

  bool ok = read_input(&input);
  if (!ok)
    fprintf(stderr, "protoc-gen-skerry: cannot read standard input, or it is larger than %d bytes\n",
            REQUEST_BYTES_MAX);
  if (ok)
    generate(&schema, buf_str(&input), &response);
  if (schema.errors.len > 0)
    response.error = (char *)(uintptr_t)to_string(&schema, &schema.errors);
  ok = ok && write_output(&schema, &response);
  buf_fini(&input);
  arena_fini(&arena);
  return ok ? 0 : 1;
}
