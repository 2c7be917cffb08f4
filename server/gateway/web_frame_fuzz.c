/* The first byte says whether the body is text. What is read can be written again. */
#include <assert.h>

#include "server/gateway/web_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  bool is_text = data[0] % 2 == 1;
  struct buf scratch = {0}, out = {0}, again = {0};
  str message, second;
  int64_t us;
  str body = str_make(data + 1, size - 1);
  status result = web_frame_read(body, is_text, &scratch, &message);
  if (status_is_ok(&result)) {
    web_frame_message(message, is_text, &out);
    result = web_frame_read(buf_str(&out), is_text, &again, &second);
    assert(status_is_ok(&result) && str_eq(message, second));
  }
  if (web_timeout(body, &us))
    assert(us >= 0);
  buf_fini(&scratch);
  buf_fini(&out);
  buf_fini(&again);
  return 0;
}
