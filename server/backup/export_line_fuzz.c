/* A line of a file from anywhere is refused, or is a document, which as a line means the same again. */
#include <assert.h>

#include "server/backup/export_line.h"
#include "storage/document/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct export_format *format;
  if (format == NULL) {
    status made = export_format_new(&format);
    assert(status_is_ok(&made));
  }
  struct arena arena;
  struct export_document document, again;
  struct doc_document first, second;
  struct buf line = {0};
  str one = {NULL, 0}, two = {NULL, 0};
  arena_init(&arena, NULL, 0, 16 << 20);
  status s = export_line_read(format, str_make(data, size), &arena, &document);
  assert(status_is_ok(&s) || s.message[0] != '\0');
  if (status_is_ok(&s) && export_line_write(format, document.wire, &line) && !line.failed) {
    assert(memchr(line.data, '\n', line.len - 1) == NULL);
    s = export_line_read(format, str_make(line.data, line.len - 1), &arena, &again);
    if (s.code != STATUS_RESOURCE_EXHAUSTED) {
      assert(status_is_ok(&s));
      s = doc_decode_document(document.wire, &arena, &first);
      status t = doc_decode_document(again.wire, &arena, &second);
      if (status_is_ok(&s) && status_is_ok(&t))
        s = doc_encode_fields(first.fields, &arena, &one);
      if (status_is_ok(&s) && status_is_ok(&t))
        t = doc_encode_fields(second.fields, &arena, &two);
      assert(!status_is_ok(&s) || !status_is_ok(&t) || str_eq(one, two));
    }
  }
  buf_fini(&line);
  arena_fini(&arena);
  return 0;
}
