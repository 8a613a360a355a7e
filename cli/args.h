/* The words of the command line. */
#ifndef ASSENT_CLI_ARGS_H
#define ASSENT_CLI_ARGS_H

#include "cli/cli.h"

#include <stdio.h>

/* Take @argv apart by @commands (ended by NULL). On CLI_OK @ret_call is ready to run, or one of
 * its help and version is set. On CLI_USAGE what is wrong was said on stderr. Flags that every
 * command knows may stand before or after it; `--` ends flags; the last of a repeated flag wins. */
enum cli_exit cli_args_parse(const struct cli_command *const *commands, int argc, char **argv,
                             struct cli_call *ret_call);

/* Help for the command or group of @call, or for the whole. */
void cli_args_help(const struct cli_command *const *commands, const struct cli_call *call,
                   FILE *out);

/* Milliseconds of "250ms", "10s", "5m", "1h" or a bare number of seconds; a bad one is complained
 * of on stderr by its @flag's name. */
bool cli_args_duration(const char *flag, const char *text, unsigned long *ret_ms);

/* The URL of a daemon, with "http://" where it has no scheme, without a slash at its end. What is
 * none is complained of on stderr. */
bool cli_args_url(const char *text, char *out, size_t size);

/* Who does something by hand: what --operator says, else USER@host. */
const char *cli_args_operator(const char *value, char *out, size_t size);

#endif
