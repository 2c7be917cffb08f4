/* All connections of a thread share one BIO. Every one of them leaves its two ends empty when its event is
 * over: bytes of one connection must never come out at another. */
#include "server/listener/pipe_tls.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

/* ---- The BIO: BoringSSL reads and writes the thread's buffers ---- */

static int bio_read(BIO *bio, char *out, int len) {
  struct pipe_thread *thread = BIO_get_data(bio);
  size_t taken = thread->cipher_in_len < (size_t)len ? thread->cipher_in_len : (size_t)len;
  BIO_clear_retry_flags(bio);
  if (taken == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  memcpy(out, thread->cipher_in, taken);
  thread->cipher_in += taken;
  thread->cipher_in_len -= taken;
  return (int)taken;
}

static int bio_write(BIO *bio, const char *bytes, int len) {
  struct pipe_thread *thread = BIO_get_data(bio);
  size_t room = sizeof thread->cipher_out - thread->cipher_out_len;
  size_t taken = room < (size_t)len ? room : (size_t)len;
  BIO_clear_retry_flags(bio);
  if (taken == 0) {
    BIO_set_retry_write(bio);
    return -1;
  }
  memcpy(thread->cipher_out + thread->cipher_out_len, bytes, taken);
  thread->cipher_out_len += taken;
  return (int)taken;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

status pipe_tls_init(struct pipe_thread *thread) {
  thread->bio_method = BIO_meth_new(BIO_TYPE_MEM, "connection");
  if (thread->bio_method == NULL || !BIO_meth_set_read(thread->bio_method, bio_read) ||
      !BIO_meth_set_write(thread->bio_method, bio_write) || !BIO_meth_set_ctrl(thread->bio_method, bio_ctrl))
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  thread->bio = BIO_new(thread->bio_method);
  if (thread->bio == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  BIO_set_data(thread->bio, thread);
  BIO_set_init(thread->bio, 1);
  return status_ok();
}

void pipe_tls_fini(struct pipe_thread *thread) {
  BIO_free(thread->bio);
  if (thread->bio_method != NULL)
    BIO_meth_free(thread->bio_method);
  thread->bio = NULL;
  thread->bio_method = NULL;
}

/* ---- A connection ---- */

bool pipe_tls_begin(struct pipe *pipe, bool always_h2) {
  struct pipe_thread *thread = pipe->thread;
  pipe->ssl = tls_accept(thread->options->tls, -1, always_h2);
  if (pipe->ssl == NULL)
    return false;
  BIO_up_ref(thread->bio);
  SSL_set_bio(pipe->ssl, thread->bio, thread->bio); /* takes the one reference for both */
  return true;
}

static enum pipe_tls_state handshake(struct pipe *pipe) {
  struct pump_stats *stats = &pipe->thread->stats;
  int result = SSL_do_handshake(pipe->ssl);
  if (result == 1) {
    stats->handshakes++;
    stats->resumed += SSL_session_reused(pipe->ssl) ? 1 : 0;
    return PIPE_TLS_OPEN;
  }
  if (SSL_get_error(pipe->ssl, result) == SSL_ERROR_WANT_READ)
    return PIPE_TLS_HANDSHAKE;
  stats->handshakes_failed++;
  return PIPE_TLS_FAILED;
}

/* Until the records are used up: what does not fill one BoringSSL keeps. */
static enum pipe_tls_state decrypt(struct pipe *pipe, size_t *ret_len) {
  struct pipe_thread *thread = pipe->thread;
  int result;
  do {
    size_t room = sizeof thread->plain - *ret_len;
    assert(room > 0); /* it holds more than all that was read and a record */
    result = SSL_read(pipe->ssl, thread->plain + *ret_len, (int)room);
    *ret_len += result > 0 ? (size_t)result : 0;
  } while (result > 0);
  int error = SSL_get_error(pipe->ssl, result);
  if (error == SSL_ERROR_WANT_READ)
    return PIPE_TLS_OPEN;
  return error == SSL_ERROR_ZERO_RETURN ? PIPE_TLS_ENDED : PIPE_TLS_FAILED;
}

enum pipe_tls_state pipe_tls_take(struct pipe *pipe, const uint8_t *bytes, size_t len, size_t *ret_len) {
  struct pipe_thread *thread = pipe->thread;
  assert(thread->cipher_out_len == 0 && len <= PIPE_READ_BYTES);
  *ret_len = 0;
  thread->cipher_in = bytes;
  thread->cipher_in_len = len;
  ERR_clear_error();
  enum pipe_tls_state state = SSL_in_init(pipe->ssl) ? handshake(pipe) : PIPE_TLS_OPEN;
  if (state == PIPE_TLS_OPEN)
    state = decrypt(pipe, ret_len);
  thread->cipher_in = NULL;
  thread->cipher_in_len = 0;
  return state;
}

const char *pipe_tls_why(void) {
  uint32_t error = ERR_peek_error();
  const char *reason = error == 0 ? NULL : ERR_reason_error_string(error);
  ERR_clear_error();
  return reason == NULL ? "unknown" : reason;
}

bool pipe_tls_put(struct pipe *pipe, const uint8_t *bytes, size_t len) {
  assert(pipe->thread->cipher_out_len == 0 && len <= PIPE_READ_BYTES);
  while (len > 0) {
    int written = SSL_write(pipe->ssl, bytes, (int)len);
    if (written <= 0) { /* there is room for all of it */
      ERR_clear_error();
      return false;
    }
    bytes += written;
    len -= (size_t)written;
  }
  return true;
}

void pipe_tls_end(struct pipe *pipe) {
  if (!SSL_in_init(pipe->ssl))
    SSL_shutdown(pipe->ssl);
  ERR_clear_error();
  pipe_tls_drop(pipe);
}

void pipe_tls_drop(struct pipe *pipe) {
  SSL_free(pipe->ssl);
  pipe->ssl = NULL;
}
