/* The crash test as a whole: dry runs, then every injection that is wanted, some at a time, and a
 * report. */
#ifndef ASSENT_CLI_CRASHTEST_CRASHTEST_H
#define ASSENT_CLI_CRASHTEST_CRASHTEST_H

#include "cli/cli.h"
#include "cli/crashtest/check.h"
#include "cli/crashtest/plan.h"
#include "cli/crashtest/play.h"

struct cli_crashtest {
    /* What is wanted. */
    struct cli_setup setup; /* specs, clients, seed */
    struct cli_choice choice;
    unsigned jobs;           /* runs at a time; 0: by the processors */
    unsigned violations_max; /* injections that break a promise; then there is enough to look at */
    uint64_t time_limit_ms;  /* 0: none; what is left then is not injected */
    bool list;               /* say what would be injected, and inject nothing */
    bool keep;               /* leave everything behind */
    enum cli_format format;
    const char *report_path; /* JSON goes here too; NULL: nowhere */
    const char *flags;       /* how the user described the configuration, for a command that repeats
                                a failure; "" or ended by a space */
    /* What came of it. */
    struct cli_plan plan;
    uint64_t counts[CLI_ANOMALY_COUNT];
    uint64_t took_ms;
    bool complete;     /* all that was wanted was injected */
    const char *why;   /* not */
    unsigned given_up; /* injections of which several runs could not be judged */
    bool interrupted;
};

/* CLI_OK: all that was promised held, and every failpoint that was wanted has fired. What is not so
 * is told, with what repeats it. */
enum cli_exit cli_crashtest_run(struct cli_crashtest *test);

/* ---- Telling (report.c) ---- */

struct cli_tally {
    unsigned points, runs, spoilt, fired, violations;
};
void cli_report_tally(const struct cli_crashtest *test, struct cli_tally tallies[CLI_ROW_COUNT]);
/* A failpoint at which nobody died, though somebody should have. */
bool cli_report_is_unfired(const struct cli_crashtest *test, const struct cli_injection *item);
/* One that did not hold, on stderr, as soon as it is known. */
void cli_report_violation(const struct cli_crashtest *test, const struct cli_injection *item);
/* A run of which nothing can be said, on stderr, as soon as it is known. */
void cli_report_spoilt(const struct cli_crashtest *test, unsigned row, const struct cli_play *play);
/* To stdout, and to report_path. */
enum cli_exit cli_report(const struct cli_crashtest *test);
/* How far it is, when stderr is a terminal. */
void cli_report_progress(const struct cli_crashtest *test, uint64_t began_ms, bool more_to_come);
void cli_report_progress_end(void);

#endif
