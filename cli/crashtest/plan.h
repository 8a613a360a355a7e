/* What is injected: found in dry runs, chosen by the user's words, and what came of it. */
#ifndef ASSENT_CLI_CRASHTEST_PLAN_H
#define ASSENT_CLI_CRASHTEST_PLAN_H

#include "cli/crashtest/scenes.h"

/* The rows of the summary; message faults follow in the order of enum cli_fault. */
enum {
    CLI_ROW_NOTHING,  /* the dry runs */
    CLI_ROW_KILL,     /* at each failpoint */
    CLI_ROW_RECOVERY, /* again at each failpoint of the recovery from that */
    CLI_ROW_SERVER,   /* the server of an agent that is at a failpoint is killed */
    CLI_ROW_STOP,     /* SIGSTOP past the time-outs, SIGCONT */
    CLI_ROW_FAULTS,
    CLI_ROW_COUNT = CLI_ROW_FAULTS + CLI_FAULT_COUNT,
    CLI_ROWS_ALL = (1 << CLI_ROW_COUNT) - 1
};
const char *cli_row_name(unsigned row);
const char *cli_row_text(unsigned row);
/* A set of rows from "kill,network"; 0 names the unknown word in @reterr. */
unsigned cli_rows_parse(const char *words, struct tpc_err *reterr);

/* Which injections are wanted. NULL, "", 0 and CLI_MESSAGE_COUNT: all. */
struct cli_choice {
    unsigned rows;
    const char *process, *scene;
    char point[CLI_POINT_MAX], again[CLI_POINT_MAX];
    unsigned start; /* of the process */
    enum cli_message message;
    unsigned number;
    bool full;
};
/* "coord.decision.force", in its second start "coord.decision.force@2", and then once more
 * "coord.decision.force+coord.start.scan" */
bool cli_choice_point(struct cli_choice *choice, const char *text);
bool cli_choice_message(struct cli_choice *choice, const char *text); /* "prepare:3", "prepare" */

struct cli_injection {
    unsigned row;
    struct cli_plot plot;
    bool taken, done, fired; /* someone runs it; it came to its end; it happened */
    unsigned runs, violations;
    unsigned spoilt;                  /* runs of which nothing can be said */
    char *said;                       /* heap: the violations */
    char directory[2 * CLI_PATH_MAX]; /* of the run with violations */
    struct cli_hits hits; /* what a dry run has passed; of a kill, what its recovery has */
};

/* A point that was passed in the recovery from a death. */
struct cli_relapse {
    struct cli_plot death;
    char point[CLI_POINT_MAX];
};

/* Zero-initialise. */
struct cli_plan {
    struct cli_choice choice;
    const struct cli_setup *setup;
    struct cli_hits hits; /* of all dry runs */
    /* By link and kind: how many messages the scene of that index saw. */
    unsigned messages[CLI_LINKS_MAX][CLI_MESSAGE_COUNT];
    unsigned message_scenes[CLI_LINKS_MAX][CLI_MESSAGE_COUNT];
    struct cli_injection *items; /* heap */
    size_t count;
    struct cli_relapse *relapses; /* heap */
    size_t relapse_count;
};
void cli_plan_done(struct cli_plan *plan);

bool cli_plan_wants(const struct cli_plan *plan, unsigned row);
bool cli_plan_wants_messages(const struct cli_plan *plan);
/* The dry runs that find what is wanted. */
void cli_plan_add_dry_runs(struct cli_plan *plan);
/* What a dry run of that scene had to pass on. */
void cli_plan_note_messages(struct cli_plan *plan, unsigned scene_index, struct cli_proxy *proxy);
/* When all dry runs are done: take over what they have passed. */
void cli_plan_gather_hits(struct cli_plan *plan);
/* Kills, stops and message faults, from what the dry runs have passed. @names are the failpoints of
 * the node, a line each (NULL: it has none). A point that was never passed is added too, with
 * plot.start 0. */
void cli_plan_add_kills(struct cli_plan *plan, unsigned node, const char *names);
/* Kills of the servers that agents work at. */
void cli_plan_add_servers(struct cli_plan *plan);
void cli_plan_add_stops(struct cli_plan *plan);
/* Is there a node before it that runs the same program in the same way? */
bool cli_plan_is_like_earlier(const struct cli_setup *setup, unsigned node);
void cli_plan_add_messages(struct cli_plan *plan);
/* When all kills are done, from what their recoveries have passed: with each point once, or with
 * `full` after each death. */
void cli_plan_add_recoveries(struct cli_plan *plan);

/* With `full`, which may not come to its end: the items from @first on in an order that the seed
 * says. */
void cli_plan_shuffle(struct cli_plan *plan, size_t first);

/* The next way to let a kill happen that has not, from what was passed: another scene, another
 * death. False when there is none. */
bool cli_plan_next_try(const struct cli_plan *plan, const struct cli_injection *item, unsigned try,
                       struct cli_plot *ret_plot);

/* "coordinator at coord.decision.force, scene traffic" */
void cli_plot_print(const struct cli_setup *setup, unsigned row, const struct cli_plot *plot,
                    struct tpc_buf *out);
/* The flags that choose it alone: "--only kill --process coordinator --point …". */
void cli_plot_flags(const struct cli_setup *setup, unsigned row, const struct cli_plot *plot,
                    struct tpc_buf *out);

#endif
