/* skerry_main: one program, and its subcommands. */
#include <signal.h>
#include <stdio.h>

#include "base/str.h"
#include "bench/command.h"
#include "server/commands.h"
#include "server/embed/server.h"
#include "server/profile.h"
#include "server/serve.h"
#include "server/settings.h"

static struct skerry_program program; /* set once, before anything else runs */

static int command_serve(int argc, char **argv) {
  return serve(&program, argc, argv);
}

static int command_version(int argc, char **argv) {
  (void)argc;
  (void)argv;
  printf("%s %s\n", program.name, program.version);
  return 0;
}

static int command_help(int argc, char **argv);

static const struct command {
  const char *name;
  int (*run)(int argc, char **argv);
  const char *usage, *help;
} commands[] = {
    {"serve", command_serve, "[--dev] [--listen ADDRESS] [--data DIR] ...", "serve until SIGTERM or SIGINT"},
    {"status", command_status, "[--data DIR]", "what a running server says of itself"},
    {"get", command_get, "[--target ADDRESS] DOCUMENT", "print one document"},
    {"list", command_list, "[--target ADDRESS] [COLLECTION]",
     "print the documents or collections below a name"},
    {"index", command_index, "apply FILE | list [--json] | suggest",
     "the index definitions of a running server"},
    {"key", command_key, "create NAME | list | revoke ID", "keys of service accounts, for server SDKs"},
    {"rules", command_rules, "deploy FILE | check FILE | test | show",
     "the security rules of a running server, and tests of rules without one"},
    {"cert", command_cert, "new DIR [--name NAME ...] | show FILE",
     "make certificates for TLS, or look at one"},
    {"backup", command_backup, "[DIR] | list DIR | verify DIR",
     "make a backup while the server runs, or look at them"},
    {"restore", command_restore, "DIR --data NEWDIR [--id N]", "a data directory from a backup"},
    {"export", command_export, "[--collection PATH | --group ID] FILE|-", "documents as lines of JSON"},
    {"import", command_import, "[--merge | --overwrite | --skip] FILE|-", "documents from lines of JSON"},
    {"verify", command_verify, "[--data DIR]", "check everything that is stored (the server must not run)"},
    {"doctor", command_doctor, "[--data DIR] [--config FILE]",
     "what this machine is fit for, and what is wrong with it"},
    {"profile", command_profile, "[--config FILE]",
     "the budgets that hold here, a line for each, for scripts"},
    {"bench", bench_command, "MODE [--target ADDRESS] ...", "put load on a server and measure it"},
    {"version", command_version, "", "print the version"},
    {"help", command_help, "[settings | profiles]", "print this, every setting, or the profiles"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static bool is_skerry(void) {
  return str_eq(str_from_cstr(program.name), STR("skerry"));
}

static void print_usage(FILE *out) {
  fprintf(out, "%s %s: %s\n\n", program.name, program.version,
          is_skerry() ? "a mobile-app backend for small boxes" : "services on Skerry " SKERRY_VERSION);
  for (const struct command *command = commands; command < commands + COMMAND_COUNT; command++)
    fprintf(out, "  %s %-8s%-42s %s\n", program.name, command->name, command->usage, command->help);
  fprintf(out, "\nTry it:  %s serve --dev\n", program.name);
}

static int command_help(int argc, char **argv) {
  if (argc > 0 && str_eq(str_from_cstr(argv[0]), STR("settings")))
    settings_print_help(stdout);
  else if (argc > 0 && str_eq(str_from_cstr(argv[0]), STR("profiles")))
    profile_print_help(stdout);
  else
    print_usage(stdout);
  return 0;
}

static void set_program(const struct skerry_program *given) {
  program = given == NULL ? (struct skerry_program){0} : *given;
  if (program.name == NULL)
    program.name = "skerry";
  if (program.version == NULL)
    program.version = SKERRY_VERSION;
}

int skerry_main(int argc, char **argv, const struct skerry_program *given) {
  set_program(given);
  signal(SIGPIPE, SIG_IGN); /* a client that has gone is an error of write, not the end of the server */
  str name = str_from_cstr(argc > 1 ? argv[1] : "help");
  if (str_eq(name, STR("--help")) || str_eq(name, STR("-h")))
    name = STR("help");
  if (str_eq(name, STR("--version")))
    name = STR("version");
  for (const struct command *command = commands; command < commands + COMMAND_COUNT; command++)
    if (str_eq(name, str_from_cstr(command->name)))
      return command->run(argc > 2 ? argc - 2 : 0, argv + (argc > 2 ? 2 : argc));
  fprintf(stderr, "%s: there is no command \"%s\"\n\n", program.name, argv[1]);
  print_usage(stderr);
  return 2;
}
