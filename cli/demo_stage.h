/* What the demo plays on: a scratch directory, daemons in it, commands whose words and output are
 * shown. Everything is bounded in time, and gone when the demo ends, however it ends. */
#ifndef ASSENT_CLI_DEMO_STAGE_H
#define ASSENT_CLI_DEMO_STAGE_H

#include "base/buf.h"

#include <sys/types.h>

#define CLI_STAGE_DAEMONS 5
#define CLI_STAGE_WORDS   16

struct cli_daemon {
    const char *name; /* of its log: "east" */
    pid_t pid;        /* 0: not running */
    char url[128];    /* once it was ready */
};

struct cli_stage {
    char directory[256];
    char programs[256]; /* where this program and the daemons lie */
    struct cli_daemon daemons[CLI_STAGE_DAEMONS];
    bool failed; /* something did not come out as promised; said already */
};

bool cli_stage_open(struct cli_stage *stage);
void cli_stage_stop_all(struct cli_stage *stage);
/* Stop the daemons; remove the directory unless @keep or the stage has failed. */
void cli_stage_close(struct cli_stage *stage, bool keep);

/* Say that something is not as promised. */
void cli_stage_fail(struct cli_stage *stage, const char *format, ...) TPC_PRINTF(2, 3);

/* A heading, and a paragraph; nothing any more once the stage has failed. */
void cli_stage_title(const struct cli_stage *stage, const char *text);
void cli_stage_tell(const struct cli_stage *stage, const char *text);

void cli_stage_write_file(struct cli_stage *stage, const char *name, const char *text);

/* Show the command, run it in the directory, show what it says. Its first word is a program of
 * ours or one on the PATH. The stage fails when it ends with another status than @expected.
 * @ret_output may be NULL; cleared first. After a failure nothing is run any more. */
void cli_stage_run(struct cli_stage *stage, int expected, struct tpc_buf *ret_output,
                   const char *const *words);

/* Show the command, start it, wait until it says it is ready, remember its URL. */
void cli_stage_start(struct cli_stage *stage, struct cli_daemon *daemon, const char *const *words);
/* Wait for a daemon to be killed by SIGKILL. */
void cli_stage_expect_killed(struct cli_stage *stage, struct cli_daemon *daemon);
/* End a daemon in an orderly way. */
void cli_stage_stop(struct cli_stage *stage, struct cli_daemon *daemon);

#endif
