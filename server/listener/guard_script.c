#include "server/listener/guard_script.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* After the ones above. */
#include <cmocka.h>

const struct rpc_connection_key SCRIPT_KEY = {"abcdefghijklmnopqrstuvwx"};

struct script *script_new(void) {
  struct script *script = calloc(1, sizeof *script);
  assert(script != NULL);
  script->options =
      (struct guard_options){.streams_max = 100, .metadata_bytes_max = 8192, .patience_us = 10000000};
  return script;
}

void script_free(struct script *script) {
  buf_fini(&script->bytes);
  free(script);
}

/* What one side sends on end is one step, however many frames it is. */
static void add(struct script *script, bool by_server, str bytes) {
  struct script_step *last = script->count == 0 ? NULL : &script->steps[script->count - 1];
  if (last == NULL || last->by_server != by_server) {
    assert(script->count < SCRIPT_STEPS_MAX);
    last = &script->steps[script->count++];
    *last = (struct script_step){.by_server = by_server, .from = script->bytes.len};
  }
  last->len += bytes.len;
  buf_append_str(&script->bytes, bytes);
  assert(!script->bytes.failed);
}

void script_client(struct script *script, str bytes) {
  add(script, false, bytes);
}

static void add_frame(struct script *script, bool by_server, uint8_t type, uint8_t flags, uint32_t id,
                      str payload) {
  struct buf frame = {0};
  wire_frame(&frame, type, flags, id, payload);
  add(script, by_server, buf_str(&frame));
  buf_fini(&frame);
}

void script_client_frame(struct script *script, uint8_t type, uint8_t flags, uint32_t id, str payload) {
  add_frame(script, false, type, flags, id, payload);
}

void script_server_frame(struct script *script, uint8_t type, uint8_t flags, uint32_t id, str payload) {
  add_frame(script, true, type, flags, id, payload);
}

void script_wait(struct script *script, int64_t us) {
  assert(script->count < SCRIPT_STEPS_MAX);
  script->steps[script->count++] = (struct script_step){.from = script->bytes.len, .wait_us = us};
}

void script_hello(struct script *script) {
  script_client(script, WIRE_PREFACE);
  script_client_frame(script, FRAME_SETTINGS, 0, 0, STR(""));
  script_server_frame(script, FRAME_SETTINGS, 0, 0, STR("\0\3\0\0\0\x64"));
  script_server_frame(script, FRAME_SETTINGS, FLAG_ACK, 0, STR(""));
  script_client_frame(script, FRAME_SETTINGS, FLAG_ACK, 0, STR(""));
}

void script_request(struct script *script, uint32_t id, uint8_t flags) {
  struct buf block = {0};
  wire_pseudo(&block);
  script_client_frame(script, FRAME_HEADERS, (uint8_t)(flags | FLAG_END_HEADERS), id, buf_str(&block));
  buf_fini(&block);
}

struct run {
  struct guard *guard;
  struct guard_output *output;
  int64_t now_us;
  struct script_result *result;
};

static void give_client(struct run *r, str bytes) {
  while (bytes.len > 0) {
    size_t taken = guard_from_client(r->guard, r->now_us, (const uint8_t *)bytes.ptr, bytes.len, r->output);
    size_t sum = 0;
    for (unsigned i = 0; i < r->output->count; i++) {
      buf_append(&r->result->out, r->output->ranges[i].iov_base, r->output->ranges[i].iov_len);
      sum += r->output->ranges[i].iov_len;
    }
    assert(sum == r->output->bytes && taken <= bytes.len);
    if (guard_offence(r->guard) != GUARD_NO_OFFENCE)
      return;
    assert(taken > 0);
    r->result->was_full |= taken < bytes.len;
    bytes = str_from(bytes, taken);
  }
}

/* Copies, so that a sanitizer sees one byte past the end of each piece. */
static void give(struct run *r, bool by_server, str bytes) {
  uint8_t *exact = malloc(bytes.len + 1);
  assert(exact != NULL);
  uint8_t *at = exact + 1; /* and bytes are anywhere */
  if (bytes.len > 0)
    memcpy(at, bytes.ptr, bytes.len);
  if (by_server)
    guard_from_server(r->guard, r->now_us, at, bytes.len);
  else
    give_client(r, str_make(at, bytes.len));
  free(exact);
}

static size_t piece_len(struct script_cuts cuts, size_t client_at, const struct script_step *step,
                        size_t at) {
  size_t left = step->len - at;
  if (cuts.piece != 0 && cuts.piece < left)
    left = cuts.piece;
  if (!step->by_server && client_at < cuts.cut && cuts.cut < client_at + left)
    left = cuts.cut - client_at;
  return left;
}

void script_run(const struct script *script, struct script_cuts cuts, struct script_result *ret) {
  *ret = (struct script_result){0};
  struct run r = {.now_us = SCRIPT_START_US, .result = ret};
  r.guard = guard_new(&script->options, &SCRIPT_KEY, r.now_us);
  r.output = malloc(sizeof *r.output);
  assert(r.guard != NULL && r.output != NULL);
  for (size_t i = 0; i < script->count; i++) {
    const struct script_step *step = &script->steps[i];
    r.now_us += step->wait_us;
    for (size_t at = 0; at < step->len;) {
      size_t len = piece_len(cuts, ret->client_bytes, step, at);
      if (step->by_server || guard_offence(r.guard) == GUARD_NO_OFFENCE)
        give(&r, step->by_server, str_make(script->bytes.data + step->from + at, len));
      at += len;
      ret->client_bytes += step->by_server ? 0 : len;
    }
  }
  ret->offence = guard_offence(r.guard);
  ret->why = guard_why(r.guard);
  ret->streams = guard_streams_open(r.guard);
  assert((ret->offence == GUARD_NO_OFFENCE) == (ret->why == NULL));
  if (ret->offence != GUARD_NO_OFFENCE) { /* nothing is taken or sent on any more */
    size_t taken = guard_from_client(r.guard, r.now_us, (const uint8_t *)"\0\0\0\6\0\0\0\0\0", 9, r.output);
    assert(taken == 0 && r.output->bytes == 0 && r.output->count == 0);
    (void)taken;
  }
  guard_free(r.guard);
  free(r.output);
}

/* ---- What is expected ---- */

void script_same(const struct script_result *whole, const struct script *script, struct script_cuts cuts) {
  struct script_result cut;
  script_run(script, cuts, &cut);
  if (cut.offence != whole->offence || cut.streams != whole->streams ||
      !str_eq(buf_str(&cut.out), buf_str(&whole->out)))
    fail_msg("pieces of %zu, cut at %zu: %s with %zu bytes instead of %s with %zu", cuts.piece, cuts.cut,
             guard_offence_name(cut.offence), cut.out.len, guard_offence_name(whole->offence),
             whole->out.len);
  buf_fini(&cut.out);
}

void script_run_cut(const struct script *script, struct script_result *ret) {
  script_run(script, (struct script_cuts){0}, ret);
  const size_t pieces[] = {1, 2, 3, 7, 10, 100, 1024, 1025, 5000};
  for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
    script_same(ret, script, (struct script_cuts){.piece = pieces[i]});
  size_t step = ret->client_bytes / 300 + 1;
  for (size_t cut = 1; cut < ret->client_bytes; cut += step)
    script_same(ret, script, (struct script_cuts){.cut = cut});
}

void script_expect(struct script *script, enum guard_offence offence) {
  struct script_result result;
  script_run_cut(script, &result);
  if (result.offence != offence)
    fail_msg("%s (%s) instead of %s", guard_offence_name(result.offence),
             result.why == NULL ? "" : result.why, guard_offence_name(offence));
  buf_fini(&result.out);
  script_free(script);
}

void script_expect_out(struct script *script, struct buf *wanted) {
  struct script_result result;
  script_run_cut(script, &result);
  assert_string_equal(guard_offence_name(result.offence), "none");
  assert_int_equal(result.out.len, wanted->len);
  assert_memory_equal(result.out.data, wanted->data, wanted->len);
  buf_fini(&result.out);
  buf_fini(wanted);
  script_free(script);
}

void script_append_id(struct buf *out, int64_t now_us) {
  char time[RPC_CONNECTION_TIME_CHARS];
  rpc_connection_time(now_us, time);
  buf_append_byte(out, 0x10); /* never indexed, with a name of its own */
  buf_append_byte(out, 17);
  buf_append_str(out, STR("skerry-connection"));
  buf_append_byte(out, 32);
  buf_append(out, SCRIPT_KEY.text, sizeof SCRIPT_KEY.text);
  buf_append(out, time, sizeof time);
}

void script_append_request(struct buf *out, uint32_t id, uint8_t end_stream, str block, int64_t now_us) {
  struct buf all = {0};
  buf_append_str(&all, block);
  script_append_id(&all, now_us);
  wire_frame(out, FRAME_HEADERS, (uint8_t)(end_stream | FLAG_END_HEADERS), id, buf_str(&all));
  buf_fini(&all);
}

void script_append_plain_request(struct buf *out, uint32_t id, uint8_t end_stream) {
  struct buf block = {0};
  wire_pseudo(&block);
  script_append_request(out, id, end_stream, buf_str(&block), SCRIPT_START_US);
  buf_fini(&block);
}

void script_append_hello(struct buf *out) {
  buf_append_str(out, WIRE_PREFACE);
  wire_frame(out, FRAME_SETTINGS, 0, 0, STR(""));
  wire_frame(out, FRAME_SETTINGS, FLAG_ACK, 0, STR(""));
}

struct script *script_greeted(void) {
  struct script *script = script_new();
  script_hello(script);
  return script;
}

struct script *script_opened(void) {
  struct script *script = script_greeted();
  script_request(script, 1, 0);
  return script;
}
