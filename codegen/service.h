/* A service of a .proto with its names in C. */
#ifndef SKERRY_CODEGEN_SERVICE_H
#define SKERRY_CODEGEN_SERVICE_H

#include "codegen/http.h"
#include "codegen/schema.h"
#include "rpc/method.h"

struct service_type {
  const char *full_name; /* "google.firestore.v1.Document" */
  const char *c_type;    /* "Google__Firestore__V1__Document"; opaque: "str" */
  const char *lower;     /* "google__firestore__v1__document" */
  bool is_opaque;
};

struct service_method {
  const char *name;     /* "GetDocument" */
  const char *member;   /* "get_document"; "default_" */
  const char *function; /* "google_firestore_v1_firestore_get_document" */
  const char *constant; /* "GOOGLE_FIRESTORE_V1_FIRESTORE_GET_DOCUMENT" */
  const char *comment;  /* NULL: none */
  enum rpc_method_kind kind;
  struct service_type request, response;
  const struct http_rule *http;
  size_t http_count;
};

struct service {
  const char *full_name; /* "google.firestore.v1.Firestore" */
  const char *prefix;    /* "google_firestore_v1_firestore" */
  const char *constant;  /* "GOOGLE_FIRESTORE_V1_FIRESTORE" */
  const char *comment;
  struct service_method *methods;
  size_t method_count;
};

struct service_file {
  const struct schema_file *schema;
  const char *name;  /* "google/firestore/v1/firestore.proto" */
  const char *base;  /* "google/firestore/v1/firestore" */
  const char *ident; /* "google_firestore_v1_firestore_proto" */
  struct service *services;
  size_t service_count;
  const char *const *dependencies;
  size_t dependency_count;
};

static inline bool service_streams_requests(const struct service_method *method) {
  return method->kind == RPC_CLIENT_STREAM || method->kind == RPC_BIDI;
}
static inline bool service_streams_responses(const struct service_method *method) {
  return method->kind == RPC_SERVER_STREAM || method->kind == RPC_BIDI;
}

/* The services of the files that are asked for, *ret_count of them; what cannot be named in C goes to
 * schema->errors. Before the rewriting. */
struct service_file *service_files(struct schema *schema, size_t *ret_count);

#endif
