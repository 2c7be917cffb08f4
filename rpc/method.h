/* What generated code tells the runtime: services, methods, message types and files. Filled in by
 * protoc-gen-skerry as constant data; nobody writes these by hand.
 *
 * Messages are protobuf-c's (`const ProtobufCMessage *`), but for the types that the build names as opaque
 * (Document, Value, maps of Value: docs/architecture.md says why): those are bytes, in fields as
 * ProtobufCBinaryData, as a whole request or response as `const str *`. */
#ifndef SKERRY_RPC_METHOD_H
#define SKERRY_RPC_METHOD_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct rpc_call;

enum rpc_method_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM, RPC_BIDI };

/* One google.api.http binding. */
struct rpc_http_rule {
  const char *verb;          /* "GET", "POST", ... or a custom kind */
  const char *path;          /* the template, as in the .proto */
  const char *body;          /* "", "*" or a field */
  const char *response_body; /* "" or a field */
};

/* A .proto file, for reflection: the descriptor as it was written, before any rewriting. */
struct rpc_file {
  const char *name; /* "google/firestore/v1/firestore.proto" */
  str descriptor;   /* a serialised google.protobuf.FileDescriptorProto, without source info */
  const struct rpc_file *const *dependencies;
  size_t dependency_count;
};

struct rpc_type {
  const char *name;                             /* "google.firestore.v1.Document" */
  const ProtobufCMessageDescriptor *descriptor; /* NULL: opaque bytes */
};

struct rpc_service;

struct rpc_method {
  const char *name; /* "GetDocument" */
  const char *path; /* "/google.firestore.v1.Firestore/GetDocument" */
  const struct rpc_service *service;
  enum rpc_method_kind kind;
  struct rpc_type request, response;
  const struct rpc_http_rule *http;
  size_t http_count;

  /* Typed entry points over the service's generated `struct ..._handlers`. */
  bool (*is_implemented)(const void *handlers);
  void (*open)(struct rpc_call *call, const void *handlers); /* client streams and bidi only */
  void (*message)(struct rpc_call *call, const void *handlers,
                  const void *message);                            /* the request, or one of many */
  void (*half_close)(struct rpc_call *call, const void *handlers); /* client streams and bidi only */
};

struct rpc_service {
  const char *name; /* "google.firestore.v1.Firestore" */
  const struct rpc_method *methods;
  size_t method_count;
  const struct rpc_file *file;
};

#endif
