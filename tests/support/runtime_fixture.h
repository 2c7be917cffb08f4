/* A runtime with the echo service and a raw channel to it, as a cmocka fixture. */
#ifndef SKERRY_TESTS_SUPPORT_RUNTIME_FIXTURE_H
#define SKERRY_TESTS_SUPPORT_RUNTIME_FIXTURE_H

#include "skerry/test/v1/test_service.skerry.h"
#include "tests/support/echo_service.h"
#include "tests/support/raw_client.h"
#include "tests/support/unit.h"

typedef Skerry__Test__V1__EchoRequest echo_request;
typedef Skerry__Test__V1__EchoResponse echo_response;

#define UNARY "/skerry.test.v1.Echo/Unary"
#define SERVER_STREAM "/skerry.test.v1.Echo/ServerStream"
#define CLIENT_STREAM "/skerry.test.v1.Echo/ClientStream"
#define BIDI "/skerry.test.v1.Echo/Bidi"

struct runtime_fixture {
  struct rpc_server *server;
  struct echo_service echo;
  struct raw_channel channel;
};

/* The fixture's limits: 1 MiB a message, 4 MiB a call. */
int runtime_start(void **state);
int runtime_start_with(void **state, const struct rpc_server_options *options);
int runtime_stop(void **state); /* drains, and checks that no call is left */

int64_t runtime_now_us(void);
/* Runs at least this long; for things that have no event to wait for. */
void runtime_sleep_ms(int ms);

/* Waits until `condition` holds, ten seconds at most. */
#define eventually(condition)                                                                                \
  do {                                                                                                       \
    for (int eventually_ = 0; eventually_ < 5000 && !(condition); eventually_++)                             \
      runtime_sleep_ms(2);                                                                                   \
    assert_true(condition);                                                                                  \
  } while (0)

echo_request runtime_request(const char *text);
void runtime_pack(const echo_request *request, struct buf *out); /* appends */
/* Sends the request; true if the call took it. */
bool runtime_send(struct raw_call *call, const echo_request *request);
/* The next response, for echo_response free; NULL at the end. */
echo_response *runtime_receive(struct raw_call *call);
/* Receives one and checks its text and index. */
void runtime_expect(struct raw_call *call, const char *text, int32_t index);
/* A whole unary call; *ret (may be NULL) is NULL unless OK. */
status runtime_unary(struct runtime_fixture *f, const struct raw_options *options,
                     const echo_request *request, echo_response **ret);
void runtime_free(echo_response *response);

#endif
