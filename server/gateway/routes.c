/* What others register: one thread runs their handlers, one request at a time, because they may block and are
 * rare. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/gateway/call.h"
#include "server/gateway/gateway_inside.h"

static void run(struct worker_job *job) {
  struct gateway_request *request = (struct gateway_request *)job; /* its first member */
  request->route->handle(request->route->argument, request);
}

status gateway_route(struct gateway *gateway, const char *verb, const char *pattern,
                     void (*handle)(void *argument, struct gateway_request *request), void *argument) {
  if (gateway->route_count == GATEWAY_ROUTES_MAX)
    return status_make(STATUS_RESOURCE_EXHAUSTED, "There are more than %d routes.", (int)GATEWAY_ROUTES_MAX);
  struct route *route = &gateway->routes[gateway->route_count];
  *route = (struct route){.verb = verb, .handle = handle, .argument = argument};
  STATUS_TRY(url_template_parse(str_from_cstr(pattern), &gateway->arena, &route->path));
  STATUS_TRY(worker_start(&gateway->routes_worker, "gateway-routes"));
  gateway->route_count++;
  return status_ok();
}

static const struct route *find(struct exchange *ex, const char *verb, const struct url_path *path,
                                str values[URL_VARIABLES_MAX]) {
  const struct gateway *gateway = ex->gateway;
  for (size_t i = 0; i < gateway->route_count; i++)
    if (strcmp(gateway->routes[i].verb, verb) == 0 &&
        url_template_match(&gateway->routes[i].path, path, &ex->arena, values))
      return &gateway->routes[i];
  return NULL;
}

bool routes_match(struct exchange *ex, const char *verb, const struct url_path *path) {
  str values[URL_VARIABLES_MAX];
  return find(ex, verb, path, values) != NULL;
}

bool routes_dispatch(struct exchange *ex, const char *verb, const struct url_path *path) {
  str values[URL_VARIABLES_MAX] = {{0}};
  const struct route *found = find(ex, verb, path, values);
  if (found == NULL)
    return false;
  struct gateway_request *request = ARENA_NEW(&ex->arena, struct gateway_request);
  bool has_begun = false;
  if (request != NULL) {
    request->job.run = run;
    request->exchange = ex;
    request->route = found;
    memcpy(request->values, values, sizeof values);
    request->authorization = arena_str_copy(&ex->arena, str_from_cstr(exchange_header(ex, "authorization")));
    exchange_ref(ex);
    has_begun = worker_post(&ex->gateway->routes_worker, &request->job);
    if (!has_begun)
      exchange_unref(ex);
  }
  if (!has_begun) {
    status why = status_make(STATUS_RESOURCE_EXHAUSTED, "Too many requests of this kind wait. Try again.");
    gateway_refuse(ex, 0, &why);
  }
  return true;
}

str gateway_request_variable(const struct gateway_request *request, const char *name) {
  const struct url_template *path = &request->route->path;
  for (size_t i = 0; i < path->variable_count; i++)
    if (str_eq(path->variables[i].field, str_from_cstr(name)))
      return request->values[i];
  return STR("");
}

str gateway_request_authorization(const struct gateway_request *request) {
  return request->authorization;
}

const struct rpc_peer *gateway_request_peer(const struct gateway_request *request) {
  return &request->exchange->peer;
}

str gateway_request_body(const struct gateway_request *request) {
  return request->exchange->body.len == 0 ? STR("") : buf_str(&request->exchange->body);
}

void gateway_answer(struct gateway_request *request, unsigned http_status, const char *content_type,
                    str body) {
  struct exchange *ex = request->exchange; /* the request is in its memory */
  exchange_answer_text(ex, http_status, content_type, body);
  exchange_unref(ex);
}

void gateway_answer_status(struct gateway_request *request, status result) {
  struct exchange *ex = request->exchange;
  gateway_refuse(ex, 0, &result);
  exchange_unref(ex);
}
