/* `serve`, with a program's own services (embed/server.h). */
#ifndef SKERRY_SERVER_SERVE_H
#define SKERRY_SERVER_SERVE_H

struct skerry_program;

/* The arguments after the subcommand; the exit code, as in commands.h. */
int serve(const struct skerry_program *program, int argc, char **argv);

#endif
