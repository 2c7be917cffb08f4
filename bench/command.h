/* Puts load on a server and measures it. One line of JSON on standard output, one for people on standard
 * error. */
#ifndef SKERRY_BENCH_COMMAND_H
#define SKERRY_BENCH_COMMAND_H

/* The arguments after the program's or subcommand's name. The exit code: 0, 1 if calls failed, 2 for a
 * mistake in how it was called. */
int bench_command(int argc, char **argv);

#endif
