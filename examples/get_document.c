/* Reads one document over gRPC with the generated client and prints its size:
 *
 *   scripts/build release get_document
 *   name='projects/demo/databases/(default)/documents/rooms/lobby'
 *   build/release/examples/get_document 127.0.0.1:8080 "$name" */
#include <stdio.h>

#include "base/arena.h"
#include "google/firestore/v1/firestore.skerry.h"

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s ADDRESS DOCUMENT\n", argv[0]);
    return 2;
  }
  struct rpc_client *client;
  status result = rpc_client_open(argv[1], false, &client);
  if (!status_is_ok(&result)) {
    fprintf(stderr, "%s\n", result.message);
    return 1;
  }
  struct arena arena; /* the response lives in it */
  arena_init(&arena, NULL, 0, 4 * 1024 * 1024);
  Google__Firestore__V1__GetDocumentRequest request = GOOGLE__FIRESTORE__V1__GET_DOCUMENT_REQUEST__INIT;
  request.name = argv[2];
  const str *document; /* a google.firestore.v1.Document; storage/document/codec.h decodes it */
  result = google_firestore_v1_firestore_get_document_call(client, NULL, &request, &arena, &document);
  if (status_is_ok(&result))
    printf("%s: %zu bytes\n", argv[2], document->len);
  else
    fprintf(stderr, "%s: %s\n", status_code_name((int)result.code), result.message);
  arena_fini(&arena);
  rpc_client_close(client);
  return status_is_ok(&result) ? 0 : 1;
}
