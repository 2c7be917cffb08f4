/* A small gRPC server for the client's tests, straight on gRPC core, so that they do not rest on our own
 * server. Each call has a thread and is played by the method's name:
 *
 *   Echo   unary: sends the request back; the request header "x-ask" comes back as header "x-answer" and
 * trailer "x-answer-bin" Fail   unary: NOT_FOUND with a message and grpc-status-details-bin "details" Wait
 * any kind: nothing until the call is cancelled Count  server stream: the request "N" brings N messages, "0",
 * "1", ... each padded to 1,000 bytes Sum    client stream: the number of messages and their bytes, as
 * "MESSAGES BYTES" Chat   bidi: each message back, until the half-close Once   bidi: one message, then
 * nothing until the call is cancelled */
#ifndef SKERRY_RPC_CLIENT_TEST_SERVER_H
#define SKERRY_RPC_CLIENT_TEST_SERVER_H

struct test_server;

/* `address`: "127.0.0.1:0" (any port), "127.0.0.1:1234", "[::1]:0" or "unix:/path". NULL: it cannot listen.
 */
struct test_server *test_server_start(const char *address);
int test_server_port(const struct test_server *server);
/* Ends connections and calls at once. */
void test_server_stop(struct test_server *server);

#endif
