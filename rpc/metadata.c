/* Metadata both ways. gRPC core encodes and decodes the base64 of names that end in "-bin". */
#include <assert.h>

#include "rpc/runtime.h"

/* Clients refuse more than 8 KiB by default; the names, 32 bytes an entry as HPACK counts, and the status are
 * within that. */
enum { METADATA_OUT_BYTES_MAX = 7 * 1024, METADATA_OUT_COUNT_MAX = 64, METADATA_ENTRY_BYTES = 32 };

static str slice_str(const grpc_slice *slice) {
  return str_make(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

bool rpc_call_metadata_at(const struct rpc_call *call, size_t index, str *ret_name, str *ret_value) {
  if (index >= call->metadata.count)
    return false;
  *ret_name = slice_str(&call->metadata.metadata[index].key);
  *ret_value = slice_str(&call->metadata.metadata[index].value);
  return true;
}

bool rpc_call_metadata(const struct rpc_call *call, const char *name, str *ret) {
  str wanted = str_from_cstr(name);
  for (size_t i = 0; i < call->metadata.count; i++) {
    if (str_eq(slice_str(&call->metadata.metadata[i].key), wanted)) {
      *ret = slice_str(&call->metadata.metadata[i].value);
      return true;
    }
  }
  return false;
}

static bool reserve(struct rpc_call *call, struct rpc_metadata_list *list) {
  if (list->count < list->capacity)
    return true;
  size_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
  grpc_metadata *items = ARENA_NEW_ARRAY(&call->arena, grpc_metadata, capacity);
  if (items == NULL)
    return false;
  if (list->count > 0)
    memcpy(items, list->items, list->count * sizeof *items);
  list->items = items;
  list->capacity = capacity;
  return true;
}

bool rpc_metadata_add(struct rpc_call *call, struct rpc_metadata_list *list, const char *name, str value) {
  size_t bytes = strlen(name) + value.len + METADATA_ENTRY_BYTES;
  if (list->count >= METADATA_OUT_COUNT_MAX || value.len > METADATA_OUT_BYTES_MAX ||
      list->bytes + bytes > METADATA_OUT_BYTES_MAX || !reserve(call, list))
    return false;
  grpc_slice key = grpc_slice_from_copied_string(name);
  grpc_slice copy = grpc_slice_from_copied_buffer(value.ptr == NULL ? "" : value.ptr, value.len);
  if (!grpc_header_key_is_legal(key) ||
      (!grpc_is_binary_header(key) && !grpc_header_nonbin_value_is_legal(copy))) {
    grpc_slice_unref(key);
    grpc_slice_unref(copy);
    return false;
  }
  list->items[list->count++] = (grpc_metadata){.key = key, .value = copy};
  list->bytes += bytes;
  return true;
}

/* Beyond the bounds of what handlers add, and short enough that gRPC keeps it in the slice itself. */
void rpc_metadata_add_request_id(struct rpc_call *call, struct rpc_metadata_list *list) {
  struct rpc_request_id id;
  if (!reserve(call, list))
    return;
  rpc_request_id_write(call->id, &id);
  list->items[list->count++] =
      (grpc_metadata){.key = grpc_slice_from_static_string(RPC_REQUEST_ID_HEADER),
                      .value = grpc_slice_from_copied_buffer(id.digits, RPC_REQUEST_ID_DIGITS)};
}

void rpc_metadata_fini(struct rpc_metadata_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    grpc_slice_unref(list->items[i].key);
    grpc_slice_unref(list->items[i].value);
  }
  *list = (struct rpc_metadata_list){0};
}

/* What the protocol itself uses is not for handlers. */
static bool is_reserved(const char *name) {
  return strncmp(name, "grpc-", 5) == 0 || name[0] == ':' || strcmp(name, "content-type") == 0 ||
         strcmp(name, RPC_REQUEST_ID_HEADER) == 0 || strcmp(name, "te") == 0 ||
         strcmp(name, "content-length") == 0;
}

bool rpc_call_add_header(struct rpc_call *call, const char *name, str value) {
  return !call->headers_sent && !is_reserved(name) && rpc_metadata_add(call, &call->headers, name, value);
}

bool rpc_call_add_trailer(struct rpc_call *call, const char *name, str value) {
  return !is_reserved(name) && rpc_metadata_add(call, &call->trailers, name, value);
}
