/* What a participant still knows when it was killed and started again. All checks share one
 * restart, which the first of them makes; the last one makes another. */
#include "cli/crashtest/conformance_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 100, START_MS = 60000 };

static bool answers(struct cli_suite *suite, enum api_op op, const struct tpc_id *gtid,
                    enum cli_work work, bool one_phase, const char *expected)
{
    return cli_expect_answer(suite, op, gtid, work, one_phase, expected);
}

/* ---- The restart ---- */

static int run_command(const char *command)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool restart(struct cli_suite *suite)
{
    unsigned long patience_ms =
        suite->options.patience_ms > START_MS ? suite->options.patience_ms : START_MS;
    int status = run_command(suite->options.restart);
    uint64_t until_ms = tpc_clock_mono_ms() + patience_ms;
    if (!cli_expect(suite, status == 0, "status 0 of the restart command", "%d", status)) {
        return false;
    }
    do {
        nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_MS * 1000000L}, NULL);
        status = cli_suite_call(suite, "GET", "/readyz", NULL, NULL);
    } while (status != 200 && tpc_clock_mono_ms() < until_ms);
    return cli_expect(suite, status == 200, "200 to GET /readyz after the restart", "%d", status);
}

/* A branch of each kind, then the restart. The prepared one comes last, for it holds its rows. */
static bool make_and_restart(struct cli_suite *suite)
{
    struct cli_restart *kept = &suite->restart;
    struct cli_asked asked;
    cli_suite_gtid(suite, &kept->one_phase);
    cli_suite_gtid(suite, &kept->refused);
    bool good = cli_prepare(suite) &&
                answers(suite, API_OP_COMMIT, &suite->open, CLI_WORK_NONE, false, "committed");
    kept->committed = suite->open;
    good = good &&
           answers(suite, API_OP_PREPARE, &kept->one_phase, CLI_WORK_WRITES, true, "committed");
    if (good && suite->works[CLI_WORK_REFUSED].size > 0) {
        good = answers(suite, API_OP_PREPARE, &kept->refused, CLI_WORK_REFUSED, true, "no");
    }
    good = good && cli_look(suite, &kept->seen) && cli_prepare(suite);
    if (good) {
        kept->prepared = suite->open;
        kept->held = true;
        suite->held = false; /* not to be ended by this check */
        (void)cli_endpoint_wait(suite->endpoint, &kept->prepared, 0, 0, &asked);
        kept->asked = asked.count;
        good = restart(suite);
    }
    return good;
}

/* False: the check is over. */
static bool is_restarted(struct cli_suite *suite)
{
    if (suite->options.restart == NULL) {
        cli_skip(suite, "no --restart-command");
        return false;
    }
    if (!cli_needs(suite, CLI_WORK_WRITES)) {
        return false;
    }
    if (!suite->restart.done) {
        suite->restart.done = true;
        suite->restart.failed = !make_and_restart(suite);
        return !suite->restart.failed;
    }
    if (suite->restart.failed) {
        cli_skip(suite, "it did not come to the restart");
    }
    return !suite->restart.failed;
}

/* ---- Checks ---- */

static void check_id(struct cli_suite *suite)
{
    struct tpc_id gtid;
    cli_suite_gtid(suite, &gtid);
    if (is_restarted(suite)) {
        /* That the id is the same is looked at with every answer. */
        (void)answers(suite, API_OP_COMMIT, &gtid, CLI_WORK_NONE, false, "unknown");
    }
}

static void check_asks(struct cli_suite *suite)
{
    const struct cli_restart *kept = &suite->restart;
    if (is_restarted(suite)) {
        bool asked = cli_endpoint_wait(suite->endpoint, &kept->prepared, kept->asked + 1,
                                       suite->options.patience_ms, NULL);
        (void)cli_expect(suite, asked, "a question about the prepared branch after the restart",
                         "none in %lu ms", suite->options.patience_ms);
    }
}

static void check_prepared(struct cli_suite *suite)
{
    const struct cli_restart *kept = &suite->restart;
    if (is_restarted(suite) && cli_expect_seen(suite, &kept->seen, false) &&
        answers(suite, API_OP_PREPARE, &kept->prepared, CLI_WORK_WRITES, false, "yes") &&
        answers(suite, API_OP_COMMIT, &kept->prepared, CLI_WORK_NONE, false, "committed")) {
        suite->restart.held = false;
        (void)cli_expect_seen(suite, &kept->seen, true);
    }
}

/* Repeated messages about what had ended; nothing of it is done again. */
static void check_ended(struct cli_suite *suite)
{
    const struct cli_restart *kept = &suite->restart;
    struct tpc_buf seen = {0};
    if (is_restarted(suite) && cli_look(suite, &seen) &&
        answers(suite, API_OP_COMMIT, &kept->committed, CLI_WORK_NONE, false, "committed") &&
        answers(suite, API_OP_PREPARE, &kept->one_phase, CLI_WORK_WRITES, true, "committed") &&
        answers(suite, API_OP_ABORT, &kept->one_phase, CLI_WORK_NONE, true, "committed")) {
        (void)cli_expect_seen(suite, &seen, false);
    }
    tpc_buf_done(&seen);
}

static void check_refused(struct cli_suite *suite)
{
    const struct cli_restart *kept = &suite->restart;
    if (is_restarted(suite) && cli_needs(suite, CLI_WORK_REFUSED)) {
        (void)answers(suite, API_OP_PREPARE, &kept->refused, CLI_WORK_WRITES, true, "no");
    }
}

static void check_set_back(struct cli_suite *suite)
{
    struct api_coordinator old = suite->self;
    struct cli_say message = {.op = API_OP_ABORT};
    struct cli_said said = {0};
    old.generation--;
    tpc_id_random(&old.nonce);
    cli_suite_gtid(suite, &message.gtid);
    if (is_restarted(suite) && cli_suite_send(suite, &old, &message, 1, &said)) {
        (void)cli_expect_said(suite, &said, "log_set_back");
    }
    cli_said_done(&said, 1);
}

static void check_once(struct cli_suite *suite)
{
    struct tpc_buf seen = {0};
    if (is_restarted(suite) && cli_prepare(suite) && restart(suite) &&
        answers(suite, API_OP_COMMIT, &suite->open, CLI_WORK_NONE, false, "committed") &&
        cli_look(suite, &seen) && restart(suite) &&
        answers(suite, API_OP_COMMIT, &suite->open, CLI_WORK_NONE, false, "committed")) {
        (void)cli_expect_seen(suite, &seen, false);
    }
    tpc_buf_done(&seen);
}

#define OWN "Write a participant of your own"

const struct cli_conformance_check cli_conformance_restart[] = {
    {"restart-id", "its id is the same after a restart", OWN ": keep a log", check_id},
    {"restart-asks", "after its start it asks about what is in doubt", OWN ": at the start",
     check_asks},
    {"restart-prepared", "what was prepared is held after a restart, and can be committed",
     OWN ": prepare", check_prepared},
    {"restart-ended", "what had ended is known after a restart, and not done again", OWN ": commit",
     check_ended},
    {"restart-refused", "a refusal with one_phase survives a restart",
     OWN ": prepare with one_phase", check_refused},
    {"restart-set-back", "an older start of the coordinator is refused after a restart",
     OWN ": remember the coordinator", check_set_back},
    {"restart-once", "a commit after a restart is done once, whatever restarts follow",
     OWN ": commit", check_once},
    {NULL, NULL, NULL, NULL},
};
