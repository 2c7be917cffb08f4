#include "server/tokens/issuer_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "server/tokens/file.h"
#include "server/tokens/json.h"
#include "server/tokens/key_set.h"

enum {
  PATH_BYTES_MAX = 4096,
  HASH_BYTES = 16,
  FILE_BYTES_MAX = 8 * KEY_SET_BYTES_MAX, /* the document with every byte escaped, and some more */
  FILE_DEPTH_MAX = 2,
};

void issuer_file_fini(struct issuer_file *file) {
  buf_fini(&file->keys_url);
  buf_fini(&file->document);
}

/* Names of issuers are no names of files, so a hash is. */
static status path_of(const char *directory, str issuer, char *out, size_t size) {
  uint8_t digest[CRYPTO_SHA256_BYTES];
  char hex[2 * HASH_BYTES + 1];
  crypto_sha256(issuer, digest);
  for (size_t i = 0; i < HASH_BYTES; i++)
    snprintf(hex + 2 * i, 3, "%02x", digest[i]);
  int len = snprintf(out, size, "%s/issuer-%s.json", directory, hex);
  if (len < 0 || (size_t)len >= size)
    return status_make(STATUS_FAILED_PRECONDITION, "The path of the data directory is too long.");
  return status_ok();
}

static status take_members(const json_t *json, const char *path, str issuer, struct issuer_file *ret) {
  str named, keys_url, document;
  const json_t *fetched = json_object_get(json, "fetched_us");
  if (json == NULL || !json_object_get_str(json, "issuer", &named) || !str_eq(named, issuer) ||
      !json_object_get_str(json, "keys_url", &keys_url) ||
      !json_object_get_str(json, "document", &document) || !json_is_integer(fetched))
    return status_make(STATUS_FAILED_PRECONDITION, "%s is damaged, or of another issuer", path);
  buf_append_str(&ret->keys_url, keys_url);
  buf_append_str(&ret->document, document);
  ret->fetched_us = (int64_t)json_integer_value(fetched);
  return ret->keys_url.failed || ret->document.failed
             ? status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to read %s", path)
             : status_ok();
}

status issuer_file_read(const char *directory, str issuer, struct issuer_file *ret) {
  char path[PATH_BYTES_MAX];
  struct buf text = {0};
  struct issuer_file file = {0};
  STATUS_TRY(path_of(directory, issuer, path, sizeof path));
  status result = file_read(path, FILE_BYTES_MAX, &text);
  if (status_is_ok(&result)) {
    json_t *json = json_object_parse(buf_str(&text), FILE_DEPTH_MAX);
    result = take_members(json, path, issuer, &file);
    json_decref(json);
  }
  buf_fini(&text);
  if (status_is_ok(&result))
    *ret = file;
  else
    issuer_file_fini(&file);
  return result;
}

status issuer_file_write(const char *directory, str issuer, const struct issuer_file *file) {
  char path[PATH_BYTES_MAX];
  STATUS_TRY(path_of(directory, issuer, path, sizeof path));
  json_t *json = json_pack("{s:s%, s:s%, s:I, s:s%}", "issuer", issuer.ptr, issuer.len, "keys_url",
                           (const char *)file->keys_url.data, file->keys_url.len, "fetched_us",
                           (json_int_t)file->fetched_us, "document", (const char *)file->document.data,
                           file->document.len);
  char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
  json_decref(json);
  if (text == NULL) /* or the document is not UTF-8, but then it was not parsed either */
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There is no memory to write %s", path);
  status result = file_replace(path, str_from_cstr(text));
  free(text);
  return result;
}
