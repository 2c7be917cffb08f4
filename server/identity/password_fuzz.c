/* Stored forms of passwords, as an import or a damaged store could have them: what is taken is written as the
 * same form again, and says costs within the bounds. Cheap ones are also checked. And hashes and salts of an
 * import. */
#include <stdlib.h>

#include "server/identity/password_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_form(str text) {
  struct password_form form, again;
  struct buf written = {0};
  bool matches;
  if (password_memory_bytes(text) > PASSWORD_MEMORY_BYTES_MAX + 1024 * 1024)
    abort();
  if (!password_form_parse(text, &form))
    return;
  password_form_append(&form, &written);
  if (written.failed || !password_form_parse(buf_str(&written), &again) || again.kind != form.kind ||
      again.hash.len != form.hash.len)
    abort();
  bool cheap = form.kind == PASSWORD_HMAC ||
               ((form.kind == PASSWORD_DIGEST || form.kind == PASSWORD_PBKDF2) && form.rounds < 100) ||
               (form.kind <= PASSWORD_FIREBASE_SCRYPT && crypto_scrypt_memory_bytes(form.cost) < 64 * 1024 &&
                form.cost.p < 4);
  if (cheap) {
    status result = password_verify(text, STR("123456"), &matches);
    if (!status_is_ok(&result))
      abort();
  }
  buf_fini(&written);
}

/* Options and a user, from the first bytes and the rest. */
static void check_import(const uint8_t *data, size_t size) {
  enum { HEAD = 8 };
  if (size < HEAD)
    return;
  str rest = str_make(data + HEAD, size - HEAD);
  size_t half = rest.len / 2;
  struct password_import import = {.kind = (enum password_import_kind)(data[0] % 6),
                                   .digest = (enum crypto_digest)(data[1] % 4),
                                   .key = str_make(rest.ptr, data[2] < rest.len ? data[2] : rest.len),
                                   .separator = str_make(rest.ptr, data[3] < rest.len ? data[3] : rest.len),
                                   .rounds = data[4],
                                   .memory_cost = data[5],
                                   .cpu_memory_cost = UINT64_C(1) << data[5] % 64,
                                   .block_size = data[6],
                                   .parallelization = data[7],
                                   .derived_bytes = (uint32_t)half};
  struct buf stored = {0};
  struct password_form form;
  status result = password_import_user(&import, str_make(rest.ptr, half), str_from(rest, half), &stored);
  if (status_is_ok(&result) && !password_form_parse(buf_str(&stored), &form))
    abort();
  buf_fini(&stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  check_form(str_make(data, size));
  check_import(data, size);
  return 0;
}
