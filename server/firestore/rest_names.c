#include "server/firestore/rest_names.h"

#include "google/firestore/v1/firestore.skerry.h"

/* "projects", a project, "databases", a database, "documents" */
enum { SEGMENTS_BEFORE = 5 };

bool firestore_rest_fits(const struct rpc_method *method, str field, str value) {
  bool is_name =
      str_eq(field, STR("name")) || str_eq(field, STR("parent")) || str_eq(field, STR("document.name"));
  if (method->service != &google_firestore_v1_firestore_service || !is_name)
    return true;
  size_t segments = 1;
  for (size_t i = 0; i < value.len; i++)
    segments += value.ptr[i] == '/';
  return segments < SEGMENTS_BEFORE || (segments - SEGMENTS_BEFORE) % 2 == 0;
}
