#include "rpc/codec.h"

#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

#include "rpc/wire_check.h"

enum { INFLATE_CHUNK_BYTES = 16 * 1024, DEFLATE_LEVEL = 5, DEFLATE_BYTES_MIN = 64 };

bool rpc_codec_encoding(const grpc_byte_buffer *buffer, enum rpc_encoding *ret) {
  switch (buffer->data.raw.compression) {
  case GRPC_COMPRESS_NONE:
    *ret = RPC_IDENTITY;
    return true;
  case GRPC_COMPRESS_DEFLATE:
    *ret = RPC_DEFLATE;
    return true;
  case GRPC_COMPRESS_GZIP:
    *ret = RPC_GZIP;
    return true;
  case GRPC_COMPRESS_ALGORITHMS_COUNT:
  default:
    return false;
  }
}

const char *rpc_codec_encoding_name(enum rpc_encoding encoding) {
  return encoding == RPC_GZIP ? "gzip" : encoding == RPC_DEFLATE ? "deflate" : "identity";
}

/* ---- Inflating ---- */

static status too_large(size_t message_bytes_max) {
  return status_make(
      STATUS_RESOURCE_EXHAUSTED,
      "The message is larger than %zu bytes, the limit of this server. Send less in one message.",
      message_bytes_max);
}

static status out_of_arena(const struct arena *arena) {
  if (arena->over_budget)
    return status_make(STATUS_RESOURCE_EXHAUSTED,
                       "This server has no memory for the request now. Try again.");
  return status_make(
      STATUS_RESOURCE_EXHAUSTED,
      "The message takes more than %zu bytes of memory when decoded. Send less in one message.",
      arena->cap_bytes);
}

static status bad_compression(void) {
  return status_make(STATUS_INVALID_ARGUMENT, "The compressed message is damaged.");
}

/* What zlib takes comes from the call's arena, so that it counts and cannot leak. */
static voidpf zlib_alloc(voidpf arena, uInt items, uInt size) {
  return arena_calloc(arena, items, size);
}

static void zlib_free(voidpf arena, voidpf address) {
  (void)arena;
  (void)address;
}

/* Runs the whole buffer through `z`. Writes to `out` (out_bytes long), or only counts if `out` is NULL. Stops
 * as soon as more than bytes_max have come out. */
static status inflate_buffer(z_stream *z, const grpc_slice_buffer *in, uint8_t *out, size_t out_bytes,
                             size_t bytes_max, size_t *ret_bytes) {
  uint8_t scratch[INFLATE_CHUNK_BYTES];
  size_t done = 0;
  int result = Z_OK;
  for (size_t i = 0; i < in->count; i++) {
    z->next_in = GRPC_SLICE_START_PTR(in->slices[i]);
    z->avail_in = (uInt)GRPC_SLICE_LENGTH(in->slices[i]);
    bool more_comes = true; /* zlib may hold output back after it took all input */
    while (z->avail_in > 0 || more_comes) {
      if (result == Z_STREAM_END) { /* only one compressed stream makes a message */
        if (z->avail_in > 0)
          return bad_compression();
        break;
      }
      size_t room = out == NULL ? sizeof scratch : out_bytes - done;
      if (room > sizeof scratch)
        room = sizeof scratch;
      z->next_out = out == NULL || room == 0 ? scratch : out + done;
      z->avail_out =
          room == 0 ? 1 : (uInt)room; /* the end of a stream may need a call with nothing to write */
      uInt before = z->avail_out;
      result = inflate(z, Z_NO_FLUSH);
      if (result == Z_MEM_ERROR)
        return status_default(STATUS_RESOURCE_EXHAUSTED);
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return bad_compression();
      done += before - z->avail_out;
      if (done > bytes_max)
        return too_large(bytes_max);
      more_comes = z->avail_out == 0;
      if (result == Z_BUF_ERROR && !more_comes)
        break;
    }
  }
  if (result != Z_STREAM_END)
    return bad_compression();
  *ret_bytes = done;
  return status_ok();
}

/* Two passes: the first counts and stops at the limit, so that a bomb costs time up to the limit and no
 * memory; the second writes into memory of just that size. */
static status inflate_message(enum rpc_encoding encoding, const grpc_slice_buffer *in, size_t bytes_max,
                              struct arena *arena, str *ret) {
  z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free, .opaque = arena};
  if (inflateInit2(&z, RPC_DEFLATE_WINDOW_BITS + (encoding == RPC_GZIP ? RPC_DEFLATE_GZIP_BITS : 0)) != Z_OK)
    return out_of_arena(arena);
  size_t bytes;
  status result = inflate_buffer(&z, in, NULL, 0, bytes_max, &bytes);
  if (result.code == STATUS_OK) {
    uint8_t *out = arena_alloc(arena, bytes);
    if (out == NULL) {
      result = out_of_arena(arena);
    } else {
      int reset = inflateReset(&z);
      assert(reset == Z_OK);
      (void)reset;
      result = inflate_buffer(&z, in, out, bytes, bytes, &bytes);
      *ret = str_make(out, bytes);
    }
  }
  inflateEnd(&z);
  return result;
}

/* ---- Decoding ---- */

/* The bytes in one piece: in place where gRPC has one slice. */
static status flatten(const grpc_slice_buffer *in, struct arena *arena, str *ret) {
  if (in->count == 0) {
    *ret = STR("");
    return status_ok();
  }
  if (in->count == 1) {
    *ret = str_make(GRPC_SLICE_START_PTR(in->slices[0]), GRPC_SLICE_LENGTH(in->slices[0]));
    return status_ok();
  }
  char *out = arena_alloc(arena, in->length);
  if (out == NULL)
    return out_of_arena(arena);
  size_t at = 0;
  for (size_t i = 0; i < in->count; i++) {
    memcpy(out + at, GRPC_SLICE_START_PTR(in->slices[i]), GRPC_SLICE_LENGTH(in->slices[i]));
    at += GRPC_SLICE_LENGTH(in->slices[i]);
  }
  assert(at == in->length);
  *ret = str_make(out, at);
  return status_ok();
}

static void *unpack_alloc(void *arena, size_t size) {
  return arena_alloc(arena, size);
}

static void unpack_free(void *arena, void *pointer) {
  (void)arena;
  (void)pointer;
}

static status unpack(const struct rpc_type *type, str bytes, struct arena *arena, const void **ret) {
  if (type->descriptor == NULL) {
    str *opaque = ARENA_NEW(arena, str);
    if (opaque == NULL)
      return out_of_arena(arena);
    *opaque = bytes;
    *ret = opaque;
    return status_ok();
  }
  STATUS_TRY(wire_check(type->descriptor, bytes));
  ProtobufCAllocator allocator = {unpack_alloc, unpack_free, arena};
  *ret = protobuf_c_message_unpack(type->descriptor, &allocator, bytes.len, (const uint8_t *)bytes.ptr);
  if (*ret != NULL)
    return status_ok();
  if (arena->exhausted)
    return out_of_arena(arena);
  return status_make(STATUS_INVALID_ARGUMENT, "The message is not a valid %s.", type->name);
}

status rpc_codec_decode(const grpc_byte_buffer *buffer, const struct rpc_type *type, size_t message_bytes_max,
                        struct arena *arena, const void **ret) {
  const grpc_slice_buffer *in = &buffer->data.raw.slice_buffer;
  if (in->length > message_bytes_max)
    return too_large(message_bytes_max);
  enum rpc_encoding encoding;
  if (!rpc_codec_encoding(buffer, &encoding))
    return status_make(STATUS_UNIMPLEMENTED,
                       "The message's compression is not known here; use identity, deflate or gzip.");
  str bytes = {0};
  if (encoding == RPC_IDENTITY)
    STATUS_TRY(flatten(in, arena, &bytes));
  else
    STATUS_TRY(inflate_message(encoding, in, message_bytes_max, arena, &bytes));
  status result = unpack(type, bytes, arena, ret);
  if (type->descriptor != NULL)
    arena_return(arena, bytes.ptr); /* the message has copies */
  return result;
}

/* ---- Compressing ---- */

bool rpc_codec_compress(enum rpc_encoding encoding, rpc_message *message) {
  if (encoding == RPC_IDENTITY || message->len < DEFLATE_BYTES_MIN)
    return false;
  size_t len, capacity;
  uint8_t *out = rpc_deflate(encoding, DEFLATE_LEVEL, str_make(message->data, message->len), &len, &capacity);
  rpc_message compressed;
  bool shorter = out != NULL && rpc_message_alloc(len, &compressed);
  if (shorter) {
    memcpy(compressed.data, out, len);
    rpc_message_discard(message);
    *message = compressed;
  }
  free(out);
  return shorter;
}
