/* The `assent` command: what was asked for, and the commands there are. */
#ifndef ASSENT_CLI_CLI_H
#define ASSENT_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

/* What the process ends with; promised to scripts. */
enum cli_exit {
    CLI_OK = 0, /* for submit and wait: committed */
    CLI_ERROR = 1,
    CLI_USAGE = 2,
    CLI_ABORTED = 3,
    CLI_IN_DOUBT = 4, /* or a hazard */
    CLI_UNREACHABLE = 5,
};

enum cli_format {
    CLI_TABLE,
    CLI_JSON,  /* one indented document */
    CLI_NDJSON /* one line for each thing */
};

#define CLI_FLAGS_MAX 32
#define CLI_WORDS_MAX 4
#define CLI_MANY_MAX  48

struct cli_flag {
    const char *name;     /* "participant"; NULL ends a table */
    const char *argument; /* "NAME"; NULL: the flag takes none; "NAME…": it may be repeated */
    const char *help;
    char letter; /* -o, 0 for none */
};

struct cli_command;

/* One use of the command line. Everything points into argv and the environment. */
struct cli_call {
    const struct cli_command *command;
    const char *group;
    char url[512];  /* of the coordinator, no slash at its end */
    bool url_given; /* by the flag */
    enum cli_format format;
    bool help;
    bool version;
    /* By position in the command's flags: its value, "" when it takes none, NULL when not given. */
    const char *values[CLI_FLAGS_MAX];
    /* All values of flags that may be repeated, in their order. */
    struct {
        size_t flag; /* position */
        const char *value;
    } many[CLI_MANY_MAX];
    size_t many_count;
    size_t word_count;
    const char *words[CLI_WORDS_MAX];
};

struct cli_command {
    const char *group; /* "tx" for `assent tx ls`; NULL for `assent submit` */
    const char *name;
    const char *words; /* "ID", for the help; NULL for none */
    size_t words_min, words_max;
    const char *summary; /* a line */
    const char *detail;  /* paragraphs for its own help; NULL for none */
    const struct cli_flag *flags;
    enum cli_exit (*run)(const struct cli_call *call);
};

extern const struct cli_command cli_submit;
extern const struct cli_command cli_tx_ls, cli_tx_show, cli_tx_wait, cli_tx_abort, cli_tx_forget;
extern const struct cli_command cli_agent_ls, cli_agent_show, cli_agent_doctor;
extern const struct cli_command cli_branch_ls, cli_branch_resolve, cli_branch_forget;
extern const struct cli_command cli_check;
extern const struct cli_command cli_demo;
extern const struct cli_command cli_bench;
extern const struct cli_command cli_crashtest;

#endif
