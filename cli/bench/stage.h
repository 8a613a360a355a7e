/* What a bench runs against when the user names no coordinator: assentd and its participants, in a
 * scratch directory. What cannot be carried out ends the process (cli_die). */
#ifndef ASSENT_CLI_BENCH_STAGE_H
#define ASSENT_CLI_BENCH_STAGE_H

#include "cli/bench/load.h"
#include "cli/crashtest/proc.h"

enum { CLI_BENCH_EXTRA_MAX = 16, CLI_BENCH_PROCS_MAX = CLI_BENCH_MEMBERS_MAX + 2 };

struct cli_bench_plan {
    const char *parent; /* of the scratch directory; NULL: TMPDIR, else /tmp */
    bool noop;          /* participants that keep nothing, whatever `resources` says */
    unsigned resource_count;
    /* What the participants are around, in turn: "sqlite" (a new file), or a URL of a database at a
     * server, in which a table is made for each. */
    const char *resources[CLI_BENCH_MEMBERS_MAX];
    const char *coordinator_flags[CLI_BENCH_EXTRA_MAX + 1]; /* NULL-terminated */
    const char *agent_flags[CLI_BENCH_EXTRA_MAX + 1];
};

struct cli_bench_stage {
    const struct cli_bench_plan *plan;
    struct cli_load_options *load;
    char programs[CLI_PATH_MAX];
    char directory[CLI_PATH_MAX];
    struct {
        char name[CLI_BENCH_NAME];
        struct cli_proc proc;
    } procs[CLI_BENCH_PROCS_MAX]; /* the coordinator is the last that starts */
    unsigned proc_count;
    char url[80]; /* of the coordinator */
};

/* Which dialect a resource of a plan speaks; CLI_BENCH_SQLS: it is no such. */
enum cli_bench_sql cli_bench_resource_sql(const char *resource);

/* Make databases and start everything. load->members are named here, the count is the caller's. */
void cli_bench_stage_open(struct cli_bench_stage *stage, const struct cli_bench_plan *plan,
                          struct cli_load_options *load);
/* Ends the processes in order, takes tables at servers and the directory away. @keep: leaves the
 * directory, with the logs of all that ran. */
void cli_bench_stage_close(struct cli_bench_stage *stage, bool keep);

#endif
