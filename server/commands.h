/* The subcommands of the program. Each takes the arguments after its name and gives the exit code: 0, 1 for a
 * failure, 2 for a mistake in how it was called. They print results to standard output and errors, with what
 * to do, to standard error. */
#ifndef SKERRY_SERVER_COMMANDS_H
#define SKERRY_SERVER_COMMANDS_H

int command_status(int argc, char **argv);
int command_get(int argc, char **argv);
int command_list(int argc, char **argv);
int command_index(int argc, char **argv);
int command_key(int argc, char **argv);
int command_rules(int argc, char **argv);
int command_rules_test(int argc, char **argv); /* after `rules test` */
int command_cert(int argc, char **argv);
int command_backup(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_export(int argc, char **argv);
int command_import(int argc, char **argv);
int command_verify(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_profile(int argc, char **argv);

#endif
