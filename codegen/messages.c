#include "codegen/messages.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child with pipes at its standard input and output. */
struct child {
  pid_t pid;
  int input, output; /* our ends */
};

/* POSIX: a child whose program could not be run may exit with it, where posix_spawn cannot tell. */
enum { EXIT_NOT_RUN = 127 };

static void cannot_run(struct schema *schema, const char *program, int error) {
  schema_error(
      schema, NULL,
      "cannot run %s: %s; install protobuf-c's compiler (Debian: protobuf-c-compiler) or name it with "
      "--skerry_opt=protoc_gen_c=PATH",
      program, strerror(error));
}

static bool spawn(struct schema *schema, const char *program, struct child *ret) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
    schema_error(schema, NULL, "cannot make a pipe: %s", strerror(errno));
    return false;
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  char name[] = "protoc-gen-c"; /* by this name it knows that it is a plug-in */
  char *argv[] = {name, NULL};
  int error = posix_spawnp(&ret->pid, program, &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  if (error != 0) {
    close(in[1]);
    close(out[0]);
    cannot_run(schema, program, error);
    return false;
  }
  ret->input = in[1];
  ret->output = out[0];
  return true;
}

static bool write_all(int fd, const uint8_t *bytes, size_t len) {
  while (len > 0) {
    ssize_t written = write(fd, bytes, len);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return false;
    bytes += written;
    len -= (size_t)written;
  }
  return true;
}

static bool read_all(int fd, struct buf *out) {
  for (;;) {
    if (!buf_reserve(out, 65536))
      return false;
    ssize_t got = read(fd, out->data + out->len, 65536);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got == 0;
    out->len += (size_t)got;
  }
}

/* Gives the child its input, then takes all of its output: it reads everything before it writes. Returns its
 * exit code, or -1. */
static int talk(struct child *child, const uint8_t *input, size_t len, struct buf *output) {
  bool sent = write_all(child->input, input, len);
  close(child->input);
  bool received = read_all(child->output, output);
  close(child->output);
  int state = 0;
  while (waitpid(child->pid, &state, 0) < 0 && errno == EINTR)
    continue;
  if (!WIFEXITED(state))
    return -1;
  return WEXITSTATUS(state) == 0 && !(sent && received) ? -1 : WEXITSTATUS(state);
}

proto_response *messages_generate(struct schema *schema) {
  schema->request->parameter = NULL; /* it is for us */
  size_t size = google__protobuf__compiler__code_generator_request__get_packed_size(schema->request);
  uint8_t *input = schema_alloc(schema, 1, size + 1);
  google__protobuf__compiler__code_generator_request__pack(schema->request, input);

  const char *program = schema->options.protoc_gen_c;
  struct child child;
  signal(SIGPIPE, SIG_IGN);
  if (!spawn(schema, program, &child))
    return NULL;
  struct buf output = {0};
  proto_response *response = NULL;
  int exit_code = talk(&child, input, size, &output);
  if (exit_code == EXIT_NOT_RUN) {
    cannot_run(schema, program, ENOENT);
  } else if (exit_code != 0) {
    schema_error(schema, NULL, "%s failed; what it wrote stands above", program);
  } else {
    ProtobufCAllocator allocator = schema_allocator(schema);
    response =
        google__protobuf__compiler__code_generator_response__unpack(&allocator, output.len, output.data);
    if (response == NULL)
      schema_error(schema, NULL, "%s answered something that is not a CodeGeneratorResponse", program);
    else if (response->error != NULL && response->error[0] != '\0')
      schema_error(schema, NULL, "protoc-gen-c: %s", response->error);
  }
  buf_fini(&output);
  return schema->errors.len == 0 ? response : NULL;
}
