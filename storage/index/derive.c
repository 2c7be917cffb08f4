#include "storage/index/derive.h"

static status write_entries(void *argument, const struct doc_path *document, const str *old_fields,
                            const str *new_fields, struct arena *arena, struct kv_batch *batch) {
  struct index_catalog *catalog = index_set_current(argument);
  status s = index_update(catalog, document, old_fields, new_fields, arena, batch);
  index_catalog_unref(catalog);
  return s;
}

struct doc_derive index_derive(struct index_set *set) {
  return (struct doc_derive){write_entries, set};
}
