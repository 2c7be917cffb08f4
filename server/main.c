/* skerry: one program, and its subcommands. */
#include <signal.h>
#include <stdio.h>

#include "base/str.h"
#include "bench/command.h"
#include "server/commands.h"
#include "server/profile.h"
#include "server/settings.h"

static int command_version(int argc, char **argv) {
  (void)argc;
  (void)argv;
  puts("skerry " SKERRY_VERSION);
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

static void print_usage(FILE *out) {
  fputs("skerry " SKERRY_VERSION ": a mobile-app backend for small boxes\n\n", out);
  for (const struct command *command = commands; command < commands + COMMAND_COUNT; command++)
    fprintf(out, "  skerry %-8s%-42s %s\n", command->name, command->usage, command->help);
  fputs("\nTry it:  skerry serve --dev\n", out);
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

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN); /* a client that has gone is an error of write, not the end of the server */
  str name = str_from_cstr(argc > 1 ? argv[1] : "help");
  if (str_eq(name, STR("--help")) || str_eq(name, STR("-h")))
    name = STR("help");
  if (str_eq(name, STR("--version")))
    name = STR("version");
  for (const struct command *command = commands; command < commands + COMMAND_COUNT; command++)
    if (str_eq(name, str_from_cstr(command->name)))
      return command->run(argc > 2 ? argc - 2 : 0, argv + (argc > 2 ? 2 : argc));
  fprintf(stderr, "skerry: there is no command \"%s\"\n\n", argv[1]);
  print_usage(stderr);
  return 2;
}
