/* `assent crashtest --conformance URL`: does a participant, of whatever make, do what
 * docs/protocol.md asks of it? We act as its coordinator. */
#ifndef ASSENT_CLI_CRASHTEST_CONFORMANCE_H
#define ASSENT_CLI_CRASHTEST_CONFORMANCE_H

#include "cli/cli.h"

struct cli_conformance_options {
    const char *url;    /* of the participant, no slash at its end */
    const char *only;   /* names of checks, with commas between; NULL: all */
    const char *work;   /* JSON, or a file with it; NULL: SQL for crashtest_accounts:
                           {"writes": […], "reads": […], "refused": […]}, each the statements of a
                           branch, or null where there is none such */
    const char *listen; /* where it may ask for decisions; NULL: 127.0.0.1, any port */
    const char
        *restart; /* shell command that kills it and has it started again; NULL: no restart */
    unsigned long patience_ms; /* for an answer, for a question in doubt; 0: 30 s */
    enum cli_format format;
};

/* A line for each check to stdout. CLI_OK: none failed; CLI_ERROR: some did; CLI_USAGE: the options
 * are wrong; CLI_UNREACHABLE: nobody answers at all. */
enum cli_exit cli_conformance_run(const struct cli_conformance_options *options);

#endif
