/* A daemon's command line: what every program of ours answers the same way. */
#ifndef ASSENT_BASE_COMMAND_H
#define ASSENT_BASE_COMMAND_H

#include "base/config.h"

#define TPC_EXIT_USAGE 2

/* The settings that every daemon has; part of its own settings. */
struct tpc_common_settings {
    char *log_level;
    char *log_format;
    char *failpoints;
};

struct tpc_command {
    const char *name;  /* "assentd" */
    const char *usage; /* the first lines of --help */
    const struct tpc_opt *options;
    void *settings;                           /* zeroed; what @options fill in */
    const struct tpc_common_settings *common; /* within @settings */
    const char *missing; /* what to say without its one word; NULL: it takes none */
    /* Are the settings good as a whole? */
    enum tpc_rc (*check)(const void *settings, struct tpc_err *reterr);
    int (*run)(const void *settings, const char *word); /* the exit status */
};

/* Options whose values are struct tpc_common_settings at @offset; for the table of options. */
#define TPC_COMMON_OPTIONS(base)                                                                   \
    {.name = "log-level",                                                                          \
     .type = TPC_OPT_STRING,                                                                       \
     .offset = (base) + offsetof(struct tpc_common_settings, log_level),                           \
     .default_text = "info",                                                                       \
     .argument = "LEVEL",                                                                          \
     .help = "debug, info, warn or error"},                                                        \
        {.name = "log-format",                                                                     \
         .type = TPC_OPT_STRING,                                                                   \
         .offset = (base) + offsetof(struct tpc_common_settings, log_format),                      \
         .default_text = "logfmt",                                                                 \
         .argument = "FORMAT",                                                                     \
         .help = "logfmt or json"},                                                                \
    {                                                                                              \
        .name = "failpoints", .type = TPC_OPT_STRING,                                              \
        .offset = (base) + offsetof(struct tpc_common_settings, failpoints), .argument = "SPEC",   \
        .help = "for tests: NAME=[N*]kill|error|delay(MS)|hang|trace;…"                          \
    }

/* Read the settings, answer --help and its like, set up the log, arm the failpoints, and run.
 * Returns the exit status. */
int tpc_command_main(const struct tpc_command *command, int argc, char **argv);

#endif
