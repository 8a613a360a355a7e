/* assent bench, once its command line is read. */
#ifndef ASSENT_CLI_BENCH_BENCH_H
#define ASSENT_CLI_BENCH_BENCH_H

#include "cli/bench/drive.h"
#include "cli/bench/stage.h"
#include "cli/cli.h"

struct cli_bench {
    struct cli_drive_plan drive; /* its url and sample are filled in here */
    struct cli_bench_plan plan;  /* when url is NULL */
    const char *url;             /* the user's coordinator; NULL: one of our own */
    unsigned pid_count;          /* more processes whose time is counted */
    struct cli_sample_process pids[CLI_SAMPLE_PROCESSES_MAX];
    enum cli_format format;
    bool keep;
};

/* What the accounts said afterwards. */
struct cli_bench_money {
    bool checked, kept;
    bool exact; /* each participant's sum was compared with what was told, not only the total */
    int64_t before, after;
    char found[512]; /* what is wrong */
};

enum cli_exit cli_bench_run(struct cli_bench *bench);

/* The final table, or the document. */
void cli_bench_report(const struct cli_bench *bench, const struct cli_drive_result *result,
                      const struct cli_bench_money *money);

#endif
