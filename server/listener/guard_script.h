/* A connection as a script: what the client and the server send, and time that passes. It is run against a
 * guard in pieces of any size; what comes out and the verdict must not depend on them. For tests only. */
#ifndef SKERRY_SERVER_LISTENER_GUARD_SCRIPT_H
#define SKERRY_SERVER_LISTENER_GUARD_SCRIPT_H

#include "server/listener/guard.h"
#include "server/listener/guard_wire.h"

enum { SCRIPT_STEPS_MAX = 4096, SCRIPT_START_US = 1000000000 };

struct script_step {
  bool by_server;
  size_t from, len; /* in `bytes` */
  int64_t wait_us;  /* before it */
};

/* Zeroed but for the options: nothing happens. */
struct script {
  struct guard_options options;
  struct script_step steps[SCRIPT_STEPS_MAX];
  size_t count;
  struct buf bytes;
};

extern const struct rpc_connection_key SCRIPT_KEY;

/* Limits of 100 streams, 8192 bytes of headers, ten seconds. */
struct script *script_new(void);
void script_free(struct script *script);

/* Each appends; bytes are copied. */
void script_client(struct script *script, str bytes);
void script_client_frame(struct script *script, uint8_t type, uint8_t flags, uint32_t id, str payload);
void script_server_frame(struct script *script, uint8_t type, uint8_t flags, uint32_t id, str payload);
void script_wait(struct script *script, int64_t us);
/* The preface and SETTINGS of both sides, acknowledged. */
void script_hello(struct script *script);
/* A plain request without a table; `flags` besides END_HEADERS. */
void script_request(struct script *script, uint32_t id, uint8_t flags);

/* How a run cuts the client's bytes: pieces of `piece` bytes (0: each step whole), and a cut at `cut`
 * (counted over all of the client's bytes). The server's bytes come in pieces of `piece` too. */
struct script_cuts {
  size_t piece, cut;
};
struct script_result {
  enum guard_offence offence;
  const char *why;
  unsigned streams;
  size_t client_bytes; /* all that the script has */
  bool was_full;       /* a call took less than it was given, without an offence */
  struct buf out;      /* for buf_fini */
};
void script_run(const struct script *script, struct script_cuts cuts, struct script_result *ret);

/* That a run cut in this way comes to the same. */
void script_same(const struct script_result *whole, const struct script *script, struct script_cuts cuts);
/* Runs the script whole and cut everywhere (long ones: in some places). The result is the caller's. */
void script_run_cut(const struct script *script, struct script_result *ret);
/* The script, cut everywhere, ends with this offence (or none). Frees it. */
void script_expect(struct script *script, enum guard_offence offence);
/* The script, cut everywhere, is let through, and these bytes come out. Frees both. */
void script_expect_out(struct script *script, struct buf *wanted);

/* What the server gets: the field that the guard adds at `now_us`; of script_hello; a request with this
 * block; of script_request at the start. */
void script_append_id(struct buf *out, int64_t now_us);
void script_append_hello(struct buf *out);
void script_append_request(struct buf *out, uint32_t id, uint8_t end_stream, str block, int64_t now_us);
void script_append_plain_request(struct buf *out, uint32_t id, uint8_t end_stream);

struct script *script_greeted(void); /* after script_hello */
struct script *script_opened(void);  /* and a request on stream 1 */

/* :method, :scheme and :path as indices of the static table. */
#define SCRIPT_PSEUDO "\x83\x86\x84"

#endif
