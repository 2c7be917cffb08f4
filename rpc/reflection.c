#include "rpc/reflection.h"

#include <stdlib.h>

#include "grpc/reflection/v1/reflection.skerry.h"
#include "grpc/reflection/v1alpha/reflection.skerry.h"
#include "rpc/descriptor.h"
#include "rpc/runtime.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;
#define REQUEST(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

struct rpc_reflection {
  struct rpc_server *server;
  const struct rpc_file **files; /* of all services, and all that they import; each once */
  size_t file_count;
  /* v1alpha is v1 under another name, the wire form is the same: its method is served with v1's types. */
  struct rpc_service alpha;
  struct rpc_method alpha_method;
};

/* ---- Files ---- */

static bool knows_file(const struct rpc_reflection *reflection, const struct rpc_file *file) {
  for (size_t i = 0; i < reflection->file_count; i++)
    if (strcmp(reflection->files[i]->name, file->name) == 0)
      return true;
  return false;
}

/* Recursion is as deep as our files import each other. */
static bool add_file(struct rpc_reflection *reflection, const struct rpc_file *file) {
  if (file == NULL || knows_file(reflection, file))
    return true;
  const struct rpc_file **grown = realloc(reflection->files, (reflection->file_count + 1) * sizeof *grown);
  if (grown == NULL)
    return false;
  reflection->files = grown;
  reflection->files[reflection->file_count++] = file;
  for (size_t i = 0; i < file->dependency_count; i++)
    if (!add_file(reflection, file->dependencies[i]))
      return false;
  return true;
}

static const struct rpc_file *find_by_name(const struct rpc_reflection *reflection, const char *name) {
  for (size_t i = 0; i < reflection->file_count; i++)
    if (strcmp(reflection->files[i]->name, name) == 0)
      return reflection->files[i];
  return NULL;
}

static const struct rpc_file *find_by_symbol(const struct rpc_reflection *reflection, str symbol) {
  for (size_t i = 0; i < reflection->file_count; i++)
    if (rpc_descriptor_declares(reflection->files[i]->descriptor, symbol))
      return reflection->files[i];
  return NULL;
}

/* ---- Answers; their parts live in `arena` until the response is sent ---- */

static bool answer_error(reflection_response *response, struct arena *arena, enum status_code code,
                         const char *what, const char *name) {
  Grpc__Reflection__V1__ErrorResponse *error = ARENA_NEW(arena, Grpc__Reflection__V1__ErrorResponse);
  str text = arena_printf(arena, "%s: %s", what, name);
  if (error == NULL || text.ptr == NULL)
    return false;
  grpc__reflection__v1__error_response__init(error);
  error->error_code = (int32_t)code;
  error->error_message = (char *)(uintptr_t)text.ptr;
  response->message_response_case = RESPONSE(ERROR_RESPONSE);
  response->error_response = error;
  return true;
}

static size_t collect(const struct rpc_file *file, const struct rpc_file **seen, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (seen[i] == file)
      return count;
  seen[count++] = file;
  for (size_t i = 0; i < file->dependency_count; i++)
    count = collect(file->dependencies[i], seen, count);
  return count;
}

/* The file and all that it imports: a client needs them all, and asks for each otherwise. */
static bool answer_file(const struct rpc_reflection *reflection, const struct rpc_file *file,
                        struct arena *arena, reflection_response *response) {
  const struct rpc_file **seen = ARENA_NEW_ARRAY(arena, const struct rpc_file *, reflection->file_count);
  ProtobufCBinaryData *bytes = ARENA_NEW_ARRAY(arena, ProtobufCBinaryData, reflection->file_count);
  Grpc__Reflection__V1__FileDescriptorResponse *files =
      ARENA_NEW(arena, Grpc__Reflection__V1__FileDescriptorResponse);
  if (seen == NULL || bytes == NULL || files == NULL)
    return false;
  grpc__reflection__v1__file_descriptor_response__init(files);
  files->n_file_descriptor_proto = collect(file, seen, 0);
  files->file_descriptor_proto = bytes;
  for (size_t i = 0; i < files->n_file_descriptor_proto; i++)
    bytes[i] = (ProtobufCBinaryData){seen[i]->descriptor.len, (uint8_t *)(uintptr_t)seen[i]->descriptor.ptr};
  response->message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
  response->file_descriptor_response = files;
  return true;
}

static bool answer_services(const struct rpc_server *server, struct arena *arena,
                            reflection_response *response) {
  Grpc__Reflection__V1__ListServiceResponse *list =
      ARENA_NEW(arena, Grpc__Reflection__V1__ListServiceResponse);
  Grpc__Reflection__V1__ServiceResponse *services =
      ARENA_NEW_ARRAY(arena, Grpc__Reflection__V1__ServiceResponse, server->service_count);
  Grpc__Reflection__V1__ServiceResponse **pointers =
      ARENA_NEW_ARRAY(arena, Grpc__Reflection__V1__ServiceResponse *, server->service_count);
  if (list == NULL || services == NULL || pointers == NULL)
    return false;
  grpc__reflection__v1__list_service_response__init(list);
  list->n_service = server->service_count;
  list->service = pointers;
  for (size_t i = 0; i < server->service_count; i++) {
    grpc__reflection__v1__service_response__init(&services[i]);
    services[i].name = (char *)(uintptr_t)server->services[i]->name;
    pointers[i] = &services[i];
  }
  response->message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
  response->list_services_response = list;
  return true;
}

/* Numbers of extensions; `wanted` is looked for among them. */
struct numbers {
  int32_t *items; /* NULL: count only */
  size_t count;
  int32_t wanted;
  bool found;
};

static void on_extension(void *argument, int32_t number) {
  struct numbers *numbers = argument;
  if (numbers->items != NULL)
    numbers->items[numbers->count] = number;
  numbers->count++;
  numbers->found = numbers->found || number == numbers->wanted;
}

static const struct rpc_file *find_extension(const struct rpc_reflection *reflection, const char *type,
                                             int32_t number) {
  for (size_t i = 0; i < reflection->file_count; i++) {
    struct numbers numbers = {.wanted = number};
    rpc_descriptor_extensions(reflection->files[i]->descriptor, str_from_cstr(type), on_extension, &numbers);
    if (numbers.found)
      return reflection->files[i];
  }
  return NULL;
}

static bool answer_extension_numbers(const struct rpc_reflection *reflection, const char *type,
                                     struct arena *arena, reflection_response *response) {
  struct numbers numbers = {0};
  for (size_t i = 0; i < reflection->file_count; i++)
    rpc_descriptor_extensions(reflection->files[i]->descriptor, str_from_cstr(type), on_extension, &numbers);
  struct numbers filled = {.items = ARENA_NEW_ARRAY(arena, int32_t, numbers.count + 1)};
  Grpc__Reflection__V1__ExtensionNumberResponse *answer =
      ARENA_NEW(arena, Grpc__Reflection__V1__ExtensionNumberResponse);
  if (filled.items == NULL || answer == NULL)
    return false;
  for (size_t i = 0; i < reflection->file_count; i++)
    rpc_descriptor_extensions(reflection->files[i]->descriptor, str_from_cstr(type), on_extension, &filled);
  grpc__reflection__v1__extension_number_response__init(answer);
  answer->base_type_name = (char *)(uintptr_t)type;
  answer->n_extension_number = filled.count;
  answer->extension_number = filled.items;
  response->message_response_case = RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE);
  response->all_extension_numbers_response = answer;
  return true;
}

static const char *without_dot(const char *name) {
  return name[0] == '.' ? name + 1 : name;
}

/* False: no memory. */
static bool answer(const struct rpc_reflection *reflection, const reflection_request *request,
                   struct arena *arena, reflection_response *response) {
  const struct rpc_file *file = NULL;
  const char *what = "unknown file", *name = "";
  switch (request->message_request_case) {
  case REQUEST(LIST_SERVICES):
    return answer_services(reflection->server, arena, response);
  case REQUEST(FILE_BY_FILENAME):
    name = request->file_by_filename;
    file = find_by_name(reflection, name);
    break;
  case REQUEST(FILE_CONTAINING_SYMBOL):
    what = "unknown symbol";
    name = without_dot(request->file_containing_symbol);
    file = find_by_symbol(reflection, str_from_cstr(name));
    break;
  case REQUEST(FILE_CONTAINING_EXTENSION):
    what = "unknown type, or no such extension of it";
    name = without_dot(request->file_containing_extension->containing_type);
    file = find_extension(reflection, name, request->file_containing_extension->extension_number);
    break;
  case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
    what = "unknown type";
    name = without_dot(request->all_extension_numbers_of_type);
    if (find_by_symbol(reflection, str_from_cstr(name)) != NULL)
      return answer_extension_numbers(reflection, name, arena, response);
    break;
  case REQUEST(_NOT_SET):
  default:
    return answer_error(response, arena, STATUS_INVALID_ARGUMENT, "the request asks for nothing", "");
  }
  if (file == NULL)
    return answer_error(response, arena, STATUS_NOT_FOUND, what, name);
  return answer_file(reflection, file, arena, response);
}

/* ---- The stream ---- */

/* The call's state is the request that waits for room in the queue; it stays valid until the next is asked
 * for. */
struct waiting {
  const reflection_request *request;
};

static void respond(struct rpc_call *call, const reflection_request *request) {
  struct waiting *waiting = rpc_call_state(call);
  reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
  response.valid_host = request->host;
  response.original_request = (reflection_request *)(uintptr_t)request;
  waiting->request = NULL;
  if (!answer(rpc_call_service(call), request, &call->message_arena, &response)) {
    rpc_call_finish(call, status_default(STATUS_RESOURCE_EXHAUSTED));
    return;
  }
  switch (grpc_reflection_v1_server_reflection_server_reflection_info_send(call, &response)) {
  case RPC_SEND_OK:
    rpc_call_receive_next(call);
    break;
  case RPC_SEND_FULL:
    waiting->request = request;
    break;
  case RPC_SEND_CLOSED:
  default:
    rpc_call_finish(call, status_default(STATUS_UNAVAILABLE));
    break;
  }
}

static void on_drained(struct rpc_call *call, void *state) {
  const struct waiting *waiting = state;
  if (waiting->request != NULL)
    respond(call, waiting->request);
}

static void on_cancelled(struct rpc_call *call, void *state) {
  (void)state;
  rpc_call_finish(call, status_default(STATUS_CANCELLED));
}

static const struct rpc_call_events events = {.drained = on_drained, .cancelled = on_cancelled};

static void on_open(struct rpc_call *call) {
  struct waiting *waiting = ARENA_NEW(rpc_call_arena(call), struct waiting);
  if (waiting == NULL)
    rpc_call_finish(call, status_default(STATUS_RESOURCE_EXHAUSTED));
  else
    rpc_call_watch(call, &events, waiting);
}

static void on_half_close(struct rpc_call *call) {
  rpc_call_finish(call, status_ok());
}

static const struct grpc_reflection_v1_server_reflection_handlers handlers = {
    .server_reflection_info = {on_open, respond, on_half_close}};

status rpc_reflection_new(struct rpc_server *server, struct rpc_reflection **ret) {
  struct rpc_reflection *reflection = calloc(1, sizeof *reflection);
  if (reflection == NULL)
    return status_default(STATUS_RESOURCE_EXHAUSTED);
  reflection->server = server;
  const struct rpc_service *v1 = &grpc_reflection_v1_server_reflection_service;
  const struct rpc_service *alpha = &grpc_reflection_v1alpha_server_reflection_service;
  reflection->alpha = *alpha;
  reflection->alpha.methods = &reflection->alpha_method;
  reflection->alpha_method = v1->methods[0];
  reflection->alpha_method.path = alpha->methods[0].path;
  reflection->alpha_method.service = &reflection->alpha;
  status result = rpc_server_add_service(server, v1, &handlers, reflection);
  if (result.code == STATUS_OK)
    result = rpc_server_add_service(server, &reflection->alpha, &handlers, reflection);
  for (size_t i = 0; result.code == STATUS_OK && i < server->service_count; i++)
    if (!add_file(reflection, server->services[i]->file))
      result = status_default(STATUS_RESOURCE_EXHAUSTED);
  if (result.code != STATUS_OK) {
    rpc_reflection_free(reflection);
    return result;
  }
  *ret = reflection;
  return result;
}

void rpc_reflection_free(struct rpc_reflection *reflection) {
  if (reflection == NULL)
    return;
  free(reflection->files);
  free(reflection);
}
