#include "server/listener/guard_headers.h"

#include <assert.h>
#include <string.h>

#include "base/base64.h"

static_assert(sizeof RPC_CONNECTION_HEADER == sizeof "transfer-encoding",
              "judge_name looks at the length first");

enum {
  SIZE_UPDATES_MAX = 2,
  FIELD_BYTES = 32 /* that each field counts besides its text: RFC 9113, section 6.5.2 */
};

enum pseudo { PSEUDO_METHOD = 1, PSEUDO_SCHEME = 2, PSEUDO_PATH = 4, PSEUDO_AUTHORITY = 8 };

struct judgement {
  enum guard_headers kind;
  unsigned pseudo; /* seen so far */
  bool has_regular;
  uint32_t bytes;
  struct guard_path *path;
};

static void keep_path(struct guard_path *path, str value) {
  path->len = value.len <= GUARD_PATH_BYTES_MAX ? (uint32_t)value.len : 0;
  memcpy(path->bytes, value.ptr, path->len);
}

/* Why a field must not be there, or NULL. */
static const char *judge_pseudo(struct judgement *j, str name, str value) {
  enum pseudo which;
  const char *wrong = NULL;
  if (j->kind == GUARD_TRAILER)
    return "a pseudo-header in a trailer";
  if (str_eq(name, STR(":method"))) {
    which = PSEUDO_METHOD;
    wrong = str_eq(value, STR("POST")) ? NULL : "a method other than POST";
  } else if (str_eq(name, STR(":scheme"))) {
    which = PSEUDO_SCHEME;
    wrong = str_eq(value, STR("http")) || str_eq(value, STR("https")) ? NULL : "an unknown scheme";
  } else if (str_eq(name, STR(":path"))) {
    which = PSEUDO_PATH;
    wrong = value.len > 0 && value.ptr[0] == '/' && nghttp2_check_path((const uint8_t *)value.ptr, value.len)
                ? NULL
                : "a path that does not begin with / or holds other than visible characters";
    keep_path(j->path, value);
  } else if (str_eq(name, STR(":authority"))) {
    which = PSEUDO_AUTHORITY;
    wrong = nghttp2_check_authority((const uint8_t *)value.ptr, value.len) ? NULL : "a malformed :authority";
  } else {
    return "an unknown pseudo-header";
  }
  if (j->has_regular)
    return "a pseudo-header after other headers";
  if ((j->pseudo & which) != 0)
    return "a pseudo-header twice";
  j->pseudo |= which;
  return wrong;
}

/* With or without its padding. As strict as gRPC core, which hands over the call without its other headers
 * and closes the connection if it can't decode one (CVE-2023-32732): bits that are left over are 0. */
static bool is_base64(str value) {
  size_t len = value.len;
  if (len % 4 == 0)
    for (int i = 0; i < 2 && len > 0 && value.ptr[len - 1] == '='; i++)
      len--;
  unsigned last = 0;
  for (size_t i = 0; i < len; i++)
    if ((last = base64_digit(value.ptr[i], '+', '/')) == 64)
      return false;
  static const unsigned left_over[] = {0, 63, 15, 3}; /* bits of the last digit; one digit alone is no byte */
  return len % 4 != 1 && (last & left_over[len % 4]) == 0;
}

/* By their length most names are none of these. */
static const char *judge_name(str name) {
  bool of_connection = false, internal = false, ours = false;
  switch (name.len) {
  case sizeof "upgrade" - 1:
    of_connection = str_eq(name, STR("upgrade"));
    break;
  case sizeof "lb-token" - 1:
    internal = str_eq(name, STR("lb-token"));
    break;
  case sizeof "connection" - 1:
    of_connection = str_eq(name, STR("connection")) || str_eq(name, STR("keep-alive"));
    break;
  case sizeof "lb-cost-bin" - 1:
    internal = str_eq(name, STR("lb-cost-bin"));
    break;
  case sizeof "proxy-connection" - 1:
    of_connection = str_eq(name, STR("proxy-connection"));
    break;
  case sizeof "transfer-encoding" - 1:
    of_connection = str_eq(name, STR("transfer-encoding"));
    ours = str_eq(name, STR(RPC_CONNECTION_HEADER));
    break;
  case sizeof "grpclb_client_stats" - 1:
    internal = str_eq(name, STR("grpclb_client_stats"));
    break;
  default:
    break;
  }
  if (of_connection)
    return "a header that concerns a connection of HTTP/1.1";
  if (internal)
    return "a header that is internal to gRPC";
  return ours ? "the header " RPC_CONNECTION_HEADER ", which is the server's" : NULL;
}

static const char *judge_field(struct judgement *j, str name, str value) {
  if (name.len == 0)
    return "a header without a name";
  if (name.ptr[0] == ':')
    return judge_pseudo(j, name, value);
  j->has_regular = true;
  if (!nghttp2_check_header_name((const uint8_t *)name.ptr, name.len))
    return "a header name that is not a lower-case token";
  if (!nghttp2_check_header_value((const uint8_t *)value.ptr, value.len))
    return "a header value with control characters";
  if (str_eq(name, STR("te")) && !str_eq(value, STR("trailers")))
    return "te other than trailers";
  if (str_has_suffix(name, STR("-bin")) && !is_base64(value))
    return "a -bin header that is not base64";
  return judge_name(name);
}

static const char *judge_all(const struct judgement *j) {
  unsigned needed = PSEUDO_METHOD | PSEUDO_SCHEME | PSEUDO_PATH;
  if (j->kind == GUARD_REQUEST && (j->pseudo & needed) != needed)
    return "a request without :method, :scheme or :path";
  return NULL;
}

static struct guard_verdict judge_emitted(struct judgement *j, const nghttp2_nv *field, uint32_t bytes_max) {
  /* No part is near 4 GiB: the block is short, and one entry of the table is at most 4 KiB. */
  j->bytes += (uint32_t)(field->namelen + field->valuelen) + FIELD_BYTES;
  if (j->bytes > bytes_max)
    return (struct guard_verdict){GUARD_HEADER_SIZE, "more headers than this server takes"};
  const char *why =
      judge_field(j, str_make(field->name, field->namelen), str_make(field->value, field->valuelen));
  return (struct guard_verdict){why == NULL ? GUARD_NO_OFFENCE : GUARD_HEADER, why};
}

/* Changes of the table's size, with which a block may begin: two are enough for anything (RFC 7541,
 * section 4.2), and gRPC core ends the connection without a word at the third. */
static unsigned count_size_updates(const uint8_t *block, size_t len) {
  unsigned count = 0;
  while (len > 0 && (*block & 0xe0) == 0x20) {
    bool goes_on = (*block & 0x1f) == 0x1f;
    do {
      block++;
      len--;
    } while (goes_on && len > 0 && (*block & 0x80) != 0);
    if (goes_on && len > 0) { /* the integer's last byte */
      block++;
      len--;
    }
    count++;
  }
  return count;
}

struct guard_verdict guard_headers_judge(nghttp2_hd_inflater *inflater, enum guard_headers kind,
                                         const uint8_t *block, size_t len, uint32_t bytes_max,
                                         struct guard_path *ret_path) {
  struct judgement j = {.kind = kind, .path = ret_path};
  int flags = 0;
  if (count_size_updates(block, len) > SIZE_UPDATES_MAX)
    return (struct guard_verdict){GUARD_HEADER_CODE,
                                  "a header block that changes the table's size again and again"};
  while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0) {
    nghttp2_nv field;
    flags = 0;
    ssize_t taken = nghttp2_hd_inflate_hd2(inflater, &field, &flags, block, len, 1);
    if (taken == NGHTTP2_ERR_NOMEM)
      return (struct guard_verdict){GUARD_NO_MEMORY, "out of memory"};
    if (taken < 0)
      return (struct guard_verdict){GUARD_HEADER_CODE, "a header block that is not HPACK"};
    block = taken > 0 ? block + taken : block; /* which is NULL for an empty one */
    len -= (size_t)taken;
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      struct guard_verdict verdict = judge_emitted(&j, &field, bytes_max);
      if (verdict.offence != GUARD_NO_OFFENCE)
        return verdict;
    } else if ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0 && taken == 0) {
      return (struct guard_verdict){GUARD_HEADER_CODE, "a header block that ends too early"};
    }
  }
  nghttp2_hd_inflate_end_headers(inflater);
  const char *why = judge_all(&j);
  return (struct guard_verdict){why == NULL ? GUARD_NO_OFFENCE : GUARD_HEADER, why};
}
