/* `skerry bench listen`: opens a crowd of listeners and does what its standard input says, a line at a time,
 * each answered with a line of JSON; so that others can measure in between. bench/listening.py is its user.
 */
#ifndef SKERRY_BENCH_LISTEN_COMMAND_H
#define SKERRY_BENCH_LISTEN_COMMAND_H

/* The exit code. `argv` begins after "listen". */
int listen_command(int argc, char **argv);

#endif
