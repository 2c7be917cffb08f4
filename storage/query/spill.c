#include "storage/query/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WRITE_BYTES = 64 * 1024, READ_MIN_BYTES = 4 * 1024, READ_MAX_BYTES = 64 * 1024, HEADER_BYTES = 12 };

struct piece {
  uint64_t at, end;  /* of the file, what is not read yet */
  struct buf buffer; /* from `taken` on: items that are not given yet */
  size_t taken;
  struct sorter_item item; /* the first; an empty key: none is left */
  size_t item_len;
};

struct spill {
  struct stream_context *context;
  int file;
  uint64_t written;
  struct buf out;
  struct piece *pieces;
  size_t count, capacity;
  size_t *heap; /* pieces, that with the least item first */
  size_t heap_len, read_bytes;
  bool given; /* the first of the heap was given and has to move on */
};

static status io_failed(const char *what) {
  char text[128] = "";
  const char *reason = strerror_r(errno, text, sizeof text);
  return status_make(
      errno == ENOSPC ? STATUS_RESOURCE_EXHAUSTED : STATUS_UNAVAILABLE,
      "The server could not %s a temporary file for sorting: %s. An index for this query, or a "
      "limit, avoids it.",
      what, reason);
}

static int open_unnamed(const char *directory) {
  int file = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
    return file;
  char path[4096];
  if (snprintf(path, sizeof path, "%s/skerry-sort-XXXXXX", directory) >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  file = mkostemp(path, O_CLOEXEC);
  if (file >= 0)
    unlink(path);
  return file;
}

status spill_new(struct stream_context *context, struct spill **ret) {
  if (context->spill_directory == NULL)
    return status_make(
        STATUS_RESOURCE_EXHAUSTED,
        "Sorting this query's results takes more memory than a call may use. Add a limit, or an "
        "index that has the query's order.");
  struct spill *spill = calloc(1, sizeof *spill);
  if (spill == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  spill->context = context;
  spill->file = open_unnamed(context->spill_directory);
  if (spill->file < 0) {
    status failed = io_failed("make");
    free(spill);
    return failed;
  }
  *ret = spill;
  return status_ok();
}

void spill_free(struct spill *spill) {
  if (spill == NULL)
    return;
  for (size_t i = 0; i < spill->count; i++)
    buf_fini(&spill->pieces[i].buffer);
  free(spill->pieces);
  free(spill->heap);
  buf_fini(&spill->out);
  close(spill->file);
  free(spill);
}

/* ---- Writing ---- */

static status flush(struct spill *spill) {
  struct stream_context *context = spill->context;
  if (context->stats.spilled_bytes + spill->out.len > context->spill_max)
    return status_make(
        STATUS_RESOURCE_EXHAUSTED,
        "Sorting this query's results takes more room than a query may use on disk. Add a limit, "
        "or an index that has the query's order.");
  for (size_t done = 0; done < spill->out.len;) {
    ssize_t n =
        pwrite(spill->file, spill->out.data + done, spill->out.len - done, (off_t)(spill->written + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return io_failed("write");
    done += (size_t)n;
  }
  spill->written += spill->out.len;
  context->stats.spilled_bytes += spill->out.len;
  buf_clear(&spill->out);
  return status_ok();
}

status spill_begin(struct spill *spill) {
  if (spill->count == spill->capacity) {
    size_t capacity = spill->capacity == 0 ? 16 : 2 * spill->capacity;
    struct piece *pieces = realloc(spill->pieces, capacity * sizeof *pieces);
    if (pieces == NULL)
      return status_default(STATUS_RESOURCE_EXHAUSTED);
    spill->pieces = pieces;
    spill->capacity = capacity;
  }
  spill->pieces[spill->count++] = (struct piece){.at = spill->written, .end = spill->written};
  return status_ok();
}

status spill_put(struct spill *spill, struct sorter_item item) {
  uint32_t lengths[3] = {(uint32_t)item.sort_key.len, (uint32_t)item.key.len, (uint32_t)item.record.len};
  buf_append(&spill->out, lengths, sizeof lengths);
  buf_append_str(&spill->out, item.sort_key);
  buf_append_str(&spill->out, item.key);
  buf_append_str(&spill->out, item.record);
  if (spill->out.failed)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  return spill->out.len < WRITE_BYTES ? status_ok() : flush(spill);
}

status spill_end(struct spill *spill) {
  STATUS_TRY(flush(spill));
  spill->pieces[spill->count - 1].end = spill->written;
  return status_ok();
}

/* ---- Reading ---- */

/* Has at least `len` bytes in the piece's buffer; the file has them. */
static status read_ahead(struct spill *spill, struct piece *piece, size_t len) {
  size_t have = piece->buffer.len - piece->taken;
  if (have >= len)
    return status_ok();
  if (have > 0)
    memmove(piece->buffer.data, piece->buffer.data + piece->taken, have);
  piece->buffer.len = have;
  piece->taken = 0;
  size_t want = len > spill->read_bytes ? len : spill->read_bytes;
  if (want - have > piece->end - piece->at)
    want = have + (size_t)(piece->end - piece->at);
  if (!buf_reserve(&piece->buffer, want - have))
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  while (piece->buffer.len < want) {
    ssize_t n = pread(spill->file, piece->buffer.data + piece->buffer.len, want - piece->buffer.len,
                      (off_t)piece->at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return io_failed("read");
    piece->buffer.len += (size_t)n;
    piece->at += (uint64_t)n;
  }
  return status_ok();
}

/* Makes the piece's next item its first. */
static status piece_next(struct spill *spill, struct piece *piece) {
  piece->taken += piece->item_len;
  piece->item_len = 0;
  piece->item = (struct sorter_item){{0}, {0}, {0}};
  if (piece->taken == piece->buffer.len && piece->at == piece->end)
    return status_ok();
  uint32_t lengths[3];
  STATUS_TRY(read_ahead(spill, piece, HEADER_BYTES));
  memcpy(lengths, piece->buffer.data + piece->taken, sizeof lengths);
  piece->item_len = HEADER_BYTES + (size_t)lengths[0] + lengths[1] + lengths[2];
  STATUS_TRY(read_ahead(spill, piece, piece->item_len));
  const char *at = (const char *)piece->buffer.data + piece->taken + HEADER_BYTES;
  piece->item.sort_key = str_make(at, lengths[0]);
  piece->item.key = str_make(at + lengths[0], lengths[1]);
  piece->item.record = str_make(at + lengths[0] + lengths[1], lengths[2]);
  return status_ok();
}

static bool is_less(const struct spill *spill, size_t a, size_t b) {
  return str_cmp(spill->pieces[spill->heap[a]].item.sort_key, spill->pieces[spill->heap[b]].item.sort_key) <
         0;
}

static void sift_down(struct spill *spill, size_t at) {
  for (;;) {
    size_t least = at;
    for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < spill->heap_len; child++)
      if (is_less(spill, child, least))
        least = child;
    if (least == at)
      return;
    size_t piece = spill->heap[at];
    spill->heap[at] = spill->heap[least];
    spill->heap[least] = piece;
    at = least;
  }
}

status spill_merge(struct spill *spill, size_t memory) {
  buf_fini(&spill->out);
  size_t each = memory / (spill->count > 0 ? spill->count : 1);
  spill->read_bytes = each < READ_MIN_BYTES ? READ_MIN_BYTES : each > READ_MAX_BYTES ? READ_MAX_BYTES : each;
  spill->heap = calloc(spill->count + 1, sizeof *spill->heap);
  if (spill->heap == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  for (size_t i = 0; i < spill->count; i++) {
    STATUS_TRY(piece_next(spill, &spill->pieces[i]));
    if (spill->pieces[i].item.key.len > 0)
      spill->heap[spill->heap_len++] = i;
  }
  for (size_t i = spill->heap_len / 2; i-- > 0;)
    sift_down(spill, i);
  return status_ok();
}

status spill_next(struct spill *spill, bool *ret_any, struct sorter_item *ret) {
  if (spill->given && spill->heap_len > 0) {
    struct piece *piece = &spill->pieces[spill->heap[0]];
    STATUS_TRY(piece_next(spill, piece));
    if (piece->item.key.len == 0) {
      buf_fini(&piece->buffer);
      *piece = (struct piece){0};
      spill->heap[0] = spill->heap[--spill->heap_len];
    }
    sift_down(spill, 0);
  }
  spill->given = true;
  *ret_any = spill->heap_len > 0;
  if (*ret_any)
    *ret = spill->pieces[spill->heap[0]].item;
  return status_ok();
}
