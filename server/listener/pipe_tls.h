/* TLS as a pipe uses it: records in, plain bytes out, and back. No I/O: bytes lie in the thread's buffers
 * (struct pipe_thread), and what is in cipher_out after a call goes to the client. */
#ifndef SKERRY_SERVER_LISTENER_PIPE_TLS_H
#define SKERRY_SERVER_LISTENER_PIPE_TLS_H

#include "server/listener/pipe.h"

/* RESOURCE_EXHAUSTED. */
STATUS_MUST_USE status pipe_tls_init(struct pipe_thread *thread);
void pipe_tls_fini(struct pipe_thread *thread); /* of a zeroed one: nothing */

/* False: no memory. */
bool pipe_tls_begin(struct pipe *pipe, bool always_h2);

enum pipe_tls_state {
  PIPE_TLS_HANDSHAKE, /* is not finished */
  PIPE_TLS_OPEN,
  PIPE_TLS_ENDED, /* the client said that nothing more comes (close_notify) */
  PIPE_TLS_FAILED,
};
/* Takes all of the client's bytes, at most PIPE_READ_BYTES; what they say is the first *ret_len bytes of
 * `plain`. */
enum pipe_tls_state pipe_tls_take(struct pipe *pipe, const uint8_t *bytes, size_t len, size_t *ret_len);
/* After PIPE_TLS_FAILED: for the log. */
const char *pipe_tls_why(void);

/* At most PIPE_READ_BYTES. False: no memory. */
bool pipe_tls_put(struct pipe *pipe, const uint8_t *bytes, size_t len);

/* Says goodbye if there is somebody to say it to. Nothing is taken or put any more. */
void pipe_tls_end(struct pipe *pipe);
/* Without a word. */
void pipe_tls_drop(struct pipe *pipe);

#endif
